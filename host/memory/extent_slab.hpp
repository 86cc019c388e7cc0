// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <memory>
#include <new>
#include <vector>

#include "sluice/base/enforce.hpp"
#include "sluice/memory/extent.hpp"

namespace sluice::inline memory {

using ExtentIndex = std::uint32_t;
inline constexpr ExtentIndex kNoExtent = 0;  // no extent has this index

/// A list through the extents themselves. An extent is in one list at most.
struct ExtentList {
  ExtentIndex first = kNoExtent;
  ExtentIndex last = kNoExtent;
  [[nodiscard]] bool empty() const { return first == kNoExtent; }
};

/// Extents in chunks that never move. A chunk is aligned to its size and says in its first entry which one it is, so
/// that an extent needs no memory to know its index.
class ExtentSlab {
 public:
  static constexpr std::size_t kChunk = 1024;  ///< entries

  [[nodiscard]] ExtentIndex add(const Extent& extent) {
    if (free_ == kNoExtent) add_chunk();
    const ExtentIndex index = free_;
    free_ = (*this)[index].next_;
    (*this)[index] = extent;
    ++count_;
    return index;
  }
  void remove(Extent& extent) {
    extent.next_ = free_;
    free_ = index_of(extent);
    --count_;
  }
  [[nodiscard]] std::size_t count() const { return count_; }
  /// Indexes of extents are below this, until a chunk is added.
  [[nodiscard]] std::size_t room() const { return chunks_.size() * kChunk; }
  /// What room() will be when that many more extents can be had.
  [[nodiscard]] std::size_t room_for(std::size_t extents) const {
    const std::size_t missing = extents - std::min(extents, free_count());
    return room() + (missing + kChunk - 2) / (kChunk - 1) * kChunk;
  }
  [[nodiscard]] std::size_t free_count() const { return chunks_.size() * (kChunk - 1) - count_; }

  [[nodiscard]] Extent& operator[](ExtentIndex index) { return chunks_[index / kChunk].get()[index % kChunk]; }
  [[nodiscard]] Extent* at(ExtentIndex index) { return index == kNoExtent ? nullptr : &(*this)[index]; }
  [[nodiscard]] static ExtentIndex index_of(const Extent& extent) {
    const std::size_t at = reinterpret_cast<std::uintptr_t>(&extent) % kBytes / sizeof(Extent);
    const Extent* const chunk = &extent - at;
    return static_cast<ExtentIndex>(chunk->value_ * kChunk + at);
  }

  void push_back(ExtentList& list, Extent& extent) { insert_between(list, list.last, kNoExtent, extent); }
  void push_front(ExtentList& list, Extent& extent) { insert_between(list, kNoExtent, list.first, extent); }
  void insert_after(ExtentList& list, const Extent& place, Extent& extent) {
    insert_between(list, index_of(place), place.next_, extent);
  }
  void unlink(ExtentList& list, Extent& extent) {
    const ExtentIndex previous = extent.previous_;
    const ExtentIndex next = extent.next_;
    (previous == kNoExtent ? list.first : (*this)[previous].next_) = next;
    (next == kNoExtent ? list.last : (*this)[next].previous_) = previous;
  }
  [[nodiscard]] Extent* next(const Extent& extent) { return at(extent.next_); }
  [[nodiscard]] Extent* previous(const Extent& extent) { return at(extent.previous_); }

  void add_chunk() {
    auto* const chunk = static_cast<Extent*>(::operator new(kBytes, std::align_val_t(kBytes)));
    std::uninitialized_default_construct_n(chunk, kChunk);
    const std::size_t number = chunks_.size();
    enforce(number < (1ULL << 28) / kChunk, "there are at most 2^28 extents");
    chunks_.emplace_back(chunk);
    chunk->value_ = number;
    for (std::size_t entry = kChunk - 1; entry > 0; --entry) {
      chunk[entry].next_ = free_;
      free_ = static_cast<ExtentIndex>(number * kChunk + entry);
    }
  }

 private:
  static constexpr std::size_t kBytes = kChunk * sizeof(Extent);
  struct Free {
    void operator()(Extent* chunk) const { ::operator delete(chunk, std::align_val_t(kBytes)); }
  };

  void insert_between(ExtentList& list, ExtentIndex previous, ExtentIndex next, Extent& extent) {
    const ExtentIndex index = index_of(extent);
    extent.previous_ = previous;
    extent.next_ = next;
    (previous == kNoExtent ? list.first : (*this)[previous].next_) = index;
    (next == kNoExtent ? list.last : (*this)[next].previous_) = index;
  }

  std::vector<std::unique_ptr<Extent, Free>> chunks_;
  ExtentIndex free_ = kNoExtent;
  std::size_t count_ = 0;
};

}  // namespace sluice::inline memory
