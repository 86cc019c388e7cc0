// SPDX-License-Identifier: Apache-2.0
#include "sluice/scenario/timing_diagram.hpp"

#include <fmt/format.h>

#include <array>
#include <functional>
#include <optional>
#include <vector>

#include "sluice/ring/ring_format.hpp"

namespace sluice::inline scenario {
namespace {

using Level = std::function<bool(const CyclePins&)>;
using Label = std::function<std::optional<std::string>(const CyclePins&)>;

/// A signal of one bit; empty when it never moves from low.
std::string bit(std::span<const CyclePins> cycles, const std::string& name, const Level& level) {
  std::string wave;
  std::optional<bool> last;
  bool ever = false;
  for (const CyclePins& pins : cycles) {
    const bool now = level(pins);
    ever = ever || now;
    wave += last == now ? '.' : now ? '1' : '0';
    last = now;
  }
  return ever ? fmt::format(R"({{"name": "{}", "wave": "{}"}})", name, wave) : "";
}

/// A signal with values where it has one; empty when it never has.
std::string bus(std::span<const CyclePins> cycles, const std::string& name, const Label& label) {
  std::string wave;
  std::string data;
  std::optional<std::string> last;
  for (const CyclePins& pins : cycles) {
    const auto now = label(pins);
    if (!wave.empty() && last == now) {
      wave += '.';
    } else if (now) {
      wave += '=';
      data += fmt::format(R"({}"{}")", data.empty() ? "" : ", ", *now);
    } else {
      wave += 'x';
    }
    last = now;
  }
  return data.empty() ? "" : fmt::format(R"({{"name": "{}", "wave": "{}", "data": [{}]}})", name, wave, data);
}

/// Short, so that it fits into a cycle: the register, with its queue unless that is 0.
std::string register_name(std::uint16_t address) {
  if (address < ring::kQueueBase) return address == ring::kRegCtrl ? "CTRL" : fmt::format("{:03x}", address);
  const std::uint32_t queue = (address - ring::kQueueBase) / ring::kQueueStride;
  const auto of_queue = [queue](const char* name) { return queue == 0 ? name : fmt::format("{}{}", name, queue); };
  switch ((address - ring::kQueueBase) % ring::kQueueStride) {
    case ring::kQueueCtrl:
      return of_queue("QCTRL");
    case ring::kQueueSqTail:
      return of_queue("TAIL");
    case ring::kQueueCqHead:
      return of_queue("HEAD");
    case ring::kQueueCancelGeneration:
      return of_queue("GEN");
    case ring::kQueueCancelSlot:
      return of_queue("SLOT");
    default:
      return fmt::format("{:03x}", address);
  }
}

std::vector<std::string> port(std::span<const CyclePins> cycles, PortPins CyclePins::*const pins) {
  const auto level = [pins](bool PortPins::*const pin) {
    return [pins, pin](const CyclePins& cycle) { return cycle.*pins.*pin; };
  };
  std::vector<std::string> signals;
  const auto add = [&](const std::string& signal) {
    if (!signal.empty()) signals.push_back(signal);
  };
  const auto burst = [](std::uint64_t address) { return fmt::format("{:04x}", address & 0xFFFF); };
  constexpr std::array kResponses = {"OKAY", "EXOKAY", "SLVERR", "DECERR"};
  const std::string aw = bit(cycles, "AWVALID", level(&PortPins::awvalid));
  add(aw);
  if (!aw.empty()) add(bit(cycles, "AWREADY", level(&PortPins::awready)));
  add(bus(cycles, "AWADDR", [&](const CyclePins& cycle) -> std::optional<std::string> {
    const PortPins& p = cycle.*pins;
    return p.awvalid ? std::optional(burst(p.awaddr)) : std::nullopt;
  }));
  const std::string w = bit(cycles, "WVALID", level(&PortPins::wvalid));
  add(w);
  if (!w.empty()) {
    add(bit(cycles, "WREADY", level(&PortPins::wready)));
    add(bit(cycles, "WLAST", [pins](const CyclePins& cycle) { return (cycle.*pins).wvalid && (cycle.*pins).wlast; }));
  }
  add(bit(cycles, "BVALID", level(&PortPins::bvalid)));
  add(bus(cycles, "BRESP", [&](const CyclePins& cycle) -> std::optional<std::string> {
    const PortPins& p = cycle.*pins;
    return p.bvalid ? std::optional<std::string>(kResponses[p.bresp % 4]) : std::nullopt;
  }));
  add(bit(cycles, "ARVALID", level(&PortPins::arvalid)));
  add(bus(cycles, "ARADDR", [&](const CyclePins& cycle) -> std::optional<std::string> {
    const PortPins& p = cycle.*pins;
    return p.arvalid ? std::optional(burst(p.araddr)) : std::nullopt;
  }));
  add(bit(cycles, "RVALID", level(&PortPins::rvalid)));
  return signals;
}

std::string group(const std::string& name, const std::vector<std::string>& signals) {
  if (signals.empty()) return "";
  std::string text = fmt::format("    [\"{}\"", name);
  for (const std::string& signal : signals) text += ",\n      " + signal;
  return text + "]";
}

}  // namespace

std::string timing_diagram(std::span<const CyclePins> cycles, const std::string& title) {
  std::vector<std::string> parts;
  const auto add = [&](const std::string& part) {
    if (!part.empty()) parts.push_back(part);
  };
  parts.push_back(fmt::format(R"(    {{"name": "ap_clk", "wave": "p{}"}})", std::string(cycles.size() - 1, '.')));
  if (const std::string writes = bus(cycles, "register write",
                                     [](const CyclePins& pins) {
                                       return pins.register_write ? std::optional(register_name(pins.register_address))
                                                                  : std::nullopt;
                                     });
      !writes.empty()) {
    parts.push_back("    " + writes);
  }
  add(group("m00_axi", port(cycles, &CyclePins::data)));
  add(group("m01_axi", port(cycles, &CyclePins::rings)));
  if (const std::string interrupt = bit(cycles, "interrupt", [](const CyclePins& pins) { return pins.interrupt; });
      !interrupt.empty()) {
    parts.push_back("    " + interrupt);
  }
  std::string text = "{\n  \"signal\": [\n";
  for (std::size_t index = 0; index < parts.size(); ++index) text += (index == 0 ? "" : ",\n") + parts[index];
  return text +
         fmt::format("\n  ],\n  \"head\": {{\"text\": \"{}\", \"tick\": {}}},\n  \"config\": {{\"hscale\": 1}}\n}}\n",
                     title, cycles.front().cycle);
}

}  // namespace sluice::inline scenario
