// SPDX-License-Identifier: Apache-2.0
// Every way of recycling, with real guests under QEMU: what a guest finds of what was marked in its memory before.
#include <gmock/gmock.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <future>
#include <thread>

#include "sluice/daemon/daemon.hpp"
#include "support/qemu.hpp"

namespace sluice::test {
namespace {

const Caller kProvider = Caller::provider();
constexpr CustomerId kCustomer{1};
constexpr TrustGroupId kGroup{7};
constexpr TrustGroupId kOtherGroup{8};
constexpr DedicatedPoolId kPool{9};
const std::string kA = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9";
const std::string kB = "1b2c3d4e-5f60-7182-93a4-b5c6d7e8f90a";
const std::string kC = "2c3d4e5f-6071-8293-a4b5-c6d7e8f90a1b";
const std::string kMark = "mark 7 16 8";
const std::string kCount = "count 7 16 8";
const std::string kAllMarked = "marked 2048";
const std::string kAllFound = "found 2048";
const std::string kNoneFound = "found 0";

/// A sluiced in this process, on a thread of its own, with five bricks of 32 MiB.
class Guests : public ::testing::TestWithParam<Qemu::Accelerator> {
 protected:
  Guests() {
    DaemonConfig config;
    config.memory_folder = folder_ / "memory";
    config.bricks = {{ByteCount(32ULL << 20), 5}};
    config.run_folder = folder_ / "run";
    config.state_folder = folder_ / "state";
    config.socket = folder_ / "run/sluiced.sock";
    config.api.socket = folder_ / "run/api.sock";
    config.background_rate = ByteCount(1);  // what is free stays as it is until somebody wants it
    auto daemon = Daemon::start(context_, config);
    if (!daemon) throw std::runtime_error(daemon.error().message);
    daemon_ = std::move(*daemon);
    thread_ = std::thread([this] { context_.run(); });
  }
  ~Guests() override {
    // Not before they have ended: their memory is this process's.
    in_daemon([this] { daemon_.reset(); });
    work_.reset();
    context_.stop();
    thread_.join();
  }

  template <class Act>
  std::invoke_result_t<Act> in_daemon(Act act) {
    std::promise<std::invoke_result_t<Act>> done;
    boost::asio::post(context_, [&] {
      if constexpr (std::is_void_v<std::invoke_result_t<Act>>) {
        act();
        if (daemon_) daemon_->settle();
        done.set_value();
      } else {
        auto result = act();
        daemon_->settle();
        done.set_value(std::move(result));
      }
    });
    return done.get_future().get();
  }
  /// The VM's state; nullopt: sluiced does not know it.
  std::optional<LeaseState> state_of(const std::string& uuid) {
    return in_daemon([&] { return daemon_->host().status(*parse_uuid(uuid)).state; });
  }
  VmId id_of(const std::string& uuid) {
    return in_daemon([&] { return daemon_->host().status(*parse_uuid(uuid)).lease.vm; });
  }
  bool comes_to(const std::string& uuid, std::optional<LeaseState> state) {
    return comes_true([&] { return state_of(uuid) == state; });
  }
  template <class Edit>
  void change_policies(Edit edit) {
    const auto changed = in_daemon([&] { return daemon_->policies().apply(edit); });
    ASSERT_TRUE(changed) << changed.error().message;
  }
  void set_for(const std::string& uuid, const std::string& policy) {
    const PolicyTarget target{PolicyScope::Instance, id_of(uuid).value()};
    change_policies([&](PolicyBook& book) { return book.attach(kProvider, target, *Policy::from_json(policy)); });
  }
  void create_group(TrustGroupId group) {
    ASSERT_TRUE(in_daemon([&] { return daemon_->policies().create_trust_group(kProvider, group, kCustomer); }));
  }
  /// Starts QEMU by sluice-qemu; returns the guest's first line.
  std::string start(Qemu& qemu, const std::string& uuid, const std::string& words = "-m 32",
                    const std::vector<std::string>& environment = {}) {
    qemu.set_program(SLUICE_QEMU_WRAPPER);
    qemu.set_accelerator(GetParam());
    qemu.add_environment("SLUICE_SOCKET=" + (folder_ / "run/sluiced.sock").string());
    qemu.add_environment(std::string("SLUICE_QEMU=") + SLUICE_QEMU);
    for (const std::string& variable : environment) qemu.add_environment(variable);
    std::vector<std::string> arguments = {"-uuid", uuid};
    std::istringstream split(words);
    for (std::string word; split >> word;) arguments.push_back(word);
    qemu.start(arguments, {});
    const std::string line = qemu.line();
    EXPECT_NE(line, "") << qemu.printed();
    return line;
  }
  /// A VM that has marked its memory, and ended by this command of the guest.
  void leave_marks(const std::string& uuid, const std::string& end, const std::string& words = "-m 32",
                   const std::vector<std::string>& environment = {}) {
    Qemu qemu;
    EXPECT_EQ(start(qemu, uuid, words, environment), "boots 1");
    EXPECT_EQ(qemu.ask(kMark), kAllMarked);
    if (end == "kill") {
      qemu.kill();
      return;
    }
    qemu.tell(end);
    EXPECT_TRUE(qemu.ends()) << qemu.printed();
  }

  VmId id_of_a_;
  TemporaryFolder folder_{"/dev/shm"};
  boost::asio::io_context context_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{context_.get_executor()};
  std::unique_ptr<Daemon> daemon_;
  std::thread thread_;
};

TEST_P(Guests, ARebootInsideKeepsTheMemory) {
  Qemu qemu;
  EXPECT_EQ(start(qemu, kA), "boots 1");
  EXPECT_EQ(qemu.ask(kMark), kAllMarked);
  EXPECT_EQ(qemu.ask("reboot"), "boots 2");
  EXPECT_EQ(qemu.ask(kCount), kAllFound);
  EXPECT_EQ(state_of(kA), LeaseState::Running);
}

TEST_P(Guests, ARebootThatEndsQemuFindsTheMemoryAgain) {
  leave_marks(kA, "reboot", "-m 32 -no-reboot");
  ASSERT_TRUE(comes_to(kA, LeaseState::Reserved));
  Qemu again;
  EXPECT_EQ(start(again, kA), "boots 2");
  EXPECT_EQ(again.ask(kCount), kAllFound);
}

TEST_P(Guests, WhatIsAnnouncedAsARebootIsOneHoweverQemuEnds) {
  {
    Qemu qemu;
    EXPECT_EQ(start(qemu, kA), "boots 1");
    EXPECT_EQ(qemu.ask(kMark), kAllMarked);
    const auto announced =
        in_daemon([&] { return daemon_->host().announce_reboot(daemon_->host().status(*parse_uuid(kA)).lease.vm); });
    ASSERT_TRUE(announced);
    qemu.send_signal(SIGTERM);
    EXPECT_TRUE(qemu.ends());
  }
  ASSERT_TRUE(comes_to(kA, LeaseState::Reserved));
  Qemu again;
  EXPECT_EQ(start(again, kA), "boots 2");
  EXPECT_EQ(again.ask(kCount), kAllFound);
}

TEST_P(Guests, ARebootByCallIsAsOneByTheGuest) {
  Qemu qemu;
  EXPECT_EQ(start(qemu, kA), "boots 1");
  EXPECT_EQ(qemu.ask(kMark), kAllMarked);
  const auto reboot = [&] { return in_daemon([&] { return daemon_->host().reboot(id_of_a_); }); };
  id_of_a_ = id_of(kA);
  // Its monitor may not have answered yet.
  EXPECT_TRUE(comes_true([&] { return reboot().value() == Host::Reboot::Reset; }));
  EXPECT_EQ(qemu.line(), "boots 2");
  EXPECT_EQ(qemu.ask(kCount), kAllFound);
  set_for(kA, R"({"recycle_on_reboot": false})");
  EXPECT_EQ(reboot().value(), Host::Reboot::Reset);
  EXPECT_TRUE(qemu.ends()) << "in its process it would keep its memory";
  ASSERT_TRUE(comes_to(kA, LeaseState::Reserved));
  Qemu again;
  EXPECT_EQ(start(again, kA), "boots 1");
  EXPECT_EQ(again.ask(kCount), kNoneFound);
}

TEST_P(Guests, ARebootToMoreOrLessKeepsWhatFits) {
  leave_marks(kA, "reboot", "-m 32 -no-reboot");
  ASSERT_TRUE(comes_to(kA, LeaseState::Reserved));
  {
    Qemu more;
    start(more, kA, "-m 96 -no-reboot");
    // Its own brick is one of the three.
    const std::vector<std::string> found = {more.ask(kCount), more.ask("count 7 48 8"), more.ask("count 7 80 8")};
    EXPECT_EQ(std::ranges::count(found, kAllFound), 1);
    EXPECT_EQ(std::ranges::count(found, kNoneFound), 2);
    EXPECT_EQ(more.ask(kMark), kAllMarked);
    EXPECT_EQ(more.ask("mark 7 48 8"), kAllMarked);
    EXPECT_EQ(more.ask("mark 7 80 8"), kAllMarked);
    more.tell("reboot");
    EXPECT_TRUE(more.ends());
  }
  ASSERT_TRUE(comes_to(kA, LeaseState::Reserved));
  Qemu less;
  start(less, kA);
  EXPECT_EQ(less.ask(kCount), kAllFound);
  Qemu other;
  EXPECT_EQ(start(other, kB, "-m 128"), "boots 1") << "what the VM needs no more is free, and scrubbed";
  for (const std::string place : {"16", "48", "80", "112"}) EXPECT_EQ(other.ask("count 7 " + place + " 8"), kNoneFound);
}

TEST_P(Guests, NoOtherWayToEndKeepsAnything) {
  for (const std::string end : {"off", "kill"}) {
    leave_marks(kA, end);
    ASSERT_TRUE(comes_to(kA, std::nullopt)) << end;
    Qemu again;
    EXPECT_EQ(start(again, kA, "-m 160"), "boots 1") << end;
    for (const std::string place : {"16", "48", "80", "112", "144"}) {
      EXPECT_EQ(again.ask("count 7 " + place + " 8"), kNoneFound) << end;
    }
    again.kill();
    ASSERT_TRUE(comes_to(kA, std::nullopt)) << end;
  }
}

/// All of the memory is marked, and left behind: whoever comes next gets some of it.
TEST_P(Guests, OnlyAVmOfTheSameTrustGroupGetsTheMemoryAsItWas) {
  create_group(kGroup);
  create_group(kOtherGroup);
  {
    Qemu first;
    EXPECT_EQ(start(first, kA, "-m 160", {"SLUICE_GROUP=7"}), "boots 1");
    for (const std::string place : {"16", "48", "80", "112", "144"}) {
      EXPECT_EQ(first.ask("mark 7 " + place + " 8"), kAllMarked);
    }
  }
  ASSERT_TRUE(comes_to(kA, std::nullopt));
  Qemu sibling;
  start(sibling, kB, "-m 32", {"SLUICE_GROUP=7"});
  EXPECT_EQ(sibling.ask(kCount), kAllFound);
  Qemu other;
  EXPECT_EQ(start(other, kA, "-m 32", {"SLUICE_GROUP=8"}), "boots 1");
  EXPECT_EQ(other.ask(kCount), kNoneFound);
  Qemu alone;
  EXPECT_EQ(start(alone, kC, "-m 32"), "boots 1");
  EXPECT_EQ(alone.ask(kCount), kNoneFound);
}

TEST_P(Guests, AVmThatLeavesItsGroupFindsNothingOfIt) {
  create_group(kGroup);
  create_group(kOtherGroup);
  Qemu second;
  start(second, kB, "-m 32 -no-reboot", {"SLUICE_GROUP=7"});
  leave_marks(kA, "kill", "-m 32", {"SLUICE_GROUP=7"});
  ASSERT_TRUE(comes_to(kA, std::nullopt));
  set_for(kB, R"({"trust_group": 8})");
  second.tell("reboot");
  EXPECT_TRUE(second.ends());
  ASSERT_TRUE(comes_to(kB, LeaseState::Reserved));
  Qemu again;
  start(again, kB, "-m 160", {"SLUICE_GROUP=7"});
  for (const std::string place : {"16", "48", "80", "112", "144"}) {
    EXPECT_EQ(again.ask("count 7 " + place + " 8"), kNoneFound);
  }
}

TEST_P(Guests, AVmThatOptsOutFindsNothingAfterItsReboot) {
  {
    Qemu qemu;
    EXPECT_EQ(start(qemu, kA), "boots 1");
    set_for(kA, R"({"recycle_on_reboot": false})");
    EXPECT_EQ(qemu.ask(kMark), kAllMarked);
    qemu.tell("reboot");
    EXPECT_TRUE(qemu.ends()) << "in its process it would keep its memory";
  }
  ASSERT_TRUE(comes_to(kA, LeaseState::Reserved));
  Qemu again;
  EXPECT_EQ(start(again, kA), "boots 1");
  EXPECT_EQ(again.ask(kCount), kNoneFound);
}

TEST_P(Guests, AVmThatIsResetBeforeQemuKnowsItsPolicyEndsAfterAll) {
  {
    Qemu qemu;
    EXPECT_EQ(start(qemu, kA), "boots 1");
    EXPECT_EQ(qemu.ask(kMark), kAllMarked);
    id_of_a_ = id_of(kA);
    const auto reboot = [&] { return in_daemon([&] { return daemon_->host().reboot(id_of_a_); }); };
    EXPECT_TRUE(comes_true([&] { return reboot().value() == Host::Reboot::Reset; }));
    EXPECT_EQ(qemu.line(), "boots 2");
    // QEMU reads the reset first, and what is to become of a reboot after it.
    qemu.send_signal(SIGSTOP);
    EXPECT_EQ(reboot().value(), Host::Reboot::Reset);
    set_for(kA, R"({"recycle_on_reboot": false})");
    qemu.send_signal(SIGCONT);
    EXPECT_TRUE(qemu.ends()) << "in its process it has kept its memory";
  }
  ASSERT_TRUE(comes_to(kA, LeaseState::Reserved));
  Qemu again;
  EXPECT_EQ(start(again, kA), "boots 1");
  EXPECT_EQ(again.ask(kCount), kNoneFound);
}

TEST_P(Guests, MemoryThatIsNoLeasesIsFound) {
  Qemu leased;
  EXPECT_EQ(start(leased, kA), "boots 1");
  Qemu other;
  EXPECT_EQ(
      start(
          other, kB,
          "-m 32 -object memory-backend-ram,id=more,size=128M,share=on,prealloc=on -device ivshmem-plain,memdev=more"),
      "boots 1");
  const auto unleased = [&](const std::string& uuid) {
    return in_daemon([&] { return daemon_->host().unleased(daemon_->host().status(*parse_uuid(uuid)).lease.vm); });
  };
  EXPECT_TRUE(comes_true([&] { return unleased(kB) == ByteCount(128ULL << 20); }));
  EXPECT_EQ(unleased(kA), ByteCount(0));
}

TEST_P(Guests, AVmThatWantsNewMemoryGetsOtherBricks) {
  std::set<std::uint32_t> before;
  const auto bricks_of_a = [&] {
    return in_daemon([&] {
      std::set<std::uint32_t> numbers;
      const auto lease = daemon_->host().leases().find(daemon_->host().status(*parse_uuid(kA)).lease.vm);
      for (const LeasedBrick& brick : lease->bricks) numbers.insert(brick.number);
      return numbers;
    });
  };
  {
    Qemu qemu;
    EXPECT_EQ(start(qemu, kA), "boots 1");
    before = bricks_of_a();
    set_for(kA, R"({"force_new_memory": true})");
    EXPECT_EQ(qemu.ask(kMark), kAllMarked);
    qemu.tell("reboot");
    EXPECT_TRUE(qemu.ends());
  }
  ASSERT_TRUE(comes_to(kA, LeaseState::Reserved));
  Qemu again;
  EXPECT_EQ(start(again, kA), "boots 1");
  EXPECT_EQ(again.ask(kCount), kNoneFound);
  EXPECT_EQ(before.size(), 1U);
  EXPECT_FALSE(bricks_of_a().contains(*before.begin()));
}

TEST_P(Guests, AVmKeepsItsDedicatedPoolThroughARebootAndLeavesNothingInIt) {
  std::promise<bool> filled;
  in_daemon([&] {
    const auto asked =
        daemon_->policies().create_dedicated_pool(kProvider, kPool, kCustomer, ByteCount(32ULL << 20),
                                                  [&](Result<void> result) { filled.set_value(bool(result)); });
    if (!asked) filled.set_value(false);
  });
  ASSERT_TRUE(filled.get_future().get());
  const std::vector<std::string> environment = {"SLUICE_POOL=9"};
  leave_marks(kA, "reboot", "-m 32 -no-reboot", environment);
  ASSERT_TRUE(comes_to(kA, LeaseState::Reserved));
  {
    Qemu again;
    EXPECT_EQ(start(again, kA, "-m 32", environment), "boots 2");
    EXPECT_EQ(again.ask(kCount), kAllFound);
    again.tell("off");
    EXPECT_TRUE(again.ends());
  }
  ASSERT_TRUE(comes_to(kA, std::nullopt));
  Qemu next;
  EXPECT_EQ(start(next, kB, "-m 32", environment), "boots 1") << "it has the pool's one brick";
  EXPECT_EQ(next.ask(kCount), kNoneFound);
}

INSTANTIATE_TEST_SUITE_P(UnderTcg, Guests, ::testing::Values(Qemu::Accelerator::Tcg));
INSTANTIATE_TEST_SUITE_P(UnderKvm, Guests,
                         ::testing::ValuesIn(Qemu::has_kvm() ? std::vector{Qemu::Accelerator::Kvm}
                                                             : std::vector<Qemu::Accelerator>{}));
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Guests);

}  // namespace
}  // namespace sluice::test
