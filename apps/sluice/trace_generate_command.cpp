// SPDX-License-Identifier: Apache-2.0
// `sluice trace generate`: writes a trace to replay.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <sstream>

#include "command.hpp"
#include "exit_code.hpp"
#include "population_options.hpp"
#include "sluice/base/output.hpp"
#include "sluice/workload/trace_generator.hpp"

namespace sluice {
namespace {

class TraceGenerateCommand final : public Command {
 public:
  explicit TraceGenerateCommand(CLI::App& app) {
    CLI::App* const trace = app.add_subcommand("trace", "Work with traces")->require_subcommand(1);
    command_ = trace->add_subcommand("generate", "Write a trace in the shape of published data (docs/TRACES.md)");
    command_->add_option("-o,--output", output_, "The CSV file; '-': standard output")->capture_default_str();
    add_number(*command_, "--vms", options_.vms, limits::kVms, "VMs that start");
    add_real(*command_, "--hours", options_.hours, 0.001, limits::kHours.max, "Length of the trace");
    add_number(*command_, "--seed", options_.population.seed, limits::kSeed, "The same seed gives the same trace");
    add_population_options(*command_, options_.population);
  }

  int run() override {
    const auto trace = generate_trace(options_);
    if (!trace) {
      spdlog::error("{}", trace.error().message);
      return kExitUsage;
    }
    std::ostringstream text;
    write_csv(*trace, text);
    const auto written = output_ == "-" ? write_standard_output(text.str()) : write_whole_file(output_, text.str());
    if (!written) {
      spdlog::error("{}", written.error().message);
      return kExitBadInput;
    }
    if (output_ == "-") return kExitOk;
    spdlog::info("wrote {} events of {} VMs to {}", trace->events.size(), options_.vms, output_);
    return kExitOk;
  }

  [[nodiscard]] bool chosen() const override { return command_->parsed(); }

 private:
  CLI::App* command_ = nullptr;
  std::string output_ = "-";
  GeneratorOptions options_;
};

}  // namespace

std::unique_ptr<Command> make_trace_generate_command(CLI::App& app) {
  return std::make_unique<TraceGenerateCommand>(app);
}

}  // namespace sluice
