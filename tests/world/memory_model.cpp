// SPDX-License-Identifier: Apache-2.0
#include "memory_model.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace sluice::world {

/// The group around this one, or itself; 0 for none.
Id MemoryModel::around(Id group) const {
  const auto found = groups_.find(group);
  if (found == groups_.end()) return 0;
  return found->second.inside != 0 ? found->second.inside : group;
}

void MemoryModel::age(Id group) {
  if (const auto found = groups_.find(group); found != groups_.end()) ++found->second.age;
}

void MemoryModel::enable_group(Id group, bool enabled) {
  Group& changed = groups_.at(group);
  if (changed.enabled && !enabled) {
    ++changed.age;
    age(changed.inside);
  }
  changed.enabled = enabled;
}

void MemoryModel::moved(Id from, Id to) {
  if (from == to) return;
  age(from);
  age(to);
  // Whoever stays inside the larger group changes nothing for that.
  if (around(from) == around(to)) return;
  if (around(from) != from) age(around(from));
  if (around(to) != to) age(around(to));
}

MemoryModel::Trace MemoryModel::trace_of(const Vm& vm) const {
  Trace trace{vm, 0, 0, 0};
  const auto group = groups_.find(vm.group);
  if (group == groups_.end() || !group->second.enabled) {
    trace.writer.group = 0;
    return trace;
  }
  trace.age = group->second.age;
  const auto larger = groups_.find(around(vm.group));
  if (!larger->second.enabled) return trace;
  trace.larger = larger->first;
  trace.larger_age = larger->second.age;
  return trace;
}

void MemoryModel::write(std::size_t page, const Vm& vm, bool all) {
  Page& here = pages_[page];
  const Trace trace = trace_of(vm);
  std::uint32_t number = last_trace_.try_emplace(vm.vm, ~0U).first->second;
  if (number == ~0U || !(traces_[number] == trace)) {
    number = static_cast<std::uint32_t>(traces_.size());
    traces_.push_back(trace);
    last_trace_[vm.vm] = number;
  }
  here.filled = false;
  if (all) here.count = 0;
  const auto end = here.traces.begin() + here.count;
  if (const auto found = std::find(here.traces.begin(), end, number); found != end) {
    std::rotate(found, found + 1, end);
    return;
  }
  // More writers than there is room for: the oldest is written over.
  if (here.count == here.traces.size()) {
    std::rotate(here.traces.begin(), here.traces.begin() + 1, here.traces.end());
    --here.count;
  }
  here.traces[here.count++] = number;
}

void MemoryModel::fill(std::size_t page, std::uint64_t pattern, bool whole) {
  Page& here = pages_[page];
  here.filled = whole;
  if (!whole) return;
  here.count = 0;
  here.pattern = pattern;
}

bool MemoryModel::may_see(const Trace& reader, const Trace& writer) const {
  if (reader.writer.vm == writer.writer.vm) return true;
  if (reader.writer.customer != writer.writer.customer) return false;
  if (reader.writer.pool != 0 && reader.writer.pool == writer.writer.pool) return true;
  if (reader.writer.group != 0 && reader.writer.group == writer.writer.group && reader.age == writer.age) return true;
  return reader.larger != 0 && reader.larger == writer.larger && reader.larger_age == writer.larger_age;
}

std::optional<std::string> MemoryModel::forbidden(std::size_t page, const Vm& reader) const {
  const Page& here = pages_[page];
  if (here.count == 0) return std::nullopt;
  const Trace own = trace_of(reader);
  for (std::size_t trace = here.count; trace > 0; --trace) {
    const Trace& found = traces_[here.traces[trace - 1]];
    // It wrote there: what was there before, it has seen.
    if (found.writer.vm == reader.vm) break;
    if (may_see(own, found)) continue;
    return fmt::format("VM {} (customer {}, group {}) may not see what VM {} (customer {}, group {}) wrote", reader.vm,
                       reader.customer, reader.group, found.writer.vm, found.writer.customer, found.writer.group);
  }
  return std::nullopt;
}

}  // namespace sluice::world
