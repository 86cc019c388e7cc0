// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <vector>

namespace sluice::inline cpu {

/// A queue from one side to the other. Each side is one thread, or several under a lock of that side; neither waits for
/// the other. An entry that was claimed stays readable while no more than `capacity` have been published after it:
/// whoever claims may leave its lock and read then.
template <class T>
class HandOver {
 public:
  explicit HandOver(std::size_t capacity) : entries_(std::bit_ceil(capacity)) {}

  /// How many wait. Any thread.
  [[nodiscard]] std::size_t size() const {
    const std::uint64_t head = head_.load(std::memory_order_relaxed);
    return tail_.load(std::memory_order_seq_cst) - head;
  }
  [[nodiscard]] bool empty() const { return size() == 0; }

  [[nodiscard]] T& entry(std::uint64_t position) { return entries_[position & (entries_.size() - 1)]; }

  /// The publisher's: where its next entry goes.
  [[nodiscard]] std::uint64_t tail() const { return tail_.load(std::memory_order_relaxed); }
  /// The publisher's: the entries before `tail` are complete. In one order with all that is sequentially consistent.
  void publish_to(std::uint64_t tail) { tail_.store(tail, std::memory_order_seq_cst); }

  /// The claimer's: its next entry.
  [[nodiscard]] std::uint64_t head() const { return head_.load(std::memory_order_relaxed); }
  void claim_to(std::uint64_t head) { head_.store(head, std::memory_order_relaxed); }

 private:
  std::vector<T> entries_;
  alignas(64) std::atomic<std::uint64_t> head_{0};
  alignas(64) std::atomic<std::uint64_t> tail_{0};
};

}  // namespace sluice::inline cpu
