// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <memory>

#include "sluice/daemon/config.hpp"
#include "sluice/daemon/host.hpp"

namespace sluice::inline daemon {

/// sluiced, whole: memory, engine, ledger, manager, policies, VMs and the socket for VMMs, on one io_context that one
/// thread runs. VMs go on without it: what it must know of them is in the ledger and the stores, at any instant, so
/// that another one goes on where this one has ended, whether it was destroyed or killed. Memory that was being
/// scrubbed then is dirty.
class Daemon {
 public:
  /// Errors: InvalidArgument, WrongState (another one has this memory; somebody has a brick that belongs to no VM),
  /// NoResources, and those of engines.
  [[nodiscard]] static Result<std::unique_ptr<Daemon>> start(boost::asio::io_context& context,
                                                             const DaemonConfig& config);
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  /// No new VMs from now on; `done` is called when no claim waits any more, at the latest after `limit`.
  void drain(std::chrono::nanoseconds limit, std::function<void()> done);

  [[nodiscard]] Host& host();
  [[nodiscard]] PolicyManager& policies();
  /// After each call of host() or policies() that changes something: goes on with what it has started, and has the
  /// monitors follow the policies.
  void settle();

 private:
  struct Parts;
  explicit Daemon(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace sluice::inline daemon
