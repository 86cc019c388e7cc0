// SPDX-License-Identifier: Apache-2.0
// Our engine as a device of DPDK's: through DPDK's own test program, and through its public interface.
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rte_dev.h>
#include <rte_dmadev.h>

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "rte_pmd_sluice.h"
#include "sluice/dmadev/dmadev_engine.hpp"
#include "sluice/dmadev/rte_device.hpp"
#include "support/dpdk_test.hpp"
#include "support/memory.hpp"
#include "support/patience.hpp"

namespace sluice {
namespace {

using test::Memory;
using ::testing::HasSubstr;
using ::testing::Not;

/// Whether DPDK loads a library from there with -d: no folder above it may be one that all may write.
bool loads_with_d(std::filesystem::path library) {
  while (library.has_relative_path()) {
    library = library.parent_path();
    const auto permissions = std::filesystem::status(library).permissions();
    if ((permissions & std::filesystem::perms::others_write) != std::filesystem::perms::none) return false;
  }
  return true;
}

/// DPDK's test program with a device of that name and arguments, perhaps with another library preloaded.
test::Outcome dpdk_test(const std::string& preload, const std::string& device) {
  const bool by_option = loads_with_d(SLUICE_PMD);
  const std::string load = by_option ? " -d " SLUICE_PMD : "";
  const std::string preloaded = preload + (by_option ? "" : ":" SLUICE_PMD);
  test::Outcome outcome = test::run_dpdk_test("LD_PRELOAD='" + preloaded + "'", load + " --vdev '" + device + "'");
  std::replace(outcome.output.begin(), outcome.output.end(), '\r', '\n');
  return outcome;
}

class DpdkTestProgram : public ::testing::TestWithParam<std::string> {};

TEST_P(DpdkTestProgram, PassesEveryDmadevTestOnOurDevice) {
  test::expect_all_groups_passed(dpdk_test("", "dma_sluice0,engine=" + GetParam()), "dma_sluice0");
}

INSTANTIATE_TEST_SUITE_P(Engines, DpdkTestProgram, ::testing::Values("cpu", "rtl", "rtl:build=256,read-latency=100"),
                         [](const auto& kind) {
                           std::string name = kind.param;
                           std::erase_if(name, [](unsigned char letter) { return std::isalnum(letter) == 0; });
                           return name;
                         });

TEST(Pmd, RefusesADpdkOfAnotherVersion) {
  const test::Outcome outcome = dpdk_test(SLUICE_OTHER_DPDK, "dma_sluice0");
  EXPECT_THAT(outcome.output, HasSubstr("this driver was built for DPDK 22.11, and the program runs 21.11"));
  EXPECT_THAT(outcome.output, Not(HasSubstr("[dma_sluice0]"))) << "there is no such device";
}

TEST(Pmd, RefusesASecondaryProcess) {
  const test::Outcome outcome = dpdk_test(SLUICE_SECONDARY_DPDK, "dma_sluice0");
  EXPECT_THAT(outcome.output, HasSubstr("only DPDK's primary process can use this device"));
  EXPECT_THAT(outcome.output, Not(HasSubstr("[dma_sluice0]"))) << "there is no such device";
}

TEST(Pmd, RefusesArgumentsThatItDoesNotUnderstandAndSaysWhatToGive) {
  EXPECT_THAT(dpdk_test("", "dma_sluice0,strict=2").output, HasSubstr("'strict=2' is not understood: give strict=0"));
  EXPECT_THAT(dpdk_test("", "dma_sluice0,engine=gpu").output, HasSubstr("there is no kind 'gpu'; there are: cpu, rtl"));
  EXPECT_THAT(dpdk_test("", "dma_sluice0,engine=cpu:thread=1").output, HasSubstr("thread"));
}

TEST(ExternalMemory, IsGivenBackWithItsEngineAndTooManyWindowsAreAnErrorThatSaysSo) {
  RteOptions options;
  const auto make = [&](const Memory& memory, std::size_t windows) -> Result<std::unique_ptr<DmadevEngine>> {
    auto device = open_rte_device("dma_skeleton", options);
    if (!device) return device.error();
    std::vector<MemorySpan> all;
    // Every other page, so that no two make one.
    for (std::size_t index = 0; index < windows; ++index) all.push_back(memory.part(2 * index * 4096, 4096));
    return DmadevEngine::create(std::move(*device), {}, all);
  };
  const Memory memory(400 * 4096);
  const auto refused = make(memory, 200);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, DriverErrc::NoResources);
  EXPECT_THAT(refused.error().message, HasSubstr("fewer windows"));
  // Had one been kept, these would not have fitted either.
  for (int times = 0; times < 20; ++times) {
    const auto engine = make(memory, 60);
    ASSERT_TRUE(engine) << times << ": " << engine.error().message;
  }
}

/// A started device, used through DPDK's public interface.
class PmdDevice : public ::testing::TestWithParam<std::string> {
 protected:
  void open(const std::string& arguments) {
    RteOptions options;
    options.driver = SLUICE_PMD;
    options.arguments = arguments;
    const std::string name = "dma_sluice_" + std::to_string(++opened);
    auto device = open_rte_device(name, options);
    ASSERT_TRUE(device) << device.error().message;
    device_ = std::move(*device);
    id_ = static_cast<std::int16_t>(::rte_dma_get_dev_id_by_name(name.c_str()));
    ASSERT_EQ(::rte_dma_stats_reset(id_, 0), 0);
  }

  /// Statuses of the next `count` operations.
  [[nodiscard]] std::vector<enum rte_dma_status_code> wait(std::size_t count) const {
    std::vector<enum rte_dma_status_code> all;
    for (test::Patience patience; all.size() < count && !patience.over();) {
      std::array<enum rte_dma_status_code, 16> some{};
      std::uint16_t last = 0;
      const std::uint16_t got = ::rte_dma_completed_status(id_, 0, some.size(), &last, some.data());
      all.insert(all.end(), some.begin(), some.begin() + got);
      if (got > 0) patience.renew();
    }
    EXPECT_EQ(all.size(), count);
    return all;
  }

  [[nodiscard]] rte_pmd_sluice_counters counters() const {
    // The driver is loaded by DPDK, not linked.
    using Get = int(std::int16_t, rte_pmd_sluice_counters*);
    void* const driver = ::dlopen(SLUICE_PMD, RTLD_NOLOAD | RTLD_NOW);
    auto* const get = reinterpret_cast<Get*>(::dlsym(driver, "rte_pmd_sluice_counters_get"));
    rte_pmd_sluice_counters counters{};
    EXPECT_EQ(get(id_, &counters), 0);
    EXPECT_EQ(get(static_cast<std::int16_t>(id_ + 1000), &counters), -EINVAL);
    return counters;
  }

  static rte_iova_t iova(const std::byte* address) { return reinterpret_cast<std::uintptr_t>(address); }

  static inline int opened = 0;
  std::unique_ptr<DmaDevice> device_;
  std::int16_t id_ = -1;
  Memory memory_{1 << 20, std::byte{0xA5}};
};

TEST_P(PmdDevice, APatternBeginsAtTheFirstByteWhereverThatIs) {
  open("engine=" + GetParam());
  constexpr std::uint64_t kPattern = 0x8877665544332211;
  std::size_t offset = 100;
  for (std::uint32_t alignment = 0; alignment < 8; ++alignment) {
    for (const std::uint32_t length : {1U, 7U, 8U, 100U, 5000U}) {
      offset = (offset + 15) / 8 * 8 + alignment;
      std::byte* const to = memory_.all().data() + offset;
      ASSERT_GE(::rte_dma_fill(id_, 0, kPattern, iova(to), length, RTE_DMA_OP_FLAG_SUBMIT), 0);
      EXPECT_EQ(wait(1)[0], RTE_DMA_STATUS_SUCCESSFUL);
      for (std::uint32_t index = 0; index < length; ++index) {
        ASSERT_EQ(to[index], static_cast<std::byte>(0x11 * (index % 8 + 1))) << alignment << " + " << index;
      }
      EXPECT_EQ(to[-1], std::byte{0xA5});
      EXPECT_EQ(to[length], std::byte{0xA5});
      offset += length;
    }
  }
}

TEST_P(PmdDevice, AFencedCopySeesTheFillBeforeIt) {
  open("engine=" + GetParam());
  const std::uint32_t length = 256 << 10;
  std::byte* const filled = memory_.all().data();
  std::byte* const copied = filled + length;
  ASSERT_GE(::rte_dma_fill(id_, 0, 0, iova(filled), length, 0), 0);
  ASSERT_GE(::rte_dma_copy(id_, 0, iova(filled), iova(copied), length, RTE_DMA_OP_FLAG_FENCE | RTE_DMA_OP_FLAG_SUBMIT),
            0);
  EXPECT_THAT(wait(2), ::testing::Each(RTE_DMA_STATUS_SUCCESSFUL));
  EXPECT_EQ(test::first_not({copied, length}, std::byte{0}), std::nullopt);
}

TEST_P(PmdDevice, CountsWhatSoftwareDoesApart) {
  open("engine=" + GetParam());
  std::byte* const memory = memory_.all().data();
  for (int times = 0; times < 3; ++times) {
    ASSERT_GE(::rte_dma_fill(id_, 0, 0, iova(memory + 3), 1000, RTE_DMA_OP_FLAG_SUBMIT), 0);
  }
  ASSERT_GE(::rte_dma_copy(id_, 0, iova(memory), iova(memory + 4096), 100, RTE_DMA_OP_FLAG_SUBMIT), 0);
  EXPECT_THAT(wait(4), ::testing::Each(RTE_DMA_STATUS_SUCCESSFUL));
  EXPECT_EQ(counters().fills, 3U);
  EXPECT_EQ(counters().filled_bytes, 3000U);
  EXPECT_EQ(counters().copies, 1U);
  EXPECT_EQ(counters().copied_bytes, 100U);
  rte_dma_stats stats{};
  ASSERT_EQ(::rte_dma_stats_get(id_, 0, &stats), 0);
  EXPECT_EQ(stats.submitted, 4U);
  EXPECT_EQ(stats.completed, 4U);
  EXPECT_EQ(stats.errors, 0U);
}

TEST_P(PmdDevice, StrictDoesNothingInSoftware) {
  open("strict=1,engine=" + GetParam());
  rte_dma_info info{};
  ASSERT_EQ(::rte_dma_info_get(id_, &info), 0);
  EXPECT_EQ(info.dev_capa & RTE_DMA_CAPA_OPS_COPY, 0U);
  EXPECT_NE(info.dev_capa & RTE_DMA_CAPA_OPS_FILL, 0U);
  std::byte* const memory = memory_.all().data();
  EXPECT_EQ(::rte_dma_copy(id_, 0, iova(memory), iova(memory + 4096), 100, RTE_DMA_OP_FLAG_SUBMIT), -ENOTSUP);
  ASSERT_GE(::rte_dma_fill(id_, 0, 0, iova(memory), 100, RTE_DMA_OP_FLAG_SUBMIT), 0);
  EXPECT_EQ(wait(1)[0], RTE_DMA_STATUS_SUCCESSFUL);
  EXPECT_EQ(counters().copies, 0U);
}

TEST_P(PmdDevice, BadAddressesAndLengthsFailAndTheRestGoesOn) {
  open("engine=" + GetParam());
  const rte_iova_t good = iova(memory_.all().data());
  ASSERT_GE(::rte_dma_fill(id_, 0, 0, 0, 100, 0), 0);
  ASSERT_GE(::rte_dma_fill(id_, 0, 0, ~0ULL - 50, 100, 0), 0);
  ASSERT_GE(::rte_dma_copy(id_, 0, 8, good, 100, 0), 0);
  ASSERT_GE(::rte_dma_fill(id_, 0, 0, good, 0, 0), 0);
  ASSERT_GE(::rte_dma_fill(id_, 0, 0, good, 100, RTE_DMA_OP_FLAG_SUBMIT), 0);
  EXPECT_THAT(wait(5), ::testing::ElementsAre(RTE_DMA_STATUS_INVALID_DST_ADDR, RTE_DMA_STATUS_INVALID_DST_ADDR,
                                              RTE_DMA_STATUS_INVALID_SRC_ADDR, RTE_DMA_STATUS_INVALID_LENGTH,
                                              RTE_DMA_STATUS_SUCCESSFUL));
}

INSTANTIATE_TEST_SUITE_P(Engines, PmdDevice, ::testing::Values("cpu", "rtl"),
                         [](const auto& kind) { return kind.param; });

TEST_F(PmdDevice, AnEngineThatStopsFailsWhatItHasAndWhatComes) {
  open("engine=rtl:bus-hang-after=2,stall-timeout-us=100");
  std::byte* const memory = memory_.all().data();
  for (std::uint32_t index = 0; index < 4; ++index) {
    ASSERT_GE(::rte_dma_fill(id_, 0, 0, iova(memory + index * 65'536), 65'536, RTE_DMA_OP_FLAG_SUBMIT), 0);
  }
  EXPECT_THAT(wait(4), ::testing::Each(RTE_DMA_STATUS_DEV_LINK_ERROR));
  ASSERT_GE(::rte_dma_fill(id_, 0, 0, iova(memory), 100, RTE_DMA_OP_FLAG_SUBMIT), 0);
  EXPECT_EQ(wait(1)[0], RTE_DMA_STATUS_DEV_LINK_ERROR);
}

}  // namespace
}  // namespace sluice
