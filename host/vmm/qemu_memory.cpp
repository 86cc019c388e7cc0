// SPDX-License-Identifier: Apache-2.0
// A command line of QEMU with the memory of a lease.
#include <fmt/format.h>

#include "qemu_options.hpp"
#include "sluice/base/parse.hpp"
#include "sluice/vmm/qemu_arguments.hpp"

namespace sluice::inline vmm {
namespace {

namespace json = boost::json;

constexpr std::string_view kBaseId = "sluice-memory";
constexpr std::string_view kMonitorId = "sluice-monitor";

/// What of a backend's description holds for a file as well.
bool stays(std::string_view key) {
  return key == "policy" || key == "dump" || key == "merge" || key == "align" || key.starts_with("host-nodes") ||
         key == "x-use-canonical-path-for-ramblock-id";
}

// The name /dev/fd is not there in the mount namespace that libvirt gives to a VM.
std::string path_of(const QemuBrick& brick) { return fmt::format("/proc/self/fd/{}", brick.descriptor); }

std::string as_keys(const json::object& properties) {
  std::string text;
  for (const auto& member : properties) {
    const json::value& value = member.value();
    if (!text.empty()) text += ',';
    text += member.key() == "qom-type" ? std::string() : std::string(member.key()) + "=";
    if (value.is_bool()) {
      text += value.get_bool() ? "on" : "off";
    } else {
      text += value.is_string() ? with_double_commas(value.get_string()) : json::serialize(value);
    }
  }
  return text;
}

json::object file_backend(std::string_view id, const QemuBrick& brick) {
  return {{"qom-type", "memory-backend-file"},
          {"id", id},
          {"size", brick.length.value()},
          {"share", true},
          {"prealloc", false},
          {"mem-path", path_of(brick)}};
}

Result<std::string> rewritten(const std::string& argument, const QemuPlan::Backend& backend, const QemuBrick& brick) {
  const QemuOption option{"object", argument};
  const auto before = read_properties(option, "qom-type");
  if (!before) return before.error();
  json::object after = file_backend(backend.id, brick);
  for (const auto& member : *before) {
    if (stays(member.key())) after[member.key()] = member.value();
  }
  return is_json(option) ? json::serialize(after) : as_keys(after);
}

Result<void> check(const QemuPlan& plan, std::span<const QemuBrick> bricks) {
  const auto wrong = [](std::string message) { return Error{HostErrc::InvalidArgument, std::move(message)}; };
  const std::size_t base_bricks = bricks.size() - std::min(bricks.size(), plan.backends.size());
  const bool enough = plan.base == ByteCount() ? base_bricks == 0 : base_bricks >= 1;
  if (bricks.size() < plan.backends.size() || !enough || bricks.size() > kMostQemuBricks ||
      (base_bricks > 1 && !plan.takes_any_bricks())) {
    return wrong(fmt::format("{} bricks do not fit a plan for {}{}: give those that it asks for", bricks.size(),
                             plan.bricks().size(), plan.takes_any_bricks() ? " or more" : ""));
  }
  ByteCount base;
  for (std::size_t at = 0; at < bricks.size(); ++at) {
    if (bricks[at].descriptor < 0) {
      return wrong(fmt::format("brick {} has descriptor {}: give one that is open", at, bricks[at].descriptor));
    }
    if (at >= plan.backends.size()) {
      base += bricks[at].length;
    } else if (bricks[at].length != plan.backends[at].length) {
      return wrong(fmt::format("brick {} has {}, and backend {} wants {}: give a brick of that length", at,
                               print_bytes(bricks[at].length), in_quotes(plan.backends[at].id),
                               print_bytes(plan.backends[at].length)));
    }
  }
  if (base == plan.base) return {};
  return wrong(fmt::format("the bricks for the base memory have {}, and -m wants {}: give just that", print_bytes(base),
                           print_bytes(plan.base)));
}

void append_base(std::vector<std::string>& arguments, std::span<const QemuBrick> bricks) {
  const auto add = [&](std::string_view option, std::string value) {
    arguments.emplace_back(option);
    arguments.push_back(std::move(value));
  };
  for (std::size_t at = 0; at < bricks.size(); ++at) {
    const std::string id = bricks.size() == 1 ? std::string(kBaseId) : fmt::format("{}{}", kBaseId, at);
    add("-object", as_keys(file_backend(id, bricks[at])));
    if (bricks.size() == 1) {
      add("-machine", fmt::format("memory-backend={}", id));
    } else {
      add("-numa", fmt::format("node,nodeid={},memdev={}", at, id));
    }
  }
}

}  // namespace

Result<std::vector<std::string>> with_memory(const QemuPlan& plan, std::span<const QemuBrick> bricks, int monitor) {
  if (auto checked = check(plan, bricks); !checked) return checked.error();
  std::vector<std::string> arguments = plan.arguments;
  for (std::size_t at = 0; at < plan.backends.size(); ++at) {
    std::string& argument = arguments[plan.backends[at].argument];
    auto text = rewritten(argument, plan.backends[at], bricks[at]);
    if (!text) return text.error();
    argument = std::move(*text);
  }
  append_base(arguments, bricks.subspan(plan.backends.size()));
  if (monitor < 0) return arguments;
  arguments.insert(arguments.end(),
                   {"-chardev", fmt::format("socket,id={},fd={},server=on,wait=off", kMonitorId, monitor), "-mon",
                    fmt::format("chardev={},mode=control", kMonitorId)});
  return arguments;
}

}  // namespace sluice::inline vmm
