// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <string>

namespace sluice::test {

struct Outcome {
  int exit_code = -1;
  std::string output;  ///< of both streams
};

inline constexpr unsigned kLongestProgram = 120;  ///< Seconds; whatever runs longer hangs.

/// Runs a command line of the shell to its end, or ends it after kLongestProgram: the exit code is 124 then.
inline Outcome run_program(const std::string& command_line) {
  std::string quoted;
  for (const char letter : command_line) quoted += letter == '\'' ? "'\\''" : std::string(1, letter);
  const std::string limited = "timeout -k 5 " + std::to_string(kLongestProgram) + " sh -c '" + quoted + "' 2>&1";
  std::FILE* const pipe = ::popen(limited.c_str(), "r");
  Outcome outcome;
  std::array<char, 4096> buffer;
  while (const std::size_t got = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    outcome.output.append(buffer.data(), got);
  }
  const int status = ::pclose(pipe);
  outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return outcome;
}

}  // namespace sluice::test
