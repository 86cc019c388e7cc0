// SPDX-License-Identifier: Apache-2.0
#include "sluice/device/rtl_factory.hpp"

#include <fmt/format.h>

#include <bit>

#include "sluice/base/parse.hpp"
#include "sluice/device/simulated_device.hpp"
#include "sluice/ring/ring_engine.hpp"

namespace sluice::inline device {
namespace {

struct Options {
  SimOptions sim;
  RingOptions ring;
  std::uint32_t stall_timeout_us = 1000;
};

/// What a name may set, tied to `options`.
EngineOptionSet option_set(Options& options) {
  EngineOptionSet set;
  SimOptions& sim = options.sim;
  std::vector<std::string> builds;
  for (const RtlBuild& build : rtl_builds()) {
    if (!build.unsafe) builds.push_back(build.name);
  }
  set.choice(
      "build", builds, sim.build, [&sim, builds](std::size_t index) { sim.build = builds[index]; },
      "build of the RTL, named by its data width in bits");
  set.number("seed", sim.seed, 0, ~0ULL, "of all draws of the simulated bus");
  set.real("clock-mhz", sim.clock_mhz, 1.0, 10'000.0, "clock to which cycles are projected");
  set.range("read-latency", sim.timing.read_latency.min, sim.timing.read_latency.max, "cycles from a read to its data");
  set.range("write-latency", sim.timing.write_latency.min, sim.timing.write_latency.max,
            "cycles from a write to its response");
  set.range("completion-latency", sim.timing.completion_latency.min, sim.timing.completion_latency.max,
            "the same for writes to the completion ring");
  set.choice(
      "interleave", {"no", "yes"}, "no", [&sim](std::size_t yes) { sim.timing.interleave_reads = yes == 1; },
      "beats of reads with different IDs come mixed");
  set.real("ready", sim.timing.ready_probability, 0.001, 1.0, "probability of each ready signal in each cycle");
  set.real("bus-error-rate", sim.faults.slave_error_probability, 0.0, 0.999, "share of data bursts that get SLVERR");
  set.number("bus-hang-after", sim.faults.hang_after_bursts, 1, ~0ULL, "the bus stops answering after so many bursts");
  set.number("stall-timeout-us", options.stall_timeout_us, 1, 1'000'000'000,
             "simulated time without a beat after which the engine has failed");
  set.number("ring", options.ring.ring_entries, 2, 256, "entries of each ring, a power of two: jobs in flight at once");
  set.word(
      "wave", "FILE.fst", [&sim](const std::string& file) { sim.wave_file = file; }, "write all signals to this file");
  return set;
}

class RtlFactory final : public EngineFactory {
 public:
  [[nodiscard]] std::string kind() const override { return "rtl"; }

  [[nodiscard]] std::vector<EngineOffer> offers() override {
    std::vector<EngineOffer> offers;
    for (const RtlBuild& build : rtl_builds()) {
      if (build.unsafe) continue;
      const bool is_default = build.name == SimOptions{}.build;
      offers.push_back(
          {is_default ? "rtl" : "rtl:build=" + build.name,
           "the scrub engine in RTL, simulated in this process",
           "",
           {fmt::format("{} data bits, {} address bits, {} queues, {} job slots, {} writes outstanding, {} "
                        "AXI masters",
                        build.data_width, build.addr_width, build.queues, build.slots, build.outstanding,
                        build.masters)}});
    }
    return offers;
  }

  [[nodiscard]] std::vector<EngineOptionHelp> options() override {
    Options options;
    return option_set(options).help();
  }

  [[nodiscard]] Result<std::unique_ptr<Engine>> create(const EngineName& name,
                                                       std::span<const MemorySpan> windows) override {
    if (!name.device.empty()) {
      return Error{DriverErrc::InvalidArgument,
                   fmt::format("engine {}: rtl has no device {}; give build={}", in_quotes(name.text),
                               in_quotes(name.device), in_quotes(name.device))};
    }
    Options options;
    if (auto read = option_set(options).read(name); !read) return read.error();
    options.ring.stall_timeout = std::chrono::microseconds(options.stall_timeout_us);
    auto device = SimulatedDevice::create(options.sim);
    if (!device) return device.error();
    auto engine = RingEngine::create(std::move(*device), options.ring, windows);
    if (!engine) return engine.error();
    return std::unique_ptr<Engine>(std::move(*engine));
  }
};

}  // namespace

std::unique_ptr<EngineFactory> make_rtl_factory() { return std::make_unique<RtlFactory>(); }

}  // namespace sluice::inline device
