// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace sluice {

/// What `sluice` exits with (README.md lists them).
enum ExitCode : int {
  kExitOk = 0,
  kExitLeak = 1,         ///< The oracle found memory of another trust domain.
  kExitUsage = 2,        ///< Options that make no sense.
  kExitBadInput = 3,     ///< Input that cannot be read, a pool too small for it, output that cannot be written.
  kExitEngine = 4,       ///< The engine did not start, or failed during the run.
  kExitQuarantined = 5,  ///< The run ended, and engine errors have left memory quarantined.
  kExitUnfit = 6,        ///< This host cannot lease memory to VMs, or not to all of them.
  kExitInterrupted = 130,
};

}  // namespace sluice
