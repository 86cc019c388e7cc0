// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "sluice/manager/memory_manager.hpp"
#include "sluice/policy/policy_book.hpp"

namespace sluice::inline manager {

/// A dedicated pool of a document whose memory the manager has not found.
struct LostPool {
  CustomerId customer;
  PoolOptions options;
  ByteCount length;  ///< When the document was saved; 0: it was empty.
};

/// A policy book and the memory manager that does what it says. For each registered VM that the manager has, group,
/// pool, settings and may_say are what PolicyBook::effective_of() says, after each call.
///
/// Changes of VMs, groups, pools and policies go through here, all else (memory, reboots, poll()) to the manager: what
/// is changed there behind its back is undone by the next change of policies. What a VM says itself is in the book:
/// MemoryManager::switch_recycling() is for those that have none.
///
/// Each call is given its caller, whom the book permits or not. Only the provider creates, changes and ends VMs, groups
/// and pools; a customer enables and disables its own groups. Sans-I/O and not thread-safe, as the manager, which
/// outlives it. Its calls call no handler. A call that returns an error has changed nothing, neither in the book nor in
/// the manager. All errors: NotPermitted, and as the calls of the same name of PolicyBook and MemoryManager.
class PolicyManager {
 public:
  /// A book that knows no VM, group or pool: those are created here. Throws std::invalid_argument if it knows one.
  PolicyManager(PolicyBook book, MemoryManager& manager);

  /// As it is now. A pool is in it from when it has been filled.
  [[nodiscard]] const PolicyBook& book();
  [[nodiscard]] MemoryManager& manager() const { return *manager_; }

  /// Changes policies: attach(), detach(), lock(), say(), change_vm(), templates, users and so on, also several of
  /// them:
  ///
  ///     policies.apply([&](PolicyBook& book) { return book.attach(caller, target, policy); });
  ///
  /// `edit` is given a copy of the book. If it returns no error, every VM gets what the copy says, running VMs and
  /// pending claims at once, and the copy becomes the book. Returns what `edit` returned. Errors: those of `edit`;
  /// InvalidArgument if that has changed which VMs, groups and pools there are; as MemoryManager::change_vms(), for
  /// example WrongState for a VM that should change its pool while it reboots; and UnknownId or WrongState for a
  /// policy that names a pool which the manager does not have, or has not filled.
  template <class Edit>
  [[nodiscard]] std::invoke_result_t<Edit, PolicyBook&> apply(const Edit& edit) {
    PolicyBook next = book();
    auto result = edit(next);
    if (!result) return result;
    if (auto followed = follow(std::move(next)); !followed) return followed.error();
    return result;
  }

  /// Registers the VM and creates it as the policies have it.
  [[nodiscard]] Result<void> create_vm(const Caller& caller, const PolicySubject& subject,
                                       const Placement& placement = {});
  /// The VM lives, and goes on with what the manager found that it held; without memory it is created again. It is
  /// registered, or is now (`subject`; it was created after the document was saved). Its placement is that of the
  /// document where none is given. Errors: also WrongState (the manager has it), UnknownId (nobody knows it).
  [[nodiscard]] Result<Grant> adopt(const Caller& caller, VmId vm, const std::optional<Placement>& placement = {});
  [[nodiscard]] Result<Grant> adopt(const Caller& caller, const PolicySubject& subject, const Placement& placement);
  /// Registered VMs of which adopt() or terminate() has not been called yet, by their ids.
  [[nodiscard]] std::vector<VmId> unadopted() const;
  /// The VM has ended, and is forgotten with all that was said of it.
  [[nodiscard]] Result<void> terminate(const Caller& caller, VmId vm);

  /// Also customer_group(customer), which is there without it, so that VMs and policies can name it.
  [[nodiscard]] Result<void> create_trust_group(const Caller& caller, TrustGroupId group, CustomerId customer,
                                                TrustGroupId inside = {});
  /// For the provider and the group's customer, whoever of them called last: a provider that disables recycling in a
  /// group for good locks PolicyField::RecycleWithinTrustGroup there.
  [[nodiscard]] Result<void> enable_trust_group(const Caller& caller, TrustGroupId group, bool enabled);
  [[nodiscard]] Result<void> destroy_trust_group(const Caller& caller, TrustGroupId group);

  /// VMs and policies can have the pool when it has been filled. Also one of lost_pools(), of its customer.
  [[nodiscard]] Result<ClaimId> create_dedicated_pool(const Caller& caller, DedicatedPoolId pool, CustomerId customer,
                                                      ByteCount length, PoolHandler handler,
                                                      const PoolOptions& options = {});
  [[nodiscard]] Result<std::vector<ClaimId>> create_dedicated_pools(const Caller& caller, DedicatedPoolId first,
                                                                    std::uint32_t count, CustomerId customer,
                                                                    ByteCount length, const PoolsHandler& handler,
                                                                    const PoolOptions& options = {});
  /// One of MemoryManager::unadopted_pools() that the document does not know, since it was created later.
  [[nodiscard]] Result<void> adopt_dedicated_pool(const Caller& caller, DedicatedPoolId pool, CustomerId customer,
                                                  const PoolOptions& options = {});
  [[nodiscard]] Result<ClaimId> grow_dedicated_pool(const Caller& caller, DedicatedPoolId pool, ByteCount length,
                                                    PoolHandler handler);
  [[nodiscard]] Result<void> shrink_dedicated_pool(const Caller& caller, DedicatedPoolId pool, ByteCount length);
  [[nodiscard]] Result<void> partition_dedicated_pool(const Caller& caller, DedicatedPoolId pool, DedicatedPoolId part,
                                                      ByteCount length);
  /// VMs and policies that had `other` have `pool`.
  [[nodiscard]] Result<void> merge_dedicated_pools(const Caller& caller, DedicatedPoolId pool, DedicatedPoolId other);
  [[nodiscard]] Result<void> move_between_pools(const Caller& caller, DedicatedPoolId from, DedicatedPoolId to,
                                                ByteCount length);
  [[nodiscard]] Result<void> destroy_dedicated_pool(const Caller& caller, DedicatedPoolId pool);

  /// The book, and what the manager alone knows and would forget: groups, pools, the placement of VMs, and what the
  /// shared pool keeps. One JSON document; equal states give equal text. Pools that are still being filled are not in
  /// it.
  [[nodiscard]] std::string save() const;
  /// What save() gave, at most 64 MiB, with what the provider has built in. `manager` has just been made, by
  /// MemoryManager::recover() where a ledger has outlived the process too: its groups are created again, and pools are
  /// adopted. A document without what the shared pool keeps, as it once was, leaves that as the manager has it. Then
  /// create_dedicated_pool() brings back each of lost_pools() that is still wanted, and adopt() or
  /// terminate() each of unadopted(). Ids of VMs, groups and pools that ended before are not in the document: what they
  /// wrote is known by no id any more, so that none who has one of them again can get it unscrubbed.
  /// Errors: InvalidArgument for what is no such document, with the place in it; else as the calls that would have made
  /// it, and WrongState if the manager has a VM of it. What was created again then stays, and is found by another
  /// load().
  [[nodiscard]] static Result<PolicyManager> load(std::string_view text, MemoryManager& manager, Policy built_in = {});
  /// Pools of the document that the manager does not have. VMs cannot be adopted into them.
  [[nodiscard]] std::map<DedicatedPoolId, LostPool> lost_pools() const;

 private:
  struct Document;

  explicit PolicyManager(MemoryManager& manager) : manager_(&manager) {}
  void add_filled(PolicyBook& book) const;
  [[nodiscard]] Result<void> follow(PolicyBook next);
  [[nodiscard]] Result<void> check_named_pools(const PolicyBook& next) const;
  [[nodiscard]] Result<void> check_new_pools(const Caller& caller, DedicatedPoolId first, std::uint32_t count,
                                             CustomerId customer) const;
  [[nodiscard]] Result<Grant> adopt_as(const PolicyBook& next, VmId vm, const Placement& placement);

  // policy_manager_store.cpp
  [[nodiscard]] static Result<Document> read(std::string_view text, Policy built_in);
  [[nodiscard]] Result<void> restore_group(TrustGroupId group, const GroupFacts& facts);
  [[nodiscard]] Result<void> restore_pool(DedicatedPoolId pool, const LostPool& facts);

  PolicyBook book_;
  MemoryManager* manager_;
  std::map<DedicatedPoolId, CustomerId> filling_;  ///< Asked for, and not in the book yet.
  std::map<DedicatedPoolId, LostPool> lost_;       ///< Of the document; the manager may have them meanwhile.
  std::map<VmId, Placement> unadopted_;
};

}  // namespace sluice::inline manager
