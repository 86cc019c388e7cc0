// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "sluice/base/units.hpp"
#include "sluice/memory/error.hpp"

namespace sluice::bench {

/// How guests are run here.
struct VmTools {
  std::string qemu;         ///< The emulator itself.
  std::string wrapper;      ///< sluice-qemu
  std::string daemon;       ///< sluiced
  std::string control;      ///< sluicectl
  std::string accelerator;  ///< "kvm" where our guest starts under it, else "tcg".

  /// Errors: NoResources (a program is not there, or the guest does not start), with its name.
  [[nodiscard]] static Result<VmTools> find();
};

/// Empty, and gone with this object: on tmpfs.
class VmFolder {
 public:
  VmFolder();
  VmFolder(const VmFolder&) = delete;
  VmFolder& operator=(const VmFolder&) = delete;
  ~VmFolder();
  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

/// A process, whose standard input and output are ours. It ends with this object. Its calls throw std::runtime_error
/// where it ends or is silent for a minute.
class VmProcess {
 public:
  using Clock = std::chrono::steady_clock;

  /// `environment`: in front of that of this process.
  VmProcess(const std::vector<std::string>& words, const std::vector<std::string>& environment,
            const std::string& error_file);
  VmProcess(const VmProcess&) = delete;
  VmProcess& operator=(const VmProcess&) = delete;
  ~VmProcess() { kill(); }

  /// The next line of its standard output.
  [[nodiscard]] std::string line();
  void tell(const std::string& command);
  void wait_for_end();
  void kill();
  [[nodiscard]] bool has_ended();
  [[nodiscard]] pid_t process() const { return process_; }
  [[nodiscard]] Clock::time_point started() const { return started_; }

 private:
  [[noreturn]] void fail(const std::string& why) const;

  std::string name_;
  std::string error_file_;
  int input_ = -1, output_ = -1;
  pid_t process_ = 0;
  bool reaped_ = false;
  std::string read_;
  Clock::time_point started_;
};

/// Guests of our own under QEMU, with memory of the kernel or of a sluiced that belongs to this object.
class VmRig {
 public:
  /// One brick of each of these lengths, and `many` bricks of the first: clean when this returns. Throws
  /// std::runtime_error.
  VmRig(const VmTools& tools, const std::vector<ByteCount>& sizes, std::size_t many);

  enum class Memory : std::uint8_t {
    Touched,    ///< The kernel's, at once.
    Untouched,  ///< The kernel's, when the guest touches it.
    Leased,     ///< sluiced's.
  };
  /// `uuid`: of the VM, by a number; `more` arguments of QEMU.
  [[nodiscard]] std::unique_ptr<VmProcess> start(Memory memory, ByteCount size, unsigned uuid,
                                                 const std::vector<std::string>& more = {}) const;
  /// Until all of sluiced's memory is clean, or reserved.
  void settle() const;
  /// Until this VM is reserved for its reboot.
  void wait_until_reserved(unsigned uuid) const;
  /// Whether VMs have what was theirs after a reboot.
  void recycle_on_reboot(bool recycles) const;
  [[nodiscard]] pid_t daemon() const { return daemon_->process(); }

 private:
  [[nodiscard]] std::string control(const std::string& words) const;

  VmTools tools_;
  VmFolder folder_;
  std::unique_ptr<VmProcess> daemon_;
};

}  // namespace sluice::bench
