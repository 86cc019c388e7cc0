// SPDX-License-Identifier: Apache-2.0
// A process that will be killed, and what outlives it.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstring>
#include <random>

#include "sluice/memory/ledger.hpp"
#include "support/manager_fixture.hpp"

namespace sluice::test {

inline constexpr std::size_t kCrashPages = 64;
inline constexpr std::size_t kCrashWords = 4096 / 8;

/// The wrong order: it says that memory is zeroed one look before it is.
class HastyEngine final : public Engine {
 public:
  [[nodiscard]] const EngineCapabilities& capabilities() const noexcept override { return capabilities_; }
  [[nodiscard]] Result<std::size_t> submit(std::span<const ScrubJob> jobs, std::span<JobId> ids) override {
    for (std::size_t index = 0; index < jobs.size(); ++index) {
      ids[index] = {0, ++next_};
      submitted_.push_back({ids[index], jobs[index]});
    }
    return jobs.size();
  }
  CancelResult cancel(JobId) override { return CancelResult::AlreadyFinished; }
  std::size_t poll(std::span<Completion> out) override {
    for (const MemorySpan memory : promised_) std::memset(memory.data(), 0, memory.size());
    promised_.clear();
    const std::size_t count = std::min(out.size(), submitted_.size());
    for (std::size_t index = 0; index < count; ++index) {
      const auto& [id, job] = submitted_[index];
      out[index] = {id, job.cookie, Outcome::Zeroed, FailureCause::None, ByteCount(job.memory.size())};
      promised_.push_back(job.memory);
    }
    submitted_.erase(submitted_.begin(), submitted_.begin() + static_cast<std::ptrdiff_t>(count));
    return count;
  }
  [[nodiscard]] std::uint64_t progress() override { return 0; }
  [[nodiscard]] bool reaches(MemorySpan /*memory*/) const override { return true; }
  [[nodiscard]] std::optional<Error> fault() const override { return std::nullopt; }
  [[nodiscard]] std::chrono::nanoseconds now() const override { return std::chrono::nanoseconds(0); }

 private:
  EngineCapabilities capabilities_{"hasty", 32, ByteCount(1ULL << 40), false};
  std::vector<std::pair<JobId, ScrubJob>> submitted_;
  std::vector<MemorySpan> promised_;
  std::uint32_t next_ = 0;
};

/// What outlives the process besides the memory: who was notified that it holds which page, and where pages belong.
struct Holders {
  static constexpr std::size_t kPools = 4;

  std::uint64_t of_page[kCrashPages];
  std::uint64_t next_vm;
  std::uint64_t next_pool;
  // In which dedicated pool (0: in the shared one) the manager had each page after its last call: in the view that
  // counts, so that another one can be made meanwhile.
  std::uint64_t pools[2][kCrashPages];
  std::uint64_t view;
  std::uint64_t from;           ///< What a call that has begun may take memory from ...
  std::uint64_t to;             ///< ... and where it may take that. The same: it takes none.
  std::uint64_t grows[kPools];  ///< Pools that may get shared memory at any time; 0: none.

  /// After all that was stored before.
  static void set(std::uint64_t& word, std::uint64_t value) {
    std::atomic_ref<std::uint64_t>(word).store(value, std::memory_order_release);
  }

  /// Whether a page may be said to be in a pool.
  [[nodiscard]] bool may_be_in(std::size_t page, std::uint64_t pool) const {
    const std::uint64_t known = pools[view][page];
    bool grown = false;
    for (const std::uint64_t growing : grows) grown |= growing == pool;
    return pool == known || (known == from && pool == to) || (known == 0 && grown);
  }
};

enum class Exit : int { Done = 0, LostLease = 3, Leak = 4, Refused = 5, LostPool = 6 };

/// The process that will be killed: VMs come, grow, shrink, reboot and go, and so do dedicated pools. Each VM fills its
/// pages with its own id.
class Life {
 public:
  struct Options {
    std::uint64_t seed = 1;
    std::uint64_t steps = ~0ULL;
    std::uint64_t kill_at_store = 0;  ///< 0: never
    bool hasty = false;
  };

  Life(const std::string& path, const FileMemory& memory, Holders& holders, const Options& options)
      : memory_(memory), holders_(holders), options_(options), random_(options.seed) {
    const auto before_store = [this] {
      if (++stores_ == options_.kill_at_store) ::kill(::getpid(), SIGKILL);
    };
    ledger_ = Ledger::open(path, memory.bricks(), {.boot_id = {}, .before_store = before_store}).value();
    if (options.hasty) {
      engine_ = std::make_unique<HastyEngine>();
    } else {
      auto manual = std::make_unique<ManualEngine>();
      manual_ = manual.get();
      engine_ = std::move(manual);
    }
    manager_ =
        MemoryManager::recover(memory, *engine_, *ledger_, {.background_job_length = ByteCount(5 * 4096)}).value();
  }

  [[noreturn]] void run() {
    go_on();
    for (std::uint64_t step = 0; step < options_.steps; ++step) take_step();
    end(Exit::Done);
  }

 private:
  static constexpr CustomerId kCustomer{1};

  [[noreturn]] static void end(Exit code) { ::_exit(static_cast<int>(code)); }
  static void check(bool fine, Exit code) {
    if (!fine) end(code);
  }
  [[nodiscard]] std::size_t page_of(const std::byte* at) const {
    std::size_t first = 0;
    for (const Brick& brick : memory_.bricks()) {
      const MemorySpan all = brick.memory;
      if (at >= all.data() && at < all.data() + all.size())
        return first + static_cast<std::size_t>(at - all.data()) / 4096;
      first += all.size() / 4096;
    }
    end(Exit::Refused);
  }
  [[nodiscard]] MemorySpan page(std::size_t number) const {
    const std::size_t each = kCrashPages / memory_.bricks().size();
    return memory_.bricks()[number / each].memory.subspan(number % each * 4096, 4096);
  }

  /// In which pool the manager has each page, from now on.
  void look() {
    const std::uint64_t next = 1 - holders_.view;
    for (std::size_t number = 0; number < kCrashPages; ++number) {
      const ExtentTable& table = manager_->extents();
      holders_.pools[next][number] = table.lineage(*table.find(page(number).data())).pool.value();
    }
    Holders::set(holders_.view, next);
    Holders::set(holders_.to, holders_.from);
    for (std::size_t at = 0; at < Holders::kPools; ++at) {
      if (claims_[at] == 0) Holders::set(holders_.grows[at], 0);
    }
  }
  /// A call may move memory from one pool to another.
  template <class Call>
  auto moving(DedicatedPoolId from, DedicatedPoolId to, Call call) {
    Holders::set(holders_.from, from.value());
    Holders::set(holders_.to, to.value());
    auto result = call();
    look();
    return result;
  }

  /// Pools that are there again keep what they had, or somebody gives them up.
  void go_on_with_pools() {
    for (const DedicatedPoolId pool : manager_->unadopted_pools()) {
      if (random_() % 4 == 0) {
        check(moving(pool, {}, [&] { return manager_->destroy_dedicated_pool(pool); }).has_value(), Exit::Refused);
        continue;
      }
      check(manager_->adopt_dedicated_pool(pool, kCustomer).has_value(), Exit::Refused);
      std::uint64_t pages = 0;
      for (const std::uint64_t there : holders_.pools[holders_.view]) pages += there == pool.value() ? 1 : 0;
      const auto facts = manager_->dedicated_pool(pool);
      check(facts && facts->ready && facts->size == ByteCount(pages * 4096), Exit::LostPool);
      pools_.push_back(pool);
    }
  }

  /// Whoever was notified that it holds memory finds it again, all of it.
  void go_on() {
    look();
    go_on_with_pools();
    const auto lost = manager_->unadopted();
    for (std::size_t number = 0; number < kCrashPages; ++number) {
      const VmId holder(holders_.of_page[number]);
      check(!holder.is_set() || std::find(lost.begin(), lost.end(), holder) != lost.end(), Exit::LostLease);
    }
    for (const VmId vm : lost) {
      bool lives = false;
      for (const std::uint64_t holder : holders_.of_page) lives |= holder == vm.value();
      if (!lives) {
        check(manager_->terminate(vm).has_value(), Exit::Refused);
        continue;
      }
      const VmProfile adopted = profile(vm);
      auto grant = moving({}, adopted.pool, [&] { return manager_->adopt(adopted); });
      check(grant.has_value(), Exit::Refused);
      if (manager_->reboots(vm)) grant = come_back(vm);
      std::uint64_t left[kCrashPages];
      std::memcpy(left, holders_.of_page, sizeof left);
      for (const GrantedRange& range : grant->ranges) {
        for (std::size_t at = 0; at < range.memory.size(); at += 4096) left[page_of(range.memory.data() + at)] = 0;
      }
      for (const std::uint64_t holder : left) check(holder != vm.value(), Exit::LostLease);
      notify(vm, *grant);
      vms_.push_back(vm);
    }
  }

  /// A VM that was rebooting when the process ended comes back with what it had.
  Result<Grant> come_back(VmId vm) {
    const auto pages = std::count(std::begin(holders_.of_page), std::end(holders_.of_page), vm.value());
    std::optional<Result<Grant>> result;
    const auto claim = manager_->finish_reboot(vm, ByteCount(static_cast<std::uint64_t>(pages) * 4096),
                                               [&](Result<Grant> granted) { result.emplace(std::move(granted)); });
    check(claim.has_value(), Exit::Refused);
    manager_->poll();
    check(result && *result, Exit::LostLease);
    return *result;
  }

  /// Every third VM wants its memory filled with ones, and right before it gets it. Every fourth one takes memory along
  /// into its pool.
  VmProfile profile(VmId vm) {
    ScrubSettings scrub;
    if (vm.value() % 3 == 0) scrub = {.timing = ScrubTiming::Both, .method = FillMethod::Ones};
    return {vm, kCustomer, any_pool(), {}, {.grow_pool_on_reboot = vm.value() % 4 == 0}, scrub, {}};
  }
  /// Or none.
  DedicatedPoolId any_pool() {
    const std::size_t which = random_() % (pools_.size() + 1);
    if (which == pools_.size()) return {};
    const auto facts = manager_->dedicated_pool(pools_[which]);
    return facts && facts->ready ? pools_[which] : DedicatedPoolId();
  }

  void notify(VmId vm, const Grant& grant) {
    for (const GrantedRange& range : grant.ranges) {
      for (std::size_t at = 0; at < range.memory.size(); at += 4096) {
        auto* const words = reinterpret_cast<std::uint64_t*>(range.memory.data() + at);
        for (std::size_t word = 0; word < kCrashWords; ++word) {
          check(words[word] == 0 || words[word] == ~0ULL || words[word] == vm.value(), Exit::Leak);
        }
        holders_.of_page[page_of(range.memory.data() + at)] = vm.value();
        std::fill_n(words, kCrashWords, vm.value());
      }
    }
  }
  void forget(VmId vm) {
    for (std::uint64_t& holder : holders_.of_page) holder = holder == vm.value() ? 0 : holder;
  }
  GrantHandler handler(VmId vm) {
    return [this, vm](const Result<Grant>& grant) {
      if (grant) notify(vm, *grant);
    };
  }

  void take_step() {
    take_any_step();
    look();
  }
  void take_any_step() {
    const std::uint64_t kind = random_() % 16;
    if (kind >= 12) {
      take_pool_step(kind);
      return;
    }
    if (kind < 4) {
      manager_->poll();
      if (manual_ != nullptr && !manual_->running().empty()) end_a_job();
      return;
    }
    if (vms_.size() < 4) {
      vms_.emplace_back(holders_.next_vm++);
      check(manager_->create_vm(profile(vms_.back())).has_value(), Exit::Refused);
    }
    const std::size_t which = random_() % vms_.size();
    const VmId vm = vms_[which];
    // Calls that do not fit what the VM is doing are refused.
    if (kind < 8) {
      static_cast<void>(manager_->allocate(vm, ByteCount((1 + random_() % 12) * 4096), handler(vm)));
    } else if (kind < 10) {
      give_back(vm);
    } else if (kind == 10) {
      if (!moving({}, manager_->profile(vm)->pool, [&] { return manager_->begin_reboot(vm); })) return;
      if (random_() % 4 != 0) return;  // it stays down for a while
      forget(vm);
      if (!manager_->finish_reboot(vm, ByteCount((1 + random_() % 8) * 4096), handler(vm))) {
        check(manager_->terminate(vm).has_value(), Exit::Refused);
        vms_.erase(vms_.begin() + static_cast<std::ptrdiff_t>(which));
      }
    } else {
      end_vm(which);
    }
  }
  /// What does not fit is refused.
  void take_pool_step(std::uint64_t kind) {
    const ByteCount length((1 + random_() % 6) * 4096);
    if (std::find(std::begin(claims_), std::end(claims_), 0U) == std::end(claims_)) return;
    if (kind == 12 || pools_.empty()) {
      if (pools_.size() == Holders::kPools) return;
      const DedicatedPoolId pool(++holders_.next_pool);
      pools_.push_back(pool);
      grow(pool, [&](PoolHandler handler) {
        return manager_->create_dedicated_pool(pool, kCustomer, length, std::move(handler));
      });
      return;
    }
    const DedicatedPoolId pool = pools_[random_() % pools_.size()];
    const DedicatedPoolId other = pools_[random_() % pools_.size()];
    if (kind == 13) {
      static_cast<void>(moving(pool, other, [&] { return manager_->move_between_pools(pool, other, length); }));
      if (pools_.size() == Holders::kPools) return;
      const DedicatedPoolId part(++holders_.next_pool);
      if (moving(other, part, [&] { return manager_->partition_dedicated_pool(other, part, length); })) {
        pools_.push_back(part);
      }
    } else if (kind == 14) {
      if (random_() % 2 == 0) {
        grow(pool,
             [&](PoolHandler handler) { return manager_->grow_dedicated_pool(pool, length, std::move(handler)); });
      } else if (moving(pool, {}, [&] { return manager_->shrink_dedicated_pool(pool, length); })) {
        return;
      } else if (moving(other, pool, [&] { return manager_->merge_dedicated_pools(pool, other); })) {
        std::erase(pools_, other);
      } else if (moving(pool, {}, [&] { return manager_->destroy_dedicated_pool(pool); })) {
        std::erase(pools_, pool);
      }
    } else if (!vms_.empty()) {
      static_cast<void>(manager_->change_dedicated_pool(vms_[random_() % vms_.size()], any_pool()));
    }
  }
  /// From now on, until its handler has been called.
  template <class Start>
  void grow(DedicatedPoolId pool, Start start) {
    const auto at =
        static_cast<std::size_t>(std::find(std::begin(claims_), std::end(claims_), 0U) - std::begin(claims_));
    Holders::set(holders_.grows[at], pool.value());
    claims_[at] = pool.value();
    const auto ended = [this, at, pool](bool well) {
      claims_[at] = 0;
      if (!well && !manager_->dedicated_pool(pool)) std::erase(pools_, pool);
    };
    if (!start([ended](const Result<void>& result) { ended(result.has_value()); })) ended(false);
  }
  void end_a_job() {
    const ManualEngine::Job& job = manual_->running().front();
    const std::size_t length = job.job.memory.size();
    if (job.cancel_requested && random_() % 2 == 0) {
      manual_->end(0, Outcome::Cancelled, random_() % (length / 8) * 8);
    } else {
      manual_->end(0, Outcome::Zeroed, length);
    }
  }
  /// A run of its pages. It lets go before it says so.
  void give_back(VmId vm) {
    for (std::size_t number = random_() % kCrashPages; number < kCrashPages; ++number) {
      if (holders_.of_page[number] != vm.value()) continue;
      holders_.of_page[number] = 0;
      if (!manager_->release(vm, page(number))) holders_.of_page[number] = vm.value();
      return;
    }
  }
  void end_vm(std::size_t which) {
    const VmId vm = vms_[which];
    std::uint64_t before[kCrashPages];
    std::memcpy(before, holders_.of_page, sizeof before);
    forget(vm);
    if (manager_->terminate(vm)) {
      vms_.erase(vms_.begin() + static_cast<std::ptrdiff_t>(which));
    } else {
      std::memcpy(holders_.of_page, before, sizeof before);
    }
  }

  const FileMemory& memory_;
  Holders& holders_;
  Options options_;
  std::mt19937_64 random_;
  std::uint64_t stores_ = 0;
  std::unique_ptr<Ledger> ledger_;
  std::unique_ptr<Engine> engine_;
  ManualEngine* manual_ = nullptr;
  std::unique_ptr<MemoryManager> manager_;
  std::vector<VmId> vms_;
  std::vector<DedicatedPoolId> pools_;
  std::uint64_t claims_[Holders::kPools] = {};  ///< Of pools, in the order of Holders::grows; 0: none.
};

}  // namespace sluice::test
