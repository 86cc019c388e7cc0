// SPDX-License-Identifier: Apache-2.0
// The C interface, through the shared library.
#include <gmock/gmock.h>

#include <cstring>
#include <deque>
#include <vector>

#include "sluice/sluice.h"
#include "support/temporary_folder.hpp"

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kLength = 16 * kPage;

/// An engine of the caller's own.
struct OwnEngine {
  std::deque<sluice_job> jobs;
  std::vector<std::uint64_t> cancelled;
  int outcome = SLUICE_ZEROED;
  bool busy = false;
  const char* fault = nullptr;

  static size_t submit(void* context, const sluice_job* jobs, size_t count) {
    auto* const engine = static_cast<OwnEngine*>(context);
    if (engine->busy || count == 0) return 0;
    engine->jobs.push_back(jobs[0]);  // one at a time
    return 1;
  }
  static void cancel(void* context, uint64_t number) { static_cast<OwnEngine*>(context)->cancelled.push_back(number); }
  static size_t poll(void* context, sluice_completion* completions, size_t room) {
    auto* const engine = static_cast<OwnEngine*>(context);
    if (engine->jobs.empty() || room == 0) return 0;
    const sluice_job job = engine->jobs.front();
    engine->jobs.pop_front();
    if (engine->outcome == SLUICE_ZEROED) std::memset(job.base, 0, job.length);
    completions[0] = {job.number, engine->outcome, engine->outcome == SLUICE_ZEROED ? job.length : 0};
    return 1;
  }
  static const char* why(void* context) { return static_cast<OwnEngine*>(context)->fault; }
};
constexpr sluice_engine_operations kOperations = {
    "own", 4, 1 << 30, OwnEngine::submit, OwnEngine::cancel, OwnEngine::poll, OwnEngine::why};

struct Notified {
  int calls = 0;
  std::uint64_t claim = 0;
  int code = -1;
  std::vector<sluice_range> ranges;
  std::string message;
};
void notify(void* context, std::uint64_t claim, int code, const sluice_range* ranges, size_t count) {
  auto* const notified = static_cast<Notified*>(context);
  ++notified->calls;
  notified->claim = claim;
  notified->code = code;
  notified->ranges.assign(ranges, ranges + count);
  notified->message = sluice_last_message();
}

class CInterface : public ::testing::Test {
 protected:
  CInterface() {
    EXPECT_EQ(sluice_memory_create(kLength, 1, SLUICE_PAGES_SMALL, &memory_), SLUICE_OK) << sluice_last_message();
    EXPECT_EQ(sluice_engine_wrap(&kOperations, &own_, &engine_), SLUICE_OK);
    EXPECT_EQ(sluice_manager_create(memory_, engine_, nullptr, nullptr, &manager_), SLUICE_OK);
  }
  ~CInterface() override {
    sluice_manager_destroy(manager_);
    sluice_ledger_destroy(ledger_);
    sluice_engine_destroy(engine_);
    sluice_memory_destroy(memory_);
  }
  CInterface(const CInterface&) = delete;
  CInterface& operator=(const CInterface&) = delete;

  void settle() {
    for (int round = 0; round < 1000 && sluice_manager_has_work(manager_) != 0; ++round) sluice_manager_poll(manager_);
  }
  void create(std::uint64_t vm, std::uint64_t customer = 1) {
    sluice_vm facts;
    sluice_vm_init(&facts);
    facts.vm = vm;
    facts.customer = customer;
    ASSERT_EQ(sluice_vm_create(manager_, &facts), SLUICE_OK) << sluice_last_message();
  }
  Notified take(std::uint64_t vm, std::uint64_t pages) {
    Notified notified;
    EXPECT_EQ(sluice_vm_allocate(manager_, vm, pages * kPage, notify, &notified, nullptr), SLUICE_OK);
    settle();
    EXPECT_EQ(notified.calls, 1);
    return notified;
  }

  OwnEngine own_;
  sluice_memory* memory_ = nullptr;
  sluice_engine* engine_ = nullptr;
  sluice_ledger* ledger_ = nullptr;
  sluice_manager* manager_ = nullptr;
};

TEST_F(CInterface, GrantsScrubbedMemoryThroughAnEngineOfTheCallersOwn) {
  sluice_piece piece;
  ASSERT_EQ(sluice_memory_piece(memory_, 0, &piece), SLUICE_OK);
  std::memset(piece.base, 0x77, piece.length);
  create(1);
  Notified notified;
  std::uint64_t claim = 0;
  ASSERT_EQ(sluice_vm_allocate(manager_, 1, kLength, notify, &notified, &claim), SLUICE_OK);
  EXPECT_EQ(notified.calls, 0) << "only from a poll";
  settle();
  EXPECT_EQ(notified.code, SLUICE_OK);
  EXPECT_EQ(notified.claim, claim);
  ASSERT_EQ(notified.ranges.size(), 1U);
  EXPECT_EQ(notified.ranges[0].base, piece.base);
  EXPECT_EQ(notified.ranges[0].recycled, 0);
  EXPECT_EQ(std::count(static_cast<char*>(piece.base), static_cast<char*>(piece.base) + kLength, 0),
            static_cast<std::ptrdiff_t>(kLength));
}

TEST_F(CInterface, TellsWhatIsWrongAndChangesNothing) {
  create(1);
  Notified notified;
  EXPECT_EQ(sluice_vm_allocate(manager_, 1, 100, notify, &notified, nullptr), SLUICE_INVALID_ARGUMENT);
  EXPECT_THAT(sluice_last_message(), HasSubstr("a length of 100 bytes"));
  EXPECT_EQ(sluice_vm_allocate(manager_, 9, kPage, notify, &notified, nullptr), SLUICE_UNKNOWN_ID);
  EXPECT_THAT(sluice_last_message(), HasSubstr("VM 9"));
  EXPECT_EQ(sluice_vm_allocate(manager_, 1, 2 * kLength, notify, &notified, nullptr), SLUICE_OUT_OF_MEMORY);
  EXPECT_EQ(sluice_vm_allocate(manager_, 1, kPage, nullptr, nullptr, nullptr), SLUICE_INVALID_ARGUMENT);
  EXPECT_EQ(notified.calls, 0);
  EXPECT_EQ(sluice_vm_release(manager_, 1, nullptr, 0), SLUICE_INVALID_ARGUMENT);
  EXPECT_EQ(sluice_vm_finish_reboot(manager_, 1, kPage, notify, &notified, nullptr), SLUICE_WRONG_STATE);
  EXPECT_EQ(sluice_group_create(manager_, 5, 1, 0), SLUICE_OK);
  EXPECT_EQ(sluice_group_create(manager_, 5, 1, 0), SLUICE_ID_USED_BEFORE);
  sluice_vm other;
  sluice_vm_init(&other);
  other.vm = 2;
  other.customer = 2;
  other.group = 5;
  EXPECT_EQ(sluice_vm_create(manager_, &other), SLUICE_FOREIGN_CUSTOMER);
  for (const int code : std::initializer_list<int>{SLUICE_OK, SLUICE_INVALID_ARGUMENT, SLUICE_INTERNAL, 99, -1}) {
    EXPECT_GT(std::strlen(sluice_error_text(code)), 3U);
  }
}

TEST_F(CInterface, RefusesValuesThatItDoesNotKnow) {
  sluice_vm vm;
  sluice_vm_init(&vm);
  vm.vm = 1;
  vm.customer = 1;
  const auto refused = [&](auto change) {
    sluice_vm bad = vm;
    change(bad);
    EXPECT_EQ(sluice_vm_create(manager_, &bad), SLUICE_INVALID_ARGUMENT);
    return std::string(sluice_last_message());
  };
  EXPECT_THAT(refused([](sluice_vm& bad) { bad.size = 8; }), HasSubstr("sluice_vm_init"));
  EXPECT_THAT(refused([](sluice_vm& bad) { bad.scrub_timing = 9; }), HasSubstr("scrub_timing 9"));
  EXPECT_THAT(refused([](sluice_vm& bad) { bad.fill = -1; }), HasSubstr("fill -1"));
  EXPECT_THAT(refused([](sluice_vm& bad) { bad.pages = 7; }), HasSubstr("pages 7"));
  EXPECT_THAT(refused([](sluice_vm& bad) { bad.node = 3; }), HasSubstr("node 3"));
  EXPECT_EQ(sluice_vm_create(manager_, nullptr), SLUICE_INVALID_ARGUMENT);
  EXPECT_EQ(sluice_vm_create(manager_, &vm), SLUICE_OK);
  sluice_engine* engine = nullptr;
  EXPECT_EQ(sluice_engine_open("nothing", memory_, &engine), SLUICE_ENGINE);
  EXPECT_THAT(sluice_last_message(), HasSubstr("nothing"));
  sluice_engine_operations half = kOperations;
  half.poll = nullptr;
  EXPECT_EQ(sluice_engine_wrap(&half, nullptr, &engine), SLUICE_INVALID_ARGUMENT);
  EXPECT_EQ(engine, nullptr);
  sluice_memory* memory = nullptr;
  EXPECT_EQ(sluice_memory_create(100, 1, SLUICE_PAGES_SMALL, &memory), SLUICE_INVALID_ARGUMENT);
  EXPECT_EQ(sluice_memory_create(kPage, 1, 9, &memory), SLUICE_INVALID_ARGUMENT);
  const sluice_piece crooked = {reinterpret_cast<void*>(4097), kPage, -1, SLUICE_PAGES_SMALL, 0, 0};
  EXPECT_EQ(sluice_memory_wrap(&crooked, 1, &memory), SLUICE_INVALID_ARGUMENT);
  EXPECT_EQ(memory, nullptr);
}

TEST_F(CInterface, EngineThatFailsPutsMemoryIntoQuarantine) {
  own_.outcome = SLUICE_FAILED;
  create(1);
  const Notified notified = take(1, 1);
  EXPECT_EQ(notified.code, SLUICE_OUT_OF_MEMORY);
  EXPECT_THAT(notified.message, HasSubstr("4096 bytes were asked for"));
}

TEST_F(CInterface, EngineThatIsDeadSaysWhy) {
  own_.fault = "its cable is out";
  create(1);
  const Notified notified = take(1, 1);
  EXPECT_EQ(notified.code, SLUICE_SCRUB_UNAVAILABLE);
  EXPECT_THAT(notified.message, HasSubstr("its cable is out"));
}

TEST_F(CInterface, ClaimsCanBeAbandoned) {
  own_.busy = true;
  create(1);
  Notified notified;
  std::uint64_t claim = 0;
  ASSERT_EQ(sluice_vm_allocate(manager_, 1, kPage, notify, &notified, &claim), SLUICE_OK);
  EXPECT_EQ(sluice_claim_abandon(manager_, claim), 1);
  EXPECT_EQ(sluice_claim_abandon(manager_, claim), 0);
  sluice_manager_poll(manager_);
  EXPECT_EQ(notified.code, SLUICE_ABANDONED);
}

TEST_F(CInterface, RunningScrubIsCancelledForItsOldHolder) {
  create(1);
  const Notified all = take(1, 16);
  ASSERT_EQ(sluice_vm_release(manager_, 1, all.ranges.at(0).base, kLength), SLUICE_OK);
  ASSERT_EQ(own_.jobs.size(), 1U);
  const std::uint64_t number = own_.jobs.front().number;
  own_.outcome = SLUICE_CANCELLED;
  const Notified back = take(1, 16);
  EXPECT_EQ(back.ranges.at(0).recycled, 1);
  EXPECT_THAT(own_.cancelled, ElementsAre(number));
}

TEST_F(CInterface, PoolsGroupsAndChangesWorkAsInCpp) {
  Notified pool;
  ASSERT_EQ(sluice_pool_create(manager_, 1, 1, 8 * kPage, 0, notify, &pool, nullptr), SLUICE_OK);
  settle();
  EXPECT_EQ(pool.code, SLUICE_OK);
  EXPECT_TRUE(pool.ranges.empty());
  EXPECT_EQ(sluice_pool_partition(manager_, 1, 2, 2 * kPage), SLUICE_OK);
  EXPECT_EQ(sluice_pool_merge(manager_, 1, 2), SLUICE_OK);
  EXPECT_EQ(sluice_pool_shrink(manager_, 1, 99 * kPage), SLUICE_OUT_OF_MEMORY);
  EXPECT_EQ(sluice_pool_grow(manager_, 1, kPage, notify, &pool, nullptr), SLUICE_OK);
  settle();
  EXPECT_EQ(sluice_pool_destroy(manager_, 1), SLUICE_OK);
  EXPECT_EQ(sluice_group_create(manager_, 7, 1, 0), SLUICE_OK);
  EXPECT_EQ(sluice_group_enable(manager_, 7, 0), SLUICE_OK);
  sluice_vm vm;
  sluice_vm_init(&vm);
  vm.vm = 1;
  vm.customer = 1;
  ASSERT_EQ(sluice_vm_create(manager_, &vm), SLUICE_OK);
  vm.group = 7;
  vm.fill = SLUICE_FILL_ONES;
  EXPECT_EQ(sluice_vm_change(manager_, &vm), SLUICE_OK);
  EXPECT_EQ(sluice_group_destroy(manager_, 7), SLUICE_WRONG_STATE);
  // A change that fails in the middle leaves all as it was.
  vm.group = 99;
  vm.fill = SLUICE_FILL_ZEROS;
  EXPECT_EQ(sluice_vm_change(manager_, &vm), SLUICE_UNKNOWN_ID);
  const Notified all = take(1, 16);
  ASSERT_EQ(sluice_vm_terminate(manager_, 1), SLUICE_OK);
  ASSERT_FALSE(own_.jobs.empty());
  EXPECT_EQ(own_.jobs.front().pattern, ~0ULL) << "still ones";
  static_cast<void>(all);
}

TEST_F(CInterface, LedgerBringsLeasesBack) {
  const sluice::test::TemporaryFolder folder;
  const std::string path = folder / "ledger";
  sluice_manager_destroy(manager_);
  manager_ = nullptr;
  const auto begin = [&] {
    ASSERT_EQ(sluice_ledger_open(path.c_str(), memory_, &ledger_), SLUICE_OK) << sluice_last_message();
    EXPECT_STREQ(sluice_ledger_rejected(ledger_), "");
    ASSERT_EQ(sluice_manager_create(memory_, engine_, ledger_, nullptr, &manager_), SLUICE_OK);
  };
  begin();
  create(1);
  create(2);
  const Notified before = take(1, 4);
  take(2, 4);
  sluice_manager_destroy(manager_);
  sluice_ledger_destroy(ledger_);
  begin();
  std::uint64_t ids[2] = {0, 0};
  ASSERT_EQ(sluice_manager_unadopted(manager_, ids, 2), 2U);
  EXPECT_THAT(ids, ElementsAre(1, 2));
  sluice_vm vm;
  sluice_vm_init(&vm);
  vm.vm = 1;
  vm.customer = 1;
  Notified adopted;
  ASSERT_EQ(sluice_vm_adopt(manager_, &vm, notify, &adopted), SLUICE_OK);
  ASSERT_EQ(adopted.ranges.size(), 1U);
  EXPECT_EQ(adopted.ranges[0].base, before.ranges.at(0).base);
  EXPECT_EQ(sluice_vm_terminate(manager_, 2), SLUICE_OK);
  EXPECT_EQ(sluice_manager_unadopted(manager_, nullptr, 0), 0U);
}

TEST_F(CInterface, LedgerBringsPoolsBack) {
  const sluice::test::TemporaryFolder folder;
  const std::string path = folder / "ledger";
  const auto begin = [&] {
    sluice_manager_destroy(manager_);
    sluice_ledger_destroy(ledger_);
    ASSERT_EQ(sluice_ledger_open(path.c_str(), memory_, &ledger_), SLUICE_OK) << sluice_last_message();
    ASSERT_EQ(sluice_manager_create(memory_, engine_, ledger_, nullptr, &manager_), SLUICE_OK);
  };
  begin();
  Notified made;
  for (const std::uint64_t pool : {7U, 8U}) {
    ASSERT_EQ(sluice_pool_create(manager_, pool, 1, 8 * kPage, 0, notify, &made, nullptr), SLUICE_OK);
    settle();
  }
  sluice_vm vm;
  sluice_vm_init(&vm);
  vm.vm = 1;
  vm.customer = 1;
  vm.pool = 7;
  ASSERT_EQ(sluice_vm_create(manager_, &vm), SLUICE_OK) << sluice_last_message();
  const Notified before = take(1, 8);
  begin();
  std::uint64_t ids[2] = {0, 0};
  ASSERT_EQ(sluice_manager_unadopted_pools(manager_, ids, 2), 2U);
  EXPECT_THAT(ids, ElementsAre(7, 8));
  Notified adopted;
  EXPECT_EQ(sluice_vm_adopt(manager_, &vm, notify, &adopted), SLUICE_UNKNOWN_ID) << "its pool comes first";
  ASSERT_EQ(sluice_pool_adopt(manager_, 7, 1, 0), SLUICE_OK) << sluice_last_message();
  EXPECT_EQ(sluice_pool_adopt(manager_, 7, 1, 0), SLUICE_ID_USED_BEFORE);
  ASSERT_EQ(sluice_pool_destroy(manager_, 8), SLUICE_OK) << sluice_last_message();
  EXPECT_EQ(sluice_manager_unadopted_pools(manager_, nullptr, 0), 0U);
  ASSERT_EQ(sluice_vm_adopt(manager_, &vm, notify, &adopted), SLUICE_OK) << sluice_last_message();
  ASSERT_EQ(adopted.ranges.size(), 1U);
  EXPECT_EQ(adopted.ranges[0].base, before.ranges.at(0).base);
}

TEST_F(CInterface, CpuEngineWakesItsReader) {
  sluice_engine* cpu = nullptr;
  ASSERT_EQ(sluice_engine_open("cpu", memory_, &cpu), SLUICE_OK) << sluice_last_message();
  EXPECT_EQ(sluice_manager_fd(manager_), -1);
  sluice_manager_destroy(std::exchange(manager_, nullptr));
  sluice_manager* manager = nullptr;
  ASSERT_EQ(sluice_manager_create(memory_, cpu, nullptr, nullptr, &manager), SLUICE_OK);
  EXPECT_GE(sluice_manager_fd(manager), 0);
  EXPECT_EQ(sluice_manager_next_scheduled_ns(manager), -1);
  sluice_manager_destroy(manager);
  sluice_engine_destroy(cpu);
}

}  // namespace
