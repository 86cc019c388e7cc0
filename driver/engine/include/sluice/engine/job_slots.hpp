// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

#include "sluice/engine/engine.hpp"

namespace sluice::inline engine {

/// The jobs that an engine has accepted and not yet handed back. A slot is reused only after its Completion was
/// collected, with the next generation; the slot that was free longest is taken first. Not thread-safe.
class JobSlots {
 public:
  /// `used`: as if each slot had been used so often.
  explicit JobSlots(std::uint32_t capacity, std::uint32_t used = 0)
      : jobs_(capacity), generations_(capacity, used), held_(capacity) {
    free_.reserve(capacity);
    for (std::uint32_t slot = 0; slot < capacity; ++slot) free_.push_back(slot);
    free_count_ = capacity;
  }

  [[nodiscard]] std::uint32_t capacity() const { return static_cast<std::uint32_t>(jobs_.size()); }
  [[nodiscard]] std::uint32_t free_count() const { return free_count_; }
  [[nodiscard]] std::uint32_t held_count() const { return capacity() - free_count_; }

  /// There must be a free slot.
  JobId take(const ScrubJob& job) {
    const std::uint32_t slot = free_[free_head_];
    if (++free_head_ == capacity()) free_head_ = 0;
    --free_count_;
    jobs_[slot] = job;
    held_[slot] = true;
    if (++generations_[slot] == 0) {
      generations_[slot] = 1;
      went_round_ = true;
    }
    return {slot, generations_[slot]};
  }

  void give_back(std::uint32_t slot) {
    held_[slot] = false;
    const std::uint32_t tail = free_head_ + free_count_;
    free_[tail < capacity() ? tail : tail - capacity()] = slot;
    ++free_count_;
  }

  [[nodiscard]] const ScrubJob& job(std::uint32_t slot) const { return jobs_[slot]; }
  [[nodiscard]] JobId id(std::uint32_t slot) const { return {slot, generations_[slot]}; }
  [[nodiscard]] bool holds(JobId id) const {
    return id.slot < capacity() && held_[id.slot] && generations_[id.slot] == id.generation;
  }
  /// Whether such a job was ever accepted.
  [[nodiscard]] bool knows(JobId id) const {
    return id.slot < capacity() && id.generation != 0 && (went_round_ || id.generation <= generations_[id.slot]);
  }
  [[nodiscard]] bool held(std::uint32_t slot) const { return held_[slot]; }

 private:
  std::vector<ScrubJob> jobs_;
  std::vector<std::uint32_t> generations_;
  std::vector<bool> held_;
  bool went_round_ = false;          // of some slot every generation may have been used
  std::vector<std::uint32_t> free_;  // a ring
  std::uint32_t free_head_ = 0;
  std::uint32_t free_count_ = 0;
};

/// A queue of things of which there is at most one for each slot.
template <class T>
class Ring {
 public:
  explicit Ring(std::uint32_t capacity) : entries_(std::bit_ceil(capacity)) {}
  [[nodiscard]] bool empty() const { return head_ == tail_; }
  [[nodiscard]] std::size_t size() const { return tail_ - head_; }
  [[nodiscard]] const T& front() const { return entries_[head_ & (entries_.size() - 1)]; }
  void push(const T& entry) { entries_[tail_++ & (entries_.size() - 1)] = entry; }
  void pop() { ++head_; }
  void clear() { head_ = tail_; }

 private:
  std::vector<T> entries_;
  std::uint64_t head_ = 0;
  std::uint64_t tail_ = 0;
};

}  // namespace sluice::inline engine
