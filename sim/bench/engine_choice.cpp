// SPDX-License-Identifier: Apache-2.0
#include "sluice/bench/engine_choice.hpp"

#include "sluice/base/input.hpp"
#include "sluice/bench/results.hpp"
#include "sluice/compose/auto_factory.hpp"
#include "sluice/compose/engine_choice.hpp"

namespace sluice {
namespace {

std::vector<MemorySpan> windows_of(const BackingMemory& memory) {
  std::vector<MemorySpan> windows;
  windows.reserve(memory.bricks().size());
  for (const Brick& brick : memory.bricks()) windows.push_back(brick.memory);
  return windows;
}

/// What `sluice bench micro offload --json FILE` has found on this machine.
Result<std::vector<OffloadAdvice>> advice_in(const std::string& file) {
  const auto text = read_whole_file(file, bench::kLongestResults);
  if (!text) return Error{DriverErrc::InvalidArgument, text.error().message};
  const auto results = bench::results_from_json(*text, file);
  if (!results) return results.error();
  std::vector<OffloadAdvice> advice;
  advice.reserve(results->advice.size());
  for (const bench::Routing& each : results->advice) advice.push_back({each.engine, {each.below, each.above}});
  return advice;
}

}  // namespace

EngineRegistry make_engine_registry() {
  EngineRegistry registry = make_plain_registry();
  registry.add(make_auto_factory(make_plain_registry(), advice_in));
  return registry;
}

Result<std::unique_ptr<FailoverEngine>> make_engine(const EngineRegistry& registry,
                                                    const std::vector<EngineName>& names, const BackingMemory& memory,
                                                    const FailoverOptions& options) {
  return make_engine(registry, names, windows_of(memory), options);
}

}  // namespace sluice
