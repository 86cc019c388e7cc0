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

inline constexpr std::uint32_t kRingSizes = 5;  ///< from 2 entries to 32

/// What happened to rings of one size.
struct RingFacts {
  std::set<std::uint32_t> starts;  ///< modulo twice their entries: the pointers with which a run began
  bool submission_full = false;    ///< as many descriptors as entries had not arrived
  bool completion_full = false;    ///< software had not collected as many completions as there are entries
  bool one_doorbell_for_all = false;
};

/// A random run of one build: jobs of all kinds, sizes and alignments on all queues, one doorbell for many, faults,
/// cancels in all phases, rings that fill up and wrap, slow and reordering memory. A scoreboard over the real memory
/// judges every completion, and that nothing is written after it. Everything comes from the seed.
class RandomStory {
 public:
  static constexpr std::uint64_t kPlaceBytes = 48 << 10;  ///< a job's own part of the memory
  static constexpr std::uint64_t kPlaces = 160;

  RandomStory(const std::string& build, std::uint64_t seed, std::size_t jobs);

  /// Returns what went wrong; empty: nothing.
  std::string run();
  [[nodiscard]] const std::set<CoverPoint>& covered() const { return covered_; }
  [[nodiscard]] std::uint32_t ring_log2() const { return ring_log2_; }
  [[nodiscard]] const RingFacts& rings() const { return rings_; }

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
  void begin_somewhere(std::uint64_t seed);
  [[nodiscard]] std::uint32_t room(std::size_t q);
  void submit(std::size_t q);
  void submit_batch(std::size_t q, std::uint32_t count);
  void cancel_one();
  void cancel(Job& job, std::size_t q);
  void collect(std::size_t q);
  [[nodiscard]] std::string judge(const Job& job, const RawEngine::Completion& completion, std::size_t q);
  [[nodiscard]] CancelPhase phase_of(const Job& job) const;
  void observe(const BusEvent& event);
  void update_faults();
  void go_silent(std::size_t q);
  void look_after_silent_queue();
  void look_after_lazy_queue();
  [[nodiscard]] std::string state();
  void fail(const std::string& what) {
    if (failure_.empty()) failure_ = what;
  }
  [[nodiscard]] std::byte at(const Job& job, std::uint64_t index) const;
  [[nodiscard]] bool quarantined(std::size_t q) const { return silent_ && *silent_ == q; }

  /// Slot and generation of the index-th job of a queue.
  [[nodiscard]] std::uint16_t slot_of(std::uint32_t index) const {
    return static_cast<std::uint16_t>(first_slot_ + index % names_);
  }
  [[nodiscard]] std::uint32_t generation_of(std::uint32_t index) const { return first_generation_ + index / names_; }

  std::mt19937_64 random_;
  std::uint32_t ring_log2_;
  RawEngine engine_;
  std::uint32_t names_;  // slots of a queue that are used: so many jobs may be in flight
  std::uint16_t first_slot_ = 0;
  std::uint32_t first_generation_ = 0;
  std::size_t jobs_left_;
  std::vector<std::deque<Job>> in_flight_;                                 // of each queue
  std::vector<std::uint32_t> submitted_;                                   // of each queue
  std::vector<std::uint32_t> arrived_;                                     // of each queue, when last asked
  std::map<std::uint64_t, std::pair<std::size_t, std::uint64_t>> places_;  // of jobs in flight: queue, end of the place
  std::vector<std::uint64_t> free_places_;
  std::optional<std::size_t> silent_;  // the queue whose data is not answered from some moment on
  bool abandoned_ = false;             // it is quarantined
  std::optional<std::size_t> lazy_;    // the queue whose completions nobody collects for a while
  std::uint32_t lazy_turns_ = 0;       // at most
  std::set<CoverPoint> covered_;
  RingFacts rings_;
  std::string failure_;
};

}  // namespace sluice::test
