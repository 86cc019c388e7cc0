// SPDX-License-Identifier: Apache-2.0
#include "sluice/daemon/host.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <utility>

#include "registrations.hpp"
#include "sluice/base/parse.hpp"

namespace sluice::inline daemon {
namespace {

const Caller kProvider = Caller::provider();

PolicySubject subject_of(const VmRecord& record) {
  return {.vm = record.vm, .group = record.group, .user = {}, .customer = record.customer, .pool = record.pool};
}

LeaseStatus status_of(const LeaseFacts& facts) {
  LeaseStatus status{.state = facts.state, .lease = facts.id, .brick_count = 0, .size = {}, .holders = {}};
  status.brick_count = static_cast<std::uint32_t>(facts.bricks.size());
  for (const LeasedBrick& brick : facts.bricks) status.size += brick.length;
  for (const Holder& holder : facts.holders) status.holders.push_back(static_cast<std::uint32_t>(holder.process));
  return status;
}

}  // namespace

Host::Host(PolicyManager& policies, const BackingMemory& memory, BrickAccess& access, LeaseStore& leases,
           StateStore& state, Audit& audit, HostEnvironment& environment, CustomerId customer,
           const LeaseOptions& options)
    : policies_(&policies),
      bricks_(memory.bricks()),
      store_(&leases),
      state_(&state),
      audit_(&audit),
      environment_(&environment),
      customer_(customer),
      leases_(
          policies.manager(), memory, access, [this](VmId vm) { return end_vm(vm); }, options) {
  for (std::uint32_t number = 0; number < bricks_.size(); ++number) {
    by_address_.emplace(bricks_[number].memory.data(), number);
  }
  last_.resize(bricks_.size());
  leases_.on_change([this](VmId vm, LeaseState now) {
    if (const auto record = vms_.find(vm); record != vms_.end()) told_(record->second, to_string(now));
  });
  leases_.on_return([this](VmId vm, std::uint32_t brick, bool reserved) { note_return(vm, brick, reserved); });
}

Result<void> Host::recover() {
  auto last = audit_->bricks(static_cast<std::uint32_t>(bricks_.size()));
  if (!last) return last.error();
  last_ = std::move(*last);
  const auto records = store_->all();
  if (!records) return records.error();
  const std::vector<VmId> with_memory = policies_->manager().unadopted();
  std::set<VmId> unknown(with_memory.begin(), with_memory.end());
  for (const VmRecord& record : *records) {
    if (unknown.erase(record.vm) == 0) {  // it waited, or has ended
      if (auto erased = store_->erase(record.vm); !erased) return erased;
    } else if (auto adopted = adopt(record); !adopted) {
      return adopted;
    }
  }
  for (const VmId vm : unknown) {
    VmRecord record;
    record.vm = vm;
    record.customer = customer_;
    if (auto adopted = adopt(record); !adopted) return adopted;
  }
  for (const VmId vm : policies_->unadopted()) {
    if (auto ended = policies_->terminate(kProvider, vm); !ended) return ended;
  }
  if (auto taken = leases_.take_free_bricks(); !taken) return taken;
  return complete_audit();
}

Result<void> Host::adopt(const VmRecord& record) {
  const Placement placement{.pages = {},
                            .unit = record.unit == ByteCount(0) ? std::nullopt : std::optional(record.unit)};
  const std::vector<VmId> registered = policies_->unadopted();
  const bool known = std::ranges::find(registered, record.vm) != registered.end();
  auto grant = known ? policies_->adopt(kProvider, record.vm, placement)
                     : policies_->adopt(kProvider, subject_of(record), placement);
  if (!grant) return grant.error();
  if (auto restored = leases_.restore({record.vm, record.epoch}, *grant, record.filtered); !restored) return restored;
  vms_.emplace(record.vm, record);
  if (record.uuid.is_set()) by_uuid_.emplace(record.uuid, record.vm);
  if (leases_.find(record.vm)->state == LeaseState::Reserved) return {};
  auto process = Process::find(record.process);
  if (!process) return leases_.process_ended(record.vm, false);
  environment_->watch(record.vm, std::move(*process));
  if (record.monitored) environment_->follow_monitor(record.vm);
  return {};
}

std::string Host::lengths() const {
  std::map<ByteCount, std::size_t> classes;
  for (const Brick& brick : bricks_) ++classes[length_of(brick.memory)];
  std::string text;
  for (const auto& [length, count] : classes) {
    text += fmt::format("{}{} ({} of them)", text.empty() ? "" : ", ", print_bytes(length), count);
  }
  return text;
}

/// The length of the bricks that a VM gets. All are of one length.
Result<ByteCount> Host::unit_for(std::span<const ByteCount> bricks, ByteCount size) const {
  std::set<ByteCount> classes;
  for (const Brick& brick : bricks_) classes.insert(length_of(brick.memory));
  if (bricks.empty()) {
    for (auto at = classes.rbegin(); at != classes.rend(); ++at) {
      if (size.value() % at->value() == 0 && size.value() / at->value() <= SLUICE_MOST_BRICKS) return *at;
    }
    return Error{HostErrc::InvalidArgument,
                 fmt::format("{} cannot be made of at most {} bricks of one length; there are bricks of {}",
                             print_bytes(size), SLUICE_MOST_BRICKS, lengths())};
  }
  for (const ByteCount length : bricks) {
    if (!classes.contains(length)) {
      return Error{HostErrc::InvalidArgument,
                   fmt::format("there is no brick of {}; there are bricks of {}", print_bytes(length), lengths())};
    }
    if (length != bricks.front()) {
      return Error{HostErrc::InvalidArgument,
                   fmt::format("bricks of {} and of {} for one VM: ask for bricks of one length",
                               print_bytes(bricks.front()), print_bytes(length))};
    }
  }
  return bricks.front();
}

/// As it will be if all goes well. Nothing has changed yet.
Result<VmRecord> Host::make_record(const AcquireRequest& request, const ProcessId& process) {
  const auto unit = unit_for(request.bricks, request.size);
  if (!unit) return unit.error();
  const auto known = by_uuid_.find(request.vm);
  const CustomerId otherwise = known == by_uuid_.end() ? customer_ : vms_.at(known->second).customer;
  const CustomerId customer = request.customer.is_set() ? request.customer : otherwise;
  VmRecord record{.uuid = request.vm,
                  .vm = {},
                  .name = request.name,
                  .customer = customer,
                  .group = request.group,
                  .pool = request.pool,
                  .unit = *unit,
                  .epoch = 1,
                  .filtered = request.filtered,
                  .monitored = request.wants_monitor,
                  .process = process};
  if (known == by_uuid_.end()) {
    const auto vm = state_->next_vm();
    if (!vm) return vm.error();
    record.vm = *vm;
    return record;
  }
  const VmRecord& before = vms_.at(known->second);
  const auto lease = leases_.find(before.vm);
  if (!lease || lease->state != LeaseState::Reserved) {
    return Error{HostErrc::WrongState,
                 fmt::format("VM {} has a lease that is {}, by process {}{}", to_string(request.vm),
                             lease ? to_string(lease->state) : "over", before.process.process,
                             lease && !lease->obstacle.empty() ? ": " + lease->obstacle : "; end that first")};
  }
  if (before.customer != customer) {
    return Error{HostErrc::ForeignCustomer, fmt::format("VM {} is one of customer {}, not of {}", to_string(request.vm),
                                                        before.customer.value(), customer.value())};
  }
  if (before.unit != *unit) {
    return Error{HostErrc::InvalidArgument,
                 fmt::format("VM {} had bricks of {} before it rebooted: ask for such bricks, not for {}",
                             to_string(request.vm), print_bytes(before.unit), print_bytes(*unit))};
  }
  record.vm = before.vm;
  record.group = before.group;
  record.pool = before.pool;
  record.epoch = before.epoch + 1;
  return record;
}

Result<void> Host::acquire(const AcquireRequest& asked_for, Process process, LeaseAnswer answer) {
  if (stopping_) return Error{HostErrc::ScrubUnavailable, "sluiced is ending: ask again when it runs"};
  const auto registered = state_->registration(asked_for.vm);
  if (!registered) return registered.error();
  // What a VM is that comes back was settled when it came.
  const bool is_new = !by_uuid_.contains(asked_for.vm);
  const auto completed =
      is_new && *registered ? as_registered(asked_for, **registered) : Result<AcquireRequest>(asked_for);
  if (!completed) return completed.error();
  const AcquireRequest& request = *completed;
  auto made = make_record(request, process.id());
  if (!made) return made.error();
  const VmRecord record = std::move(*made);
  const bool comes_back = vms_.contains(record.vm);
  if (!comes_back) {
    const Placement placement{.pages = {}, .unit = record.unit, .node = request.node, .only_node = false};
    const auto created = *registered
                             ? create_registered_vm(*policies_, *state_, subject_of(record), placement, **registered)
                             : policies_->create_vm(kProvider, subject_of(record), placement);
    if (!created) return created;
  }
  const auto undo = [&](Error error) {
    if (comes_back) {
      static_cast<void>(store_->put(vms_.at(record.vm)));
    } else {
      static_cast<void>(policies_->terminate(kProvider, record.vm));
      static_cast<void>(store_->erase(record.vm));
    }
    return error;
  };
  if (auto put = store_->put(record); !put) return undo(put.error());
  int monitor = -1;
  if (request.wants_monitor) {
    auto listening = environment_->listen_for_monitor(record.vm);
    if (!listening) return undo(listening.error());
    monitor = *listening;
  }
  ByteCount length = request.size;
  for (const ByteCount brick : request.bricks) length += brick;
  auto asked = leases_.acquire(record.vm, length, record.filtered,
                               [this, monitor, vm = record.vm, answer = std::move(answer)](Result<LeaseGrant> grant) {
                                 auto noted = grant ? note_hand_over(*grant) : Result<void>(grant.error());
                                 if (!noted) {
                                   if (monitor >= 0) ::close(monitor);
                                   answer(noted.error());
                                   return;
                                 }
                                 answer(GrantedLease{std::move(*grant), monitor});
                                 if (monitor >= 0 && vms_.contains(vm)) environment_->follow_monitor(vm);
                               });
  if (!asked) {
    if (monitor >= 0) ::close(monitor);
    if (request.wants_monitor) environment_->forget(record.vm);
    return undo(asked.error());
  }
  vms_[record.vm] = record;
  by_uuid_[record.uuid] = record.vm;
  reasons_.erase(record.vm);
  environment_->watch(record.vm, std::move(process));
  return {};
}

Result<void> Host::grow(const GrowRequest& request, const ProcessId& caller, LeaseAnswer answer) {
  if (stopping_) return Error{HostErrc::ScrubUnavailable, "sluiced is ending: ask again when it runs"};
  if (auto checked = check(request.lease, caller); !checked) return checked;
  const auto unit = unit_for(request.bricks, {});
  if (!unit) return unit.error();
  const VmRecord& record = vms_.at(request.lease.vm);
  if (*unit != record.unit) {
    return Error{HostErrc::InvalidArgument,
                 fmt::format("VM {} has bricks of {}: ask for such bricks, not for {}", to_string(record.uuid),
                             print_bytes(record.unit), print_bytes(*unit))};
  }
  const std::size_t held = leases_.find(request.lease.vm)->bricks.size();
  if (held + request.bricks.size() > SLUICE_MOST_BRICKS) {
    return Error{HostErrc::InvalidArgument,
                 fmt::format("VM {} has {} bricks, and {} more are over the {} that one can "
                             "have",
                             to_string(record.uuid), held, request.bricks.size(), SLUICE_MOST_BRICKS)};
  }
  const ByteCount length(request.bricks.size() * unit->value());
  return leases_.grow(request.lease, length, [this, answer = std::move(answer)](Result<LeaseGrant> grant) {
    if (auto noted = grant ? note_hand_over(*grant) : Result<void>(grant.error()); !noted) {
      answer(noted.error());
    } else {
      answer(GrantedLease{std::move(*grant), -1});
    }
  });
}

Result<void> Host::give_back(const ShrinkRequest& request, const ProcessId& caller, ReturnHandler answer) {
  if (auto checked = check(request.lease, caller); !checked) return checked;
  return leases_.give_back(request.lease, request.bricks, std::move(answer));
}

/// Whether there is this lease, and a process that has it.
Result<void> Host::check(LeaseId id, const ProcessId& caller) const {
  const auto lease = leases_.find(id.vm);
  if (!lease || lease->id != id || !vms_.contains(id.vm)) {
    return Error{HostErrc::UnknownId,
                 fmt::format("there is no lease of VM {} with epoch {}: it has ended", id.vm.value(), id.epoch)};
  }
  if (lease->state != LeaseState::Running) {
    return Error{HostErrc::WrongState,
                 fmt::format("the lease of VM {} is {}, not running", id.vm.value(), to_string(lease->state))};
  }
  if (const ProcessId& holder = vms_.at(id.vm).process; holder != caller) {
    return Error{HostErrc::NotPermitted, fmt::format("the lease of VM {} is process {}'s, and process {} asks",
                                                     id.vm.value(), holder.process, caller.process)};
  }
  return {};
}

Result<Host::Reboot> Host::reboot(VmId vm) {
  if (auto announced = announce_reboot(vm); !announced) return announced.error();
  if (!environment_->reset(vm)) return Reboot::Announced;
  // What QEMU says of it, or its end, is all that is needed.
  announced_.erase(vm);
  return Reboot::Reset;
}

Result<void> Host::announce_reboot(VmId vm) {
  const auto lease = leases_.find(vm);
  if (!lease || !vms_.contains(vm)) {
    return Error{HostErrc::UnknownId, fmt::format("VM {} has no memory here", vm.value())};
  }
  if (lease->state != LeaseState::Running) {
    return Error{HostErrc::WrongState, fmt::format("VM {} is {}: only one that runs can be about to reboot", vm.value(),
                                                   to_string(lease->state))};
  }
  announced_.insert(vm);
  return {};
}

void Host::not_delivered(const LeaseGrant& grant) {
  const auto lease = leases_.find(grant.id.vm);
  if (!lease || lease->id != grant.id) return;
  if (lease->bricks.size() == grant.bricks.size()) {
    process_ended(grant.id.vm);
    return;
  }
  std::vector<std::uint32_t> numbers;
  for (const LeasedBrick& brick : grant.bricks) numbers.push_back(brick.number);
  // Where another return is under way they stay the VM's until it ends.
  static_cast<void>(leases_.give_back(grant.id, numbers, [](const Result<void>& /*ignored*/) {}));
}

Result<void> Host::notify(const NotifyRequest& request, const ProcessId& caller) {
  if (auto checked = check(request.lease, caller); !checked) return checked;
  const VmId vm = request.lease.vm;
  switch (request.event) {
    case LeaseEvent::Reset:
      return policies_->manager().reboot_in_place(vm);
    case LeaseEvent::Reboot:
      return announce_reboot(vm);
    case LeaseEvent::ShutDown:
    case LeaseEvent::Panic:
      announced_.erase(vm);
      return {};
  }
  return {};
}

Result<void> Host::release(const ReleaseRequest& request, const ProcessId& caller) {
  if (auto checked = check(request.lease, caller); !checked) return checked;
  process_ended(request.lease.vm);
  return {};
}

LeaseStatus Host::status(const Uuid& uuid) const {
  const auto known = by_uuid_.find(uuid);
  const auto lease = known == by_uuid_.end() ? std::nullopt : leases_.find(known->second);
  return lease ? status_of(*lease) : LeaseStatus{};
}

bool Host::keeps_memory_through_reboot(VmId vm) const {
  const auto profile = policies_->manager().profile(vm);
  return profile && profile->allowed.enable && profile->allowed.recycle_on_reboot && !profile->allowed.force_new_memory;
}

void Host::monitor_said(VmId vm, const QmpEvent& event, EndReason reason) {
  if (!vms_.contains(vm)) return;
  if (reason == EndReason::None) {
    reasons_.erase(vm);
  } else {
    reasons_.insert_or_assign(vm, reason);
  }
  // QEMU says it up to three times: each is a boot of its own to the manager, which makes no difference.
  if (std::holds_alternative<qmp::Reset>(event)) rebooted_in_place(vm);
}

/// A VMM that had not yet heard that its VM must not keep its memory has reset it in its process: that ends, as it
/// would have, and the VM comes back with another one.
void Host::rebooted_in_place(VmId vm) {
  const auto rebooted = policies_->manager().reboot_in_place(vm);
  if (rebooted || rebooted.error().code != HostErrc::NotPermitted) return;
  announced_.insert(vm);
  environment_->end_process(vm);
}

void Host::has_mapped(VmId vm, const GuestMemory& memory) {
  if (!vms_.contains(vm) || memory.other == ByteCount(0)) return;
  unleased_[vm] = memory.other;
  spdlog::error("VM {} has {} that sluiced does not clean, in {}: start it without memory that is not sluiced's",
                vm.value(), print_bytes(memory.other), memory.largest_other);
}

ByteCount Host::unleased(VmId vm) const {
  const auto known = unleased_.find(vm);
  return known == unleased_.end() ? ByteCount(0) : known->second;
}

void Host::process_ended(VmId vm) {
  unleased_.erase(vm);
  // Whoever has announced that it will come back knows more than QEMU, which was told to end.
  const bool announced = announced_.erase(vm) != 0;
  const auto reason = reasons_.find(vm);
  const bool reboots = announced || (reason != reasons_.end() && reason->second == EndReason::GuestReset);
  if (reason != reasons_.end()) reasons_.erase(reason);
  environment_->forget(vm);
  static_cast<void>(leases_.process_ended(vm, reboots));  // an error: the VM has ended already
}

Result<void> Host::end_vm(VmId vm) {
  if (auto ended = policies_->terminate(kProvider, vm); !ended) return ended;
  // Without memory it is not taken for one that lives, should this fail.
  static_cast<void>(store_->erase(vm));
  environment_->forget(vm);
  reasons_.erase(vm);
  announced_.erase(vm);
  unleased_.erase(vm);
  const auto record = vms_.find(vm);
  if (record != vms_.end()) {
    told_(record->second, "ended");
    by_uuid_.erase(record->second.uuid);
    vms_.erase(record);
  }
  return {};
}

}  // namespace sluice::inline daemon
