// SPDX-License-Identifier: Apache-2.0
// How engines are named, and what is said about names that mean nothing.
#include "sluice/engine/engine_options.hpp"

#include <gtest/gtest.h>

#include "sluice/cpu/cpu_engine.hpp"
#include "sluice/engine/engine_registry.hpp"
#include "support/memory.hpp"

namespace sluice {
namespace {

TEST(EngineName, HasAKindADeviceAndOptions) {
  const auto name = EngineName::parse("dmadev:dma_skeleton,copy=1,iova=va");
  ASSERT_TRUE(name);
  EXPECT_EQ(name->kind, "dmadev");
  EXPECT_EQ(name->device, "dma_skeleton");
  EXPECT_EQ(name->options, (std::map<std::string, std::string>{{"copy", "1"}, {"iova", "va"}}));
  EXPECT_EQ(EngineName::parse("cpu")->kind, "cpu");
  EXPECT_EQ(EngineName::parse("rtl:read-latency=3:5")->options.at("read-latency"), "3:5");
}

TEST(EngineName, RefusesWhatHasNoMeaning) {
  for (const char* text :
       {"", ":threads=2", "cpu:", "cpu:threads=2,", "cpu:=2", "cpu:a=1,a=2", "cpu:one,two", "cpu:,"}) {
    const auto name = EngineName::parse(text);
    ASSERT_FALSE(name) << text;
    EXPECT_EQ(name.error().code, DriverErrc::InvalidArgument);
    EXPECT_NE(name.error().message.find("'" + std::string(text) + "'"), std::string::npos) << name.error().message;
  }
}

class EngineOptions : public ::testing::Test {
 protected:
  EngineOptions() {
    set_.number("count", count_, 1, 64, "a number");
    set_.number("maybe", maybe_, 0, 9, "a number or nothing");
    set_.real("share", share_, 0.0, 1.0, "a share");
    set_.bytes("size", size_, "a size");
    set_.range("span", min_, max_, "a range");
    set_.list("list", list_, "some numbers");
    set_.choice(
        "word", {"one", "two"}, "one", [this](std::size_t index) { word_ = index; }, "a word");
  }
  [[nodiscard]] Result<void> read(const std::string& items) { return set_.read(*EngineName::parse("kind:" + items)); }

  std::uint8_t count_ = 7;
  std::optional<std::uint32_t> maybe_;
  double share_ = 0.5;
  ByteCount size_{100};
  std::uint32_t min_ = 2, max_ = 4;
  std::vector<std::uint32_t> list_;
  std::size_t word_ = 0;
  EngineOptionSet set_;
};

TEST_F(EngineOptions, SetWhatTheNameGivesAndLeaveTheRest) {
  ASSERT_TRUE(read("count=64,maybe=0,size=3MiB,span=9,list=0+2-4,word=two"));
  EXPECT_EQ(count_, 64);
  EXPECT_EQ(maybe_, 0U);
  EXPECT_EQ(share_, 0.5);
  EXPECT_EQ(size_, ByteCount(3 << 20));
  EXPECT_EQ(min_, 9U);
  EXPECT_EQ(max_, 9U);
  EXPECT_EQ(list_, (std::vector<std::uint32_t>{0, 2, 3, 4}));
  EXPECT_EQ(word_, 1U);
  ASSERT_TRUE(read("share=0.25,span=1:8,size=12"));
  EXPECT_EQ(share_, 0.25);
  EXPECT_EQ(max_, 8U);
  EXPECT_EQ(size_, ByteCount(12));
}

TEST_F(EngineOptions, RefuseWithTheKeyTheValueAndTheWayOut) {
  for (const std::string item : {"count=0",
                                 "count=65",
                                 "count=x",
                                 "count=3x",
                                 "count=",
                                 "count=-1",
                                 "maybe=10",
                                 "share=1.5",
                                 "share=nan",
                                 "size=3MB",
                                 "size=",
                                 "size=99999999TiB",
                                 "span=5:3",
                                 "span=:3",
                                 "span=a",
                                 "list=",
                                 "list=3-1",
                                 "list=1+x",
                                 "list=0-4000000000",
                                 "word=three",
                                 "share=inf",
                                 "size=18446744073709551615",
                                 "size=2TiB",
                                 "size=-1",
                                 "size= 1",
                                 "span=0:4294967295",
                                 "span=1000001",
                                 "count=+3",
                                 "count= 3"}) {
    const auto refused = read(item);
    ASSERT_FALSE(refused) << item;
    EXPECT_NE(refused.error().message.find("for " + item.substr(0, item.find('='))), std::string::npos)
        << refused.error().message;
    EXPECT_NE(refused.error().message.find("give "), std::string::npos) << refused.error().message;
  }
  const auto unknown = read("colour=red");
  ASSERT_FALSE(unknown);
  EXPECT_NE(unknown.error().message.find("count, maybe, share"), std::string::npos) << unknown.error().message;
}

TEST_F(EngineOptions, MessagesNameTheRangeAndShowAStrangeValueShortAndHarmless) {
  EXPECT_NE(read("size=18446744073709551615").error().message.find("from 0B to 1TiB"), std::string::npos);
  EXPECT_NE(read("span=0:4294967295").error().message.find("0..1000000"), std::string::npos);
  const std::string message = read("count=\x1b[2J" + std::string(3000, 'x')).error().message;
  EXPECT_EQ(message.find('\x1b'), std::string::npos);
  EXPECT_NE(message.find("'\\x1B[2Jxxx"), std::string::npos) << message;
  EXPECT_LT(message.size(), 400U);
  EXPECT_FALSE(EngineName::parse("cpu:count=" + std::string(5000, '1')));
}

TEST_F(EngineOptions, HelpHasFormAndDefaultOfEach) {
  const auto help = set_.help();
  ASSERT_EQ(help.size(), 7U);
  EXPECT_EQ(help[0].form, "1..64");
  EXPECT_EQ(help[0].default_value, "7");
  EXPECT_EQ(help[1].default_value, "");
  EXPECT_EQ(help[4].default_value, "2:4");
  EXPECT_EQ(help[6].form, "one | two");
}

TEST(EngineRegistry, MakesAnEngineByNameAndNamesTheKindsThereAre) {
  test::Memory memory(4096);
  const MemorySpan windows[] = {memory.all()};
  EngineRegistry registry;
  registry.add(make_cpu_factory());
  const auto engine = registry.create(*EngineName::parse("cpu:store=movnti,threads=2"), windows);
  ASSERT_TRUE(engine) << engine.error().message;
  EXPECT_EQ((*engine)->capabilities().name, "cpu/movnti");
  const auto unknown = registry.create(*EngineName::parse("gpu"), windows);
  ASSERT_FALSE(unknown);
  EXPECT_NE(unknown.error().message.find("there are: cpu"), std::string::npos) << unknown.error().message;
  const auto device = registry.create(*EngineName::parse("cpu:0"), windows);
  ASSERT_FALSE(device);
  EXPECT_NE(device.error().message.find("no device '0'"), std::string::npos) << device.error().message;
}

TEST(EngineRegistry, PluginThatIsNotThereOrIsNoneSaysWhyAndNothingElseFails) {
  test::Memory memory(4096);
  const MemorySpan windows[] = {memory.all()};
  EngineRegistry registry;
  registry.add(make_cpu_factory());
  registry.add_plugin("absent", "/no/such/plugin.so");
  registry.add_plugin("foreign", "libz.so.1");
  for (const std::string kind : {"absent", "foreign"}) {
    const auto engine = registry.create(*EngineName::parse(kind), windows);
    ASSERT_FALSE(engine);
    EXPECT_EQ(engine.error().code, DriverErrc::DeviceMissing);
    EXPECT_NE(engine.error().message.find(kind == "absent" ? "/no/such/plugin.so" : "no plugin"), std::string::npos)
        << engine.error().message;
    const auto offers = registry.factories()[kind == "absent" ? 1 : 2]->offers();
    ASSERT_EQ(offers.size(), 1U);
    EXPECT_EQ(offers[0].why_not, engine.error().message);
  }
  EXPECT_TRUE(registry.create(*EngineName::parse("cpu"), windows));
}

}  // namespace
}  // namespace sluice
