// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/daemon/events.hpp"
#include "sluice/daemon/host.hpp"
#include "sluice/daemon/series.hpp"
#include "sluice/engine/engine.hpp"

namespace sluice::inline daemon {

/// A request of docs/API.md, as it came.
struct ApiRequest {
  std::string method;  ///< "GET"
  std::string target;  ///< "/v1/vms", with what is not a letter of paths in percent.
  std::string body;
  std::string if_match;  ///< These fields, as they came; empty: they are not there.
  std::string if_none_match;
  std::string idempotency_key;
};

struct ApiResponse {
  unsigned status = 200;
  std::string type = "application/json";
  std::string body;       ///< Empty: none (204).
  std::string allow;      ///< Of 405: the methods that there are.
  std::string etag = {};  ///< Of what was read; empty: none.
  bool replayed = false;  ///< What an earlier request with this idempotency key was answered.
};

/// As the web service and its stream show it.
[[nodiscard]] boost::json::object event_json(const Event& event);

/// One that the web service answers.
struct ApiRoute {
  std::string_view method;
  std::string_view path;  ///< "/v1/vms/{uuid}:reboot"
};

/// The longest body of a request. bytes
inline constexpr std::size_t kLongestApiBody = 1 << 20;

/// An error as a problem document (RFC 9457), whatever gave it. The one place where codes become statuses.
[[nodiscard]] ApiResponse problem_of(const Error& error);
/// One that is of HTTP itself: `type` is the last part of its URI.
[[nodiscard]] ApiResponse problem(unsigned status, std::string_view type, std::string_view title,
                                  std::string_view detail);

/// The web service of one host without its sockets: what a request does, and what is answered. Everything that a call
/// changed is in the StateStore when it is answered; where it could not be stored, the answer is a problem of the type
/// /problems/not-stored that says so, and the change holds. Not thread-safe; on the thread of Host.
class Api {
 public:
  /// All of these outlive it. `memory` and `engine` are the manager's.
  Api(Host& host, PolicyManager& policies, StateStore& state, const BackingMemory& memory, const Engine& engine,
      const Series& series, const Events& events);
  ~Api();
  Api(const Api&) = delete;
  Api& operator=(const Api&) = delete;

  /// Once, after Host::recover(): fills the pools again that the host has lost with its memory, and gives up those that
  /// were being filled when the process before ended. What cannot be done is logged.
  void restore_pools();

  /// Believes nothing of the request. The caller is the provider or a customer, who sees and touches its own alone.
  /// Errors are answers.
  [[nodiscard]] ApiResponse answer(const ApiRequest& request, const Caller& caller);

  /// For whoever streams them.
  [[nodiscard]] const Events& events() const { return *events_; }
  /// Whether this caller may call anything. Errors: NotPermitted.
  [[nodiscard]] Result<void> check_caller(const Caller& caller) const;

  /// Every path, in the order of docs/API.md.
  [[nodiscard]] static std::vector<ApiRoute> routes();

 private:
  [[nodiscard]] ApiResponse run(const ApiRequest& request, const Caller& caller);
  [[nodiscard]] ApiResponse change(const ApiRequest& request, const Caller& caller);
  [[nodiscard]] ApiResponse read(const ApiRequest& request, const Caller& caller);
  [[nodiscard]] std::optional<ApiResponse> fails_condition(const ApiRequest& request, const Caller& caller);
  [[nodiscard]] ApiResponse answer_once(const ApiRequest& request, const Caller& caller);

  class Handlers;
  std::unique_ptr<Handlers> handlers_;
  StateStore* state_;
  const Events* events_;
};

}  // namespace sluice::inline daemon
