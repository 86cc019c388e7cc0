// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <random>

#include "sluice/policy/policy_book.hpp"

namespace sluice {
namespace {

using ::testing::HasSubstr;

constexpr Caller kProvider = Caller::provider();

Policy random_policy(std::mt19937_64& random) {
  constexpr const char* kTexts[] = {
      "{}", R"({"recycle_on_reboot": false, "scrub_timing": "scheduled", "scrub_delay_s": 0.1})",
      R"({"trust_group": 1})", R"({"dedicated_pool": null, "reservation_s": 1e-9, "lend_reserved_memory": true})",
      R"({"fill": "pattern", "fill_pattern": "0x0123456789abcdef", "dedicated_pool": 2})"};
  return Policy::from_json(kTexts[random() % std::size(kTexts)]).value();
}

Caller random_caller(std::mt19937_64& random) {
  const Caller callers[] = {kProvider, Caller::customer(CustomerId(random() % 3)), Caller::user(UserId(random() % 5))};
  return callers[random() % std::size(callers)];
}

/// A call, whether it is refused or not.
void call(PolicyBook& book, std::mt19937_64& random) {
  const Caller caller = random_caller(random);
  const std::uint64_t id = random() % 5;
  const CustomerId customer(random() % 3);
  const PolicyTarget target{static_cast<PolicyScope>(random() % 5), random() % 5};
  const std::string name = fmt::format("\"n\\\xC3\xA4me\" {}", random() % 4);
  const auto field = static_cast<PolicyField>(random() % kPolicyFields);
  const PolicySubject subject{VmId(id), TrustGroupId(random() % 3), UserId(random() % 3), customer,
                              DedicatedPoolId(random() % 3)};
  switch (random() % 14) {
    case 0:
      return static_cast<void>(book.add_user(caller, UserId(id), customer));
    case 1:
      return static_cast<void>(book.add_group(kProvider, TrustGroupId(id), customer));
    case 2:
      return static_cast<void>(book.add_pool(kProvider, DedicatedPoolId(id), customer));
    case 3:
      return static_cast<void>(book.register_vm(kProvider, subject));
    case 4:
      return static_cast<void>(book.create_template(caller, name, random_policy(random)));
    case 5:
      return static_cast<void>(book.change_template(caller, name, random_policy(random)));
    case 6:
      return static_cast<void>(book.attach(caller, target, random_policy(random)));
    case 7:
      return static_cast<void>(book.attach_template(caller, target, name));
    case 8:
      return static_cast<void>(book.lock(kProvider, target, field));
    case 9:
      return static_cast<void>(book.say(Caller::instance(VmId(id)), VmId(id), field, random() % 2 == 0));
    case 10:
      return static_cast<void>(book.detach(caller, target));
    case 11:
      return static_cast<void>(book.change_vm(kProvider, subject));
    case 12:
      return static_cast<void>(random() % 4 == 0 ? book.forget_vm(kProvider, VmId(id)) : Result<void>());
    default:
      return static_cast<void>(book.remove_user(caller, UserId(id)));
  }
}

TEST(PolicyBookStore, LoadsWhateverItSaved) {
  std::size_t vms = 0;
  std::size_t attachments = 0;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    std::mt19937_64 random(seed);
    PolicyBook book;
    for (const std::uint64_t id : {1U, 2U}) {
      EXPECT_TRUE(book.add_user(kProvider, UserId(id), CustomerId(id)));
      EXPECT_TRUE(book.add_group(kProvider, TrustGroupId(id), CustomerId(id)));
      EXPECT_TRUE(book.add_pool(kProvider, DedicatedPoolId(id), CustomerId(id)));
      EXPECT_TRUE(book.register_vm(kProvider, {VmId(id), {}, UserId(id), CustomerId(id), {}}));
    }
    for (int step = 0; step < 200; ++step) call(book, random);
    const auto loaded = PolicyBook::load(book.save());
    ASSERT_TRUE(loaded) << "seed " << seed << ": " << loaded.error().message << "\n" << book.save();
    EXPECT_EQ(*loaded, book) << "seed " << seed;
    EXPECT_EQ(loaded->save(), book.save()) << "seed " << seed;
    vms += book.vms().size();
    attachments += book.attachments().size();
  }
  EXPECT_GT(vms, 100U);
  EXPECT_GT(attachments, 200U);
}

/// A book with one section filled.
std::string book_with(const std::string& section, const std::string& entries) {
  std::string text = R"({"version": 1)";
  for (const char* name : {"users", "groups", "pools", "vms", "templates", "attachments", "locks", "says"}) {
    text += fmt::format(R"(, "{}": [{}])", name, section == name ? entries : "");
  }
  return text + "}";
}

TEST(PolicyBookStore, RefusesWhatNoBookCouldHold) {
  EXPECT_TRUE(PolicyBook::load(book_with("", "")));
  const auto error = [](const std::string& section, const std::string& entries) {
    const auto loaded = PolicyBook::load(book_with(section, entries));
    return loaded ? Error{{}, "none"} : loaded.error();
  };
  EXPECT_THAT(error("users", R"({"id": 1, "customer": 1}, {"id": 2})").message,
              HasSubstr("at users[1]: 'customer' is missing"));
  EXPECT_THAT(error("users", R"({"id": 1, "customer": 1, "x": 1})").message, HasSubstr("at users[0]: "));
  EXPECT_THAT(error("users", "7").message, HasSubstr("at users[0]: an entry is no object"));
  EXPECT_THAT(error("users", R"({"id": -1, "customer": 1})").message, HasSubstr("'id' is not what it can be"));
  EXPECT_THAT(error("users", R"({"id": 0, "customer": 1})").message, HasSubstr("give ids from 1"));
  EXPECT_THAT(error("groups", R"({"id": 1, "customer": 1}, {"id": 1, "customer": 2})").message,
              HasSubstr("at groups[1]: the entry stands twice"));
  EXPECT_EQ(error("vms", R"({"id": 1, "customer": 1, "user": 9, "group": 0, "pool": 0})").code, HostErrc::UnknownId);
  EXPECT_THAT(error("attachments", R"({"scope": "moon", "id": 1, "policy": {}})").message,
              HasSubstr("'scope' is not what it can be: give one of instance, "));
  EXPECT_EQ(error("attachments", R"({"scope": "user", "id": 1, "policy": {}})").code, HostErrc::UnknownId);
  EXPECT_EQ(error("attachments", R"({"scope": "customer", "id": 1, "template": "a"})").code, HostErrc::UnknownId);
  EXPECT_THAT(error("attachments", R"({"scope": "customer", "id": 1, "policy": {"fill": 1}})").message,
              HasSubstr("at attachments[0]: policy field 'fill' is 1"));
  EXPECT_EQ(error("templates", R"({"name": "a", "role": "user", "owner": 9, "policy": {}})").code,
            HostErrc::NotPermitted);
  EXPECT_THAT(error("locks", R"({"scope": "default", "id": 0, "field": "fill"})").message,
              HasSubstr("'fill' cannot be denied"));
  EXPECT_EQ(error("says", R"({"id": 1, "field": "enable", "value": true})").code, HostErrc::UnknownId);
  for (const char* text : {"", "[]", "{}", R"({"version": 2})", R"({"version": 1})"}) {
    EXPECT_THAT(PolicyBook::load(text).error().message, HasSubstr("policy book is wrong at ")) << text;
  }
}

}  // namespace
}  // namespace sluice
