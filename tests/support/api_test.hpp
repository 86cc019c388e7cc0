// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "support/api_fixture.hpp"

namespace sluice::test {

inline const Caller kSeven = Caller::customer(CustomerId(7));
inline const Caller kEight = Caller::customer(CustomerId(8));

class ApiTest : public ::testing::Test {
 protected:
  ApiResponse ask(std::string_view method, std::string_view target, std::string_view body = "",
                  Caller caller = Caller::provider()) {
    return host_.ask(method, target, body, caller);
  }
  ApiResponse send(const ApiRequest& request, Caller caller = Caller::provider()) {
    return host_.api_->answer(request, caller);
  }
  /// It is refused as a problem of this kind; returns what is said.
  std::string refused(unsigned status, std::string_view type, const ApiResponse& answer) {
    EXPECT_EQ(answer.status, status) << answer.body;
    EXPECT_EQ(answer.type, "application/problem+json");
    if (answer.type != "application/problem+json") return "";
    const boost::json::object document = json_of(answer).as_object();
    EXPECT_EQ(document.at("type").as_string(), "/problems/" + std::string(type)) << answer.body;
    EXPECT_EQ(document.at("status").to_number<unsigned>(), status);
    EXPECT_FALSE(document.at("title").as_string().empty());
    return std::string(document.at("detail").as_string());
  }
  void good(unsigned status, const ApiResponse& answer) { EXPECT_EQ(answer.status, status) << answer.body; }
  std::string vm(std::uint8_t number, std::string_view rest = "") const {
    return fmt::format("/v1/vms/{}{}", to_string(ApiHost::uuid_of(number)), rest);
  }
  std::string registration(std::uint8_t number) const {
    return fmt::format("/v1/registrations/{}", to_string(ApiHost::uuid_of(number)));
  }
  /// VM 1 is customer 7's, VM 2 customer 8's, and groups 70 and 80 are theirs.
  void two_customers() {
    ASSERT_FALSE(host_.come(ApiHost::uuid_of(1), 2, CustomerId(7)));
    ASSERT_FALSE(host_.come(ApiHost::uuid_of(2), 1, CustomerId(8)));
    good(201, ask("POST", "/v1/trust-groups", R"({"id": 70, "customer": 7})"));
    good(201, ask("POST", "/v1/trust-groups", R"({"id": 80, "customer": 8})"));
  }

  ApiHost host_;
};

}  // namespace sluice::test
