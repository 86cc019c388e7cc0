// SPDX-License-Identifier: Apache-2.0
// The audit in the web service: lines, their verification, and what became of one VM's memory.
#include <gmock/gmock.h>

#include "support/api_fixture.hpp"

namespace sluice::test {
namespace {

class ApiAudit : public ::testing::Test, public ApiHost {
 protected:
  const std::string erasure_ = "/v1/vms/" + to_string(uuid_of(1)) + "/erasure";
};

TEST_F(ApiAudit, SaysOfAVmWhetherAllThatItHadWasScrubbed) {
  EXPECT_EQ(ask("GET", erasure_).status, 404U);
  ASSERT_FALSE(come(uuid_of(1), 2));
  auto answer = ask("GET", erasure_);
  ASSERT_EQ(answer.status, 200U) << answer.body;
  EXPECT_FALSE(json_of(answer).at("complete").as_bool()) << "it runs";
  EXPECT_EQ(json_of(answer).at("bricks").as_array().size(), 2U);
  host_->process_ended(host_->status(uuid_of(1)).lease.vm);
  settle();
  host_->leases().poll(now_);
  settle();
  answer = ask("GET", erasure_);
  // The host of this test scrubs, and does not say so: what was scrubbed has no line.
  EXPECT_FALSE(json_of(answer).at("complete").as_bool());
  for (const Brick& brick : memory_->bricks()) host_->scrubbed({.memory = brick.memory, .engine = "test"});
  answer = ask("GET", erasure_);
  EXPECT_TRUE(json_of(answer).at("complete").as_bool()) << answer.body;
  EXPECT_EQ(json_of(answer).at("head").as_string(), to_string(audit_->head()));
  EXPECT_EQ(ask("GET", "/v1/vms/1/erasure").status, 400U);
}

TEST_F(ApiAudit, HasItsLinesAndVerifiesThem) {
  EXPECT_TRUE(json_of(ask("POST", "/v1/audit:verify")).at("intact").as_bool()) << "there are none";
  ASSERT_FALSE(come(uuid_of(1), 3));
  const auto head = json_of(ask("GET", "/v1/audit"));
  EXPECT_EQ(head.at("lines").to_number<std::uint64_t>(), 3U);
  const auto lines = json_of(ask("GET", "/v1/audit/lines/2")).at("lines").as_array();
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0].at("number").to_number<std::uint64_t>(), 2U);
  EXPECT_EQ(lines[0].at("kind").as_string(), "hand-over");
  EXPECT_EQ(lines[0].at("uuid").as_string(), to_string(uuid_of(1)));
  EXPECT_EQ(lines[0].at("how").as_string(), "scrubbed");
  EXPECT_EQ(lines[1].at("hash").as_string(), head.at("head").as_string());
  const auto verified = json_of(ask("POST", "/v1/audit:verify"));
  EXPECT_TRUE(verified.at("intact").as_bool());
  EXPECT_TRUE(verified.at("first_bad_line").is_null());
  EXPECT_EQ(ask("GET", "/v1/audit/lines/0").status, 400U);
  EXPECT_EQ(ask("GET", "/v1/audit/lines/x").status, 400U);
}

TEST_F(ApiAudit, IsTheProvidersAlone) {
  ASSERT_FALSE(come(uuid_of(1)));
  for (const std::string& path : {std::string("/v1/audit"), std::string("/v1/audit/lines/1"), erasure_}) {
    EXPECT_EQ(ask("GET", path, "", Caller::customer(kDefault)).status, 403U) << path;
  }
  EXPECT_EQ(ask("POST", "/v1/audit:verify", "", Caller::customer(kDefault)).status, 403U);
}

}  // namespace
}  // namespace sluice::test
