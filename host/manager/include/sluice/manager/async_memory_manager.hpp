// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <utility>

#include "sluice/manager/async_poller.hpp"
#include "sluice/manager/memory_manager.hpp"

namespace sluice::inline manager {

/// The Boost.Asio face of a MemoryManager. Each operation takes any completion token and honours the token's
/// cancellation slot (any cancellation type: a claim can always be given up without a trace). Handlers are posted to
/// their associated executor: none runs inside a call of this class or of the manager.
///
/// Call everything on the executor given here (one thread at a time: a strand, if the context has several threads), and
/// change the manager through this class only: what a call starts is then polled. The manager is polled when its
/// completion_fd() is readable, by a timer where it has none, and when scrubs are due.
///
/// It may be destroyed at any time before the manager, from inside a handler too: its operations end then, each once,
/// with operation_aborted.
class AsyncMemoryManager {
 public:
  AsyncMemoryManager(boost::asio::any_io_executor executor, MemoryManager& manager,
                     std::chrono::microseconds poll_interval = std::chrono::microseconds(50))
      : poller_(std::make_shared<AsyncPoller>(std::move(executor), manager, poll_interval)) {}
  ~AsyncMemoryManager() { poller_->end(); }
  AsyncMemoryManager(const AsyncMemoryManager&) = delete;
  AsyncMemoryManager& operator=(const AsyncMemoryManager&) = delete;

  [[nodiscard]] const MemoryManager& manager() const { return to(); }

  /// void(boost::system::error_code, Grant). Errors as MemoryManager::allocate; operation_aborted when cancelled.
  template <class CompletionToken>
  auto async_allocate(VmId vm, ByteCount length, CompletionToken&& token) {
    return async_claim<Grant>(
        [vm, length](MemoryManager& to, GrantHandler handler) { return to.allocate(vm, length, std::move(handler)); },
        std::forward<CompletionToken>(token));
  }

  /// void(boost::system::error_code, Grant). Errors as MemoryManager::finish_reboot; operation_aborted when cancelled.
  template <class CompletionToken>
  auto async_finish_reboot(VmId vm, ByteCount length, CompletionToken&& token) {
    return async_claim<Grant>(
        [vm, length](MemoryManager& to, GrantHandler handler) {
          return to.finish_reboot(vm, length, std::move(handler));
        },
        std::forward<CompletionToken>(token));
  }

  /// void(boost::system::error_code). Errors as MemoryManager::create_dedicated_pool; operation_aborted when cancelled.
  template <class CompletionToken>
  auto async_create_dedicated_pool(DedicatedPoolId pool, CustomerId customer, ByteCount length, CompletionToken&& token,
                                   const PoolOptions& options = {}) {
    return async_claim<void>(
        [=](MemoryManager& to, PoolHandler handler) {
          return to.create_dedicated_pool(pool, customer, length, std::move(handler), options);
        },
        std::forward<CompletionToken>(token));
  }

  /// void(boost::system::error_code). Errors as MemoryManager::grow_dedicated_pool; operation_aborted when cancelled.
  template <class CompletionToken>
  auto async_grow_dedicated_pool(DedicatedPoolId pool, ByteCount length, CompletionToken&& token) {
    return async_claim<void>(
        [=](MemoryManager& to, PoolHandler handler) {
          return to.grow_dedicated_pool(pool, length, std::move(handler));
        },
        std::forward<CompletionToken>(token));
  }

  /// void(boost::system::error_code, SuspectReport). Errors as MemoryManager::test_suspect; operation_aborted when
  /// cancelled.
  template <class CompletionToken>
  auto async_test_suspect(VmId vm, std::vector<std::uint64_t> patterns, CompletionToken&& token) {
    return async_claim<SuspectReport>(
        [vm, patterns = std::move(patterns)](MemoryManager& to, SuspectHandler handler) {
          return to.test_suspect(vm, patterns, std::move(handler));
        },
        std::forward<CompletionToken>(token));
  }

  /// void(boost::system::error_code). Completes when nothing is left to scrub, or nothing can be scrubbed any more.
  template <class CompletionToken>
  auto async_drain(CompletionToken&& token) {
    return boost::asio::async_initiate<CompletionToken, void(boost::system::error_code)>(
        [poller = poller_](auto handler) {
          auto operation = make_operation<void>(*poller, std::move(handler));
          const std::uint64_t number =
              poller->add_drain([operation](boost::system::error_code code) { operation->complete(code); });
          if (auto slot = operation->slot(); slot.is_connected()) {
            // Not at once: the slot must not be cleared while it runs this.
            slot.assign([poller, number](boost::asio::cancellation_type) {
              boost::asio::post(poller->executor(), [poller, number] { poller->abort(number); });
            });
          }
          poller->wake();
        },
        token);
  }

  /// void(boost::system::error_code, ByteCount): MemoryManager::stop(), and how much was in flight. All claims end
  /// first, with ScrubUnavailable. What has been stopped cannot be cancelled.
  template <class CompletionToken>
  auto async_stop(CompletionToken&& token) {
    return boost::asio::async_initiate<CompletionToken, void(boost::system::error_code, ByteCount)>(
        [poller = poller_](auto handler) {
          auto operation = make_operation<ByteCount>(*poller, std::move(handler));
          if (!poller->alive()) {
            operation->fail(boost::asio::error::operation_aborted);
            return;
          }
          const ByteCount in_flight = poller->manager().stop();
          poller->manager().poll();
          operation->complete({}, in_flight);
          poller->wake();
        },
        token);
  }

  // As MemoryManager has them. Handlers that are given here are called by a poll.
  [[nodiscard]] Result<Grant> adopt(const VmProfile& profile) { return waking(to().adopt(profile)); }
  [[nodiscard]] Result<void> adopt_dedicated_pool(DedicatedPoolId pool, CustomerId customer,
                                                  const PoolOptions& options = {}) {
    return waking(to().adopt_dedicated_pool(pool, customer, options));
  }
  [[nodiscard]] Result<void> create_trust_group(TrustGroupId group, CustomerId customer, TrustGroupId inside = {}) {
    return waking(to().create_trust_group(group, customer, inside));
  }
  [[nodiscard]] Result<void> enable_trust_group(TrustGroupId group, bool enabled) {
    return waking(to().enable_trust_group(group, enabled));
  }
  [[nodiscard]] Result<void> destroy_trust_group(TrustGroupId group) { return waking(to().destroy_trust_group(group)); }
  [[nodiscard]] Result<std::vector<ClaimId>> create_dedicated_pools(DedicatedPoolId first, std::uint32_t count,
                                                                    CustomerId customer, ByteCount length,
                                                                    const PoolsHandler& handler,
                                                                    const PoolOptions& options = {}) {
    return waking(to().create_dedicated_pools(first, count, customer, length, handler, options));
  }
  [[nodiscard]] Result<void> destroy_dedicated_pool(DedicatedPoolId pool) {
    return waking(to().destroy_dedicated_pool(pool));
  }
  [[nodiscard]] Result<void> shrink_dedicated_pool(DedicatedPoolId pool, ByteCount length) {
    return waking(to().shrink_dedicated_pool(pool, length));
  }
  [[nodiscard]] Result<void> change_pool_rule(DedicatedPoolId pool, const std::optional<PoolRule>& rule) {
    return waking(to().change_pool_rule(pool, rule));
  }
  [[nodiscard]] Result<void> partition_dedicated_pool(DedicatedPoolId pool, DedicatedPoolId part, ByteCount length) {
    return waking(to().partition_dedicated_pool(pool, part, length));
  }
  [[nodiscard]] Result<void> merge_dedicated_pools(DedicatedPoolId pool, DedicatedPoolId other) {
    return waking(to().merge_dedicated_pools(pool, other));
  }
  [[nodiscard]] Result<void> move_between_pools(DedicatedPoolId from, DedicatedPoolId into, ByteCount length) {
    return waking(to().move_between_pools(from, into, length));
  }
  void keep_shared(ByteCount minimum) {
    to().keep_shared(minimum);
    poller_->wake();
  }
  [[nodiscard]] Result<void> create_vm(const VmProfile& profile) { return waking(to().create_vm(profile)); }
  [[nodiscard]] Result<void> change_trust_group(VmId vm, TrustGroupId group) {
    return waking(to().change_trust_group(vm, group));
  }
  [[nodiscard]] Result<void> change_dedicated_pool(VmId vm, DedicatedPoolId pool) {
    return waking(to().change_dedicated_pool(vm, pool));
  }
  [[nodiscard]] Result<void> change_settings(VmId vm, const RecycleSettings& settings) {
    return waking(to().change_settings(vm, settings));
  }
  [[nodiscard]] Result<void> change_scrub_settings(VmId vm, const ScrubSettings& settings) {
    return waking(to().change_scrub_settings(vm, settings));
  }
  [[nodiscard]] Result<void> change_placement(VmId vm, const Placement& placement) {
    return waking(to().change_placement(vm, placement));
  }
  [[nodiscard]] Result<void> switch_recycling(VmId vm, const VmSay& say) {
    return waking(to().switch_recycling(vm, say));
  }
  [[nodiscard]] Result<void> change_vms(std::span<const VmPolicy> policies) {
    return waking(to().change_vms(policies));
  }
  [[nodiscard]] Result<void> suspect(MemorySpan memory, VmId vm = {}) { return waking(to().suspect(memory, vm)); }
  [[nodiscard]] Result<void> absolve(VmId vm = {}) { return waking(to().absolve(vm)); }
  [[nodiscard]] Result<void> release(VmId vm, MemorySpan memory) { return waking(to().release(vm, memory)); }
  [[nodiscard]] Result<void> begin_reboot(VmId vm) { return waking(to().begin_reboot(vm)); }
  [[nodiscard]] Result<void> reboot_in_place(VmId vm) { return waking(to().reboot_in_place(vm)); }
  [[nodiscard]] Result<void> terminate(VmId vm) { return waking(to().terminate(vm)); }
  bool abandon(ClaimId claim) { return waking(to().abandon(claim)); }

  /// Something else has called the manager (PolicyManager does): polls it soon.
  void wake() { poller_->wake(); }

 private:
  template <class Value>
  struct Signature {
    using type = void(boost::system::error_code, Value);
  };

  /// A handler on its way, with the executor that it wants to run on and work that keeps that executor alive.
  template <class Value, class Handler>
  class Operation {
   public:
    Operation(Handler handler, boost::asio::any_io_executor executor)
        : handler_(std::move(handler)), executor_(std::move(executor)) {}

    [[nodiscard]] auto slot() const { return boost::asio::get_associated_cancellation_slot(handler_); }

    /// The first time only: the end of the face and the manager's own answer may both come.
    template <class... Values>
    void complete(boost::system::error_code code, Values... values) {
      if (std::exchange(done_, true)) return;
      if (auto connected = slot(); connected.is_connected()) connected.clear();
      boost::asio::post(executor_, [handler = std::move(handler_), code, ... values = std::move(values)]() mutable {
        std::move(handler)(code, std::move(values)...);
      });
      executor_ = {};
    }
    void fail(boost::system::error_code code) {
      if constexpr (std::is_void_v<Value>) {
        complete(code);
      } else {
        complete(code, Value{});
      }
    }

   private:
    Handler handler_;
    boost::asio::any_io_executor executor_;
    bool done_ = false;
  };

  template <class Value, class Handler>
  static auto make_operation(const AsyncPoller& poller, Handler handler) {
    boost::asio::any_io_executor executor =
        boost::asio::prefer(boost::asio::get_associated_executor(handler, poller.executor()),
                            boost::asio::execution::outstanding_work.tracked);
    return std::make_shared<Operation<Value, Handler>>(std::move(handler), std::move(executor));
  }

  static boost::system::error_code code_of(const Error& error) {
    if (error.code == HostErrc::Abandoned) return boost::asio::error::operation_aborted;
    return error.code;
  }

  [[nodiscard]] MemoryManager& to() const { return poller_->manager(); }
  template <class Answer>
  Answer waking(Answer answer) {
    poller_->wake();
    return answer;
  }

  template <class Value, class Start, class CompletionToken>
  auto async_claim(Start start, CompletionToken&& token);

  std::shared_ptr<AsyncPoller> poller_;
};

template <>
struct AsyncMemoryManager::Signature<void> {
  using type = void(boost::system::error_code);
};

template <class Value, class Start, class CompletionToken>
auto AsyncMemoryManager::async_claim(Start start, CompletionToken&& token) {
  return boost::asio::async_initiate<CompletionToken, typename Signature<Value>::type>(
      [poller = poller_, start](auto handler) {
        auto operation = make_operation<Value>(*poller, std::move(handler));
        if (!poller->alive()) {  // a deferred operation may be started late
          operation->fail(boost::asio::error::operation_aborted);
          return;
        }
        const std::uint64_t number =
            poller->add([operation](boost::system::error_code code) { operation->fail(code); });
        const Result<ClaimId> claim =
            start(poller->manager(), [operation, number, weak = std::weak_ptr(poller)](Result<Value> result) {
              if (const auto owner = weak.lock()) owner->remove(number);
              if (!result) {
                operation->fail(code_of(result.error()));
              } else if constexpr (std::is_void_v<Value>) {
                operation->complete({});
              } else {
                operation->complete({}, std::move(*result));
              }
            });
        if (!claim) {
          poller->remove(number);
          operation->fail(code_of(claim.error()));
          return;
        }
        poller->started(number, *claim);
        if (auto slot = operation->slot(); slot.is_connected()) {
          slot.assign([poller, id = *claim](boost::asio::cancellation_type) {
            if (poller->alive() && poller->manager().abandon(id)) poller->wake();
          });
        }
        poller->wake();
      },
      token);
}

}  // namespace sluice::inline manager
