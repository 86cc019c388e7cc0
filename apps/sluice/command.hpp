// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/App.hpp>
#include <memory>

namespace sluice {

/// A subcommand of `sluice`: adds its options to the application; run() is called if it was chosen.
class Command {
 public:
  Command() = default;
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;
  virtual ~Command() = default;
  /// Returns an ExitCode.
  virtual int run() = 0;
  [[nodiscard]] virtual bool chosen() const = 0;
};

[[nodiscard]] std::unique_ptr<Command> make_bench_command(CLI::App& app);
[[nodiscard]] std::unique_ptr<Command> make_doctor_command(CLI::App& app);
[[nodiscard]] std::unique_ptr<Command> make_engines_command(CLI::App& app);
[[nodiscard]] std::unique_ptr<Command> make_replay_command(CLI::App& app);
[[nodiscard]] std::unique_ptr<Command> make_trace_generate_command(CLI::App& app);

}  // namespace sluice
