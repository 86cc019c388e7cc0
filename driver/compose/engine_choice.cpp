// SPDX-License-Identifier: Apache-2.0
#include "sluice/compose/engine_choice.hpp"

#include "sluice/base/own_path.hpp"
#include "sluice/cpu/cpu_engine.hpp"

namespace sluice::inline compose {

std::filesystem::path plugin_folder() {
  return first_of(folder_of_code(reinterpret_cast<const void*>(&plugin_folder)),
                  {"../plugins", "../../plugins", "sluice/.", "../lib/" SLUICE_ARCHITECTURE "/sluice",
                   "../lib64/sluice", "../lib/sluice"});
}

EngineRegistry make_plain_registry() {
  EngineRegistry registry;
  registry.add(make_cpu_factory());
  for (const std::string kind : {"rtl", "dmadev", "xrt"}) {
    registry.add_plugin(kind, plugin_folder() / ("sluice_engine_" + kind + ".so"));
  }
  return registry;
}

Result<std::unique_ptr<FailoverEngine>> make_engine(const EngineRegistry& registry,
                                                    const std::vector<EngineName>& names,
                                                    std::vector<MemorySpan> windows, const FailoverOptions& options) {
  std::vector<EngineCandidate> candidates;
  candidates.reserve(names.size());
  for (const EngineName& name : names) {
    candidates.push_back({name.text, [&registry, windows, name] { return registry.create(name, windows); }});
  }
  return FailoverEngine::create(std::move(candidates), options);
}

}  // namespace sluice::inline compose
