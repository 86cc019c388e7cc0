// SPDX-License-Identifier: Apache-2.0
// Descriptors, for the engine in RTL. An input is records of 65 bytes: settings, and the 64 bytes of a descriptor. The
// settings can repair parts of it, so that what lies behind the checks is reached too. With the flag List kept and
// OwnList set, extents follow: 4 bytes each, of an offset and a length in units of 7 bytes.
#include <algorithm>
#include <cstring>

#include "fuzz/fuzz.hpp"
#include "sluice/device/raw_engine.hpp"
#include "support/memory.hpp"

namespace sluice::fuzz {
namespace {

enum Setting : unsigned { InWindow = 1, WellFormed = 2, Plain = 4, OwnList = 8 };

constexpr std::size_t kData = 48 << 10;
constexpr std::size_t kWindowBegin = 16 << 10;
constexpr std::size_t kWindowLength = 16 << 10;
constexpr std::byte kUntouched{0xA5};

/// One for the process: each input finds it idle, and leaves it so.
struct Bench {
  test::Memory memory{kData, kUntouched};
  RawEngine engine{{}, memory.all(), 4};
  std::uint32_t slots = engine.device().build().slots;

  Bench() {
    engine.write64(ring::kQueueWindowBase, window());
    engine.write64(ring::kQueueWindowLimit, window() + kWindowLength - 1);
    engine.start();
  }
  [[nodiscard]] std::uint64_t window() const { return engine.data_iova() + kWindowBegin; }
};

template <class Value>
Value take(std::span<const std::byte>& input) {
  Value value{};
  const std::size_t length = std::min(input.size(), sizeof value);
  if (length > 0) std::memcpy(&value, input.data(), length);
  input = input.subspan(length);
  return value;
}

bool touches(const ring::Descriptor& job) { return job.operation != ring::kOpFence && job.operation != ring::kOpNoop; }

/// As docs/RING.md says.
bool well_formed(const ring::Descriptor& job, std::uint32_t slots) {
  const bool list = (job.flags & ring::kDescriptorFlagList) != 0;
  const bool length =
      touches(job) ? job.length_bytes >= 1 && job.length_bytes <= ring::kMaxLengthBytes : job.length_bytes == 0;
  return job.operation >= ring::kOpFill && job.operation <= ring::kOpNoop && length &&
         (job.flags & ~ring::kDescriptorFlagList) == 0 &&
         (!list || (touches(job) && job.address % ring::kListAlignment == 0)) && job.slot < slots &&
         std::all_of(job.reserved.begin(), job.reserved.end(), [](std::uint64_t word) { return word == 0; });
}

ring::Descriptor descriptor_of(std::span<const std::byte>& input, Bench& bench,
                               std::vector<RawEngine::Extent>& extents) {
  const auto settings = take<std::uint8_t>(input);
  auto job = take<ring::Descriptor>(input);
  if ((settings & WellFormed) != 0) {
    job.operation = static_cast<std::uint8_t>(ring::kOpFill + job.operation % ring::kOpNoop);
    job.slot = static_cast<std::uint16_t>(job.slot % bench.slots);
    job.flags &= ring::kDescriptorFlagList;
    job.reserved = {};
  }
  if ((settings & Plain) != 0 || !touches(job)) job.flags &= static_cast<std::uint8_t>(~ring::kDescriptorFlagList);
  if ((settings & InWindow) != 0) {
    job.address = bench.window() + job.address % kWindowLength;
    job.length_bytes = touches(job) ? 1 + job.length_bytes % kWindowLength : 0;
  }
  if ((settings & OwnList) != 0 && (job.flags & ring::kDescriptorFlagList) != 0) {
    for (std::size_t count = 1 + job.length_bytes % 9; count > 0; --count) {
      const auto offset = take<std::uint16_t>(input);
      extents.push_back({7ULL * offset % kData, 7ULL * (take<std::uint16_t>(input) % 512)});
    }
    const std::uint8_t flags = job.flags;
    bench.engine.use_list(job, extents);
    job.flags = flags;
  }
  return job;
}

void check_extent(const Bench& bench, const ring::Descriptor& job, std::uint64_t address, std::uint64_t length) {
  enforce(address >= bench.window() && length <= kWindowLength && address - bench.window() <= kWindowLength - length,
          "what is done lies in the window");
  const auto memory = bench.memory.part(address - bench.engine.data_iova(), length);
  for (std::size_t at = 0; at < memory.size(); ++at) {
    enforce(memory[at] == static_cast<std::byte>(job.pattern >> (8 * ((address + at) % 8))),
            "what is done holds its pattern");
  }
}

void check_done(const Bench& bench, const ring::Descriptor& job, std::span<const RawEngine::Extent> extents) {
  if (!touches(job)) return;
  if ((job.flags & ring::kDescriptorFlagList) == 0) return check_extent(bench, job, job.address, job.length_bytes);
  // A later extent of a fill may have covered an earlier one: with the same pattern. What follows the sum is not read.
  std::uint64_t left = job.length_bytes;
  for (auto extent = extents.begin(); left > 0; ++extent) {
    enforce(extent->length > 0 && extent->length <= left, "a list with an extent that is empty or too long fails");
    check_extent(bench, job, bench.engine.data_iova() + extent->offset, extent->length);
    left -= extent->length;
  }
}

}  // namespace

void one(std::span<const std::byte> input) {
  static Bench bench;
  while (!input.empty()) {
    std::vector<RawEngine::Extent> extents;
    const ring::Descriptor job = descriptor_of(input, bench, extents);
    bench.memory.fill(kUntouched);
    const auto completion = bench.engine.run(job);
    enforce(completion.slot == job.slot && completion.generation == job.generation, "a completion names its job");
    const bool good = well_formed(job, bench.slots);
    const bool failed = completion.outcome == ring::kOutcomeFailed;
    enforce(failed || completion.outcome == ring::kOutcomeZeroed, "nobody has cancelled it");
    enforce(failed == (completion.cause != ring::kCauseNone), "a failure has a cause, and nothing else has");
    enforce(good || (completion.cause == ring::kCauseBadDescriptor && completion.bytes == 0),
            "a descriptor that is not well formed fails and touches nothing");
    enforce(completion.bytes <= (good ? job.length_bytes : 0), "a prefix is one of the job");
    enforce(failed || completion.bytes == job.length_bytes, "a job that is done is done as a whole");
    if (!failed && (extents.size() > 0 || (job.flags & ring::kDescriptorFlagList) == 0)) {
      check_done(bench, job, extents);
    }
    const auto untouched = [&](std::size_t begin, std::size_t length) {
      return test::first_not(bench.memory.part(begin, length), kUntouched) == std::nullopt;
    };
    const bool writes = good && (job.operation == ring::kOpFill || job.operation == ring::kOpFillVerify);
    enforce(untouched(0, kWindowBegin) && untouched(kWindowBegin + kWindowLength, kData - kWindowBegin - kWindowLength),
            "nothing outside the window is written");
    enforce(writes || untouched(kWindowBegin, kWindowLength), "who does not write writes nothing");
  }
}

}  // namespace sluice::fuzz
