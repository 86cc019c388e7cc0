// SPDX-License-Identifier: Apache-2.0
// The host's memory as the web service shows it: brick by brick, in quarantine, and over time.
#include <gmock/gmock.h>

#include <set>

#include "sluice/daemon/series.hpp"
#include "support/api_test.hpp"

namespace sluice::test {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

class ApiMemoryTest : public ::testing::Test {
 protected:
  boost::json::object get(std::string_view target, Caller caller = Caller::provider()) {
    const ApiResponse answer = host_.ask("GET", target, "", caller);
    EXPECT_EQ(answer.status, 200U) << answer.body;
    return boost::json::parse(answer.body).as_object();
  }
  static std::uint64_t number(const boost::json::value& value) { return value.to_number<std::uint64_t>(); }

  ApiHost host_;
};

TEST_F(ApiMemoryTest, EachBrickSaysWhatIsInItAndWhoHasIt) {
  ASSERT_FALSE(host_.come(ApiHost::uuid_of(1), 2, CustomerId(7)));
  const boost::json::object memory = get("/v1/memory");
  const boost::json::array& bricks = memory.at("bricks").as_array();
  ASSERT_THAT(bricks, SizeIs(8));
  std::set<std::uint64_t> held;
  const auto lease = host_.host_->leases().find(host_.host_->status(ApiHost::uuid_of(1)).lease.vm);
  for (const LeasedBrick& brick : lease->bricks) held.insert(brick.number);
  ASSERT_THAT(held, SizeIs(2));
  for (const boost::json::value& brick : bricks) {
    const bool is_held = held.contains(number(brick.at("number")));
    EXPECT_EQ(number(brick.at("length")), ApiHost::kBrick);
    const boost::json::object& states = brick.at("states").as_object();
    ASSERT_THAT(states, SizeIs(1)) << "a whole brick is in one state";
    EXPECT_EQ(number(states.at(is_held ? "owned" : "clean")), ApiHost::kBrick);
    if (is_held) {
      EXPECT_EQ(brick.at("vm").as_string(), to_string(ApiHost::uuid_of(1)));
      EXPECT_EQ(number(brick.at("customer")), 7U);
    } else {
      EXPECT_TRUE(brick.at("vm").is_null());
    }
  }
}

TEST_F(ApiMemoryTest, ACustomerSeesNothingOfOthersBricks) {
  ASSERT_FALSE(host_.come(ApiHost::uuid_of(1), 2, CustomerId(7)));
  ASSERT_FALSE(host_.come(ApiHost::uuid_of(2), 3, CustomerId(8)));
  const boost::json::object memory = get("/v1/memory", kSeven);
  std::size_t own = 0;
  for (const boost::json::value& brick : memory.at("bricks").as_array()) {
    const bool is_own = brick.as_object().contains("states");
    own += is_own ? 1 : 0;
    EXPECT_EQ(brick.as_object().size(), is_own ? 7U : 2U) << "its number and its length";
  }
  EXPECT_EQ(own, 2U);
  EXPECT_THAT(boost::json::serialize(memory), Not(HasSubstr(to_string(ApiHost::uuid_of(2)))));
  for (const char* const target : {"/v1/quarantine", "/v1/series/second"}) {
    EXPECT_EQ(host_.ask("GET", target, "", kSeven).status, 403U);
  }
}

TEST_F(ApiMemoryTest, BricksOfAPoolAreItsCustomersAlsoWhileTheyAreClean) {
  ASSERT_EQ(host_.ask("POST", "/v1/pools", R"({"id": 5, "customer": 7, "length": "32KiB"})").status, 202U);
  host_.settle();
  const auto seen_by = [&](Caller caller) {
    std::size_t seen = 0;
    const boost::json::object memory = get("/v1/memory", caller);
    for (const boost::json::value& brick : memory.at("bricks").as_array()) {
      if (!brick.as_object().contains("states") || brick.at("pool").is_null()) continue;
      EXPECT_EQ(number(brick.at("pool")), 5U);
      EXPECT_EQ(number(brick.at("customer")), 7U);
      EXPECT_TRUE(brick.at("states").as_object().contains("clean"));
      ++seen;
    }
    return seen;
  };
  EXPECT_EQ(seen_by(Caller::provider()), 2U);
  EXPECT_EQ(seen_by(kSeven), 2U);
  EXPECT_EQ(seen_by(Caller::customer(CustomerId(8))), 0U);
}

TEST_F(ApiMemoryTest, TheHostSaysHowManyScrubsAreUnderWay) {
  ASSERT_FALSE(host_.come(ApiHost::uuid_of(1), 1, CustomerId(7)));
  EXPECT_EQ(number(get("/v1/host").at("jobs_in_flight")), 0U);
  host_.host_->process_ended(host_.host_->status(ApiHost::uuid_of(1)).lease.vm);
  host_.host_->leases().poll(2s);
  host_.manager_->poll();
  EXPECT_EQ(number(get("/v1/host").at("jobs_in_flight")), 1U);
  host_.settle();
  EXPECT_EQ(number(get("/v1/host").at("jobs_in_flight")), 0U);
}

TEST_F(ApiMemoryTest, WhatAScrubFailedOnIsInQuarantine) {
  EXPECT_THAT(get("/v1/quarantine").at("failed").as_array(), SizeIs(0));
  ASSERT_FALSE(host_.come(ApiHost::uuid_of(1), 1, CustomerId(7)));
  host_.fail_next_scrub();
  host_.end(ApiHost::uuid_of(1));
  const boost::json::object quarantine = get("/v1/quarantine");
  ASSERT_THAT(quarantine.at("failed").as_array(), SizeIs(1));
  EXPECT_EQ(number(quarantine.at("failed").as_array()[0].at("bytes")), ApiHost::kBrick);
  EXPECT_THAT(quarantine.at("leases").as_array(), SizeIs(0));
}

TEST_F(ApiMemoryTest, SamplesOfTheHostAreColumns) {
  host_.series_.add(sample_of(*host_.manager_, 5000ms));
  ASSERT_FALSE(host_.come(ApiHost::uuid_of(1), 2, CustomerId(7)));
  host_.series_.add(sample_of(*host_.manager_, 6000ms));
  const boost::json::object series = get("/v1/series/second");
  EXPECT_EQ(number(series.at("step_ms")), 1000U);
  EXPECT_EQ(series.at("times_ms"), boost::json::parse("[5000, 6000]"));
  const boost::json::array& owned = series.at("bytes_by_state").at("owned").as_array();
  EXPECT_EQ(number(owned[1]) - number(owned[0]), 2 * ApiHost::kBrick);
  const boost::json::array& granted = series.at("granted_bytes").as_array();
  EXPECT_EQ(number(granted[1]) - number(granted[0]), 2 * ApiHost::kBrick);
  EXPECT_THAT(get("/v1/series/minute").at("times_ms").as_array(), SizeIs(1));
  EXPECT_EQ(host_.ask("GET", "/v1/series/hour", "").status, 400U);
}

TEST(Series, KeepsTenMinutesOfSecondsAndADayOfMinutes) {
  Series series;
  for (int second = 0; second < 100'000; ++second) series.add({.time = std::chrono::seconds(second)});
  EXPECT_THAT(series.samples(Series::Step::Second), SizeIs(Series::kMostSeconds));
  EXPECT_THAT(series.samples(Series::Step::Minute), SizeIs(Series::kMostMinutes));
  EXPECT_EQ(series.samples(Series::Step::Second).back().time, 99'999s);
  EXPECT_EQ(series.samples(Series::Step::Minute).back().time, 99'960s);
  series.add({.time = 5s});
  EXPECT_EQ(series.samples(Series::Step::Second).back().time, 99'999s) << "a clock that was put back";
}

TEST(Series, TheScrubRateIsThatOfTheFastestSecond) {
  Series series;
  EXPECT_FALSE(series.scrub_rate());
  series.add({.time = 1s, .scrubbed = 100});
  EXPECT_FALSE(series.scrub_rate());
  series.add({.time = 3s, .scrubbed = 1100});
  series.add({.time = 4s, .scrubbed = 1200});
  EXPECT_EQ(series.scrub_rate(), 500.0);
}

}  // namespace
}  // namespace sluice::test
