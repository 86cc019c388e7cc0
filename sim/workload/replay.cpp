// SPDX-License-Identifier: Apache-2.0
#include "sluice/workload/replay.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "sluice/memory/extent_table.hpp"

namespace sluice::inline workload {

Replay::Replay(const Trace& trace, const BackingMemory& memory, Engine& engine, const ReplayOptions& options)
    : trace_(trace),
      options_(options),
      engine_(engine, options.scrub_rate / static_cast<double>(options.memory_scale)),
      made_(MemoryManager::create(memory, engine_,
                                  {.background_job_length = options.job_length,
                                   .clean_target = options.clean_target,
                                   .idle_after = options.idle_after,
                                   .clock = [this] { return engine_.time(); }})),
      page_(kPageSize) {
  for (const Brick& brick : memory.bricks()) page_ = std::max(page_, page_length(brick.pages));
}

ReplayResult Replay::run(const std::atomic<bool>& stop, const std::function<void(std::size_t)>& progress) {
  if (!made_) {
    fail(made_.error());
    return std::move(result_);
  }
  stop_ = &stop;
  scrub_everything(stop);
  for (const TraceEvent& event : trace_.events) {
    if (failed()) break;
    if (stop.load(std::memory_order_relaxed)) {
      interrupt();
      break;
    }
    advance_to(std::chrono::milliseconds(event.time_ms));
    if (!failed()) handle(event);
    if (failed()) break;
    result_.levels.push_back({engine_.time() - trace_start_, manager().extents().bytes(ExtentState::Clean)});
    progress(++result_.events_done);
  }
  if (!failed() && manager().fault()) fail(*manager().fault());
  result_.statistics = manager().statistics();
  result_.oracle_read = oracle_.bytes_read();
  result_.oracle_written = oracle_.bytes_written();
  if (failed()) result_.in_flight_at_stop = manager().stop();
  return std::move(result_);
}

/// Nothing is clean by default: the pool is scrubbed before the first VM comes. What it costs is not the trace's.
void Replay::scrub_everything(const std::atomic<bool>& stop) {
  const std::chrono::nanoseconds start = engine_.now();
  engine_.set_time(std::chrono::nanoseconds::zero());
  while (manager().has_work() && !stop.load(std::memory_order_relaxed)) {
    if (const auto due = engine_.next_due()) engine_.set_time(*due);
    manager().poll();
  }
  if (manager().fault()) {
    fail(*manager().fault());
    return;
  }
  result_.initial_scrub = engine_.now() - start;
  const Statistics initial = manager().statistics();
  manager().reset_statistics();
  result_.quarantined_at_start = initial.quarantined;
  trace_start_ = engine_.time();
}

/// Lets the background scrubs happen that are due by then.
void Replay::advance_to(std::chrono::nanoseconds time) {
  time += trace_start_;
  while (!failed()) {
    auto due = engine_.next_due();
    if (const auto scheduled = manager().next_scheduled(); scheduled && (!due || *scheduled < *due)) due = scheduled;
    if (!due || *due > time) break;
    engine_.set_time(*due);
    drain_due();
  }
  engine_.set_time(time);
  drain_due();
}

/// Polls until everything that is due by the trace's clock has settled.
void Replay::drain_due() {
  do {
    manager().poll();
    if (const auto fault = manager().fault()) fail(*fault);
  } while (!failed() && engine_.next_due() && *engine_.next_due() <= engine_.time());
}

void Replay::interrupt() {
  result_.end = ReplayEnd::Interrupted;
  result_.message = fmt::format("interrupted after {} of {} events", result_.events_done, trace_.events.size());
}

ByteCount Replay::scaled_bytes(const TraceEvent& event) const {
  return scaled(event.bytes, options_.memory_scale, page_);
}

void Replay::wait_until(const bool& done) {
  while (!done) {
    manager().poll();
    if (done) return;
    if (stop_->load(std::memory_order_relaxed)) {
      interrupt();
      return;
    }
    // Nothing more happens at this instant: the claim waits, and time goes on.
    const auto due = engine_.next_due();
    if (due && *due > engine_.time()) engine_.set_time(*due);
  }
}

void Replay::fail(const Error& error) {
  if (failed()) return;
  const bool memory = error.code == HostErrc::OutOfMemory;
  result_.end = memory ? ReplayEnd::OutOfMemory : ReplayEnd::EngineFailed;
  result_.message = error.message;
}

void Replay::handle(const TraceEvent& event) {
  const auto check = [this](const Result<void>& result) {
    if (!result) fail(result.error());
    return result.has_value();
  };
  switch (event.kind) {
    case TraceEventKind::CreateGroup:
      if (!check(manager().create_trust_group(event.group, event.customer, event.inside))) return;
      groups_.insert(event.group);
      oracle_.group_created(event.group, event.inside);
      return;
    case TraceEventKind::CreatePool:
      handle_create_pool(event);
      return;
    case TraceEventKind::DestroyPool:
      check(manager().destroy_dedicated_pool(event.pool));
      return;
    case TraceEventKind::Create:
      handle_create(event);
      return;
    case TraceEventKind::BalloonUp:
      give(event.vm, scaled_bytes(event), false);
      return;
    case TraceEventKind::BalloonDown:
      handle_balloon_down(event);
      return;
    case TraceEventKind::Reboot:
      handle_reboot(event);
      return;
    case TraceEventKind::ChangeGroup:
      if (!know_group(event.group, vms_.at(event.vm).customer)) return;
      if (check(manager().change_trust_group(event.vm, event.group))) oracle_.group_changed(event.vm, event.group);
      return;
    case TraceEventKind::Terminate:
      if (!check(manager().terminate(event.vm))) return;
      oracle_.vm_ended(event.vm);
      vms_.erase(event.vm);
      return;
  }
}

void Replay::handle_create_pool(const TraceEvent& event) {
  const auto done = std::make_shared<bool>(false);
  const auto handler = [this, waits = std::weak_ptr(done)](const Result<void>& made) {
    const auto waited = waits.lock();
    if (!waited) return;  // nobody waits any more
    if (!made) fail(made.error());
    *waited = true;
  };
  const auto claim = manager().create_dedicated_pool(event.pool, event.customer, scaled_bytes(event), handler,
                                                     {.placement = {}, .shares = true});
  if (!claim) {
    fail(claim.error());
    return;
  }
  wait_until(*done);
}

/// Groups come into being with the first VM that names them.
bool Replay::know_group(TrustGroupId group, CustomerId customer) {
  if (!group.is_set() || !groups_.insert(group).second) return true;
  const auto created = manager().create_trust_group(group, customer);
  if (!created) fail(created.error());
  return created.has_value();
}

void Replay::handle_create(const TraceEvent& event) {
  if (!know_group(event.group, event.customer)) return;
  const EffectivePolicy policy = options_.policies.effective({event.vm, event.group, {}, event.customer});
  if (auto created =
          manager().create_vm({event.vm, event.customer, event.pool, event.group, policy.recycle, policy.scrub, {}});
      !created) {
    fail(created.error());
    return;
  }
  oracle_.vm_created(event.vm, event.customer, event.group, event.pool);
  vms_[event.vm].customer = event.customer;
  give(event.vm, scaled_bytes(event), false);
}

/// The guest gives back its last pages.
void Replay::handle_balloon_down(const TraceEvent& event) {
  Vm& vm = vms_.at(event.vm);
  ByteCount left = scaled_bytes(event);
  if (left >= vm.length) left = vm.length - page_;  // rounding may have made it as large as the VM
  while (left > ByteCount(0)) {
    MemorySpan& last = vm.memory.back();
    const std::size_t length = std::min<std::size_t>(last.size(), left.value());
    if (auto released = manager().release(event.vm, last.last(length)); !released) {
      fail(released.error());
      return;
    }
    last = last.first(last.size() - length);
    if (last.empty()) vm.memory.pop_back();
    left -= ByteCount(length);
    vm.length -= ByteCount(length);
  }
}

void Replay::handle_reboot(const TraceEvent& event) {
  if (auto begun = manager().begin_reboot(event.vm); !begun) {
    fail(begun.error());
    return;
  }
  vms_.at(event.vm).memory.clear();
  vms_.at(event.vm).length = {};
  give(event.vm, scaled_bytes(event), true);
}

void Replay::give(VmId vm, ByteCount length, bool reboot) {
  if (length == ByteCount(0)) return;
  const Asked asked{engine_.now(), engine_.time(), reboot};
  const auto done = std::make_shared<bool>(false);
  const auto handler = [this, vm, asked, waits = std::weak_ptr(done)](Result<Grant> grant) {
    const auto waited = waits.lock();
    if (!waited) return;  // nobody waits any more
    *waited = true;
    if (grant) {
      receive(vm, *grant, asked);
    } else {
      fail(grant.error());
    }
  };
  const auto claim = reboot ? manager().finish_reboot(vm, length, handler) : manager().allocate(vm, length, handler);
  if (!claim) {
    fail(claim.error());
    return;
  }
  wait_until(*done);
}

void Replay::receive(VmId id, const Grant& grant, const Asked& asked) {
  Vm& vm = vms_.at(id);
  GrantFacts facts;
  GrantKind kind = grant.waited ? GrantKind::Scrubbed : GrantKind::Clean;
  for (const GrantedRange& range : grant.ranges) {
    if (range.recycled) kind = GrantKind::Skipped;
    vm.memory.push_back(range.memory);
    vm.length += length_of(range.memory);
    facts.length += length_of(range.memory);
    if (range.recycled) facts.recycled += length_of(range.memory);
    if (!options_.vms_write) continue;
    if (const auto leak = oracle_.inspect(id, range.memory, !range.recycled)) {
      ++result_.leaks;
      result_.end = ReplayEnd::Leak;
      result_.message = *leak;
      return;
    }
    oracle_.fill(id, range.memory);
  }
  result_.latencies[static_cast<std::size_t>(kind)].push_back(engine_.now() - asked.engine_time);
  const auto in_trace = [&](ByteCount bytes) { return ByteCount(bytes.value() * options_.memory_scale); };
  result_.grants.push_back({in_trace(vm.length), in_trace(facts.length), in_trace(facts.recycled), asked.reboot,
                            engine_.time() - asked.trace_time});
}

}  // namespace sluice::inline workload
