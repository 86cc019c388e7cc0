// SPDX-License-Identifier: Apache-2.0
// The policy manager after its process has ended: with its document, and a ledger.
#include <gmock/gmock.h>

#include "host/memory/recovery.hpp"
#include "support/policy_fixture.hpp"

namespace sluice::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr VmId kC{3};
constexpr CustomerId kCustomer{1};
constexpr TrustGroupId kLarger{6};
constexpr TrustGroupId kGroup{7};
constexpr DedicatedPoolId kPool{9};
constexpr PolicyTarget kOfCustomer{PolicyScope::Customer, kCustomer.value()};
constexpr std::byte kData{0xAA};

class PolicyManagerRestart : public Recovery {
 protected:
  PolicyManagerRestart() {
    start(*memory_);
    policies_.emplace(PolicyBook(), *manager_);
  }
  /// The process is killed; a new one has the document, and the ledger unless that is lost too.
  enum class Found { Ledger, Nothing };
  void crash(Found found = Found::Ledger) { crash(found, policies_->save()); }
  void crash(Found found, const std::string& document) {
    policies_.reset();
    Recovery::crash();
    if (found == Found::Nothing) std::filesystem::remove(path_);
    start(*memory_);
    auto loaded = PolicyManager::load(document, *manager_);
    ASSERT_TRUE(loaded) << loaded.error().message;
    policies_.emplace(std::move(*loaded));
    EXPECT_EQ(policies_->save(), document);
  }
  static void write(const Grant& grant) {
    for (const GrantedRange& range : grant.ranges) std::fill(range.memory.begin(), range.memory.end(), kData);
  }
  static bool has_data(const Grant& grant) {
    for (const GrantedRange& range : grant.ranges) {
      if (std::find(range.memory.begin(), range.memory.end(), kData) != range.memory.end()) return true;
    }
    return false;
  }
  void create(VmId vm, TrustGroupId group = {}, DedicatedPoolId pool = {}, const Placement& placement = {}) {
    const auto created = policies_->create_vm(kProvider, {vm, group, {}, kCustomer, pool}, placement);
    ASSERT_TRUE(created) << created.error().message;
  }
  void fill(DedicatedPoolId pool, const PoolOptions& options = {}) {
    ASSERT_TRUE(policies_->create_dedicated_pool(kProvider, pool, kCustomer, ByteCount(16 * 4096), {}, options));
    settle();
  }

  std::optional<PolicyManager> policies_;
};

TEST_F(PolicyManagerRestart, VmsGroupsAndPoliciesComeBackAsTheyWere) {
  ASSERT_TRUE(policies_->create_trust_group(kProvider, kLarger, kCustomer));
  ASSERT_TRUE(policies_->create_trust_group(kProvider, TrustGroupId(5), kCustomer, kLarger));
  ASSERT_TRUE(policies_->create_trust_group(kProvider, kGroup, kCustomer, kLarger));
  ASSERT_TRUE(policies_->create_trust_group(kProvider, customer_group(kCustomer), kCustomer));
  ASSERT_TRUE(policies_->enable_trust_group(kProvider, TrustGroupId(5), false));
  ASSERT_TRUE(policies_->enable_trust_group(kProvider, customer_group(kCustomer), false));
  create(kA, kGroup);
  create(kB);
  ASSERT_TRUE(attach(*policies_, kProvider, kOfCustomer, R"({"fill": "ones", "reservation_s": 7})"));
  ASSERT_TRUE(policies_->apply([](PolicyBook& book) {
    return book.lock(kProvider, {PolicyScope::Instance, kA.value()}, PolicyField::RecycleOnReboot);
  }));
  ASSERT_TRUE(policies_->apply(
      [](PolicyBook& book) { return book.say(Caller::instance(kB), kB, PolicyField::Enable, false); }));
  write(take(kA, 8));
  write(take(kB, 8));
  const BothSides before = both_sides(*policies_);
  crash();
  EXPECT_THAT(policies_->unadopted(), ElementsAre(kA, kB));
  for (const VmId vm : {kA, kB}) {
    const auto grant = policies_->adopt(kProvider, vm);
    ASSERT_TRUE(grant) << grant.error().message;
    EXPECT_EQ(grant->ranges.size(), 1U);
    EXPECT_TRUE(has_data(*grant));
  }
  EXPECT_EQ(both_sides(*policies_), before);
  EXPECT_THAT(policies_->unadopted(), IsEmpty());
  expect_in_line(*policies_);
  EXPECT_FALSE(manager_->trust_group(TrustGroupId(5))->enabled);
  EXPECT_FALSE(manager_->trust_group(customer_group(kCustomer))->enabled);
  EXPECT_EQ(policies_->adopt(kProvider, kA).error().code, HostErrc::WrongState);
  ASSERT_TRUE(manager_->begin_reboot(kA));
  std::optional<Result<Grant>> back;
  ASSERT_TRUE(manager_->finish_reboot(kA, ByteCount(8 * 4096), [&](Result<Grant> grant) { back.emplace(grant); }));
  settle();
  ASSERT_TRUE(back && *back);
  EXPECT_FALSE(has_data(**back)) << "the lock holds";
}

TEST_F(PolicyManagerRestart, VmsWithoutMemoryAreCreatedAgainWhereTheyWere) {
  create(kA, {}, {}, {.pages = {}, .node = 0, .only_node = true, .contiguous = ByteCount(8192)});
  const Placement placement = manager_->profile(kA)->placement;
  create(kB);
  crash();
  EXPECT_THAT(manager_->unadopted(), IsEmpty());
  ASSERT_TRUE(attach(*policies_, kProvider, kOfCustomer, R"({"enable": false})")) << "nobody needs to follow yet";
  const auto grant = policies_->adopt(kProvider, kA);
  ASSERT_TRUE(grant) << grant.error().message;
  EXPECT_THAT(grant->ranges, IsEmpty());
  EXPECT_EQ(manager_->profile(kA)->placement, placement);
  ASSERT_TRUE(policies_->terminate(kProvider, kB));
  EXPECT_THAT(policies_->unadopted(), IsEmpty());
  EXPECT_EQ(policies_->book().vms().size(), 1U);
  expect_in_line(*policies_);
}

/// It was created after the document was saved.
TEST_F(PolicyManagerRestart, AVmThatTheDocumentDoesNotKnowIsRegisteredAndAdopted) {
  const std::string document = policies_->save();
  create(kA);
  create(kB);
  write(take(kA, 8));
  write(take(kB, 8));
  crash();
  policies_.emplace(PolicyManager::load(document, *manager_).value());
  EXPECT_EQ(policies_->adopt(kProvider, kA).error().code, HostErrc::UnknownId);
  EXPECT_EQ(policies_->create_vm(kProvider, {kA, {}, {}, kCustomer, {}}).error().code, HostErrc::WrongState);
  const auto grant = policies_->adopt(kProvider, {kA, {}, {}, kCustomer, {}}, {});
  ASSERT_TRUE(grant) << grant.error().message;
  EXPECT_TRUE(has_data(*grant));
  ASSERT_TRUE(policies_->terminate(kProvider, kB));
  EXPECT_THAT(manager_->unadopted(), IsEmpty());
  expect_in_line(*policies_);
}

/// As in ARCHITECTURE: nobody knows after a crash in which group memory was written.
TEST_F(PolicyManagerRestart, WhoHasTheIdOfAGroupThatEndedGetsNothingOfIt) {
  ASSERT_TRUE(policies_->create_trust_group(kProvider, kGroup, kCustomer));
  create(kA, kGroup);
  create(kB, kGroup);
  write(take(kA, 32));
  write(take(kB, 16));
  for (const VmId vm : {kA, kB}) {
    PolicySubject alone = policies_->book().vms().at(vm);
    alone.group = {};
    ASSERT_TRUE(policies_->apply([&](PolicyBook& book) { return book.change_vm(kProvider, alone); }));
  }
  ASSERT_TRUE(policies_->destroy_trust_group(kProvider, kGroup));
  ASSERT_TRUE(policies_->terminate(kProvider, kB));
  crash();
  ASSERT_TRUE(policies_->adopt(kProvider, kA));
  ASSERT_TRUE(policies_->create_trust_group(kProvider, kGroup, kCustomer)) << "its id can be had again";
  create(kC, kGroup);
  ASSERT_TRUE(policies_->terminate(kProvider, kA));
  EXPECT_FALSE(has_data(take(kC, 64)));
}

TEST_F(PolicyManagerRestart, APoolComesBackWithItsMemoryAndItsVms) {
  fill(kPool, {.placement = {}, .shares = true});
  create(kA, {}, kPool);
  write(take(kA, 8));
  const BothSides before = both_sides(*policies_);
  crash();
  EXPECT_THAT(policies_->lost_pools(), IsEmpty());
  const auto grant = policies_->adopt(kProvider, kA);
  ASSERT_TRUE(grant) << grant.error().message;
  EXPECT_TRUE(has_data(*grant));
  EXPECT_EQ(both_sides(*policies_), before);
}

TEST_F(PolicyManagerRestart, APoolThatTheDocumentDoesNotKnowIsAdopted) {
  const std::string document = policies_->save();
  fill(kPool);
  ASSERT_TRUE(policies_->create_vm(kProvider, {kA, {}, {}, kCustomer, {}}));
  ASSERT_TRUE(attach(*policies_, kProvider, kOfCustomer, R"({"dedicated_pool": 9})"));
  write(take(kA, 8));
  crash(Found::Ledger, document);
  ASSERT_TRUE(policies_->adopt_dedicated_pool(kProvider, kPool, kCustomer));
  ASSERT_TRUE(policies_->adopt(kProvider, {kA, {}, {}, kCustomer, kPool}, {}));
  expect_in_line(*policies_);
  EXPECT_EQ(manager_->dedicated_pool(kPool)->size, ByteCount(16 * 4096));
  EXPECT_EQ(manager_->dedicated_pool(kPool)->free, ByteCount(8 * 4096));
}

TEST_F(PolicyManagerRestart, LostPoolsAreCreatedAgainBeforeTheirVms) {
  fill(kPool, {.placement = {.pages = {}, .node = 0}, .shares = true});
  create(kA, {}, kPool);
  ASSERT_TRUE(attach(*policies_, kProvider, kOfCustomer, R"({"dedicated_pool": 9})"));
  ASSERT_TRUE(policies_->create_vm(kProvider, {kC, {}, {}, CustomerId(2), {}}));
  take(kC, 48);
  ASSERT_TRUE(policies_->terminate(kProvider, kC));
  ASSERT_TRUE(policies_->create_dedicated_pool(kProvider, DedicatedPoolId(10), kCustomer, ByteCount(4096), {}));
  crash(Found::Nothing);
  const std::map<DedicatedPoolId, LostPool> lost = policies_->lost_pools();
  ASSERT_EQ(lost.size(), 1U) << "the other one was still being filled";
  const LostPool& pool = lost.at(kPool);
  EXPECT_EQ(pool.length, ByteCount(16 * 4096));
  EXPECT_TRUE(pool.options.shares);
  EXPECT_EQ(pool.options.placement.node, 0U);
  EXPECT_THAT(policies_->adopt(kProvider, kA).error().message, HasSubstr("pool 9 does not exist: create it first"));
  const PolicyTarget of_b{PolicyScope::Instance, kB.value()};
  EXPECT_THAT(attach(*policies_, kProvider, of_b, R"({"dedicated_pool": 9})").error().message,
              HasSubstr("a policy names pool 9, whose memory was not found: create it again first"));
  EXPECT_EQ(policies_->create_dedicated_pool(kProvider, kPool, CustomerId(2), pool.length, {}).error().code,
            HostErrc::ForeignCustomer);
  ASSERT_TRUE(policies_->create_dedicated_pool(kProvider, kPool, pool.customer, pool.length, {}, pool.options));
  EXPECT_THAT(policies_->lost_pools(), IsEmpty());
  EXPECT_EQ(policies_->adopt(kProvider, kA).error().code, HostErrc::WrongState) << "it is being filled";
  settle();
  ASSERT_TRUE(policies_->adopt(kProvider, kA));
  expect_in_line(*policies_);
  EXPECT_EQ(manager_->dedicated_pool(kPool)->vms, 1U);
}

TEST_F(PolicyManagerRestart, WhatTheSharedPoolKeepsIsKeptOn) {
  const ByteCount all = manager_->extents().bytes_in({});
  manager_->keep_shared(all - ByteCount(8 * 4096));
  crash();
  const auto create = [&](std::size_t pages) {
    return policies_->create_dedicated_pool(kProvider, kPool, kCustomer, ByteCount(pages * 4096), {});
  };
  EXPECT_EQ(create(9).error().code, HostErrc::OutOfMemory);
  EXPECT_TRUE(create(8));
}

TEST_F(PolicyManagerRestart, ADocumentThatDoesNotSayWhatTheSharedPoolKeepsLeavesThatAsItIs) {
  std::string document = policies_->save();
  const std::string line = "\"shared_minimum\": 0,\n";
  ASSERT_NE(document.find(line), std::string::npos);
  document.erase(document.find(line), line.size());
  policies_.reset();
  Recovery::crash();
  start(*memory_);
  manager_->keep_shared(ByteCount(4096));
  ASSERT_TRUE(PolicyManager::load(document, *manager_));
  EXPECT_EQ(manager_->shared_minimum(), ByteCount(4096));
}

TEST_F(PolicyManagerRestart, ALostPoolThatNobodyWantsIsForgotten) {
  fill(kPool);
  crash(Found::Nothing);
  ASSERT_TRUE(policies_->destroy_dedicated_pool(kProvider, kPool));
  EXPECT_TRUE(policies_->book().pools().empty());
  EXPECT_THAT(policies_->lost_pools(), IsEmpty());
}

TEST_F(PolicyManagerRestart, ADocumentIsForAManagerThatHasNobodyOfItYet) {
  ASSERT_TRUE(policies_->create_trust_group(kProvider, kGroup, kCustomer));
  create(kA);
  const auto again = PolicyManager::load(policies_->save(), *manager_);
  ASSERT_FALSE(again);
  EXPECT_THAT(again.error().message, HasSubstr("the manager has VM 1 already"));
  ASSERT_TRUE(policies_->terminate(kProvider, kA));
  EXPECT_TRUE(PolicyManager::load(policies_->save(), *manager_)) << "groups that are there are found";
  std::string other = policies_->save();
  for (std::size_t at = 0; (at = other.find("\"customer\":1", at)) != std::string::npos;) other[at + 11] = '2';
  EXPECT_THAT(PolicyManager::load(other, *manager_).error().message, HasSubstr("another trust group 7"));
}

/// A document with groups 6, 7 and 8 of customer 1 and 5 of customer 2, pool 9 and VM 3, each section as given.
std::string document_with(const std::string& groups, const std::string& pools, const std::string& vms) {
  return R"({"version": 1, "book": {"version": 1, "users": [], "groups": [{"id": 5, "customer": 2},
    {"id": 6, "customer": 1}, {"id": 7, "customer": 1}, {"id": 8, "customer": 1}], "pools": [{"id": 9, "customer": 1}],
    "vms": [{"id": 3, "customer": 1, "user": 0, "group": 0, "pool": 0}],
    "templates": [], "attachments": [], "locks": [], "says": []}, "groups": [)" +
         groups + R"(], "pools": [)" + pools + R"(], "vms": [)" + vms + "]}";
}
std::string group(int id, int inside) {
  return R"({"id": )" + std::to_string(id) + R"(, "inside": )" + std::to_string(inside) + R"(, "enabled": true})";
}
constexpr const char* kPools =
    R"({"id": 9, "page": 4096, "unit": null, "node": null, "only_node": false, "contiguous": 0, "shares": false, "length": 65536, "rule": null})";
constexpr const char* kVms = R"({"id": 3, "page": null, "unit": null, "node": 0, "only_node": true, "contiguous": 0})";

TEST(PolicyManagerStore, RefusesWhatNoManagerCouldHaveSaved) {
  const auto error = [](const std::string& text) {
    ManagerFixture fixture(4);
    const auto loaded = PolicyManager::load(text, fixture.manager_);
    for (const std::uint64_t id : {5U, 6U, 7U, 8U}) {
      EXPECT_EQ(fixture.manager_.trust_group(TrustGroupId(id)).has_value(), loaded.has_value());
    }
    return loaded ? std::string("none") : loaded.error().message;
  };
  const std::string groups = group(5, 0) + "," + group(6, 0) + ",";
  const std::string good = groups + group(7, 6) + "," + group(8, 6);
  EXPECT_EQ(error(document_with(good, kPools, kVms)), "none");
  EXPECT_THAT(error(document_with(groups + group(7, 6), kPools, kVms)), HasSubstr("3 entries, and the book 4"));
  EXPECT_THAT(error(document_with(groups + group(7, 6) + "," + group(8, 7), kPools, kVms)),
              HasSubstr("8 lies inside 7"));
  EXPECT_THAT(error(document_with(groups + group(7, 5) + "," + group(8, 0), kPools, kVms)),
              HasSubstr("7 lies inside 5"));
  EXPECT_THAT(error(document_with(groups + group(7, 7) + "," + group(8, 0), kPools, kVms)),
              HasSubstr("7 lies inside 7"));
  EXPECT_THAT(error(document_with(groups + group(7, 4) + "," + group(8, 0), kPools, kVms)),
              HasSubstr("7 lies inside 4"));
  EXPECT_THAT(error(document_with(good + "," + group(9, 0), kPools, kVms)), HasSubstr("groups[4]: 'id' is not what"));
  EXPECT_THAT(error(document_with(good + "," + group(8, 6), kPools, kVms)),
              HasSubstr("groups[4]: the entry stands twice"));
  EXPECT_THAT(error(document_with(good, R"({"id": 9, "page": 5000})", kVms)),
              HasSubstr("pools[0]: 'page' is not what"));
  EXPECT_THAT(error(document_with(good, kPools, R"({"id": 3, "page": null, "unit": null, "node": 4294967296})")),
              HasSubstr("vms[0]: 'node' is not what"));
  EXPECT_THAT(
      error(document_with(good, kPools, R"({"id": 3, "page": null, "unit": null, "node": null, "only_node": 1})")),
      HasSubstr("vms[0]: 'only_node' is not what"));
  for (const char* text : {"", "[]", "{}", R"({"version": 2})", R"({"version": 1})", R"({"version": 1, "book": {}})"}) {
    EXPECT_THAT(error(text), HasSubstr("policy document is wrong at ")) << text;
  }
  const auto keeps = [&](const std::string& bytes) {
    return error(R"({"shared_minimum": )" + bytes + "," + document_with(good, kPools, kVms).substr(1));
  };
  EXPECT_EQ(keeps("18446744073709551615"), "none");
  for (const char* bytes : {"-1", "4096.0", "18446744073709551616", "null", R"("4096")"}) {
    EXPECT_THAT(keeps(bytes), HasSubstr("wrong at shared_minimum: it is not what it can be")) << bytes;
  }
  EXPECT_THAT(error(R"({"shared": 1,)" + document_with(good, kPools, kVms).substr(1)), HasSubstr("and no other"));
  EXPECT_THAT(error(R"({"version": 1, "book": {}, "groups": [], "pools": [], "vms": []})"),
              HasSubstr("policy book is wrong at version"));
}

}  // namespace
}  // namespace sluice::test
