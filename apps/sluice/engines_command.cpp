// SPDX-License-Identifier: Apache-2.0
// `sluice engines`: which engines this machine has, and how to name them.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <boost/json.hpp>

#include "command.hpp"
#include "exit_code.hpp"
#include "sluice/base/output.hpp"
#include "sluice/bench/engine_choice.hpp"

namespace sluice {
namespace {

namespace json = boost::json;

json::object json_of(EngineFactory& factory) {
  json::array offers;
  for (const EngineOffer& offer : factory.offers()) {
    json::object one = {{"name", offer.name}, {"text", offer.text}, {"available", offer.why_not.empty()}};
    if (!offer.why_not.empty()) one["why_not"] = offer.why_not;
    one["limits"] = json::value_from(offer.limits);
    offers.push_back(one);
  }
  json::array options;
  for (const EngineOptionHelp& option : factory.options()) {
    options.push_back(
        {{"key", option.key}, {"form", option.form}, {"default", option.default_value}, {"text", option.text}});
  }
  return {{"kind", factory.kind()}, {"engines", offers}, {"options", options}};
}

std::string text_of(EngineFactory& factory) {
  std::string text;
  for (const EngineOffer& offer : factory.offers()) {
    text +=
        fmt::format("{:<28} {}\n", offer.name, offer.why_not.empty() ? offer.text : "not available: " + offer.why_not);
    for (const std::string& limit : offer.limits) text += fmt::format("{:<28}   {}\n", "", limit);
  }
  for (const EngineOptionHelp& option : factory.options()) {
    const std::string fallback = option.default_value.empty() ? "" : " (" + option.default_value + ")";
    text += fmt::format("  {:<26} {}: {}{}\n", option.key + "=", option.text, option.form, fallback);
  }
  return text + "\n";
}

class EnginesCommand final : public Command {
 public:
  explicit EnginesCommand(CLI::App& app)
      : command_(app.add_subcommand("engines", "List the engines that --engine can name, with their options")) {
    command_->add_flag("--json", json_, "Print the list as JSON");
  }

  int run() override {
    const EngineRegistry registry = make_engine_registry();
    json::array all;
    std::string text;
    for (const auto& factory : registry.factories()) {
      if (json_) {
        all.push_back(json_of(*factory));
      } else {
        text += text_of(*factory);
      }
    }
    const auto written = write_standard_output(json_ ? json::serialize(all) + "\n" : text);
    if (!written) spdlog::error("{}", written.error().message);
    return written ? kExitOk : kExitBadInput;
  }
  [[nodiscard]] bool chosen() const override { return command_->parsed(); }

 private:
  CLI::App* command_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_engines_command(CLI::App& app) { return std::make_unique<EnginesCommand>(app); }

}  // namespace sluice
