// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <deque>
#include <map>
#include <random>
#include <set>

#include "cover_points.hpp"
#include "raw_engine.hpp"

namespace sluice::test {

/// A random run of one build: jobs of all kinds, sizes and alignments on all queues, faults, cancels in all phases,
/// slow and reordering memory. A scoreboard over the real memory judges every completion, and that nothing is written
/// after it. Everything comes from the seed.
class RandomStory {
 public:
  RandomStory(const std::string& build, std::uint64_t seed, std::size_t jobs);

  /// Returns what went wrong; empty: nothing.
  std::string run();
  [[nodiscard]] const std::set<CoverPoint>& covered() const { return covered_; }

 private:
  struct Extent {
    std::uint64_t offset;
    std::uint64_t length;
  };
  struct Job {
    CoverPoint point{};
    ring::Descriptor descriptor;
    std::vector<Extent> extents;      // in the data memory
    std::vector<std::byte> before;    // of the whole place
    std::uint64_t place = 0;          // where its part of memory begins
    std::uint64_t first_bad = ~0ULL;  // the byte of the job that fails or differs
    std::uint64_t bursts_expected = 0;
    std::uint64_t bursts_issued = 0;
    bool rung = false;
  };

  [[nodiscard]] std::uint64_t below(std::uint64_t limit) { return random_() % limit; }
  [[nodiscard]] bool chance(double probability) {
    return static_cast<double>(random_() >> 11) * 0x1.0p-53 < probability;
  }
  Job draw_job(std::size_t q);
  void draw_extents(Job& job, std::uint64_t place);
  void draw_fault(Job& job);
  void prepare_memory(Job& job);
  void write_descriptor(Job& job, std::size_t q);
  void submit(std::size_t q);
  void cancel_one();
  void cancel(Job& job, std::size_t q);
  void collect(std::size_t q);
  [[nodiscard]] std::string judge(const Job& job, const RawEngine::Completion& completion, std::size_t q);
  [[nodiscard]] CancelPhase phase_of(const Job& job) const;
  void observe(const BusEvent& event);
  void update_faults();
  void look_after_silent_queue();
  void fail(const std::string& what) {
    if (failure_.empty()) failure_ = what;
  }
  [[nodiscard]] std::byte at(const Job& job, std::uint64_t index) const;
  [[nodiscard]] bool quarantined(std::size_t q) const { return silent_ && *silent_ == q; }

  std::mt19937_64 random_;
  RawEngine engine_;
  std::uint16_t first_slot_ = 0;
  std::uint32_t first_generation_ = 0;
  std::size_t jobs_left_;
  std::vector<std::deque<Job>> in_flight_;                                 // of each queue
  std::vector<std::uint32_t> submitted_;                                   // of each queue
  std::map<std::uint64_t, std::pair<std::size_t, std::uint64_t>> places_;  // of jobs in flight: queue, end of the place
  std::vector<std::uint64_t> free_places_;
  std::optional<std::size_t> silent_;  // the queue whose data is not answered from some moment on
  bool abandoned_ = false;             // it is quarantined
  std::set<CoverPoint> covered_;
  std::string failure_;
};

}  // namespace sluice::test
