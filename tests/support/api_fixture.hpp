// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "sluice/daemon/api.hpp"
#include "support/manual_engine.hpp"
#include "support/memory.hpp"
#include "support/temporary_folder.hpp"

namespace sluice::test {

/// Nobody is watched, and nothing listens.
class NoEnvironment final : public HostEnvironment {
 public:
  void watch(VmId /*vm*/, Process /*process*/) override {}
  Result<int> listen_for_monitor(VmId /*vm*/) override { return Error{HostErrc::NoResources, "there are no monitors"}; }
  void follow_monitor(VmId /*vm*/) override {}
  bool reset(VmId /*vm*/) override { return false; }
  void end_process(VmId /*vm*/) override {}
  void policies_changed() override {}
  void forget(VmId /*vm*/) override {}
};

/// Nobody but us has a brick.
class AloneAccess final : public BrickAccess {
 public:
  Result<int> open(const Brick& /*brick*/) override { return ::open("/dev/null", O_RDWR | O_CLOEXEC); }
  Result<bool> take(const Brick& /*brick*/) override { return true; }
  Result<void> renew(const Brick& /*brick*/) override { return {}; }
  Result<std::vector<Holder>> holders(const Brick& /*brick*/) override { return std::vector<Holder>{}; }
};

/// The web service over eight bricks of 16 KiB, without sockets; the test plays the engine and the clock.
class ApiHost {
 public:
  static constexpr std::uint64_t kBrick = 16 << 10;
  static constexpr CustomerId kDefault{1};  ///< Of VMs that name no customer.

  ApiHost() : space_(8 * kBrick, std::byte{0xEE}) {
    std::vector<Brick> bricks;
    for (std::size_t at = 0; at < 8; ++at) {
      bricks.push_back({.memory = space_.part(at * kBrick, kBrick), .whole = true});
    }
    memory_ = *ForeignMemory::create(bricks);
    manager_ = *MemoryManager::create(*memory_, engine_);
    policies_.emplace(PolicyBook(), *manager_);
    leases_.emplace(*LeaseStore::open(folder_ / "leases.db"));
    state_.emplace(*StateStore::open(folder_ / "state.db"));
    audit_.emplace(*Audit::open(folder_ / "audit.db"));
    host_.emplace(*policies_, *memory_, access_, *leases_, *state_, *audit_, environment_, kDefault);
    api_.emplace(*host_, *policies_, *state_, *memory_, engine_, series_, events_);
    settle();
  }
  ApiHost(const ApiHost&) = delete;
  ApiHost& operator=(const ApiHost&) = delete;
  ~ApiHost() {
    api_.reset();
    host_.reset();
    policies_.reset();
    manager_.reset();
  }

  void settle() {
    for (int round = 0; round < 1000 && manager_->has_work(); ++round) {
      manager_->poll();
      if (!engine_.running().empty() && std::exchange(fails_next_scrub_, false)) {
        engine_.end(0, Outcome::Failed, 0, FailureCause::SlaveError);
      }
      engine_.end_all();
    }
    manager_->poll();
  }
  void fail_next_scrub() { fails_next_scrub_ = true; }
  ApiResponse ask(std::string_view method, std::string_view target, std::string_view body = "",
                  Caller caller = Caller::provider()) {
    return api_->answer({std::string(method), std::string(target), std::string(body)}, caller);
  }
  /// A process of the test's own asks for memory for a VM. Settled; the error, if it was refused.
  std::optional<Error> come(const Uuid& uuid, std::uint64_t bricks = 1, CustomerId customer = {}) {
    AcquireRequest request;
    request.vm = uuid;
    request.name = "test";
    request.customer = customer;
    request.size = ByteCount(bricks * kBrick);
    request.filtered = true;
    return come(request);
  }
  std::optional<Error> come(const AcquireRequest& request) {
    auto self = Process::of_pidfd(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
    std::optional<Error> refused;
    auto answered = std::make_shared<std::optional<Error>>();
    const auto begun = host_->acquire(request, std::move(*self), [answered](const Result<GrantedLease>& lease) {
      if (!lease) *answered = lease.error();
      if (!lease) return;
      for (const int fd : lease->grant.descriptors) ::close(fd);
    });
    if (!begun) return begun.error();
    settle();
    return *answered;
  }
  /// Its process has ended.
  void end(const Uuid& uuid) {
    host_->process_ended(host_->status(uuid).lease.vm);
    settle();
    now_ += std::chrono::seconds(1);
    host_->leases().poll(now_);
    settle();
  }
  static Uuid uuid_of(std::uint8_t vm) {
    Uuid uuid;
    uuid.bytes.fill(static_cast<std::byte>(vm));
    return uuid;
  }

  TemporaryFolder folder_;
  Memory space_;
  std::unique_ptr<ForeignMemory> memory_;
  ManualEngine engine_;
  std::unique_ptr<MemoryManager> manager_;
  std::optional<PolicyManager> policies_;
  std::optional<LeaseStore> leases_;
  std::optional<StateStore> state_;
  std::optional<Audit> audit_;
  AloneAccess access_;
  NoEnvironment environment_;
  std::optional<Host> host_;
  Series series_;
  Events events_{std::chrono::milliseconds(1000)};
  bool fails_next_scrub_ = false;
  std::optional<Api> api_;
  std::chrono::nanoseconds now_{std::chrono::seconds(1)};
};

[[nodiscard]] inline boost::json::value json_of(const ApiResponse& answer) { return boost::json::parse(answer.body); }

}  // namespace sluice::test
