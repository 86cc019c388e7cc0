// SPDX-License-Identifier: Apache-2.0
// What the web service answers, and to whom, without sockets.
#include "sluice/daemon/api.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <csignal>
#include <regex>

#include "sluice/base/input.hpp"
#include "support/api_test.hpp"
#include "support/full_disk.hpp"

namespace sluice::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST_F(ApiTest, EveryPathIsThereAndSaysWhichMethodsItHas) {
  for (const ApiRoute& route : Api::routes()) {
    std::string path(route.path);
    for (const auto& [name, value] : {std::pair<std::string, std::string>{"{uuid}", to_string(ApiHost::uuid_of(9))},
                                      {"{id}", "9"},
                                      {"{name}", "web"},
                                      {"{scope}", "customer"},
                                      {"{step}", "second"},
                                      {"{from}", "1"},
                                      {"{field}", "enable"}}) {
      if (const std::size_t at = path.find(name); at != std::string::npos) path.replace(at, name.size(), value);
    }
    EXPECT_NE(ask(route.method, path).status, 405U) << route.method << " " << path;
    EXPECT_THAT(ask(route.method, path).body, Not(HasSubstr("no-such-path"))) << route.method << " " << path;
    const auto other = ask("TRACE", path);
    EXPECT_EQ(other.status, 405U) << path;
    EXPECT_THAT(other.allow, HasSubstr(std::string(route.method)));
    EXPECT_EQ(ask(route.method, path + "/more/of/it/all").status, 404U);
  }
}

TEST_F(ApiTest, TheDocumentHasTheSamePaths) {
  const auto document = read_whole_file(SLUICE_SOURCE_DIR "/docs/API.md", kMiB);
  ASSERT_TRUE(document) << document.error().message;
  std::vector<std::string> documented;
  const std::regex row("(?:^|\n)\\| `([A-Z]+ /[^`]*)`");
  for (auto at = std::sregex_iterator(document->begin(), document->end(), row); at != std::sregex_iterator(); ++at) {
    documented.push_back(at->str(1));
  }
  std::vector<std::string> served;
  for (const ApiRoute& route : Api::routes()) served.push_back(fmt::format("{} {}", route.method, route.path));
  EXPECT_EQ(documented, served);
}

/// The table of problems, too.
TEST_F(ApiTest, TheDocumentHasTheProblemOfEveryError) {
  const auto document = read_whole_file(SLUICE_SOURCE_DIR "/docs/API.md", kMiB);
  ASSERT_TRUE(document) << document.error().message;
  for (int code = 1; code <= static_cast<int>(HostErrc::NotPermitted); ++code) {
    const auto answer = problem_of({static_cast<HostErrc>(code), "it is so"});
    const std::string type(json_of(answer).at("type").as_string());
    EXPECT_NE(type, "/problems/internal") << code;
    const std::regex row(fmt::format("\n\\|[^|]*`{}`[^|]*\\| {} \\|", type, answer.status));
    EXPECT_TRUE(std::regex_search(*document, row)) << type << " " << answer.status;
  }
}

TEST_F(ApiTest, WhatCouldNotBeStoredHoldsAndIsStoredWithTheNext) {
  two_customers();
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  {
    const FullDisk full(4 << 10);
    EXPECT_THAT(refused(507, "not-stored", ask("PUT", "/v1/attachments/customer/7", R"({"policy": {"fill": "ones"}})")),
                AllOf(HasSubstr("holds"), HasSubstr("state.db")));
  }
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(json_of(ask("GET", vm(1))).at("policy").at("fill").at("value").as_string(), "ones");
  EXPECT_THAT(*host_.state_->policies(), Not(HasSubstr("\"ones\"")));
  good(201, ask("POST", "/v1/users", R"({"id": 3, "customer": 7})"));
  EXPECT_THAT(*host_.state_->policies(), HasSubstr("\"ones\""));
}

TEST_F(ApiTest, WhatIsNoPathIsRefused) {
  EXPECT_THAT(refused(404, "no-such-path", ask("GET", "/v2/vms")), HasSubstr("'/v2/vms'"));
  refused(404, "no-such-path", ask("GET", "/page"));
  refused(404, "no-such-path", ask("GET", "/v1/vms/"));
  refused(404, "no-such-path", ask("GET", "/v1//vms"));
  refused(404, "no-such-path", ask("POST", vm(1, ":explode")));
  refused(400, "invalid-argument", ask("GET", ""));
  refused(400, "invalid-argument", ask("GET", "v1/vms"));
  refused(400, "invalid-argument", ask("GET", "/v1/vms?all=1"));
  refused(400, "invalid-argument", ask("GET", "/" + std::string(5000, 'x')));
  refused(400, "invalid-argument", ask("GET", "/v1/templates/%4"));
  refused(400, "invalid-argument", ask("GET", "/v1/templates/%00"));
  refused(400, "invalid-argument", ask("GET", "/v1/templates/%zz"));
  refused(404, "unknown-id", ask("GET", "/v1/templates/%FF%1b"));
}

TEST_F(ApiTest, BodiesAreReadStrictly) {
  const auto post = [&](std::string_view body) { return ask("POST", "/v1/trust-groups", body); };
  EXPECT_THAT(refused(400, "invalid-argument", post("")), HasSubstr("empty"));
  EXPECT_THAT(refused(400, "invalid-argument", post("[]")), HasSubstr("no JSON object"));
  EXPECT_THAT(refused(400, "invalid-argument", post("{")), HasSubstr("no JSON"));
  EXPECT_THAT(refused(400, "invalid-argument", post(R"({"id": 3})")), HasSubstr("'customer' is missing"));
  EXPECT_THAT(refused(400, "invalid-argument", post(R"({"id": 3, "customer": 7, "color": 1})")),
              AllOf(HasSubstr("'color'"), HasSubstr("customer, id, inside")));
  EXPECT_THAT(refused(400, "invalid-argument", post(R"({"id": 3, "id": 4, "customer": 7})")), HasSubstr("twice"));
  EXPECT_THAT(refused(400, "invalid-argument", post(R"({"id": -3, "customer": 7})")), HasSubstr("-3"));
  EXPECT_THAT(refused(400, "invalid-argument", post(R"({"id": "3", "customer": 7})")), HasSubstr("whole number"));
  refused(413, "body-too-long", post(std::string(kLongestApiBody + 1, ' ')));
  refused(400, "invalid-argument", ask("DELETE", "/v1/users/3", R"({"really": true})"));
  EXPECT_THAT(ask("GET", "/v1/trust-groups").body, HasSubstr(R"("trust_groups":[])"));
}

TEST_F(ApiTest, AVmIsShownWithItsLeaseAndWhyItsPolicyIsSo) {
  two_customers();
  good(200, ask("PUT", "/v1/attachments/customer/7", R"({"policy": {"recycle_on_reboot": false}})"));
  const auto shown = json_of(ask("GET", vm(1)));
  EXPECT_EQ(shown.at("state").as_string(), "running");
  EXPECT_EQ(shown.at("bytes").to_number<std::uint64_t>(), 2 * ApiHost::kBrick);
  EXPECT_EQ(shown.at("bricks").as_array().size(), 2U);
  EXPECT_EQ(shown.at("customer").to_number<int>(), 7);
  const auto& field = shown.at("policy").at("recycle_on_reboot");
  EXPECT_EQ(field.at("value").as_string(), "false");
  EXPECT_EQ(field.at("from").as_string(), "customer 7");
  EXPECT_EQ(json_of(ask("GET", "/v1/vms")).at("vms").as_array().size(), 2U);
  EXPECT_THAT(refused(404, "unknown-id", ask("GET", vm(9))), HasSubstr(to_string(ApiHost::uuid_of(9))));
  EXPECT_THAT(refused(400, "invalid-argument", ask("GET", "/v1/vms/web")), HasSubstr("'web' is no UUID"));
}

TEST_F(ApiTest, AVmWhoseRebootIsAnnouncedIsReservedAndCanBeGivenUp) {
  two_customers();
  refused(409, "wrong-state", ask("POST", vm(1, ":give-up")));
  good(202, ask("POST", vm(1, ":reboot")));
  host_.end(ApiHost::uuid_of(1));
  EXPECT_EQ(json_of(ask("GET", vm(1))).at("state").as_string(), "reserved");
  refused(409, "wrong-state", ask("POST", vm(1, ":reboot")));
  good(204, ask("POST", vm(1, ":give-up")));
  refused(404, "unknown-id", ask("GET", vm(1)));
}

TEST_F(ApiTest, TrustGroupsAreCreatedSwitchedAndDeleted) {
  two_customers();
  good(201, ask("POST", "/v1/trust-groups", R"({"id": 71, "customer": 7, "inside": 70})"));
  refused(409, "id-used-before", ask("POST", "/v1/trust-groups", R"({"id": 70, "customer": 7})"));
  refused(403, "foreign-customer", ask("POST", "/v1/trust-groups", R"({"id": 72, "customer": 7, "inside": 80})"));
  EXPECT_FALSE(json_of(ask("PATCH", "/v1/trust-groups/71", R"({"enabled": false})")).at("enabled").as_bool());
  EXPECT_FALSE(json_of(ask("GET", "/v1/trust-groups/71")).at("enabled").as_bool());
  refused(409, "wrong-state", ask("DELETE", "/v1/trust-groups/70"));
  good(200, ask("PUT", vm(1, "/trust-group"), R"({"id": 71})"));
  EXPECT_EQ(json_of(ask("GET", vm(1))).at("trust_group").to_number<int>(), 71);
  refused(409, "wrong-state", ask("DELETE", "/v1/trust-groups/71"));
  refused(403, "foreign-customer", ask("PUT", vm(1, "/trust-group"), R"({"id": 80})"));
  good(200, ask("PUT", vm(1, "/trust-group"), R"({"id": null})"));
  good(204, ask("DELETE", "/v1/trust-groups/71"));
  refused(404, "unknown-id", ask("GET", "/v1/trust-groups/71"));
  refused(400, "invalid-argument", ask("GET", "/v1/trust-groups/0"));
}

TEST_F(ApiTest, APoolIsReadyWhenItIsFilled) {
  two_customers();
  ASSERT_FALSE(host_.come(ApiHost::uuid_of(3), 5));
  host_.host_->process_ended(host_.host_->status(ApiHost::uuid_of(3)).lease.vm);
  host_.host_->leases().poll(host_.now_);  // all that is free is dirty
  const auto begun = ask("POST", "/v1/pools", R"({"id": 5, "customer": 7, "length": "48KiB", "shares": true})");
  good(202, begun);
  EXPECT_FALSE(json_of(begun).at("ready").as_bool());
  EXPECT_FALSE(json_of(ask("GET", "/v1/pools/5")).at("ready").as_bool());
  EXPECT_EQ(json_of(ask("GET", "/v1/pools")).at("pools").as_array().size(), 1U);
  host_.settle();
  EXPECT_TRUE(json_of(ask("GET", "/v1/pools/5")).at("ready").as_bool());
  EXPECT_THAT(*host_.state_->policies(), HasSubstr(R"("length":49152)"));
  good(202, ask("POST", "/v1/pools/5:grow", R"({"length": 16384})"));
  host_.settle();
  EXPECT_EQ(json_of(ask("GET", "/v1/pools/5")).at("bytes").to_number<std::uint64_t>(), 4 * ApiHost::kBrick);
  good(200, ask("POST", "/v1/pools/5:shrink", R"({"length": "16KiB"})"));
  good(201, ask("POST", "/v1/pools/5:partition", R"({"part": 6, "length": "16KiB"})"));
  good(200, ask("PUT", vm(1, "/pool"), R"({"id": 6})"));
  refused(409, "wrong-state", ask("DELETE", "/v1/pools/6"));
  good(200, ask("POST", "/v1/pools/5:merge", R"({"other": 6})"));
  EXPECT_EQ(json_of(ask("GET", vm(1))).at("pool").to_number<int>(), 5);
  good(200, ask("POST", "/v1/pools/5:change-rule",
                R"({"rule": {"least_free": 0, "most_free": "64KiB", "step": "16KiB", "smallest": 0,
                    "largest": "128KiB"}})"));
  EXPECT_EQ(json_of(ask("GET", "/v1/pools/5")).at("rule").at("step").to_number<int>(), 16384);
  good(200, ask("POST", "/v1/pools/5:change-rule", R"({"rule": null})"));
  good(200, ask("PUT", vm(1, "/pool"), R"({"id": null})"));
  good(204, ask("DELETE", "/v1/pools/5"));
  refused(404, "unknown-id", ask("GET", "/v1/pools/5"));
}

TEST_F(ApiTest, APoolThatCannotBeIsRefusedWithWhatIsWrong) {
  refused(507, "out-of-memory", ask("POST", "/v1/pools", R"({"id": 5, "customer": 7, "length": "1GiB"})"));
  refused(400, "invalid-argument", ask("POST", "/v1/pools", R"({"id": 5, "customer": 7, "length": 5})"));
  EXPECT_THAT(
      refused(400, "invalid-argument", ask("POST", "/v1/pools", R"({"id": 5, "customer": 7, "length": "1 G"})")),
      HasSubstr("1 G"));
  EXPECT_THAT(ask("GET", "/v1/pools").body, HasSubstr(R"("pools":[])"));
  refused(404, "unknown-id", ask("POST", "/v1/pools/5:grow", R"({"length": 16384})"));
  refused(404, "unknown-id", ask("DELETE", "/v1/pools/5"));
}

TEST_F(ApiTest, TemplatesAreCopiedAndFollowed) {
  two_customers();
  good(201, ask("POST", "/v1/templates", R"({"name": "a/b c", "policy": {"enable": false}})"));
  good(200, ask("PUT", "/v1/attachments/customer/7", R"({"template": "a/b c"})"));
  const auto value = [&] {
    return std::string(json_of(ask("GET", vm(1))).at("policy").at("enable").at("value").as_string());
  };
  EXPECT_EQ(value(), "false");
  const auto changed = ask("PUT", "/v1/templates/a%2Fb%20c", R"({"policy": {"enable": true}})");
  EXPECT_THAT(changed.body, HasSubstr(to_string(ApiHost::uuid_of(1))));
  EXPECT_EQ(value(), "true");
  good(201, ask("POST", "/v1/templates/a%2Fb%20c:copy", R"({"name": "copy"})"));
  refused(409, "wrong-state", ask("DELETE", "/v1/templates/a%2Fb%20c"));
  good(204, ask("DELETE", "/v1/templates/copy"));
  refused(404, "unknown-id", ask("GET", "/v1/templates/copy"));
  refused(404, "unknown-id", ask("PUT", "/v1/templates/copy", R"({"policy": {}})"));
  EXPECT_THAT(
      refused(400, "invalid-argument", ask("POST", "/v1/templates", R"({"name": "x", "policy": {"enabel": true}})")),
      HasSubstr("enabel"));
}

TEST_F(ApiTest, PoliciesAreAttachedLockedAndSaid) {
  two_customers();
  const std::string target = fmt::format("/v1/attachments/instance/{}", to_string(ApiHost::uuid_of(1)));
  const std::string lock = fmt::format("/v1/locks/instance/{}/enable", to_string(ApiHost::uuid_of(1)));
  good(200, ask("PUT", target, R"({"policy": {"fill": "ones"}})"));
  EXPECT_THAT(ask("GET", "/v1/attachments").body, HasSubstr(to_string(ApiHost::uuid_of(1))));
  good(200, ask("PUT", lock));
  EXPECT_TRUE(json_of(ask("GET", vm(1))).at("policy").at("enable").at("locked").as_bool());
  EXPECT_THAT(ask("GET", "/v1/locks").body, HasSubstr(R"("field":"enable")"));
  good(200, ask("DELETE", lock));
  good(200, ask("PUT", vm(1, "/say/enable"), R"({"value": false})"));
  EXPECT_EQ(json_of(ask("GET", vm(1))).at("policy").at("enable").at("from").as_string(), "VM 1 itself");
  good(200, ask("PUT", vm(1, "/say/enable"), R"({"value": null})"));
  good(200, ask("DELETE", target));
  refused(400, "invalid-argument", ask("PUT", vm(1, "/say/fill"), R"({"value": true})"));
  refused(400, "invalid-argument", ask("PUT", vm(1, "/say/color"), R"({"value": true})"));
  refused(400, "invalid-argument", ask("PUT", "/v1/attachments/planet/3", R"({"policy": {}})"));
  refused(400, "invalid-argument", ask("PUT", "/v1/attachments/default/3", R"({"policy": {}})"));
  refused(400, "invalid-argument", ask("PUT", "/v1/attachments/customer/0", R"({"policy": {}})"));
  refused(400, "invalid-argument", ask("PUT", "/v1/attachments/customer/7", R"({"policy": {}, "template": "x"})"));
  refused(404, "unknown-id", ask("PUT", "/v1/attachments/customer/7", R"({"template": "x"})"));
  refused(404, "unknown-id", ask("PUT", "/v1/attachments/user/3", R"({"policy": {}})"));
  good(200, ask("PUT", "/v1/attachments/default/0", R"({"policy": {"fill": "erase"}})"));
}

TEST_F(ApiTest, NobodyElseMayCall) {
  for (const Caller& caller : {Caller::user(UserId(3)), Caller::instance(VmId(1)), Caller::customer(CustomerId())}) {
    refused(403, "not-permitted", ask("GET", "/v1/vms", "", caller));
  }
}

TEST_F(ApiTest, AVmIsBornAsItIsRegistered) {
  two_customers();
  good(201, ask("POST", "/v1/users", R"({"id": 3, "customer": 7})"));
  good(201, ask("PUT", registration(4),
                R"({"customer": 7, "trust_group": 70, "user": 3, "policy": {"recycle_on_reboot": false}})"));
  ASSERT_FALSE(host_.come(ApiHost::uuid_of(4)));
  const auto shown = json_of(ask("GET", vm(4)));
  EXPECT_EQ(shown.at("customer").to_number<int>(), 7);
  EXPECT_EQ(shown.at("trust_group").to_number<int>(), 70);
  EXPECT_EQ(shown.at("user").to_number<int>(), 3);
  EXPECT_EQ(shown.at("policy").at("recycle_on_reboot").at("value").as_string(), "false");
  EXPECT_THAT(*host_.state_->policies(), HasSubstr(R"("scope":"instance")")) << "and after a crash";
}

TEST_F(ApiTest, ARequestThatContradictsItsRegistrationIsRefused) {
  two_customers();
  good(201, ask("PUT", registration(4), R"({"customer": 7, "trust_group": 70})"));
  const auto foreign = host_.come(ApiHost::uuid_of(4), 1, CustomerId(8));
  ASSERT_TRUE(foreign);
  EXPECT_EQ(foreign->code, HostErrc::ForeignCustomer);
  EXPECT_THAT(foreign->message, AllOf(HasSubstr("customer 7"), HasSubstr("names 8")));
  AcquireRequest request;
  request.vm = ApiHost::uuid_of(4);
  request.size = ByteCount(ApiHost::kBrick);
  request.group = TrustGroupId(71);
  EXPECT_EQ(host_.come(request)->code, HostErrc::InvalidArgument);
  refused(404, "unknown-id", ask("GET", vm(4)));
  ASSERT_FALSE(host_.come(ApiHost::uuid_of(4), 1, CustomerId(7)));
}

TEST_F(ApiTest, WhatComesBackAfterARebootIsStillItsCustomersWithoutNamingIt) {
  good(201, ask("PUT", registration(4), R"({"customer": 7})"));
  ASSERT_FALSE(host_.come(ApiHost::uuid_of(4)));
  good(202, ask("POST", vm(4, ":reboot")));
  host_.end(ApiHost::uuid_of(4));
  good(204, ask("DELETE", registration(4)));
  ASSERT_FALSE(host_.come(ApiHost::uuid_of(4)));
  EXPECT_EQ(json_of(ask("GET", vm(4))).at("customer").to_number<int>(), 7);
}

TEST_F(ApiTest, ARegistrationThatCannotHoldIsRefused) {
  two_customers();
  refused(403, "foreign-customer", ask("PUT", registration(4), R"({"customer": 7, "trust_group": 80})"));
  refused(404, "unknown-id", ask("PUT", registration(4), R"({"customer": 7, "trust_group": 99})"));
  refused(404, "unknown-id", ask("PUT", registration(4), R"({"customer": 7, "user": 9})"));
  refused(404, "unknown-id", ask("PUT", registration(4), R"({"customer": 7, "template": "x"})"));
  refused(400, "invalid-argument", ask("PUT", registration(4), R"({"customer": 0})"));
  refused(400, "invalid-argument",
          ask("PUT", "/v1/registrations/00000000-0000-0000-0000-000000000000", R"({"customer": 7})"));
  refused(404, "unknown-id", ask("GET", registration(4)));
  refused(404, "unknown-id", ask("DELETE", registration(4)));
  good(201, ask("PUT", registration(4), R"({"customer": 7, "trust_group": 70})"));
  EXPECT_THAT(refused(409, "wrong-state", ask("DELETE", "/v1/trust-groups/70")), HasSubstr("registration"));
}

TEST_F(ApiTest, ACustomerChangesWhatIsRegisteredForItAndNotWhoseItIs) {
  two_customers();
  refused(404, "unknown-id", ask("PUT", registration(4), R"({"customer": 7})", kSeven));
  good(201, ask("PUT", registration(4), R"({"customer": 7})"));
  good(200, ask("PUT", registration(4), R"({"customer": 7, "policy": {"enable": false}})", kSeven));
  refused(403, "not-permitted", ask("PUT", registration(4), R"({"customer": 8})", kSeven));
  refused(403, "not-permitted", ask("DELETE", registration(4), "", kSeven));
  EXPECT_THAT(ask("GET", registration(4)).body, HasSubstr(R"("enable":false)"));
}

TEST_F(ApiTest, TheHostIsCountedForPeopleAndForPrometheus) {
  two_customers();
  const auto shown = json_of(ask("GET", "/v1/host"));
  EXPECT_EQ(shown.at("bytes").to_number<std::uint64_t>(), 8 * ApiHost::kBrick);
  EXPECT_EQ(shown.at("bricks").at(0).at("count").to_number<int>(), 8);
  EXPECT_EQ(shown.at("engine").as_string(), "manual");
  const auto metrics = ask("GET", "/metrics");
  EXPECT_THAT(metrics.type, HasSubstr("text/plain; version=0.0.4"));
  EXPECT_THAT(
      metrics.body,
      AllOf(HasSubstr("# TYPE sluice_memory_bytes gauge\n"), HasSubstr("sluice_memory_bytes{state=\"owned\"} 49152\n"),
            HasSubstr("sluice_leases{state=\"running\"} 2\n"), HasSubstr("sluice_scrubbed_bytes_total 131072\n")));
}

}  // namespace
}  // namespace sluice::test
