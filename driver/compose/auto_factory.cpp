// SPDX-License-Identifier: Apache-2.0
#include "sluice/compose/auto_factory.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "sluice/base/parse.hpp"
#include "sluice/compose/offload_engine.hpp"

namespace sluice::inline compose {
namespace {

struct AutoOptions {
  std::string from;
  std::string engine;
  ByteCount below;
  ByteCount above;
};

EngineOptionSet option_set(AutoOptions& options) {
  EngineOptionSet set;
  set.word(
      "from", "FILE", [&options](const std::string& word) { options.from = word; },
      "what `sluice bench micro offload --json FILE` has found on this machine");
  set.word(
      "engine", "NAME", [&options](const std::string& word) { options.engine = word; },
      "the engine beside the CPU; left out: the first that FILE advises");
  set.bytes("below", options.below, "shorter jobs go to the CPU; 0: as FILE has it");
  set.bytes("above", options.above, "longer jobs go to the engine; 0: as FILE has it");
  return set;
}

Error wrong(const EngineName& name, const std::string& why) {
  return {DriverErrc::InvalidArgument, fmt::format("engine {}: {}", in_quotes(name.text), why)};
}

/// What the file says where the options are silent.
Result<AutoOptions> complete(const EngineName& name, AutoOptions options, const AdviceReader& advice_in) {
  const bool lengths = options.above > ByteCount(0);
  if (lengths && options.below == ByteCount(0)) options.below = options.above;
  if (options.from.empty()) {
    if (lengths && !options.engine.empty()) return options;
    return wrong(
        name, "give from=FILE, which `sluice bench micro offload --json FILE` writes, or engine=NAME and above=SIZE");
  }
  const auto advice = advice_in(options.from);
  if (!advice) return wrong(name, advice.error().message);
  const auto found = std::find_if(advice->begin(), advice->end(), [&](const OffloadAdvice& each) {
    return options.engine.empty() || each.engine == options.engine;
  });
  if (found == advice->end()) {
    return wrong(name, fmt::format("{} has no advice{}: measure it with `sluice bench micro offload`", options.from,
                                   options.engine.empty() ? "" : " for engine " + options.engine));
  }
  options.engine = found->engine;
  if (!lengths) {
    options.below = found->lengths.below;
    options.above = found->lengths.above;
  }
  return options;
}

class AutoFactory final : public EngineFactory {
 public:
  AutoFactory(EngineRegistry registry, AdviceReader advice_in)
      : registry_(std::move(registry)), advice_in_(std::move(advice_in)) {}

  [[nodiscard]] std::string kind() const override { return "auto"; }
  [[nodiscard]] std::vector<EngineOffer> offers() override {
    return {{"auto:engine=rtl,above=64KiB",
             "short jobs by the CPU, long ones by an engine, from the length on that is worth it",
             "",
             {}}};
  }
  [[nodiscard]] std::vector<EngineOptionHelp> options() override {
    AutoOptions options;
    return option_set(options).help();
  }
  [[nodiscard]] Result<MemorySpan> allocate(const EngineName& name, ByteCount length) override {
    const auto engine = engine_of(name);
    if (!engine) return engine.error();
    return registry_.allocate(engine->name, length);
  }
  [[nodiscard]] Result<std::unique_ptr<Engine>> create(const EngineName& name,
                                                       std::span<const MemorySpan> windows) override {
    const auto chosen = engine_of(name);
    if (!chosen) return chosen.error();
    auto cpu = registry_.create(*EngineName::parse("cpu"), windows);
    if (!cpu) return cpu.error();
    auto engine = registry_.create(chosen->name, windows);
    if (!engine) return engine.error();
    auto both = OffloadEngine::create(std::move(*cpu), std::move(*engine), chosen->lengths);
    if (!both) return both.error();
    return std::unique_ptr<Engine>(std::move(*both));
  }

 private:
  struct Chosen {
    EngineName name;
    OffloadLengths lengths;
  };
  [[nodiscard]] Result<Chosen> engine_of(const EngineName& name) const {
    if (!name.device.empty()) {
      return wrong(name, fmt::format("auto has no device {}; give KEY=VALUE", in_quotes(name.device)));
    }
    AutoOptions options;
    if (auto read = option_set(options).read(name); !read) return read.error();
    auto completed = complete(name, std::move(options), advice_in_);
    if (!completed) return completed.error();
    auto engine = EngineName::parse(completed->engine);
    if (!engine) return engine.error();
    return Chosen{std::move(*engine), {completed->below, completed->above}};
  }

  EngineRegistry registry_;
  AdviceReader advice_in_;
};

}  // namespace

std::unique_ptr<EngineFactory> make_auto_factory(EngineRegistry registry, AdviceReader advice_in) {
  return std::make_unique<AutoFactory>(std::move(registry), std::move(advice_in));
}

}  // namespace sluice::inline compose
