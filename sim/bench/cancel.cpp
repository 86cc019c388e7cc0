// SPDX-License-Identifier: Apache-2.0
// What it takes to stop a job, and what that saves, by how far the job has come.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <stdexcept>
#include <thread>

#include "sluice/bench/bench.hpp"
#include "sluice/bench/own_cpu.hpp"

namespace sluice::bench {
namespace {

using Duration = std::chrono::nanoseconds;

struct Phase {
  const char* name;
  double begun;  ///< The share of the job's time that has passed; below 0: it waits behind others.
};
constexpr std::array<Phase, 4> kPhases = {
    {{"queued", -1.0}, {"just begun", 0.0}, {"half done", 0.5}, {"nearly done", 0.9}}};
constexpr std::size_t kBlockers = 8;
constexpr ByteCount kJob{16ULL << 20};
constexpr ByteCount kSimulatedJob{kMiB};

/// An engine with one job that counts.
class Trial {
 public:
  Trial(Engine& engine, std::span<const MemorySpan> blocks) : engine_(engine), blocks_(blocks) {}

  /// How long the job takes if nobody stops it.
  Duration undisturbed() {
    const Duration start = engine_.now();
    submit(0);
    wait_for(0);
    return engine_.now() - start;
  }

  struct Stopped {
    Duration latency;
    ByteCount written;
  };
  Stopped stop(const Phase& phase, Duration whole, double jitter) {
    const bool queued = phase.begun < 0.0;
    for (std::size_t blocker = 1; queued && blocker < blocks_.size(); ++blocker) submit(blocker);
    submit(0);
    const auto wanted = static_cast<std::int64_t>(static_cast<double>(whole.count()) * (phase.begun + jitter));
    const Duration start = engine_.now();
    while (!queued && engine_.now() - start < Duration(wanted) && !done_[0]) poll();
    const Duration cancelled = engine_.now();
    engine_.cancel(ids_[0]);
    wait_for(0);
    const Stopped stopped{engine_.now() - cancelled, done_[0]->bytes_zeroed};
    for (std::size_t blocker = 1; queued && blocker < blocks_.size(); ++blocker) engine_.cancel(ids_[blocker]);
    for (std::size_t blocker = 1; queued && blocker < blocks_.size(); ++blocker) wait_for(blocker);
    return stopped;
  }

 private:
  void submit(std::size_t job) {
    done_[job].reset();
    const ScrubJob scrub{blocks_[job], 0, Urgency::Background, job};
    if (const auto accepted = engine_.submit({&scrub, 1}, {&ids_[job], 1}); !accepted) {
      throw std::runtime_error(accepted.error().message);
    }
  }
  void poll() {
    std::array<Completion, 16> completions;
    const std::size_t count = engine_.poll(completions);
    for (const Completion& completion : std::span(completions).first(count)) done_[completion.cookie] = completion;
    if (const auto fault = engine_.fault()) throw std::runtime_error(fault->message);
  }
  void wait_for(std::size_t job) {
    while (!done_[job]) poll();
  }

  Engine& engine_;
  std::span<const MemorySpan> blocks_;
  std::array<JobId, kBlockers + 1> ids_;
  std::array<std::optional<Completion>, kBlockers + 1> done_;
};

/// One round of one engine.
void measure(Bench& bench, const EngineName& name, Chart& latencies, Chart& savings) {
  const auto own = bench.registry.allocate(name, kGiB);
  const bool simulated = engine_entry(bench.registry, name).simulated;
  const ByteCount length =
      std::min(simulated ? kSimulatedJob : kJob, ByteCount(bench.arena.all().size() / (kBlockers + 1)));
  const auto arena_blocks = bench.arena.next(length, ByteCount(length.value() * (kBlockers + 1)));
  std::vector<MemorySpan> blocks = arena_blocks;
  if (own && !own->empty()) {
    for (std::size_t block = 0; block < blocks.size(); ++block)
      blocks[block] = own->subspan(block * length.value(), length.value());
  }
  const MemorySpan windows[] = {own && !own->empty() ? *own : bench.arena.all()};
  std::optional<OwnCpu> own_cpu;
  if (!simulated) own_cpu.emplace();  // a simulation works on this thread
  const auto create = [&] { return bench.registry.create(name, windows); };
  const auto made = own_cpu ? own_cpu->elsewhere(create) : create();
  if (!made) {
    Bench::note_once(latencies, fmt::format("{}: not measured: {}", name.text, made.error().message));
    return;
  }
  Engine& engine = **made;
  Trial trial(engine, blocks);
  Duration whole = trial.undisturbed();
  // Until the threads of the engine have found CPUs of their own.
  const auto warm = std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
  while (!simulated && std::chrono::steady_clock::now() < warm) {
    whole = std::min(whole, trial.undisturbed());
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  for (std::size_t place = 0; place < kPhases.size(); ++place) {
    const Phase& phase = kPhases[place];
    std::vector<double> waits;
    std::vector<double> shares;
    for (std::size_t cancel = 0; cancel < bench.effort.cancels; ++cancel) {
      const double jitter = 0.05 * static_cast<double>(cancel) / static_cast<double>(bench.effort.cancels);
      const auto stopped = trial.stop(phase, whole, jitter);
      waits.push_back(static_cast<double>(stopped.latency.count()) / 1e3);
      shares.push_back(100.0 * (1.0 - gib(stopped.written) / gib(length)));
    }
    const Figure figure{name.text, phase.name, static_cast<double>(place), {}, simulated, simulated};
    Bench::add_sample(latencies, figure, estimate(waits).median);
    Bench::add_sample(savings, figure, estimate(shares).median);
  }
}

}  // namespace

void plan_cancel(Bench& bench, Plan& plan) {
  Chart latency{"cancel_latency", "cancel", "From a cancel to the job's completion", "the job is", "time", "us"};
  latency.more_is_better = false;
  latency.y_logarithmic = true;
  if (bench.engines.size() > 1) latency.baseline = bench.engines.front().text;
  latency.notes = {
      fmt::format("Jobs of {}, of simulated engines {}; one that is queued waits behind {} others. The "
                  "median of {} cancels is a round's figure.",
                  short_bytes(kJob), short_bytes(kSimulatedJob), kBlockers, bench.effort.cancels)};
  Chart saved{"cancel_saved", "cancel", "What a cancel saves of a job", "the job is", "not written any more", "%"};
  Chart& latencies = bench.add(std::move(latency));
  Chart& savings = bench.add(std::move(saved));
  for (std::size_t round = 0; round < bench.effort.rounds; ++round) {
    Plan tasks;
    for (const EngineName& name : bench.engines) {
      if (round > 0 && engine_entry(bench.registry, name).simulated) continue;
      tasks.emplace_back([&bench, name, &latencies, &savings] { measure(bench, name, latencies, savings); });
    }
    add_round(plan, std::move(tasks), round);
  }
}

}  // namespace sluice::bench
