// SPDX-License-Identifier: Apache-2.0
// What sluiced's configuration may say, and what is said of what it may not.
#include "sluice/daemon/config.hpp"

#include <gmock/gmock.h>

#include "sluice/base/input.hpp"

namespace sluice::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(SluicedConfig, AnEmptyFileIsTheDefault) {
  const auto config = parse_config("", "sluiced.toml");
  ASSERT_TRUE(config);
  EXPECT_EQ(*config, DaemonConfig());
}

TEST(SluicedConfig, TheFileThatIsInstalledSaysTheDefaults) {
  const auto text = read_whole_file(SLUICED_CONFIG, kMiB);
  ASSERT_TRUE(text) << text.error().message;
  const auto config = parse_config(*text, SLUICED_CONFIG);
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(*config, DaemonConfig());
}

TEST(SluicedConfig, EveryKeyIsRead) {
  const auto config = parse_config(R"(
[memory]
folder = "/mnt/huge"
pages = "2MiB"
node = 1
bricks = [{ size = "1GiB", count = 16 }, { size = "64MiB", count = 32 }]
[scrub]
engines = ["xrt:0", "cpu:workers=2"]
background_rate = "512MiB"
[folders]
run = "/run/a"
state = "/var/lib/a"
[vmm]
socket = "/run/a/s"
users = [0, 64055]
customer = 7
[api]
socket = "/run/a/api"
users = [64056]
customers = [{ user = 1001, customer = 8 }, { user = 1002, customer = 8 }]
timeout_s = 5
tls = { listen = "[::1]:8443", certificate = "/c", key = "/k", client_ca = "/a" }
[log]
level = "debug"
json = true
)",
                                   "sluiced.toml");
  ASSERT_TRUE(config) << config.error().message;
  DaemonConfig expected;
  expected.memory_folder = "/mnt/huge";
  expected.pages = PageKind::Huge2MiB;
  expected.node = 1;
  expected.bricks = {{ByteCount(64ULL << 20), 32}, {kGiB, 16}};
  expected.engines = {"xrt:0", "cpu:workers=2"};
  expected.background_rate = ByteCount(512ULL << 20);
  expected.run_folder = "/run/a";
  expected.state_folder = "/var/lib/a";
  expected.socket = "/run/a/s";
  expected.users = {0, 64055};
  expected.api.socket = "/run/a/api";
  expected.api.users = {64056};
  expected.api.customers = {{1001, CustomerId(8)}, {1002, CustomerId(8)}};
  expected.api.tls = ApiTls{"::1", 8443, "/c", "/k", "/a"};
  expected.api.timeout = std::chrono::seconds(5);
  expected.customer = CustomerId(7);
  expected.log_level = "debug";
  expected.log_json = true;
  EXPECT_EQ(*config, expected);
}

struct Wrong {
  const char* text;
  const char* where;
  const char* what;
};

class WrongConfig : public ::testing::TestWithParam<Wrong> {};

TEST_P(WrongConfig, IsNamedWithItsLineAndWhatCouldStandThere) {
  const auto config = parse_config(GetParam().text, "sluiced.toml");
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().code, HostErrc::InvalidArgument);
  EXPECT_THAT(config.error().message, AllOf(HasSubstr(GetParam().where), HasSubstr(GetParam().what)));
}

INSTANTIATE_TEST_SUITE_P(
    Of, WrongConfig,
    ::testing::Values(
        Wrong{"[memroy]", "sluiced.toml:1: sluiced.memroy", "there are api, folders, log, memory, scrub, vmm"},
        Wrong{"\nmemory = 3", "sluiced.toml:2: sluiced.memory", "give a table"},
        Wrong{"[memory]\nfolders = \"/a\"", "sluiced.toml:2: memory.folders", "no such key"},
        Wrong{"[memory]\nfolder = \"\"", "memory.folder", "1 to 4000 letters"},
        Wrong{"[memory]\npages = \"8KiB\"", "sluiced.toml:2: memory.pages", "\"2MiB\" or \"1GiB\""},
        Wrong{"[memory]\nnode = -1", "memory.node", "from 0 to 1023"},
        Wrong{"[memory]\nbricks = []", "memory.bricks", "1 to 16"},
        Wrong{"[memory]\nbricks = [3]", "memory.bricks", "give tables"},
        Wrong{"[memory]\nbricks = [{ size = 4096, count = 1 }]", "memory.bricks.size", "in quotes"},
        Wrong{"[memory]\nbricks = [{ size = \"4097B\", count = 1 }]", "memory.bricks", "a multiple of 4KiB"},
        Wrong{"[memory]\npages = \"1GiB\"\nbricks = [{ size = \"2MiB\", count = 1 }]", ":3:", "a multiple of 1GiB"},
        Wrong{"[memory]\nbricks = [{ size = \"1MiB\" }]", "memory.bricks", "a count of at least 1"},
        Wrong{"[memory]\nbricks = [{ size = \"1MiB\", count = 1, node = 2 }]", "memory.bricks.node", "no such key"},
        Wrong{"[memory]\nbricks = [{ size = \"1MiB\", count = 1 }, { size = \"1024KiB\", count = 1 }]", "memory.bricks",
              "1MiB is there twice"},
        Wrong{"[memory]\nbricks = [{ size = \"1MiB\", count = 40000 }, { size = \"2MiB\", count = 40000 }]",
              "memory.bricks", "80000 bricks are more than the 60000"},
        Wrong{"[scrub]\nengines = [\"\"]", "scrub.engines", ""},
        Wrong{"[scrub]\nengines = [7]", "scrub.engines", "names of engines"},
        Wrong{"[scrub]\nbackground_rate = 5", "scrub.background_rate", "in quotes"},
        Wrong{"[vmm]\nusers = [-1]", "vmm.users", "user ids"},
        Wrong{"[vmm]\ncustomer = 0", "vmm.customer", "at least 1"},
        Wrong{
            "[vmm]\nsocket = \"/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
            "aaaaaaaaaaaaaaaaaaaaaaaaa\"",
            "vmm.socket", "1 to 103"},
        Wrong{"[vmm]\nsocket = \"/run/sluice/api.sock\"", "vmm.socket and api.socket", "give one another"},
        Wrong{"[api]\nusers = [\"root\"]", "api.users", "user ids"},
        Wrong{"[api]\ncustomers = [7]", "api.customers", "give tables"},
        Wrong{"[api]\ncustomers = [{ user = 1001 }]", "api.customers", "a customer from 1"},
        Wrong{"[api]\ncustomers = [{ customer = 7 }]", "api.customers", "give a user"},
        Wrong{"[api]\ncustomers = [{ user = 1001, customer = 7, group = 1 }]", "api.customers.group", "no such key"},
        Wrong{"[api]\ncustomers = [{ user = 0, customer = 7 }]", "api.customers", "user 0 is the provider"},
        Wrong{"[api]\nusers = [5]\ncustomers = [{ user = 5, customer = 7 }]", "api.customers", "the provider"},
        Wrong{"[api]\ncustomers = [{ user = 5, customer = 7 }, { user = 5, customer = 8 }]", "api.customers",
              "there twice"},
        Wrong{"[api]\ntimeout_s = 0", "api.timeout_s", "from 1"},
        Wrong{"[log]\nlevel = \"loud\"", "log.level", "trace, debug"},
        Wrong{"[log]\njson = 1", "log.json", "true or false"},
        Wrong{"[log]\nlevel = \"info\"\nlevel = \"info\"", "sluiced.toml:3:", ""},
        Wrong{"[log", "sluiced.toml:1:", ""}));

TEST(SluicedConfig, IsBounded) {
  EXPECT_THAT(parse_config(std::string((1 << 20) + 1, '\n'), "sluiced.toml").error().message,
              HasSubstr("1048577 bytes"));
  std::string deep = "a";
  for (int depth = 0; depth < 5000; ++depth) deep += ".a";
  EXPECT_THAT(parse_config(deep + " = 1", "sluiced.toml").error().message, HasSubstr("dots"));
}

}  // namespace
}  // namespace sluice::test
