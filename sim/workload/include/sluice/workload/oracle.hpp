// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "sluice/base/ids.hpp"
#include "sluice/base/units.hpp"

namespace sluice::inline workload {

/// Looks for leaks by reading memory. It knows what the trace says, and asks nothing of the manager: who a VM is, what
/// it wrote, what it was given. It shares no code with the manager's books or its policy.
///
/// Each VM fills its memory with canaries: 64-bit words that name their writer and fit only their own address.
class Oracle {
 public:
  void group_created(TrustGroupId group, TrustGroupId inside) { larger_[group] = inside; }
  void vm_created(VmId vm, CustomerId customer, TrustGroupId group, DedicatedPoolId pool);
  void group_changed(VmId vm, TrustGroupId group);
  void vm_ended(VmId vm);

  /// The VM writes all of `memory`.
  void fill(VmId vm, MemorySpan memory);

  /// Reads every word of memory that the VM has just been given. Says what is wrong with the first word that it must
  /// not see: a word of another trust domain, one that nobody wrote, or, in memory that is said to be clean, any word
  /// but zero.
  [[nodiscard]] std::optional<std::string> inspect(VmId vm, MemorySpan memory, bool said_clean);

  [[nodiscard]] ByteCount bytes_read() const { return bytes_read_; }
  [[nodiscard]] ByteCount bytes_written() const { return bytes_written_; }

 private:
  /// A VM between two changes of membership in its group or in the one around it. Its index + 1 is the tag in its
  /// canaries.
  struct Writer {
    VmId vm;
    CustomerId customer;
    TrustGroupId group;
    DedicatedPoolId pool;
    std::uint64_t group_version = 0;
    std::uint64_t larger_version = 0;
  };

  [[nodiscard]] bool may_see(const Writer& reader, const Writer& writer) const;
  /// The group around this one, or itself.
  [[nodiscard]] TrustGroupId larger(TrustGroupId group) const;
  [[nodiscard]] std::uint64_t version(TrustGroupId group) const;
  void enroll(VmId vm, const Writer& writer);

  std::vector<Writer> writers_;
  std::unordered_map<VmId, std::uint32_t> tag_of_vm_;
  std::unordered_map<TrustGroupId, std::uint64_t> versions_;
  std::unordered_map<TrustGroupId, TrustGroupId> larger_;
  ByteCount bytes_read_;
  ByteCount bytes_written_;
};

}  // namespace sluice::inline workload
