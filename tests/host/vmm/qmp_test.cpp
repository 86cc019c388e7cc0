// SPDX-License-Identifier: Apache-2.0
// The session with QEMU's monitor, with a script in QEMU's place.
#include "sluice/vmm/qmp.hpp"

#include <gmock/gmock.h>

namespace sluice::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::string kGreeting =
    R"({"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian"}, "capabilities": ["oob"]}})"
    "\r\n";

std::string event(const std::string& name, const std::string& data = "") {
  const std::string said = data.empty() ? "" : R"("data": {)" + data + "}, ";
  return R"({"timestamp": {"seconds": 1, "microseconds": 2}, )" + said + R"("event": ")" + name + "\"}\r\n";
}
std::string shut_down(const std::string& reason, bool by_guest = false) {
  return event("SHUTDOWN",
               R"("guest": )" + std::string(by_guest ? "true" : "false") + R"(, "reason": ")" + reason + '"');
}
const std::string kReset = event("RESET", R"("guest": true, "reason": "guest-reset")");

/// What is to be sent, as one text.
std::string output_of(Qmp& qmp) {
  std::string bytes;
  while (auto output = qmp.take_output()) bytes += output->bytes;
  return bytes;
}

/// A session that is ready, and of which nothing is left to read or to send.
struct Session : Qmp {
  Session() {
    EXPECT_TRUE(receive(kGreeting));
    EXPECT_TRUE(receive(R"({"return": {}, "id": 0})"
                        "\r\n"));
    output_of(*this);
    static_cast<void>(take_events());
  }
  void hear(const std::string& text) {
    const auto heard = receive(text);
    EXPECT_TRUE(heard) << heard.error().message;
  }
};

TEST(Qmp, AgreesOnItsCapabilitiesBeforeItSendsWhatWaits) {
  Qmp qmp;
  const QmpId status = *qmp.query_status();
  EXPECT_EQ(output_of(qmp), "{\"execute\":\"qmp_capabilities\",\"id\":0}\n") << "it waits in the socket";
  ASSERT_TRUE(qmp.receive(kGreeting));
  EXPECT_FALSE(qmp.take_output());
  EXPECT_FALSE(qmp.is_ready());
  ASSERT_TRUE(qmp.receive("{\"return\": {}, \"id\": 0}\r\n"));
  EXPECT_TRUE(qmp.is_ready());
  EXPECT_EQ(output_of(qmp), "{\"execute\":\"query-status\",\"id\":1}\n");
  ASSERT_TRUE(qmp.receive("{\"return\": {\"status\": \"running\", \"running\": true}, \"id\": 1}\r\n"));
  EXPECT_THAT(qmp.take_events(),
              ElementsAre(QmpEvent(qmp::Ready{"7.2.22"}), QmpEvent(qmp::Reply{status, "", "running", -1})));
}

TEST(Qmp, ReadsBytesInPiecesOfAnyLength) {
  const std::string all = kGreeting + "{\"return\": {}, \"id\": 0}\n\r\n" + kReset + shut_down("guest-shutdown", true);
  for (const std::size_t length : {std::size_t{1}, std::size_t{7}, all.size()}) {
    Qmp qmp;
    for (std::size_t at = 0; at < all.size(); at += length) ASSERT_TRUE(qmp.receive(all.substr(at, length)));
    EXPECT_THAT(qmp.take_events(), ElementsAre(QmpEvent(qmp::Ready{"7.2.22"}), QmpEvent(qmp::Reset{true}),
                                               QmpEvent(qmp::ShutDown{"guest-shutdown", true})))
        << length;
  }
}

TEST(Qmp, TellsWhatHappensToTheVmAndCountsTheRest) {
  Session qmp;
  qmp.hear(event("STOP") + event("RESUME") + event("DEVICE_DELETED", R"("device": "d1", "path": "/machine/d1")") +
           event("DEVICE_DELETED", R"("path": "/machine/x")") + event("GUEST_PANICKED", R"("action": "pause")") +
           event("RTC_CHANGE", R"("offset": 3)") + event("NIC_RX_FILTER_CHANGED"));
  EXPECT_THAT(qmp.take_events(),
              ElementsAre(QmpEvent(qmp::Stopped{}), QmpEvent(qmp::Resumed{}), QmpEvent(qmp::DeviceDeleted{"d1"}),
                          QmpEvent(qmp::DeviceDeleted{""}), QmpEvent(qmp::Panicked{false})));
  EXPECT_EQ(qmp.other_events(), 2U);
}

TEST(Qmp, KnowsWhyAVmHasEnded) {
  for (const auto& [reason, expected] :
       {std::pair{"guest-shutdown", EndReason::GuestShutDown}, std::pair{"guest-reset", EndReason::GuestReset},
        std::pair{"host-qmp-system-reset", EndReason::GuestReset}, std::pair{"guest-panic", EndReason::GuestPanic},
        std::pair{"host-qmp-quit", EndReason::HostQuit}, std::pair{"host-signal", EndReason::HostSignal},
        std::pair{"something-new", EndReason::None}}) {
    Session qmp;
    EXPECT_EQ(qmp.end_reason(), EndReason::None);
    qmp.hear(shut_down(reason));
    EXPECT_EQ(qmp.end_reason(), expected) << reason;
  }
}

TEST(Qmp, TheFirstReasonCountsAlsoWhereItIsNotKnown) {
  Session shut;
  shut.hear(shut_down("guest-shutdown", true) + shut_down("host-signal") +
            event("GUEST_PANICKED", R"("action": "pause")"));
  EXPECT_EQ(shut.end_reason(), EndReason::GuestShutDown);
  Session panicked;
  panicked.hear(event("GUEST_PANICKED", R"("action": "shutdown")") + shut_down("guest-reset", true));
  EXPECT_EQ(panicked.end_reason(), EndReason::GuestPanic);
  Session unknown;
  unknown.hear(shut_down("host-error") + shut_down("guest-reset", true));
  EXPECT_EQ(unknown.end_reason(), EndReason::None);
}

TEST(Qmp, APanicThatTheGuestSurvivesIsNoEnd) {
  Session qmp;
  qmp.hear(event("GUEST_PANICKED", R"("action": "run")"));
  EXPECT_EQ(qmp.end_reason(), EndReason::None);
  qmp.hear(shut_down("guest-reset", true));
  EXPECT_EQ(qmp.end_reason(), EndReason::GuestReset);
}

TEST(Qmp, AVmThatIsResetAfterItsEndRunsAgainAndMayEndForAnotherReason) {
  Session qmp;
  qmp.hear(shut_down("guest-reset", true) + kReset);
  EXPECT_EQ(qmp.end_reason(), EndReason::None);
  qmp.hear(shut_down("guest-shutdown", true));
  EXPECT_EQ(qmp.end_reason(), EndReason::GuestShutDown);
}

TEST(Qmp, EachCommandIsWhatQemuReads) {
  const auto sent = [](auto command) {
    Session qmp;
    EXPECT_TRUE(command(qmp));
    return output_of(qmp);
  };
  const auto expected = [](const std::string& text) { return "{\"execute\":" + text + ",\"id\":1}\n"; };
  EXPECT_EQ(sent([](Qmp& qmp) { return qmp.system_reset(); }), expected(R"("system_reset")"));
  EXPECT_EQ(sent([](Qmp& qmp) { return qmp.system_powerdown(); }), expected(R"("system_powerdown")"));
  EXPECT_EQ(sent([](Qmp& qmp) { return qmp.cont(); }), expected(R"("cont")"));
  EXPECT_EQ(sent([](Qmp& qmp) { return qmp.stop(); }), expected(R"("stop")"));
  EXPECT_EQ(sent([](Qmp& qmp) { return qmp.quit(); }), expected(R"("quit")"));
  EXPECT_EQ(sent([](Qmp& qmp) { return qmp.set_action(Qmp::OnReboot::ShutDown, Qmp::OnShutDown::Pause); }),
            expected(R"("set-action","arguments":{"reboot":"shutdown","shutdown":"pause"})"));
  EXPECT_EQ(sent([](Qmp& qmp) { return qmp.set_action(Qmp::OnReboot::Reset, Qmp::OnShutDown::End); }),
            expected(R"("set-action","arguments":{"reboot":"reset","shutdown":"poweroff"})"));
  EXPECT_EQ(sent([](Qmp& qmp) { return qmp.add_memory("m1", ByteCount(4096), 17); }),
            expected(R"("object-add","arguments":{"qom-type":"memory-backend-file","id":"m1","size":4096,"share":true,)"
                     R"("prealloc":false,"mem-path":"/proc/self/fd/17"})"));
  EXPECT_EQ(sent([](Qmp& qmp) { return qmp.add_dimm("d1", "m1"); }),
            expected(R"("device_add","arguments":{"driver":"pc-dimm","id":"d1","memdev":"m1"})"));
  EXPECT_EQ(sent([](Qmp& qmp) { return qmp.delete_device("d1"); }),
            expected(R"("device_del","arguments":{"id":"d1"})"));
  EXPECT_EQ(sent([](Qmp& qmp) { return qmp.delete_object("m1"); }),
            expected(R"("object-del","arguments":{"id":"m1"})"));
  EXPECT_EQ(sent([](Qmp& qmp) { return qmp.remove_descriptors(3); }),
            expected(R"("remove-fd","arguments":{"fdset-id":3})"));
  EXPECT_EQ(sent([](Qmp& qmp) { return qmp.balloon(ByteCount(kGiB)); }),
            expected(R"("balloon","arguments":{"value":1073741824})"));
}

TEST(Qmp, ADescriptorGoesWithTheFirstByteOfItsCommand) {
  Session qmp;
  ASSERT_TRUE(qmp.stop());
  const QmpId adds = *qmp.add_descriptor(4, 33);
  ASSERT_TRUE(qmp.cont());
  EXPECT_EQ(qmp.take_output()->descriptor, -1);
  const QmpOutput with = *qmp.take_output();
  EXPECT_EQ(with.descriptor, 33);
  EXPECT_THAT(with.bytes, ::testing::StartsWith(R"({"execute":"add-fd","arguments":{"fdset-id":4},"id":2})"));
  qmp.hear(R"({"return": {"fd": 19, "fdset-id": 4}, "id": 2})"
           "\n");
  EXPECT_THAT(qmp.take_events(), ElementsAre(QmpEvent(qmp::Reply{adds, "", "", 19})));
}

TEST(Qmp, RepliesAreMatchedByTheirIdsAndSayWhatWentWrong) {
  Session qmp;
  const QmpId first = *qmp.delete_device("d1");
  const QmpId second = *qmp.cont();
  qmp.hear(R"({"id": 2, "return": {}})"
           "\n"
           R"({"id": 1, "error": {"class": "DeviceNotFound", "desc": "Device 'd1'\u001b[2J not found"}})"
           "\n");
  EXPECT_THAT(qmp.take_events(),
              ElementsAre(QmpEvent(qmp::Reply{second, "", "", -1}),
                          QmpEvent(qmp::Reply{first, "DeviceNotFound: Device 'd1'\\x1B[2J not found", "", -1})));
}

TEST(Qmp, WhatIsNoQmpEndsTheSessionAndKeepsWhatWasSaidBefore) {
  for (const std::string line :
       {"hello", "[]", "{}", "{\"event\": 5}", "{\"event\": \"SHUTDOWN\"}",
        "{\"event\": \"RESET\", \"data\": {\"guest\": 1}}",
        "{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": false, \"reason\": null}}",
        "{\"event\": \"GUEST_PANICKED\", \"data\": {}}", "{\"event\": \"DEVICE_DELETED\", \"data\": {\"device\": []}}",
        "{\"return\": {}}", "{\"return\": {}, \"id\": 7}", "{\"return\": {}, \"id\": -1}", "{\"return\": 3, \"id\": 1}",
        "{\"return\": {}, \"id\": 1}", "{\"return\": {\"status\": 4}, \"id\": 1}", "{\"error\": {}, \"id\": 1}",
        "{\"error\": \"no\", \"id\": 1}", "{\"error\": {\"class\": \"a\", \"desc\": \"b\"}}",
        "{\"event\": \"STOP\", \"event\": \"STOP\"}"}) {
    Session qmp;
    ASSERT_TRUE(qmp.query_status());
    const auto wrong = qmp.receive(event("STOP") + line + "\n" + event("RESUME"));
    ASSERT_FALSE(wrong) << line;
    EXPECT_EQ(wrong.error().code, HostErrc::InvalidArgument);
    EXPECT_THAT(wrong.error().message, HasSubstr("the session has ended")) << line;
    EXPECT_THAT(qmp.take_events(), ElementsAre(QmpEvent(qmp::Stopped{}))) << line;
    EXPECT_FALSE(qmp.take_output()) << line;
    EXPECT_EQ(qmp.receive(event("STOP")).error().code, HostErrc::WrongState);
    EXPECT_EQ(qmp.cont().error().code, HostErrc::WrongState);
  }
}

TEST(Qmp, NothingButAGreetingComesFirst) {
  for (const std::string line :
       {"{\"return\": {}, \"id\": 0}", "{\"QMP\": 5}", "{\"QMP\": {\"version\": {}}}",
        "{\"QMP\": {\"version\": {\"qemu\": {\"major\": 7, \"minor\": \"2\", \"micro\": 1}}}}"}) {
    Qmp qmp;
    EXPECT_FALSE(qmp.receive(line + "\n")) << line;
  }
  Qmp disagrees;
  ASSERT_TRUE(disagrees.receive(kGreeting));
  EXPECT_FALSE(disagrees.receive(R"({"error": {"class": "CommandNotFound", "desc": "no"}, "id": 0})"
                                 "\n"));
}

TEST(Qmp, LongLinesAndDeepOnesEndTheSessionBeforeTheyAreRead) {
  Session whole;
  EXPECT_FALSE(whole.receive(std::string(Qmp::kLongestLine.value() + 1, ' ') + "\n"));
  Session parts;
  const std::string part(100'000, ' ');
  for (int count = 0; count < 10; ++count) ASSERT_TRUE(parts.receive(part));
  EXPECT_FALSE(parts.receive(part)) << "a line without an end";
  Session longest;
  EXPECT_TRUE(longest.receive(std::string(Qmp::kLongestLine.value(), ' ') + "\n")) << "blanks, but not too many";
  Session deep;
  EXPECT_FALSE(deep.receive("{\"event\": \"X\", \"data\": " + std::string(5000, '[') + std::string(5000, ']') + "}\n"));
}

TEST(Qmp, NoMoreCommandsWaitForAQemuThatIsStuck) {
  Session qmp;
  for (std::size_t count = 0; count < Qmp::kMostPending; ++count) ASSERT_TRUE(qmp.cont());
  const auto refused = qmp.cont();
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("256 commands have no reply yet"));
  qmp.hear("{\"return\": {}, \"id\": 9}\n");
  EXPECT_TRUE(qmp.cont());
}

TEST(Qmp, AnIdThatIsNoneIsRefusedAndNothingIsSent) {
  Session qmp;
  for (const std::string& id : {std::string(), std::string("1d"), std::string("a b"), std::string("a\""),
                                std::string("a\n"), std::string(128, 'a')}) {
    EXPECT_EQ(qmp.delete_device(id).error().code, HostErrc::InvalidArgument) << id;
    EXPECT_EQ(qmp.delete_object(id).error().code, HostErrc::InvalidArgument) << id;
    EXPECT_EQ(qmp.add_dimm("d", id).error().code, HostErrc::InvalidArgument) << id;
    EXPECT_EQ(qmp.add_memory(id, ByteCount(4096), 3).error().code, HostErrc::InvalidArgument) << id;
  }
  EXPECT_EQ(qmp.add_descriptor(1, -1).error().code, HostErrc::InvalidArgument);
  EXPECT_THAT(output_of(qmp), IsEmpty());
}

}  // namespace
}  // namespace sluice::test
