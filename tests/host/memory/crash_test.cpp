// SPDX-License-Identifier: Apache-2.0
// The process is killed (SIGKILL) at every store into the ledger and at random instants. What is left is judged by
// reading the memory, and by what the holders had been notified of.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <random>

#include "support/manager_fixture.hpp"
#include "support/patience.hpp"
#include "support/temporary_folder.hpp"

namespace sluice::test {
namespace {

constexpr std::size_t kPages = 64;
constexpr std::size_t kWords = 4096 / 8;

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

/// What outlives the process besides the memory: who was notified that it holds which page.
struct Holders {
  std::uint64_t of_page[kPages];
  std::uint64_t next_vm;
};

enum class Exit : int { Done = 0, LostLease = 3, Leak = 4, Refused = 5 };

/// The process that will be killed: VMs come, grow, shrink, reboot and go. Each fills its pages with its own id.
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
    const std::size_t each = kPages / memory_.bricks().size();
    return memory_.bricks()[number / each].memory.subspan(number % each * 4096, 4096);
  }

  /// Whoever was notified that it holds memory finds it again, all of it.
  void go_on() {
    const auto lost = manager_->unadopted();
    for (std::size_t number = 0; number < kPages; ++number) {
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
      auto grant = manager_->adopt(profile(vm));
      check(grant.has_value(), Exit::Refused);
      if (manager_->reboots(vm)) grant = come_back(vm);
      std::uint64_t left[kPages];
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

  /// Every third VM wants its memory filled with ones, and right before it gets it.
  static VmProfile profile(VmId vm) {
    ScrubSettings scrub;
    if (vm.value() % 3 == 0) scrub = {.timing = ScrubTiming::Both, .method = FillMethod::Ones};
    return {vm, CustomerId(vm.value()), {}, {}, {}, scrub, {}};
  }

  void notify(VmId vm, const Grant& grant) {
    for (const GrantedRange& range : grant.ranges) {
      for (std::size_t at = 0; at < range.memory.size(); at += 4096) {
        auto* const words = reinterpret_cast<std::uint64_t*>(range.memory.data() + at);
        for (std::size_t word = 0; word < kWords; ++word) {
          check(words[word] == 0 || words[word] == ~0ULL || words[word] == vm.value(), Exit::Leak);
        }
        holders_.of_page[page_of(range.memory.data() + at)] = vm.value();
        std::fill_n(words, kWords, vm.value());
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
    const std::uint64_t kind = random_() % 12;
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
      if (!manager_->begin_reboot(vm)) return;
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
    for (std::size_t number = random_() % kPages; number < kPages; ++number) {
      if (holders_.of_page[number] != vm.value()) continue;
      holders_.of_page[number] = 0;
      if (!manager_->release(vm, page(number))) holders_.of_page[number] = vm.value();
      return;
    }
  }
  void end_vm(std::size_t which) {
    const VmId vm = vms_[which];
    std::uint64_t before[kPages];
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
};

class Crash : public ::testing::Test {
 protected:
  Crash() {
    void* const shared = ::mmap(nullptr, sizeof(Holders), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    holders_ = static_cast<Holders*>(shared);
    start_over();
  }
  ~Crash() override { ::munmap(holders_, sizeof(Holders)); }

  void start_over() {
    std::filesystem::remove(path_);
    *holders_ = {};
    holders_->next_vm = 1;
  }

  /// A life in a process of its own.
  [[nodiscard]] pid_t begin(const Life::Options& options) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::alarm(kPatience.count());
      Life(path_, *memory_, *holders_, options).run();
    }
    return child;
  }
  /// How it ended: killed, or by itself.
  [[nodiscard]] static std::optional<Exit> wait_for(pid_t child) {
    int status = 0;
    ::waitpid(child, &status, 0);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return std::nullopt;
    return WIFEXITED(status) ? static_cast<Exit>(WEXITSTATUS(status)) : Exit::Refused;
  }

  /// What is wrong with what was left; empty: nothing.
  [[nodiscard]] std::string judge() {
    const auto ledger = Ledger::open(path_, memory_->bricks());
    if (!ledger) return ledger.error().message;
    if (!(*ledger)->rejected().empty()) return (*ledger)->rejected();
    std::vector<LedgerEntry> said(kPages);
    for (const LedgerEntry& entry : (*ledger)->found()) {
      for (std::uint64_t number = 0; number < entry.pages; ++number)
        said[entry.page + number] = {0, 1, entry.kind, entry.vm};
    }
    for (std::size_t number = 0; number < kPages; ++number) {
      const std::uint64_t holder = holders_->of_page[number];
      const LedgerEntry& entry = said[number];
      if (holder != 0 && (entry.kind != LedgerKind::Held || entry.vm.value() != holder)) {
        return fmt::format("page {} is VM {}'s, and the ledger does not say so", number, holder);
      }
      if (entry.pages == 0) continue;
      const MemorySpan memory =
          memory_->bricks()[number / (kPages / 2)].memory.subspan(number % (kPages / 2) * 4096, 4096);
      const auto* const words = reinterpret_cast<const std::uint64_t*>(memory.data());
      for (std::size_t word = 0; word < kWords; ++word) {
        const bool own = entry.kind == LedgerKind::Held && (words[word] == ~0ULL || words[word] == entry.vm.value());
        if (words[word] != 0 && !own) {
          return fmt::format("page {} is said to be {} and holds {:#x}", number,
                             entry.kind == LedgerKind::Clean ? "clean" : fmt::format("VM {}'s", entry.vm.value()),
                             words[word]);
        }
      }
    }
    return {};
  }

  /// Before the first life has a ledger there is nothing to judge.
  [[nodiscard]] std::string judge_if_there() { return std::filesystem::exists(path_) ? judge() : std::string(); }

  /// Lives one after the other, each goes on where the last was killed. What was wrong, how often.
  [[nodiscard]] std::map<std::string, int> kill_at_random(int times, int longest_us, bool hasty) {
    std::map<std::string, int> wrong;
    for (int round = 0; round < times; ++round) {
      const pid_t child = begin({.seed = random_(), .hasty = hasty});
      ::usleep(static_cast<useconds_t>(random_() % static_cast<std::uint64_t>(longest_us)));
      ::kill(child, SIGKILL);
      const auto end = wait_for(child);
      std::string problem = end ? fmt::format("it ended by itself with {}", static_cast<int>(*end)) : judge();
      if (problem.empty()) continue;
      ++wrong[std::move(problem)];
      start_over();
    }
    return wrong;
  }

  TemporaryFolder folder_;
  std::string path_ = folder_ / "ledger";
  std::unique_ptr<FileMemory> memory_ = FileMemory::create(ByteCount(kPages / 2 * 4096), 2).value();
  Holders* holders_ = nullptr;
  std::mt19937_64 random_{1};
};

TEST_F(Crash, AtEveryStoreLeavesALedgerThatIsTrue) {
  std::uint64_t at = 1;
  for (;; ++at) {
    start_over();
    const auto first = wait_for(begin({.seed = 7, .steps = 120, .kill_at_store = at}));
    if (first == Exit::Done) break;
    ASSERT_EQ(first, std::nullopt) << "store " << at << ": exit " << static_cast<int>(*first);
    ASSERT_EQ(judge_if_there(), "") << "killed at store " << at;
    // The next one is killed too, while it takes over or soon after, and the one after that goes on.
    const auto second = wait_for(begin({.seed = 8, .steps = 40, .kill_at_store = at % 60 + 1}));
    ASSERT_TRUE(!second || second == Exit::Done) << "after store " << at << ": exit " << static_cast<int>(*second);
    ASSERT_EQ(judge_if_there(), "") << "killed at store " << at % 60 + 1 << " after store " << at;
    const auto third = wait_for(begin({.seed = 9, .steps = 40}));
    ASSERT_EQ(third, Exit::Done) << "after store " << at;
  }
  EXPECT_GT(at, 150U) << "the story is too short";
}

TEST_F(Crash, AtThousandsOfInstantsLeavesALedgerThatIsTrue) {
  EXPECT_THAT(kill_at_random(3000, 2500, false), ::testing::IsEmpty());
}

TEST_F(Crash, ShowsThatMemoryWasCalledCleanTooEarly) {
  bool seen = false;
  for (int round = 0; round < 100 && !seen; ++round) seen = !kill_at_random(10, 20'000, true).empty();
  EXPECT_TRUE(seen) << "the wrong order must be seen";
}

}  // namespace
}  // namespace sluice::test
