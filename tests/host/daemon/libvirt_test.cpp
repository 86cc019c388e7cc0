// SPDX-License-Identifier: Apache-2.0
// What docs/START.md does: sluiced, and a libvirt domain on its memory. There is one brick, so whoever starts next has
// the memory of whoever was there before.
#include "support/libvirt.hpp"

#include <gtest/gtest.h>

#include <csignal>
#include <fstream>
#include <sstream>

#include "support/qemu.hpp"
#include "support/sluiced.hpp"

namespace sluice::test {
namespace {

constexpr std::uint8_t kVm = 0xaa;     // of the UUID in the example, which is this byte sixteen times
constexpr std::uint8_t kOther = 0xbb;  // not of libvirt
constexpr std::uint64_t kMemory = 64ULL << 20;
const std::string kBricks = R"([{ size = "64MiB", count = 1 }])";
const std::string kMark = "mark 7 16 32";
const std::string kCount = "count 7 16 32";
const std::string kAllMarked = "marked 8192";
const std::string kAllFound = "found 8192";
const std::string kNoneFound = "found 0";

std::string text_of(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(std::string(SLUICE_SOURCE_DIR) + "/" + path).rdbuf();
  return text.str();
}

void replace(std::string& text, const std::string& what, const std::string& by) {
  const std::size_t at = text.find(what);
  ASSERT_NE(at, std::string::npos) << "the example has no " << what;
  text.replace(at, what.size(), by);
}

/// By the type of the domain: qemu or kvm.
class LibvirtDomain : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    ASSERT_TRUE(libvirt_.is_possible())
        << "root's libvirtd needs a mount namespace: run this with CAP_SYS_ADMIN, or as "
           "another user";
    std::string domain = text_of("docs/examples/libvirt/domain.xml");
    replace(domain, "<domain type='qemu'", "<domain type='" + std::string(GetParam()) + "'");
    replace(domain, "/usr/local/bin/sluice-qemu", SLUICE_QEMU_WRAPPER);
    replace(domain, "/usr/local/share/sluice-guest.bin", SLUICE_GUEST);
    replace(domain, "/run/sluice/sluiced.sock", sluiced_.socket());
    replace(domain, "<serial type='pty'/>",
            "<serial type='unix'><source mode='connect' path='" + port_.path() + "'/></serial>");
    std::ofstream(folder_ / "domain.xml") << domain;
    libvirt_.start_daemon();
    virsh("define " + (folder_ / "domain.xml").string());
    virsh("start clean");
    EXPECT_EQ(port_.line(), "boots 1");
    EXPECT_EQ(port_.ask(kMark), kAllMarked);
    EXPECT_EQ(client_.status(kVm).state, SLUICE_STATE_RUNNING);
    EXPECT_EQ(client_.status(kVm).size, kMemory);
  }
  void TearDown() override {
    if (!libvirt_.is_possible()) return;
    if (HasFailure()) std::cout << libvirt_.log() << sluiced_.log();
    static_cast<void>(libvirt_.virsh("destroy clean"));
    EXPECT_EQ(libvirt_.end(), 0) << "libvirt has left processes";
  }

  void virsh(const std::string& words) const {
    const Outcome outcome = libvirt_.virsh(words);
    ASSERT_EQ(outcome.exit_code, 0) << words << ": " << outcome.output;
  }
  [[nodiscard]] bool libvirt_says(const std::string& state) const {
    return comes_true([&] { return libvirt_.virsh("domstate clean").output.starts_with(state); });
  }
  /// The domain has ended, for libvirt and for sluiced.
  void expect_end() {
    EXPECT_TRUE(libvirt_says("shut off"));
    EXPECT_TRUE(client_.comes_to(kVm, SLUICE_STATE_NONE));
  }
  void expect_nothing_found_after_start() {
    virsh("start clean");
    EXPECT_EQ(port_.line(), "boots 1");
    EXPECT_EQ(port_.ask(kCount), kNoneFound);
    EXPECT_EQ(client_.status(kVm).state, SLUICE_STATE_RUNNING);
  }

  TemporaryFolder folder_;
  Sluiced sluiced_{kBricks};
  Client client_{sluiced_.socket()};
  GuestPort port_;
  Libvirt libvirt_;
};

TEST_P(LibvirtDomain, KeepsItsMemoryWhenItRebootsAndWhenItIsReset) {
  EXPECT_EQ(port_.ask("reboot"), "boots 2");
  EXPECT_EQ(port_.ask(kCount), kAllFound);
  virsh("reset clean");
  EXPECT_EQ(port_.line(), "boots 3");
  EXPECT_EQ(port_.ask(kCount), kAllFound);
  EXPECT_EQ(client_.status(kVm).state, SLUICE_STATE_RUNNING);
}

TEST_P(LibvirtDomain, FindsNothingAfterItHasPoweredOff) {
  port_.tell("off");
  expect_end();
  expect_nothing_found_after_start();
}

TEST_P(LibvirtDomain, FindsNothingAfterItWasDestroyed) {
  virsh("destroy clean");
  expect_end();
  expect_nothing_found_after_start();
}

TEST_P(LibvirtDomain, FindsNothingAfterItsQemuWasKilled) {
  const pid_t qemu = libvirt_.process_of("clean");
  ASSERT_GT(qemu, 1);
  ::kill(qemu, SIGKILL);
  expect_end();
  expect_nothing_found_after_start();
}

TEST_P(LibvirtDomain, GoesOnWithoutLibvirtdAndItsEndIsSeen) {
  libvirt_.kill_daemon();
  EXPECT_EQ(port_.ask(kCount), kAllFound);
  EXPECT_EQ(client_.status(kVm).state, SLUICE_STATE_RUNNING);
  libvirt_.start_daemon();
  EXPECT_TRUE(libvirt_says("running"));
  EXPECT_EQ(port_.ask("reboot"), "boots 2");
  EXPECT_EQ(port_.ask(kCount), kAllFound);
  port_.tell("off");
  expect_end();
  expect_nothing_found_after_start();
}

TEST_P(LibvirtDomain, EndsWithoutLibvirtdAndSluicedSeesIt) {
  const pid_t qemu = libvirt_.process_of("clean");
  ASSERT_GT(qemu, 1);
  libvirt_.kill_daemon();
  ::kill(qemu, SIGKILL);
  EXPECT_TRUE(client_.comes_to(kVm, SLUICE_STATE_NONE));
  libvirt_.start_daemon();
  expect_end();
  expect_nothing_found_after_start();
}

TEST_P(LibvirtDomain, HasItsMemoryBackWhenItIsRestoredAndNobodyElseHasIt) {
  virsh("managedsave clean");
  expect_end();
  {
    Vmm other(sluiced_);
    const Vmm::Given given = other.acquire(kOther, kMemory);
    EXPECT_EQ(given.refused, 0);
    EXPECT_EQ(given.found, 0U) << "the brick that the domain had";
    EXPECT_EQ(other.fill(0x5a), 0U);
  }
  EXPECT_TRUE(client_.comes_to(kOther, SLUICE_STATE_NONE));
  virsh("start clean");
  EXPECT_EQ(port_.ask("hello"), "boots 1") << "it has not started anew";
  EXPECT_EQ(port_.ask(kCount), kAllFound);
  EXPECT_EQ(port_.ask("reboot"), "boots 2");
  EXPECT_EQ(port_.ask(kCount), kAllFound);
}

INSTANTIATE_TEST_SUITE_P(UnderTcg, LibvirtDomain, ::testing::Values("qemu"));
INSTANTIATE_TEST_SUITE_P(UnderKvm, LibvirtDomain,
                         ::testing::ValuesIn(Qemu::has_kvm() ? std::vector<const char*>{"kvm"}
                                                             : std::vector<const char*>{}));
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(LibvirtDomain);

TEST(LibvirtExample, IsWhatTheDocumentSays) {
  const std::string document = text_of("docs/START.md");
  EXPECT_NE(document.find("bricks = " + kBricks), std::string::npos);
  const std::size_t shown = document.find("```xml\n");
  ASSERT_NE(shown, std::string::npos);
  const std::string lines = document.substr(shown + 7, document.find("```", shown + 7) - shown - 7);
  std::istringstream split(lines);
  const std::string whole = text_of("docs/examples/libvirt/domain.xml");
  for (std::string line; std::getline(split, line);) {
    EXPECT_NE(whole.find(line + "\n"), std::string::npos) << line;
  }
}

}  // namespace
}  // namespace sluice::test
