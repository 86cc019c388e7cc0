// SPDX-License-Identifier: Apache-2.0
#include "sluice/cpu/cpu_stores.hpp"

#include <cpuid.h>
#include <immintrin.h>

#include <algorithm>
#include <bit>
#include <cstring>

namespace sluice::inline cpu {
namespace {

constexpr std::size_t kLine = 64;

std::byte byte_at(const std::byte* address, std::uint64_t pattern) {
  return static_cast<std::byte>(pattern >> (8 * (reinterpret_cast<std::uintptr_t>(address) % 8)));
}

/// A piece of memory, cut into what lies before, in and after its whole cache lines.
struct Lines {
  MemorySpan head, lines, tail;

  explicit Lines(MemorySpan memory) {
    const std::size_t to_line = (kLine - reinterpret_cast<std::uintptr_t>(memory.data()) % kLine) % kLine;
    head = memory.first(std::min(to_line, memory.size()));
    const MemorySpan rest = memory.subspan(head.size());
    lines = rest.first(rest.size() / kLine * kLine);
    tail = rest.subspan(lines.size());
  }
};

void fill_bytes(MemorySpan memory, std::uint64_t pattern) {
  for (std::byte& byte : memory) byte = byte_at(&byte, pattern);
}

std::size_t equal_bytes(MemorySpan memory, std::uint64_t pattern) {
  std::size_t index = 0;
  while (index < memory.size() && memory[index] == byte_at(&memory[index], pattern)) ++index;
  return index;
}

void fill_lines_movnti(MemorySpan lines, std::uint64_t pattern) {
  for (std::byte* at = lines.data(); at != lines.data() + lines.size(); at += 8) {
    _mm_stream_si64(reinterpret_cast<long long*>(at), std::bit_cast<long long>(pattern));
  }
}

__attribute__((target("avx2"))) void fill_lines_avx2(MemorySpan lines, std::uint64_t pattern) {
  const __m256i value = _mm256_set1_epi64x(std::bit_cast<long long>(pattern));
  for (std::byte* at = lines.data(); at != lines.data() + lines.size(); at += kLine) {
    _mm256_stream_si256(reinterpret_cast<__m256i*>(at), value);
    _mm256_stream_si256(reinterpret_cast<__m256i*>(at + 32), value);
  }
}

__attribute__((target("avx512f"))) void fill_lines_avx512(MemorySpan lines, std::uint64_t pattern) {
  const __m512i value = _mm512_set1_epi64(std::bit_cast<long long>(pattern));
  for (std::byte* at = lines.data(); at != lines.data() + lines.size(); at += kLine) {
    _mm512_stream_si512(reinterpret_cast<__m512i*>(at), value);
  }
}

__attribute__((target("movdir64b"))) void fill_lines_movdir64b(MemorySpan lines, std::uint64_t pattern) {
  alignas(kLine) std::uint64_t line[kLine / 8];
  std::fill_n(line, std::size(line), pattern);
  for (std::byte* at = lines.data(); at != lines.data() + lines.size(); at += kLine) _movdir64b(at, line);
}

/// Whole lines before the first that differs; two at a time keep as many loads under way as memory takes.
std::size_t equal_lines_sse2(MemorySpan lines, std::uint64_t pattern) {
  const __m128i value = _mm_set1_epi64x(std::bit_cast<long long>(pattern));
  for (std::size_t at = 0; at < lines.size(); at += kLine) {
    const auto* const from = reinterpret_cast<const __m128i*>(&lines[at]);
    const __m128i low =
        _mm_and_si128(_mm_cmpeq_epi8(_mm_load_si128(from), value), _mm_cmpeq_epi8(_mm_load_si128(from + 1), value));
    const __m128i high =
        _mm_and_si128(_mm_cmpeq_epi8(_mm_load_si128(from + 2), value), _mm_cmpeq_epi8(_mm_load_si128(from + 3), value));
    if (_mm_movemask_epi8(_mm_and_si128(low, high)) != 0xFFFF) return at;
  }
  return lines.size();
}

__attribute__((target("avx2"))) std::size_t equal_lines_avx2(MemorySpan lines, std::uint64_t pattern) {
  const __m256i value = _mm256_set1_epi64x(std::bit_cast<long long>(pattern));
  for (std::size_t at = 0; at < lines.size(); at += kLine) {
    const auto* const from = reinterpret_cast<const __m256i*>(&lines[at]);
    const __m256i differ = _mm256_or_si256(_mm256_xor_si256(_mm256_load_si256(from), value),
                                           _mm256_xor_si256(_mm256_load_si256(from + 1), value));
    if (_mm256_testz_si256(differ, differ) == 0) return at;
  }
  return lines.size();
}

__attribute__((target("avx512f"))) std::size_t equal_lines_avx512(MemorySpan lines, std::uint64_t pattern) {
  const __m512i value = _mm512_set1_epi64(std::bit_cast<long long>(pattern));
  for (std::size_t at = 0; at < lines.size(); at += kLine) {
    if (_mm512_cmpneq_epi64_mask(_mm512_load_si512(&lines[at]), value) != 0) return at;
  }
  return lines.size();
}

/// Intel SDM, CPUID leaf 7: ECX bit 28. Asked once: in a virtual machine the instruction takes microseconds.
bool has_movdir64b() {
  static const bool has = [] {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (c & (1U << 28)) != 0;
  }();
  return has;
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
    case StoreKind::Movdir64b:
      return "movdir64b";
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
    case StoreKind::Movdir64b:
      return has_movdir64b();
  }
  return false;
}

StoreKind best_store() {
  for (const StoreKind kind : {StoreKind::Avx512, StoreKind::Movdir64b, StoreKind::Avx2}) {
    if (has_store(kind)) return kind;
  }
  return StoreKind::Movnti;
}

void fill_nontemporal(StoreKind kind, MemorySpan memory, std::uint64_t pattern) {
  const Lines cut(memory);
  fill_bytes(cut.head, pattern);
  switch (kind) {
    case StoreKind::Movnti:
      fill_lines_movnti(cut.lines, pattern);
      break;
    case StoreKind::Avx2:
      fill_lines_avx2(cut.lines, pattern);
      break;
    case StoreKind::Avx512:
      fill_lines_avx512(cut.lines, pattern);
      break;
    case StoreKind::Movdir64b:
      fill_lines_movdir64b(cut.lines, pattern);
      break;
  }
  fill_bytes(cut.tail, pattern);
}

void store_fence() { _mm_sfence(); }

void fill_temporal(MemorySpan memory, std::uint64_t pattern) {
  const Lines cut(memory);
  fill_bytes(cut.head, pattern);
  std::fill_n(reinterpret_cast<std::uint64_t*>(cut.lines.data()), cut.lines.size() / 8, pattern);
  fill_bytes(cut.tail, pattern);
}

void copy_nontemporal(MemorySpan memory, std::span<const std::byte> bytes) {
  const Lines cut(memory);
  std::copy_n(bytes.begin(), cut.head.size(), cut.head.begin());
  const std::byte* from = bytes.data() + cut.head.size();
  for (std::byte* at = cut.lines.data(); at != cut.lines.data() + cut.lines.size(); at += 16, from += 16) {
    _mm_stream_si128(reinterpret_cast<__m128i*>(at), _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  }
  std::copy_n(from, cut.tail.size(), cut.tail.begin());
}

void copy_temporal(MemorySpan memory, std::span<const std::byte> bytes) {
  std::copy_n(bytes.begin(), memory.size(), memory.begin());
}

std::size_t equal_prefix(MemorySpan memory, std::uint64_t pattern) {
  const Lines cut(memory);
  std::size_t equal = equal_bytes(cut.head, pattern);
  if (equal < cut.head.size()) return equal;
  const std::size_t lines = has_store(StoreKind::Avx512) ? equal_lines_avx512(cut.lines, pattern)
                            : has_store(StoreKind::Avx2) ? equal_lines_avx2(cut.lines, pattern)
                                                         : equal_lines_sse2(cut.lines, pattern);
  equal += lines;
  return equal + equal_bytes(memory.subspan(equal), pattern);
}

}  // namespace sluice::inline cpu
