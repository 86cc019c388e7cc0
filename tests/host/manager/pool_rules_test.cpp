// SPDX-License-Identifier: Apache-2.0
// Dedicated pools that are resized by a rule.
#include "support/pool_rules.hpp"

#include <gmock/gmock.h>

#include "support/recycling_fixture.hpp"

namespace sluice::test {
namespace {

using ::testing::HasSubstr;

constexpr VmId kA{1};
constexpr VmId kB{2};
constexpr DedicatedPoolId kPool{9};
constexpr DedicatedPoolId kOther{10};
constexpr ScrubSettings kMuchLater{.timing = ScrubTiming::Scheduled, .delay = std::chrono::hours(1000)};

const PoolRule kRule = rule_of(4, 16, 4, 8, 32);

class RuledPools : public RecyclingTest {
 protected:
  [[nodiscard]] PoolFacts facts(DedicatedPoolId pool = kPool) const { return manager_.dedicated_pool(pool).value(); }
  [[nodiscard]] ByteCount shared() const { return manager_.extents().bytes_in({}); }
  /// A pool of A, and shared memory that B has written in and that is not scrubbed before somebody claims it.
  void create_both(std::size_t pages, const std::optional<PoolRule>& rule) {
    fill_pool(kPool, pages, {.placement = {}, .shares = false, .rule = rule});
    create(kA, kCustomer, {}, kPool);
    create_stranger(kB);
    write_in_shared_memory();
  }
  void create_stranger(VmId vm) { ASSERT_TRUE(manager_.create_vm({vm, kOtherCustomer, {}, {}, {}, kMuchLater})); }
  void write_in_shared_memory(VmId other = kB) {
    const Grant others = more(other, manager_.available_to(other).value() / kPageSize.value());
    write(others);
    give_back(other, others);
  }
};

TEST_F(RuledPools, GrowByScrubbedMemoryWhenLittleOfThemIsFree) {
  create_both(16, kRule);
  settle();
  EXPECT_EQ(facts().size, length(16)) << "neither little nor much of it is free";
  take(kA, 13);
  EXPECT_TRUE(manager_.has_work());
  settle();
  EXPECT_EQ(facts().size, length(20));
  EXPECT_EQ(facts().free, length(7));
  EXPECT_EQ(look(take(kA, 7)), (Seen{7, 0, 0, 0})) << "what has joined holds nothing of B's";
  EXPECT_EQ(facts().free, length(0));
}

TEST_F(RuledPools, ShrinkByMemoryThatIsScrubbedBeforeAnotherHasIt) {
  fill_pool(kPool, 24);
  create(kA, kCustomer, {}, kPool);
  create(kB, kOtherCustomer);
  const Grant grant = take(kA, 20);
  const Pages old = write(grant);
  give_back(kA, grant);
  ASSERT_TRUE(manager_.change_pool_rule(kPool, kRule));
  EXPECT_TRUE(manager_.has_work());
  settle();
  EXPECT_EQ(facts().size, length(16));
  EXPECT_EQ(facts().free, length(16));
  EXPECT_EQ(with_data(old), 16U) << "4 pages were clean and went first";
  EXPECT_EQ(look(more(kB, 48), old), (Seen{48, 0, 4, 0}));
  EXPECT_EQ(look(more(kA, 16), old), (Seen{16, 16, 16, 16}));
}

/// All shared memory holds B's data: without the rule A would wait for a scrub.
TEST_F(RuledPools, HaveTheNextBalloonReady) {
  for (const bool by_rule : {true, false}) {
    SCOPED_TRACE(by_rule);
    const VmId vm(by_rule ? 21 : 22);
    const VmId other(by_rule ? 31 : 32);
    const DedicatedPoolId pool(by_rule ? 21 : 22);
    fill_pool(pool, 16, {.placement = {}, .shares = false, .rule = by_rule ? std::optional(kRule) : std::nullopt});
    create(vm, kCustomer, {}, pool);
    ASSERT_TRUE(manager_.create_vm({other, kOtherCustomer, {}, {}, {}, kMuchLater}));
    const Grant others = more(other, 24);
    write(others);
    take(vm, 16);
    const Grant beyond = more(other, manager_.available_to(other).value() / kPageSize.value());
    write(beyond);
    give_back(other, others);
    give_back(other, beyond);
    settle();
    std::optional<Result<Grant>> balloon;
    ask(vm, 4, balloon);
    manager_.poll();
    EXPECT_EQ(balloon.has_value(), by_rule);
    settle();
    ASSERT_TRUE(balloon && *balloon);
    EXPECT_EQ((*balloon)->waited, !by_rule);
    EXPECT_EQ(look(**balloon), (Seen{4, 0, 0, 0}));
    ASSERT_TRUE(manager_.terminate(vm));
    ASSERT_TRUE(manager_.terminate(other));
    settle();
    ASSERT_TRUE(manager_.destroy_dedicated_pool(pool));
    settle();
  }
}

TEST_F(RuledPools, StayBetweenTheirLimits) {
  fill_pool(kPool, 12);
  create(kA, kCustomer, {}, kPool);
  const Grant most = take(kA, 12);
  ASSERT_TRUE(manager_.change_pool_rule(kPool, rule_of(6, 10, 4, 6, 18)));
  settle();
  EXPECT_EQ(facts().size, length(18)) << "a step and what was left of one";
  take(kA, 4);
  settle();
  EXPECT_EQ(facts().size, length(18)) << "little is free, and it is as large as it may be";
  give_back(kA, most);
  settle();
  EXPECT_EQ(facts().size, length(14));
  ASSERT_TRUE(manager_.terminate(kA));
  settle();
  EXPECT_EQ(facts().size, length(10));
  ASSERT_TRUE(manager_.change_pool_rule(kPool, rule_of(0, 4, 4, 7, 18)));
  settle();
  EXPECT_EQ(facts().size, length(7)) << "as small as it may be";
}

TEST_F(RuledPools, KeepTheirLimitsAgainstCalls) {
  const PoolRule rule = rule_of(0, 60, 4, 8, 20);
  fill_pool(kPool, 16, {.placement = {}, .shares = false, .rule = rule});
  fill_pool(kOther, 8);
  const auto expect_refused = [&](const auto& result, const char* why) {
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, HostErrc::InvalidArgument);
    EXPECT_THAT(result.error().message, HasSubstr(why));
  };
  const char* const too_large =
      "20480 bytes more for pool 9: it has 65536, is to get 0, and its rule allows it 81920 at "
      "most: ask for less, or change its rule first";
  const char* const too_small =
      "36864 bytes less for pool 9: it has 65536, and its rule leaves it 32768 at least: ask "
      "for less, or change its rule first";
  expect_refused(manager_.grow_dedicated_pool(kPool, length(5), {}), too_large);
  expect_refused(manager_.move_between_pools(kOther, kPool, length(5)), too_large);
  expect_refused(manager_.merge_dedicated_pools(kPool, kOther), "32768 bytes more for pool 9");
  expect_refused(manager_.shrink_dedicated_pool(kPool, length(9)), too_small);
  expect_refused(manager_.move_between_pools(kPool, kOther, length(9)), too_small);
  expect_refused(manager_.partition_dedicated_pool(kPool, DedicatedPoolId(11), length(9)), too_small);
  EXPECT_EQ(facts(kPool).size, length(16));
  EXPECT_EQ(facts(kOther).size, length(8));
  ASSERT_TRUE(manager_.shrink_dedicated_pool(kPool, length(8))) << "as small as it may be";
  create_stranger(kB);
  write_in_shared_memory();
  ASSERT_TRUE(manager_.move_between_pools(kOther, kPool, length(4)));
  ASSERT_TRUE(manager_.grow_dedicated_pool(kPool, length(4), {}));
  expect_refused(manager_.grow_dedicated_pool(kPool, length(5), {}), "it has 49152, is to get 16384");
  expect_refused(manager_.move_between_pools(kOther, kPool, length(5)), "it has 49152, is to get 16384");
  ASSERT_TRUE(manager_.merge_dedicated_pools(kPool, kOther)) << "as large as it may be";
  settle();
  EXPECT_EQ(facts().size, length(20));
  ASSERT_TRUE(manager_.change_pool_rule(kPool, std::nullopt));
  EXPECT_TRUE(manager_.grow_dedicated_pool(kPool, length(1), {}));
  EXPECT_TRUE(manager_.shrink_dedicated_pool(kPool, length(20)));
}

/// It goes no further: that would be what the rule forbids.
TEST_F(RuledPools, MayComeBackFromBeyondTheirLimits) {
  fill_pool(kPool, 24);
  fill_pool(kOther, 4);
  ASSERT_TRUE(manager_.change_pool_rule(kPool, rule_of(0, 60, 4, 8, 20)));
  ASSERT_TRUE(manager_.change_pool_rule(kOther, rule_of(0, 60, 4, 8, 20)));
  EXPECT_FALSE(manager_.grow_dedicated_pool(kPool, length(1), {}));
  EXPECT_FALSE(manager_.shrink_dedicated_pool(kOther, length(1)));
  EXPECT_TRUE(manager_.shrink_dedicated_pool(kPool, length(1)));
  EXPECT_TRUE(manager_.grow_dedicated_pool(kOther, length(1), {}));
}

TEST_F(RuledPools, GrowByARebootToTheirLargestAndNoFurther) {
  for (const bool in_place : {false, true}) {
    for (const std::size_t promised : {0U, 2U}) {
      SCOPED_TRACE(std::to_string(promised) + (in_place ? " in place" : ""));
      const VmId vm(20 + 2 * promised + (in_place ? 1 : 0));
      const VmId other(vm.value() + 20);
      const DedicatedPoolId pool(vm.value());
      fill_pool(pool, 4, {.placement = {}, .shares = false, .rule = rule_of(0, 60, 1, 0, 9)});
      create(vm, kCustomer, {}, pool, {.grow_pool_on_reboot = true});
      more(vm, 4);
      create_stranger(other);
      for (int piece = 0; piece < 5; ++piece) {
        more(vm, 2);
        more(other, 1);
      }
      write_in_shared_memory(other);
      if (promised > 0) {
        const auto grows = manager_.grow_dedicated_pool(pool, length(promised), {});
        ASSERT_TRUE(grows) << grows.error().message;
      }
      const bool began = in_place ? manager_.reboot_in_place(vm).has_value() : manager_.begin_reboot(vm).has_value();
      ASSERT_TRUE(began);
      EXPECT_GT(facts(pool).size, length(4));
      EXPECT_LE(facts(pool).size, length(9 - promised));
      settle();
      EXPECT_LE(facts(pool).size, length(9));
      ASSERT_TRUE(manager_.terminate(vm));
      ASSERT_TRUE(manager_.terminate(other));
      ASSERT_TRUE(manager_.destroy_dedicated_pool(pool));
      settle();
    }
  }
}

TEST_F(RuledPools, LeaveTheSharedPoolItsMinimum) {
  manager_.keep_shared(length(46));
  fill_pool(kPool, 16, {.placement = {}, .shares = false, .rule = kRule});
  create(kA, kCustomer, {}, kPool);
  take(kA, 16);
  settle();
  EXPECT_EQ(facts().size, length(16)) << "a step would leave 44";
  EXPECT_FALSE(manager_.has_work());
  manager_.keep_shared(length(44));
  EXPECT_TRUE(manager_.has_work());
  settle();
  EXPECT_EQ(facts().size, length(20));
  EXPECT_EQ(shared(), length(44));
}

TEST_F(RuledPools, GiveUpWhatTheSharedPoolIsToKeepFromNowOn) {
  create_both(16, kRule);
  take(kA, 16);
  manager_.poll();
  ASSERT_EQ(engine_.running().size(), 1U);
  manager_.keep_shared(length(46));
  settle();
  EXPECT_EQ(facts().size, length(16));
  manager_.keep_shared(length(0));
  EXPECT_TRUE(manager_.has_work());
  settle();
  EXPECT_EQ(facts().size, length(20));
}

TEST_F(RuledPools, GiveUpWhatWouldMakeThemLargerThanTheyMayBe) {
  fill_pool(kOther, 4);
  create_both(16, rule_of(4, 16, 4, 8, 20));
  take(kA, 16);
  manager_.poll();
  ASSERT_EQ(engine_.running().size(), 1U);
  ASSERT_TRUE(manager_.move_between_pools(kOther, kPool, length(2)));
  settle();
  EXPECT_EQ(facts().size, length(20)) << "2 that were moved, and 2 by the rule";
}

/// The call and the step that is under way would pass the largest together.
TEST_F(RuledPools, GiveUpAStepForACallThatTakesItsPlace) {
  create_both(16, rule_of(4, 16, 4, 8, 20));
  take(kA, 16);
  manager_.poll();
  ASSERT_EQ(engine_.running().size(), 1U);
  ASSERT_TRUE(manager_.grow_dedicated_pool(kPool, length(3), {}));
  settle();
  EXPECT_EQ(facts().size, length(20)) << "3 by the call, and 1 by the rule";
}

/// What other pools are still to get is promised.
TEST_F(RuledPools, LeaveOthersWhatTheyWereToGet) {
  create_both(16, kRule);
  manager_.keep_shared(length(40));
  ASSERT_TRUE(manager_.create_dedicated_pool(kOther, kCustomer, length(6), {}));
  take(kA, 16);
  manager_.poll();
  EXPECT_FALSE(manager_.grow_dedicated_pool(kPool, length(4), {}));
  settle();
  EXPECT_EQ(facts().size, length(16));
  EXPECT_EQ(shared(), length(42));
}

TEST_F(RuledPools, WaitForMemoryUntilSomeIsFree) {
  fill_pool(kPool, 16, {.placement = {}, .shares = false, .rule = kRule});
  create(kA, kCustomer, {}, kPool);
  create(kB, kOtherCustomer);
  const Grant all = take(kB, 46);
  take(kA, 16);
  settle();
  EXPECT_EQ(facts().size, length(16));
  EXPECT_FALSE(manager_.has_work()) << "there is nothing to do before something is free";
  ASSERT_TRUE(manager_.release(kB, all.ranges.at(0).memory.first(4096)));
  settle();
  EXPECT_EQ(facts().size, length(16)) << "3 pages are no step";
  ASSERT_TRUE(manager_.release(kB, all.ranges.at(0).memory.subspan(4096, 4096)));
  EXPECT_TRUE(manager_.has_work());
  settle();
  EXPECT_EQ(facts().size, length(20));
}

TEST_F(RuledPools, GrowOnceAtATime) {
  create_both(16, kRule);
  take(kA, 16);
  manager_.poll();
  manager_.poll();
  ASSERT_EQ(engine_.running().size(), 1U);
  EXPECT_EQ(engine_.running().front().job.memory.size(), length(4).value());
  EXPECT_EQ(engine_.running().front().job.urgency, Urgency::Urgent);
  std::optional<Result<void>> grown;
  ASSERT_TRUE(manager_.grow_dedicated_pool(kPool, length(2), [&](const Result<void>& result) { grown = result; }));
  settle();
  ASSERT_TRUE(grown && *grown) << "a call is another matter";
  EXPECT_EQ(facts().size, length(22));
}

TEST_F(RuledPools, EndWhileTheyGrow) {
  create_both(16, kRule);
  take(kA, 16);
  manager_.poll();
  ASSERT_EQ(engine_.running().size(), 1U);
  ASSERT_TRUE(manager_.terminate(kA));
  ASSERT_TRUE(manager_.destroy_dedicated_pool(kPool));
  settle();
  EXPECT_EQ(shared(), length(64));
  EXPECT_EQ(manager_.available_to(kB), length(64));
}

TEST_F(RuledPools, AreMergedWhileTheyGrow) {
  create_both(16, kRule);
  ASSERT_TRUE(manager_.create_dedicated_pool(kOther, kCustomer, length(4), {}));
  settle();
  take(kA, 16);
  manager_.poll();
  ASSERT_EQ(engine_.running().size(), 1U);
  ASSERT_TRUE(manager_.merge_dedicated_pools(kOther, kPool));
  settle();
  EXPECT_EQ(facts(kOther).size, length(20));
  EXPECT_EQ(facts(kOther).rule, std::nullopt) << "its own rule stays, which is none";
  EXPECT_EQ(shared(), length(44));
}

TEST_F(RuledPools, FollowTheRuleThatTheyHaveNow) {
  create_both(16, std::nullopt);
  take(kA, 16);
  settle();
  EXPECT_EQ(facts().size, length(16));
  EXPECT_EQ(facts().rule, std::nullopt);
  ASSERT_TRUE(manager_.change_pool_rule(kPool, kRule));
  EXPECT_EQ(facts().rule, kRule);
  manager_.poll();
  ASSERT_EQ(engine_.running().size(), 1U);
  ASSERT_TRUE(manager_.change_pool_rule(kPool, std::nullopt));
  settle();
  EXPECT_EQ(facts().size, length(16)) << "what it was growing by goes back";
  EXPECT_EQ(shared(), length(48));
  ASSERT_TRUE(manager_.change_pool_rule(kPool, kRule));
  settle();
  EXPECT_EQ(facts().size, length(20));
}

TEST_F(RuledPools, AreLeftAloneWhereNothingCanBeScrubbed) {
  create_both(16, kRule);
  take(kA, 16);
  manager_.poll();
  engine_.break_down();
  settle();
  EXPECT_FALSE(manager_.has_work());
  EXPECT_EQ(facts().size, length(16));
  manager_.stop();
  EXPECT_FALSE(manager_.has_work());
}

/// The growth is refused with its memory, and the next one takes other memory, until there is none.
TEST_F(RuledPools, ComeToAnEndWithAnEngineThatRefusesEverything) {
  create_both(16, kRule);
  engine_.refuse_with({DriverErrc::InvalidArgument, "no"});
  take(kA, 16);
  settle();
  EXPECT_FALSE(manager_.has_work());
  EXPECT_EQ(facts().size, length(16));
}

TEST_F(RuledPools, AreMadeInOneCallAllWithTheRule) {
  ASSERT_TRUE(manager_.create_dedicated_pools(kPool, 2, kCustomer, length(16), {},
                                              {.placement = {}, .shares = false, .rule = kRule}));
  settle();
  create(kA, kCustomer, {}, kPool);
  create(kB, kCustomer, {}, kOther);
  take(kA, 8);
  take(kB, 8);
  settle();
  EXPECT_EQ(facts(kPool).size, length(12));
  EXPECT_EQ(facts(kOther).size, length(12));
}

TEST_F(RuledPools, HaveRulesThatCannotSwing) {
  const auto refused = [&](const PoolRule& rule) {
    const PoolOptions options{.placement = {}, .shares = false, .rule = rule};
    const auto made = manager_.create_dedicated_pool(kOther, kCustomer, length(8), {}, options);
    const auto several = manager_.create_dedicated_pools(kOther, 2, kCustomer, length(8), {}, options);
    const auto changed = manager_.change_pool_rule(kPool, rule);
    EXPECT_FALSE(made || several || changed);
    if (made || several || changed) return std::string();
    EXPECT_EQ(made.error().code, HostErrc::InvalidArgument);
    EXPECT_EQ(several.error().message, made.error().message);
    EXPECT_EQ(changed.error().message, made.error().message);
    return made.error().message;
  };
  fill_pool(kPool, 8, {.placement = {}, .shares = false, .rule = kRule});
  EXPECT_THAT(refused(rule_of(4, 7, 4, 0, 16)),
              HasSubstr("a pool that grows with less than 16384 bytes free, and shrinks with more than 28672, would do "
                        "both in turn by steps of 16384 bytes: let the two differ by a step"));
  EXPECT_THAT(refused(rule_of(4, 2, 4, 0, 16)), HasSubstr("let the two differ by a step"));
  EXPECT_THAT(refused(rule_of(4, 12, 0, 0, 16)), HasSubstr("steps of 0 bytes: give at least a page"));
  EXPECT_THAT(refused(rule_of(4, 12, 4, 17, 16)), HasSubstr("give a largest that is no less than the smallest"));
  for (const auto field :
       {&PoolRule::least_free, &PoolRule::most_free, &PoolRule::step, &PoolRule::smallest, &PoolRule::largest}) {
    PoolRule odd = kRule;
    odd.*field += ByteCount(17);
    EXPECT_THAT(refused(odd), HasSubstr("bytes in a pool's rule: give multiples of 4096 bytes"));
  }
  EXPECT_EQ(facts().rule, kRule);
  EXPECT_EQ(manager_.change_pool_rule(DedicatedPoolId(404), kRule).error().code, HostErrc::UnknownId);
  create(kA);
  give_back(kA, take(kA, 56));
  ASSERT_TRUE(manager_.create_dedicated_pool(kOther, kCustomer, length(8), {}));
  EXPECT_EQ(manager_.change_pool_rule(kOther, kRule).error().code, HostErrc::WrongState) << "it is being filled";
}

/// Suspect memory helps no VM: a pool that has much of it, and little else, does not shrink.
TEST_F(RuledPools, DoNotCountWhatNobodyGets) {
  create_both(16, kRule);
  const Grant grant = take(kA, 16);
  ASSERT_TRUE(manager_.suspect(grant.ranges.at(0).memory));
  give_back(kA, grant);
  settle();
  EXPECT_EQ(facts().size, length(20));
  EXPECT_EQ(manager_.extents().free_bytes(kPool, 0, kA), length(4));
}

}  // namespace
}  // namespace sluice::test
