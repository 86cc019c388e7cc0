// SPDX-License-Identifier: Apache-2.0
// What workers and descriptors of the CPU engine inherit from their process, and what a child inherits of them.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>

#include "driver/cpu/cpu_support.hpp"

namespace sluice {
namespace {

using test::comes_true;
using test::make_engine;
using test::Memory;

void block_all_signals() {
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
}

/// Half of the file behind this memory is cut off.
MemorySpan half_vanished() {
  constexpr std::size_t kLength = 1 << 20;
  const int file = ::memfd_create("vanishes", MFD_CLOEXEC);
  if (::ftruncate(file, kLength) != 0) return {};
  void* const memory = ::mmap(nullptr, kLength, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (memory == MAP_FAILED || ::ftruncate(file, kLength / 2) != 0) return {};
  ::close(file);
  return {static_cast<std::byte*>(memory), kLength};
}

/// The signals that the threads of this process block, but the first thread, as the kernel shows them.
std::vector<std::uint64_t> masks_of_other_threads() {
  std::vector<std::uint64_t> masks;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    if (task.path().filename() == std::to_string(::getpid())) continue;
    std::ifstream status(task.path() / "status");
    for (std::string word; status >> word;) {
      if (word != "SigBlk:") continue;
      status >> word;
      masks.push_back(std::stoull(word, nullptr, 16));
    }
  }
  return masks;
}

TEST(CpuEngineProcess, LosesMemoryUnderABlockedSignalAndLives) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  const auto blocked = [](bool callers_help) {
    block_all_signals();
    const MemorySpan memory = half_vanished();
    const auto engine = make_engine(memory, {}, {.callers_help = callers_help});
    const Completion completion = test::finish(*engine, {memory, 0, Urgency::Background});
    bool right = completion.cause == FailureCause::SlaveError && completion.bytes_zeroed == ByteCount(512 << 10);
    for (int again = 0; again < 100; ++again) {  // some of them while the worker sleeps
      std::this_thread::sleep_for(std::chrono::microseconds(50));
      right = right && test::finish(*engine, {memory.last(4096), 0, Urgency::Urgent}).cause == FailureCause::SlaveError;
    }
    sigset_t mine;
    ::pthread_sigmask(SIG_BLOCK, nullptr, &mine);
    ::_exit(right && ::sigismember(&mine, SIGBUS) == 1 ? 42 : 1);
  };
  EXPECT_EXIT(blocked(false), ::testing::ExitedWithCode(42), "");
  EXPECT_EXIT(blocked(true), ::testing::ExitedWithCode(42), "") << "the caller's own stores";
}

TEST(CpuEngineProcess, WorkersLeaveSignalsToTheProgram) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  const auto look = [] {
    Memory memory(4096);
    CpuOptions options;
    options.threads = 3;
    const auto engine = make_engine(memory.all(), options);
    const auto bit = [](int signal) { return std::uint64_t{1} << (signal - 1); };
    const auto right = [&](std::uint64_t mask) {
      const bool own = (mask & bit(SIGBUS)) == 0 && (mask & bit(SIGSEGV)) == 0;
      return own && (mask & bit(SIGTERM)) != 0 && (mask & bit(SIGCHLD)) != 0 && (mask & bit(SIGALRM)) != 0;
    };
    // A thread that has just begun blocks everything for a moment.
    const bool all = comes_true([&] {
      const auto masks = masks_of_other_threads();  // those of a sanitizer's own threads among them
      return std::count_if(masks.begin(), masks.end(), right) == 3;
    });
    sigset_t mine;
    ::pthread_sigmask(SIG_BLOCK, nullptr, &mine);
    ::_exit(all && ::sigismember(&mine, SIGTERM) == 0 ? 42 : 1);
  };
  EXPECT_EXIT(look(), ::testing::ExitedWithCode(42), "");
}

/// How the child ended; -1: it hung.
int in_a_child(const std::function<int()>& what) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(what());
  int status = 0;
  if (!comes_true([&] { return ::waitpid(child, &status, WNOHANG) == child; })) {
    ::kill(child, SIGKILL);
    ::waitpid(child, &status, 0);
    return -1;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

TEST(CpuEngineProcess, AChildMayDestroyItsCopyAndExit) {
  Memory memory(1 << 20);
  for (const std::uint32_t threads : {1U, 3U}) {
    CpuOptions options;
    options.threads = threads;
    auto engine = make_engine(memory.all(), options);
    EXPECT_EQ(in_a_child([&] {
                engine.reset();
                return 42;
              }),
              42);
    EXPECT_EQ(test::finish(*engine, {memory.all()}).outcome, Outcome::Zeroed) << "the parent's goes on";
  }
}

TEST(CpuEngineProcess, AChildIsRefusedAndNeverWaits) {
  Memory memory(1 << 20);
  const auto engine = make_engine(memory.all());
  const ScrubJob job{memory.all()};
  const auto in_flight = test::submit_all(*engine, {&job, 1});
  const auto child = [&] {
    JobId id;
    const auto submitted = engine->submit({&job, 1}, {&id, 1});
    if (submitted || submitted.error().code != DriverErrc::EngineFailed) return 1;
    if (submitted.error().message.find("only exec or exit") == std::string::npos) return 2;
    Completion completion;
    for (int look = 0; look < 1000; ++look) {
      if (engine->poll({&completion, 1}) != 0) return 3;
    }
    if (engine->cancel(in_flight[0]) != CancelResult::UnknownJob) return 4;
    if (!engine->fault() || engine->completion_fd() != -1) return 5;
    return 42;
  };
  EXPECT_EQ(in_a_child(child), 42);
  EXPECT_EQ(test::collect(*engine, 1).size(), 1U);
}

TEST(CpuEngineProcess, AForkWhileAnotherThreadPollsLeavesNoLockBehind) {
  Memory memory(1 << 20);
  const auto engine = make_engine(memory.all());
  std::atomic<bool> stop{false};
  std::thread poller([&] {
    while (!stop) test::finish(*engine, {memory.part(0, 4096)});
  });
  for (int round = 0; round < 50; ++round) {
    const int ended = in_a_child([&] {
      const ScrubJob job{memory.all()};
      JobId id;
      const bool refused = !engine->submit({&job, 1}, {&id, 1});
      Completion none;
      return refused && engine->poll({&none, 1}) == 0 && engine->fault() ? 42 : 1;
    });
    EXPECT_EQ(ended, 42);
    if (ended != 42) break;
  }
  stop = true;
  poller.join();
}

TEST(CpuEngineProcess, TakesNoStandardDescriptor) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  const auto closed = [] {
    for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::close(standard);
    Memory memory(4096);
    const auto engine = make_engine(memory.all());
    for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
      if (::fcntl(standard, F_GETFD) != -1) ::_exit(1);
    }
    const int descriptor = engine->completion_fd();
    ::_exit(descriptor > STDERR_FILENO && (::fcntl(descriptor, F_GETFD) & FD_CLOEXEC) != 0 ? 42 : 2);
  };
  EXPECT_EXIT(closed(), ::testing::ExitedWithCode(42), "");
}

}  // namespace
}  // namespace sluice
