// SPDX-License-Identifier: Apache-2.0
// "dmadev:DEVICE": the plugin of DPDK's DMA devices.
#include <fmt/format.h>
#include <rte_version.h>

#include <algorithm>
#include <filesystem>

#include "sluice/base/own_path.hpp"
#include "sluice/base/parse.hpp"
#include "sluice/dmadev/dmadev_engine.hpp"
#include "sluice/dmadev/rte_device.hpp"
#include "sluice/engine/engine_plugin.hpp"

namespace sluice::inline dmadev {
namespace {

/// The driver of our own engine, which DPDK does not know by itself: beside this plugin.
std::string own_driver() { return folder_of_code(reinterpret_cast<const void*>(&own_driver)) / "librte_dma_sluice.so"; }

struct Options {
  RteOptions rte;
  DmadevOptions engine;
  std::uint32_t stall_timeout_ms = 2000;
};

/// What a name may set, tied to `options`.
EngineOptionSet option_set(Options& options) {
  EngineOptionSet set;
  set.word(
      "eal", "WORDS joined by +",
      [&options](const std::string& words) {
        options.rte.eal = words;
        std::replace(options.rte.eal.begin(), options.rte.eal.end(), '+', ' ');
      },
      "options of DPDK's start, instead of " + options.rte.eal);
  set.word(
      "driver", "FILE", [&options](const std::string& file) { options.rte.driver = file; },
      "shared library with the device's driver; for dma_sluice... the one that was built with this");
  set.word(
      "arguments", "TEXT", [&options](const std::string& text) { options.rte.arguments = text; },
      "of a virtual device that is made by naming it");
  set.number("descriptors", options.rte.descriptors, 32, 32'768, "operations in flight at once");
  set.choice(
      "copy", {"no", "yes"}, "no", [&options](std::size_t yes) { options.engine.copy = yes == 1; },
      "copy from a zero page even if the device can fill");
  set.bytes("chunk", options.engine.chunk, "longest operation");
  set.bytes("page", options.rte.page, "size of the pool's pages, for a device with physical addresses: 2MiB or 1GiB");
  set.bytes("in-flight", options.engine.in_flight, "bytes given to the device at once, which a cancel waits for");
  set.number("jobs", options.engine.max_jobs, 1, 65'536, "jobs in flight at once");
  set.number("stall-timeout-ms", options.stall_timeout_ms, 1, 1'000'000, "without an end of an operation: failed");
  return set;
}

std::string why_no_driver() {
  std::error_code error;
  return std::filesystem::exists(own_driver(), error)
             ? ""
             : fmt::format("its driver {} is not there: build or install it", own_driver());
}

class DmadevFactory final : public EngineFactory {
 public:
  [[nodiscard]] std::string kind() const override { return "dmadev"; }

  [[nodiscard]] std::vector<EngineOffer> offers() override {
    const std::string text = fmt::format("a DMA device of {}", ::rte_version());
    // The skeleton driver comes with DPDK: a thread that copies. It shows that the rest works.
    std::vector<EngineOffer> offers = {
        {"dmadev:dma_skeleton", text + ", in software", "", {}},
        {"dmadev:dma_sluice", "our own engine as " + text, why_no_driver(), {"simulated; or arguments=engine=cpu"}}};
    const auto devices = list_rte_devices({});
    if (!devices) return {{"dmadev:dma_skeleton", text, devices.error().message, {}}};
    for (const RteDeviceInfo& device : *devices) {
      if (device.name == "dma_skeleton" || device.name.starts_with("dma_sluice")) continue;
      offers.push_back(
          {"dmadev:" + device.name,
           text,
           "",
           {fmt::format("{}, up to {} operations in flight", device.limits.fills ? "fills" : "copies from a zero page",
                        device.limits.descriptors),
            device.addresses_are_virtual ? "virtual addresses" : "physical addresses: huge pages only, with page="}});
    }
    return offers;
  }

  [[nodiscard]] std::vector<EngineOptionHelp> options() override {
    Options options;
    return option_set(options).help();
  }

  [[nodiscard]] Result<std::unique_ptr<Engine>> create(const EngineName& name,
                                                       std::span<const MemorySpan> windows) override {
    if (name.device.empty()) {
      return Error{DriverErrc::InvalidArgument,
                   fmt::format("engine {}: it names no device; give dmadev:DEVICE, for example dmadev:dma_skeleton",
                               in_quotes(name.text))};
    }
    Options options;
    if (auto read = option_set(options).read(name); !read) return read.error();
    options.engine.stall_timeout = std::chrono::milliseconds(options.stall_timeout_ms);
    if (options.rte.driver.empty() && name.device.starts_with("dma_sluice")) options.rte.driver = own_driver();
    auto device = open_rte_device(name.device, options.rte);
    if (!device) return device.error();
    auto engine = DmadevEngine::create(std::move(*device), options.engine, windows);
    if (!engine) return engine.error();
    return std::unique_ptr<Engine>(std::move(*engine));
  }
};

}  // namespace
}  // namespace sluice::inline dmadev

extern "C" sluice::EngineFactory* sluice_engine_plugin(unsigned abi) {
  return abi == sluice::kEnginePluginAbi ? new sluice::DmadevFactory : nullptr;
}
