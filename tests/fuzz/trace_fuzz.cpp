// SPDX-License-Identifier: Apache-2.0
// A trace in our CSV.
#include <sstream>

#include "fuzz/fuzz.hpp"
#include "sluice/workload/trace.hpp"

namespace sluice::fuzz {
namespace {

Result<Trace> read(std::string_view text) {
  std::istringstream in{std::string(text)};
  return read_csv(in, "t");
}

std::string write(const Trace& trace) {
  std::ostringstream out;
  write_csv(trace, out);
  return out.str();
}

}  // namespace

void one(std::span<const std::byte> input) {
  const std::string_view text = as_text(input);
  const auto trace = read(text);
  if (!trace) {
    if (trace.error().message.find("no events") != std::string::npos) return check_message(trace.error().message);
    return check_message_of_line(trace.error().message, "t", text);
  }
  enforce(!trace->events.empty(), "a trace has events");
  for (const char letter : trace->drawn) enforce(letter >= ' ' && letter <= '~', "what is repeated can be printed");
  const std::string written = write(*trace);
  const auto again = read(written);
  enforce(again.has_value(), "what is written can be read");
  enforce(write(*again) == written && again->events.size() == trace->events.size() && again->drawn == trace->drawn,
          "what is written is what was read");
  for (const std::uint64_t scale : {1ULL, 16384ULL, 1ULL << 30}) {
    for (const ByteCount page : {ByteCount(4096), ByteCount(1 << 30)}) {
      TraceChecker checker(scale, page);
      for (const TraceEvent& event : trace->events) {
        enforce(!checker.add(event), "a trace that was read can happen");
        enforce(checker.least() <= checker.peak(), "what it needs at least is no more than what is enough");
      }
    }
  }
}

}  // namespace sluice::fuzz
