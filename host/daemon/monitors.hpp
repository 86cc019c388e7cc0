// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "sluice/daemon/host.hpp"

namespace sluice::inline daemon {

/// The world around a Host, on one executor of one thread: processes by their pidfds, and QMP monitors by sockets in a
/// folder, so that another sluiced finds them again.
class Monitors final : public HostEnvironment {
 public:
  /// `folder` is there; bricks are in `memory_folder`. `after` is called after each call of the host.
  Monitors(boost::asio::any_io_executor executor, std::string folder, std::string memory_folder,
           std::function<void()> after);
  ~Monitors() override;

  /// Before anything is watched; nullptr: nobody is told any more.
  void tell(Host* host);

  void watch(VmId vm, Process process) override;
  [[nodiscard]] Result<int> listen_for_monitor(VmId vm) override;
  void follow_monitor(VmId vm) override;
  [[nodiscard]] bool reset(VmId vm) override;
  void end_process(VmId vm) override;
  void policies_changed() override;
  void forget(VmId vm) override;

 private:
  struct Shared;
  class Watched;
  class Followed;
  [[nodiscard]] std::string path_of(VmId vm) const;

  std::shared_ptr<Shared> shared_;
  std::string folder_;
  std::map<VmId, std::shared_ptr<Watched>> watched_;
};

}  // namespace sluice::inline daemon
