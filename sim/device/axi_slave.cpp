// SPDX-License-Identifier: Apache-2.0
#include "axi_slave.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

namespace sluice::inline device {
namespace {

constexpr std::uint64_t kPage = kPageSize.value();
constexpr std::size_t kMaxBeats = 256;

void require(bool holds, std::uint64_t cycle, const std::string& rule) {
  if (!holds) throw RtlViolation(fmt::format("AXI rule broken in cycle {}: {}", cycle, rule));
}

}  // namespace

Iova HostMemory::add_window(MemorySpan memory, bool is_ring) {
  const std::uint64_t base = next_base_;
  windows_.push_back({base, memory, is_ring});
  next_base_ += (memory.size() + kPage - 1) / kPage * kPage;
  return Iova(base);
}

const HostMemory::Window* HostMemory::find(std::uint64_t address, std::uint64_t length) const {
  auto after = std::upper_bound(windows_.begin(), windows_.end(), address,
                                [](std::uint64_t a, const Window& window) { return a < window.base; });
  if (after == windows_.begin()) return nullptr;
  const Window& window = *std::prev(after);
  const std::uint64_t offset = address - window.base;
  return offset < window.memory.size() && length <= window.memory.size() - offset ? &window : nullptr;
}

AxiSlave::AxiSlave(HostMemory& memory, std::uint32_t bus_bytes, std::uint8_t ring_ids, std::uint64_t seed,
                   const BusTiming& timing)
    : memory_(memory), bus_bytes_(bus_bytes), ring_ids_(ring_ids), random_(seed), timing_(timing) {}

/// The master was reset, and the bus with it: nothing is under way any more.
void AxiSlave::reset() {
  open_.clear();
  for (auto& queue : answered_) queue.clear();
  for (auto& queue : reads_) queue.clear();
  writes_waiting_ = reads_waiting_ = 0;
  reading_.reset();
  pins_ = {};
  hung_ = false;
  data_bursts_ = 0;
}

bool AxiSlave::chance(double probability) {
  if (probability >= 1.0) return true;
  if (probability <= 0.0) return false;
  return static_cast<double>(random_() >> 11) * 0x1.0p-53 < probability;
}

std::uint64_t AxiSlave::latency(CycleRange range) {
  return range.min + (range.max > range.min ? random_() % (range.max - range.min + 1) : 0);
}

/// Whether this ID gets no answers: the data of the silent queue.
bool AxiSlave::silent(std::size_t id) const {
  return faults_.silent_queue && (id & ring_ids_) == 0 && id == *faults_.silent_queue;
}

const SlavePins& AxiSlave::drive() {
  const double ready = hung_ ? 0.0 : timing_.ready_probability;
  pins_.awready = chance(ready);
  pins_.wready = chance(ready);
  pins_.arready = chance(ready);
  if (!hung_ && writes_waiting_ != 0 && !pins_.bvalid && chance(ready)) choose_write_response();
  if (!hung_ && reads_waiting_ != 0 && !pins_.rvalid && chance(ready)) choose_read_response();
  return pins_;
}

/// An ID whose oldest entry is due, at random.
template <class Queues>
std::optional<std::size_t> AxiSlave::choose_due(const Queues& queues, std::uint32_t& waiting) {
  std::uint32_t due = 0;
  for (std::uint32_t left = waiting; left != 0; left &= left - 1) {
    const auto id = static_cast<std::size_t>(std::countr_zero(left));
    if (queues[id].front().due <= cycle_ && !silent(id)) due |= 1U << id;
  }
  if (due == 0) return {};
  for (std::uint64_t skip = std::has_single_bit(due) ? 0 : random_() % static_cast<unsigned>(std::popcount(due));
       skip > 0; --skip) {
    due &= due - 1;
  }
  return static_cast<std::size_t>(std::countr_zero(due));
}

/// Lets the data of a write that is due reach the memory, and answers it.
void AxiSlave::choose_write_response() {
  const auto id = choose_due(answered_, writes_waiting_);
  if (!id) return;
  Write& write = answered_[*id].front();
  pins_.bvalid = true;
  pins_.bid = static_cast<std::uint8_t>(*id);
  pins_.bresp = perform(write);
  notify(BusEvent::Kind::WriteResponse, *id, write.address);
  spare_.push_back(std::move(write));
  answered_[*id].pop_front();
  if (answered_[*id].empty()) writes_waiting_ &= ~(1U << *id);
}

/// The response that this piece of data memory gives.
std::uint8_t AxiSlave::fault_at(const std::byte* target, std::uint64_t length) const {
  const auto touches = [&](MemorySpan bad) { return target < bad.data() + bad.size() && bad.data() < target + length; };
  if (touches(faults_.slave_error_range)) return kSlaveError;
  for (const BadRange& bad : faults_.bad_ranges) {
    if (touches(bad.memory)) return bad.decode_error ? kDecodeError : kSlaveError;
  }
  return kOkay;
}

void AxiSlave::notify(BusEvent::Kind kind, std::size_t id, std::uint64_t address) const {
  if (observer_ && (id & ring_ids_) == 0) observer_({kind, address});
}

std::uint8_t AxiSlave::perform(const Write& write) {
  const std::uint64_t aligned = write.address / bus_bytes_ * bus_bytes_;
  const std::uint64_t burst_bytes = static_cast<std::uint64_t>(write.beats) * bus_bytes_;
  const auto strobed = [&](std::uint64_t index) { return (write.strobes[index / 8] >> (index % 8) & 1) != 0; };
  // The window must hold the bytes that are strobed. Of middle beats all are.
  std::uint64_t first = 0;
  std::uint64_t last = burst_bytes - 1;
  while (first < bus_bytes_ && !strobed(first)) ++first;
  while (last > burst_bytes - bus_bytes_ && !strobed(last)) --last;
  if (first > last || !strobed(first) || !strobed(last)) return kOkay;
  for (std::uint64_t index = first; index <= last; ++index) {
    if (index % 8 == 0 && index + 8 <= last && write.strobes[index / 8] == 0xFF) {
      index += 7;
    } else {
      require(strobed(index), cycle_, fmt::format("a burst to {:#x} has holes in its strobes", write.address));
    }
  }
  const std::uint64_t length = last - first + 1;
  const HostMemory::Window* window = memory_.find(aligned + first, length);
  if (window == nullptr) {
    if (memory_.remote() == nullptr) return kDecodeError;
    return memory_.remote()->write(aligned + first, {write.data.data() + first, length});
  }
  std::byte* const target = window->memory.data() + (aligned + first - window->base);
  if (window->is_ring) {
    if (faults_.ring_errors) return kSlaveError;
  } else {
    if (const std::uint8_t fault = fault_at(target, length); fault != kOkay) return fault;
    if (faults_.slave_error_probability > 0.0 && chance(faults_.slave_error_probability)) return kSlaveError;
  }
  std::memcpy(target, write.data.data() + first, length);
  return kOkay;
}

void AxiSlave::choose_read_response() {
  if (!reading_ || timing_.interleave_reads) reading_ = choose_due(reads_, reads_waiting_);
  if (!reading_) return;
  const std::size_t id = *reading_;
  Read& read = reads_[id].front();
  const std::uint64_t address = read.address + static_cast<std::uint64_t>(read.sent) * read.beat_bytes;
  const std::uint64_t aligned = address / read.beat_bytes * read.beat_bytes;
  pins_.rvalid = true;
  pins_.rid = static_cast<std::uint8_t>(id);
  if (memory_.remote() != nullptr && memory_.find(address, 1) == nullptr) {
    read_remote(read, address);
  } else {
    read_window(read, address);
  }
  // Only the first beat of a burst may be unaligned.
  read.address = aligned - static_cast<std::uint64_t>(read.sent) * read.beat_bytes;
  ++read.sent;
  pins_.rlast = read.sent == read.beats;
  if (pins_.rlast) {
    notify(BusEvent::Kind::ReadLast, id, read.first_address);
    reads_[id].pop_front();
    if (reads_[id].empty()) reads_waiting_ &= ~(1U << id);
    reading_.reset();
  }
}

/// The beat of `read` at `address`. Like a real memory, it delivers what is there of a beat at the edge of a window.
void AxiSlave::read_window(const Read& read, std::uint64_t address) {
  pins_.rresp = kOkay;
  const HostMemory::Window* window = memory_.find(address, 1);
  if (window == nullptr) {
    pins_.rresp = kDecodeError;
    return;
  }
  const std::uint64_t offset = address - window->base;
  const std::uint64_t beat_end = (address / read.beat_bytes + 1) * read.beat_bytes;
  const std::uint64_t length = std::min<std::uint64_t>(beat_end - address, window->memory.size() - offset);
  const std::byte* const source = window->memory.data() + offset;
  pins_.rresp = window->is_ring ? (faults_.ring_errors ? kSlaveError : kOkay) : fault_at(source, length);
  if (pins_.rresp != kOkay) return;
  pins_.rdata.fill(std::byte{0xEE});
  std::memcpy(pins_.rdata.data() + address % bus_bytes_, source, length);
}

void AxiSlave::read_remote(Read& read, std::uint64_t address) {
  if (read.sent == 0) {
    const std::uint64_t end = (address / read.beat_bytes + read.beats) * read.beat_bytes;
    read.remote.resize(end - address);
    read.remote_response = memory_.remote()->read(address, read.remote);
  }
  pins_.rresp = read.remote_response;
  if (pins_.rresp != kOkay) return;
  const std::uint64_t offset = address - read.first_address;
  const std::uint64_t beat_end = (address / read.beat_bytes + 1) * read.beat_bytes;
  pins_.rdata.fill(std::byte{0xEE});
  std::memcpy(pins_.rdata.data() + address % bus_bytes_, read.remote.data() + offset, beat_end - address);
}

void AxiSlave::observe(const MasterPins& master) {
  if (pins_.bvalid && master.bready) {
    pins_.bvalid = false;
    ((pins_.bid & ring_ids_) != 0 ? trace_.last_ring_b : trace_.last_data_b) = cycle_;
    if ((pins_.bid & ring_ids_) == 0) trace_.w_beats_answered = trace_.w_beats;
  }
  if (pins_.rvalid && master.rready) {
    pins_.rvalid = false;
    if ((pins_.rid & ring_ids_) == 0) {
      ++trace_.data_beats_read;
      trace_.last_data_r = cycle_;
    } else {
      trace_.last_ring_r = cycle_;
    }
  }
  if (master.awvalid && trace_.aw_seen != trace_.aw_taken + 1) {
    trace_.aw_seen = trace_.aw_taken + 1;
    ((master.awid & ring_ids_) != 0 ? trace_.last_ring_aw : trace_.last_data_aw) = cycle_;
    if ((master.awid & ring_ids_) == 0 && trace_.first_data_aw == 0) trace_.first_data_aw = cycle_;
  }
  if (master.wvalid && trace_.first_w == 0) trace_.first_w = cycle_;
  if (!master.wvalid && trace_.first_w != 0) ++trace_.w_idle_now;
  if (master.awvalid && pins_.awready) {
    ++trace_.aw_taken;
    take_write_address(master);
  }
  if (master.wvalid && pins_.wready) {
    ++trace_.w_beats;
    take_write_data(master);
  }
  if (pins_.wready) ++trace_.w_ready;
  if (master.arvalid && pins_.arready) take_read_address(master);
  std::uint64_t outstanding = 0;
  for (std::uint32_t left = writes_waiting_; left != 0; left &= left - 1) {
    const auto id = static_cast<std::size_t>(std::countr_zero(left));
    if ((id & ring_ids_) == 0) outstanding += answered_[id].size();
  }
  trace_.peak_writes = std::max(trace_.peak_writes, outstanding);
  ++cycle_;
}

void AxiSlave::take_write_address(const MasterPins& master) {
  auto write = std::find_if(open_.begin(), open_.end(), [](const Write& w) { return !w.addressed; });
  Write& open = write == open_.end() ? open_write() : *write;
  open.addressed = true;
  open.address = master.awaddr;
  open.id = master.awid;
  open.beats = master.awlen + 1U;
  notify(BusEvent::Kind::WriteAddress, master.awid, master.awaddr);
  finish_write();
  if ((master.awid & ring_ids_) == 0 && faults_.hang_after_bursts && ++data_bursts_ >= *faults_.hang_after_bursts) {
    hung_ = true;
  }
}

void AxiSlave::take_write_data(const MasterPins& master) {
  auto write = std::find_if(open_.begin(), open_.end(), [](const Write& w) { return !w.complete; });
  Write& open = write == open_.end() ? open_write() : *write;
  const std::size_t offset = static_cast<std::size_t>(open.received) * bus_bytes_;
  std::memcpy(open.data.data() + offset, master.wdata.data(), bus_bytes_);
  std::memcpy(open.strobes.data() + offset / 8, master.wstrb.data(), bus_bytes_ / 8);
  ++open.received;
  require(open.received <= kMaxBeats, cycle_, "a burst of more than 256 beats");
  open.complete = master.wlast;
  if (open.addressed && (open.id & ring_ids_) == 0) trace_.w_idle = trace_.w_idle_now;
  finish_write();
}

AxiSlave::Write& AxiSlave::open_write() {
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
void AxiSlave::finish_write() {
  while (!open_.empty() && open_.front().addressed && open_.front().complete) {
    Write& write = open_.front();
    require(write.received == write.beats, cycle_, "WLAST is not on the last beat");
    const std::uint8_t id = write.id;
    write.due = cycle_ + latency((id & ring_ids_) == 0 ? timing_.write_latency : timing_.completion_latency);
    answered_[id].push_back(std::move(write));
    writes_waiting_ |= 1U << id;
    open_.pop_front();
  }
}

void AxiSlave::take_read_address(const MasterPins& master) {
  reads_[master.arid].push_back({master.araddr,
                                 master.arlen + 1U,
                                 0,
                                 1U << master.arsize,
                                 cycle_ + latency(timing_.read_latency),
                                 master.araddr,
                                 0,
                                 {}});
  notify(BusEvent::Kind::ReadAddress, master.arid, master.araddr);
  reads_waiting_ |= 1U << master.arid;
}

}  // namespace sluice::inline device
