// SPDX-License-Identifier: Apache-2.0
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <array>
#include <exception>

#include "command.hpp"
#include "exit_code.hpp"
#include "sluice/base/output.hpp"

namespace sluice {
namespace {

int run(int argc, char** argv) {
  CLI::App app("Sluice gives a hypervisor clean memory at hardware speed.", "sluice");
  app.require_subcommand(1);
  const std::array commands = {make_replay_command(app), make_bench_command(app), make_engines_command(app),
                               make_trace_generate_command(app), make_doctor_command(app)};
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (app.exit(error) != 0) return kExitUsage;
    const auto written = finish_standard_output();  // the help
    if (!written) spdlog::error("{}", written.error().message);
    return written ? kExitOk : kExitBadInput;
  }
  for (const auto& command : commands) {
    if (command->chosen()) return command->run();
  }
  return kExitUsage;
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) {
  sluice::prepare_process();
  auto logger = spdlog::stderr_color_st("sluice");
  logger->set_pattern("%^%n: %l:%$ %v");
  spdlog::set_default_logger(std::move(logger));
  try {
    return sluice::run(argc, argv);
  } catch (const std::exception& error) {
    spdlog::critical("{}", error.what());
    return sluice::kExitEngine;
  }
}
