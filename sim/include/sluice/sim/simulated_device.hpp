// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <stdexcept>

#include "sluice/driver/transport.hpp"

namespace sluice::sim {

/// A range of clock cycles, both ends included.
struct CycleRange {
  std::uint32_t min = 0;
  std::uint32_t max = 0;
};

/// How the simulated memory behaves. All randomness comes from SimOptions::seed.
struct BusTiming {
  CycleRange read_latency{20, 40};
  CycleRange write_latency{10, 30};       ///< of data
  CycleRange completion_latency{10, 30};  ///< of writes to the completion ring: it may lie in faster memory
  double ready_probability = 1.0;         ///< Of each ready signal and each response, in each cycle.
};

struct BusFaults {
  double slave_error_probability = 0.0;  ///< Of each data burst.
  /// Data writes that touch this byte range of host memory answer SLVERR and write nothing.
  MemorySpan slave_error_range;
  /// Completion writes and descriptor reads answer SLVERR.
  bool ring_errors = false;
  /// After so many accepted data bursts the bus answers nothing any more.
  std::optional<std::uint64_t> hang_after_bursts;
};

/// Which build of the RTL is simulated.
enum class RtlVariant : std::uint8_t {
  Normal,
  WithoutQuiescence,  ///< Posts completions without waiting for write responses. 512 bits only. For tests.
};

struct SimOptions {
  std::uint32_t data_width = 512;  ///< 64, 128, 256, 512 or 1024 bits
  RtlVariant variant = RtlVariant::Normal;
  std::uint64_t seed = 1;
  BusTiming timing;
  BusFaults faults;
  double clock_mhz = 300.0;                ///< Turns cycles into time; nothing else.
  std::uint32_t cycles_per_advance = 128;  ///< Cycles for each call of advance().
  bool assertions = true;                  ///< Off: a broken RTL build runs on, and others may notice. For tests.
  std::filesystem::path wave_file;         ///< FST; empty: none
};

/// An assertion in the RTL or a rule of the AXI memory was broken. The message says which.
class RtlViolation : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The Verilated scrub engine in this process. Its AXI memory is the host memory that was mapped: the engine really
/// zeroes it. Data reaches the memory when its write response is given, not earlier, so that a completion that comes
/// too early is seen. Time passes only in advance() and during register accesses: runs can be repeated exactly.
class SimulatedDevice : public Transport {
 public:
  /// Errors: InvalidArgument, NoResources.
  [[nodiscard]] static Result<std::unique_ptr<SimulatedDevice>> create(const SimOptions& options);

  [[nodiscard]] virtual std::uint64_t cycles() const = 0;
  [[nodiscard]] virtual bool interrupt() const = 0;
  /// The answer to the last register write: false when the device refused it.
  [[nodiscard]] virtual bool last_write_accepted() const = 0;
  virtual void run_cycles(std::uint64_t count) = 0;
  virtual void set_faults(const BusFaults& faults) = 0;
};

}  // namespace sluice::sim
