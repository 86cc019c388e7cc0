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

void MemoryModel::belongs(std::size_t page, Id pool, Id holder) {
  Page& here = pages_[page];
  if (here.pool == pool) return;
  here.pool = pool;
  for (std::size_t mark = 0; mark < here.count; ++mark) {
    here.marks[mark].apart = true;
    if (traces_[here.marks[mark].trace].writer.vm != holder) here.marks[mark].left = true;
  }
}

void MemoryModel::leaves_pool(Id vm, std::size_t page, Id holder) {
  Page& here = pages_[page];
  for (std::size_t mark = 0; mark < here.count; ++mark) {
    if (traces_[here.marks[mark].trace].writer.vm != vm) continue;
    if (holder == vm) here.marks[mark].apart = true;
    if (holder != vm) here.marks[mark].left = true;
  }
}

void MemoryModel::returns(std::size_t page, Id vm) {
  Page& here = pages_[page];
  for (std::size_t mark = 0; mark < here.count; ++mark) {
    if (traces_[here.marks[mark].trace].writer.vm == vm) here.marks[mark].left = false;
  }
}

void MemoryModel::gives_away_to_pool(Id vm, std::size_t page) {
  if (pages_[page].pool != 0) leaves_pool(vm, page, 0);
}

void MemoryModel::write(std::size_t page, const Vm& vm, bool all) {
  Page& here = pages_[page];
  Trace trace = trace_of(vm);
  if (vm.pool != here.pool) trace.writer.pool = 0;
  std::uint32_t number = last_trace_.try_emplace({vm.vm, trace.writer.pool}, ~0U).first->second;
  if (number == ~0U || !(traces_[number] == trace)) {
    number = static_cast<std::uint32_t>(traces_.size());
    traces_.push_back(trace);
    last_trace_[{vm.vm, trace.writer.pool}] = number;
  }
  here.filled = false;
  if (all) here.count = 0;
  const auto end = here.marks.begin() + here.count;
  const auto same = [&](const Mark& mark) { return mark.trace == number && !mark.left && !mark.apart; };
  if (const auto found = std::find_if(here.marks.begin(), end, same); found != end) {
    std::rotate(found, found + 1, end);
    return;
  }
  // More writers than there is room for: the oldest is written over.
  if (here.count == here.marks.size()) {
    std::rotate(here.marks.begin(), here.marks.begin() + 1, here.marks.end());
    --here.count;
  }
  here.marks[here.count++] = {number, false, false};
}

void MemoryModel::fill(std::size_t page, std::uint64_t pattern, bool whole) {
  Page& here = pages_[page];
  here.filled = whole;
  if (!whole) return;
  here.count = 0;
  here.pattern = pattern;
}

Id MemoryModel::last_writer(std::size_t page) const {
  const Page& here = pages_[page];
  return here.count == 0 ? 0 : traces_[here.marks[here.count - 1].trace].writer.vm;
}

/// A VM's own memory of an earlier boot only that setting concerns; of this boot, its pool's only that of pools.
bool MemoryModel::may_see(const Page& page, const Reader& reader, const Trace& own, const Mark& mark,
                          const Trace& found) {
  const Vm& writer = found.writer;
  if (reader.vm.customer != writer.customer) return false;
  const bool same_group = own.writer.group != 0 && own.writer.group == writer.group && own.age == found.age;
  const bool same_larger = own.larger != 0 && own.larger == found.larger && own.larger_age == found.larger_age;
  const bool by_group = reader.within_group && (same_group || same_larger);
  const bool is_shared = reader.pool_shares && reader.vm.pool != 0 && reader.vm.pool == page.pool &&
                         writer.pool == page.pool && !mark.apart;
  if (reader.vm.vm != writer.vm) return (reader.within_pool && is_shared) || by_group;
  // What a VM leaves in a pool that shares stays there for its members, of which it may be one again.
  const bool left = mark.left && !is_shared;
  if (reader.vm.boot != writer.boot) return reader.after_reboot && (!left || by_group);
  // What it held when that went out of its pool is elsewhere now.
  const bool of_a_pool = page.pool != 0 || (writer.pool != 0 && (mark.left || !mark.apart));
  if (of_a_pool) return reader.within_pool && (!left || by_group);
  return by_group || (reader.within_vm && !left);
}

std::optional<std::string> MemoryModel::forbidden(std::size_t page, const Reader& reader) const {
  const Page& here = pages_[page];
  if (here.count == 0) return std::nullopt;
  const Trace own = trace_of(reader.vm);
  bool has_seen = false;
  for (std::size_t number = here.count; number > 0; --number) {
    const Mark& mark = here.marks[number - 1];
    const Trace& found = traces_[mark.trace];
    const bool is_own = found.writer.vm == reader.vm.vm;
    // It wrote there: what others wrote before, it has seen.
    if (has_seen && !is_own) continue;
    has_seen = has_seen || is_own;
    if (may_see(here, reader, own, mark, found)) continue;
    const Vm& vm = reader.vm;
    return fmt::format(
        "VM {} (customer {}, group {}, pool {}, boot {}) may not see what VM {} (customer {}, group {}, pool {}, boot "
        "{}) "
        "wrote in pool {}{}",
        vm.vm, vm.customer, vm.group, vm.pool, vm.boot, found.writer.vm, found.writer.customer, found.writer.group,
        found.writer.pool, found.writer.boot, here.pool, mark.left ? ", which it left" : "");
  }
  return std::nullopt;
}

}  // namespace sluice::world
