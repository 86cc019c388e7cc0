// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <deque>
#include <optional>
#include <random>
#include <vector>

#include "sluice/sim/simulated_device.hpp"

namespace sluice::sim {

inline constexpr std::size_t kMaxBusBytes = 128;

/// What the engine's AXI master shows in one cycle.
struct MasterPins {
  bool awvalid = false, wvalid = false, wlast = false, bready = false, arvalid = false, rready = false;
  std::uint8_t awid = 0, awlen = 0, awsize = 0, awburst = 0;
  std::uint8_t arid = 0, arlen = 0, arsize = 0, arburst = 0;
  std::uint64_t awaddr = 0, araddr = 0;
  std::array<std::byte, kMaxBusBytes> wdata{};
  std::array<std::uint8_t, kMaxBusBytes / 8> wstrb{};
};

/// What the memory answers in the same cycle.
struct SlavePins {
  bool awready = false, wready = false, bvalid = false, arready = false, rvalid = false, rlast = false;
  std::uint8_t bid = 0, bresp = 0, rresp = 0;
  std::array<std::byte, kMaxBusBytes> rdata{};
};

/// An AXI4 slave over host memory. In each cycle: drive() says what it answers, observe() takes the handshakes.
/// Throws RtlViolation when the master breaks a rule of AXI4.
class AxiMemory {
 public:
  AxiMemory(std::uint32_t bus_bytes, std::uint64_t seed, const BusTiming& timing, const BusFaults& faults);

  Iova add_window(MemorySpan memory, bool is_ring);
  void set_faults(const BusFaults& faults) { faults_ = faults; }

  const SlavePins& drive();
  void observe(const MasterPins& master);

 private:
  struct Window {
    std::uint64_t base;
    MemorySpan memory;
    bool is_ring;
  };
  struct Write {
    std::uint64_t address = 0;
    std::uint8_t id = 0;
    std::uint32_t beats = 0;     // as the address says
    std::uint32_t received = 0;  // as the data says
    bool addressed = false;
    bool complete = false;
    std::uint64_t due = 0;
    std::vector<std::byte> data;
    std::vector<std::uint8_t> strobes;
  };
  struct Read {
    std::uint64_t address = 0;
    std::uint32_t beats = 0;
    std::uint32_t sent = 0;
    std::uint32_t beat_bytes = 0;
    std::uint64_t due = 0;
  };

  [[nodiscard]] const Window* find(std::uint64_t address, std::uint64_t length) const;
  [[nodiscard]] bool chance(double probability);
  [[nodiscard]] std::uint64_t latency(CycleRange range);
  [[nodiscard]] std::uint8_t perform(const Write& write);
  void choose_write_response();
  void choose_read_response();
  Write& open_write();
  void finish_write();
  void take_write_address(const MasterPins& master);
  void take_write_data(const MasterPins& master);
  void take_read_address(const MasterPins& master);
  void check_stable(const MasterPins& master);

  std::uint32_t bus_bytes_;
  std::mt19937_64 random_;
  BusTiming timing_;
  BusFaults faults_;
  std::vector<Window> windows_;
  std::uint64_t next_base_ = 1ULL << 32;
  std::uint64_t cycle_ = 0;
  std::uint64_t data_bursts_ = 0;
  bool hung_ = false;

  std::deque<Write> open_;                     // AW or some of W taken, not all; data may come before its address
  std::array<std::deque<Write>, 2> answered_;  // W complete, B to come, in order for each ID
  std::vector<Write> spare_;                   // buffers to use again
  std::deque<Read> reads_;
  SlavePins pins_;
  MasterPins previous_;
};

}  // namespace sluice::sim
