// SPDX-License-Identifier: Apache-2.0
// A real sluiced whose engine dies: what its VMs, and those that come, see of it.
#include <gmock/gmock.h>

#include <boost/json.hpp>

#include "support/http.hpp"
#include "support/sluiced.hpp"

namespace sluice::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint8_t kA = 1;
constexpr std::uint8_t kB = 2;
constexpr std::uint8_t kSecret = 0xA5;
constexpr const char* kBricks = R"([{ size = "1MiB", count = 4 }])";
/// All bricks are clean after 1,024 bursts of 4 KiB. The next scrub does not end.
constexpr const char* kDies = "rtl:bus-hang-after=1500,stall-timeout-us=50";

std::string body_of(const Sluiced& sluiced, const std::string& target) {
  const std::string answer = call(sluiced.api_socket(), "GET", target);
  return answer.substr(answer.find("\r\n\r\n") + 4);
}
boost::json::object host_of(const Sluiced& sluiced) {
  return boost::json::parse(body_of(sluiced, "/v1/host")).as_object();
}
bool is_clean(const Sluiced& sluiced, std::uint64_t bytes) {
  return comes_true([&] { return host_of(sluiced).at("bytes_by_state").at("clean") == bytes; });
}

TEST(SluicedEngines, TheNextOneTakesOverFromOneThatDiesAtWork) {
  const Sluiced sluiced(kBricks, ::geteuid(), "", fmt::format(R"(["{}", "cpu"])", kDies));
  ASSERT_TRUE(is_clean(sluiced, 4 * kMiB)) << sluiced.log();
  EXPECT_THAT(std::string(host_of(sluiced).at("engine").as_string()), HasSubstr("ring"));
  Vmm first(sluiced);
  ASSERT_EQ(first.acquire(kA, 4 * kMiB).refused, 0);
  first.fill(kSecret);
  first.end();
  Vmm second(sluiced);
  const Client client(sluiced.socket());
  EXPECT_TRUE(client.comes_to(kA, SLUICE_STATE_NONE));
  // What the engine was writing to when it died stays away for good; the rest is the next engine's work.
  EXPECT_TRUE(comes_true([&] { return sluiced.log().find("takes over") != std::string::npos; })) << sluiced.log();
  const auto given = second.acquire(kB, kMiB);
  ASSERT_EQ(given.refused, 0) << sluiced.log();
  EXPECT_EQ(given.found, 0U);
  const auto host = host_of(sluiced);
  EXPECT_THAT(std::string(host.at("engine").as_string()), HasSubstr("cpu"));
  EXPECT_TRUE(host.at("fault").is_null());
  EXPECT_GT(host.at("bytes_by_state").at("quarantined").to_number<std::uint64_t>(), 0U);
  const std::string audit = body_of(sluiced, "/v1/audit/lines/1");
  EXPECT_THAT(audit, AllOf(HasSubstr("\"how\":\"ring"), HasSubstr("\"how\":\"cpu"), HasSubstr("failure")))
      << "each scrub names the engine that did it";
}

TEST(SluicedEngines, WithoutOneNothingIsHandedOutAndVmsGoOn) {
  Sluiced sluiced(kBricks, ::geteuid(), "", fmt::format(R"(["{}"])", kDies));
  ASSERT_TRUE(is_clean(sluiced, 4 * kMiB)) << sluiced.log();
  Vmm stays(sluiced);
  ASSERT_EQ(stays.acquire(kB, kMiB).refused, 0);
  stays.fill(kSecret);
  {
    Vmm first(sluiced);
    ASSERT_EQ(first.acquire(kA, 3 * kMiB).refused, 0);
    first.fill(kSecret);
  }
  EXPECT_TRUE(comes_true([&] { return !host_of(sluiced).at("fault").is_null(); })) << sluiced.log();
  const Client client(sluiced.socket());
  Vmm next(sluiced);
  EXPECT_NE(next.acquire(3, 3 * kMiB).refused, 0) << "what is dirty, or what the engine may still write to";
  EXPECT_EQ(stays.look(), kSecret);
  EXPECT_EQ(client.status(kB).state, static_cast<std::uint32_t>(SLUICE_STATE_RUNNING));
  // What the engine may still write to stays away for good; the rest is the next sluiced's, which has another one.
  const std::uint64_t lost = host_of(sluiced).at("bytes_by_state").at("quarantined").to_number<std::uint64_t>();
  EXPECT_GT(lost, 0U);
  EXPECT_LT(lost, 3 * kMiB);
  EXPECT_EQ(sluiced.end(SIGTERM), 0);
  sluiced.use_engines(R"(["cpu"])");
  sluiced.start();
  Vmm after(sluiced);
  EXPECT_EQ(host_of(sluiced).at("bytes_by_state").at("quarantined"), lost);
  const auto given = after.acquire(4, 3 * kMiB - lost);
  ASSERT_EQ(given.refused, 0) << sluiced.log();
  EXPECT_EQ(given.found, 0U);
  EXPECT_EQ(stays.look(), kSecret);
}

}  // namespace
}  // namespace sluice::test
