// SPDX-License-Identifier: Apache-2.0
// "xrt": the plugin of cards behind Xilinx XRT, and of XRT's hardware emulation.
#include <experimental/xrt_system.h>
#include <fmt/format.h>
#include <xrt/version.h>

#include <algorithm>
#include <sstream>

#include "sluice/base/own_path.hpp"
#include "sluice/base/parse.hpp"
#include "sluice/base/printable.hpp"
#include "sluice/engine/engine_plugin.hpp"
#include "sluice/ring/ring_engine.hpp"
#include "sluice/xrt/xrt_card.hpp"
#include "sluice/xrt/xrt_emulation.hpp"

namespace sluice::inline xrt {
namespace {

/// Installed beside this plugin; in a build with the other programs.
std::string device_program() {
  return first_of(folder_of_code(reinterpret_cast<const void*>(&device_program)),
                  {"sluice-xrt-device", "../bin/sluice-xrt-device"});
}

struct Options {
  XrtOptions card;
  XrtEmulationOptions emulation{device_program(), {}};
  RingOptions ring;
  bool emulate = false;
  std::uint32_t stall_timeout_ms = 5000;
};

/// What a name may set, tied to `options`.
EngineOptionSet option_set(Options& options) {
  EngineOptionSet set;
  set.number("device", options.card.device, 0, 255, "XRT's number of the card");
  set.word(
      "xclbin", "FILE", [&options](const std::string& file) { options.card.xclbin = file; },
      "with the scrub engine, for this card");
  set.word(
      "instance", "NAME", [&options](const std::string& name) { options.card.instance = name; },
      "of the engine in it, instead of " + options.card.instance);
  set.choice(
      "emulate", {"no", "yes"}, "no", [&options](std::size_t yes) { options.emulate = yes == 1; },
      "no card: XRT's hardware emulation with the engine in RTL, in a process of its own");
  set.word(
      "program", "FILE", [&options](const std::string& file) { options.emulation.program = file; },
      "that process, instead of the one that was built with this");
  set.word(
      "serve", "WORDS joined by +",
      [&options](const std::string& words) {
        std::string spaced = words;
        std::replace(spaced.begin(), spaced.end(), '+', ' ');
        std::istringstream stream(spaced);
        for (std::string word; stream >> word;) options.emulation.device_options.push_back(word);
      },
      "options for that process: see sluice-xrt-device serve --help");
  set.choice(
      "interrupts", {"yes", "no"}, "yes", [&options](std::size_t no) { options.card.interrupts = no == 0; },
      "of the card, where it has them; else it is polled");
  set.number("stall-timeout-ms", options.stall_timeout_ms, 1, 1'000'000, "without a beat: failed");
  set.number("ring", options.ring.ring_entries, 2, 256, "entries of each ring, a power of two: jobs in flight at once");
  return set;
}

/// Cards stay open, with the memory that was allocated for them, as long as the factory lives.
class XrtFactory final : public EngineFactory {
 public:
  [[nodiscard]] std::string kind() const override { return "xrt"; }

  [[nodiscard]] std::vector<EngineOffer> offers() override {
    const std::string text = std::string("the scrub engine on a card, through XRT ") + xrt_build_version;
    std::vector<EngineOffer> offers;
    unsigned cards = 0;
    std::string why_not = "XRT finds no card: load its drivers xocl and xclmgmt";
    try {
      cards = ::xrt::system::enumerate_devices();
    } catch (const std::exception& error) {
      why_not = error.what();
    }
    for (unsigned card = 0; card < cards; ++card) {
      offers.push_back({fmt::format("xrt:device={},xclbin=FILE", card), text, "", {}});
    }
    if (cards == 0) offers.push_back({"xrt:device=0,xclbin=FILE", text, why_not, {}});
    offers.push_back({"xrt:emulate=yes",
                      "the scrub engine in RTL, behind XRT's hardware emulation",
                      "",
                      {"512 data bits, 4 queues; XRT sleeps for some seconds when it starts and ends"}});
    return offers;
  }

  [[nodiscard]] std::vector<EngineOptionHelp> options() override {
    Options options;
    return option_set(options).help();
  }

  [[nodiscard]] Result<MemorySpan> allocate(const EngineName& name, ByteCount length) override {
    Options options;
    auto card = card_of(name, options);
    if (!card) return card.error();
    auto memory = (*card)->allocate(length);
    if (!memory) return memory.error();
    return memory->memory;
  }

  [[nodiscard]] Result<std::unique_ptr<Engine>> create(const EngineName& name,
                                                       std::span<const MemorySpan> windows) override {
    Options options;
    auto card = card_of(name, options);
    if (!card) return card.error();
    options.ring.stall_timeout = std::chrono::milliseconds(options.stall_timeout_ms);
    auto engine = RingEngine::create(std::make_unique<XrtTransport>(**card), options.ring, windows);
    if (!engine) return engine.error();
    return std::unique_ptr<Engine>(std::move(*engine));
  }

 private:
  /// The card of that name, opened when it is first named.
  Result<XrtCard*> card_of(const EngineName& name, Options& options) {
    if (!name.device.empty()) {
      return Error{DriverErrc::InvalidArgument,
                   fmt::format("engine {}: give device={} with XRT's number of the card, or emulate=yes",
                               in_quotes(name.text), printable(name.device))};
    }
    if (auto read = option_set(options).read(name); !read) return read.error();
    if (const auto open = cards_.find(name.text); open != cards_.end()) return open->second.get();
    if (options.emulate) {
      if (emulation_) {
        return Error{DriverErrc::InvalidArgument,
                     fmt::format("engine {}: one emulation runs already, and XRT can have one in a process",
                                 in_quotes(name.text))};
      }
      auto started = XrtEmulation::start(options.emulation);
      if (!started) return started.error();
      emulation_ = std::move(*started);
      options.card.xclbin = emulation_->xclbin();
      options.card.alive = [this] { return emulation_->alive(); };
    } else if (options.card.xclbin.empty()) {
      return Error{DriverErrc::InvalidArgument,
                   fmt::format("engine {}: give xclbin=FILE with the engine for the card, or emulate=yes",
                               in_quotes(name.text))};
    }
    auto card = XrtCard::open(options.card);
    if (!card) {
      if (options.emulate) emulation_.reset();
      return card.error();
    }
    return cards_.emplace(name.text, std::move(*card)).first->second.get();
  }

  std::unique_ptr<XrtEmulation> emulation_;  // outlives its card
  std::map<std::string, std::unique_ptr<XrtCard>> cards_;
};

}  // namespace
}  // namespace sluice::inline xrt

extern "C" sluice::EngineFactory* sluice_engine_plugin(unsigned abi) {
  return abi == sluice::kEnginePluginAbi ? new sluice::XrtFactory : nullptr;
}
