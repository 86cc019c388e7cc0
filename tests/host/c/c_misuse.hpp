// SPDX-License-Identifier: Apache-2.0
// A manager of the C interface over an engine that answers what a test wants, and a handler that does so.
#pragma once

#include <gmock/gmock.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "sluice/sluice.h"

namespace sluice::test {

inline constexpr std::uint64_t kPage = 4096;
inline constexpr std::uint64_t kLength = 16 * kPage;

/// An engine that does at once what it is asked, and may then answer something else.
struct LyingEngine {
  std::vector<sluice_job> jobs;
  std::vector<sluice_job> seen;  ///< All that it was ever given.
  std::function<void(sluice_completion&)> lie;
  std::size_t extra_taken = 0;
  std::size_t extra_polled = 0;
  bool twice = false;
  bool throws = false;
  bool holds = false;
  std::uint64_t longest = 0;

  static size_t submit(void* context, const sluice_job* jobs, size_t count) {
    auto* const engine = static_cast<LyingEngine*>(context);
    if (engine->throws) throw std::runtime_error("from submit");
    for (size_t index = 0; index < count; ++index) engine->longest = std::max(engine->longest, jobs[index].length);
    engine->jobs.insert(engine->jobs.end(), jobs, jobs + count);
    engine->seen.insert(engine->seen.end(), jobs, jobs + count);
    return count + engine->extra_taken;
  }
  static void cancel(void* /*context*/, uint64_t /*number*/) {}
  static size_t poll(void* context, sluice_completion* completions, size_t room) {
    auto* const engine = static_cast<LyingEngine*>(context);
    size_t count = 0;
    while (!engine->holds && count + 1 < room && !engine->jobs.empty()) {
      const sluice_job job = engine->jobs.back();
      engine->jobs.pop_back();
      std::memset(job.base, static_cast<int>(job.pattern & 0xFF), job.length);  // all bytes of it are the same
      sluice_completion completion = {job.number, SLUICE_ZEROED, job.length};
      if (engine->lie) engine->lie(completion);
      completions[count++] = completion;
      if (engine->twice) completions[count++] = completion;
    }
    return engine->extra_polled == 0 ? count : room + engine->extra_polled;
  }
};
inline constexpr sluice_engine_operations kOperations = {
    "test", 8, 1 << 30, LyingEngine::submit, LyingEngine::cancel, LyingEngine::poll, nullptr};

/// What a handler got, and what it does then.
struct Heard {
  int calls = 0;
  int code = -1;
  std::string message;
  std::vector<sluice_range> ranges;
  int reports = 0;
  sluice_suspect_report report = {};
  std::vector<sluice_span> failed;
  std::function<void()> then;
};
inline void hear(void* context, std::uint64_t /*claim*/, int code, const sluice_range* ranges, size_t count) {
  auto* const heard = static_cast<Heard*>(context);
  ++heard->calls;
  heard->code = code;
  heard->message = sluice_last_message();
  heard->ranges.assign(ranges, ranges + count);
  if (heard->then) heard->then();
}

inline void hear_report(void* context, std::uint64_t /*claim*/, int code, const sluice_suspect_report* report) {
  auto* const heard = static_cast<Heard*>(context);
  ++heard->calls;
  heard->code = code;
  heard->message = sluice_last_message();
  if (report == nullptr) return;
  ++heard->reports;
  heard->report = *report;
  heard->failed.assign(report->failed, report->failed + report->failed_count);
}

class CMisuse : public ::testing::Test {
 protected:
  CMisuse() {
    EXPECT_EQ(sluice_memory_create(kLength, 1, SLUICE_PAGES_SMALL, &memory_), SLUICE_OK) << sluice_last_message();
    EXPECT_EQ(sluice_engine_wrap(&kOperations, &own_, &engine_), SLUICE_OK);
    EXPECT_EQ(sluice_manager_create(memory_, engine_, nullptr, nullptr, &manager_), SLUICE_OK);
  }
  ~CMisuse() override {
    sluice_manager_destroy(manager_);
    sluice_engine_destroy(engine_);
    sluice_memory_destroy(memory_);
  }
  CMisuse(const CMisuse&) = delete;
  CMisuse& operator=(const CMisuse&) = delete;

  static sluice_vm vm(std::uint64_t id, std::uint64_t customer = 1) {
    sluice_vm facts;
    sluice_vm_init(&facts);
    facts.vm = id;
    facts.customer = customer;
    return facts;
  }
  void create(std::uint64_t id, std::uint64_t customer = 1) {
    const sluice_vm facts = vm(id, customer);
    ASSERT_EQ(sluice_vm_create(manager_, &facts), SLUICE_OK) << sluice_last_message();
  }
  int ask(std::uint64_t id, std::uint64_t pages, Heard& heard) {
    return sluice_vm_allocate(manager_, id, pages * kPage, hear, &heard, nullptr);
  }
  void poll(int times = 100) {
    for (int round = 0; round < times && manager_ != nullptr; ++round) sluice_manager_poll(manager_);
  }
  void destroy() { sluice_manager_destroy(std::exchange(manager_, nullptr)); }
  static void expect_missing(int code) {
    EXPECT_EQ(code, SLUICE_INVALID_ARGUMENT);
    EXPECT_THAT(sluice_last_message(), ::testing::HasSubstr("is NULL"));
  }

  LyingEngine own_;
  sluice_memory* memory_ = nullptr;
  sluice_engine* engine_ = nullptr;
  sluice_manager* manager_ = nullptr;
};

}  // namespace sluice::test
