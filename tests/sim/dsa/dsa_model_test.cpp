// SPDX-License-Identifier: Apache-2.0
// Our dmadev engine on DPDK's unmodified driver for DSA; this program links the model that stands behind it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rte_dmadev.h>
#include <sys/mman.h>

#include <chrono>

#include "sluice/compose/failover_engine.hpp"
#include "sluice/cpu/cpu_engine.hpp"
#include "sluice/dmadev/dmadev_engine.hpp"
#include "sluice/dmadev/rte_device.hpp"
#include "support/dpdk_test.hpp"
#include "support/dsa_folder.hpp"
#include "support/memory.hpp"
#include "support/patience.hpp"

namespace sluice {
namespace {

using test::first_not;
using ::testing::HasSubstr;

constexpr std::size_t kLength = 1 << 20;

TEST(DsaModel, DpdksTestProgramPassesEveryTestOnIt) {
  const test::DsaFolder folder;
  test::expect_all_groups_passed(test::run_dpdk_test(folder.environment() + " LD_PRELOAD=" SLUICE_DSA_MODEL), "wq0.0");
}

class DsaEngine : public ::testing::Test {
 protected:
  /// Memory that nobody has touched: none of its pages is there.
  DsaEngine() {
    memory_ = {
        static_cast<std::byte*>(::mmap(nullptr, kLength, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)),
        kLength};
  }
  ~DsaEngine() override { ::munmap(memory_.data(), memory_.size()); }

  [[nodiscard]] Result<std::unique_ptr<Engine>> make(const DmadevOptions& options = {}) const {
    auto device = open_rte_device("wq0.0", {});
    if (!device) return device.error();
    auto engine = DmadevEngine::create(std::move(*device), options, {&memory_, 1});
    if (!engine) return engine.error();
    return std::unique_ptr<Engine>(std::move(*engine));
  }

  static Completion run(Engine& engine, const ScrubJob& job) {
    JobId id;
    Completion completion;
    EXPECT_TRUE(engine.submit({&job, 1}, {&id, 1}));
    for (const test::Patience patience; engine.poll({&completion, 1}) == 0 && !patience.over();) {
    }
    return completion;
  }

  test::DsaFolder folder_{32, 64 << 10};
  MemorySpan memory_;
};

TEST_F(DsaEngine, PagesThatAreNotThereAreBroughtInAndFilled) {
  DmadevOptions options;
  options.chunk = ByteCount(64 << 10);
  auto engine = make(options);
  ASSERT_TRUE(engine) << engine.error().message;
  const Completion completion = run(**engine, {memory_.subspan(100, kLength - 200), ~0ULL});
  EXPECT_EQ(completion.outcome, Outcome::Zeroed) << to_string(completion.cause);
  EXPECT_EQ(completion.bytes_zeroed, ByteCount(kLength - 200));
  EXPECT_EQ(first_not(memory_.subspan(100, kLength - 200), std::byte{0xFF}), std::nullopt);
  EXPECT_EQ(memory_[99], std::byte{0});
  EXPECT_EQ(memory_[kLength - 100], std::byte{0});
}

TEST_F(DsaEngine, APageThatCannotBeBroughtInEndsTheJobWithTheExactPrefix) {
  DmadevOptions options;
  options.chunk = ByteCount(4096);
  auto engine = make(options);
  ASSERT_TRUE(engine) << engine.error().message;
  ASSERT_EQ(::munmap(memory_.data() + 10 * 4096, 4096), 0);
  const Completion completion = run(**engine, {memory_.first(20 * 4096), ~0ULL});
  EXPECT_EQ(completion.outcome, Outcome::Failed);
  EXPECT_EQ(completion.cause, FailureCause::SlaveError);
  EXPECT_EQ(completion.bytes_zeroed, ByteCount(10 * 4096));
  EXPECT_EQ(first_not(memory_.first(10 * 4096), std::byte{0xFF}), std::nullopt);
  EXPECT_EQ(run(**engine, {memory_.subspan(40 * 4096, 4096)}).outcome, Outcome::Zeroed) << "the next job goes on";
}

TEST_F(DsaEngine, MoreOperationsThanABatchMayHaveGoOutInSeveral) {
  DmadevOptions options;
  options.chunk = ByteCount(4096);
  options.in_flight = ByteCount(kLength);  // 256 operations; a batch of this queue has at most 32
  std::fill(memory_.begin(), memory_.end(), std::byte{0xA5});
  auto engine = make(options);
  ASSERT_TRUE(engine) << engine.error().message;
  EXPECT_EQ(run(**engine, {memory_}).outcome, Outcome::Zeroed);
  EXPECT_EQ(first_not(memory_, std::byte{0}), std::nullopt);
}

TEST_F(DsaEngine, AnOperationLongerThanTheQueueAllowsIsABadDescriptor) {
  DmadevOptions options;
  options.chunk = ByteCount(128 << 10);  // this queue takes 64 KiB
  std::fill(memory_.begin(), memory_.end(), std::byte{0xA5});
  auto engine = make(options);
  ASSERT_TRUE(engine) << engine.error().message;
  const Completion completion = run(**engine, {memory_.first(128 << 10)});
  EXPECT_EQ(completion.outcome, Outcome::Failed);
  EXPECT_EQ(completion.cause, FailureCause::BadDescriptor);
  EXPECT_EQ(first_not(memory_, std::byte{0xA5}), std::nullopt);
}

TEST_F(DsaEngine, ADeviceThatStopsIsGivenUpAndTheCpuGoesOn) {
  ::setenv("DSA_MODEL_STOP_AFTER", "10", 1);
  DmadevOptions options;
  options.chunk = ByteCount(4096);
  options.stall_timeout = std::chrono::milliseconds(200);
  std::fill(memory_.begin(), memory_.end(), std::byte{0xA5});
  const auto on_cpu = [this]() -> Result<std::unique_ptr<Engine>> {
    auto engine = CpuEngine::create({}, {&memory_, 1});
    if (!engine) return engine.error();
    return std::unique_ptr<Engine>(std::move(*engine));
  };
  auto engine = FailoverEngine::create({{"dsa", [&] { return make(options); }}, {"cpu", on_cpu}}, {});
  ASSERT_TRUE(engine) << engine.error().message;
  const Completion failed = run(**engine, {memory_});
  EXPECT_EQ(failed.outcome, Outcome::Failed);
  EXPECT_EQ(failed.bytes_zeroed, ByteCount(0)) << "nothing is known then";
  EXPECT_EQ(run(**engine, {memory_}).outcome, Outcome::Zeroed);
  EXPECT_EQ(first_not(memory_, std::byte{0}), std::nullopt);
  ASSERT_EQ((*engine)->failovers().size(), 1U);
  EXPECT_THAT((*engine)->failovers()[0].reason, HasSubstr("ended nothing"));
}

}  // namespace
}  // namespace sluice
