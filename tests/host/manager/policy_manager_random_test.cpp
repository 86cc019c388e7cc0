// SPDX-License-Identifier: Apache-2.0
// Random calls of all kinds: after each, the manager has every VM as the book says, and a refusal has changed nothing.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <random>

#include "support/manager_fixture.hpp"
#include "support/policy_fixture.hpp"

namespace sluice::test {
namespace {

/// A host on which somebody tries everything.
class Tinkerer {
 public:
  explicit Tinkerer(std::uint64_t seed) : random_(seed) {
    for (std::uint64_t id = 1; id <= 2; ++id) {
      EXPECT_TRUE(
          policies_.apply([&](PolicyBook& book) { return book.add_user(kProvider, UserId(id), CustomerId(id)); }));
      EXPECT_TRUE(policies_.create_trust_group(kProvider, TrustGroupId(id), CustomerId(id)));
      EXPECT_TRUE(policies_.create_dedicated_pool(kProvider, DedicatedPoolId(id), CustomerId(id), pages(8), {}));
      fixture_.settle();
      EXPECT_TRUE(policies_.create_vm(kProvider, {VmId(id), TrustGroupId(id), UserId(id), CustomerId(id), {}}));
    }
  }

  /// One call. Whether it was refused.
  bool step() {
    const BothSides before = both_sides(policies_);
    const std::optional<Error> error = call();
    expect_in_line(policies_);
    if (error) {
      EXPECT_EQ(both_sides(policies_), before) << error->message;
      EXPECT_FALSE(error->message.empty());
    }
    if (draw(4) == 0) {
      fixture_.settle();
      expect_in_line(policies_);
    }
    return error.has_value();
  }
  /// What another manager makes of the document is the same.
  void expect_restores() {
    const std::string document = policies_.save();
    ManagerFixture other;
    auto loaded = PolicyManager::load(document, other.manager_);
    ASSERT_TRUE(loaded) << loaded.error().message << "\n" << document;
    EXPECT_EQ(loaded->save(), document);
    EXPECT_EQ(loaded->book(), policies_.book());
    bool same_lengths = true;
    for (const auto& [pool, lost] : loaded->lost_pools()) {
      const ByteCount length = std::max(lost.length, pages(1));  // one that was empty gets a page
      same_lengths &= length == lost.length;
      ASSERT_TRUE(loaded->create_dedicated_pool(kProvider, pool, lost.customer, length, {}, lost.options));
    }
    other.settle();
    for (const VmId vm : loaded->unadopted()) {
      const auto adopted = loaded->adopt(kProvider, vm);
      ASSERT_TRUE(adopted) << adopted.error().message << "\n" << document;
    }
    expect_in_line(*loaded);
    EXPECT_TRUE(!same_lengths || loaded->save() == document) << document;
  }

 private:
  static ByteCount pages(std::uint64_t count) { return ManagerFixture::length(count); }
  std::uint64_t draw(std::uint64_t limit) { return random_() % limit; }
  CustomerId customer() { return CustomerId(1 + draw(2)); }
  VmId vm() { return VmId(1 + draw(6)); }
  TrustGroupId group() { return draw(8) == 0 ? customer_group(customer()) : TrustGroupId(draw(5)); }
  DedicatedPoolId pool() { return DedicatedPoolId(draw(6)); }
  PolicyTarget target() {
    const auto scope = static_cast<PolicyScope>(draw(5));
    return {scope, scope == PolicyScope::Default ? 0 : 1 + draw(scope == PolicyScope::Instance ? 6 : 2)};
  }
  Caller caller() {
    const Caller callers[] = {kProvider, kProvider, Caller::customer(customer()), Caller::user(UserId(1 + draw(2))),
                              Caller::instance(vm())};
    return callers[draw(std::size(callers))];
  }
  Policy some_policy() {
    const std::string texts[] = {"{}",
                                 R"({"enable": false})",
                                 R"({"recycle_on_reboot": true, "reservation_s": 5, "lend_reserved_memory": true})",
                                 R"({"force_new_memory": true, "scrub_timing": "scheduled", "scrub_delay_s": 1})",
                                 R"({"fill": "pattern", "fill_pattern": "0x0123456789abcdef", "retain_memory": true})",
                                 fmt::format(R"({{"trust_group": {}}})", group().value()),
                                 fmt::format(R"({{"dedicated_pool": {}}})", pool().value()),
                                 fmt::format(R"({{"trust_group": {}, "dedicated_pool": {}, "scrub_timing": "both"}})",
                                             group().value(), pool().value())};
    return policy(texts[draw(std::size(texts))]);
  }

  template <class Value>
  static std::optional<Error> error_of(const Result<Value>& result) {
    return result ? std::nullopt : std::optional(result.error());
  }
  std::optional<Error> call() {
    switch (draw(4)) {
      case 0:
        return change_pools();
      case 1:
        return change_vms();
      case 2:
        return use_memory();
      default:
        return change_policies();
    }
  }
  std::optional<Error> change_policies() {
    const Caller by = caller();
    const std::string name = draw(2) == 0 ? "one" : "other";
    const auto field = static_cast<PolicyField>(draw(kPolicyFields));
    switch (draw(9)) {
      case 0:
        return edit([&](PolicyBook& book) { return book.create_template(by, name, some_policy()); });
      case 1:
        return edit([&](PolicyBook& book) { return book.change_template(by, name, some_policy()); });
      case 2:
        return edit([&](PolicyBook& book) { return book.attach_template(by, target(), name); });
      case 3:
        return edit([&](PolicyBook& book) { return book.detach(by, target()); });
      case 4:
        return edit([&](PolicyBook& book) { return book.lock(by, target(), field); });
      case 5:
        return edit([&](PolicyBook& book) { return book.unlock(by, target(), field); });
      case 6: {
        const VmId said = vm();
        const PolicyField of = draw(2) == 0 ? PolicyField::Enable : PolicyField::RecycleOnReboot;
        return edit([&](PolicyBook& book) { return book.say(Caller::instance(said), said, of, draw(2) == 0); });
      }
      default:
        return edit([&](PolicyBook& book) { return book.attach(by, target(), some_policy()); });
    }
  }
  template <class Edit>
  std::optional<Error> edit(const Edit& edit) {
    return error_of(policies_.apply(edit));
  }
  std::optional<Error> change_vms() {
    const PolicySubject subject{vm(), group(), UserId(draw(3)), customer(), pool()};
    switch (draw(6)) {
      case 0:
      case 1:
        return error_of(policies_.create_vm(caller(), subject));
      case 2:
        return draw(3) == 0 ? error_of(policies_.terminate(caller(), vm())) : std::nullopt;
      case 3:
        return error_of(
            policies_.create_trust_group(caller(), group(), customer(), draw(2) == 0 ? group() : TrustGroupId()));
      case 4:
        return error_of(draw(2) == 0 ? policies_.destroy_trust_group(caller(), group())
                                     : policies_.enable_trust_group(caller(), group(), draw(2) == 0));
      default: {
        const auto known = policies_.book().vms().find(subject.vm);
        PolicySubject moved = known == policies_.book().vms().end() ? subject : known->second;
        moved.group = subject.group;
        moved.pool = subject.pool;
        return edit([&](PolicyBook& book) { return book.change_vm(kProvider, moved); });
      }
    }
  }
  std::optional<Error> change_pools() {
    const Caller by = caller();
    switch (draw(7)) {
      case 0:
        return error_of(policies_.create_dedicated_pool(by, pool(), customer(), pages(1 + draw(6)), {},
                                                        {.placement = {}, .shares = draw(2) == 0}));
      case 1:
        return error_of(policies_.grow_dedicated_pool(by, pool(), pages(1 + draw(6)), {}));
      case 2:
        return error_of(policies_.shrink_dedicated_pool(by, pool(), pages(1 + draw(3))));
      case 3:
        return error_of(policies_.partition_dedicated_pool(by, pool(), pool(), pages(1 + draw(4))));
      case 4:
        return error_of(policies_.move_between_pools(by, pool(), pool(), pages(1 + draw(3))));
      case 5:
        return draw(2) == 0 ? error_of(policies_.merge_dedicated_pools(by, pool(), pool())) : std::nullopt;
      default:
        return draw(3) == 0 ? error_of(policies_.destroy_dedicated_pool(by, pool())) : std::nullopt;
    }
  }
  /// What VMs do meanwhile. Refusals of the manager are its own.
  std::optional<Error> use_memory() {
    MemoryManager& manager = fixture_.manager_;
    const VmId by = vm();
    switch (draw(5)) {
      case 0:
        static_cast<void>(manager.begin_reboot(by));
        break;
      case 1:
        static_cast<void>(manager.finish_reboot(by, pages(1 + draw(8)), [](const Result<Grant>&) {}));
        break;
      default:
        static_cast<void>(manager.allocate(by, pages(1 + draw(8)), [&manager, by](const Result<Grant>& grant) {
          if (grant) static_cast<void>(manager.release(by, grant->ranges.front().memory));
        }));
    }
    return std::nullopt;
  }

  std::mt19937_64 random_;
  ManagerFixture fixture_;
  PolicyManager policies_{PolicyBook(), fixture_.manager_};
};

TEST(PolicyManagerRandom, BothSidesAgreeAfterEveryCallAndARefusalChangesNothing) {
  std::size_t refused = 0;
  std::size_t calls = 0;
  for (std::uint64_t seed = 1; seed <= 300 && !::testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    Tinkerer tinkerer(seed);
    for (int step = 0; step < 60 && !::testing::Test::HasFailure(); ++step, ++calls) {
      SCOPED_TRACE(fmt::format("step {}", step));
      refused += tinkerer.step() ? 1 : 0;
    }
    if (!::testing::Test::HasFailure()) tinkerer.expect_restores();
  }
  EXPECT_GT(refused, calls / 10) << "of " << calls;
  EXPECT_LT(refused, calls * 3 / 4) << "of " << calls;
}

}  // namespace
}  // namespace sluice::test
