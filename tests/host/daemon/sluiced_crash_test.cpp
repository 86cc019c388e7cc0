// SPDX-License-Identifier: Apache-2.0
// sluiced is killed, and another one goes on: VMs keep their memory, and nobody gets what is not provably clean.
#include <fcntl.h>
#include <gmock/gmock.h>

#include <map>
#include <random>
#include <thread>

#include "sluice/daemon/audit.hpp"
#include "support/sluiced.hpp"

namespace sluice::test {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint64_t kAll = 4 * kMiB;
constexpr std::uint8_t kA = 1;
constexpr std::uint8_t kB = 2;
constexpr std::uint8_t kSecret = 0xA5;

TEST(SluicedCrash, ARunningVmIsAdopted) {
  Sluiced sluiced;
  Vmm vmm(sluiced);
  ASSERT_EQ(vmm.acquire(kA, 2 * kMiB).refused, 0);
  vmm.fill(kSecret);
  sluiced.end(SIGKILL);
  sluiced.start();
  const Client client(sluiced.socket());
  EXPECT_EQ(client.status(kA).state, static_cast<std::uint32_t>(SLUICE_STATE_RUNNING)) << sluiced.log();
  EXPECT_EQ(client.status(kA).size, 2 * kMiB);
  Vmm other(sluiced);
  EXPECT_EQ(other.acquire(kB, 3 * kMiB).refused, SLUICE_REFUSED_NO_MEMORY);
  EXPECT_EQ(other.acquire(kB, 2 * kMiB).found, 0U);
  EXPECT_EQ(vmm.look(), kSecret);
  vmm.end();
  EXPECT_TRUE(client.comes_to(kA, SLUICE_STATE_NONE)) << sluiced.log();
}

TEST(SluicedCrash, AReservedVmIsStillReserved) {
  Sluiced sluiced;
  {
    const Client client(sluiced.socket());
    Vmm vmm(sluiced);
    vmm.filter();
    ASSERT_EQ(vmm.acquire(kA, 2 * kMiB).refused, 0);
    vmm.fill(kSecret);
    vmm.notify(SLUICE_EVENT_REBOOT);
    vmm.end();
    ASSERT_TRUE(client.comes_to(kA, SLUICE_STATE_RESERVED));
  }
  sluiced.end(SIGKILL);
  sluiced.start();
  const Client client(sluiced.socket());
  EXPECT_EQ(client.status(kA).state, static_cast<std::uint32_t>(SLUICE_STATE_RESERVED)) << sluiced.log();
  Vmm again(sluiced);
  const auto given = again.acquire(kA, 2 * kMiB);
  EXPECT_EQ(given.recycled, 2U);
  EXPECT_EQ(given.found, kSecret);
  EXPECT_EQ(given.epoch, 2U);
}

TEST(SluicedCrash, AVmThatEndedMeanwhileIsScrubbed) {
  Sluiced sluiced;
  {
    Vmm vmm(sluiced);
    ASSERT_EQ(vmm.acquire(kA, kAll).refused, 0);
    vmm.fill(kSecret);
    sluiced.end(SIGKILL);
  }
  sluiced.start();
  const Client client(sluiced.socket());
  ASSERT_TRUE(client.comes_to(kA, SLUICE_STATE_NONE)) << sluiced.log();
  Vmm other(sluiced);
  EXPECT_EQ(other.acquire(kB, kAll).found, 0U);
}

TEST(SluicedCrash, WhoKeepsMemoryOfAVmThatNobodyKnowsIsWaitedFor) {
  Sluiced sluiced;
  Vmm vmm(sluiced);
  ASSERT_EQ(vmm.acquire(kA, kAll).refused, 0);
  vmm.fill(kSecret);
  sluiced.end(SIGKILL);
  std::filesystem::remove(sluiced.folder() / "run/leases.db");
  sluiced.start();
  Vmm other(sluiced);
  EXPECT_EQ(other.acquire(kB, kMiB).refused, SLUICE_REFUSED_NO_MEMORY) << sluiced.log();
  EXPECT_EQ(vmm.look(), kSecret);
  vmm.end();
  EXPECT_TRUE(comes_true([&] { return other.acquire(kB, kAll).refused == 0; })) << sluiced.log();
  EXPECT_EQ(other.look(), 0U);
}

TEST(SluicedCrash, ALostLedgerIsNoReasonToScrubWhatAVmHas) {
  Sluiced sluiced;
  Vmm vmm(sluiced);
  ASSERT_EQ(vmm.acquire(kA, kAll).refused, 0);
  vmm.fill(kSecret);
  sluiced.end(SIGKILL);
  std::filesystem::remove(sluiced.folder() / "run/ledger");
  sluiced.start();
  EXPECT_TRUE(comes_true([&] { return sluiced.has_ended(); }));
  EXPECT_THAT(sluiced.log(), ::testing::HasSubstr("belongs to no VM, and is open or mapped by test-vmm"));
  EXPECT_EQ(vmm.look(), kSecret);
  vmm.end();
  sluiced.start();
  Vmm other(sluiced);
  EXPECT_EQ(other.acquire(kB, kAll).found, 0U);
}

/// VMs come, reboot, grow and end while sluiced is killed at any time; each looks through its memory.
TEST(SluicedCrash, AtAnyInstantLosesNothingAndLeaksNothing) {
  const char* const asked = std::getenv("SLUICE_CRASHES");
  const int crashes = asked == nullptr ? 12 : std::atoi(asked);
  const char* const seed_text = std::getenv("SLUICE_SEED");
  const unsigned seed = seed_text == nullptr ? 1 : static_cast<unsigned>(std::atoi(seed_text));
  SCOPED_TRACE(fmt::format("SLUICE_SEED={}", seed));
  std::mt19937 random(seed);
  Sluiced sluiced(R"([{ size = "1MiB", count = 8 }])");
  std::map<std::uint8_t, std::unique_ptr<Vmm>> vmms;
  std::map<std::uint8_t, unsigned> written;  // what a VM has in its memory; while it reboots too
  for (int crash = 0; crash < crashes && !::testing::Test::HasFailure(); ++crash) {
    std::thread killer([&, after = std::chrono::microseconds(random() % 60'000)] {
      std::this_thread::sleep_for(after);
      ::kill(sluiced.process(), SIGKILL);
    });
    for (int act = 0; act < 25; ++act) {
      const auto vm = static_cast<std::uint8_t>(1 + random() % 5);
      const auto found = vmms.find(vm);
      if (found == vmms.end()) {
        auto vmm = std::make_unique<Vmm>(sluiced);
        const bool filters = random() % 2 == 0;
        if (filters) vmm->filter();
        const auto given = vmm->acquire(vm, (1 + random() % 3) * kMiB);
        if (given.refused != 0) continue;
        const auto before = written.find(vm);
        const bool own = given.recycled != 0 && before != written.end();
        EXPECT_TRUE(given.found == 0 || (own && (given.found == 256 || given.found == before->second)))
            << "VM " << int{vm} << " sees " << given.found;
        written[vm] = 16U * vm + static_cast<unsigned>(random() % 16);
        vmm->fill(static_cast<std::uint8_t>(written[vm]));
        vmms.emplace(vm, std::move(vmm));
      } else if (random() % 3 == 0) {
        EXPECT_EQ(found->second->look(), written[vm]) << "VM " << int{vm};
        vmms.erase(found);
      } else {
        EXPECT_EQ(found->second->look(), written[vm]) << "VM " << int{vm};
      }
    }
    killer.join();
    sluiced.end(SIGKILL);
    sluiced.start();
  }
  const Client client(sluiced.socket());
  for (const auto& [vm, vmm] : vmms) {
    EXPECT_EQ(vmm->look(), written[vm]);
    EXPECT_EQ(client.status(vm).state, static_cast<std::uint32_t>(SLUICE_STATE_RUNNING)) << sluiced.log();
  }
  vmms.clear();
  Vmm last(sluiced);
  EXPECT_TRUE(comes_true([&] { return last.acquire(9, 8 * kMiB).refused == 0; })) << "memory was lost\n"
                                                                                  << sluiced.log();
  EXPECT_EQ(last.look(), 0U);
  last.end();
  EXPECT_EQ(sluiced.end(SIGTERM), 0);
  auto audit = Audit::open(sluiced.folder() / "state/audit.db");
  ASSERT_TRUE(audit) << audit.error().message;
  EXPECT_EQ(*audit->first_bad_line(), std::nullopt);
  for (std::uint8_t vm = 1; vm <= 5; ++vm) {
    Uuid uuid;
    uuid.bytes.fill(static_cast<std::byte>(vm));
    EXPECT_TRUE(audit->erasure_of(uuid)->complete()) << "VM " << int{vm};
  }
}

}  // namespace
}  // namespace sluice::test
