// SPDX-License-Identifier: Apache-2.0
#include "sluice/vmm/qmp.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <utility>

#include "sluice/base/json.hpp"

namespace sluice::inline vmm {

namespace json = boost::json;

/// One line of QEMU's. Each getter fails where the member is missing or of another type.
class Qmp::Message {
 public:
  explicit Message(const json::object& object) : object_(&object) {}

  [[nodiscard]] bool has(std::string_view key) const { return object_->contains(key); }
  [[nodiscard]] std::optional<Message> object(std::string_view key) const {
    const json::value* const value = object_->if_contains(key);
    if (value == nullptr || !value->is_object()) return std::nullopt;
    return Message(value->get_object());
  }
  [[nodiscard]] std::optional<std::string> text(std::string_view key) const {
    const json::value* const value = object_->if_contains(key);
    if (value == nullptr || !value->is_string()) return std::nullopt;
    return std::string(value->get_string());
  }
  [[nodiscard]] std::optional<bool> flag(std::string_view key) const {
    const json::value* const value = object_->if_contains(key);
    if (value == nullptr || !value->is_bool()) return std::nullopt;
    return value->get_bool();
  }
  [[nodiscard]] std::optional<std::uint64_t> number(std::string_view key) const {
    const json::value* const value = object_->if_contains(key);
    if (value == nullptr || !value->is_int64() || value->get_int64() < 0) return std::nullopt;
    return static_cast<std::uint64_t>(value->get_int64());
  }

 private:
  const json::object* object_;
};

namespace {

constexpr std::uint64_t kMostDescriptors = 1ULL << 30;
constexpr std::size_t kLongestId = 127;
constexpr std::size_t kMostErrorText = 300;

/// What QEMU takes as an id of ours.
bool is_id(std::string_view text) {
  const auto is_letter = [](char letter) {
    return (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z');
  };
  return !text.empty() && text.size() <= kLongestId && is_letter(text.front()) &&
         std::ranges::all_of(text, [&](char letter) {
           return is_letter(letter) || (letter >= '0' && letter <= '9') || letter == '-' || letter == '.' ||
                  letter == '_';
         });
}

Error no_id(std::string_view id) {
  return {HostErrc::InvalidArgument,
          fmt::format("{} is no id for QEMU: a letter, and then letters, digits, '-', '.' and '_', at most {} in all",
                      in_quotes(id), kLongestId)};
}

std::optional<EndReason> reason_of(std::string_view text) {
  using Pair = std::pair<std::string_view, EndReason>;
  constexpr std::array<Pair, 8> kReasons = {{{"guest-shutdown", EndReason::GuestShutDown},
                                             {"guest-reset", EndReason::GuestReset},
                                             {"guest-panic", EndReason::GuestPanic},
                                             {"host-qmp-quit", EndReason::HostQuit},
                                             {"host-ui", EndReason::HostQuit},
                                             {"host-signal", EndReason::HostSignal},
                                             {"host-qmp-system-reset", EndReason::GuestReset},
                                             {"subsystem-reset", EndReason::GuestReset}}};
  const auto* const found = std::ranges::find(kReasons, text, &Pair::first);
  if (found == kReasons.end()) return std::nullopt;
  return found->second;
}

}  // namespace

std::string_view to_string(EndReason reason) {
  constexpr std::array<std::string_view, 6> kNames = {"none",        "guest shut down", "guest reset",
                                                      "guest panic", "host quit",       "host signal"};
  return kNames.at(static_cast<std::size_t>(reason));
}

Qmp::Qmp() { put({"{\"execute\":\"qmp_capabilities\",\"id\":0}\n"}); }

Result<void> Qmp::receive(std::string_view bytes) {
  if (stage_ == Stage::Failed) {
    return Error{HostErrc::WrongState, "this session with QEMU has ended by an error: connect again"};
  }
  while (!bytes.empty()) {
    const std::size_t end = bytes.find('\n');
    const std::string_view piece = bytes.substr(0, end);
    if (piece.size() > kLongestLine.value() - input_.size()) {
      return failed(fmt::format("it has a line of more than {}", print_bytes(kLongestLine)));
    }
    input_ += piece;
    if (end == std::string_view::npos) return {};
    bytes.remove_prefix(end + 1);
    const std::string line = std::exchange(input_, {});
    if (auto taken = take_line(line); !taken) return taken.error();
  }
  return {};
}

std::optional<QmpOutput> Qmp::take_output() {
  if (output_.empty()) return std::nullopt;
  QmpOutput next = std::move(output_.front());
  output_.pop_front();
  return next;
}

std::vector<QmpEvent> Qmp::take_events() { return std::exchange(events_, {}); }

Result<void> Qmp::take_line(std::string_view line) {
  if (line.find_first_not_of(" \t\r") == std::string_view::npos) return {};
  const auto parsed = parse_json(line, kLongestLine);
  if (!parsed) return failed(fmt::format("the line {} is no JSON: {}", in_quotes(line), parsed.error().message));
  const json::object* const object = parsed->if_object();
  if (object == nullptr) return failed(fmt::format("the line {} is no JSON object", in_quotes(line)));
  const Message message(*object);
  if (stage_ == Stage::Greeting) return greeted(message);
  if (message.has("event")) return happened(message);
  if (message.has("return") || message.has("error")) return replied(message);
  return failed(fmt::format("the line {} is neither an event nor a reply", in_quotes(line)));
}

Result<void> Qmp::greeted(const Message& message) {
  const auto greeting = message.object("QMP");
  const auto version = greeting ? greeting->object("version") : std::nullopt;
  const auto numbers = version ? version->object("qemu") : std::nullopt;
  if (!numbers) return failed("its first line is no greeting with QEMU's version");
  const auto major = numbers->number("major"), minor = numbers->number("minor"), micro = numbers->number("micro");
  if (!major || !minor || !micro) return failed("the version in its greeting is not of three numbers");
  version_ = fmt::format("{}.{}.{}", *major, *minor, *micro);
  stage_ = Stage::Capabilities;
  return {};
}

Result<void> Qmp::replied(const Message& message) {
  const auto id = message.number("id");
  if (stage_ == Stage::Capabilities) {
    if (id != 0U || !message.object("return")) return failed("it does not agree on its capabilities");
    stage_ = Stage::Ready;
    events_.emplace_back(qmp::Ready{version_});
    while (!held_back_.empty()) {
      put(std::move(held_back_.front()));
      held_back_.pop_front();
    }
    return {};
  }
  const auto command = id ? pending_.find(*id) : pending_.end();
  if (command == pending_.end()) return failed("it replies to a command that it was not given");
  qmp::Reply reply{*id, {}, {}, -1};
  const auto answer = message.object("return");
  if (const auto error = message.object("error")) {
    const auto kind = error->text("class"), description = error->text("desc");
    if (!kind || !description || message.has("return")) return failed("an error in a reply has no class and desc");
    reply.error = fmt::format("{}: {}", printable(*kind), printable(*description, kMostErrorText));
  } else if (!answer) {
    return failed("the return in a reply is no object");
  } else if (command->second == Asked::Status) {
    const auto status = answer->text("status");
    if (!status) return failed("the reply to query-status has no status");
    reply.status = printable(*status);
  } else if (command->second == Asked::Number) {
    const auto number = answer->number("fd");
    if (!number || *number > kMostDescriptors) return failed("the reply to add-fd has no fd");
    reply.descriptor = static_cast<int>(*number);
  }
  pending_.erase(command);
  events_.emplace_back(std::move(reply));
  return {};
}

Result<void> Qmp::happened(const Message& message) {
  const auto name = message.text("event");
  if (!name) return failed("the name of an event is no text");
  const auto data = message.object("data");
  const auto wrong = [&] { return failed(fmt::format("the event {} lacks what it should say", in_quotes(*name))); };
  if (*name == "RESET") {
    const auto by_guest = data ? data->flag("guest") : std::nullopt;
    if (!by_guest) return wrong();
    reason_ = EndReason::None;
    has_ended_ = false;
    events_.emplace_back(qmp::Reset{*by_guest});
  } else if (*name == "SHUTDOWN") {
    const auto by_guest = data ? data->flag("guest") : std::nullopt;
    const auto reason = data ? data->text("reason") : std::nullopt;
    if (!by_guest || !reason) return wrong();
    ended(reason_of(*reason).value_or(EndReason::None));
    events_.emplace_back(qmp::ShutDown{printable(*reason), *by_guest});
  } else if (*name == "GUEST_PANICKED") {
    const auto action = data ? data->text("action") : std::nullopt;
    if (!action) return wrong();
    const bool goes_on = *action == "run";
    if (!goes_on) ended(EndReason::GuestPanic);
    events_.emplace_back(qmp::Panicked{goes_on});
  } else if (*name == "DEVICE_DELETED") {
    if (!data || (data->has("device") && !data->text("device"))) return wrong();
    events_.emplace_back(qmp::DeviceDeleted{data->text("device").value_or("")});
  } else if (*name == "STOP") {
    events_.emplace_back(qmp::Stopped{});
  } else if (*name == "RESUME") {
    events_.emplace_back(qmp::Resumed{});
  } else {
    ++other_events_;
  }
  return {};
}

void Qmp::ended(EndReason reason) {
  if (has_ended_) return;
  has_ended_ = true;
  reason_ = reason;
}

Error Qmp::failed(std::string message) {
  stage_ = Stage::Failed;
  input_.clear();
  output_.clear();
  held_back_.clear();
  pending_.clear();
  return {HostErrc::InvalidArgument,
          "what QEMU's monitor says cannot be understood: " + std::move(message) + "; the session has ended"};
}

void Qmp::put(QmpOutput output) {
  if (!output_.empty() && output.descriptor < 0) {
    output_.back().bytes += output.bytes;
  } else {
    output_.push_back(std::move(output));
  }
}

Result<QmpId> Qmp::send(std::string_view command, std::string_view arguments, Asked asked, int descriptor) {
  if (stage_ == Stage::Failed) {
    return Error{HostErrc::WrongState,
                 fmt::format("{} cannot be sent: the session with QEMU has ended by an error", command)};
  }
  if (pending_.size() >= kMostPending) {
    return Error{HostErrc::WrongState, fmt::format("{} cannot be sent: {} commands have no reply yet; QEMU is stuck",
                                                   command, pending_.size())};
  }
  const QmpId id = ++last_id_;
  pending_.emplace(id, asked);
  const std::string given = arguments.empty() ? "" : fmt::format(",\"arguments\":{{{}}}", arguments);
  QmpOutput output{fmt::format("{{\"execute\":\"{}\"{},\"id\":{}}}\n", command, given, id), descriptor};
  if (stage_ == Stage::Ready) {
    put(std::move(output));
  } else {
    held_back_.push_back(std::move(output));
  }
  return id;
}

Result<QmpId> Qmp::set_action(OnReboot on_reboot, OnShutDown on_shut_down) {
  return send("set-action",
              fmt::format(R"("reboot":"{}","shutdown":"{}")", on_reboot == OnReboot::Reset ? "reset" : "shutdown",
                          on_shut_down == OnShutDown::End ? "poweroff" : "pause"));
}

Result<QmpId> Qmp::add_descriptor(std::uint32_t set, int descriptor) {
  if (descriptor < 0) {
    return Error{HostErrc::InvalidArgument, fmt::format("descriptor {} is none: give one that is open", descriptor)};
  }
  return send("add-fd", fmt::format("\"fdset-id\":{}", set), Asked::Number, descriptor);
}

Result<QmpId> Qmp::remove_descriptors(std::uint32_t set) {
  return send("remove-fd", fmt::format("\"fdset-id\":{}", set));
}

Result<QmpId> Qmp::add_memory(std::string_view id, ByteCount size, int descriptor_in_qemu) {
  if (!is_id(id)) return no_id(id);
  // The name /dev/fd is not there in the mount namespace that libvirt gives to a VM.
  return send("object-add",
              fmt::format(R"("qom-type":"memory-backend-file","id":"{}","size":{},"share":true,"prealloc":false,)"
                          R"("mem-path":"/proc/self/fd/{}")",
                          id, size.value(), descriptor_in_qemu));
}

Result<QmpId> Qmp::add_dimm(std::string_view id, std::string_view memory) {
  if (!is_id(id)) return no_id(id);
  if (!is_id(memory)) return no_id(memory);
  return send("device_add", fmt::format(R"("driver":"pc-dimm","id":"{}","memdev":"{}")", id, memory));
}

Result<QmpId> Qmp::delete_device(std::string_view id) {
  if (!is_id(id)) return no_id(id);
  return send("device_del", fmt::format(R"("id":"{}")", id));
}

Result<QmpId> Qmp::delete_object(std::string_view id) {
  if (!is_id(id)) return no_id(id);
  return send("object-del", fmt::format(R"("id":"{}")", id));
}

Result<QmpId> Qmp::balloon(ByteCount size) { return send("balloon", fmt::format("\"value\":{}", size.value())); }

}  // namespace sluice::inline vmm
