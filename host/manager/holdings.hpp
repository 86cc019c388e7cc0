// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <set>
#include <vector>

#include "scrubber.hpp"
#include "tenants.hpp"

namespace sluice::inline manager {

/// What VMs hold and give back: memory in use, and memory that is reserved for a VM while that reboots.
class Holdings {
 public:
  Holdings(ExtentTable& table, const Tenants& tenants, const Scrubber& scrubber)
      : table_(table), tenants_(tenants), scrubber_(scrubber) {}

  /// All that a VM holds and that is part of no claim.
  [[nodiscard]] std::vector<Extent*> of(VmId vm) const;

  /// Gives back a part. Errors: InvalidArgument, NotHeld, NoResources.
  [[nodiscard]] Result<void> release(const Tenants::Vm& vm, MemorySpan memory);
  /// The VM is gone for good: all that it holds is released.
  void release_all(const Tenants::Vm& vm);
  /// The same of a VM of which only the id is known.
  void release_unadopted(VmId vm);
  /// Shared memory that pools are yet to get, which no pool grows by at a reboot. bytes
  struct Promised {
    ByteCount to_pools;
    ByteCount to_own_pool;  ///< Of these.
  };
  /// The VM goes down: its memory is reserved for it, or released where its settings allow no reuse.
  void reserve(const Tenants::Vm& vm, const Promised& promised);
  /// The VM reboots and holds what it has on: all of that is of its new boot.
  void keep_through_reboot(const Tenants::Vm& vm, const Promised& promised);
  /// The VM has ended, or is no member of this pool any more: nobody owns what it gave back there.
  void leave_pool(VmId vm, DedicatedPoolId pool);
  enum class Keep : std::uint8_t { Nothing, ForNextClaim };
  /// Releases what is reserved for a VM and not part of a claim.
  void release_reserved(VmId vm, Keep keep);
  /// Follows new settings: releases what is not to be kept any more, and marks what the VM must not get again.
  /// `comes_back`: it reboots, or its claim after a reboot is pending.
  void settings_changed(const Tenants::Vm& vm, bool comes_back);
  /// MemoryManager::suspect(), of a VM that there is.
  [[nodiscard]] Result<void> suspect(MemorySpan memory, VmId vm);
  /// A claim gives an extent back: it joins its neighbours, and is released if it was reserved and is not any more.
  void returned(Extent& extent);
  /// Releases what was reserved for too long.
  void expire();
  /// What is reserved for the VM may go to its trust group: it is kept for it, and its settings lend it.
  [[nodiscard]] bool lends(const Tenants::Vm& vm) const;
  /// When the next reservation ends; nullopt: none does.
  [[nodiscard]] std::optional<std::chrono::nanoseconds> next_expiry() const;

 private:
  [[nodiscard]] Result<void> check_release(const Tenants::Vm& vm, MemorySpan memory) const;
  template <class Act>
  void for_each_piece(MemorySpan memory, Act act);
  enum class Leaves : std::uint8_t { No, ForGood };
  void release(Extent& extent, const Tenants::Vm& vm, Leaves leaves);
  void disown(Extent& extent);
  void set_expiry(const Tenants::Vm& vm);
  [[nodiscard]] bool joins_pool(const Extent& extent, const Claim& reboot, const Promised& promised) const;
  [[nodiscard]] std::vector<Extent*> given_back(VmId vm) const;

  ExtentTable& table_;
  const Tenants& tenants_;
  const Scrubber& scrubber_;  ///< Says what time it is.
  struct Expiry {
    std::chrono::nanoseconds time;
    VmId vm;
    BootNumber boot = 0;  ///< For which it is reserved.
    auto operator<=>(const Expiry&) const = default;
  };
  std::set<Expiry> expiries_;
};

}  // namespace sluice::inline manager
