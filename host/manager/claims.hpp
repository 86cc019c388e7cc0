// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <set>
#include <unordered_map>
#include <vector>

#include "coming_memory.hpp"
#include "hand_over.hpp"
#include "holdings.hpp"
#include "notifications.hpp"

namespace sluice::inline manager {

/// How a claim becomes a grant: memory is chosen and kept from others, an engine lets go of each part, all is handed
/// over at once.
///
/// First come, first served. A claim that finds less than it needs keeps what it has found and waits: whatever becomes
/// free is offered to the oldest such claim first, before any new one is looked at. It waits only as long as memory
/// comes back that can serve it, of its zones and its pool; a claim for which none would is refused at once.
class Claims final : public ScrubListener {
 public:
  /// `ledger`: or nullptr.
  Claims(ExtentTable& table, Tenants& tenants, Holdings& holdings, Scrubber& scrubber, Notifications& notifications,
         Statistics& statistics, Ledger* ledger)
      : ledger_(ledger),
        table_(table),
        tenants_(tenants),
        holdings_(holdings),
        scrubber_(scrubber),
        notifications_(notifications),
        statistics_(statistics) {}

  /// What became free since the last poll goes to the claims that wait for it already.
  void serve_waiting();
  /// Errors: InvalidArgument, OutOfMemory, NoResources, and what close() was given.
  [[nodiscard]] Result<ClaimId> start(const Claim& claim, GrantHandler grant_handler, PoolHandler pool_handler);
  /// MemoryManager::test_suspect(), of a VM that there is.
  [[nodiscard]] Result<ClaimId> start_test(VmId vm, std::vector<std::uint64_t> patterns, SuspectHandler handler);
  /// False: no such claim is pending.
  bool abandon(ClaimId claim);
  [[nodiscard]] bool any_pending() const { return !pending_.empty(); }
  /// A VM's settings change: its pending claims give back what they hold ...
  void take_back(VmId vm);
  /// ... and choose anew by how these VMs are now, in their turn.
  void choose_anew(std::span<const VmId> vms);
  /// A VM lends nothing any more: other claims give back what it has reserved.
  void return_loans(VmId lender);
  /// Whether the VM's claim after a reboot is pending.
  [[nodiscard]] bool comes_back(VmId vm) const;
  /// That pools are yet to get. bytes
  [[nodiscard]] ByteCount claimed_by_pools() const;
  /// That a pool is yet to get by calls. bytes
  [[nodiscard]] ByteCount claimed_by(DedicatedPoolId pool) const;

  /// Claims that wait look again, oldest first. Those that nothing comes back for end.
  void retry_waiting();
  /// With nothing in flight and an engine that takes nothing, no claim that waits can be met.
  void end_if_nothing_is_scrubbed();
  /// Ends all claims, and every new one at once, with this.
  void close(const Error& reason);
  /// The same, and leaves all memory as it is.
  void forget(const Error& reason);
  [[nodiscard]] bool closed() const { return closed_.has_value(); }

  void scrub_failed(Extent& extent) override;
  void scrub_refused(Extent& extent, const Error& why) override;
  void let_go(Extent& extent) override;
  void pattern_held(Extent& extent, std::uint64_t pattern) override;

 private:
  struct SuspectTest {
    VmId vm;  ///< For which the memory is suspect; unset: for all.
    std::vector<std::uint64_t> patterns;
    SuspectHandler handler;
    SuspectReport report;
  };
  struct Pending {
    ClaimId id;
    Claim claim;
    GrantHandler grant_handler;
    PoolHandler pool_handler;
    std::optional<SuspectTest> test;
    std::vector<ClaimPart> parts;
    ByteCount held;             ///< By its parts.
    std::size_t unsettled = 0;  ///< Parts that an engine works on.
    bool waited = false;
  };
  /// Parts of claims that an engine works on, and whether the claim waits for that.
  struct Working {
    ClaimId claim;
    bool awaited = false;
    std::size_t patterns_held = 0;  ///< Of a test.
  };
  /// A part of a test that has failed and comes through let_go() in pieces.
  struct Broken {
    Working part;
    ByteCount left;  ///< That has not come yet.
  };

  [[nodiscard]] Result<void> check_available(const Claim& claim) const;
  [[nodiscard]] std::vector<Shortfall> shortfalls() const;
  [[nodiscard]] ComingMemory coming_back() const;
  void choose(Pending& pending);
  void choose_missing(Pending& pending);

  // claim_parts.cpp
  void advance(Pending& pending);
  [[nodiscard]] bool keeps_enough(Pending& pending);
  template <class Which>
  [[nodiscard]] bool keeps_enough_without(Pending& pending, Which which);
  [[nodiscard]] bool prepare(Pending& pending, ClaimPart& part);
  void wait_for(Pending& pending, Extent& extent);
  [[nodiscard]] Pending* drop_part(Extent& extent);
  void grant(Pending& pending);
  void finish(ClaimId id, Result<Grant> result);
  void notify(Pending& pending, Result<Grant> result);
  void give_back(Pending& pending);

  // suspect_tests.cpp
  [[nodiscard]] Result<void> check_new_test(VmId vm) const;
  void add_to_test(Pending& pending, Extent& extent);
  [[nodiscard]] bool break_up(Extent& extent);
  void take_piece(Extent& piece);
  void go_on(Pending& pending, Extent& extent, std::size_t patterns_held);
  void end_if_tested(Pending& pending);

  Ledger* ledger_;
  ExtentTable& table_;
  Tenants& tenants_;
  Holdings& holdings_;
  Scrubber& scrubber_;
  Notifications& notifications_;
  Statistics& statistics_;
  std::map<ClaimId, Pending> pending_;
  std::set<ClaimId> waiting_;  ///< Pending claims that hold less than they need.
  std::unordered_map<const Extent*, Working> working_;
  std::optional<Broken> broken_;
  std::optional<Error> closed_;
  std::uint64_t next_claim_ = 1;
};

}  // namespace sluice::inline manager
