// SPDX-License-Identifier: Apache-2.0
// What QEMU's monitor says, after commands of each kind were given, in one piece and in small ones.
#include <algorithm>

#include "fuzz/fuzz.hpp"
#include "sluice/vmm/qmp.hpp"

namespace sluice::fuzz {
namespace {

struct Heard {
  std::vector<QmpEvent> events;
  EndReason reason = EndReason::None;
  bool good = true;
  bool operator==(const Heard&) const = default;
};

void command(Qmp& qmp) {
  const auto given = [](const Result<QmpId>& id) { enforce(id.has_value(), "a new session takes commands"); };
  given(qmp.query_status());
  given(qmp.add_descriptor(1, 5));
  given(qmp.add_memory("m1", kMiB, 9));
  given(qmp.delete_device("d1"));
}

void check(const QmpEvent& event) {
  if (const auto* const reply = std::get_if<qmp::Reply>(&event)) {
    enforce(reply->id >= 1 && reply->id <= 4, "a reply is to a command that was given");
    enforce(reply->descriptor >= -1, "a descriptor is a number, or there is none");
    enforce(reply->id == 2 || reply->descriptor == -1, "only add-fd has a descriptor");
    if (!reply->error.empty()) check_message(reply->error);
  }
  if (const auto* const end = std::get_if<qmp::ShutDown>(&event)) {
    for (const char letter : end->reason) enforce(letter >= ' ' && letter <= '~', "a reason can be printed");
  }
}

Heard hear(std::string_view input, std::size_t length) {
  Qmp qmp;
  command(qmp);
  Heard heard;
  while (!input.empty() && heard.good) {
    const auto received = qmp.receive(input.substr(0, length));
    heard.good = received.has_value();
    if (!heard.good) check_message(received.error().message);
    input.remove_prefix(std::min(length, input.size()));
  }
  heard.events = qmp.take_events();
  heard.reason = qmp.end_reason();
  std::size_t descriptors = 0;
  while (const auto output = qmp.take_output()) descriptors += output->descriptor >= 0 ? 1 : 0;
  enforce(descriptors <= (qmp.is_ready() ? 1U : 0U), "a descriptor is sent once, in a session that is ready");
  enforce(heard.good || !qmp.cont(), "a session that has ended takes no commands");
  std::ranges::for_each(heard.events, check);
  return heard;
}

}  // namespace

void one(std::span<const std::byte> input) {
  constexpr std::size_t kShort = 3;
  const Heard whole = hear(as_text(input), input.size());
  enforce(hear(as_text(input), kShort) == whole, "the pieces in which bytes come make no difference");
}

}  // namespace sluice::fuzz
