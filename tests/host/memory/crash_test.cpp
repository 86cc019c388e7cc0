// SPDX-License-Identifier: Apache-2.0
// The process is killed (SIGKILL) at every store into the ledger and at random instants. What is left is judged by
// reading the memory, and by what the holders had been notified of.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "host/memory/crash_life.hpp"
#include "support/patience.hpp"
#include "support/temporary_folder.hpp"

namespace sluice::test {
namespace {

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
    std::vector<LedgerEntry> said(kCrashPages);
    for (const LedgerEntry& entry : (*ledger)->found()) {
      for (std::uint64_t number = 0; number < entry.pages; ++number)
        said[entry.page + number] = {0, 1, entry.kind, entry.vm, entry.pool};
    }
    for (std::size_t number = 0; number < kCrashPages; ++number) {
      const std::uint64_t holder = holders_->of_page[number];
      const LedgerEntry& entry = said[number];
      if (holder != 0 && (entry.kind != LedgerKind::Held || entry.vm.value() != holder)) {
        return fmt::format("page {} is VM {}'s, and the ledger does not say so", number, holder);
      }
      if (!holders_->may_be_in(number, entry.pool.value())) {
        return fmt::format("page {} is in pool {}, and the ledger says {}", number,
                           holders_->pools[holders_->view][number], entry.pool.value());
      }
      if (entry.pages == 0 || entry.kind == LedgerKind::Dirty) continue;
      const MemorySpan memory =
          memory_->bricks()[number / (kCrashPages / 2)].memory.subspan(number % (kCrashPages / 2) * 4096, 4096);
      const auto* const words = reinterpret_cast<const std::uint64_t*>(memory.data());
      for (std::size_t word = 0; word < kCrashWords; ++word) {
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
  std::unique_ptr<FileMemory> memory_ = FileMemory::create(ByteCount(kCrashPages / 2 * 4096), 2).value();
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
