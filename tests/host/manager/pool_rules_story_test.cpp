// SPDX-License-Identifier: Apache-2.0
// Whatever VMs do, pools follow their rules, and come to rest.
#include <random>

#include "support/pool_rules.hpp"

namespace sluice::test {
namespace {

constexpr DedicatedPoolId kPool{9};
constexpr DedicatedPoolId kOther{10};

/// Two pools with rules, their VMs and a stranger: after every poll their rules' limits hold, and when there is nothing
/// to do any more, no step is due that could be taken.
class Story : public ManagerFixture {
 public:
  explicit Story(std::uint32_t seed) : random_(seed) {
    for (const DedicatedPoolId pool : {kPool, kOther}) {
      rules_[pool] = draw_rule();
      const PoolOptions options{.placement = {}, .shares = random_() % 2 == 0, .rule = rules_[pool]};
      EXPECT_TRUE(manager_.create_dedicated_pool(pool, kCustomer, length(1 + random_() % 16), {}, options));
      settle();
    }
    create(VmId(1), kCustomer, {}, kPool);
    create(VmId(2), kCustomer, {}, kPool);
    create(VmId(3), kCustomer, {}, kOther);
    create(VmId(4), kOtherCustomer);
  }

  void take_step() {
    const auto act = random_() % 8;
    if (act == 0) {
      minimum_ = length(random_() % 40);
      manager_.keep_shared(minimum_);
    } else if (act == 1) {
      const DedicatedPoolId pool = random_() % 2 == 0 ? kPool : kOther;
      rules_[pool] = draw_rule();
      EXPECT_TRUE(manager_.change_pool_rule(pool, rules_[pool]));
    } else if (act < 5) {
      release_one();
    } else {
      static_cast<void>(manager_.allocate(VmId(1 + random_() % 4), length(1 + random_() % 12),
                                          [this](Result<Grant> grant) { granted(std::move(grant)); }));
    }
    if (random_() % 3 == 0) poll();
    if (random_() % 3 == 0) come_to_rest();
  }

 private:
  PoolRule draw_rule() {
    const std::size_t least = random_() % 8;
    const std::size_t step = 1 + random_() % 6;
    const std::size_t smallest = random_() % 8;
    return rule_of(least, least + step + random_() % 8, step, smallest, smallest + random_() % 32);
  }
  void granted(Result<Grant> grant) {
    if (ending_ || !grant) return;
    for (const GrantedRange& range : grant->ranges) {
      EXPECT_TRUE(range.recycled || !first_not(range.memory, std::byte{0})) << "what another VM wrote";
      std::fill(range.memory.begin(), range.memory.end(), std::byte{0xAA});
    }
    grants_.push_back(std::move(*grant));
  }
  void release_one() {
    if (grants_.empty()) return;
    const auto at = grants_.begin() + static_cast<std::ptrdiff_t>(random_() % grants_.size());
    for (const GrantedRange& range : at->ranges) EXPECT_TRUE(manager_.release(at->vm, range.memory));
    grants_.erase(at);
  }
  void poll() {
    const ByteCount shared = bytes_in({});
    std::map<DedicatedPoolId, ByteCount> before;
    for (const auto& [pool, rule] : rules_) before[pool] = bytes_in(pool);
    manager_.poll();
    EXPECT_GE(bytes_in({}), std::min(shared, minimum_));
    for (const auto& [pool, rule] : rules_) {
      EXPECT_LE(bytes_in(pool), std::max(before[pool], rule.largest));
      EXPECT_GE(bytes_in(pool), std::min(before[pool], rule.smallest));
    }
    if (random_() % 2 == 0) engine_.end_all();
  }
  void come_to_rest() {
    for (int round = 0; manager_.has_work(); ++round) {
      ASSERT_LT(round, 1000) << "there is always something to do";
      poll();
      engine_.end_all();
    }
    for (const auto& [pool, rule] : rules_) {
      const ByteCount size = bytes_in(pool);
      const ByteCount free = manager_.extents().free_bytes(pool);
      EXPECT_TRUE(free <= rule.most_free || size <= rule.smallest) << "a step down is due";
      if (free >= rule.least_free || size >= rule.largest) continue;
      const ByteCount step = std::min(rule.step, rule.largest - size);
      EXPECT_TRUE(manager_.extents().free_bytes({}) < step || bytes_in({}) < minimum_ + step) << "a step up is due";
    }
  }
  [[nodiscard]] ByteCount bytes_in(DedicatedPoolId pool) const { return manager_.extents().bytes_in(pool); }

  std::mt19937 random_;
  std::map<DedicatedPoolId, PoolRule> rules_;
  std::vector<Grant> grants_;
  ByteCount minimum_;
};

TEST(RuledPoolsStory, EndsWithEveryRuleFollowed) {
  for (std::uint32_t seed = 0; seed < 300 && !::testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    Story story(seed);
    for (int step = 0; step < 60; ++step) story.take_step();
  }
}

}  // namespace
}  // namespace sluice::test
