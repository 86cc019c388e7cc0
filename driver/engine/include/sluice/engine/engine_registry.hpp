// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sluice/engine/engine.hpp"
#include "sluice/engine/engine_options.hpp"

namespace sluice::inline engine {

/// One engine that could be chosen on this machine.
struct EngineOffer {
  std::string name;  ///< What EngineRegistry::create takes.
  std::string text;  ///< What it is, in a line.
  /// Empty: it is available.
  std::string why_not;
  std::vector<std::string> limits;  ///< Each a line of text.
};

/// Makes engines of one kind. One thread at a time.
class EngineFactory {
 public:
  EngineFactory() = default;
  EngineFactory(const EngineFactory&) = delete;
  EngineFactory& operator=(const EngineFactory&) = delete;
  virtual ~EngineFactory() = default;

  [[nodiscard]] virtual std::string kind() const = 0;
  /// At least one: a kind that this machine has not says why.
  [[nodiscard]] virtual std::vector<EngineOffer> offers() = 0;
  [[nodiscard]] virtual std::vector<EngineOptionHelp> options() = 0;
  /// Memory for an engine that reaches only memory of its own device's: zeroed whole pages, in place as long as the
  /// factory lives. Empty: the engine reaches any memory. Errors: as of create().
  [[nodiscard]] virtual Result<MemorySpan> allocate(const EngineName& /*name*/, ByteCount /*length*/) {
    return MemorySpan{};
  }
  /// Errors: InvalidArgument (the name, or a window that the engine does not reach), DeviceMissing, NoResources.
  [[nodiscard]] virtual Result<std::unique_ptr<Engine>> create(const EngineName& name,
                                                               std::span<const MemorySpan> windows) = 0;
};

/// The kinds of engines that a program can choose from, by name: added by the program, or found as
/// plugins. The engines must be destroyed before it. One thread at a time.
class EngineRegistry {
 public:
  EngineRegistry();
  EngineRegistry(EngineRegistry&&) noexcept;
  EngineRegistry& operator=(EngineRegistry&&) noexcept;
  ~EngineRegistry();

  void add(std::unique_ptr<EngineFactory> factory);

  /// Adds a kind that lies in a shared library, which is loaded when somebody asks for it: see engine_plugin.hpp.
  void add_plugin(const std::string& kind, const std::filesystem::path& library);

  [[nodiscard]] const std::vector<std::unique_ptr<EngineFactory>>& factories() const { return factories_; }

  /// What the factory of that kind does. Errors: InvalidArgument for a kind that is not there, and the factory's own.
  [[nodiscard]] Result<MemorySpan> allocate(const EngineName& name, ByteCount length) const;
  [[nodiscard]] Result<std::unique_ptr<Engine>> create(const EngineName& name,
                                                       std::span<const MemorySpan> windows) const;

 private:
  [[nodiscard]] Result<EngineFactory*> factory_of(const EngineName& name) const;

  std::vector<std::unique_ptr<EngineFactory>> factories_;
};

}  // namespace sluice::inline engine
