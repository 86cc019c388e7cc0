// SPDX-License-Identifier: Apache-2.0
// The audit in the web service: the provider's alone, since a line does not say whose VM it is about.
#include "api_handlers.hpp"

namespace sluice::inline daemon {

namespace json = boost::json;

namespace {

constexpr std::size_t kMostLines = 1000;

Result<void> check_provider(const Caller& caller) { return sluice::check_provider(caller, "read the audit"); }

json::value line_or_null(std::uint64_t number) { return number == 0 ? json::value(nullptr) : json::value(number); }

}  // namespace

ApiAnswer Api::Handlers::get_audit(const ApiCall& call) {
  if (auto checked = check_provider(call.caller); !checked) return checked.error();
  const Audit& audit = host_->audit();
  return reply(json::object{{"lines", audit.lines()}, {"head", to_string(audit.head())}});
}

ApiAnswer Api::Handlers::get_audit_lines(const ApiCall& call) {
  if (auto checked = check_provider(call.caller); !checked) return checked.error();
  const auto from = parse_integer<std::uint64_t>(call.parts.front());
  if (!from || *from == 0) {
    return Error{HostErrc::InvalidArgument,
                 fmt::format("{} is no line: give a number from 1", in_quotes(call.parts.front()))};
  }
  const auto read = host_->audit().read(*from, kMostLines);
  if (!read) return read.error();
  json::array lines;
  for (const AuditLine& line : *read) {
    lines.push_back(json::object{{"number", line.number},
                                 {"time_ms", line.time.count()},
                                 {"kind", to_string(line.entry.kind)},
                                 {"vm", line.entry.vm.value()},
                                 {"uuid", line.entry.uuid.is_set() ? json::value(to_string(line.entry.uuid)) : nullptr},
                                 {"brick", line.entry.brick},
                                 {"offset", line.entry.offset},
                                 {"length", line.entry.length},
                                 {"how", printable(line.entry.how, line.entry.how.size())},
                                 {"hash", to_string(line.hash)}});
  }
  return reply(json::object{{"lines", std::move(lines)}});
}

ApiAnswer Api::Handlers::verify_audit(const ApiCall& call) {
  expect_no_body(call);
  if (auto checked = check_provider(call.caller); !checked) return checked.error();
  if (auto committed = host_->audit().commit(); !committed) return committed.error();
  const auto bad = host_->audit().first_bad_line();
  if (!bad) return bad.error();
  return reply(json::object{{"intact", !*bad},
                            {"first_bad_line", line_or_null(bad->value_or(0))},
                            {"lines", host_->audit().lines()},
                            {"head", to_string(host_->audit().head())}});
}

ApiAnswer Api::Handlers::get_erasure(const ApiCall& call) {
  if (auto checked = check_provider(call.caller); !checked) return checked.error();
  const auto uuid = parse_uuid(call.parts.front());
  if (!uuid) {
    return Error{HostErrc::InvalidArgument,
                 fmt::format("{} is no UUID: give one such as 123e4567-e89b-12d3-a456-426614174000",
                             in_quotes(call.parts.front()))};
  }
  if (auto committed = host_->audit().commit(); !committed) return committed.error();
  const auto erasure = host_->audit().erasure_of(*uuid);
  if (!erasure) return erasure.error();
  if (erasure->parts.empty()) return unknown("VM in the audit", to_string(*uuid));
  json::array parts;
  for (const Erasure::Part& part : erasure->parts) {
    parts.push_back(json::object{{"brick", part.brick},
                                 {"handed_over", line_or_null(part.handed_over)},
                                 {"returned", line_or_null(part.returned)},
                                 {"scrubbed_by", line_or_null(part.scrubbed_by)},
                                 {"recycled_by", line_or_null(part.recycled_by)}});
  }
  return reply(json::object{{"uuid", to_string(*uuid)},
                            {"complete", erasure->complete()},
                            {"bricks", std::move(parts)},
                            {"lines", erasure->lines},
                            {"head", to_string(erasure->head)}});
}

}  // namespace sluice::inline daemon
