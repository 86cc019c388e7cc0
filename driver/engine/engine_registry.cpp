// SPDX-License-Identifier: Apache-2.0
#include "sluice/engine/engine_registry.hpp"

#include <dlfcn.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "sluice/base/parse.hpp"
#include "sluice/engine/engine_plugin.hpp"

namespace sluice::inline engine {
namespace {

/// Stands for a kind whose code lies in a shared library.
class PluginFactory final : public EngineFactory {
 public:
  PluginFactory(std::string kind, std::filesystem::path library) : kind_(std::move(kind)), path_(std::move(library)) {}
  ~PluginFactory() override { inside_.reset(); }  // the library stays: what it links may not survive being unloaded

  [[nodiscard]] std::string kind() const override { return kind_; }

  [[nodiscard]] std::vector<EngineOffer> offers() override {
    if (auto loaded = load(); !loaded) return {{kind_, "a plugin", loaded.error().message, {}}};
    return inside_->offers();
  }

  [[nodiscard]] std::vector<EngineOptionHelp> options() override {
    return load() ? inside_->options() : std::vector<EngineOptionHelp>{};
  }

  [[nodiscard]] Result<MemorySpan> allocate(const EngineName& name, ByteCount length) override {
    if (auto loaded = load(); !loaded) return loaded.error();
    return inside_->allocate(name, length);
  }

  [[nodiscard]] Result<std::unique_ptr<Engine>> create(const EngineName& name,
                                                       std::span<const MemorySpan> windows) override {
    if (auto loaded = load(); !loaded) return loaded.error();
    return inside_->create(name, windows);
  }

 private:
  Result<void> load() {
    if (inside_) return {};
    const auto refuse = [this](const std::string& why) {
      return Error{DriverErrc::DeviceMissing, fmt::format("the plugin of engine {} cannot be used: {}", kind_, why)};
    };
    void* const library = ::dlopen(path_.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) return refuse(fmt::format("{}; install it, or choose another engine", ::dlerror()));
    auto* const make = reinterpret_cast<EnginePluginFunction*>(::dlsym(library, kEnginePluginSymbol));
    if (make == nullptr) return refuse(fmt::format("{} is no plugin of Sluice", path_.string()));
    inside_.reset(make(kEnginePluginAbi));
    if (!inside_) {
      return refuse(
          fmt::format("{} was built for another release of Sluice than this program, whose plugins have ABI {}",
                      path_.string(), kEnginePluginAbi));
    }
    return {};
  }

  std::string kind_;
  std::filesystem::path path_;
  std::unique_ptr<EngineFactory> inside_;
};

}  // namespace

EngineRegistry::EngineRegistry() = default;
EngineRegistry::EngineRegistry(EngineRegistry&&) noexcept = default;
EngineRegistry& EngineRegistry::operator=(EngineRegistry&&) noexcept = default;
EngineRegistry::~EngineRegistry() = default;

void EngineRegistry::add(std::unique_ptr<EngineFactory> factory) { factories_.push_back(std::move(factory)); }

void EngineRegistry::add_plugin(const std::string& kind, const std::filesystem::path& library) {
  add(std::make_unique<PluginFactory>(kind, library));
}

Result<EngineFactory*> EngineRegistry::factory_of(const EngineName& name) const {
  std::vector<std::string> kinds;
  for (const auto& factory : factories_) {
    if (factory->kind() == name.kind) return factory.get();
    kinds.push_back(factory->kind());
  }
  return Error{DriverErrc::InvalidArgument,
               fmt::format("engine {}: there is no kind {}; there are: {}", in_quotes(name.text), in_quotes(name.kind),
                           fmt::join(kinds, ", "))};
}

Result<MemorySpan> EngineRegistry::allocate(const EngineName& name, ByteCount length) const {
  auto factory = factory_of(name);
  if (!factory) return factory.error();
  return (*factory)->allocate(name, length);
}

Result<std::unique_ptr<Engine>> EngineRegistry::create(const EngineName& name,
                                                       std::span<const MemorySpan> windows) const {
  auto factory = factory_of(name);
  if (!factory) return factory.error();
  return (*factory)->create(name, windows);
}

}  // namespace sluice::inline engine
