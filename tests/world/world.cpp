// SPDX-License-Identifier: Apache-2.0
// The host, the life of its VMs, and what is checked about it.
#include "world.hpp"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <random>
#include <stdexcept>

namespace sluice::world {

/// Three bricks on two nodes. Nobody touches the memory: what is in it, the model says.
class World::Bricks final : public BackingMemory {
 public:
  Bricks(std::byte* base, int fd) {
    constexpr std::size_t kEach = kPages / 3 * 4096;
    for (std::size_t brick = 0; brick < 3; ++brick) {
      bricks_[brick] = {MemorySpan(base + brick * kEach, kEach), fd, PageKind::Small, brick == 2 ? 1U : 0U};
    }
  }
  [[nodiscard]] std::span<const Brick> bricks() const override { return bricks_; }

 private:
  std::array<Brick, 3> bricks_;
};

World::World(const std::string& folder, std::uint64_t seed) : folder_(folder) {
  fd_ = ::memfd_create("world", MFD_CLOEXEC);
  if (fd_ < 0 || ::ftruncate(fd_, kPages * 4096) != 0) throw std::runtime_error("no memory for a world");
  void* const map = ::mmap(nullptr, kPages * 4096, PROT_NONE, MAP_SHARED, fd_, 0);
  if (map == MAP_FAILED) throw std::runtime_error("no addresses for a world");
  base_ = static_cast<std::byte*>(map);
  bricks_ = std::make_unique<Bricks>(base_, fd_);
  std::mt19937_64 random(seed);
  max_jobs_ = 1 + random() % 6;
  config_.background_job_length = ByteCount((1 + random() % 40) * 4096);
  config_.background = random() % 5 != 0;
  if (random() % 3 == 0) config_.clean_target = ByteCount(random() % kPages * 4096);
  if (random() % 4 == 0) config_.background_rate = 4096.0 * static_cast<double>(1 + random() % 1000);
  config_.seed = seed;
  config_.clock = [this] { return time_; };
  // Nobody knows what is in it.
  for (std::size_t page = 0; page < kPages; ++page) memory_.write(page, {~0ULL, ~0ULL, 0, 0}, true);
  start();
}

World::~World() {
  ending_ = true;
  manager_.reset();
  ::munmap(base_, kPages * 4096);
  ::close(fd_);
}

/// A process begins.
void World::start() {
  engine_ = std::make_unique<WorldEngine>(memory_, base_, steps_, max_jobs_);
  ledger_ = Ledger::open(folder_ + "/ledger", bricks_->bricks(), {.boot_id = "world", .before_store = {}}).value();
  check(ledger_->rejected().empty(), "{}", ledger_->rejected());
  manager_ = MemoryManager::recover(*bricks_, *engine_, *ledger_, config_).value();
}

std::optional<Failure> World::play(const Story& story) {
  for (const Step& step : story) {
    take(step);
    if (!failure_) check_sums();
    if (!failure_ && steps_ % 64 == 0) check_everything();
    if (failure_) return failure_;
    ++steps_;
  }
  end();
  return failure_;
}

/// What the model knows to be possible is not refused, and what it knows to be impossible is.
void World::expect(bool as_it_should, bool succeeded, const char* what) {
  if (as_it_should != succeeded) check(false, "{} {}", what, succeeded ? "went through" : "was refused");
}

void World::take(const Step& step) {
  switch (step.act) {
    case Act::CreateVm:
    case Act::Allocate:
    case Act::Release:
    case Act::BeginReboot:
    case Act::FinishReboot:
    case Act::Terminate:
    case Act::Abandon:
      take_vm_step(step);
      return;
    case Act::ChangeGroup:
    case Act::CreateGroup:
    case Act::EnableGroup:
    case Act::DestroyGroup:
      take_group_step(step);
      return;
    case Act::CreatePool:
    case Act::GrowPool:
    case Act::ShrinkPool:
    case Act::PartitionPool:
    case Act::MergePools:
    case Act::DestroyPool:
      take_pool_step(step);
      return;
    case Act::ChangeRecycling:
    case Act::ChangeScrubs:
    case Act::SwitchRecycling:
    case Act::ChangePlacement:
      take_setting_step(step);
      return;
    case Act::Poll:
    case Act::EndJob:
    case Act::FailJob:
    case Act::EngineBusy:
    case Act::EngineDies:
    case Act::TimePasses:
    case Act::Crash:
      take_engine_step(step);
      return;
  }
}

void World::take_vm_step(const Step& step) {
  switch (step.act) {
    case Act::CreateVm:
      create_vm(step);
      return;
    case Act::Allocate:
      allocate(step, false);
      return;
    case Act::FinishReboot:
      allocate(step, true);
      return;
    case Act::Release:
      release(step);
      return;
    case Act::BeginReboot:
      begin_reboot(step);
      return;
    case Act::Terminate:
      terminate(step);
      return;
    default:
      break;
  }
  auto* const claim = pick(claims_, step.a);
  if (claim == nullptr) return;
  claim->second.abandoned |= manager_->abandon(claim_ids_.at(claim->first));
}

RecycleSettings World::recycling(std::uint32_t bits) {
  RecycleSettings settings;
  settings.enabled = bits % 8 != 0;
  settings.after_reboot = bits / 8 % 4 != 0;
  settings.within_vm = bits / 32 % 4 != 0;
  settings.dedicated_pool = bits / 128 % 4 != 0;
  settings.trust_group = bits / 512 % 4 != 0;
  settings.new_memory_after_reboot = bits / 2048 % 8 == 0;
  settings.retains_memory = bits / 16'384 % 2 == 0;
  settings.pool_grows_on_reboot = bits / 32'768 % 4 == 0;
  return settings;
}

ScrubSettings World::scrubs(std::uint32_t bits) {
  ScrubSettings settings;
  settings.timing = bits % 2 == 0 ? ScrubTiming::AfterRelease : static_cast<ScrubTiming>(bits / 2 % 4);
  settings.delay = std::chrono::milliseconds(bits / 8 % 64);
  settings.method = bits / 512 % 2 == 0 ? FillMethod::Zeros : static_cast<FillMethod>(bits / 1024 % 4);
  settings.pattern = bits / 4096 % 3;
  return settings;
}

VmProfile World::profile(const Vm& vm) const {
  return {VmId(vm.who.vm),
          CustomerId(vm.who.customer),
          DedicatedPoolId(vm.who.pool),
          TrustGroupId(vm.who.group),
          vm.allowed,
          vm.scrub,
          vm.placement};
}

void World::create_vm(const Step& step) {
  if (vms_.size() >= 14) return;
  Vm vm;
  vm.who = {next_id_++, 1 + step.a % 3, 0, 0};
  vm.allowed = step.b % 2 == 0 ? RecycleSettings{} : recycling(step.b / 2);
  vm.scrub = step.c % 2 == 0 ? ScrubSettings{} : scrubs(step.c / 2);
  if (auto* const group = pick(groups_, step.b); group != nullptr && step.a % 4 != 0) {
    if (group->second.customer == vm.who.customer) vm.who.group = group->first;
  }
  if (auto* const pool = pick(pools_, step.c); pool != nullptr && step.a % 16 < 8) {
    if (pool->second.customer == vm.who.customer && pool->second.ready) vm.who.pool = pool->first;
  }
  if (step.a / 16 % 8 == 0) vm.placement = {.node = step.a / 128 % 2, .only_node = step.a / 256 % 2 == 0};
  expect(true, manager_->create_vm(profile(vm)).has_value(), "creating a VM");
  vms_.emplace(vm.who.vm, vm);
}

void World::allocate(const Step& step, bool reboot) {
  auto* const found = pick(vms_, step.a);
  if (found == nullptr) return;
  Vm& vm = found->second;
  const std::size_t pages = 1 + step.b % (step.c % 8 == 0 ? kPages : 24);
  const std::uint64_t number = next_claim_++;
  const auto handler = [this, number](const Result<sluice::Grant>& result) { told(number, result); };
  const ByteCount length(pages * 4096);
  const auto claim = reboot ? manager_->finish_reboot(VmId(vm.who.vm), length, handler)
                            : manager_->allocate(VmId(vm.who.vm), length, handler);
  const bool fits = reboot ? vm.down && vm.claims == 0 : !vm.down;
  if (!claim) {
    check(!fits || claim.error().code == HostErrc::OutOfMemory, "a claim was refused: {}", claim.error().message);
    return;
  }
  check(fits, "a claim went through that does not fit what the VM is doing");
  claims_[number] = {vm.who.vm, 0, pages, reboot, false, steps_, vm.before, vm.old};
  claim_ids_[number] = *claim;
  ++vm.claims;
  if (!reboot) return;
  vm.down = false;
  vm.before.reset();
}

MemorySpan World::span(std::size_t page, std::size_t pages) const { return {base_ + page * 4096, pages * 4096}; }

void World::release(const Step& step) {
  auto* const found = pick(vms_, step.a);
  if (found == nullptr) return;
  Vm& vm = found->second;
  const std::size_t first = step.b % kPages;
  std::size_t pages = 0;
  // Sometimes of memory that is not its own.
  const bool foreign = step.c % 32 == 0 && vm.claims == 0;
  std::size_t at = first;
  while (!foreign && at < kPages && !vm.pages[at]) ++at;
  while (at + pages < kPages && pages < 1 + step.c % 16 && (foreign || vm.pages[at + pages])) ++pages;
  if (pages == 0) return;
  bool own = !vm.down;
  for (std::size_t page = at; page < at + pages; ++page) own = own && vm.pages[page];
  const auto released = manager_->release(VmId(vm.who.vm), span(at, pages));
  expect(own, released.has_value(), "a release");
  if (!released) return;
  for (std::size_t page = at; page < at + pages; ++page) {
    if (!vm.pages[page]) continue;
    vm.pages.reset(page);
    holder_[page] = 0;
    --held_pages_;
  }
}

std::size_t World::pool_pages(Id pool) const {
  const auto facts = manager_->dedicated_pool(DedicatedPoolId(pool));
  return facts ? facts->size.value() / 4096 : 0;
}

void World::begin_reboot(const Step& step) {
  auto* const found = pick(vms_, step.a);
  if (found == nullptr) return;
  Vm& vm = found->second;
  const std::size_t pool_before = pool_pages(vm.who.pool);
  expect(!vm.down && vm.claims == 0, manager_->begin_reboot(VmId(vm.who.vm)).has_value(), "a reboot");
  if (vm.down || vm.claims > 0) return;
  if (const auto pool = pools_.find(vm.who.pool); pool != pools_.end()) {
    // How much of it was the pool's before, or was left over and kept, the model does not know.
    const std::size_t grown = pool_pages(vm.who.pool) - pool_before;
    check(grown == 0 || vm.allowed.pool_grows_on_reboot, "a pool grew by a reboot");
    pool->second.pages += grown;
  }
  vm.down = true;
  vm.old = vm.allowed.new_memory_after_reboot ? vm.pages : Pages();
  vm.before = vm.keeps() ? vm.pages : Pages();
  for (std::size_t page = 0; page < kPages; ++page) {
    if (!vm.pages[page]) continue;
    holder_[page] = 0;
    --held_pages_;
  }
  vm.pages.reset();
}

void World::terminate(const Step& step) {
  auto* const found = pick(vms_, step.a);
  if (found == nullptr) return;
  Vm& vm = found->second;
  expect(vm.claims == 0, manager_->terminate(VmId(vm.who.vm)).has_value(), "an end");
  if (vm.claims > 0) return;
  for (std::size_t page = 0; page < kPages; ++page) {
    if (!vm.pages[page]) continue;
    holder_[page] = 0;
    --held_pages_;
  }
  vms_.erase(found->first);
}

void World::forget_claim(std::uint64_t number) {
  const Claim& claim = claims_.at(number);
  if (claim.vm != 0) --vms_.at(claim.vm).claims;
  claims_.erase(number);
  claim_ids_.erase(number);
}

/// A claim has ended.
void World::told(std::uint64_t number, const Result<sluice::Grant>& result) {
  if (ending_) return;
  check(polling_, "a handler was called outside of a poll");
  const auto found = claims_.find(number);
  if (found == claims_.end()) {
    check(false, "a claim ended twice");
    return;
  }
  const Claim claim = found->second;
  forget_claim(number);
  Vm& vm = vms_.at(claim.vm);
  if (!result) {
    const auto code = result.error().code;
    check(code != HostErrc::Abandoned || claim.abandoned, "a claim was abandoned by nobody");
    check(code != HostErrc::ScrubUnavailable || engine_->dead(), "a claim found no engine, and there is one");
    return;
  }
  check(!claim.abandoned, "an abandoned claim was granted");
  ++claims_granted_;
  std::size_t pages = 0;
  std::size_t recycled = 0;
  for (const GrantedRange& range : result->ranges) {
    check_range(claim, vm, range, recycled);
    pages += range.memory.size() / 4096;
  }
  check(pages == claim.pages, "a claim of {} pages got {}", claim.pages, pages);
  if (!claim.reboot || !vm.keeps() || vm.placement.only_node) return;
  std::size_t own = 0;
  for (std::size_t page = 0; page < kPages; ++page) own += claim.before[page] && !memory_.bad(page) ? 1 : 0;
  check(recycled >= std::min(own, claim.pages), "VM {} held {} pages before a reboot and got {} of {} as they were",
        vm.who.vm, own, recycled, claim.pages);
}

/// The groups are about to change. What has been granted already was right or wrong by the groups as they are.
void World::look_at_grants() {
  const ExtentTable& table = manager_->extents();
  for (auto& [id, vm] : vms_) {
    if (vm.claims == 0) continue;
    const Domain holder = Domain::holder(VmId(id));
    for (auto index = table.next_lineage(holder); index; index = table.next_lineage(holder, index)) {
      for (Extent* extent = table.first(*index, ExtentState::Owned); extent != nullptr; extent = table.next(*extent)) {
        const std::size_t first = extent->offset() / 4096;
        for (std::size_t page = first; page < first + extent->length().value() / 4096; ++page) {
          if (vm.pages[page] || vm.seen[page]) continue;
          const auto why = memory_.forbidden(page, vm.who);
          if (why) check(false, "page {}: {}", page, *why);
          vm.seen.set(page);
        }
      }
    }
  }
}

/// One range of a grant, and the VM uses it.
void World::check_range(const Claim& claim, const Vm& vm, const GrantedRange& range, std::size_t& recycled) {
  Vm& user = vms_.at(vm.who.vm);
  const bool fresh = vm.scrub.timing == ScrubTiming::BeforeGrant || vm.scrub.timing == ScrubTiming::Both;
  const std::size_t first = page_of(range.memory.data());
  for (std::size_t page = first; page < first + range.memory.size() / 4096; ++page) {
    check(holder_[page] == 0, "page {} of VM {} was granted to VM {}", page, holder_[page], vm.who.vm);
    check(!memory_.bad(page), "page {} is bad and was granted", page);
    for (const WorldEngine::Job& job : engine_->jobs()) {
      check(page < job.first_page || page >= job.first_page + job.pages,
            "page {} was granted while the engine writes it", page);
    }
    if (vm.placement.only_node) {
      check(*vm.placement.node == (page >= kPages / 3 * 2 ? 1U : 0U), "page {} is on another node", page);
    }
    if (range.recycled) {
      ++recycled;
      const auto why = vm.seen[page] ? std::nullopt : memory_.forbidden(page, vm.who);
      if (why) check(false, "page {}: {}", page, *why);
      check(!claim.reboot || !vm.allowed.new_memory_after_reboot || !claim.old[page],
            "page {} came back after a reboot to other memory", page);
    } else {
      check(memory_.holds_only(page, range.pattern), "page {} is not what it is said to be", page);
      check(!fresh || memory_.reported(page) >= claim.step, "page {} was not scrubbed anew", page);
    }
    holder_[page] = vm.who.vm;
    user.pages.set(page);
    user.seen.reset(page);
    ++held_pages_;
    memory_.write(page, vm.who, (page + claim.step) % 3 != 0);
  }
  if (!range.recycled) return;
  const RecycleSettings& allowed = vm.allowed;
  bool permitted = allowed.enabled && vm.recycles;
  if (range.reason == Reason::SameVmAfterReboot) {
    permitted = permitted && claim.reboot && allowed.after_reboot && !allowed.new_memory_after_reboot;
  } else if (range.reason == Reason::SameVm) {
    permitted = permitted && allowed.within_vm;
  } else if (range.reason == Reason::DedicatedPool) {
    permitted = permitted && allowed.dedicated_pool;
  } else {
    permitted = permitted && allowed.trust_group;
  }
  check(permitted, "memory was recycled ({}) against the VM's settings", to_string(range.reason));
}

}  // namespace sluice::world
