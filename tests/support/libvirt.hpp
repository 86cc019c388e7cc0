// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <string>

#include "support/patience.hpp"
#include "support/program.hpp"
#include "support/temporary_folder.hpp"

namespace sluice::test {

/// A libvirtd of the test's own with folders of its own. That of root has them where libvirt has its state, and the
/// user libvirt-qemu, in a mount namespace: the machine's stay as they are. Another user's is one of a session. All
/// that it starts ends with this object, or with the test, however that ends: a process between them, the keeper,
/// inherits and ends it.
class Libvirt {
 public:
  Libvirt();
  Libvirt(const Libvirt&) = delete;
  Libvirt& operator=(const Libvirt&) = delete;
  ~Libvirt();

  /// False: it is root without the right to a mount namespace.
  [[nodiscard]] bool is_possible() const { return keeper_ > 0; }
  /// Returns when it answers.
  void start_daemon();
  /// By SIGKILL. Its domains go on.
  void kill_daemon();
  /// Ends all that has been started; returns how many processes that were beside libvirtd, -1: the keeper is gone.
  int end();
  [[nodiscard]] Outcome virsh(const std::string& words) const;
  /// 0: the domain has none.
  [[nodiscard]] pid_t process_of(const std::string& domain) const;
  [[nodiscard]] std::string log() const;

 private:
  /// Has the keeper do it; false: it is gone.
  bool tell_keeper(char order);

  TemporaryFolder folder_;
  pid_t keeper_ = 0;
  int orders_ = -1, done_ = -1;
};

/// The guest's serial port: a socket on which the test listens, and a QEMU after the other connects.
class GuestPort {
 public:
  GuestPort();
  GuestPort(const GuestPort&) = delete;
  GuestPort& operator=(const GuestPort&) = delete;
  ~GuestPort();

  [[nodiscard]] std::string path() const { return folder_ / "serial"; }
  /// The guest's next line. Empty: none came.
  [[nodiscard]] std::string line();
  void tell(const std::string& command);
  [[nodiscard]] std::string ask(const std::string& command) {
    tell(command);
    return line();
  }

 private:
  /// Takes what has come, after a moment if there is nothing; the newest connection counts.
  void exchange(int milliseconds);
  void drop();

  TemporaryFolder folder_;
  int listener_ = -1, connection_ = -1;
  std::string input_;
};

}  // namespace sluice::test
