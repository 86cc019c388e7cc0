// SPDX-License-Identifier: Apache-2.0
// VMs of the C interface that say what they want, and what they get.
#pragma once

#include <algorithm>

#include "host/c/c_misuse.hpp"

namespace sluice::test {

class CFields : public CMisuse {
 protected:
  /// A new manager over the same memory, or other memory.
  void restart(const sluice_config* config = nullptr, const sluice_engine_operations& operations = kOperations) {
    destroy();
    sluice_engine_destroy(engine_);
    own_.jobs.clear();
    own_.seen.clear();
    ASSERT_EQ(sluice_engine_wrap(&operations, &own_, &engine_), SLUICE_OK) << sluice_last_message();
    ASSERT_EQ(sluice_manager_create(memory_, engine_, nullptr, config, &manager_), SLUICE_OK) << sluice_last_message();
  }
  void take_memory(sluice_memory* memory) {
    destroy();
    sluice_memory_destroy(memory_);
    memory_ = memory;
    restart();
  }
  void add(const sluice_vm& facts) {
    ASSERT_EQ(sluice_vm_create(manager_, &facts), SLUICE_OK) << sluice_last_message();
  }
  Heard take(std::uint64_t id, std::uint64_t pages) {
    Heard heard;
    EXPECT_EQ(ask(id, pages, heard), SLUICE_OK) << sluice_last_message();
    poll();
    EXPECT_EQ(heard.calls, 1);
    EXPECT_EQ(heard.code, SLUICE_OK) << heard.message;
    return heard;
  }
  Heard come_back(std::uint64_t id, std::uint64_t pages) {
    Heard heard;
    EXPECT_EQ(sluice_vm_begin_reboot(manager_, id), SLUICE_OK) << sluice_last_message();
    EXPECT_EQ(sluice_vm_finish_reboot(manager_, id, pages * kPage, hear, &heard, nullptr), SLUICE_OK);
    poll();
    EXPECT_EQ(heard.code, SLUICE_OK) << heard.message;
    return heard;
  }
  /// How many pages a VM can have.
  std::uint64_t most_for(std::uint64_t id) {
    for (std::uint64_t pages = kLength / kPage; pages > 0; --pages) {
      Heard heard;
      if (ask(id, pages, heard) != SLUICE_OK) continue;
      poll();
      EXPECT_EQ(heard.code, SLUICE_OK) << heard.message;
      return pages;
    }
    return 0;
  }
  void release(std::uint64_t id, const Heard& all) {
    for (const sluice_range& range : all.ranges) {
      ASSERT_EQ(sluice_vm_release(manager_, id, range.base, range.length), SLUICE_OK) << sluice_last_message();
    }
  }
  [[nodiscard]] std::uint64_t bytes_seen() const {
    std::uint64_t bytes = 0;
    for (const sluice_job& job : own_.seen) bytes += job.length;
    return bytes;
  }
  /// What is released stays as it is until somebody claims it.
  static sluice_vm lazy(std::uint64_t id, std::uint64_t customer = 1) {
    sluice_vm facts = vm(id, customer);
    facts.scrub_timing = SLUICE_BEFORE_GRANT;
    return facts;
  }
  static bool recycled(const Heard& heard) {
    return std::all_of(heard.ranges.begin(), heard.ranges.end(),
                       [](const sluice_range& range) { return range.recycled == 1; });
  }
};

}  // namespace sluice::test
