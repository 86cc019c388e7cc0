// SPDX-License-Identifier: Apache-2.0
// What sluiced remembers of VMs and policies, and how a process is told from another.
#include "sluice/daemon/stores.hpp"

#include <gmock/gmock.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <set>

#include "support/full_disk.hpp"
#include "support/temporary_folder.hpp"

namespace sluice::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

VmRecord record_of(std::uint64_t vm) {
  VmRecord record;
  record.uuid.bytes.fill(static_cast<std::byte>(vm));
  record.vm = VmId(vm);
  record.name = "web 1, \u00e4 'quoted'";
  record.customer = CustomerId(~0ULL);
  record.group = TrustGroupId(3);
  record.pool = DedicatedPoolId(4);
  record.unit = kGiB;
  record.epoch = 5;
  record.filtered = true;
  record.process = {4711, 123456789};
  return record;
}

TEST(LeaseStoreTest, HasWhatWasPutAfterItIsOpenedAgain) {
  const TemporaryFolder folder;
  const std::string path = folder / "leases.db";
  VmRecord second = record_of(2);
  second.filtered = false;
  second.monitored = true;
  {
    auto store = LeaseStore::open(path);
    ASSERT_TRUE(store) << store.error().message;
    ASSERT_TRUE(store->put(record_of(3)));
    ASSERT_TRUE(store->put(record_of(2)));
    ASSERT_TRUE(store->put(second));
    ASSERT_TRUE(store->put(record_of(7)));
    ASSERT_TRUE(store->erase(VmId(7)));
    ASSERT_TRUE(store->erase(VmId(8)));
    EXPECT_THAT(LeaseStore::open(path).error().message, HasSubstr("in use by another process"));
  }
  auto store = LeaseStore::open(path);
  ASSERT_TRUE(store);
  EXPECT_THAT(*store->all(), ElementsAre(second, record_of(3)));
}

TEST(LeaseStoreTest, IsNoFileThatItDoesNotKnow) {
  const TemporaryFolder folder;
  const std::string path = folder / "leases.db";
  std::ofstream(path) << "this is no database, and it is long enough to be looked at as one would be: "
                      << std::string(4000, 'x');
  EXPECT_THAT(LeaseStore::open(path).error().message, HasSubstr("cannot be read as a database"));
  EXPECT_THAT(LeaseStore::open(folder / "none" / "leases.db").error().message, HasSubstr("leases.db"));
}

TEST(StateStoreTest, NeverGivesAnIdTwice) {
  const TemporaryFolder folder;
  std::set<VmId> ids;
  for (int life = 0; life < 3; ++life) {
    auto store = StateStore::open(folder / "state.db");
    ASSERT_TRUE(store) << store.error().message;
    for (int count = 0; count < 1500; ++count) {
      const auto vm = store->next_vm();
      ASSERT_TRUE(vm);
      EXPECT_TRUE(vm->is_set());
      EXPECT_TRUE(ids.insert(*vm).second) << vm->value();
    }
  }
}

TEST(StateStoreTest, KeepsTheLastDocument) {
  const TemporaryFolder folder;
  {
    auto store = StateStore::open(folder / "state.db");
    EXPECT_THAT(*store->policies(), IsEmpty());
    ASSERT_TRUE(store->put_policies("{\"a\": 1}"));
    ASSERT_TRUE(store->put_policies(std::string(1 << 20, 'b')));
  }
  auto store = StateStore::open(folder / "state.db");
  EXPECT_EQ(*store->policies(), std::string(1 << 20, 'b'));
}

TEST(StateStoreTest, KeepsWhatIsRegistered) {
  const TemporaryFolder folder;
  VmRegistration first;
  first.uuid.bytes.fill(std::byte{1});
  first.customer = CustomerId(~0ULL);
  first.group = TrustGroupId(3);
  first.pool = DedicatedPoolId(4);
  first.user = UserId(5);
  first.attachment = PolicyAttachment{{}, *Policy::from_json(R"({"enable": false})")};
  VmRegistration second;
  second.uuid.bytes.fill(std::byte{2});
  second.customer = CustomerId(1);
  second.attachment = PolicyAttachment{"web", {}};
  {
    auto store = StateStore::open(folder / "state.db");
    ASSERT_TRUE(store->put_registration(second));
    ASSERT_TRUE(store->put_registration({.uuid = first.uuid, .customer = CustomerId(9)}));
    ASSERT_TRUE(store->put_registration(first));
  }
  auto store = StateStore::open(folder / "state.db");
  EXPECT_THAT(*store->registrations(), ElementsAre(first, second));
  EXPECT_EQ(*store->registration(first.uuid), first);
  ASSERT_TRUE(store->erase_registration(first.uuid));
  ASSERT_TRUE(store->erase_registration(first.uuid));
  EXPECT_EQ(*store->registration(first.uuid), std::nullopt);
  EXPECT_THAT(*store->registrations(), ElementsAre(second));
}

TEST(StateStoreTest, AFullDiskIsAnErrorThatLosesNothing) {
  const TemporaryFolder folder;
  auto store = StateStore::open(folder / "state.db");
  ASSERT_TRUE(store->put_policies("before"));
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  {
    const FullDisk full(64 << 10);
    const auto put = store->put_policies(std::string(1 << 20, 'b'));
    ASSERT_FALSE(put);
    EXPECT_EQ(put.error().code, HostErrc::NoResources);
    EXPECT_THAT(put.error().message, HasSubstr("state.db"));
    EXPECT_EQ(*store->policies(), "before");
  }
  std::signal(SIGXFSZ, handler);
  EXPECT_TRUE(store->put_policies("after"));
  EXPECT_EQ(*store->policies(), "after");
}

/// A child that waits to be killed.
class Child {
 public:
  Child() : process_(::fork()) {
    if (process_ == 0) {
      for (;;) ::pause();
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() { end(); }
  void end() {
    if (process_ == 0) return;
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
    process_ = 0;
  }
  [[nodiscard]] int pidfd() const { return static_cast<int>(::syscall(SYS_pidfd_open, process_, 0)); }
  [[nodiscard]] pid_t process() const { return process_; }

 private:
  pid_t process_;
};

TEST(ProcessTest, IsFoundByItsIdAndItsStart) {
  Child child;
  const auto process = Process::of_pidfd(child.pidfd());
  ASSERT_TRUE(process) << process.error().message;
  EXPECT_EQ(process->id().process, child.process());
  EXPECT_GT(process->id().start, 0U);
  EXPECT_TRUE(Process::find(process->id()));
  ProcessId later = process->id();
  ++later.start;
  EXPECT_EQ(Process::find(later).error().code, HostErrc::UnknownId) << "another process of the same id";
  child.end();
  EXPECT_EQ(Process::find(process->id()).error().code, HostErrc::UnknownId);
  EXPECT_EQ(Process::find({0, 0}).error().code, HostErrc::UnknownId);
}

TEST(ProcessTest, IsNoOtherDescriptor) {
  EXPECT_EQ(Process::of_pidfd(::dup(STDIN_FILENO)).error().code, HostErrc::InvalidArgument);
  EXPECT_EQ(Process::of_pidfd(-1).error().code, HostErrc::InvalidArgument);
  Child child;
  const int pidfd = child.pidfd();
  child.end();
  EXPECT_EQ(Process::of_pidfd(pidfd).error().code, HostErrc::UnknownId);
}

TEST(StateStoreTest, AnswersAreKnownAgainAfterARestart) {
  const TemporaryFolder folder;
  StateStore::Answer answer{{}, 201, "application/json", "{}"};
  answer.fingerprint[31] = std::byte{7};
  {
    auto store = StateStore::open(folder / "state.db");
    ASSERT_TRUE(store);
    ASSERT_TRUE(store->put_answer("0:0", "key", answer));
  }
  auto store = StateStore::open(folder / "state.db");
  ASSERT_TRUE(store);
  EXPECT_EQ(store->answer_to("0:0", "key").value(), answer);
  EXPECT_FALSE(store->answer_to("1:7", "key").value());
  EXPECT_FALSE(store->answer_to("0:0", "other").value());
}

}  // namespace
}  // namespace sluice::test
