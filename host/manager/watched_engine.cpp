// SPDX-License-Identifier: Apache-2.0
#include "watched_engine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <exception>

namespace sluice::inline manager {
namespace {

/// A pause of the caller's counts as no more than this share of the timeout: the engine could not show its progress.
constexpr int kLooksUntilStalled = 16;

}  // namespace

WatchedEngine::WatchedEngine(Engine& engine, std::chrono::nanoseconds stall_timeout)
    : engine_(engine), stall_timeout_(stall_timeout) {}

template <class Value, class Call>
Value WatchedEngine::guarded(const char* name, Value otherwise, Call call) {
  if (broken_) return otherwise;
  try {
    return call();
  } catch (const std::exception& error) {
    distrust(fmt::format("threw from {}(): {}", name, error.what()));
  } catch (...) {
    distrust(fmt::format("threw from {}()", name));
  }
  return otherwise;
}

void WatchedEngine::distrust(const std::string& reason) {
  if (broken_) return;
  broken_ = Error{DriverErrc::EngineFailed,
                  fmt::format("engine {} was given up: it {}", engine_.capabilities().name, reason)};
}

Result<std::size_t> WatchedEngine::submit(std::span<const ScrubJob> jobs, std::span<JobId> ids) {
  const Error thrown{DriverErrc::EngineFailed, ""};
  Result<std::size_t> accepted =
      guarded("submit", Result<std::size_t>(thrown), [&] { return engine_.submit(jobs, ids); });
  if (broken_) return *broken_;
  if (!accepted) {
    if (accepted.error().code == DriverErrc::Busy) return std::size_t{0};
    return Error{accepted.error().code,
                 fmt::format("engine {} refused to scrub: {}", engine_.capabilities().name, accepted.error().message)};
  }
  if (*accepted > jobs.size()) {
    distrust(fmt::format("said that it accepted {} jobs of {}", *accepted, jobs.size()));
    return *broken_;
  }
  return accepted;
}

void WatchedEngine::cancel(JobId id) {
  // Whatever the answer, the Completion tells what came of it.
  guarded("cancel", CancelResult::Requested, [&] { return engine_.cancel(id); });
}

std::size_t WatchedEngine::poll(std::span<Completion> out) {
  const auto count = guarded("poll", std::size_t{0}, [&] { return engine_.poll(out); });
  if (count <= out.size()) return count;
  distrust(fmt::format("returned {} completions where there was room for {}", count, out.size()));
  return 0;
}

std::optional<Error> WatchedEngine::fault() {
  auto fault = guarded("fault", std::optional<Error>(), [&] { return engine_.fault(); });
  return broken_ ? broken_ : fault;
}

void WatchedEngine::watch(bool busy, bool advanced) {
  if (broken_) return;
  const std::uint64_t progress = guarded("progress", progress_, [&] { return engine_.progress(); });
  const std::chrono::nanoseconds time = now();
  if (!busy || advanced || progress != progress_) {
    silence_ = std::chrono::nanoseconds(0);
  } else if (time > last_look_) {
    silence_ += std::min(time - last_look_, stall_timeout_ / kLooksUntilStalled + std::chrono::nanoseconds(1));
  }
  progress_ = progress;
  last_look_ = time;
  if (silence_ < stall_timeout_) return;
  distrust(fmt::format("made no progress for {} ms with jobs to do",
                       std::chrono::duration_cast<std::chrono::milliseconds>(silence_).count()));
}

}  // namespace sluice::inline manager
