// SPDX-License-Identifier: Apache-2.0
// sluicectl against a real sluiced: every command, and what it ends with.
#include <gmock/gmock.h>

#include <fstream>

#include "support/program.hpp"
#include "support/sluiced.hpp"

namespace sluice::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

constexpr const char* kUuid = "01010101-0101-0101-0101-010101010101";

class SluicectlTest : public ::testing::Test {
 protected:
  Outcome run(const std::string& words) const {
    return run_program(fmt::format("{} --socket {} {}", SLUICECTL_PROGRAM, sluiced_.api_socket(), words));
  }
  std::string good(const std::string& words) const {
    const Outcome outcome = run(words);
    EXPECT_EQ(outcome.exit_code, 0) << words << ": " << outcome.output;
    return outcome.output;
  }
  std::string refused(const std::string& words) const {
    const Outcome outcome = run(words);
    EXPECT_EQ(outcome.exit_code, 1) << words << ": " << outcome.output;
    EXPECT_THAT(outcome.output, StartsWith("sluicectl: "));
    return outcome.output;
  }
  std::string policy(const std::string& text) const {
    const std::string path = sluiced_.folder() / "policy.json";
    std::ofstream(path) << text;
    return path;
  }

  Sluiced sluiced_;
};

TEST_F(SluicectlTest, ShowsVmsAndExplainsTheirPolicies) {
  EXPECT_EQ(good("vm list"), "there are none\n");
  Vmm vmm(sluiced_);
  ASSERT_EQ(vmm.acquire(1, 1 << 20).refused, 0);
  EXPECT_THAT(good("vm list"), AllOf(StartsWith("uuid "), HasSubstr(kUuid), HasSubstr("running")));
  EXPECT_THAT(good(fmt::format("vm show {}", kUuid)), HasSubstr("1048576"));
  EXPECT_THAT(good(fmt::format("--json vm show {}", kUuid)), StartsWith("{\"uuid\":\"0101"));
  good("attach customer 1 --policy " + policy(R"({"fill": "ones"})"));
  EXPECT_THAT(good(fmt::format("vm explain {}", kUuid)), ::testing::ContainsRegex("fill +ones +customer 1\n"));
  EXPECT_THAT(good("attachments"), HasSubstr("customer"));
  good(fmt::format("lock instance {} enable", kUuid));
  EXPECT_THAT(good("locks"), HasSubstr("enable"));
  EXPECT_THAT(good(fmt::format("vm explain {}", kUuid)), HasSubstr("locked by the provider"));
  good(fmt::format("unlock instance {} enable", kUuid));
  good("detach customer 1");
  good(fmt::format("vm reboot {}", kUuid));
  EXPECT_THAT(refused(fmt::format("vm give-up {}", kUuid)), HasSubstr("running"));
  EXPECT_THAT(good("host"), HasSubstr("bytes_by_state.owned"));
}

TEST_F(SluicectlTest, MakesGroupsPoolsUsersTemplatesAndRegistrations) {
  good("group create --id 7 --customer 3");
  EXPECT_THAT(good("group disable 7"), HasSubstr("false"));
  good("group enable 7");
  EXPECT_THAT(good("group list"), HasSubstr("true"));
  good("user create --id 4 --customer 3");
  EXPECT_THAT(good("user list"), HasSubstr("4"));
  good("pool create --id 5 --customer 3 --length 2MiB --shares");
  ASSERT_TRUE(comes_true([&] { return run("--json pool show 5").output.find("\"ready\":true") != std::string::npos; }));
  good("pool grow 5 --length 1MiB");
  ASSERT_TRUE(comes_true([&] { return run("--json pool show 5").output.find("3145728") != std::string::npos; }));
  good("pool partition 5 --part 6 --length 1MiB");
  good("pool merge 5 --other 6");
  good("pool shrink 5 --length 1MiB");
  EXPECT_THAT(good("pool list"), HasSubstr("2097152"));
  good("template create --name 'web & co' --policy " + policy(R"({"enable": false})"));
  good("template copy 'web & co' --to web");
  good("template change web --policy " + policy(R"({"enable": true})"));
  EXPECT_THAT(good("template show web"), HasSubstr(R"("enable":true)"));
  EXPECT_THAT(good("template list"), HasSubstr("web & co"));
  good(fmt::format("registration put {} --customer 3 --group 7 --user 4 --template web", kUuid));
  EXPECT_THAT(good("registration list"), HasSubstr(kUuid));
  EXPECT_THAT(good(fmt::format("registration show {}", kUuid)), HasSubstr("web"));
  EXPECT_THAT(refused("group delete 7"), HasSubstr("registration"));
  EXPECT_THAT(good(fmt::format("registration delete {}", kUuid)), IsEmpty());
  good("template delete web");
  good("user delete 4");
  good("pool delete 5");
  good("group delete 7");
  EXPECT_EQ(good("group list"), "there are none\n");
}

TEST_F(SluicectlTest, SaysWhatIsWrongAndEndsAccordingly) {
  EXPECT_THAT(refused("group delete 99"), HasSubstr("there is no trust group '99'"));
  EXPECT_THAT(refused("--json vm show nobody"), Not(IsEmpty()));
  EXPECT_EQ(run("").exit_code, 2);
  EXPECT_EQ(run("vm").exit_code, 2);
  EXPECT_EQ(run("vm explode").exit_code, 2);
  EXPECT_EQ(run("vm show").exit_code, 2);
  EXPECT_EQ(run("group create --id x --customer 3").exit_code, 2);
  EXPECT_EQ(run("group create --id 7").exit_code, 2);
  EXPECT_EQ(run("attach customer 1 --policy /nowhere").exit_code, 2);
  EXPECT_EQ(run("attach customer 1 --template x --policy " + policy("{}")).exit_code, 2);
  EXPECT_THAT(run("attach customer 1 --policy " + policy("{")).output, HasSubstr("policy.json"));
  EXPECT_EQ(run("--help").exit_code, 0);
  EXPECT_THAT(refused("host > /dev/full"), HasSubstr("standard output"));
  const Outcome alone = run_program(fmt::format("{} --socket /nowhere/api.sock vm list", SLUICECTL_PROGRAM));
  EXPECT_EQ(alone.exit_code, 3);
  EXPECT_THAT(alone.output, AllOf(HasSubstr("/nowhere/api.sock"), HasSubstr("--socket")));
}

}  // namespace
}  // namespace sluice::test
