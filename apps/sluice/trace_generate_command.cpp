// SPDX-License-Identifier: Apache-2.0
// `sluice trace generate`: writes a trace to replay.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fstream>
#include <iostream>

#include "command.hpp"
#include "exit_code.hpp"
#include "population_options.hpp"
#include "sluice/workload/trace_generator.hpp"

namespace sluice {
namespace {

class TraceGenerateCommand final : public Command {
 public:
  explicit TraceGenerateCommand(CLI::App& app) {
    CLI::App* const trace = app.add_subcommand("trace", "Work with traces")->require_subcommand(1);
    command_ = trace->add_subcommand("generate", "Write a trace in the shape of published data (docs/TRACES.md)");
    command_->add_option("-o,--output", output_, "The CSV file; '-': standard output")->capture_default_str();
    command_->add_option("--vms", options_.vms, "VMs that start")->check(CLI::PositiveNumber)->capture_default_str();
    command_->add_option("--hours", options_.hours, "Length of the trace")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    command_->add_option("--seed", options_.population.seed, "The same seed gives the same trace")
        ->capture_default_str();
    add_population_options(*command_, options_.population);
  }

  int run() override {
    const auto trace = generate_trace(options_);
    if (!trace) {
      spdlog::error("{}", trace.error().message);
      return kExitUsage;
    }
    if (output_ == "-") {
      write_csv(*trace, std::cout);
      std::cout.flush();
      return std::cout ? kExitOk : kExitBadInput;
    }
    std::ofstream out(output_);
    write_csv(*trace, out);
    out.close();
    if (!out) {
      spdlog::error("cannot write {}: choose another --output", output_);
      return kExitBadInput;
    }
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
