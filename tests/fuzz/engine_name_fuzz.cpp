// SPDX-License-Identifier: Apache-2.0
// The name of an engine with its options, as a user, a DPDK program and a C program give it.
#include <cmath>

#include "fuzz/fuzz.hpp"
#include "pmd_arguments.hpp"
#include "sluice/engine/engine_options.hpp"

namespace sluice::fuzz {
namespace {

/// Each kind of option there is.
struct Options {
  std::uint32_t number = 7;
  std::uint16_t small = 8;
  std::optional<std::uint64_t> maybe;
  double real = 0.5;
  ByteCount bytes{4096};
  std::uint32_t min = 3;
  std::uint32_t max = 5;
  std::size_t choice = 0;
  std::vector<std::uint32_t> list;
  std::string word;

  [[nodiscard]] EngineOptionSet set() {
    EngineOptionSet set;
    set.number("number", number, 1, 1000, "");
    set.number("small", small, 0, ~0ULL, "");
    set.number("maybe", maybe, 1, ~0ULL, "");
    set.real("real", real, 0.001, 1.0, "");
    set.bytes("bytes", bytes, "");
    set.range("range", min, max, "");
    set.choice(
        "choice", {"yes", "no", "auto"}, "yes", [this](std::size_t index) { choice = index; }, "");
    set.list("list", list, "");
    set.word(
        "word", "FILE", [this](const std::string& given) { word = given; }, "");
    return set;
  }
  void check() const {
    enforce(number >= 1 && number <= 1000, "a number lies in its limits");
    enforce(!maybe || *maybe >= 1, "a number that may be missing lies in its limits");
    enforce(std::isfinite(real) && real >= 0.001 && real <= 1.0, "a real number lies in its limits");
    enforce(bytes.value() <= limits::kOptionBytes.max, "a length lies in its limits");
    enforce(min <= max && max <= limits::kLatencyCycles.max, "a range is one");
    enforce(choice < 3, "a choice is one of its words");
    enforce(list.size() <= limits::kCpu.max + 1, "a list is bounded");
    for (const std::uint32_t each : list) enforce(each <= limits::kCpu.max, "a list is of CPUs");
  }
};

void check_name(const Result<EngineName>& name) {
  if (!name) return check_message(name.error().message);
  enforce(!name->kind.empty(), "an engine has a kind");
  std::string text = name->kind;
  if (!name->device.empty()) text += ":" + name->device;
  for (const auto& [key, value] : name->options) text += (text == name->kind ? ":" : ",") + key + "=" + value;
  const auto again = EngineName::parse(text);
  enforce(again && again->kind == name->kind && again->device == name->device && again->options == name->options,
          "a name is read as it is written");
  Options options;
  const auto read = options.set().read(*name);
  if (!read) check_message(read.error().message);
  options.check();
}

}  // namespace

void one(std::span<const std::byte> input) {
  check_name(EngineName::parse(as_text(input)));
  const auto arguments = Arguments::parse(as_text(input));
  if (!arguments) return check_message(arguments.error().message);
  check_name(arguments->engine);
}

}  // namespace sluice::fuzz
