// SPDX-License-Identifier: Apache-2.0
// What happens on a host, for those who ask again and again; ApiServer streams the same.
#include "api_handlers.hpp"

namespace sluice::inline daemon {

namespace json = boost::json;

json::object event_json(const Event& event) {
  json::object shown = {{"revision", event.revision}, {"kind", event.kind}};
  for (const auto& [name, value] : event.data) shown[name] = value;
  return shown;
}

ApiAnswer Api::Handlers::get_events(const ApiCall& /*call*/) {
  return reply(json::object{{"revision", events_->revision()}, {"events", json::array()}});
}

ApiAnswer Api::Handlers::get_events_after(const ApiCall& call) {
  const auto from = parse_integer<std::uint64_t>(call.parts.front());
  if (!from) {
    return Error{HostErrc::InvalidArgument, fmt::format("{} is no revision: give that of an event, or of /v1/events",
                                                        in_quotes(call.parts.front()))};
  }
  if (!events_->has_all_after(*from)) {
    return problem(
        410, "events-gone", "Not all events since then are kept",
        fmt::format("revision {} is none of the last {} events: read everything anew, and go on from revision {}",
                    *from, Events::kMost, events_->revision()));
  }
  json::array events;
  for (const Event* event : events_->after(*from, call.caller)) events.push_back(event_json(*event));
  return reply(json::object{{"revision", events_->revision()}, {"events", std::move(events)}});
}

}  // namespace sluice::inline daemon
