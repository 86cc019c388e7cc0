// SPDX-License-Identifier: Apache-2.0
#include <immintrin.h>

#include <bit>
#include <cstring>

#include "sluice/driver/cpu_engine.hpp"

namespace sluice {
namespace {

constexpr std::size_t kLine = 64;

/// The bytes before the first and after the last whole cache line.
void fill_bytes(std::byte* from, std::byte* to, std::uint64_t pattern) {
  for (; from != to; ++from) {
    const auto lane = reinterpret_cast<std::uintptr_t>(from) % 8;
    *from = static_cast<std::byte>(pattern >> (8 * lane));
  }
}

void fill_lines_movnti(std::byte* from, std::byte* to, std::uint64_t pattern) {
  for (; from != to; from += 8) {
    _mm_stream_si64(reinterpret_cast<long long*>(from), std::bit_cast<long long>(pattern));
  }
}

__attribute__((target("avx2"))) void fill_lines_avx2(std::byte* from, std::byte* to, std::uint64_t pattern) {
  const __m256i value = _mm256_set1_epi64x(std::bit_cast<long long>(pattern));
  for (; from != to; from += kLine) {
    _mm256_stream_si256(reinterpret_cast<__m256i*>(from), value);
    _mm256_stream_si256(reinterpret_cast<__m256i*>(from + 32), value);
  }
}

__attribute__((target("avx512f"))) void fill_lines_avx512(std::byte* from, std::byte* to, std::uint64_t pattern) {
  const __m512i value = _mm512_set1_epi64(std::bit_cast<long long>(pattern));
  for (; from != to; from += kLine) _mm512_stream_si512(reinterpret_cast<__m512i*>(from), value);
}

}  // namespace

std::string to_string(StoreKind kind) {
  switch (kind) {
    case StoreKind::Movnti:
      return "movnti";
    case StoreKind::Avx2:
      return "avx2";
    case StoreKind::Avx512:
      return "avx512";
  }
  return "unknown";
}

bool has_store(StoreKind kind) {
  switch (kind) {
    case StoreKind::Movnti:
      return true;
    case StoreKind::Avx2:
      return __builtin_cpu_supports("avx2") != 0;
    case StoreKind::Avx512:
      return __builtin_cpu_supports("avx512f") != 0;
  }
  return false;
}

StoreKind best_store() {
  if (has_store(StoreKind::Avx512)) return StoreKind::Avx512;
  return has_store(StoreKind::Avx2) ? StoreKind::Avx2 : StoreKind::Movnti;
}

void fill_nontemporal(StoreKind kind, MemorySpan memory, std::uint64_t pattern) {
  std::byte* const begin = memory.data();
  std::byte* const end = begin + memory.size();
  const std::size_t head = (kLine - reinterpret_cast<std::uintptr_t>(begin) % kLine) % kLine;
  if (head >= memory.size()) {
    fill_bytes(begin, end, pattern);
    return;
  }
  std::byte* const first_line = begin + head;
  std::byte* const last_line = end - reinterpret_cast<std::uintptr_t>(end) % kLine;
  fill_bytes(begin, first_line, pattern);
  switch (kind) {
    case StoreKind::Movnti:
      fill_lines_movnti(first_line, last_line, pattern);
      break;
    case StoreKind::Avx2:
      fill_lines_avx2(first_line, last_line, pattern);
      break;
    case StoreKind::Avx512:
      fill_lines_avx512(first_line, last_line, pattern);
      break;
  }
  fill_bytes(last_line, end, pattern);
}

void store_fence() { _mm_sfence(); }

}  // namespace sluice
