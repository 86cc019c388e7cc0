// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "sluice/base/units.hpp"
#include "sluice/engine/error.hpp"

namespace sluice::inline engine {

/// Whether somebody waits for the memory.
enum class Urgency : std::uint8_t { Background, Urgent };

enum class Operation : std::uint8_t {
  Fill,
  Verify,      ///< Reads, and fails with Mismatch at the first byte that is not the pattern's.
  FillVerify,  ///< Fills, then verifies what the memory holds.
  FillRandom,  ///< Fills with unpredictable bytes, which no other job has and nobody keeps; the pattern is unused.
};

/// Memory to fill or to verify. Start and length are byte granular. The byte at address a is byte (a mod 8) of the
/// pattern, so that neighbouring jobs join without a seam.
struct ScrubJob {
  MemorySpan memory;
  std::uint64_t pattern = 0;
  Urgency urgency = Urgency::Background;
  std::uint64_t cookie = 0;  ///< The caller's own; comes back in the Completion.
  Operation operation = Operation::Fill;
  bool read_soon = false;  ///< The caller reads the memory at once: an engine with caches leaves it there.
  ByteCount part_of;       ///< The length of the job of which it is a piece; 0: it is whole.
};

/// Names one job for ever: a slot of the engine and how often it had been used. A late cancel cannot hit another job.
struct JobId {
  std::uint32_t slot = 0;
  std::uint32_t generation = 0;  ///< From 1; 0 names no job.
  auto operator<=>(const JobId&) const = default;
};

enum class Outcome : std::uint8_t {
  Zeroed = 1,     ///< All bytes were written and acknowledged, and for a verify read and equal.
  Cancelled = 2,  ///< Stopped on request; the engine will not touch the memory again.
  Failed = 3,     ///< See FailureCause. After Timeout or EngineFault the engine may still write.
};

enum class FailureCause : std::uint8_t {
  None = 0,
  BadDescriptor = 1,
  OutsideWindow = 2,
  SlaveError = 3,   ///< The bus answered SLVERR, or the memory did not take a store.
  DecodeError = 4,  ///< The bus answered DECERR: nothing is mapped there.
  Timeout = 5,      ///< The engine stopped making progress.
  EngineFault = 6,  ///< The engine broke the protocol of its ring.
  Mismatch = 7,     ///< A byte that was read back differs from the pattern.
};

struct Completion {
  JobId id;
  std::uint64_t cookie = 0;
  Outcome outcome = Outcome::Failed;
  FailureCause cause = FailureCause::None;
  /// An exact prefix of the job's memory: acknowledged by the memory, or what lies before the first byte that differs.
  /// An engine that works on pieces of a job at once may have written behind it as well.
  ByteCount bytes_zeroed;
  /// Failed: this many bytes at the end of the job's memory have nothing to do with the failure. Nobody knows what is
  /// in them, and nothing writes them any more. 0, unless an engine knows better: all that follows the prefix is in
  /// doubt.
  ByteCount bytes_unaffected;
};

enum class CancelResult : std::uint8_t {
  Requested,        ///< The Completion will tell who won.
  AlreadyFinished,  ///< The Completion is there or was collected, and this call does not change it.
  UnknownJob,       ///< No such job was ever submitted.
};

struct EngineCapabilities {
  std::string name;                ///< For example "cpu/avx512" or "ring/512".
  std::size_t max_jobs_in_flight;  ///< Submitted and not yet collected.
  ByteCount max_job_length;
  bool concurrent_calls = false;  ///< All functions may be called from any thread at once.
  double clock_mhz = 0.0;         ///< Of a simulated engine, by which its now() counts; 0: now() is real time.
  bool verifies = false;          ///< Takes Verify and FillVerify; else such jobs are refused as InvalidArgument.
  std::size_t parallel_jobs = 1;  ///< How many jobs it works on at once: a long one is done sooner in that many pieces.
  bool fills_random = false;      ///< Takes FillRandom; else such jobs are refused as InvalidArgument.
};

/// Whether an engine with these capabilities takes such jobs.
[[nodiscard]] bool offers(const EngineCapabilities& engine, Operation operation);
/// Whether such a job reads memory and compares it with the pattern.
[[nodiscard]] bool reads_back(Operation operation);

[[nodiscard]] std::string to_string(Outcome outcome);
[[nodiscard]] std::string to_string(FailureCause cause);

/// Whatever does the writing. Which memory it may write is fixed when it is created.
///
/// Promises of every engine (tests/driver/contract): each accepted job gets exactly one Completion; bytes_zeroed is an
/// exact prefix; after a Zeroed or Cancelled Completion the engine does not touch the memory again; the destructor
/// returns when nothing is in flight any more.
///
/// Threading: one thread at a time, unless capabilities().concurrent_calls.
class Engine {
 public:
  Engine() = default;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  virtual ~Engine() = default;

  [[nodiscard]] virtual const EngineCapabilities& capabilities() const noexcept = 0;

  /// Accepts the first n of `jobs`, writes their names to ids[0..n) and returns n >= 1. `ids` is at least as long as
  /// `jobs`. Errors, with nothing accepted: Busy, InvalidArgument, OutsideWindow, EngineFailed.
  [[nodiscard]] virtual Result<std::size_t> submit(std::span<const ScrubJob> jobs, std::span<JobId> ids) = 0;

  /// Asks for a job to stop. Never waits.
  virtual CancelResult cancel(JobId id) = 0;

  /// Collects completions into `out`, returns how many. Never waits. A polled engine makes progress only here.
  virtual std::size_t poll(std::span<Completion> out) = 0;

  /// A count that grows whenever the engine has done some more of what it was asked for: a chunk, a piece, beats on the
  /// bus. Whether an engine that has jobs still works is judged by it alone. Says nothing while nothing is in flight.
  [[nodiscard]] virtual std::uint64_t progress() = 0;

  /// Whether all of `memory` lies inside one of the engine's windows.
  [[nodiscard]] virtual bool reaches(MemorySpan memory) const = 0;

  /// Readable as long as there are completions to collect, or anything else for which poll() is needed; now and then
  /// for nothing. Completions of background jobs may wait while more are under way, so that they come together: the
  /// descriptor is readable at the latest when the last of them has ended. -1: poll instead. May become -1, and then
  /// the descriptor from before stays readable while jobs are in flight.
  [[nodiscard]] virtual int completion_fd() const noexcept { return -1; }

  /// Why the engine accepts no more jobs, if it does not.
  [[nodiscard]] virtual std::optional<Error> fault() const = 0;

  /// The clock that the engine runs by: simulated time for a simulated engine, else std::chrono::steady_clock.
  [[nodiscard]] virtual std::chrono::nanoseconds now() const = 0;
};

}  // namespace sluice::inline engine
