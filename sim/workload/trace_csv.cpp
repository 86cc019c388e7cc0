// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ostream.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <istream>

#include "line_reader.hpp"
#include "sluice/base/limits.hpp"
#include "sluice/base/parse.hpp"
#include "sluice/base/printable.hpp"
#include "sluice/workload/trace.hpp"

namespace sluice::inline workload {
namespace {

constexpr std::array<std::string_view, 8> kColumns = {"time_s", "event", "vm",    "customer",
                                                      "group",  "pool",  "bytes", "inside"};
constexpr std::string_view kHeader = "time_s,event,vm,customer,group,pool,bytes,inside";
/// The generator says what it drew; who replays the trace reports it.
constexpr std::string_view kDrawnRemark = "# drawn: ";
constexpr std::array<TraceEventKind, 9> kKinds = {
    TraceEventKind::CreateGroup, TraceEventKind::CreatePool,  TraceEventKind::DestroyPool,
    TraceEventKind::Create,      TraceEventKind::BalloonUp,   TraceEventKind::BalloonDown,
    TraceEventKind::Reboot,      TraceEventKind::ChangeGroup, TraceEventKind::Terminate};

struct Field {
  std::string_view text;
  std::size_t column = 1;  ///< of its first character, from 1
};
using Fields = std::array<Field, kColumns.size()>;

Error bad_line(const std::string& name, std::size_t line, const Field& field, std::string_view expected) {
  return {HostErrc::InvalidArgument, fmt::format("{}:{}:{}: {}: expected {}; nothing was run", name, line, field.column,
                                                 in_quotes(field.text), expected)};
}

/// Cuts a line at its commas; nullopt: not as many fields as columns.
std::optional<Fields> cut(std::string_view line) {
  Fields fields;
  std::size_t begin = 0;
  for (std::size_t index = 0; index < fields.size(); ++index) {
    const std::size_t end = line.find(',', begin);
    const bool last = index + 1 == fields.size();
    if ((end == std::string_view::npos) != last) return std::nullopt;
    fields[index] = {line.substr(begin, last ? std::string_view::npos : end - begin), begin + 1};
    begin = end + 1;
  }
  return fields;
}

/// Empty means 0, which means none.
std::optional<std::uint64_t> parse_number(std::string_view text) {
  return text.empty() ? 0 : parse_integer<std::uint64_t>(text);
}

/// Seconds with at most three decimals, as milliseconds.
std::optional<std::int64_t> parse_time_ms(std::string_view text) {
  const std::size_t point = text.find('.');
  const std::string_view whole = text.substr(0, point);
  const std::string_view fraction = point == std::string_view::npos ? std::string_view("0") : text.substr(point + 1);
  const auto seconds = parse_number(whole);
  const auto decimals = parse_number(fraction);
  if (whole.empty() || fraction.empty() || fraction.size() > 3 || !seconds || !decimals ||
      !limits::kTraceSeconds.hold(*seconds)) {
    return std::nullopt;
  }
  std::uint64_t milliseconds = *decimals;
  for (std::size_t digits = fraction.size(); digits < 3; ++digits) milliseconds *= 10;
  return static_cast<std::int64_t>(*seconds * 1000 + milliseconds);
}

Result<TraceEvent> parse_event(const Fields& fields, const std::string& name, std::size_t line) {
  TraceEvent event;
  const auto time_ms = parse_time_ms(fields[0].text);
  if (!time_ms) {
    return bad_line(
        name, line, fields[0],
        fmt::format("seconds up to {} with up to three decimals, for example 12.345", limits::kTraceSeconds.max));
  }
  event.time_ms = *time_ms;
  const auto kind = std::find_if(kKinds.begin(), kKinds.end(),
                                 [&](TraceEventKind each) { return to_string(each) == fields[1].text; });
  if (kind == kKinds.end()) {
    return bad_line(
        name, line, fields[1],
        "create_group, create_pool, destroy_pool, create, balloon_up, balloon_down, reboot, change_group or "
        "terminate");
  }
  event.kind = *kind;
  std::array<std::uint64_t, 6> numbers{};
  for (std::size_t index = 0; index < numbers.size(); ++index) {
    const auto number = parse_number(fields[index + 2].text);
    if (!number) return bad_line(name, line, fields[index + 2], "a whole number, or nothing");
    numbers[index] = *number;
  }
  if (!limits::kTraceBytes.hold(numbers[4])) return bad_line(name, line, fields[6], "at most 2^50 bytes");
  for (const std::size_t id : {0U, 1U, 2U, 3U, 5U}) {
    if (!limits::kTraceId.hold(numbers[id])) return bad_line(name, line, fields[id + 2], "an id below 2^63");
  }
  event.vm = VmId(numbers[0]);
  event.customer = CustomerId(numbers[1]);
  event.group = TrustGroupId(numbers[2]);
  event.pool = DedicatedPoolId(numbers[3]);
  event.bytes = ByteCount(numbers[4]);
  event.inside = TrustGroupId(numbers[5]);
  return event;
}

}  // namespace

Result<Trace> read_csv(std::istream& in, const std::string& name) {
  Trace trace;
  trace.source = name;
  trace.taken = "everything";
  TraceChecker checker;
  constexpr std::size_t kLongestLine = 4094;  // no line of a trace comes near it
  LineReader lines(in, kLongestLine);
  LineReader::Got got{};
  while ((got = lines.next()) == LineReader::Got::Line) {
    const std::string_view text = lines.line();
    const std::size_t line = lines.number();
    if (line == 1) {
      if (text != kHeader) return bad_line(name, line, {text, 1}, fmt::format("the header {}", kHeader));
      continue;
    }
    if (text.starts_with(kDrawnRemark)) {
      trace.drawn = text.substr(kDrawnRemark.size());
      if (printable(trace.drawn, kLongestLine) != trace.drawn) {  // it is printed again
        return bad_line(name, line, {text, 1}, "letters of ASCII in what was drawn");
      }
    }
    if (text.empty() || text.front() == '#') continue;
    const auto fields = cut(text);
    if (!fields) return bad_line(name, line, {text, 1}, fmt::format("{} fields: {}", kColumns.size(), kHeader));
    auto event = parse_event(*fields, name, line);
    if (!event) return event.error();
    if (const auto problem = checker.add(*event)) {
      const auto column = std::find(kColumns.begin(), kColumns.end(), problem->column) - kColumns.begin();
      return bad_line(name, line, (*fields)[static_cast<std::size_t>(column)], problem->expected);
    }
    trace.events.push_back(*event);
  }
  if (got == LineReader::Got::TooLong) {
    return bad_line(name, lines.number(), {lines.line(), 1}, fmt::format("a line of at most {} bytes", kLongestLine));
  }
  if (got == LineReader::Got::Failed) {
    return Error{HostErrc::NoResources,
                 fmt::format("{}: reading failed after line {}; nothing was run", name, lines.number())};
  }
  if (trace.events.empty()) {
    return Error{HostErrc::InvalidArgument,
                 fmt::format("{}: no events: expected the header {} and at least one line", name, kHeader)};
  }
  return trace;
}

Result<Trace> read_csv_file(const std::string& path) {
  std::ifstream in(path);
  if (in) return read_csv(in, path);
  return Error{HostErrc::InvalidArgument,
               fmt::format("cannot read the trace {}: {}; make one with 'sluice trace generate'", in_quotes(path, 200),
                           std::strerror(errno))};
}

void write_csv(const Trace& trace, std::ostream& out) {
  const auto optional = [](std::uint64_t value) { return value == 0 ? std::string() : std::to_string(value); };
  fmt::print(out, "{}\n", kHeader);
  if (!trace.drawn.empty()) fmt::print(out, "{}{}\n", kDrawnRemark, trace.drawn);
  for (const TraceEvent& event : trace.events) {
    fmt::print(out, "{}.{:03},{},{},{},{},{},{},{}\n", event.time_ms / 1000, event.time_ms % 1000,
               to_string(event.kind), optional(event.vm.value()), optional(event.customer.value()),
               optional(event.group.value()), optional(event.pool.value()), optional(event.bytes.value()),
               optional(event.inside.value()));
  }
}

}  // namespace sluice::inline workload
