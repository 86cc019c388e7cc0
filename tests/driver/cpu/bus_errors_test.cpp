// SPDX-License-Identifier: Apache-2.0
// Memory that is not there any more when the CPU engine comes to it.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <csignal>

#include "driver/cpu/cpu_support.hpp"

namespace sluice {
namespace {

constexpr std::size_t kPage = 4096;

/// Eight pages of a file, of which the last four are cut off.
class VanishedMemory {
 public:
  VanishedMemory() : file_(::memfd_create("vanishes", MFD_CLOEXEC)) {
    EXPECT_EQ(::ftruncate(file_, 8 * kPage), 0);
    auto* const mapped = ::mmap(nullptr, 8 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, file_, 0);
    EXPECT_NE(mapped, MAP_FAILED);
    all_ = {static_cast<std::byte*>(mapped), 8 * kPage};
    EXPECT_EQ(::ftruncate(file_, 4 * kPage), 0);
  }
  VanishedMemory(const VanishedMemory&) = delete;
  VanishedMemory& operator=(const VanishedMemory&) = delete;
  ~VanishedMemory() {
    ::munmap(all_.data(), all_.size());
    ::close(file_);
  }
  [[nodiscard]] MemorySpan all() const { return all_; }
  [[nodiscard]] MemorySpan there() const { return all_.first(4 * kPage); }

 private:
  int file_;
  MemorySpan all_;
};

TEST(BusErrors, FailTheirJobAndTheEngineGoesOn) {
  const VanishedMemory memory;
  const MemorySpan windows[] = {memory.all()};
  CpuOptions options;
  options.chunk = ByteCount(kPage);
  const auto engine = CpuEngine::create(options, windows);
  ASSERT_TRUE(engine);
  ScrubJob fill{memory.all(), ~0ULL};
  ScrubJob fill_to_read = fill;
  fill_to_read.read_soon = true;
  ScrubJob verify = fill;
  verify.operation = Operation::Verify;
  ScrubJob both = fill;
  both.operation = Operation::FillVerify;
  ScrubJob random = fill;
  random.operation = Operation::FillRandom;
  ScrubJob random_to_read = random;
  random_to_read.read_soon = true;
  for (const ScrubJob& job : {fill, fill_to_read, verify, both, random, random_to_read}) {
    const Completion failed = test::finish(**engine, job);
    EXPECT_EQ(failed.outcome, Outcome::Failed);
    EXPECT_EQ(failed.cause, FailureCause::SlaveError);
    EXPECT_EQ(failed.bytes_zeroed, ByteCount(4 * kPage)) << "what lies before is done";
    if (job.operation != Operation::FillRandom) {
      EXPECT_EQ(memory.there().back(), std::byte{0xFF});
    }
    EXPECT_EQ(test::finish(**engine, {memory.there(), ~0ULL}).outcome, Outcome::Zeroed);
  }
  EXPECT_FALSE((*engine)->fault());
}

TEST(BusErrors, OfOthersEndTheProcessAsEver) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  const auto touch_another = [] {
    const VanishedMemory memory;
    const VanishedMemory foreign;
    const MemorySpan windows[] = {memory.all()};
    const auto engine = CpuEngine::create({}, windows);
    test::finish(**engine, {memory.all()});
    foreign.all().back() = std::byte{1};
  };
  EXPECT_DEATH(touch_another(), "");
}

TEST(BusErrors, GoToWhoHandledThemBefore) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  const auto with_a_handler = [] {
    std::signal(SIGBUS, [](int) { ::_exit(42); });
    const VanishedMemory memory;
    const MemorySpan windows[] = {memory.all()};
    const auto engine = CpuEngine::create({}, windows);
    if (test::finish(**engine, {memory.all()}).outcome != Outcome::Failed) ::_exit(1);
    memory.all().back() = std::byte{1};
  };
  EXPECT_EXIT(with_a_handler(), ::testing::ExitedWithCode(42), "");
}

TEST(BusErrors, AreNotCaughtAfterOneWasCaught) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  const auto again = [] {
    std::signal(SIGBUS, [](int) { ::_exit(44); });
    const VanishedMemory memory;
    const MemorySpan windows[] = {memory.all()};
    CpuHooks hooks;
    hooks.fill = [](MemorySpan chunk, std::uint64_t) {
      chunk.back() = std::byte{1};
      return true;
    };
    const auto engine = CpuEngine::create({}, windows, hooks);
    ScrubJob caught{memory.all()};
    caught.read_soon = true;
    if (test::finish(**engine, caught).outcome != Outcome::Failed) ::_exit(1);
    test::finish(**engine, {memory.all()});  // the engine's own thread, in a function that is not its own
  };
  EXPECT_EXIT(again(), ::testing::ExitedWithCode(44), "");
}

TEST(BusErrors, EndTheProcessWhereTheyAreNotToBeCaught) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  const auto uncaught = [] {
    std::signal(SIGBUS, [](int) { ::_exit(43); });
    const VanishedMemory memory;
    const MemorySpan windows[] = {memory.all()};
    CpuOptions options;
    options.catch_bus_errors = false;
    const auto engine = CpuEngine::create(options, windows);
    test::finish(**engine, {memory.all()});
  };
  EXPECT_EXIT(uncaught(), ::testing::ExitedWithCode(43), "");
}

}  // namespace
}  // namespace sluice
