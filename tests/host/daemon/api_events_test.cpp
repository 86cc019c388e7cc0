// SPDX-License-Identifier: Apache-2.0
// What happens on a host, as it is told to those who may hear of it.
#include <gmock/gmock.h>

#include "support/api_test.hpp"

namespace sluice::test {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

std::vector<std::string> kinds(const std::vector<const Event*>& events) {
  std::vector<std::string> kinds;
  for (const Event* event : events) kinds.push_back(event->kind);
  return kinds;
}

TEST(Events, HaveRevisionsThatGrowAndLieAboveThoseOfAnEarlierProcess) {
  Events first(1000ms);
  for (int at = 0; at < 10; ++at) first.add({.kind = "vm", .data = {}});
  Events later(1001ms);
  later.add({.kind = "vm", .data = {}});
  EXPECT_GT(later.revision(), first.revision());
  EXPECT_FALSE(later.has_all_after(first.revision())) << "they went with that process";
}

TEST(Events, AreKeptUntilThereAreTooMany) {
  Events events(1000ms);
  const std::uint64_t begin = events.revision();
  for (std::size_t at = 0; at < Events::kMost; ++at) events.add({.kind = "vm", .data = {}});
  EXPECT_TRUE(events.has_all_after(begin));
  EXPECT_THAT(events.after(begin, Caller::provider()), SizeIs(Events::kMost));
  EXPECT_THAT(events.after(events.revision() - 2, Caller::provider()), SizeIs(2));
  events.add({.kind = "vm", .data = {}});
  EXPECT_FALSE(events.has_all_after(begin));
  EXPECT_TRUE(events.has_all_after(begin + 1));
  EXPECT_TRUE(events.has_all_after(events.revision()));
  EXPECT_FALSE(events.has_all_after(events.revision() + 1)) << "nobody can have that";
}

TEST(Events, AreSeenByWhoseTheyAre) {
  Events events(1000ms);
  const std::uint64_t begin = events.revision();
  events.add({.kind = "engine", .data = {}});
  events.add({.kind = "vm", .customer = CustomerId(7), .user = UserId(3), .data = {}});
  events.add({.kind = "change", .customer = CustomerId(8), .data = {}});
  EXPECT_THAT(kinds(events.after(begin, Caller::provider())), ElementsAre("engine", "vm", "change"));
  EXPECT_THAT(kinds(events.after(begin, kSeven)), ElementsAre("vm"));
  EXPECT_THAT(kinds(events.after(begin, kEight)), ElementsAre("change"));
  EXPECT_THAT(kinds(events.after(begin, Caller::user(UserId(3)))), ElementsAre("vm"));
  EXPECT_THAT(events.after(begin, Caller::user(UserId(4))), SizeIs(0));
}

TEST_F(ApiTest, EventsAreReadFromARevisionOn) {
  const auto revision = json_of(ask("GET", "/v1/events")).at("revision").to_number<std::uint64_t>();
  host_.events_.add({.kind = "vm", .customer = CustomerId(7), .data = {{"state", "running"}}});
  host_.events_.add({.kind = "engine", .data = {}});
  const std::string path = fmt::format("/v1/events/{}", revision);
  EXPECT_THAT(ask("GET", path).body, AllOf(HasSubstr(R"("state":"running")"), HasSubstr(R"("kind":"engine")")));
  EXPECT_THAT(ask("GET", path, "", kSeven).body, AllOf(HasSubstr("running"), Not(HasSubstr("engine"))));
  EXPECT_THAT(refused(410, "events-gone", ask("GET", "/v1/events/1")), HasSubstr("read everything anew"));
  refused(400, "invalid-argument", ask("GET", "/v1/events/soon"));
}

TEST_F(ApiTest, AVmTellsEachStateThatItComesTo) {
  std::vector<std::string> states;
  host_.host_->on_state([&](const VmRecord& record, std::string_view state) {
    EXPECT_EQ(record.uuid, ApiHost::uuid_of(1));
    states.emplace_back(state);
  });
  ASSERT_FALSE(host_.come(ApiHost::uuid_of(1), 1, CustomerId(7)));
  good(202, ask("POST", vm(1, ":reboot")));
  host_.end(ApiHost::uuid_of(1));
  ASSERT_FALSE(host_.come(ApiHost::uuid_of(1), 1, CustomerId(7)));
  host_.end(ApiHost::uuid_of(1));
  EXPECT_THAT(states, ElementsAre("running", "ending", "reserved", "running", "ending", "ended"));
}

}  // namespace
}  // namespace sluice::test
