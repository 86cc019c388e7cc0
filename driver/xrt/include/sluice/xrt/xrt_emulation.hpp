// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "sluice/engine/error.hpp"

namespace sluice::inline xrt {

struct XrtEmulationOptions {
  std::string program;                      ///< sluice-xrt-device
  std::vector<std::string> device_options;  ///< Of its command `serve`.
};

/// XRT's hardware emulation with our device process. Sets the environment that XRT reads when it is first used: there
/// is one in a process at a time, and XRT must not have been used before for a card. One thread at a time.
///
/// A device process may die, or be stopped by a signal. XRT does not notice: it waits for ever for an answer. Who asks
/// alive() before each use of XRT is safe from that but for a death in the middle of a use.
class XrtEmulation {
 public:
  /// Errors: DeviceMissing, NoResources.
  [[nodiscard]] static Result<std::unique_ptr<XrtEmulation>> start(const XrtEmulationOptions& options);
  XrtEmulation(const XrtEmulation&) = delete;
  XrtEmulation& operator=(const XrtEmulation&) = delete;
  /// The card must be closed, or the process dead. Ends the process and removes its folder.
  ~XrtEmulation();

  [[nodiscard]] std::string xclbin() const { return folder_ / "scrub.xclbin"; }
  /// One that is stopped is killed. When the process has died, somebody else answers what XRT still asks it at the end
  /// of this process.
  [[nodiscard]] bool alive();
  [[nodiscard]] pid_t process() const { return process_; }

  /// "hold": from now on cycles pass only in accesses to registers. "run N": N cycles. "free": as before.
  /// Returns when it is done, or after some seconds.
  void command(const std::string& line);

 private:
  XrtEmulation() = default;
  void bury();
  std::filesystem::path folder_;
  pid_t process_ = -1;
  int commands_ = -1;
  int answers_ = -1;
  bool buried_ = false;
};

}  // namespace sluice::inline xrt
