// SPDX-License-Identifier: Apache-2.0
// Callers who work side by side, and requests that are repeated.
#include <gmock/gmock.h>

#include "support/api_test.hpp"

namespace sluice::test {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::Not;

const std::string kTemplate = "/v1/templates/web";
const std::string kOnes = R"({"policy": {"fill": "ones"}})";
const std::string kErase = R"({"policy": {"fill": "erase"}})";

TEST_F(ApiTest, WhatIsReadHasATagThatChangesWithIt) {
  good(201, ask("POST", "/v1/templates", R"({"name": "web", "policy": {}})"));
  const std::string first = ask("GET", kTemplate).etag;
  EXPECT_THAT(first, MatchesRegex("\"[0-9a-f]{32}\""));
  EXPECT_EQ(ask("GET", kTemplate).etag, first);
  const auto same = send({.method = "GET", .target = kTemplate, .body = {}, .if_none_match = "\"x\", " + first});
  EXPECT_EQ(same.status, 304U);
  EXPECT_THAT(same.body, IsEmpty());
  EXPECT_EQ(same.etag, first);
  good(200, ask("PUT", kTemplate, kOnes));
  good(200, send({.method = "GET", .target = kTemplate, .body = {}, .if_none_match = first}));
  EXPECT_NE(ask("GET", kTemplate).etag, first);
  EXPECT_THAT(ask("GET", "/v1/templates/none").etag, IsEmpty());
}

TEST_F(ApiTest, AChangeWithATagIsDoneOnlyToWhatHasIt) {
  good(201, ask("POST", "/v1/templates", R"({"name": "web", "policy": {}})"));
  const std::string first = ask("GET", kTemplate).etag;
  good(200, send({.method = "PUT", .target = kTemplate, .body = kOnes, .if_match = first}));
  const std::string said = refused(412, "precondition-failed",
                                   send({.method = "PUT", .target = kTemplate, .body = kErase, .if_match = first}));
  EXPECT_THAT(said, HasSubstr(ask("GET", kTemplate).etag));
  EXPECT_THAT(ask("GET", kTemplate).body, HasSubstr("ones")) << "it has changed nothing";
  refused(412, "precondition-failed",
          send({.method = "DELETE", .target = kTemplate, .body = {}, .if_match = "W/" + first}));
  good(204, send({.method = "DELETE", .target = kTemplate, .body = {}, .if_match = "*"}));
  refused(412, "precondition-failed", send({.method = "PUT", .target = kTemplate, .body = kOnes, .if_match = "*"}));
}

TEST_F(ApiTest, ACallThatIsToMakeSomethingNewReplacesNothing) {
  const std::string path = "/v1/attachments/customer/7";
  good(200, send({.method = "PUT", .target = path, .body = kOnes, .if_none_match = "*"}));
  refused(412, "precondition-failed", send({.method = "PUT", .target = path, .body = kErase, .if_none_match = "*"}));
  EXPECT_THAT(ask("GET", path).body, HasSubstr("ones"));
  const std::string tag = ask("GET", path).etag;
  refused(412, "precondition-failed", send({.method = "PUT", .target = path, .body = kErase, .if_none_match = tag}));
  good(200, send({.method = "PUT", .target = path, .body = kErase, .if_match = tag}));
}

TEST_F(ApiTest, AVerbLooksAtTheTagOfWhatItChanges) {
  two_customers();
  const std::string tag = ask("GET", vm(1)).etag;
  refused(412, "precondition-failed",
          send({.method = "POST", .target = vm(1, ":reboot"), .body = {}, .if_match = "\"x\""}));
  good(202, send({.method = "POST", .target = vm(1, ":reboot"), .body = {}, .if_match = tag}));
  // Of others it says no more than that it is not there.
  EXPECT_THAT(
      refused(
          412, "precondition-failed",
          send({.method = "POST", .target = vm(2, ":reboot"), .body = {}, .if_match = ask("GET", vm(2)).etag}, kSeven)),
      HasSubstr("is not there"));
  refused(400, "invalid-argument",
          send({.method = "PUT", .target = "/v1/locks/customer/7/enable", .body = {}, .if_match = "*"}));
}

TEST_F(ApiTest, ARequestWithAKeyIsDoneOnce) {
  const ApiRequest request{.method = "POST",
                           .target = "/v1/trust-groups",
                           .body = R"({"id": 70, "customer": 7})",
                           .if_match = {},
                           .if_none_match = {},
                           .idempotency_key = "8e1d"};
  const ApiResponse first = send(request);
  good(201, first);
  EXPECT_FALSE(first.replayed);
  const ApiResponse again = send(request);
  EXPECT_TRUE(again.replayed);
  EXPECT_EQ(again.status, 201U);
  EXPECT_EQ(again.body, first.body);
  ApiRequest other = request;
  other.body = R"({"id": 71, "customer": 7})";
  EXPECT_THAT(refused(409, "idempotency-key-reused", send(other)), HasSubstr("'8e1d'"));
  EXPECT_THAT(ask("GET", "/v1/trust-groups").body, Not(HasSubstr("71")));
  other.idempotency_key = "8e1e";
  good(201, send(other));
  // A key is its caller's.
  refused(403, "not-permitted", send(request, kSeven));
  for (const std::string& key : {std::string("a b"), std::string("\x01"), std::string(256, 'x')}) {
    other.idempotency_key = key;
    refused(400, "invalid-argument", send(other));
  }
}

TEST_F(ApiTest, ARequestThatWasRefusedMayBeTriedAgainWithItsKey) {
  const ApiRequest request{.method = "POST",
                           .target = "/v1/trust-groups",
                           .body = R"({"id": 71, "customer": 7, "inside": 70})",
                           .if_match = {},
                           .if_none_match = {},
                           .idempotency_key = "k"};
  EXPECT_GE(send(request).status, 400U);
  good(201, ask("POST", "/v1/trust-groups", R"({"id": 70, "customer": 7})"));
  good(201, send(request));
  EXPECT_TRUE(send(request).replayed);
}

/// The first one has changed the tag that both name.
TEST_F(ApiTest, ARequestThatIsRepeatedWithItsKeyIsAnsweredAsItWasWhateverTagItNames) {
  two_customers();
  const ApiRequest request{.method = "POST",
                           .target = vm(1, ":reboot"),
                           .body = {},
                           .if_match = ask("GET", vm(1)).etag,
                           .if_none_match = {},
                           .idempotency_key = "k"};
  const ApiResponse first = send(request);
  good(202, first);
  good(200, ask("PUT", "/v1/attachments/customer/7", kOnes));
  ASSERT_NE(ask("GET", vm(1)).etag, request.if_match);
  const ApiResponse again = send(request);
  EXPECT_TRUE(again.replayed);
  EXPECT_EQ(again.status, 202U);
  EXPECT_EQ(again.body, first.body);
  ApiRequest fresh = request;
  fresh.idempotency_key = "other";
  refused(412, "precondition-failed", send(fresh));
}

}  // namespace
}  // namespace sluice::test
