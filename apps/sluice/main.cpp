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

int main(int argc, char** argv) {
  auto logger = spdlog::stderr_color_st("sluice");
  logger->set_pattern("%^%n: %l:%$ %v");
  spdlog::set_default_logger(std::move(logger));
  try {
    CLI::App app("Sluice gives a hypervisor clean memory at hardware speed.", "sluice");
    app.require_subcommand(1);
    const std::array commands = {sluice::make_replay_command(app), sluice::make_bench_command(app),
                                 sluice::make_engines_command(app), sluice::make_trace_generate_command(app)};
    try {
      app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
      return app.exit(error) == 0 ? sluice::kExitOk : sluice::kExitUsage;
    }
    for (const auto& command : commands) {
      if (command->chosen()) return command->run();
    }
    return sluice::kExitUsage;
  } catch (const std::exception& error) {
    spdlog::critical("{}", error.what());
    return sluice::kExitEngine;
  }
}
