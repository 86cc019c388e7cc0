// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <optional>

#include "sluice/manager/memory_manager.hpp"
#include "sluice/memory/extent_table.hpp"
#include "support/manual_engine.hpp"
#include "support/memory.hpp"

namespace sluice::test {

/// A manager over `pages` pages with an engine that the test drives. The pool starts clean.
class ManagerFixture {
 public:
  static constexpr CustomerId kCustomer{1};
  static constexpr CustomerId kOtherCustomer{2};

  explicit ManagerFixture(std::size_t pages = 64, ScrubberConfig config = {})
      : pool_(pages * kPageSize.value(), std::byte{0xEE}),
        pieces_{pool_.all()},
        backing_(*ForeignMemory::create(pieces_)),
        owned_(*MemoryManager::create(*backing_, engine_, config)) {
    settle();
    manager_.reset_statistics();
  }

  /// The results that claims of the test wait for are gone now.
  ~ManagerFixture() { ending_ = true; }

  /// Ends what runs, and polls, until nothing is left to do.
  void settle() {
    for (int round = 0; round < 1000 && manager_.has_work(); ++round) {
      manager_.poll();
      engine_.end_all();
    }
    manager_.poll();
  }

  void create(VmId vm, CustomerId customer = kCustomer, TrustGroupId group = {}, DedicatedPoolId pool = {},
              RecycleSettings allowed = {}) {
    if (group.is_set()) static_cast<void>(manager_.create_trust_group(group, customer));
    const auto created = manager_.create_vm({vm, customer, pool, group, allowed});
    ASSERT_TRUE(created) << created.error().message;
  }

  /// Starts a claim; its result lands in `result` when there is one.
  ClaimId ask(VmId vm, std::size_t pages, std::optional<Result<Grant>>& result) {
    const auto claim = manager_.allocate(vm, length(pages), [this, &result](Result<Grant> grant) {
      if (!ending_) result.emplace(std::move(grant));
    });
    EXPECT_TRUE(claim) << (claim ? "" : claim.error().message);
    return claim ? *claim : ClaimId();
  }

  /// A claim that is met without help of the engine.
  Grant take(VmId vm, std::size_t pages) {
    std::optional<Result<Grant>> result;
    ask(vm, pages, result);
    manager_.poll();
    EXPECT_TRUE(result && *result) << "the claim should have been met at once";
    return result && *result ? std::move(**result) : Grant{};
  }

  static ByteCount length(std::size_t pages) { return ByteCount(pages * kPageSize.value()); }

  bool ending_ = false;
  Memory pool_;
  MemorySpan pieces_[1];
  std::unique_ptr<ForeignMemory> backing_;
  ManualEngine engine_;
  std::unique_ptr<MemoryManager> owned_;
  MemoryManager& manager_ = *owned_;
};

class MemoryManagerTest : public ManagerFixture, public ::testing::Test {};

}  // namespace sluice::test
