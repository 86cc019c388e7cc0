// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "sluice/base/ids.hpp"
#include "sluice/memory/error.hpp"

namespace sluice::inline policy {

/// What can be said about a VM's memory. Each field can be left open.
enum class PolicyField : std::uint8_t {
  Enable,
  RecycleOnReboot,
  RecycleWithinVm,
  RecycleWithinDedicatedPool,
  RecycleWithinTrustGroup,
  ForceNewMemory,
  RetainMemory,
  GrowPoolOnReboot,
  ScrubTiming,
  ScrubDelay,
  Fill,
  FillPattern,
  TrustGroup,
  DedicatedPool,
  Reservation,
  LendReservedMemory,
};
inline constexpr std::size_t kPolicyFields = 16;

/// As in documents: "recycle_on_reboot".
[[nodiscard]] std::string_view to_string(PolicyField field);

/// A policy document: some fields with their values, as they stand in a document.
class Policy {
 public:
  /// One object with the fields of docs/policy.schema.json. Errors: InvalidArgument for text that does not parse, for
  /// fields and values that do not exist, and for what contradicts itself; they say where and what.
  [[nodiscard]] static Result<Policy> from_json(std::string_view text);
  [[nodiscard]] static Result<Policy> from_toml(std::string_view text);
  [[nodiscard]] std::string to_json() const;
  /// The JSON Schema (2020-12) of documents.
  [[nodiscard]] static std::string schema();

  /// nullopt: left open. Ids in decimal digits; "0" for none.
  [[nodiscard]] std::optional<std::string> value(PolicyField field) const;
  /// Names pool `to` where it named `from`.
  void rename_pool(DedicatedPoolId from, DedicatedPoolId to);
  bool operator==(const Policy&) const = default;

 private:
  friend class PolicyReader;
  std::map<PolicyField, std::string> values_;
};

}  // namespace sluice::inline policy
