// SPDX-License-Identifier: Apache-2.0
#pragma once

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
  void release_all(VmId vm, const ScrubSettings& scrub);
  /// The VM goes down: its memory is reserved for it, or released where its settings allow no reuse.
  void reserve(const Tenants::Vm& vm);
  enum class Keep : std::uint8_t { Nothing, ForNextClaim };
  /// Releases what is reserved for a VM and not part of a claim.
  void release_reserved(VmId vm, Keep keep);
  /// Releases what is not to be kept any more.
  void settings_changed(const Tenants::Vm& vm);

 private:
  [[nodiscard]] Result<void> check_release(const Tenants::Vm& vm, MemorySpan memory) const;
  void release(Extent& extent, const ScrubSettings& scrub);

  ExtentTable& table_;
  const Tenants& tenants_;
  const Scrubber& scrubber_;  ///< Says what time it is.
};

}  // namespace sluice::inline manager
