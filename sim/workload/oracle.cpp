// SPDX-License-Identifier: Apache-2.0
#include "sluice/workload/oracle.hpp"

#include <fmt/format.h>

#include <set>

namespace sluice::inline workload {
namespace {

/// The upper half names the writer, the lower half fits writer and address together.
std::uint64_t canary(std::uint32_t tag, const std::uint64_t* address) {
  const auto place = static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(address) >> 3);
  return static_cast<std::uint64_t>(tag) << 32 | (place * 0x9E3779B1U ^ tag * 0x85EBCA6BU);
}

std::uint64_t* words(MemorySpan memory) { return reinterpret_cast<std::uint64_t*>(memory.data()); }

}  // namespace

TrustGroupId Oracle::larger(TrustGroupId group) const {
  const auto found = larger_.find(group);
  return found == larger_.end() || !found->second.is_set() ? group : found->second;
}

std::uint64_t Oracle::version(TrustGroupId group) const {
  const auto found = versions_.find(group);
  return found == versions_.end() ? 0 : found->second;
}

void Oracle::enroll(VmId vm, const Writer& writer) {
  writers_.push_back(writer);
  writers_.back().group_version = version(writer.group);
  writers_.back().larger_version = version(larger(writer.group));
  tag_of_vm_[vm] = static_cast<std::uint32_t>(writers_.size());
}

void Oracle::vm_created(VmId vm, CustomerId customer, TrustGroupId group, DedicatedPoolId pool) {
  enroll(vm, {vm, customer, group, pool});
}

/// Nobody of either group may see what was written before, nor of the groups around them if the VM leaves or enters
/// one.
void Oracle::group_changed(VmId vm, TrustGroupId group) {
  Writer writer = writers_[tag_of_vm_.at(vm) - 1];
  if (writer.group == group) return;
  const TrustGroupId left = larger(writer.group);
  const TrustGroupId joined = larger(group);
  std::set<TrustGroupId> changed = {writer.group, group};
  if (left != joined) changed.insert({left, joined});
  for (const TrustGroupId each : changed) {
    if (each.is_set()) ++versions_[each];
  }
  writer.group = group;
  enroll(vm, writer);
}

void Oracle::vm_ended(VmId vm) { tag_of_vm_.erase(vm); }

void Oracle::fill(VmId vm, MemorySpan memory) {
  const Writer writer = writers_[tag_of_vm_.at(vm) - 1];
  if (writer.group_version != version(writer.group) || writer.larger_version != version(larger(writer.group))) {
    enroll(vm, writer);
  }
  const std::uint32_t tag = tag_of_vm_.at(vm);
  std::uint64_t* const begin = words(memory);
  std::uint64_t* const end = begin + memory.size() / sizeof(std::uint64_t);
  for (std::uint64_t* word = begin; word != end; ++word) *word = canary(tag, word);
  bytes_written_ += length_of(memory);
}

bool Oracle::may_see(const Writer& reader, const Writer& writer) const {
  if (reader.vm == writer.vm) return true;
  if (reader.customer != writer.customer) return false;
  if (reader.pool.is_set() && reader.pool == writer.pool) return true;
  if (!reader.group.is_set() || !writer.group.is_set()) return false;
  if (reader.group == writer.group && writer.group_version == version(reader.group)) return true;
  const TrustGroupId around = larger(reader.group);
  return around == larger(writer.group) && writer.larger_version == version(around);
}

std::optional<std::string> Oracle::inspect(VmId vm, MemorySpan memory, bool said_clean) {
  const Writer& reader = writers_[tag_of_vm_.at(vm) - 1];
  const std::uint64_t* const begin = words(memory);
  const std::uint64_t* const end = begin + memory.size() / sizeof(std::uint64_t);
  bytes_read_ += length_of(memory);
  std::uint32_t allowed_tag = 0;
  for (const std::uint64_t* word = begin; word != end; ++word) {
    if (*word == 0) continue;
    const auto tag = static_cast<std::uint32_t>(*word >> 32);
    const auto where = [&] {
      return fmt::format("{} of {} bytes given to VM {}", (word - begin) * 8, memory.size(), vm.value());
    };
    if (tag == 0 || tag > writers_.size() || *word != canary(tag, word)) {
      return fmt::format("byte {} holds {:#018x}, which no VM wrote there", where(), *word);
    }
    if (said_clean) {
      return fmt::format("byte {} is said to be clean and holds data of VM {}", where(), writers_[tag - 1].vm.value());
    }
    if (tag == allowed_tag) continue;
    const Writer& writer = writers_[tag - 1];
    if (!may_see(reader, writer)) {
      return fmt::format(
          "byte {} (customer {}, group {}, pool {}) holds data of VM {} (customer {}, group {}, pool {})", where(),
          reader.customer.value(), reader.group.value(), reader.pool.value(), writer.vm.value(),
          writer.customer.value(), writer.group.value(), writer.pool.value());
    }
    allowed_tag = tag;
  }
  return std::nullopt;
}

}  // namespace sluice::inline workload
