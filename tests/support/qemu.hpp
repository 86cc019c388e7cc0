// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

#include "sluice/vmm/qmp.hpp"
#include "support/patience.hpp"
#include "support/temporary_folder.hpp"

namespace sluice::test {

/// A QEMU with the guest of sim/guest, in a process of its own that ends with this object. The guest is
/// spoken to by its serial port, QEMU by a monitor on a listening socket that it inherits. Whatever waits has a limit.
class Qemu {
 public:
  enum class Accelerator : std::uint8_t { Tcg, Kvm };

  Qemu();
  Qemu(const Qemu&) = delete;
  Qemu& operator=(const Qemu&) = delete;
  ~Qemu();

  /// The listening socket, for with_memory(). Open until the start.
  [[nodiscard]] int monitor() const { return monitor_; }
  void set_program(std::string program) { program_ = std::move(program); }
  void set_accelerator(Accelerator accelerator) { accelerator_ = accelerator; }
  /// "NAME=value", in the environment of the process.
  void add_environment(std::string variable) { environment_.push_back(std::move(variable)); }
  /// The firmware, a serial port, the panic device and an accelerator are added. The process gets `inherited` under the
  /// same numbers, and the monitor's socket.
  void start(const std::vector<std::string>& arguments, const std::vector<int>& inherited);

  /// The guest's next line. Empty: none came.
  [[nodiscard]] std::string line(std::chrono::seconds limit = kPatience);
  void tell(const std::string& command);
  [[nodiscard]] std::string ask(const std::string& command) {
    tell(command);
    return line();
  }

  /// Connects to the monitor, again where it was before.
  void connect();
  [[nodiscard]] Qmp& qmp() { return qmp_; }
  /// All that this connection has said.
  [[nodiscard]] const std::vector<QmpEvent>& events() const { return events_; }
  [[nodiscard]] qmp::Reply reply_to(const Result<QmpId>& command);
  template <class Event>
  [[nodiscard]] bool says() {
    return happens([this] {
      for (const QmpEvent& event : events_) {
        if (std::holds_alternative<Event>(event)) return true;
      }
      return false;
    });
  }

  [[nodiscard]] pid_t process() const { return process_; }
  void send_signal(int signal) const;
  /// Waits for the end of the process, and for what its monitor has said until then.
  [[nodiscard]] bool ends();
  /// Ends it, if it lives.
  void kill();
  /// What it has printed on its standard error.
  [[nodiscard]] std::string printed() const;

  /// Whether the guest starts under KVM here.
  [[nodiscard]] static bool has_kvm();

 private:
  template <class Condition>
  bool happens(Condition condition, std::chrono::seconds limit = kPatience) {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (!condition()) {
      if (std::chrono::steady_clock::now() > end) return false;
      exchange();
    }
    return true;
  }
  [[nodiscard]] std::vector<std::string> command_line(const std::vector<std::string>& arguments) const;
  /// Reads and writes what there is, for a moment if there is nothing.
  void exchange();
  void read_serial();
  void read_monitor();
  void send_to_monitor();
  [[nodiscard]] bool has_ended();

  TemporaryFolder folder_;
  std::string program_;
  Accelerator accelerator_ = Accelerator::Tcg;
  std::vector<std::string> environment_;
  int serial_listener_ = -1, serial_ = -1;
  int monitor_ = -1, connection_ = -1;
  pid_t process_ = 0;
  bool reaped_ = false;
  std::string serial_input_;
  Qmp qmp_;
  std::vector<QmpEvent> events_;
};

}  // namespace sluice::test
