// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <memory>

#include "sluice/engine/error.hpp"

namespace sluice::inline cpu {

/// The descriptor that callers sleep on. It becomes readable at once, or a little later so that completions come
/// together: the kernel keeps that time, so it passes even if no thread of the engine runs any more. Nobody pays for it
/// before descriptor() was called. Calls need one lock around them, except raised().
class CompletionSignal {
 public:
  /// Errors: NoResources.
  [[nodiscard]] static Result<std::unique_ptr<CompletionSignal>> create();
  CompletionSignal(const CompletionSignal&) = delete;
  CompletionSignal& operator=(const CompletionSignal&) = delete;
  ~CompletionSignal();

  /// From now on it is used.
  int descriptor();

  /// Whether there is something to clear.
  [[nodiscard]] bool raised() const { return raised_.load(std::memory_order_relaxed); }

  void raise();
  /// Readable after kSoon at the latest.
  void raise_soon();
  void clear();

 private:
  CompletionSignal(int event, int timer, int both) : event_(event), timer_(timer), both_(both) {}
  void set_timer(long nanoseconds) const;

  int event_;
  int timer_;
  int both_;
  bool used_ = false;
  bool now_ = false;
  bool soon_ = false;
  std::atomic<bool> raised_{false};
};

}  // namespace sluice::inline cpu
