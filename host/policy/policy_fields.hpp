// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <span>

#include "sluice/policy/claim.hpp"
#include "sluice/policy/policy.hpp"

namespace sluice::inline policy {

enum class FieldKind : std::uint8_t { Switch, Seconds, Choice, Pattern, Id };

struct FieldFacts {
  PolicyField field;
  std::string_view name;
  FieldKind kind;
  std::span<const std::string_view> choices;  ///< Choice
  bool RecycleSettings::*flag;                ///< Switch: what it sets.
  bool recycles;                              ///< A switch that lets memory be handed over as it is.
  std::string_view meaning;
};

inline constexpr std::array<std::string_view, 4> kTimings = {"after_release", "before_grant", "both", "scheduled"};
inline constexpr std::array<std::string_view, 5> kMethods = {"zeros", "ones", "pattern", "random", "erase"};
inline constexpr ByteCount kLongestDocument{64 << 10};
inline constexpr double kShortestDelaySeconds = 1e-9;       // the clock's tick
inline constexpr double kLongestDelaySeconds = 31'536'000;  // a year

inline constexpr std::array<FieldFacts, kPolicyFields> kFields = {{
    {PolicyField::Enable,
     "enable",
     FieldKind::Switch,
     {},
     &RecycleSettings::enable,
     false,
     "false: no memory is reused unscrubbed in any way"},
    {PolicyField::RecycleOnReboot,
     "recycle_on_reboot",
     FieldKind::Switch,
     {},
     &RecycleSettings::recycle_on_reboot,
     true,
     "the VM comes back from a reboot with its own memory"},
    {PolicyField::RecycleWithinVm,
     "recycle_within_vm",
     FieldKind::Switch,
     {},
     &RecycleSettings::recycle_within_vm,
     true,
     "the VM gets back unscrubbed what it gave back by its balloon, outside its pool"},
    {PolicyField::RecycleWithinDedicatedPool,
     "recycle_within_dedicated_pool",
     FieldKind::Switch,
     {},
     &RecycleSettings::recycle_within_dedicated_pool,
     true,
     "memory of its dedicated pool comes back unscrubbed, and moves between the VMs of a pool that shares"},
    {PolicyField::RecycleWithinTrustGroup,
     "recycle_within_trust_group",
     FieldKind::Switch,
     {},
     &RecycleSettings::recycle_within_trust_group,
     true,
     "memory moves unscrubbed between the VMs of its trust group"},
    {PolicyField::ForceNewMemory,
     "force_new_memory",
     FieldKind::Switch,
     {},
     &RecycleSettings::force_new_memory,
     false,
     "the VM gets none of the memory that it had since this was set, or has then"},
    {PolicyField::RetainMemory,
     "retain_memory",
     FieldKind::Switch,
     {},
     &RecycleSettings::retain_memory,
     true,
     "what the VM does not need after a reboot stays reserved for it"},
    {PolicyField::GrowPoolOnReboot,
     "grow_pool_on_reboot",
     FieldKind::Switch,
     {},
     &RecycleSettings::grow_pool_on_reboot,
     false,
     "what the VM holds beyond its dedicated pool joins that on a reboot"},
    {PolicyField::ScrubTiming, "scrub_timing", FieldKind::Choice, kTimings, nullptr, false, "when memory is scrubbed"},
    {PolicyField::ScrubDelay,
     "scrub_delay_s",
     FieldKind::Seconds,
     {},
     nullptr,
     false,
     "seconds from the release to a scheduled scrub"},
    {PolicyField::Fill, "fill", FieldKind::Choice, kMethods, nullptr, false, "what memory is overwritten with"},
    {PolicyField::FillPattern,
     "fill_pattern",
     FieldKind::Pattern,
     {},
     nullptr,
     false,
     "the 64 bits of fill pattern, little endian"},
    {PolicyField::TrustGroup,
     "trust_group",
     FieldKind::Id,
     {},
     nullptr,
     false,
     "the trust group that the VM is in; 0 or null: none"},
    {PolicyField::DedicatedPool,
     "dedicated_pool",
     FieldKind::Id,
     {},
     nullptr,
     false,
     "the dedicated pool that the VM has its memory from; 0 or null: none"},
    {PolicyField::Reservation,
     "reservation_s",
     FieldKind::Seconds,
     {},
     nullptr,
     false,
     "seconds until memory that is reserved for a rebooting VM is released; 0: never"},
    {PolicyField::LendReservedMemory,
     "lend_reserved_memory",
     FieldKind::Switch,
     {},
     &RecycleSettings::lend_reserved_memory,
     true,
     "the trust group may have memory meanwhile that is reserved for a rebooting VM"},
}};
static_assert([] {
  for (std::size_t index = 0; index < kFields.size(); ++index) {
    if (kFields[index].field != static_cast<PolicyField>(index)) return false;
  }
  return true;
}());

/// "0x" and 16 hexadecimal digits; else nullopt.
[[nodiscard]] std::optional<std::uint64_t> pattern_of(std::string_view text);

}  // namespace sluice::inline policy
