// SPDX-License-Identifier: Apache-2.0
#include "rtl_figures.hpp"

#include <algorithm>

#include "rtl/raw_engine.hpp"

namespace sluice::test {
namespace {

constexpr std::uint32_t kBusBytes = 64;

SimOptions options_for(const std::string& build, std::uint32_t write_latency, std::uint32_t read_latency = 1) {
  SimOptions options;
  options.build = build;
  options.timing = {{read_latency, read_latency}, {write_latency, write_latency}, {1, 1}, 1.0};
  return options;
}

struct Stream {
  std::uint64_t cycles = 0;  // first accept to last response, both included
  std::uint64_t data_beats = 0;
  std::uint64_t bus_beats = 0;  // data and completions on the data port, up to the last response
  std::uint64_t w_idle = 0;     // cycles without WVALID between the first and the last beat
  std::uint64_t peak_writes = 0;
};

/// So often software rings the doorbell while it has jobs. A ring of 256 entries holds the jobs of 256 cycles at most:
/// where descriptors and answers take 100 cycles each, a doorbell every 48 would leave the engine without any.
constexpr std::uint32_t kDoorbellCycles = 24;

/// Runs `count` jobs of `length` bytes, the ring kept full as software would. The first accept is the cycle before the
/// first AWVALID: in it the splitter takes the first checked descriptor up.
Stream stream(RawEngine& engine, std::uint64_t length, std::uint32_t count, std::uint8_t operation = ring::kOpFill) {
  engine.start();
  engine.device().run_cycles(300);
  const std::uint64_t stride = std::max<std::uint64_t>(length, 64);
  const std::uint64_t places = engine.data().all().size() / stride;
  const std::uint64_t start = engine.device().cycles();
  std::uint32_t placed = 0;
  std::uint32_t rung = 0;
  std::uint32_t released = 0;
  for (std::uint32_t done = 0; done < count;) {
    for (; placed < count && placed - released < engine.entries(); ++placed) {
      engine.place(engine.job(operation, placed % places * stride, length,
                              static_cast<std::uint16_t>(placed % engine.entries()), 1 + placed / engine.entries()));
    }
    if (placed != rung) engine.ring_doorbell();
    rung = placed;
    for (std::uint32_t waited = 0; waited < kDoorbellCycles && done < count; ++waited) {
      engine.device().run_cycles(1);
      while (const auto completion = engine.try_collect()) {
        if (completion->outcome != ring::kOutcomeZeroed) throw std::runtime_error("a job of the benchmark failed");
        ++done;
      }
    }
    if (released != done) engine.release_completions();
    released = done;
    if (engine.device().cycles() - start > 10'000'000) throw std::runtime_error("the engine has stopped");
  }
  const BusTrace& bus = engine.device().data_bus();
  Stream result;
  result.data_beats = length * count / kBusBytes;
  result.bus_beats = bus.w_beats_answered;
  result.cycles =
      operation == ring::kOpFill ? bus.last_data_b - (bus.first_data_aw - 1) + 1 : bus.last_data_r - start + 1;
  result.w_idle = bus.w_idle;
  result.peak_writes = bus.peak_writes;
  return result;
}

/// Small jobs are measured over many rings of them, so that the one latency at the end does not count.
constexpr std::uint32_t kSmallJobs = 8192;

double beats_per_cycle(const std::string& build, std::uint64_t length, std::uint32_t count, std::uint32_t latency,
                       std::uint32_t read_latency = 1) {
  RawEngine engine(options_for(build, latency, read_latency), 4 << 20, 8);
  const Stream result = stream(engine, length, count);
  const bool shared = engine.device().build().masters == 1;
  return static_cast<double>(shared ? result.bus_beats : result.data_beats) / static_cast<double>(result.cycles);
}

double bubble_free(const std::string& build, std::uint64_t length, std::uint32_t count) {
  RawEngine engine(options_for(build, 1), 4 << 20, 8);
  const Stream result = stream(engine, length, count);
  return static_cast<double>(result.data_beats) / static_cast<double>(result.data_beats + result.w_idle);
}

template <class Condition>
void run_until(RawEngine& engine, Condition condition) {
  for (int cycle = 0; !condition(engine.device().data_bus()); ++cycle) {
    if (cycle == 10'000'000) throw std::runtime_error("the engine has stopped");
    engine.device().run_cycles(1);
  }
}

double random_ready(const std::string& build, double probability) {
  SimOptions options = options_for(build, 1);
  options.timing.ready_probability = probability;
  RawEngine engine(options, 4 << 20, 8);
  engine.start();
  engine.device().run_cycles(300);
  engine.submit(engine.fill(0, 2 << 20, 0));
  run_until(engine, [](const BusTrace& bus) { return bus.first_w != 0; });
  const BusTrace before = engine.device().data_bus();
  run_until(engine, [](const BusTrace& bus) { return bus.w_beats >= (2U << 20) / kBusBytes; });
  const BusTrace& after = engine.device().data_bus();
  return static_cast<double>(after.w_beats - before.w_beats) / static_cast<double>(after.w_ready - before.w_ready);
}

double verify_rate(const std::string& build, std::uint32_t read_latency) {
  RawEngine engine(options_for(build, 1, read_latency), 4 << 20, 8);
  const Stream result = stream(engine, 2 << 20, 1, ring::kOpVerify);
  return static_cast<double>(engine.device().data_bus().data_beats_read) / static_cast<double>(result.cycles);
}

/// Cycles from the doorbell's handshake to the first W, less the memory's read latency.
double doorbell_to_first_w(const std::string& build, std::uint32_t read_latency) {
  RawEngine engine(options_for(build, 1, read_latency), 1 << 20, 8);
  engine.start();
  engine.device().run_cycles(300);
  engine.place(engine.fill(0, 4096, 0));
  const std::uint64_t start = engine.device().cycles();  // the handshake is in the next cycle
  engine.ring_doorbell();
  engine.collect();
  return static_cast<double>(engine.device().data_bus().first_w - start) - read_latency;
}

/// Cycles of ring reads for each descriptor of a full ring, from the first data beat to the last.
double fetch_cycles(const std::string& build, std::uint32_t read_latency) {
  RawEngine engine(options_for(build, 1, read_latency), 1 << 20, 8);
  engine.start();
  engine.device().run_cycles(300);
  constexpr std::uint32_t kJobs = 255;
  for (std::uint16_t job = 0; job < kJobs; ++job) engine.place(RawEngine::marker(ring::kOpNoop, job));
  const std::uint64_t start = engine.device().cycles();
  engine.ring_doorbell();
  for (std::uint32_t job = 0; job < kJobs; ++job) engine.collect();
  return static_cast<double>(engine.device().ring_bus().last_ring_r - start - read_latency) / kJobs;
}

/// A burst is accepted in the cycle before its AWVALID.
double accept_to_first_w(const std::string& build) {
  RawEngine engine(options_for(build, 1), 1 << 20, 8);
  stream(engine, 4096, 1);
  const BusTrace& data = engine.device().data_bus();
  return static_cast<double>(data.first_w - data.first_data_aw + 1);
}

double last_b_to_completion(const std::string& build) {
  RawEngine engine(options_for(build, 20), 1 << 20, 8);
  stream(engine, 64 << 10, 1);
  return static_cast<double>(engine.device().ring_bus().last_ring_aw - engine.device().data_bus().last_data_b);
}

struct CancelTimes {
  double request_to_last_aw = 0;
  double last_b_to_completion = 0;
};

/// The worst over cancels in every phase of a burst.
CancelTimes cancel_times(const std::string& build) {
  CancelTimes worst;
  for (std::uint64_t delay = 400; delay < 400 + 130; delay += 7) {
    RawEngine engine(options_for(build, 20), 4 << 20, 8);
    engine.start();
    engine.device().run_cycles(300);
    engine.write(ring::kQueueCancelGeneration, 1);
    engine.submit(engine.fill(0, 2 << 20, 0));
    engine.device().run_cycles(delay);
    const std::uint64_t start = engine.device().cycles();
    engine.write(ring::kQueueCancelSlot, 0);
    if (engine.collect().outcome != ring::kOutcomeCancelled) throw std::runtime_error("the cancel came too late");
    const BusTrace& data = engine.device().data_bus();
    if (data.last_data_aw > start) {
      worst.request_to_last_aw = std::max(worst.request_to_last_aw, static_cast<double>(data.last_data_aw - start));
    }
    worst.last_b_to_completion =
        std::max(worst.last_b_to_completion,
                 static_cast<double>(engine.device().ring_bus().last_ring_aw) - static_cast<double>(data.last_data_b));
  }
  return worst;
}

}  // namespace

std::vector<RtlFigure> measure_rtl(const std::string& build) {
  const CancelTimes cancel = cancel_times(build);
  RawEngine small(options_for(build, 200), 4 << 20, 8);
  const double peak = static_cast<double>(stream(small, 64, kSmallJobs).peak_writes);
  return {
      {"4 KiB, ideal: beats/cycle", beats_per_cycle(build, 4096, 1, 1), 0.945, true},
      {"64 KiB, ideal: beats/cycle", beats_per_cycle(build, 64 << 10, 1, 1), 0.997, true},
      {"2 MiB, ideal: beats/cycle", beats_per_cycle(build, 2 << 20, 1, 1), 0.9999, true},
      {"64 x 4 KiB, ideal: beats/cycle", beats_per_cycle(build, 4096, 64, 1), 0.999, true},
      // The 100 cycles of the last response alone leave no more than .9762 and .9970 of the next two.
      {"64 x 4 KiB, B after 100: beats/cycle", beats_per_cycle(build, 4096, 64, 100), 0.975, true},
      {"2 MiB, B after 100: beats/cycle", beats_per_cycle(build, 2 << 20, 1, 100), 0.9965, true},
      {"512 x 4 KiB, B after 100: beats/cycle", beats_per_cycle(build, 4096, 512, 100), 0.98, true},
      {"8192 x 64 B, ideal: beats/cycle", beats_per_cycle(build, 64, kSmallJobs, 1), 0.95, true},
      {"8192 x 64 B, B after 100: beats/cycle", beats_per_cycle(build, 64, kSmallJobs, 100), 0.95, true},
      {"8192 x 64 B, B and descriptors after 100: beats/cycle", beats_per_cycle(build, 64, kSmallJobs, 100, 100), 0.95,
       true},
      {"writes outstanding, B after 200", peak, 128, true},
      {"W without a bubble, 64 x 4 KiB", bubble_free(build, 4096, 64), 1.0, true},
      {"W without a bubble, 2 MiB", bubble_free(build, 2 << 20, 1), 1.0, true},
      {"ready at 75 %: of what the memory accepts", random_ready(build, 0.75), 0.99, true},
      {"ready at 30 %: of what the memory accepts", random_ready(build, 0.3), 0.99, true},
      {"verify 2 MiB, ideal: beats/cycle", verify_rate(build, 1), 0.99, true},
      {"verify 2 MiB, reads after 100: beats/cycle", verify_rate(build, 100), 0.99, true},
      {"ring fetch, reads after 100: cycles/descriptor", fetch_cycles(build, 100), 2, false},
      {"doorbell to first W, less the read: cycles", doorbell_to_first_w(build, 1), 12, false},
      {"burst accepted to first W: cycles", accept_to_first_w(build), 3, false},
      {"last B to completion write: cycles", last_b_to_completion(build), 6, false},
      {"cancel request to last AW: cycles", cancel.request_to_last_aw, 4, false},
      {"last B to cancelled completion: cycles", cancel.last_b_to_completion, 8, false},
  };
}

}  // namespace sluice::test
