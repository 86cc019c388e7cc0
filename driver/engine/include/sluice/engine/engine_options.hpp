// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/base/limits.hpp"
#include "sluice/base/units.hpp"
#include "sluice/engine/error.hpp"

namespace sluice::inline engine {

/// An engine as a user names it: KIND[:ITEM[,ITEM...]], an item being KEY=VALUE or, once, the name of a device.
/// "cpu", "cpu:threads=2,store=avx2", "dmadev:dma_skeleton,copy=1".
struct EngineName {
  std::string text;  ///< As it was given.
  std::string kind;
  std::string device;  ///< Empty: none was named.
  std::map<std::string, std::string> options;

  /// Errors: InvalidArgument; the message says what is wrong where.
  [[nodiscard]] static Result<EngineName> parse(std::string_view text);
};

/// One option of an engine, for those who choose.
struct EngineOptionHelp {
  std::string key;
  std::string form;           ///< For example "1..64" or "BYTES".
  std::string default_value;  ///< Empty: none
  std::string text;
};

/// The options of one kind of engine, each tied to the variable that it sets. Says what there is, and reads a name.
class EngineOptionSet {
 public:
  template <std::unsigned_integral T>
  void number(const std::string& key, T& value, std::uint64_t min, std::uint64_t max, const std::string& text) {
    add_number(
        key, min, std::min<std::uint64_t>(max, std::numeric_limits<T>::max()),
        [&value](std::uint64_t read) { value = static_cast<T>(read); }, std::to_string(value), text);
  }
  template <std::unsigned_integral T>
  void number(const std::string& key, std::optional<T>& value, std::uint64_t min, std::uint64_t max,
              const std::string& text) {
    add_number(
        key, min, std::min<std::uint64_t>(max, std::numeric_limits<T>::max()),
        [&value](std::uint64_t read) { value = static_cast<T>(read); }, "", text);
  }
  void real(const std::string& key, double& value, double min, double max, const std::string& text);
  /// A number with B, KiB, MiB, GiB or TiB.
  void bytes(const std::string& key, ByteCount& value, const std::string& text, Limits limits = limits::kOptionBytes);
  /// N, or MIN:MAX.
  void range(const std::string& key, std::uint32_t& min, std::uint32_t& max, const std::string& text,
             Limits limits = limits::kLatencyCycles);
  /// One of some words; `choose` gets its index.
  void choice(const std::string& key, const std::vector<std::string>& words, const std::string& default_word,
              std::function<void(std::size_t)> choose, const std::string& text);
  /// Numbers and ranges joined by +: "0+2-3".
  void list(const std::string& key, std::vector<std::uint32_t>& value, const std::string& text);
  void word(const std::string& key, const std::string& form, std::function<void(const std::string&)> set,
            const std::string& text);

  /// Sets what `name` asks for. Errors: InvalidArgument for a key that is not there or a value that does not fit.
  [[nodiscard]] Result<void> read(const EngineName& name) const;
  [[nodiscard]] std::vector<EngineOptionHelp> help() const;

 private:
  using Setter = std::function<bool(const std::string&)>;  // false: the value does not have the form
  struct Option {
    EngineOptionHelp help;
    Setter set;
  };
  void add_number(const std::string& key, std::uint64_t min, std::uint64_t max, std::function<void(std::uint64_t)> set,
                  const std::string& default_value, const std::string& text);

  std::vector<Option> options_;
};

}  // namespace sluice::inline engine
