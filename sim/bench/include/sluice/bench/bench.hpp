// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "sluice/bench/arena.hpp"
#include "sluice/bench/contenders.hpp"
#include "sluice/bench/results.hpp"
#include "sluice/workload/trace.hpp"

namespace sluice::bench {

/// How much is measured.
struct Effort {
  std::size_t rounds = 0;         ///< In each, everything that is compared takes its turn, in random order.
  ByteCount arena;                ///< Memory that is cleared.
  ByteCount sample;               ///< Cleared for one sample, at least one block.
  std::vector<ByteCount> blocks;  ///< Lengths of jobs.
  ByteCount simulated;            ///< Cleared by a simulated engine for one figure, at least one block.
  ByteCount grants;               ///< Largest grant whose memory is really cleared.
  std::size_t latencies = 0;      ///< Single jobs for one sample.
  std::size_t cancels = 0;        ///< For each phase, in each round.
  std::chrono::milliseconds victim{0};
  std::vector<ByteCount> guests;   ///< Memory of real VMs, as far as there is room.
  std::size_t guests_at_once = 0;  ///< VMs with as much as the first of these, started together.
};

/// Some seconds: to see that everything works.
[[nodiscard]] Effort smoke_effort();
/// Below five minutes on 2 cores and 4 GiB of memory.
[[nodiscard]] Effort usual_effort();
/// As long as it needs, with as much memory as is free.
[[nodiscard]] Effort full_effort();

/// What every part of a run works with. It outlives the tasks.
struct Bench {
  Effort effort;
  const EngineRegistry& registry;
  std::vector<EngineName> engines;
  Trace trace;
  Arena& arena;
  Results results;

  /// Adds a chart; charts stay where they are.
  Chart& add(Chart chart);
  /// A sample of a figure, which is made with its first one.
  static void add_sample(Chart& chart, const Figure& figure, double sample);
  static void note_once(Chart& chart, const std::string& note);
};

/// A step of a run, some milliseconds to seconds long. Throws std::runtime_error where nothing can go on.
using Task = std::function<void()>;
using Plan = std::vector<Task>;

/// Adds what is compared with each other, in an order of this round's own. The first round keeps the order given, which
/// is that of the tables.
void add_round(Plan& plan, Plan tasks, std::size_t round);

void plan_micro(Bench& bench, Plan& plan);
void plan_cancel(Bench& bench, Plan& plan);
void plan_grant(Bench& bench, Plan& plan);
/// By what the sizes of a trace are divided so that its pool fits beside the arena, and what it needs at once then.
struct TraceFit {
  std::uint64_t scale = 1;
  ByteCount peak;
};
/// Errors: InvalidArgument for a trace that cannot happen, has no VMs or more of them at once than fit.
[[nodiscard]] Result<TraceFit> fit_trace(const Trace& trace, const Arena& arena);
/// Throws std::runtime_error with the error of fit_trace().
void plan_trace(Bench& bench, Plan& plan);
/// Nothing, and a fact that says why, where guests cannot be run here.
void plan_vm(Bench& bench, Plan& plan);
/// After micro: from what it has measured.
void plan_offload(Bench& bench, Plan& plan);

/// Machine, kernel, pages, load, date.
[[nodiscard]] std::vector<Fact> machine_facts();
/// What the figures say, in sentences.
[[nodiscard]] std::vector<std::string> answers(const Results& results);

/// "64 KiB"; whole numbers where they are.
[[nodiscard]] std::string short_bytes(ByteCount bytes);
/// Cycles a second of the time stamp counter.
[[nodiscard]] double tsc_hz();
[[nodiscard]] double gib(ByteCount bytes);

}  // namespace sluice::bench
