// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <optional>
#include <random>
#include <vector>

#include "sluice/device/simulated_device.hpp"

namespace sluice::inline device {

inline constexpr std::size_t kMaxBusBytes = 128;
inline constexpr std::size_t kMaxIds = 32;

/// What one AXI master shows in one cycle.
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
  std::uint8_t bid = 0, bresp = 0, rid = 0, rresp = 0;
  std::array<std::byte, kMaxBusBytes> rdata{};
};

/// The host memory that the engine can reach, by I/O virtual address.
class HostMemory {
 public:
  struct Window {
    std::uint64_t base;
    MemorySpan memory;
    bool is_ring;
  };

  explicit HostMemory(std::uint64_t first_iova, RemoteMemory* remote = nullptr)
      : next_base_(first_iova), remote_(remote) {}

  Iova add_window(MemorySpan memory, bool is_ring);
  /// The window that holds all of it, or null.
  [[nodiscard]] const Window* find(std::uint64_t address, std::uint64_t length) const;
  /// Answers for what no window holds; null: nothing does.
  [[nodiscard]] RemoteMemory* remote() const { return remote_; }

 private:
  std::vector<Window> windows_;
  std::uint64_t next_base_;
  RemoteMemory* remote_;
};

/// An AXI4 slave over host memory. In each cycle: drive() says what it answers, observe() takes the handshakes.
/// Writes and reads of different IDs overtake each other at random. Throws RtlViolation when the master breaks a rule
/// of AXI4 that needs the memory to be seen; rtl/assertions checks the others.
class AxiSlave {
 public:
  /// `ring_ids`: IDs with this bit carry rings, the others data.
  AxiSlave(HostMemory& memory, std::uint32_t bus_bytes, std::uint8_t ring_ids, std::uint64_t seed,
           const BusTiming& timing);

  void set_faults(const BusFaults& faults) { faults_ = faults; }
  void set_observer(std::function<void(const BusEvent&)> observer) { observer_ = std::move(observer); }
  void reset();

  const SlavePins& drive();
  void observe(const MasterPins& master);
  [[nodiscard]] const BusTrace& trace() const { return trace_; }

 private:
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
    std::uint64_t first_address = 0;
    std::uint8_t remote_response = 0;
    std::vector<std::byte> remote;  // the whole burst, fetched with its first beat
  };

  [[nodiscard]] bool chance(double probability);
  [[nodiscard]] std::uint64_t latency(CycleRange range);
  [[nodiscard]] bool silent(std::size_t id) const;
  template <class Queues>
  [[nodiscard]] std::optional<std::size_t> choose_due(const Queues& queues, std::uint32_t& waiting);
  [[nodiscard]] std::uint8_t perform(const Write& write);
  void read_window(const Read& read, std::uint64_t address);
  void read_remote(Read& read, std::uint64_t address);
  [[nodiscard]] std::uint8_t fault_at(const std::byte* target, std::uint64_t length) const;
  void notify(BusEvent::Kind kind, std::size_t id, std::uint64_t address) const;
  void choose_write_response();
  void choose_read_response();
  Write& open_write();
  void finish_write();
  void take_write_address(const MasterPins& master);
  void take_write_data(const MasterPins& master);
  void take_read_address(const MasterPins& master);

  HostMemory& memory_;
  std::uint32_t bus_bytes_;
  std::uint8_t ring_ids_;
  std::mt19937_64 random_;
  BusTiming timing_;
  BusFaults faults_;
  BusTrace trace_;
  std::function<void(const BusEvent&)> observer_;
  std::uint64_t cycle_ = 0;
  std::uint64_t data_bursts_ = 0;
  bool hung_ = false;

  std::deque<Write> open_;                           // AW or some of W taken, not all; data may come before its address
  std::array<std::deque<Write>, kMaxIds> answered_;  // W complete, B to come, in order for each ID
  std::array<std::deque<Read>, kMaxIds> reads_;
  std::uint32_t writes_waiting_ = 0;  // bit i: answered_[i] is not empty
  std::uint32_t reads_waiting_ = 0;
  std::optional<std::size_t> reading_;  // the burst whose beats are being sent, unless they interleave
  std::vector<Write> spare_;            // buffers to use again
  SlavePins pins_;
};

}  // namespace sluice::inline device
