// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "sluice/base/units.hpp"

namespace sluice::inline cpu {

/// The non-temporal stores that a CPU may have.
enum class StoreKind : std::uint8_t { Movnti, Avx2, Avx512, Movdir64b };

/// All of them. Movdir64b is never faster than Avx512 by more than noise, so best_store() names it only where there is
/// no Avx512.
inline constexpr StoreKind kStoreKinds[] = {StoreKind::Movnti, StoreKind::Avx2, StoreKind::Avx512,
                                            StoreKind::Movdir64b};

/// "movnti", "avx2", "avx512" or "movdir64b".
[[nodiscard]] std::string to_string(StoreKind kind);

/// The best store that this CPU has.
[[nodiscard]] StoreKind best_store();
[[nodiscard]] bool has_store(StoreKind kind);

/// Fills `memory` past the caches. Byte a of memory becomes byte (a mod 8) of the pattern, a being its address. Not
/// ordered against other stores: call store_fence() before telling anybody. The CPU must have this store.
void fill_nontemporal(StoreKind kind, MemorySpan memory, std::uint64_t pattern);
void store_fence();

/// The same through the caches, for memory that is read at once. Ordered like any store.
void fill_temporal(MemorySpan memory, std::uint64_t pattern);

/// Copies `bytes`, which are as long as `memory`, past the caches; not ordered either. Every CPU has its stores.
void copy_nontemporal(MemorySpan memory, std::span<const std::byte> bytes);
/// The same through the caches.
void copy_temporal(MemorySpan memory, std::span<const std::byte> bytes);

/// Reads `memory` and returns how many bytes lie before the first that differs from the pattern; its size if none does.
[[nodiscard]] std::size_t equal_prefix(MemorySpan memory, std::uint64_t pattern);

}  // namespace sluice::inline cpu
