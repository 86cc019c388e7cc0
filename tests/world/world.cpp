// SPDX-License-Identifier: Apache-2.0
// A host and the steps of its story.
#include "world.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <random>
#include <stdexcept>

namespace sluice::world {

/// Nobody touches the memory: what is in it, the model says.
class World::Bricks final : public BackingMemory {
 public:
  Bricks(const Layout& layout, std::byte* base, int fd) {
    std::size_t page = 0;
    for (const Layout::Part& part : layout.parts()) {
      const bool whole = layout.has_whole_bricks() && part.kind != PageKind::Small;
      const std::size_t pages = whole ? 1 : part.pages;
      for (const std::size_t end = page + part.pages; page < end; page += pages) {
        bricks_.push_back({.memory = MemorySpan(base + layout.offset(page), layout.bytes(page, pages)),
                           .fd = fd,
                           .pages = whole ? PageKind::Small : part.kind,
                           .node = part.node,
                           .whole = whole});
      }
    }
  }
  [[nodiscard]] std::span<const Brick> bricks() const override { return bricks_; }

 private:
  std::vector<Brick> bricks_;
};

World::World(const std::string& folder, std::uint64_t seed) : folder_(folder), layout_(std::mt19937_64(seed)()) {
  const std::size_t bytes = layout_.offset(kPages);
  fd_ = ::memfd_create("world", MFD_CLOEXEC);
  if (fd_ < 0 || ::ftruncate(fd_, static_cast<off_t>(bytes)) != 0) throw std::runtime_error("no memory for a world");
  void* const map = ::mmap(nullptr, bytes, PROT_NONE, MAP_SHARED, fd_, 0);
  if (map == MAP_FAILED) throw std::runtime_error("no addresses for a world");
  base_ = static_cast<std::byte*>(map);
  bricks_ = std::make_unique<Bricks>(layout_, base_, fd_);
  std::mt19937_64 random(seed);
  random.discard(1);
  limits_.max_jobs = 1 + random() % 6;
  if (!layout_.has_huge()) {  // huge pages are given to the engine whole
    if (random() % 3 == 0) limits_.max_job_length = ByteCount(4096 + random() % 100'000);
    limits_.parallel_jobs = 1 + random() % 3;
  }
  if (random() % 3 == 0) limits_.windows = {1 + random() % (kPages - 1)};
  config_.background_job_length = ByteCount((1 + random() % 40) * 4096);
  config_.background = random() % 5 != 0;
  config_.max_jobs_in_flight = static_cast<std::uint32_t>(1 + random() % 8);
  if (random() % 3 == 0) config_.clean_target = ByteCount(random() % bytes);
  if (random() % 4 == 0)
    config_.background_rate = (layout_.has_huge() ? 64 : 1) * 4096.0 * static_cast<double>(1 + random() % 1000);
  time_ = random() % 2 == 0 ? std::chrono::nanoseconds(std::chrono::seconds(1))
                            : std::chrono::nanoseconds(std::chrono::hours(2'400'000));  // days before its clock ends
  config_.clock = [this] { return time_; };
  // Nobody knows what is in it.
  for (std::size_t page = 0; page < kPages; ++page) memory_.write(page, kUnknown, true);
  start();
}

World::~World() {
  ending_ = true;
  manager_.reset();
  ::munmap(base_, layout_.offset(kPages));
  ::close(fd_);
}

std::unique_ptr<WorldEngine> World::engine_with(std::vector<std::size_t> windows) {
  EngineLimits limits = limits_;
  limits.windows = std::move(windows);
  return std::make_unique<WorldEngine>(memory_, layout_, base_, steps_, std::move(limits));
}

/// A process begins.
void World::start() {
  ledger_ = Ledger::open(folder_ + "/ledger", bricks_->bricks(), {.boot_id = "world", .before_store = {}}).value();
  check(ledger_->rejected().empty(), "{}", ledger_->rejected());
  if (++starts_ % 2 == 0) try_engine_that_does_not_reach();
  engine_ = engine_with(limits_.windows);
  manager_ = MemoryManager::recover(*bricks_, *engine_, *ledger_, config_).value();
  order_.restart();
  refusals_ = 0;
  stopped_ = false;
}

/// An error, and nothing has changed.
void World::try_engine_that_does_not_reach() {
  EngineLimits limits = limits_;
  limits.windows.clear();
  WorldEngine engine(memory_, layout_, base_ + 4096, steps_, std::move(limits));
  const auto refused = MemoryManager::recover(*bricks_, engine, *ledger_, config_);
  check(!refused && refused.error().code == HostErrc::InvalidArgument, "an engine that does not reach was taken");
  check(engine.taken() == 0, "an engine that does not reach was given jobs");
}

std::optional<Failure> World::play(const Story& story) {
  for (const Step& step : story) {
    reentered_ = false;
    called_ = true;
    take(step);
    if (!failure_) check_step();
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
    case Act::CreatePools:
    case Act::MoveBetweenPools:
    case Act::ChangePool:
    case Act::KeepShared:
      take_pool_step(step);
      return;
    case Act::ChangeRecycling:
    case Act::ChangeScrubs:
    case Act::SwitchRecycling:
    case Act::ChangePlacement:
    case Act::Suspect:
    case Act::Absolve:
    case Act::TestSuspect:
      take_setting_step(step);
      return;
    case Act::Poll:
      poll();
      return;
    case Act::Stop:
      if (step.a % 8 == 0) stop();
      return;
    case Act::Crash:
      crash(step);
      return;
    case Act::EndJob:
    case Act::FailJob:
    case Act::EngineBusy:
    case Act::EngineDies:
    case Act::EngineRefuses:
    case Act::EngineLies:
    case Act::EngineTakesPart:
    case Act::TimePasses:
      called_ = false;
      take_engine_step(step);
      return;
  }
}

/// What was asked of a claim.
ByteCount World::wanted(const Claim& claim) const {
  return length(claim.pages, claim.vm != 0 ? vms_.at(claim.vm).kind : pools_.at(claim.pool).kind);
}

void World::poll() {
  if (polling_++ == 0) known_losses_ = losses_;
  manager_->poll();
  follow_rules();
  --polling_;
  if (polling_ == 0 && !reentered_) check_nobody_waits_beside_free_memory();
}

/// A user's handler calls the manager.
void World::act_in_handler(const Step& step) {
  if (polling_ > 2 || failure_) return;
  reentered_ = true;
  static constexpr std::array kCalls = {Act::Allocate,     Act::Release, Act::Abandon,         Act::Terminate,
                                        Act::CreateVm,     Act::Poll,    Act::BeginReboot,     Act::ShrinkPool,
                                        Act::FinishReboot, Act::Stop,    Act::ChangeRecycling, Act::Suspect};
  take({kCalls[step.a % kCalls.size()], step.b, step.c, step.a / 16});
}

}  // namespace sluice::world
