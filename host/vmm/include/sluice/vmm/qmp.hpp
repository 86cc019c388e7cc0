// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "sluice/base/units.hpp"
#include "sluice/memory/error.hpp"

namespace sluice::inline vmm {

/// Why a VM has ended, as far as its monitor has said.
enum class EndReason : std::uint8_t {
  None,           ///< Nothing was said, or nothing that is known here: it runs, or was killed.
  GuestShutDown,  ///< The guest has powered itself off.
  GuestReset,     ///< It reboots, and not in this process. Whoever asked for that, the guest or the monitor.
  GuestPanic,     ///< The guest has said that it cannot go on.
  HostQuit,       ///< Somebody has told QEMU to end.
  HostSignal,     ///< QEMU was sent SIGTERM, SIGINT or SIGHUP.
};
[[nodiscard]] std::string_view to_string(EndReason reason);

/// Names a command in its reply.
using QmpId = std::uint64_t;

/// What QEMU has said.
namespace qmp {
/// The session is there: commands get their replies from now on.
struct Ready {
  std::string version;  ///< "7.2.22"
  bool operator==(const Ready&) const = default;
};
/// The VM starts anew in this process, with the memory as it is. QEMU says this up to three times for one reboot.
struct Reset {
  bool by_guest = false;
  bool operator==(const Reset&) const = default;
};
/// The VM has ended; QEMU ends too unless it was told to pause (-no-shutdown).
struct ShutDown {
  std::string reason;  ///< As QEMU names it: "guest-shutdown", "host-signal".
  bool by_guest = false;
  bool operator==(const ShutDown&) const = default;
};
/// The guest has panicked.
struct Panicked {
  bool goes_on = false;  ///< It runs on all the same (-action panic=none).
  bool operator==(const Panicked&) const = default;
};
/// The guest has let go of a device that was to be unplugged.
struct DeviceDeleted {
  std::string device;  ///< Its id; empty for what has none.
  bool operator==(const DeviceDeleted&) const = default;
};
struct Stopped {
  bool operator==(const Stopped&) const = default;
};
struct Resumed {
  bool operator==(const Resumed&) const = default;
};
/// A command was obeyed, or not.
struct Reply {
  QmpId id = 0;
  std::string error;    ///< "GenericError: Device 'd1' not found"; empty: obeyed.
  std::string status;   ///< Of query_status(): "running", "paused", "shutdown".
  int descriptor = -1;  ///< Of add_descriptor(): its number in QEMU.
  bool operator==(const Reply&) const = default;
};
}  // namespace qmp

using QmpEvent = std::variant<qmp::Ready, qmp::Reset, qmp::ShutDown, qmp::Panicked, qmp::DeviceDeleted, qmp::Stopped,
                              qmp::Resumed, qmp::Reply>;

/// Bytes for QEMU, and the descriptor that goes along with the first of them (SCM_RIGHTS).
struct QmpOutput {
  std::string bytes;
  int descriptor = -1;  ///< -1: none. Still the caller's, who may close it when it was sent.
};

/// A session with QEMU's monitor, by the QEMU Machine Protocol, without the socket: give it what was read, and send
/// what it has to say. It greets by itself; commands given before wait for that. QEMU is not trusted: what is no QMP,
/// too long, or of a wrong type ends the session with an error, and nothing throws. One thread at a time.
class Qmp {
 public:
  /// Its first output is there at once: sent before QEMU has greeted, it waits in the socket, and QEMU tells its events
  /// from when its main loop runs. What happens before it has read that, it tells nobody.
  Qmp();

  static constexpr ByteCount kLongestLine = kMiB;
  static constexpr std::size_t kMostPending = 256;

  /// What was read from QEMU, in pieces of any length. Errors: InvalidArgument (this is no QMP: close the connection;
  /// what QEMU said before is in take_events()), WrongState (the session has had an error before).
  [[nodiscard]] Result<void> receive(std::string_view bytes);
  /// What is to be sent next, in this order; nullopt: nothing.
  [[nodiscard]] std::optional<QmpOutput> take_output();
  /// What QEMU has said since the last call.
  [[nodiscard]] std::vector<QmpEvent> take_events();

  /// Why the VM has ended. What was said first counts: a second reason, that of the SIGTERM by which a manager ends a
  /// VM that has paused in its end, changes nothing. After a reset the VM runs again, and there is none.
  [[nodiscard]] EndReason end_reason() const { return reason_; }
  [[nodiscard]] bool is_ready() const { return stage_ == Stage::Ready; }
  /// Events of no kind that is in QmpEvent.
  [[nodiscard]] std::uint64_t other_events() const { return other_events_; }

  // Commands. Each returns the id that its reply will have. Errors: WrongState (the session has ended with an error, or
  // kMostPending commands have no reply yet), InvalidArgument (an id that QEMU would not take).

  [[nodiscard]] Result<QmpId> system_reset() { return send("system_reset"); }
  [[nodiscard]] Result<QmpId> system_powerdown() { return send("system_powerdown"); }
  [[nodiscard]] Result<QmpId> cont() { return send("cont"); }
  [[nodiscard]] Result<QmpId> stop() { return send("stop"); }
  [[nodiscard]] Result<QmpId> quit() { return send("quit"); }
  [[nodiscard]] Result<QmpId> query_status() { return send("query-status", {}, Asked::Status); }

  /// What becomes of a reboot: a reset in the process, or the end of the VM.
  enum class OnReboot : std::uint8_t { Reset, ShutDown };
  /// What becomes of the process at the end of the VM.
  enum class OnShutDown : std::uint8_t { End, Pause };
  [[nodiscard]] Result<QmpId> set_action(OnReboot on_reboot, OnShutDown on_shut_down);

  /// Passes a descriptor to QEMU, in the set of this number. It must stay open until the output was sent.
  [[nodiscard]] Result<QmpId> add_descriptor(std::uint32_t set, int descriptor);
  [[nodiscard]] Result<QmpId> remove_descriptors(std::uint32_t set);
  /// Memory in a descriptor of QEMU's, as the reply to add_descriptor() has it.
  [[nodiscard]] Result<QmpId> add_memory(std::string_view id, ByteCount size, int descriptor_in_qemu);
  /// Plugs memory in: a pc-dimm.
  [[nodiscard]] Result<QmpId> add_dimm(std::string_view id, std::string_view memory);
  /// Asks the guest to let go of a device; a DeviceDeleted comes when it has.
  [[nodiscard]] Result<QmpId> delete_device(std::string_view id);
  [[nodiscard]] Result<QmpId> delete_object(std::string_view id);
  /// Asks the guest to make do with so much memory.
  [[nodiscard]] Result<QmpId> balloon(ByteCount size);

 private:
  enum class Stage : std::uint8_t { Greeting, Capabilities, Ready, Failed };
  enum class Asked : std::uint8_t { Anything, Status, Number };
  class Message;  // qmp.cpp
  /// A command as JSON text, without its id. `arguments`: the members of an object, or empty.
  [[nodiscard]] Result<QmpId> send(std::string_view command, std::string_view arguments = {},
                                   Asked asked = Asked::Anything, int descriptor = -1);
  void put(QmpOutput output);
  [[nodiscard]] Result<void> take_line(std::string_view line);
  [[nodiscard]] Result<void> greeted(const Message& message);
  [[nodiscard]] Result<void> replied(const Message& message);
  [[nodiscard]] Result<void> happened(const Message& message);
  void ended(EndReason reason);
  [[nodiscard]] Error failed(std::string message);

  Stage stage_ = Stage::Greeting;
  std::string input_;                ///< The beginning of a line.
  std::deque<QmpOutput> output_;     ///< To be sent.
  std::deque<QmpOutput> held_back_;  ///< Commands, until the session is ready.
  std::vector<QmpEvent> events_;
  std::map<QmpId, Asked> pending_;
  QmpId last_id_ = 0;
  std::string version_;
  EndReason reason_ = EndReason::None;
  bool has_ended_ = false;
  std::uint64_t other_events_ = 0;
};

}  // namespace sluice::inline vmm
