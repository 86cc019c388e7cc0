// SPDX-License-Identifier: Apache-2.0
// What is drawn for one job of a random story: where its memory is, what will go wrong, and its descriptor.
#include "random_story.hpp"

namespace sluice::test {
namespace {

constexpr std::uint64_t kListBytes = 256;  // room for 16 extents
static_assert(RandomStory::kPlaces * kListBytes <= RawEngine::kListBytes);

std::uint8_t operation_of(JobKind kind) {
  switch (kind) {
    case JobKind::Fill:
    case JobKind::FillList:
      return ring::kOpFill;
    case JobKind::Verify:
    case JobKind::VerifyList:
      return ring::kOpVerify;
    case JobKind::FillVerify:
    case JobKind::FillVerifyList:
      return ring::kOpFillVerify;
    case JobKind::Fence:
      return ring::kOpFence;
    case JobKind::Noop:
      return ring::kOpNoop;
  }
  return 0;
}

}  // namespace

/// The byte of the job's extents, in their order.
std::byte RandomStory::at(const Job& job, std::uint64_t index) const {
  for (const Extent& extent : job.extents) {
    if (index < extent.length) return engine_.data().all()[extent.offset + index];
    index -= extent.length;
  }
  return {};
}

void RandomStory::draw_extents(Job& job, std::uint64_t place) {
  const auto draw_length = [&](std::uint64_t most) {
    switch (below(4)) {
      case 0:
        return 1 + below(std::min<std::uint64_t>(most, 200));
      case 1:
        return std::min<std::uint64_t>(most, 64 * (1 + below(64)));
      default:
        return 1 + below(most);
    }
  };
  if (!is_list(job.point.kind)) {
    const std::uint64_t length = draw_length(kPlaceBytes - 64);
    job.extents.push_back({place + below(kPlaceBytes - length), length});
    return;
  }
  const std::uint64_t count = 1 + below(9);
  const std::uint64_t share = kPlaceBytes / count / 64 * 64;
  for (std::uint64_t index = 0; index < count; ++index) {
    const std::uint64_t length = draw_length(share);
    job.extents.push_back({place + index * share + below(share - length + 1), length});
  }
}

/// Decides what will go wrong, and where.
void RandomStory::draw_fault(Job& job) {
  if (!touches_memory(job.point.kind)) {
    if (chance(0.3)) job.point.fault = JobFault::BadDescriptor;
    return;
  }
  if (chance(0.45)) return;
  job.point.fault = static_cast<JobFault>(1 + below(5));
  if (job.point.fault == JobFault::Mismatch && !can_mismatch(job.point.kind)) job.point.fault = JobFault::None;
}

void RandomStory::prepare_memory(Job& job) {
  const MemorySpan place = engine_.data().part(job.place, kPlaceBytes);
  for (std::byte& byte : place) byte = static_cast<std::byte>(random_());
  std::uint64_t total = 0;
  for (const Extent& extent : job.extents) {
    total += extent.length;
    if (!can_mismatch(job.point.kind)) continue;
    for (std::uint64_t index = 0; index < extent.length; ++index) {
      engine_.data().all()[extent.offset + index] =
          static_cast<std::byte>(job.descriptor.pattern >> ((extent.offset + index) % 8 * 8));
    }
  }
  const auto memory_at = [&](std::uint64_t index) {
    for (const Extent& extent : job.extents) {
      if (index < extent.length) return extent.offset + index;
      index -= extent.length;
    }
    return job.place;
  };
  if (job.point.fault == JobFault::Mismatch || job.point.fault == JobFault::SlaveError ||
      job.point.fault == JobFault::DecodeError) {
    job.first_bad = chance(0.3) ? total - 1 : below(total);
  }
  if (job.point.fault == JobFault::Mismatch) engine_.data().all()[memory_at(job.first_bad)] ^= std::byte{0x40};
  job.before.assign(place.begin(), place.end());
}

void RandomStory::write_descriptor(Job& job, std::size_t q) {
  const std::uint16_t slot = slot_of(submitted_[q]);
  const std::uint64_t pattern = job.descriptor.pattern;
  if (touches_memory(job.point.kind)) {
    job.descriptor = engine_.job(operation_of(job.point.kind), job.extents[0].offset, job.extents[0].length, slot);
  } else {
    job.descriptor = RawEngine::marker(operation_of(job.point.kind), slot);
  }
  job.descriptor.generation = generation_of(submitted_[q]);
  job.descriptor.pattern = pattern;
  const bool outside = job.point.fault == JobFault::OutsideWindow;
  const bool bad = job.point.fault == JobFault::BadDescriptor;
  if (is_list(job.point.kind)) {
    std::vector<RawEngine::Extent> extents;
    for (const Extent& extent : job.extents) extents.push_back({extent.offset, extent.length});
    // The extent that is refused comes last; those before it run.
    if (outside) extents.push_back({1ULL << 35, 64});
    if (bad) extents.push_back({job.place, 0});
    engine_.use_list(job.descriptor, extents, job.place / kPlaceBytes * kListBytes);
    if (bad) job.descriptor.length_bytes += 64;
  } else if (outside) {
    job.descriptor.address = chance(0.5) ? engine_.data_iova() - 1 : engine_.data_iova() + (1ULL << 35);
  } else if (bad) {
    job.descriptor.reserved[below(4)] = 1ULL << below(64);
  }
  const bool refused_whole = (outside || bad) && !is_list(job.point.kind);
  for (const Extent& extent : job.extents) {
    const std::uint32_t bus = engine_.device().build().data_width / 8;
    const std::uint64_t boundary = std::min<std::uint64_t>(4096, 256ULL * bus);
    const std::uint64_t first = (engine_.data_iova() + extent.offset) / boundary;
    const std::uint64_t last = (engine_.data_iova() + extent.offset + extent.length - 1) / boundary;
    if (!refused_whole && touches_memory(job.point.kind)) {
      job.bursts_expected += (last - first + 1) * (writes(job.point.kind) && reads(job.point.kind) ? 2 : 1);
    }
  }
}

RandomStory::Job RandomStory::draw_job(std::size_t q) {
  Job job;
  const std::size_t choice = below(free_places_.size());
  job.place = free_places_[choice];
  free_places_.erase(free_places_.begin() + static_cast<std::ptrdiff_t>(choice));
  job.point.kind = static_cast<JobKind>(below(kJobKinds));
  job.descriptor.pattern = chance(0.5) ? 0 : random_();
  if (touches_memory(job.point.kind)) draw_extents(job, job.place);
  draw_fault(job);
  if (quarantined(q)) job.point.fault = JobFault::Timeout;
  prepare_memory(job);
  write_descriptor(job, q);
  return job;
}

}  // namespace sluice::test
