// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <utility>

#include "sluice/manager/memory_manager.hpp"

namespace sluice::inline manager {

/// The Boost.Asio face of a MemoryManager. Each operation takes any completion token and honours the token's
/// cancellation slot (any cancellation type: a claim can always be given up without a trace). Handlers run on their
/// associated executor, never from inside the initiating call.
///
/// Call everything on the executor given here (one thread at a time: a strand, if the context has several threads).
/// While the manager has work it is polled by a timer. Destroy it after its operations have ended, before the manager.
class AsyncMemoryManager {
 public:
  AsyncMemoryManager(boost::asio::any_io_executor executor, MemoryManager& manager,
                     std::chrono::microseconds poll_interval = std::chrono::microseconds(50))
      : executor_(std::move(executor)), manager_(manager), poll_interval_(poll_interval), timer_(executor_) {}
  AsyncMemoryManager(const AsyncMemoryManager&) = delete;
  AsyncMemoryManager& operator=(const AsyncMemoryManager&) = delete;

  [[nodiscard]] MemoryManager& manager() { return manager_; }

  /// void(boost::system::error_code, Grant). Errors as MemoryManager::allocate; operation_aborted when cancelled.
  template <class CompletionToken>
  auto async_allocate(VmId vm, ByteCount length, CompletionToken&& token) {
    return async_claim<Grant>(
        [this, vm, length](GrantHandler handler) { return manager_.allocate(vm, length, std::move(handler)); },
        std::forward<CompletionToken>(token));
  }

  /// void(boost::system::error_code, Grant). Errors as MemoryManager::finish_reboot; operation_aborted when cancelled.
  template <class CompletionToken>
  auto async_finish_reboot(VmId vm, ByteCount length, CompletionToken&& token) {
    return async_claim<Grant>(
        [this, vm, length](GrantHandler handler) { return manager_.finish_reboot(vm, length, std::move(handler)); },
        std::forward<CompletionToken>(token));
  }

  /// void(boost::system::error_code). Errors as MemoryManager::create_dedicated_pool; operation_aborted when cancelled.
  template <class CompletionToken>
  auto async_create_dedicated_pool(DedicatedPoolId pool, CustomerId customer, ByteCount length,
                                   CompletionToken&& token) {
    return async_claim<void>(
        [this, pool, customer, length](PoolHandler handler) {
          return manager_.create_dedicated_pool(pool, customer, length, std::move(handler));
        },
        std::forward<CompletionToken>(token));
  }

  /// void(boost::system::error_code). Completes when nothing is left to scrub, or nothing can be scrubbed any more.
  template <class CompletionToken>
  auto async_drain(CompletionToken&& token) {
    return boost::asio::async_initiate<CompletionToken, void(boost::system::error_code)>(
        [this](auto handler) {
          auto operation = make_operation(std::move(handler));
          const std::uint64_t number = next_waiter_++;
          waiters_.push_back({number, [operation](boost::system::error_code code) { operation->complete(code); }});
          if (auto slot = boost::asio::get_associated_cancellation_slot(operation->handler); slot.is_connected()) {
            // Not at once: the slot must not be cleared while it runs this.
            slot.assign([this, number](boost::asio::cancellation_type) {
              boost::asio::post(executor_, [this, number] { drop_waiter(number); });
            });
          }
          keep_polling();
        },
        token);
  }

 private:
  /// A handler on its way, with the executor that it wants to run on and work that keeps that executor alive.
  template <class Handler>
  struct Operation {
    Handler handler;
    boost::asio::any_io_executor executor;

    template <class... Arguments>
    void complete(Arguments... arguments) {
      if (auto slot = boost::asio::get_associated_cancellation_slot(handler); slot.is_connected()) slot.clear();
      boost::asio::dispatch(executor, [handler = std::move(handler), ... arguments = std::move(arguments)]() mutable {
        std::move(handler)(std::move(arguments)...);
      });
    }
  };

  template <class Handler>
  auto make_operation(Handler handler) {
    boost::asio::any_io_executor executor = boost::asio::prefer(
        boost::asio::get_associated_executor(handler, executor_), boost::asio::execution::outstanding_work.tracked);
    return std::make_shared<Operation<Handler>>(Operation<Handler>{std::move(handler), std::move(executor)});
  }

  static boost::system::error_code code_of(const Error& error) {
    if (error.code == HostErrc::Abandoned) return boost::asio::error::operation_aborted;
    return error.code;
  }

  template <class Value>
  struct Signature {
    using type = void(boost::system::error_code, Value);
  };

  template <class Value, class Start, class CompletionToken>
  auto async_claim(Start start, CompletionToken&& token);

  void keep_polling() {
    if (polling_) return;
    polling_ = true;
    arm();
  }
  void arm() {
    timer_.expires_after(poll_interval_);
    timer_.async_wait([this](boost::system::error_code code) {
      if (code) return;
      manager_.poll();
      if (manager_.has_work()) {
        arm();
        return;
      }
      polling_ = false;
      for (auto waiters = std::exchange(waiters_, {}); Waiter & waiter : waiters) waiter.complete({});
      if (!polling_) wait_for_schedule();
    });
  }
  void wait_for_schedule() {
    const auto due = manager_.next_scheduled();
    if (!due) return;
    timer_.expires_after(*due - manager_.now());
    timer_.async_wait([this](boost::system::error_code code) {
      if (!code) keep_polling();
    });
  }
  void drop_waiter(std::uint64_t number) {
    for (auto waiter = waiters_.begin(); waiter != waiters_.end(); ++waiter) {
      if (waiter->number != number) continue;
      const auto complete = std::move(waiter->complete);
      waiters_.erase(waiter);
      complete(boost::asio::error::operation_aborted);
      return;
    }
  }

  struct Waiter {
    std::uint64_t number;
    std::function<void(boost::system::error_code)> complete;
  };

  boost::asio::any_io_executor executor_;
  MemoryManager& manager_;
  std::chrono::microseconds poll_interval_;
  boost::asio::steady_timer timer_;
  std::deque<Waiter> waiters_;
  std::uint64_t next_waiter_ = 1;
  bool polling_ = false;
};

template <>
struct AsyncMemoryManager::Signature<void> {
  using type = void(boost::system::error_code);
};

template <class Value, class Start, class CompletionToken>
auto AsyncMemoryManager::async_claim(Start start, CompletionToken&& token) {
  return boost::asio::async_initiate<CompletionToken, typename Signature<Value>::type>(
      [this, start](auto handler) {
        auto operation = make_operation(std::move(handler));
        const auto fail = [operation](boost::system::error_code code) {
          if constexpr (std::is_void_v<Value>) {
            operation->complete(code);
          } else {
            operation->complete(code, Value{});
          }
        };
        const Result<ClaimId> claim = start([operation, fail](Result<Value> result) {
          if (!result) {
            fail(code_of(result.error()));
          } else if constexpr (std::is_void_v<Value>) {
            operation->complete(boost::system::error_code());
          } else {
            operation->complete(boost::system::error_code(), std::move(*result));
          }
        });
        if (!claim) {
          boost::asio::post(executor_, [fail, code = code_of(claim.error())] { fail(code); });
          return;
        }
        if (auto slot = boost::asio::get_associated_cancellation_slot(operation->handler); slot.is_connected()) {
          slot.assign([this, id = *claim](boost::asio::cancellation_type) {
            if (manager_.abandon(id)) keep_polling();
          });
        }
        keep_polling();
      },
      token);
}

}  // namespace sluice::inline manager
