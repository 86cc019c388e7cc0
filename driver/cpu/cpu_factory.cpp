// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "sluice/base/parse.hpp"
#include "sluice/cpu/cpu_engine.hpp"
#include "sluice/engine/engine_registry.hpp"

namespace sluice::inline cpu {
namespace {

/// What a name may set, tied to `options`.
EngineOptionSet option_set(CpuOptions& options) {
  EngineOptionSet set;
  set.number("threads", options.threads, 1, 64, "worker threads");
  std::vector<std::string> stores;
  for (const StoreKind kind : kStoreKinds) stores.push_back(to_string(kind));
  set.choice(
      "store", stores, to_string(best_store()), [&options](std::size_t index) { options.store = kStoreKinds[index]; },
      "non-temporal store");
  set.list("cpus", options.cpus, "worker n runs on the n-th of these CPUs only");
  set.number("node", options.numa_node, 0, 1023, "workers run on the CPUs of this NUMA node only");
  set.bytes("rate", options.bytes_per_second, "bytes a second of background work; 0: no limit");
  set.bytes("chunk", options.chunk, "a cancel is noticed after so many bytes");
  set.choice(
      "catch-bus-errors", {"yes", "no"}, "yes",
      [&options](std::size_t index) { options.catch_bus_errors = index == 0; },
      "memory that is gone fails its job; no: it ends the process by SIGBUS");
  set.number("jobs", options.max_jobs, 1, 65'536, "jobs in flight at once");
  return set;
}

class CpuFactory final : public EngineFactory {
 public:
  [[nodiscard]] std::string kind() const override { return "cpu"; }

  [[nodiscard]] std::vector<EngineOffer> offers() override {
    std::vector<std::string> stores;
    for (const StoreKind store : kStoreKinds) {
      if (has_store(store)) stores.push_back(to_string(store));
    }
    std::vector<std::string> limits = {fmt::format("stores: {}", fmt::join(stores, ", "))};
    for (std::uint32_t node = 0; node < 64; ++node) {
      const auto cpus = cpus_of_node(node);
      if (cpus) limits.push_back(fmt::format("NUMA node {}: CPUs {}", node, fmt::join(*cpus, ",")));
    }
    return {{"cpu", "worker threads with stores past the caches", "", limits}};
  }

  [[nodiscard]] std::vector<EngineOptionHelp> options() override {
    CpuOptions options;
    return option_set(options).help();
  }

  [[nodiscard]] Result<std::unique_ptr<Engine>> create(const EngineName& name,
                                                       std::span<const MemorySpan> windows) override {
    if (!name.device.empty()) {
      return Error{DriverErrc::InvalidArgument,
                   fmt::format("engine {}: cpu has no device {}; give options as KEY=VALUE", in_quotes(name.text),
                               in_quotes(name.device))};
    }
    CpuOptions options;
    if (auto read = option_set(options).read(name); !read) return read.error();
    auto engine = CpuEngine::create(options, windows);
    if (!engine) return engine.error();
    return std::unique_ptr<Engine>(std::move(*engine));
  }
};

}  // namespace

std::unique_ptr<EngineFactory> make_cpu_factory() { return std::make_unique<CpuFactory>(); }

}  // namespace sluice::inline cpu
