// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <fstream>
#include <sstream>

#include "sluice/policy/policy_book.hpp"
#include "support/manager_fixture.hpp"

namespace sluice {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

constexpr PolicySubject kSubject{VmId(1), TrustGroupId(2), UserId(3), CustomerId(4)};
constexpr Caller kProvider = Caller::provider();
constexpr PolicyTarget kVm{PolicyScope::Instance, 1};
constexpr PolicyTarget kGroup{PolicyScope::TrustGroup, 2};
constexpr PolicyTarget kUser{PolicyScope::User, 3};
constexpr PolicyTarget kCustomer{PolicyScope::Customer, 4};
constexpr PolicyTarget kDefault{PolicyScope::Default, 0};

Policy policy(const std::string& text) {
  auto read = Policy::from_json(text);
  EXPECT_TRUE(read) << read.error().message;
  return read ? *read : Policy();
}

/// It knows the user and the group of kSubject.
PolicyBook with_subject() {
  PolicyBook book;
  EXPECT_TRUE(book.add_user(kProvider, kSubject.user, kSubject.customer));
  EXPECT_TRUE(book.add_group(kProvider, kSubject.group, kSubject.customer));
  return book;
}

std::string error_of(const std::string& text) {
  const auto read = Policy::from_json(text);
  return read ? "none" : read.error().message;
}

PolicyExplanation why(const PolicyBook& book, PolicyField field, const PolicySubject& subject = kSubject) {
  return book.effective(subject).explanation.at(static_cast<std::size_t>(field));
}

TEST(Policy, ReadsEveryField) {
  PolicyBook book = with_subject();
  ASSERT_TRUE(book.add_pool(kProvider, DedicatedPoolId(~0ULL), kSubject.customer));
  ASSERT_TRUE(
      book.attach(kProvider, kVm, policy(R"({"enable": true, "recycle_on_reboot": false, "recycle_within_vm": false,
    "recycle_within_dedicated_pool": false, "recycle_within_trust_group": false, "force_new_memory": true,
    "retain_memory": false, "grow_pool_on_reboot": true, "scrub_timing": "scheduled", "scrub_delay_s": 1.5,
    "fill": "pattern", "fill_pattern": "0x0123456789abcdef", "trust_group": 2, "dedicated_pool": 18446744073709551615,
    "reservation_s": 0.5, "lend_reserved_memory": true})")));
  const EffectivePolicy effective = book.effective(kSubject);
  EXPECT_TRUE(effective.recycle.enable);
  EXPECT_FALSE(effective.recycle.recycle_on_reboot);
  EXPECT_FALSE(effective.recycle.recycle_within_vm);
  EXPECT_FALSE(effective.recycle.recycle_within_dedicated_pool);
  EXPECT_FALSE(effective.recycle.recycle_within_trust_group);
  EXPECT_TRUE(effective.recycle.force_new_memory);
  EXPECT_FALSE(effective.recycle.retain_memory);
  EXPECT_TRUE(effective.recycle.grow_pool_on_reboot);
  EXPECT_TRUE(effective.recycle.lend_reserved_memory);
  EXPECT_EQ(effective.recycle.reservation, milliseconds(500));
  EXPECT_EQ(effective.group, TrustGroupId(2));
  EXPECT_EQ(effective.pool, DedicatedPoolId(~0ULL));
  EXPECT_EQ(effective.scrub,
            (ScrubSettings{ScrubTiming::Scheduled, milliseconds(1500), FillMethod::Pattern, 0x0123456789ABCDEF}));
  EXPECT_EQ(effective.explanation.size(), kPolicyFields);
  for (const PolicyExplanation& line : effective.explanation) EXPECT_EQ(line.from, "VM 1") << to_string(line.field);
}

TEST(Policy, OfNobodyIsBuiltIn) {
  const EffectivePolicy effective = PolicyBook().effective({});
  EXPECT_TRUE(effective.recycle.recycle_on_reboot);
  EXPECT_FALSE(effective.recycle.force_new_memory);
  EXPECT_EQ(effective.scrub, ScrubSettings{});
  EXPECT_EQ(effective.recycle, RecycleSettings{});
  for (const PolicyExplanation& line : effective.explanation) EXPECT_EQ(line.from, "built in");
}

TEST(Policy, ReadsTomlAsWell) {
  const auto read = Policy::from_toml("recycle_on_reboot = false\nscrub_timing = 'scheduled'\nscrub_delay_s = 60\n");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, policy(R"({"recycle_on_reboot": false, "scrub_timing": "scheduled", "scrub_delay_s": 60})"));
  EXPECT_THAT(Policy::from_toml("enable = \n").error().message, HasSubstr("line 1"));
  EXPECT_THAT(Policy::from_toml("enable = 1979-05-27\n").error().message,
              HasSubstr("'enable' is \"1979-05-27\": give true"));
}

TEST(Policy, RefusesWhatNestsBeforeAParserDescendsIntoIt) {
  std::string dotted = "a";
  for (int depth = 0; depth < 50'000; ++depth) dotted += ".a";
  for (const std::string& text : {dotted + " = 1\n", dotted.substr(0, 60'000) + " = 1\n",
                                  "a = " + std::string(50'000, '['), std::string("[enable]\n"),
                                  std::string("a = {b = 1}"), std::string("x = [[{d=1980-01-01T1:00:00ZZ   =]]\n]n")}) {
    const auto refused = Policy::from_toml(text);
    ASSERT_FALSE(refused) << text.substr(0, 40);
    EXPECT_LT(refused.error().message.size(), 300U);
  }
  EXPECT_TRUE(Policy::from_toml("fill = 'pattern' # [x] {y}: a.b\nfill_pattern = \"0x0123456789abcdef\"\n"));
  EXPECT_FALSE(Policy::from_json("{\"enable\": true" + std::string(70'000, ' ') + "}"));
  EXPECT_FALSE(Policy::from_json(std::string(60'000, '[')));
}

TEST(Policy, ShowsNoOrdersToATerminalAndReadsNoLettersThatTheParserDoesNot) {
  for (const std::string& message : {error_of("{\"\\u001b[2J\": 1}"), error_of("{\"fill\": \"\xC3\xA9\x7F\"}"),
                                     Policy::from_toml("fill = '\x7F'\n").error().message}) {
    EXPECT_TRUE(std::all_of(message.begin(), message.end(), [](char letter) { return letter >= ' ' && letter <= '~'; }))
        << message;
  }
  const auto refused = Policy::from_toml("enable = true\na\xCB\xA4 = 1\n");
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("at line 2: a control character, or a letter beyond ASCII"));
  EXPECT_TRUE(
      Policy::from_toml("\xEF\xBB\xBF"
                        "enable = true # \xCB\xA4\n"));
}

TEST(Policy, RefusesAKeyThatStandsTwiceHoweverItIsWritten) {
  for (const char* text : {R"({"enable": false, "enable": true})", R"({"enable": false, "\u0065nable" : true})"}) {
    const auto refused = Policy::from_json(text);
    ASSERT_FALSE(refused) << text;
    EXPECT_THAT(refused.error().message, HasSubstr("'enable' stands twice"));
  }
  EXPECT_FALSE(Policy::from_toml("enable = true\nenable = false\n"));
  EXPECT_TRUE(Policy::from_json(R"({"fill": "zeros", "enable": true})"));
}

TEST(Policy, DelaysAreTheSameInEveryLocaleAndNoneIsShorterThanTheClock) {
  std::setlocale(LC_ALL, "de_DE.UTF-8");
  PolicyBook book;
  ASSERT_TRUE(
      book.attach(kProvider, PolicyTarget{}, policy(R"({"scrub_timing": "scheduled", "scrub_delay_s": 0.75})")));
  EXPECT_EQ(book.effective({VmId(1), {}, {}, CustomerId(1)}).scrub.delay, std::chrono::milliseconds(750));
  std::setlocale(LC_ALL, "C");
  for (const char* delay : {"1e-320", "1e-10", "-1e-9", "3.2e7", "1e400"}) {
    EXPECT_FALSE(Policy::from_json(fmt::format(R"({{"scrub_timing": "scheduled", "scrub_delay_s": {}}})", delay)))
        << delay;
  }
  EXPECT_EQ(policy(R"({"scrub_timing": "scheduled", "scrub_delay_s": -0.0})").value(PolicyField::ScrubDelay), "0");
}

TEST(Policy, IsWrittenAsItWasRead) {
  const Policy read =
      policy(R"({"enable": false, "scrub_timing": "scheduled", "scrub_delay_s": 0.25, "fill": "ones"})");
  EXPECT_EQ(policy(read.to_json()), read);
  EXPECT_EQ(policy(Policy().to_json()), Policy());
}

TEST(Policy, SaysWhatIsWrongWithADocument) {
  EXPECT_THAT(error_of("{\"enable\": tru}"), HasSubstr("no JSON, at byte"));
  EXPECT_THAT(error_of("{\"enable\": true"), HasSubstr("no JSON"));
  EXPECT_THAT(error_of("{} {}"), HasSubstr("no JSON"));
  EXPECT_THAT(error_of("[]"), HasSubstr("no JSON object"));
  EXPECT_THAT(error_of(R"({"recycle": true})"), HasSubstr("'recycle' does not exist: choose one of 'enable', "));
  EXPECT_THAT(error_of(R"({"enable": 1})"), HasSubstr("'enable' is 1: give true or false"));
  EXPECT_THAT(error_of(R"({"fill": "snow"})"), HasSubstr("'fill' is \"snow\": give one of 'zeros', 'ones'"));
  EXPECT_THAT(error_of(R"({"scrub_timing": "scheduled", "scrub_delay_s": -1})"), HasSubstr("is -1: give a number"));
  EXPECT_THAT(error_of(R"({"scrub_timing": "scheduled", "scrub_delay_s": 1e99})"), HasSubstr("from 0 to 31536000"));
  EXPECT_THAT(error_of(R"({"fill": "pattern", "fill_pattern": "0x12"})"), HasSubstr("16 hexadecimal digits"));
  EXPECT_THAT(error_of(R"({"fill": "pattern", "fill_pattern": "0x0123456789abcdeg"})"), HasSubstr("16 hexadecimal"));
}

TEST(Policy, MayNotContradictItself) {
  EXPECT_THAT(error_of(R"({"enable": false, "recycle_on_reboot": true})"), HasSubstr("'recycle_on_reboot' is true"));
  EXPECT_THAT(error_of(R"({"force_new_memory": true, "recycle_on_reboot": true})"), HasSubstr("'force_new_memory'"));
  EXPECT_THAT(error_of(R"({"force_new_memory": true, "retain_memory": true})"), HasSubstr("'retain_memory'"));
  EXPECT_THAT(error_of(R"({"fill": "pattern"})"), HasSubstr("give both or none"));
  EXPECT_THAT(error_of(R"({"fill": "ones", "fill_pattern": "0x0123456789abcdef"})"), HasSubstr("give both or none"));
  EXPECT_THAT(error_of(R"({"scrub_timing": "scheduled"})"), HasSubstr("give both or none"));
  EXPECT_THAT(error_of(R"({"scrub_delay_s": 5})"), HasSubstr("give both or none"));
  EXPECT_EQ(error_of(R"({"enable": false, "recycle_on_reboot": false})"), "none");
}

TEST(Policy, SchemaIsThePublishedOne) {
  std::ifstream file(SLUICE_SOURCE_DIR "/docs/policy.schema.json");
  std::ostringstream published;
  published << file.rdbuf();
  EXPECT_EQ(published.str(), Policy::schema());
}

TEST(Policy, SettingsGoIntoTheManagerAndChangeThere) {
  test::ManagerFixture fixture;
  PolicyBook book;
  ASSERT_TRUE(book.create_template(kProvider, "no reuse", policy(R"({"recycle_on_reboot": false, "fill": "ones"})")));
  ASSERT_TRUE(book.attach_template(kProvider, kDefault, "no reuse"));
  const VmId vm(1);
  EffectivePolicy now = book.effective({vm, {}, {}, CustomerId(4)});
  ASSERT_TRUE(fixture.manager_.create_vm({vm, CustomerId(4), {}, {}, now.recycle, now.scrub}));
  const auto reboots_unscrubbed = [&] {
    EXPECT_TRUE(fixture.manager_.begin_reboot(vm));
    std::optional<Result<Grant>> result;
    EXPECT_TRUE(fixture.manager_.finish_reboot(vm, fixture.length(64),
                                               [&](Result<Grant> grant) { result.emplace(std::move(grant)); }));
    fixture.settle();
    EXPECT_TRUE(result && *result);
    return (*result)->ranges.at(0).recycled;
  };
  fixture.take(vm, 64);
  EXPECT_FALSE(reboots_unscrubbed());
  EXPECT_EQ(test::first_not(fixture.pool_.all(), std::byte{0xFF}), std::nullopt);
  ASSERT_TRUE(book.attach(kProvider, kCustomer, policy(R"({"recycle_on_reboot": true})")));
  now = book.effective({vm, {}, {}, CustomerId(4)});
  ASSERT_TRUE(fixture.manager_.change_settings(vm, now.recycle));
  ASSERT_TRUE(fixture.manager_.change_scrub_settings(vm, now.scrub));
  EXPECT_TRUE(reboots_unscrubbed());
}

TEST(PolicyBook, TheNearestToTheVmDecidesFieldByField) {
  PolicyBook book = with_subject();
  const PolicyField field = PolicyField::RecycleOnReboot;
  EXPECT_EQ(why(book, field).from, "built in");
  bool on = false;
  for (const PolicyTarget target : {kDefault, kCustomer, kUser, kGroup, kVm}) {
    ASSERT_TRUE(book.attach(kProvider, target,
                            policy(on ? R"({"recycle_on_reboot": true})" : R"({"recycle_on_reboot": false})")));
    EXPECT_EQ(book.effective(kSubject).recycle.recycle_on_reboot, on);
    on = !on;
  }
  EXPECT_EQ(why(book, field).from, "VM 1");
  ASSERT_TRUE(book.detach(kProvider, kVm));
  EXPECT_EQ(why(book, field).from, "trust group 2");
  ASSERT_TRUE(book.detach(kProvider, kGroup));
  EXPECT_EQ(why(book, field).from, "user 3");
  ASSERT_TRUE(book.detach(kProvider, kUser));
  EXPECT_EQ(why(book, field).from, "customer 4");
  EXPECT_EQ(why(book, field, {VmId(9), {}, {}, CustomerId(9)}).from, "default") << "of another customer";
  ASSERT_TRUE(book.attach(kProvider, kVm, policy(R"({"recycle_within_vm": false})")));
  EXPECT_EQ(why(book, field).from, "customer 4") << "the VM's leaves it open";
  EXPECT_EQ(why(book, PolicyField::RecycleWithinVm).from, "VM 1");
}

TEST(PolicyBook, AProvidersLockAlwaysWins) {
  PolicyBook book = with_subject();
  const PolicyField field = PolicyField::RecycleWithinTrustGroup;
  ASSERT_TRUE(book.attach(kProvider, kVm, policy(R"({"recycle_within_trust_group": true})")));
  for (const PolicyTarget target : {kDefault, kCustomer, kUser, kGroup, kVm}) {
    ASSERT_TRUE(book.lock(kProvider, target, field));
    EXPECT_FALSE(book.effective(kSubject).recycle.recycle_within_trust_group);
    EXPECT_THAT(why(book, field).from, HasSubstr("locked by the provider for "));
    ASSERT_TRUE(book.unlock(kProvider, target, field));
    EXPECT_TRUE(book.effective(kSubject).recycle.recycle_within_trust_group);
  }
  ASSERT_TRUE(book.lock(kProvider, kCustomer, PolicyField::Enable));
  EXPECT_FALSE(book.effective(kSubject).recycle.enable);
  EXPECT_TRUE(book.effective({VmId(9), {}, {}, CustomerId(9)}).recycle.enable);
  const auto refused = book.lock(kProvider, kVm, PolicyField::ScrubTiming);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("'scrub_timing' cannot be denied"));
}

TEST(PolicyBook, FieldsThatBelongTogetherComeFromOneDocument) {
  PolicyBook book;
  ASSERT_TRUE(book.attach(kProvider, kCustomer, policy(R"({"scrub_timing": "scheduled", "scrub_delay_s": 60,
                                               "fill": "pattern", "fill_pattern": "0x0123456789abcdef"})")));
  ASSERT_TRUE(book.attach(kProvider, kVm, policy(R"({"scrub_timing": "both", "fill": "ones"})")));
  EXPECT_EQ(book.effective(kSubject).scrub, (ScrubSettings{ScrubTiming::Both, {}, FillMethod::Ones, 0}));
}

TEST(PolicyBook, TemplatesAreNamedCopiedAndApplied) {
  PolicyBook book;
  ASSERT_TRUE(book.create_template(kProvider, "web", policy(R"({"recycle_on_reboot": false})")));
  ASSERT_TRUE(book.copy_template(kProvider, "web", "web 2"));
  ASSERT_TRUE(book.attach_template(kProvider, kVm, "web"));
  ASSERT_TRUE(book.attach_template(kProvider, {PolicyScope::Instance, 5}, "web 2"));
  EXPECT_FALSE(book.effective(kSubject).recycle.recycle_on_reboot);
  EXPECT_EQ(why(book, PolicyField::RecycleOnReboot).from, "VM 1, template 'web'");
  ASSERT_TRUE(book.change_template(kProvider, "web", policy(R"({"recycle_on_reboot": true})")));
  EXPECT_TRUE(book.effective(kSubject).recycle.recycle_on_reboot) << "who has it follows";
  EXPECT_FALSE(book.effective({VmId(5), {}, {}, {}}).recycle.recycle_on_reboot) << "a copy does not";
  EXPECT_EQ(book.templates().size(), 2U);
}

TEST(PolicyBook, RefusesWhatMakesNoSense) {
  PolicyBook book;
  ASSERT_TRUE(book.create_template(kProvider, "web", {}));
  ASSERT_TRUE(book.attach_template(kProvider, kVm, "web"));
  EXPECT_EQ(book.create_template(kProvider, "", {}).error().code, HostErrc::InvalidArgument);
  EXPECT_EQ(book.create_template(kProvider, "web", {}).error().code, HostErrc::InvalidArgument);
  EXPECT_EQ(book.copy_template(kProvider, "web", "web").error().code, HostErrc::InvalidArgument);
  EXPECT_EQ(book.copy_template(kProvider, "mail", "x").error().code, HostErrc::UnknownId);
  EXPECT_EQ(book.change_template(kProvider, "mail", {}).error().code, HostErrc::UnknownId);
  EXPECT_EQ(book.attach_template(kProvider, kVm, "mail").error().code, HostErrc::UnknownId);
  EXPECT_EQ(book.remove_template(kProvider, "mail").error().code, HostErrc::UnknownId);
  EXPECT_THAT(book.remove_template(kProvider, "web").error().message, HasSubstr("attached to VM 1"));
  EXPECT_EQ(book.attach(kProvider, {PolicyScope::Customer, 0}, {}).error().code, HostErrc::InvalidArgument);
  EXPECT_EQ(book.attach(kProvider, {PolicyScope::Default, 1}, {}).error().code, HostErrc::InvalidArgument);
  ASSERT_TRUE(book.detach(kProvider, kVm));
  EXPECT_TRUE(book.remove_template(kProvider, "web"));
}

}  // namespace
}  // namespace sluice
