// SPDX-License-Identifier: Apache-2.0
#include "axi_memory.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

namespace sluice::sim {
namespace {

constexpr std::uint8_t kOkay = 0;
constexpr std::uint8_t kSlaveError = 2;
constexpr std::uint8_t kDecodeError = 3;
constexpr std::uint8_t kIncr = 1;
constexpr std::uint64_t kPage = 4096;
constexpr std::size_t kMaxBeats = 256;

void require(bool holds, std::uint64_t cycle, const std::string& rule) {
  if (!holds) throw RtlViolation(fmt::format("AXI rule broken in cycle {}: {}", cycle, rule));
}

}  // namespace

AxiMemory::AxiMemory(std::uint32_t bus_bytes, std::uint64_t seed, const BusTiming& timing, const BusFaults& faults)
    : bus_bytes_(bus_bytes), random_(seed), timing_(timing), faults_(faults) {}

Iova AxiMemory::add_window(MemorySpan memory, bool is_ring) {
  const std::uint64_t base = next_base_;
  windows_.push_back({base, memory, is_ring});
  next_base_ += (memory.size() + kPage - 1) / kPage * kPage;
  return Iova(base);
}

const AxiMemory::Window* AxiMemory::find(std::uint64_t address, std::uint64_t length) const {
  auto after = std::upper_bound(windows_.begin(), windows_.end(), address,
                                [](std::uint64_t a, const Window& window) { return a < window.base; });
  if (after == windows_.begin()) return nullptr;
  const Window& window = *std::prev(after);
  const std::uint64_t offset = address - window.base;
  return offset < window.memory.size() && length <= window.memory.size() - offset ? &window : nullptr;
}

bool AxiMemory::chance(double probability) {
  if (probability >= 1.0) return true;
  if (probability <= 0.0) return false;
  return static_cast<double>(random_() >> 11) * 0x1.0p-53 < probability;
}

std::uint64_t AxiMemory::latency(CycleRange range) {
  return range.min + (range.max > range.min ? random_() % (range.max - range.min + 1) : 0);
}

const SlavePins& AxiMemory::drive() {
  const double ready = hung_ ? 0.0 : timing_.ready_probability;
  pins_.awready = chance(ready);
  pins_.wready = chance(ready);
  pins_.arready = chance(ready);
  if (!hung_ && !pins_.bvalid && chance(ready)) choose_write_response();
  if (!hung_ && !pins_.rvalid && chance(ready)) choose_read_response();
  return pins_;
}

/// Picks an ID whose oldest write is due, lets the data reach the memory and answers.
void AxiMemory::choose_write_response() {
  const auto due = [this](std::size_t id) { return !answered_[id].empty() && answered_[id].front().due <= cycle_; };
  if (!due(0) && !due(1)) return;
  const std::size_t id = due(0) && due(1) ? random_() & 1 : (due(1) ? 1 : 0);
  Write& write = answered_[id].front();
  pins_.bvalid = true;
  pins_.bid = static_cast<std::uint8_t>(id);
  pins_.bresp = perform(write);
  spare_.push_back(std::move(write));
  answered_[id].pop_front();
}

std::uint8_t AxiMemory::perform(const Write& write) {
  const std::uint64_t aligned = write.address / bus_bytes_ * bus_bytes_;
  // The window must hold the bytes that are strobed.
  const std::uint64_t burst_bytes = static_cast<std::uint64_t>(write.beats) * bus_bytes_;
  std::uint64_t first = burst_bytes;
  std::uint64_t last = 0;
  for (std::uint64_t beat = 0; beat < write.beats; beat += std::max<std::uint64_t>(1, write.beats - 1)) {
    for (std::uint64_t lane = 0; lane < bus_bytes_; ++lane) {
      const std::uint64_t index = beat * bus_bytes_ + lane;
      if ((write.strobes[index / 8] >> (index % 8) & 1) == 0) continue;
      first = std::min(first, index);
      last = std::max(last, index);
    }
  }
  if (first > last) return kOkay;
  const Window* window = find(aligned + first, last - first + 1);
  if (window == nullptr) return kDecodeError;
  std::byte* const target = window->memory.data() + (aligned + first - window->base);
  const std::uint64_t length = last - first + 1;
  if (window->is_ring) {
    if (faults_.ring_errors) return kSlaveError;
  } else {
    const MemorySpan bad = faults_.slave_error_range;
    if (target < bad.data() + bad.size() && bad.data() < target + length) return kSlaveError;
    if (faults_.slave_error_probability > 0.0 && chance(faults_.slave_error_probability)) return kSlaveError;
  }
  const bool contiguous = [&] {
    for (std::uint64_t index = first; index <= last; ++index) {
      if (index % 8 == 0 && index + 8 <= last && write.strobes[index / 8] == 0xFF) {
        index += 7;
      } else if ((write.strobes[index / 8] >> (index % 8) & 1) == 0) {
        return false;
      }
    }
    return true;
  }();
  require(contiguous, cycle_, fmt::format("a burst to {:#x} has holes in its strobes", write.address));
  std::memcpy(target, write.data.data() + first, length);
  return kOkay;
}

void AxiMemory::choose_read_response() {
  if (reads_.empty() || reads_.front().due > cycle_) return;
  Read& read = reads_.front();
  const std::uint64_t address = read.address + static_cast<std::uint64_t>(read.sent) * read.beat_bytes;
  const Window* window = find(address, read.beat_bytes);
  pins_.rvalid = true;
  pins_.rdata.fill(std::byte{0xEE});
  pins_.rresp = window == nullptr ? kDecodeError : (faults_.ring_errors && window->is_ring ? kSlaveError : kOkay);
  if (pins_.rresp == kOkay) {
    std::memcpy(pins_.rdata.data() + address % bus_bytes_, window->memory.data() + (address - window->base),
                read.beat_bytes);
  }
  ++read.sent;
  pins_.rlast = read.sent == read.beats;
  if (pins_.rlast) reads_.pop_front();
}

void AxiMemory::observe(const MasterPins& master) {
  check_stable(master);
  if (pins_.bvalid && master.bready) pins_.bvalid = false;
  if (pins_.rvalid && master.rready) pins_.rvalid = false;
  if (master.awvalid && pins_.awready) take_write_address(master);
  if (master.wvalid && pins_.wready) take_write_data(master);
  if (master.arvalid && pins_.arready) take_read_address(master);
  previous_.awvalid = master.awvalid && !pins_.awready;
  previous_.wvalid = master.wvalid && !pins_.wready;
  previous_.arvalid = master.arvalid && !pins_.arready;
  if (previous_.awvalid || previous_.wvalid || previous_.arvalid) {
    const MasterPins stalled = previous_;
    previous_ = master;
    previous_.awvalid = stalled.awvalid;
    previous_.wvalid = stalled.wvalid;
    previous_.arvalid = stalled.arvalid;
  }
  ++cycle_;
}

/// A valid that was not taken stays, with the same payload (AXI4 A3.2.1).
void AxiMemory::check_stable(const MasterPins& master) {
  if (previous_.awvalid) {
    require(master.awvalid && master.awaddr == previous_.awaddr && master.awlen == previous_.awlen &&
                master.awid == previous_.awid,
            cycle_, "AW changed while it waited");
  }
  if (previous_.wvalid) {
    require(master.wvalid && master.wlast == previous_.wlast && master.wdata == previous_.wdata &&
                master.wstrb == previous_.wstrb,
            cycle_, "W changed while it waited");
  }
  if (previous_.arvalid) {
    require(master.arvalid && master.araddr == previous_.araddr && master.arlen == previous_.arlen, cycle_,
            "AR changed while it waited");
  }
}

void AxiMemory::take_write_address(const MasterPins& master) {
  const std::uint64_t aligned = master.awaddr / bus_bytes_ * bus_bytes_;
  const std::uint64_t last = aligned + (master.awlen + 1ULL) * bus_bytes_ - 1;
  require(master.awaddr / kPage == last / kPage, cycle_, fmt::format("burst at {:#x} crosses 4 KiB", master.awaddr));
  require(master.awburst == kIncr && (1U << master.awsize) == bus_bytes_, cycle_, "AW is not a full-width INCR burst");
  auto write = std::find_if(open_.begin(), open_.end(), [](const Write& w) { return !w.addressed; });
  Write& open = write == open_.end() ? open_write() : *write;
  open.addressed = true;
  open.address = master.awaddr;
  open.id = master.awid;
  open.beats = master.awlen + 1U;
  finish_write();
  if (master.awid == 0 && faults_.hang_after_bursts && ++data_bursts_ >= *faults_.hang_after_bursts) hung_ = true;
}

void AxiMemory::take_write_data(const MasterPins& master) {
  auto write = std::find_if(open_.begin(), open_.end(), [](const Write& w) { return !w.complete; });
  Write& open = write == open_.end() ? open_write() : *write;
  const std::size_t offset = static_cast<std::size_t>(open.received) * bus_bytes_;
  std::memcpy(open.data.data() + offset, master.wdata.data(), bus_bytes_);
  std::memcpy(open.strobes.data() + offset / 8, master.wstrb.data(), bus_bytes_ / 8);
  ++open.received;
  require(open.received <= kMaxBeats, cycle_, "a burst of more than 256 beats");
  open.complete = master.wlast;
  finish_write();
}

AxiMemory::Write& AxiMemory::open_write() {
  if (spare_.empty()) {
    Write write;
    write.data.resize(kMaxBeats * bus_bytes_);
    write.strobes.resize(write.data.size() / 8);
    spare_.push_back(std::move(write));
  }
  open_.push_back(std::move(spare_.back()));
  spare_.pop_back();
  Write& write = open_.back();
  write.received = 0;
  write.addressed = write.complete = false;
  return write;
}

/// The oldest write goes on to its response once both its address and its last beat have come.
void AxiMemory::finish_write() {
  while (!open_.empty() && open_.front().addressed && open_.front().complete) {
    Write& write = open_.front();
    require(write.received == write.beats, cycle_, "WLAST is not on the last beat");
    write.due = cycle_ + 1 + latency(write.id == 0 ? timing_.write_latency : timing_.completion_latency);
    answered_[write.id].push_back(std::move(write));
    open_.pop_front();
  }
}

void AxiMemory::take_read_address(const MasterPins& master) {
  const std::uint32_t beat_bytes = 1U << master.arsize;
  const std::uint64_t last = master.araddr + (master.arlen + 1ULL) * beat_bytes - 1;
  require(master.araddr / kPage == last / kPage, cycle_, fmt::format("read at {:#x} crosses 4 KiB", master.araddr));
  require(master.arburst == kIncr && beat_bytes <= bus_bytes_ && master.araddr % beat_bytes == 0, cycle_,
          "AR is not an aligned INCR burst");
  reads_.push_back({master.araddr, master.arlen + 1U, 0, beat_bytes, cycle_ + 1 + latency(timing_.read_latency)});
}

}  // namespace sluice::sim
