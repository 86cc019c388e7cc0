// SPDX-License-Identifier: Apache-2.0
// Who sees and touches what in the web service.
#include <gmock/gmock.h>

#include "support/api_test.hpp"

namespace sluice::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST_F(ApiTest, AUserSeesAndTouchesOnlyItsOwnVms) {
  const Caller user = Caller::user(UserId(3));
  EXPECT_THAT(refused(403, "not-permitted", ask("GET", "/v1/vms", "", user)), HasSubstr("user 3 is no user"));
  good(201, ask("POST", "/v1/users", R"({"id": 3, "customer": 7})"));
  good(201, ask("POST", "/v1/users", R"({"id": 4, "customer": 7})"));
  good(201, ask("PUT", registration(1), R"({"customer": 7, "user": 3})"));
  good(201, ask("PUT", registration(2), R"({"customer": 7, "user": 4})"));
  for (const std::uint8_t each : std::initializer_list<std::uint8_t>{1, 2, 5})
    ASSERT_FALSE(host_.come(ApiHost::uuid_of(each), 1, CustomerId(7)));
  const std::initializer_list<std::uint8_t> kOthers = {2, 5};
  const auto vms = ask("GET", "/v1/vms", "", user);
  EXPECT_THAT(vms.body, HasSubstr(to_string(ApiHost::uuid_of(1))));
  for (const std::uint8_t each : kOthers) EXPECT_THAT(vms.body, Not(HasSubstr(to_string(ApiHost::uuid_of(each)))));
  good(200, ask("GET", vm(1), "", user));
  for (const std::uint8_t each : kOthers) refused(404, "unknown-id", ask("GET", vm(each), "", user));
  good(200, ask("PUT", "/v1/attachments/instance/" + to_string(ApiHost::uuid_of(1)), R"({"policy": {"fill": "ones"}})",
                user));
  good(200, ask("PUT", "/v1/attachments/user/3", R"({"policy": {"enable": false}})", user));
  refused(404, "unknown-id",
          ask("PUT", "/v1/attachments/instance/" + to_string(ApiHost::uuid_of(2)), R"({"policy": {}})", user));
  EXPECT_EQ(ask("GET", "/v1/users", "", user).body, "{\"users\":[{\"id\":3,\"customer\":7}]}\n");
  const auto memory = ask("GET", "/v1/memory", "", user);
  EXPECT_THAT(memory.body,
              AllOf(HasSubstr(to_string(ApiHost::uuid_of(1))), Not(HasSubstr(to_string(ApiHost::uuid_of(2))))));
  refused(403, "not-permitted", ask("PUT", "/v1/attachments/customer/7", R"({"policy": {}})", user));
  refused(403, "not-permitted", ask("POST", "/v1/trust-groups", R"({"id": 70, "customer": 7})", user));
  refused(403, "not-permitted", ask("GET", "/v1/host", "", user));
}

TEST_F(ApiTest, ACustomerSeesAndTouchesOnlyItsOwn) {
  two_customers();
  good(201, ask("POST", "/v1/users", R"({"id": 3, "customer": 8})"));
  good(202, ask("POST", "/v1/pools", R"({"id": 5, "customer": 8, "length": "16KiB"})"));
  host_.settle();
  good(201, ask("POST", "/v1/templates", R"({"name": "eight's", "policy": {}})", kEight));
  good(200, ask("PUT", "/v1/attachments/trust-group/80", R"({"policy": {}})", kEight));
  good(200, ask("PUT", "/v1/locks/customer/8/enable"));
  good(201, ask("PUT", registration(5), R"({"customer": 8})"));
  const std::string foreign = to_string(ApiHost::uuid_of(2));
  for (const char* const list : {"/v1/vms", "/v1/trust-groups", "/v1/pools", "/v1/templates", "/v1/attachments",
                                 "/v1/locks", "/v1/users", "/v1/registrations"}) {
    const auto own = ask("GET", list, "", kSeven);
    good(200, own);
    EXPECT_THAT(own.body, AllOf(Not(HasSubstr(foreign)), Not(HasSubstr(R"("customer":8)")), Not(HasSubstr("eight")),
                                Not(HasSubstr(R"("id":8)"))))
        << list;
  }
  EXPECT_THAT(ask("GET", "/v1/vms", "", kSeven).body, HasSubstr(to_string(ApiHost::uuid_of(1))));
  for (const std::string& path : {std::string("/v1/vms"), vm(1)}) {
    EXPECT_THAT(ask("GET", path).body, HasSubstr("\"process\""));
    EXPECT_THAT(ask("GET", path, "", kSeven).body, Not(HasSubstr("\"process\""))) << "processes are the provider's";
  }
  EXPECT_THAT(ask("GET", vm(1)).body, AllOf(HasSubstr("\"holders\""), HasSubstr("\"obstacle\"")));
  EXPECT_THAT(ask("GET", vm(1), "", kSeven).body, AllOf(Not(HasSubstr("\"holders\"")), Not(HasSubstr("obstacle"))));
  // As what is not there.
  const std::string_view policy = R"({"policy": {}})";
  refused(404, "unknown-id", ask("GET", vm(2), "", kSeven));
  refused(404, "unknown-id", ask("POST", vm(2, ":reboot"), "", kSeven));
  refused(404, "unknown-id", ask("POST", vm(2, ":give-up"), "", kSeven));
  refused(404, "unknown-id", ask("PUT", vm(2, "/say/enable"), R"({"value": null})", kSeven));
  refused(404, "unknown-id", ask("PUT", "/v1/attachments/instance/" + foreign, policy, kSeven));
  refused(404, "unknown-id", ask("PATCH", "/v1/trust-groups/80", R"({"enabled": false})", kSeven));
  refused(404, "unknown-id", ask("GET", "/v1/pools/5", "", kSeven));
  refused(404, "unknown-id", ask("PUT", "/v1/templates/eight's", policy, kSeven));
  refused(404, "unknown-id", ask("DELETE", "/v1/users/3", "", kSeven));
  refused(404, "unknown-id", ask("GET", registration(5), "", kSeven));
  refused(404, "unknown-id", ask("PUT", registration(5), R"({"customer": 7})", kSeven));
  refused(403, "not-permitted", ask("PUT", "/v1/attachments/customer/8", policy, kSeven));
  refused(403, "not-permitted", ask("PUT", "/v1/attachments/trust-group/80", policy, kSeven));
  refused(403, "not-permitted", ask("DELETE", "/v1/attachments/trust-group/80", "", kSeven));
  // What is the provider's alone.
  refused(403, "not-permitted", ask("GET", "/v1/host", "", kSeven));
  refused(403, "not-permitted", ask("GET", "/metrics", "", kSeven));
  refused(403, "not-permitted", ask("PUT", "/v1/attachments/default/0", policy, kSeven));
  refused(403, "not-permitted", ask("PUT", "/v1/locks/customer/7/enable", "", kSeven));
  refused(403, "not-permitted", ask("DELETE", "/v1/locks/customer/7/enable", "", kSeven));
  refused(403, "not-permitted", ask("POST", "/v1/trust-groups", R"({"id": 73, "customer": 7})", kSeven));
  refused(403, "not-permitted", ask("DELETE", "/v1/trust-groups/70", "", kSeven));
  refused(403, "not-permitted", ask("POST", "/v1/pools", R"({"id": 6, "customer": 7, "length": 16384})", kSeven));
  refused(403, "not-permitted", ask("POST", "/v1/users", R"({"id": 4, "customer": 8})", kSeven));
  refused(403, "not-permitted", ask("PUT", vm(1, "/trust-group"), R"({"id": 70})", kSeven));
  // And what is its own.
  good(200, ask("PATCH", "/v1/trust-groups/70", R"({"enabled": false})", kSeven));
  good(200, ask("PUT", "/v1/attachments/customer/7", policy, kSeven));
  good(201, ask("POST", "/v1/users", R"({"id": 4, "customer": 7})", kSeven));
  good(204, ask("DELETE", "/v1/users/4", "", kSeven));
  good(202, ask("POST", vm(1, ":reboot"), "", kSeven));
}

}  // namespace
}  // namespace sluice::test
