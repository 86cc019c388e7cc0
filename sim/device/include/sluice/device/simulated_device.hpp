// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "sluice/ring/transport.hpp"

namespace sluice::inline device {

/// A range of clock cycles, both ends included.
struct CycleRange {
  std::uint32_t min = 0;
  std::uint32_t max = 0;
};

/// How the simulated memory behaves. All randomness comes from SimOptions::seed. A latency of n: the answer comes n
/// cycles after the last beat or the address was taken, at the earliest in the next cycle.
struct BusTiming {
  CycleRange read_latency{20, 40};
  CycleRange write_latency{10, 30};       ///< of data
  CycleRange completion_latency{10, 30};  ///< of writes to the completion ring: it may lie in faster memory
  double ready_probability = 1.0;         ///< Of each ready signal and each response, in each cycle.
  bool interleave_reads = false;          ///< Beats of reads with different IDs come mixed.
};

/// Data that touches this memory fails, and a write changes nothing.
struct BadRange {
  MemorySpan memory;
  bool decode_error = false;  ///< else SLVERR
};

struct BusFaults {
  double slave_error_probability = 0.0;  ///< Of each data burst written.
  /// Data that touches this byte range of host memory answers SLVERR, and a write changes nothing.
  MemorySpan slave_error_range;
  std::vector<BadRange> bad_ranges;
  /// Completion writes and descriptor reads answer SLVERR.
  bool ring_errors = false;
  /// After so many accepted data bursts the bus answers nothing any more.
  std::optional<std::uint64_t> hang_after_bursts;
  /// Data bursts with this AXI ID, those of this queue, are not answered until the fault is taken back.
  std::optional<std::uint32_t> silent_queue;
};

/// What happened on one AXI port, in cycles of SimulatedDevice::cycles().
struct BusTrace {
  std::uint64_t first_data_aw = 0, last_data_aw = 0, last_ring_aw = 0;  ///< first cycle in which AWVALID showed it
  std::uint64_t first_w = 0;                                            ///< first shown
  std::uint64_t last_data_b = 0, last_ring_b = 0, last_data_r = 0, last_ring_r = 0;
  std::uint64_t w_beats = 0;           ///< taken, of data and rings
  std::uint64_t w_ready = 0;           ///< cycles in which WREADY was offered
  std::uint64_t w_idle = 0;            ///< cycles without WVALID between the first and the last beat of data
  std::uint64_t w_idle_now = 0;        ///< the same, up to now
  std::uint64_t w_beats_answered = 0;  ///< taken when the last response of data came
  std::uint64_t data_beats_read = 0;
  std::uint64_t peak_writes = 0;  ///< data bursts that waited for their response at once
  std::uint64_t aw_seen = 0, aw_taken = 0;
};

/// Something that one AXI port has just done, for onlookers.
struct BusEvent {
  enum class Kind : std::uint8_t { WriteAddress, WriteResponse, ReadAddress, ReadLast };
  Kind kind;
  std::uint64_t address;  ///< of the burst
};

/// The pins of one AXI master in one cycle.
struct PortPins {
  bool awvalid = false, awready = false, wvalid = false, wready = false, wlast = false, bvalid = false;
  bool arvalid = false, arready = false, rvalid = false, rlast = false;
  std::uint8_t awlen = 0, bresp = 0, arlen = 0, rresp = 0;
  std::uint64_t awaddr = 0, araddr = 0;
};

/// All pins in one cycle. With one master `rings` is silent.
struct CyclePins {
  std::uint64_t cycle = 0;
  PortPins data;
  PortPins rings;
  bool register_write = false;  ///< the control slave takes one
  std::uint16_t register_address = 0;
  bool interrupt = false;
};

/// One build of rtl/scrub.sv.
struct RtlBuild {
  std::string name;
  std::uint32_t data_width, addr_width, queues, slots, outstanding, masters;
  bool id_per_queue;
  bool unsafe = false;  ///< Breaks a promise on purpose, so that tests can see that they would notice.
};

/// The builds there are: the matrix of parameters that is built and tested.
[[nodiscard]] const std::vector<RtlBuild>& rtl_builds();

/// xRESP of AXI.
inline constexpr std::uint8_t kOkay = 0;
inline constexpr std::uint8_t kSlaveError = 2;
inline constexpr std::uint8_t kDecodeError = 3;

/// Memory behind the engine that is not in this process. Both answer with the response of AXI.
class RemoteMemory {
 public:
  RemoteMemory() = default;
  RemoteMemory(const RemoteMemory&) = delete;
  RemoteMemory& operator=(const RemoteMemory&) = delete;
  virtual ~RemoteMemory() = default;
  virtual std::uint8_t read(std::uint64_t address, std::span<std::byte> to) = 0;
  virtual std::uint8_t write(std::uint64_t address, std::span<const std::byte> from) = 0;
};

struct SimOptions {
  std::string build = "512";  ///< Name of an RtlBuild.
  std::uint64_t seed = 1;
  BusTiming timing;
  BusFaults faults;
  std::uint64_t first_iova = 1ULL << 32;   ///< Where the first memory that is mapped appears; whole pages.
  double clock_mhz = 300.0;                ///< Turns cycles into time; nothing else.
  std::uint32_t cycles_per_advance = 128;  ///< Cycles for each call of advance().
  bool assertions = true;                  ///< Off: a broken RTL build runs on, and others may notice. For tests.
  std::filesystem::path wave_file;         ///< FST; empty: none
  RemoteMemory* remote_memory = nullptr;   ///< Holds every address that is not mapped. Lives longer than the device.
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
  /// ap_rst_n for a few cycles, together with the bus behind the masters.
  virtual void reset() = 0;
  [[nodiscard]] virtual const RtlBuild& build() const = 0;
  /// The port that carries data (m00_axi), and the one that carries rings: the same with one master.
  [[nodiscard]] virtual const BusTrace& data_bus() const = 0;
  [[nodiscard]] virtual const BusTrace& ring_bus() const = 0;
  virtual void set_faults(const BusFaults& faults) = 0;
  /// Called for every burst of data, from within the calls that let time pass.
  virtual void set_observer(std::function<void(const BusEvent&)> observer) = 0;
  /// Called in every cycle, from within the calls that let time pass. Empty: nobody looks.
  virtual void set_cycle_observer(std::function<void(const CyclePins&)> observer) = 0;
};

}  // namespace sluice::inline device
