// SPDX-License-Identifier: Apache-2.0
// The C interface against its users: what is missing, out of range, twice, too early or from inside a handler.
#include "host/c/c_misuse.hpp"

#include <gmock/gmock.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <stdexcept>
#include <vector>

#include "support/temporary_folder.hpp"

namespace sluice::test {
namespace {

using ::testing::HasSubstr;

TEST_F(CMisuse, NoManagerIsACodeInEveryCall) {
  const sluice_vm some = vm(1);
  Heard heard;
  expect_missing(sluice_group_create(nullptr, 1, 1, 0));
  expect_missing(sluice_group_enable(nullptr, 1, 1));
  expect_missing(sluice_group_destroy(nullptr, 1));
  expect_missing(sluice_pool_create(nullptr, 1, 1, kPage, 0, hear, &heard, nullptr));
  expect_missing(sluice_pool_grow(nullptr, 1, kPage, hear, &heard, nullptr));
  expect_missing(sluice_pool_shrink(nullptr, 1, kPage));
  expect_missing(sluice_pool_change_rule(nullptr, 1, nullptr));
  expect_missing(sluice_pool_partition(nullptr, 1, 2, kPage));
  expect_missing(sluice_pool_merge(nullptr, 1, 2));
  expect_missing(sluice_pool_destroy(nullptr, 1));
  expect_missing(sluice_pool_adopt(nullptr, 1, 1, 0));
  expect_missing(sluice_vm_create(nullptr, &some));
  expect_missing(sluice_vm_change(nullptr, &some));
  expect_missing(sluice_vm_switch_recycling(nullptr, 1, 0));
  expect_missing(sluice_vm_allocate(nullptr, 1, kPage, hear, &heard, nullptr));
  expect_missing(sluice_vm_release(nullptr, 1, nullptr, kPage));
  expect_missing(sluice_vm_begin_reboot(nullptr, 1));
  expect_missing(sluice_vm_finish_reboot(nullptr, 1, kPage, hear, &heard, nullptr));
  expect_missing(sluice_vm_terminate(nullptr, 1));
  expect_missing(sluice_vm_adopt(nullptr, &some, hear, &heard));
  expect_missing(sluice_suspect(nullptr, 1, nullptr, kPage));
  expect_missing(sluice_absolve(nullptr, 1));
  expect_missing(sluice_suspect_test(nullptr, 1, nullptr, 0, hear_report, &heard, nullptr));
  EXPECT_EQ(sluice_suspect_bytes(nullptr, 1), 0U);
  EXPECT_EQ(sluice_claim_abandon(nullptr, 1), 0);
  EXPECT_EQ(sluice_manager_unadopted(nullptr, nullptr, 5), 0U);
  EXPECT_EQ(sluice_manager_unadopted_pools(nullptr, nullptr, 5), 0U);
  EXPECT_EQ(sluice_manager_has_work(nullptr), 0);
  EXPECT_EQ(sluice_manager_fd(nullptr), -1);
  EXPECT_EQ(sluice_manager_next_scheduled_ns(nullptr), -1);
  sluice_manager_poll(nullptr);
  sluice_manager_destroy(nullptr);
  EXPECT_EQ(heard.calls, 0);
}

TEST_F(CMisuse, NothingElseThatIsMissingIsMissed) {
  sluice_memory* memory = nullptr;
  sluice_engine* engine = nullptr;
  sluice_ledger* ledger = nullptr;
  sluice_manager* manager = nullptr;
  sluice_piece piece;
  expect_missing(sluice_memory_create(kPage, 1, SLUICE_PAGES_SMALL, nullptr));
  expect_missing(sluice_memory_open(nullptr, kPage, 1, SLUICE_PAGES_SMALL, &memory));
  expect_missing(sluice_memory_wrap(nullptr, 1, &memory));
  expect_missing(sluice_memory_piece(nullptr, 0, &piece));
  expect_missing(sluice_memory_piece(memory_, 0, nullptr));
  expect_missing(sluice_engine_open(nullptr, memory_, &engine));
  expect_missing(sluice_engine_open("cpu", nullptr, &engine));
  expect_missing(sluice_engine_open("cpu", memory_, nullptr));
  expect_missing(sluice_engine_wrap(nullptr, nullptr, &engine));
  expect_missing(sluice_engine_wrap(&kOperations, nullptr, nullptr));
  expect_missing(sluice_ledger_open(nullptr, memory_, &ledger));
  expect_missing(sluice_ledger_open("ledger", nullptr, &ledger));
  expect_missing(sluice_ledger_open("ledger", memory_, nullptr));
  expect_missing(sluice_manager_create(nullptr, engine_, nullptr, nullptr, &manager));
  expect_missing(sluice_manager_create(memory_, nullptr, nullptr, nullptr, &manager));
  expect_missing(sluice_manager_create(memory_, engine_, nullptr, nullptr, nullptr));
  expect_missing(sluice_vm_create(manager_, nullptr));
  expect_missing(sluice_vm_adopt(manager_, nullptr, hear, nullptr));
  expect_missing(sluice_vm_allocate(manager_, 1, kPage, nullptr, nullptr, nullptr));
  expect_missing(sluice_pool_create(manager_, 1, 1, kPage, 0, nullptr, nullptr, nullptr));
  expect_missing(sluice_pool_grow(manager_, 1, kPage, nullptr, nullptr, nullptr));
  expect_missing(sluice_vm_finish_reboot(manager_, 1, kPage, nullptr, nullptr, nullptr));
  expect_missing(sluice_vm_change(manager_, nullptr));
  expect_missing(sluice_suspect_test(manager_, 0, nullptr, 0, nullptr, nullptr, nullptr));
  expect_missing(sluice_suspect_test(manager_, 0, nullptr, 1, hear_report, nullptr, nullptr));
  const sluice_vm some = vm(1);
  expect_missing(sluice_vm_adopt(manager_, &some, nullptr, nullptr));
  expect_missing(sluice_memory_wrap(&piece, 0, &memory));
  piece = {};
  expect_missing(sluice_memory_wrap(&piece, 1, nullptr));
  EXPECT_STREQ(sluice_ledger_rejected(nullptr), "");
  sluice_vm_init(nullptr);
  sluice_memory_destroy(nullptr);
  sluice_engine_destroy(nullptr);
  sluice_ledger_destroy(nullptr);
}

TEST_F(CMisuse, ValuesOutOfRangeOfAVmAreRefused) {
  const auto refused = [&](auto change) {
    sluice_vm bad = vm(1);
    change(bad);
    EXPECT_EQ(sluice_vm_create(manager_, &bad), SLUICE_INVALID_ARGUMENT);
    return std::string(sluice_last_message());
  };
  EXPECT_THAT(refused([](sluice_vm& bad) { bad.node = 1LL << 32; }), HasSubstr("node 4294967296"));
  EXPECT_THAT(refused([](sluice_vm& bad) { bad.node = -2; }), HasSubstr("node -2"));
  EXPECT_THAT(refused([](sluice_vm& bad) { bad.scrub_delay_ns = 1ULL << 63; }), HasSubstr("scrub_delay_ns"));
  EXPECT_THAT(refused([](sluice_vm& bad) { bad.scrub_timing = -1; }), HasSubstr("scrub_timing -1"));
  EXPECT_THAT(refused([](sluice_vm& bad) { bad.fill = 5; }), HasSubstr("fill 5"));
  EXPECT_THAT(refused([](sluice_vm& bad) { bad.pages = -2; }), HasSubstr("pages -2"));
  const sluice_vm good = vm(1);
  EXPECT_EQ(sluice_vm_create(manager_, &good), SLUICE_OK) << "a refusal changed nothing";
}

TEST_F(CMisuse, ValuesOutOfRangeOfAConfigurationAreRefused) {
  destroy();
  const auto refused = [&](auto change) {
    sluice_config config = {};
    change(config);
    EXPECT_EQ(sluice_manager_create(memory_, engine_, nullptr, &config, &manager_), SLUICE_INVALID_ARGUMENT);
    EXPECT_EQ(manager_, nullptr);
    return std::string(sluice_last_message());
  };
  EXPECT_THAT(refused([](sluice_config& bad) { bad.max_jobs = 4'000'000'000; }), HasSubstr("max_jobs 4000000000"));
  EXPECT_THAT(refused([](sluice_config& bad) { bad.background_job_length = 1; }), HasSubstr("background_job_length 1"));
  EXPECT_THAT(refused([](sluice_config& bad) { bad.background_rate = -5; }), HasSubstr("background_rate -5"));
  EXPECT_THAT(refused([](sluice_config& bad) { bad.background_rate = std::nan(""); }), HasSubstr("nan"));
  EXPECT_THAT(refused([](sluice_config& bad) { bad.background_rate = HUGE_VAL; }), HasSubstr("inf"));
  EXPECT_THAT(refused([](sluice_config& bad) { bad.idle_after_ns = ~0ULL; }), HasSubstr("idle_after_ns"));
  const sluice_config defaults = {};
  EXPECT_EQ(sluice_manager_create(memory_, engine_, nullptr, &defaults, &manager_), SLUICE_OK);
}

TEST_F(CMisuse, OperationsThatAreMissingOrCanDoNothingAreRefused) {
  sluice_engine* engine = nullptr;
  const auto refused = [&](auto change) {
    sluice_engine_operations operations = kOperations;
    change(operations);
    EXPECT_EQ(sluice_engine_wrap(&operations, &own_, &engine), SLUICE_INVALID_ARGUMENT);
    EXPECT_EQ(engine, nullptr);
  };
  refused([](auto& bad) { bad.submit = nullptr; });
  refused([](auto& bad) { bad.cancel = nullptr; });
  refused([](auto& bad) { bad.poll = nullptr; });
  refused([](auto& bad) { bad.max_jobs = 0; });
  refused([](auto& bad) { bad.max_job_length = 0; });
  sluice_engine_operations least = kOperations;
  least.name = nullptr;
  EXPECT_EQ(sluice_engine_wrap(&least, &own_, &engine), SLUICE_OK) << "a name and a fault may be missing";
  sluice_engine_destroy(engine);
}

TEST_F(CMisuse, WhatWasNeverCreatedIsUnknownToEveryCall) {
  Heard heard;
  const sluice_vm nobody = vm(9);
  const int codes[] = {
      sluice_group_enable(manager_, 9, 1),
      sluice_group_destroy(manager_, 9),
      sluice_pool_grow(manager_, 9, kPage, hear, &heard, nullptr),
      sluice_pool_shrink(manager_, 9, kPage),
      sluice_pool_change_rule(manager_, 9, nullptr),
      sluice_pool_partition(manager_, 9, 10, kPage),
      sluice_pool_merge(manager_, 9, 10),
      sluice_pool_destroy(manager_, 9),
      sluice_pool_adopt(manager_, 9, 1, 0),
      sluice_vm_change(manager_, &nobody),
      sluice_vm_switch_recycling(manager_, 9, 0),
      sluice_vm_allocate(manager_, 9, kPage, hear, &heard, nullptr),
      sluice_vm_release(manager_, 9, this, kPage),
      sluice_vm_begin_reboot(manager_, 9),
      sluice_vm_finish_reboot(manager_, 9, kPage, hear, &heard, nullptr),
      sluice_vm_terminate(manager_, 9),
      sluice_suspect(manager_, 9, this, kPage),
      sluice_absolve(manager_, 9),
      sluice_suspect_test(manager_, 9, nullptr, 0, hear_report, &heard, nullptr),
      sluice_vm_adopt(manager_, &nobody, hear, &heard),
  };
  for (const int code : codes) EXPECT_EQ(code, SLUICE_UNKNOWN_ID) << "call " << &code - codes;
  EXPECT_EQ(sluice_claim_abandon(manager_, 9), 0);
  EXPECT_EQ(sluice_manager_unadopted(manager_, nullptr, 5), 0U);
  EXPECT_EQ(sluice_manager_unadopted_pools(manager_, nullptr, 5), 0U);
  poll();
  EXPECT_EQ(heard.calls, 0);
}

TEST_F(CMisuse, LengthsThatAreNoPagesOrMoreThanThereIsAreRefusedByEveryCall) {
  create(1);
  Heard heard;
  Heard made;
  ASSERT_EQ(sluice_pool_create(manager_, 7, 1, 4 * kPage, 0, hear, &made, nullptr), SLUICE_OK);
  poll();
  for (const std::uint64_t length : {std::uint64_t{0}, std::uint64_t{1}, kPage + 1}) {
    EXPECT_EQ(sluice_vm_allocate(manager_, 1, length, hear, &heard, nullptr), SLUICE_INVALID_ARGUMENT) << length;
    EXPECT_EQ(sluice_pool_create(manager_, 8, 1, length, 0, hear, &heard, nullptr), SLUICE_INVALID_ARGUMENT) << length;
    EXPECT_EQ(sluice_pool_grow(manager_, 7, length, hear, &heard, nullptr), SLUICE_INVALID_ARGUMENT) << length;
    EXPECT_EQ(sluice_pool_shrink(manager_, 7, length), SLUICE_INVALID_ARGUMENT) << length;
    EXPECT_EQ(sluice_pool_partition(manager_, 7, 8, length), SLUICE_INVALID_ARGUMENT) << length;
  }
  for (const std::uint64_t length : {2 * kLength, std::uint64_t{1} << 63, ~std::uint64_t{0} << 12}) {
    EXPECT_EQ(sluice_vm_allocate(manager_, 1, length, hear, &heard, nullptr), SLUICE_OUT_OF_MEMORY) << length;
    EXPECT_EQ(sluice_pool_create(manager_, 8, 1, length, 0, hear, &heard, nullptr), SLUICE_OUT_OF_MEMORY) << length;
    EXPECT_EQ(sluice_pool_grow(manager_, 7, length, hear, &heard, nullptr), SLUICE_OUT_OF_MEMORY) << length;
    EXPECT_EQ(sluice_pool_shrink(manager_, 7, length), SLUICE_OUT_OF_MEMORY) << length;
    EXPECT_EQ(sluice_pool_partition(manager_, 7, 8, length), SLUICE_OUT_OF_MEMORY) << length;
  }
  poll();
  EXPECT_EQ(heard.calls, 0);
  EXPECT_EQ(sluice_pool_partition(manager_, 7, 8, kPage), SLUICE_OK) << "no refusal has used up the id";
}

TEST_F(CMisuse, PiecesThatShareBytesOrWrapAreRefused) {
  const std::unique_ptr<void, void (*)(void*)> raw(std::aligned_alloc(kPage, 4 * kPage), std::free);
  auto* const base = static_cast<std::byte*>(raw.get());
  sluice_memory* memory = nullptr;
  const auto wrap = [&](std::vector<sluice_piece> pieces) {
    return sluice_memory_wrap(pieces.data(), pieces.size(), &memory);
  };
  EXPECT_EQ(wrap({{base, 2 * kPage, -1, 0, 0, 0}, {base + kPage, 2 * kPage, -1, 0, 1, 0}}), SLUICE_INVALID_ARGUMENT);
  EXPECT_THAT(sluice_last_message(), HasSubstr("overlaps"));
  EXPECT_EQ(wrap({{base, kPage, -1, 0, 0, 0}, {base, kPage, -1, 0, 0, 0}}), SLUICE_INVALID_ARGUMENT);
  EXPECT_EQ(wrap({{reinterpret_cast<void*>(~kPage + 1), 256 * kPage, -1, 0, 0, 0}}), SLUICE_INVALID_ARGUMENT);
  EXPECT_THAT(sluice_last_message(), HasSubstr("end of the address space"));
  EXPECT_EQ(wrap({{base, kPage, -7, 0, 0, 0}}), SLUICE_INVALID_ARGUMENT);
  EXPECT_EQ(wrap({{base, kPage, -1, 3, 0, 0}}), SLUICE_INVALID_ARGUMENT);
  EXPECT_EQ(memory, nullptr);
  ASSERT_EQ(wrap({{base + 2 * kPage, kPage, -1, 0, 5, 0}, {base, kPage, -1, 0, 3, 0}}), SLUICE_OK);
  sluice_piece piece;
  ASSERT_EQ(sluice_memory_piece(memory, 0, &piece), SLUICE_OK);
  EXPECT_EQ(piece.base, base + 2 * kPage);
  EXPECT_EQ(piece.length, kPage);
  EXPECT_EQ(piece.fd, -1);
  EXPECT_EQ(piece.node, 5U);
  EXPECT_EQ(sluice_memory_piece(memory, 2, &piece), SLUICE_INVALID_ARGUMENT);
  sluice_memory_destroy(memory);
}

TEST_F(CMisuse, EngineMemoryAndLedgerServeOneManager) {
  sluice_manager* second = nullptr;
  EXPECT_EQ(sluice_manager_create(memory_, engine_, nullptr, nullptr, &second), SLUICE_WRONG_STATE);
  EXPECT_THAT(sluice_last_message(), HasSubstr("the memory is used by another manager"));
  sluice_memory* other = nullptr;
  ASSERT_EQ(sluice_memory_create(kLength, 1, SLUICE_PAGES_SMALL, &other), SLUICE_OK);
  EXPECT_EQ(sluice_manager_create(other, engine_, nullptr, nullptr, &second), SLUICE_WRONG_STATE);
  EXPECT_THAT(sluice_last_message(), HasSubstr("the engine is used by another manager"));
  EXPECT_EQ(second, nullptr);
  destroy();
  EXPECT_EQ(sluice_manager_create(other, engine_, nullptr, nullptr, &second), SLUICE_OK) << "it is free again";
  sluice_manager_destroy(second);
  sluice_memory_destroy(other);
}

TEST_F(CMisuse, TwoOwnersOfOneFolderAreNotPossible) {
  const TemporaryFolder folder("/dev/shm");
  sluice_memory* first = nullptr;
  sluice_memory* second = nullptr;
  ASSERT_EQ(sluice_memory_open(folder.path().c_str(), kLength, 1, SLUICE_PAGES_SMALL, &first), SLUICE_OK);
  EXPECT_EQ(sluice_memory_open(folder.path().c_str(), kLength, 1, SLUICE_PAGES_SMALL, &second), SLUICE_WRONG_STATE);
  EXPECT_EQ(second, nullptr);
  sluice_memory_destroy(first);
  EXPECT_EQ(sluice_memory_open(folder.path().c_str(), kLength, 1, SLUICE_PAGES_SMALL, &second), SLUICE_OK);
  sluice_memory_destroy(second);
}

TEST_F(CMisuse, DestroyCallsEachPendingHandlerOnce) {
  own_.holds = true;
  create(1);
  create(2);
  Heard claims[3];
  ASSERT_EQ(ask(1, 4, claims[0]), SLUICE_OK);
  ASSERT_EQ(ask(2, 4, claims[1]), SLUICE_OK);
  ASSERT_EQ(sluice_pool_create(manager_, 1, 1, 4 * kPage, 0, hear, &claims[2], nullptr), SLUICE_OK);
  poll(3);
  // Whoever is called may still ask: a code, not a crash.
  sluice_manager* const manager = manager_;
  claims[0].then = [&] {
    EXPECT_EQ(sluice_vm_terminate(manager, 2), SLUICE_WRONG_STATE);
    EXPECT_EQ(sluice_manager_has_work(manager), 1);
    sluice_manager_poll(manager);
    sluice_manager_destroy(manager);
  };
  destroy();
  for (const Heard& heard : claims) {
    EXPECT_EQ(heard.calls, 1);
    EXPECT_EQ(heard.code, SLUICE_ABANDONED);
    EXPECT_THAT(heard.message, HasSubstr("the manager was destroyed"));
    EXPECT_TRUE(heard.ranges.empty());
  }
}

TEST_F(CMisuse, HandlersMayPoll) {
  for (std::uint64_t id = 1; id <= 3; ++id) create(id, id);
  Heard claims[3];
  claims[0].then = [&] { poll(5); };
  for (std::uint64_t id = 1; id <= 3; ++id) ASSERT_EQ(ask(id, 2, claims[id - 1]), SLUICE_OK);
  poll();
  for (const Heard& heard : claims) {
    EXPECT_EQ(heard.calls, 1);
    EXPECT_EQ(heard.code, SLUICE_OK);
  }
}

TEST_F(CMisuse, HandlersMayDestroyAllThereIs) {
  poll();  // all is clean: both claims are met in one poll
  create(1);
  create(2, 2);
  Heard first;
  Heard second;
  first.then = [&] {
    destroy();
    sluice_engine_destroy(std::exchange(engine_, nullptr));
    sluice_memory_destroy(std::exchange(memory_, nullptr));
  };
  ASSERT_EQ(ask(1, 2, first), SLUICE_OK);
  ASSERT_EQ(ask(2, 2, second), SLUICE_OK);
  poll();
  EXPECT_EQ(manager_, nullptr);
  EXPECT_EQ(first.calls, 1);
  EXPECT_EQ(first.code, SLUICE_OK);
  EXPECT_EQ(second.calls, 1);
  EXPECT_EQ(second.code, SLUICE_ABANDONED) << "its memory is gone with the manager";
}

/// A grant that its user has not heard of is not taken away behind its back.
TEST_F(CMisuse, HandlersCannotEndAVmWhoseGrantIsOnItsWay) {
  poll();  // all is clean: both claims are met in one poll
  create(1);
  create(2, 2);
  Heard first;
  Heard second;
  int code = -1;
  int reboot = -1;
  first.then = [&] {
    code = second.calls == 0 ? sluice_vm_terminate(manager_, 2) : -1;
    reboot = sluice_vm_begin_reboot(manager_, 2);
  };
  ASSERT_EQ(ask(1, 2, first), SLUICE_OK);
  ASSERT_EQ(ask(2, 2, second), SLUICE_OK);
  poll();
  EXPECT_EQ(code, SLUICE_WRONG_STATE);
  EXPECT_EQ(reboot, SLUICE_WRONG_STATE);
  EXPECT_EQ(second.code, SLUICE_OK);
  EXPECT_EQ(sluice_vm_terminate(manager_, 2), SLUICE_OK);
}

TEST_F(CMisuse, WhatAHandlerThrowsStopsAtTheBorder) {
  create(1);
  create(2);
  Heard first;
  Heard second;
  first.then = [] { throw std::runtime_error("from a handler"); };
  ASSERT_EQ(ask(1, 1, first), SLUICE_OK);
  ASSERT_EQ(ask(2, 1, second), SLUICE_OK);
  poll();
  EXPECT_EQ(first.calls, 1);
  EXPECT_EQ(second.code, SLUICE_OK);
}

TEST_F(CMisuse, OrderOfDestructionDoesNoHarm) {
  create(1);
  sluice_memory_destroy(std::exchange(memory_, nullptr));
  Heard heard;
  ASSERT_EQ(ask(1, 2, heard), SLUICE_OK);
  poll();
  ASSERT_EQ(heard.code, SLUICE_OK);
  static_cast<char*>(heard.ranges.at(0).base)[0] = 1;
  sluice_engine_destroy(std::exchange(engine_, nullptr));
  destroy();
}

/// The manager lives, the claim ends with a code, and nothing that such an engine has touched is granted.
TEST_F(CMisuse, EnginesThatLieAreGivenUp) {
  const std::pair<const char*, std::function<void(LyingEngine&)>> lies[] = {
      {"fewer bytes", [](LyingEngine& engine) { engine.lie = [](sluice_completion& lie) { --lie.bytes; }; }},
      {"more bytes", [](LyingEngine& engine) { engine.lie = [](sluice_completion& lie) { ++lie.bytes; }; }},
      {"too many cancelled",
       [](LyingEngine& engine) {
         engine.lie = [](sluice_completion& lie) {
           lie.outcome = SLUICE_CANCELLED;
           ++lie.bytes;
         };
       }},
      {"no outcome", [](LyingEngine& engine) { engine.lie = [](sluice_completion& lie) { lie.outcome = 77; }; }},
      {"no job", [](LyingEngine& engine) { engine.lie = [](sluice_completion& lie) { lie.number += 99'999; }; }},
      {"took more", [](LyingEngine& engine) { engine.extra_taken = 7; }},
      {"wrote more", [](LyingEngine& engine) { engine.extra_polled = 1; }},
      {"throws", [](LyingEngine& engine) { engine.throws = true; }},
  };
  create(1);
  for (const auto& [name, make] : lies) {
    SCOPED_TRACE(name);
    destroy();
    sluice_engine_destroy(engine_);
    own_ = {};
    make(own_);
    ASSERT_EQ(sluice_engine_wrap(&kOperations, &own_, &engine_), SLUICE_OK);
    ASSERT_EQ(sluice_manager_create(memory_, engine_, nullptr, nullptr, &manager_), SLUICE_OK);
    create(1);
    Heard heard;
    const int started = ask(1, 4, heard);
    poll(1000);
    EXPECT_TRUE(started != SLUICE_OK || (heard.calls == 1 && heard.code != SLUICE_OK)) << started << heard.code;
    Heard later;
    const int again = ask(1, 16, later);
    poll(1000);
    EXPECT_TRUE(again != SLUICE_OK || (later.calls == 1 && later.code != SLUICE_OK));
  }
}

/// What it has zeroed once is clean; it zeroes nothing more.
TEST_F(CMisuse, EngineThatEndsAJobTwiceIsGivenUp) {
  own_.twice = true;
  create(1);
  create(2, 2);
  Heard first;
  ASSERT_EQ(ask(1, 16, first), SLUICE_OK);
  poll();
  ASSERT_EQ(first.code, SLUICE_OK);
  ASSERT_EQ(sluice_vm_terminate(manager_, 1), SLUICE_OK);
  Heard second;
  const int started = ask(2, 1, second);
  poll();
  EXPECT_EQ(started == SLUICE_OK ? second.code : started, SLUICE_SCRUB_UNAVAILABLE);
  EXPECT_THAT(started == SLUICE_OK ? second.message : std::string(sluice_last_message()), HasSubstr("does not have"));
}

TEST_F(CMisuse, ReleasesThatWrapReleaseNothing) {
  create(1);
  create(2, 2);
  Heard heard;
  ASSERT_EQ(ask(1, 16, heard), SLUICE_OK);
  poll();
  ASSERT_EQ(heard.code, SLUICE_OK);
  auto* const base = static_cast<char*>(heard.ranges.at(0).base);
  for (const std::uint64_t id : {1U, 2U}) {
    EXPECT_NE(sluice_vm_release(manager_, id, base + kPage, ~0ULL << 12), SLUICE_OK);
    EXPECT_NE(sluice_vm_release(manager_, id, reinterpret_cast<void*>(kPage), ~0ULL << 12), SLUICE_OK);
  }
  Heard other;
  EXPECT_EQ(ask(2, 1, other), SLUICE_OUT_OF_MEMORY);
}

}  // namespace
}  // namespace sluice::test
