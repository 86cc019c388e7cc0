// SPDX-License-Identifier: Apache-2.0
// What available_to() says is what a claim gets: no page less, no page more.
#include "support/manager_fixture.hpp"

namespace sluice::test {
namespace {

constexpr VmId kVm{1};
constexpr VmId kNeighbour{2};
constexpr CustomerId kCustomer{1};
constexpr CustomerId kOtherCustomer{2};
constexpr DedicatedPoolId kPool{1};

/// What the VM is and has done when somebody asks how much it could have.
struct Setting {
  Placement placement;
  bool in_pool = false;
  RecycleSettings allowed;
  std::size_t holds = 0;            ///< pages, before all that follows
  std::size_t releases = 0;         ///< of these
  bool reboots = false;             ///< It is down.
  std::size_t comes_back_with = 0;  ///< pages; 0: it stays down
  Placement then;                   ///< where its next memory is to lie

  friend std::ostream& operator<<(std::ostream& out, const Setting& setting) {
    return out << (setting.in_pool ? "in a pool" : "in no pool") << ", holds " << setting.holds << ", released "
               << setting.releases << (setting.reboots ? ", reboots" : "") << ", back with " << setting.comes_back_with
               << ", node " << (setting.then.node ? static_cast<int>(*setting.then.node) : -1)
               << (setting.then.only_node ? " only" : "") << ", recycles " << setting.allowed.enable << ", new memory "
               << setting.allowed.force_new_memory << ", keeps " << setting.allowed.retain_memory;
  }
};

class Availability : public ::testing::TestWithParam<Setting> {
 protected:
  class Bricks final : public BackingMemory {
   public:
    [[nodiscard]] std::span<const Brick> bricks() const override { return bricks_; }

   private:
    Memory nodes_[2] = {Memory(32 * 4096, std::byte{0xEE}), Memory(32 * 4096, std::byte{0xEE})};
    Brick bricks_[2] = {{nodes_[0].all(), -1, PageKind::Small, 0}, {nodes_[1].all(), -1, PageKind::Small, 1}};
  };

  void settle() {
    for (int round = 0; round < 1000 && manager_->has_work(); ++round) {
      manager_->poll();
      engine_.end_all();
    }
    manager_->poll();
  }
  /// A host on which a neighbour has come and gone, with a pool on both nodes, and the VM as the setting says.
  void start(const Setting& setting) {
    manager_ = *MemoryManager::create(bricks_, engine_);
    settle();
    ASSERT_TRUE(
        manager_->create_dedicated_pool(kPool, kCustomer, ByteCount(12 * 4096), {}, {.placement = {.node = 1}}));
    settle();
    ASSERT_TRUE(manager_->create_vm({kVm,
                                     kCustomer,
                                     setting.in_pool ? kPool : DedicatedPoolId(),
                                     {},
                                     setting.allowed,
                                     {.timing = ScrubTiming::BeforeGrant},
                                     setting.placement}));
    ASSERT_TRUE(
        manager_->create_vm({kNeighbour, kOtherCustomer, {}, {}, {}, {.timing = ScrubTiming::BeforeGrant}, {}}));
    hold(kNeighbour, 9);
    const MemorySpan left_behind = last_.front();
    if (setting.holds > 0) hold(kVm, setting.holds);
    ASSERT_TRUE(manager_->release(kNeighbour, left_behind));
    std::size_t left = setting.releases;
    for (const MemorySpan range : held_) {
      const std::size_t pages = std::min(left, range.size() / 4096);
      if (pages > 0) {
        ASSERT_TRUE(manager_->release(kVm, range.first(pages * 4096)));
      }
      left -= pages;
    }
    if (!setting.reboots) {
      ASSERT_TRUE(manager_->change_placement(kVm, setting.then));
      return;
    }
    ASSERT_TRUE(manager_->begin_reboot(kVm));
    if (setting.comes_back_with > 0) {
      ASSERT_TRUE(manager_->finish_reboot(kVm, ByteCount(setting.comes_back_with * 4096), {}));
      settle();
    }
    ASSERT_TRUE(manager_->change_placement(kVm, setting.then));
  }
  void hold(VmId vm, std::size_t pages) {
    std::optional<Result<Grant>> result;
    ASSERT_TRUE(manager_->allocate(vm, ByteCount(pages * 4096), [&](const Result<Grant>& grant) { result = grant; }));
    settle();
    ASSERT_TRUE(result && *result);
    last_.clear();
    for (const GrantedRange& range : (*result)->ranges) last_.push_back(range.memory);
    if (vm == kVm) held_ = last_;
  }
  [[nodiscard]] Result<ClaimId> ask(ByteCount length) {
    granted_ = {};
    const auto handler = [this](const Result<Grant>& grant) {
      if (!grant) return;
      for (const GrantedRange& range : grant->ranges) granted_ += ByteCount(range.memory.size());
    };
    const bool down = GetParam().reboots && GetParam().comes_back_with == 0;
    return down ? manager_->finish_reboot(kVm, length, handler) : manager_->allocate(kVm, length, handler);
  }

  Bricks bricks_;
  ManualEngine engine_;
  std::unique_ptr<MemoryManager> manager_;
  std::vector<MemorySpan> held_;  ///< by the VM
  std::vector<MemorySpan> last_;
  ByteCount granted_;
};

TEST_P(Availability, IsWhatAClaimGetsAndNoPageMore) {
  start(GetParam());
  ASSERT_FALSE(HasFatalFailure());
  const ByteCount available = manager_->available_to(kVm);
  EXPECT_GT(available, ByteCount(0));
  const auto refused = ask(available + kPageSize);
  ASSERT_FALSE(refused) << available.value() / 4096 << " pages";
  EXPECT_EQ(refused.error().code, HostErrc::OutOfMemory);
  EXPECT_EQ(manager_->available_to(kVm), available) << "an error changes nothing";
  ASSERT_TRUE(ask(available)) << available.value() / 4096 << " pages";
  settle();
  EXPECT_EQ(granted_, available);
  const bool keeps_from_it = GetParam().allowed.force_new_memory;
  if (!keeps_from_it) {
    EXPECT_EQ(manager_->available_to(kVm), ByteCount(0));
  }
}

std::vector<Setting> settings() {
  std::vector<Setting> all;
  const RecycleSettings kinds[] = {{},
                                   {.enable = false},
                                   {.force_new_memory = true},
                                   {.retain_memory = true},
                                   {.grow_pool_on_reboot = true},
                                   {.retain_memory = true, .grow_pool_on_reboot = true}};
  const Placement places[] = {{}, {.node = 0, .only_node = true}, {.node = 1, .only_node = true}, {.node = 1}};
  for (const bool in_pool : {false, true}) {
    for (const RecycleSettings& allowed : kinds) {
      for (const Placement& then : places) {
        all.push_back({{}, in_pool, allowed, 0, 0, false, 0, then});
        all.push_back({{.node = 0}, in_pool, allowed, 14, 5, false, 0, then});
        all.push_back({{.node = 0}, in_pool, allowed, 14, 5, true, 0, then});
        all.push_back({{.node = 1}, in_pool, allowed, 14, 0, true, 3, then});
      }
    }
  }
  return all;
}
INSTANTIATE_TEST_SUITE_P(Settings, Availability, ::testing::ValuesIn(settings()),
                         [](const auto& setting) { return "Number" + std::to_string(setting.index); });

}  // namespace
}  // namespace sluice::test
