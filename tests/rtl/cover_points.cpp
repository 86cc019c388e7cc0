// SPDX-License-Identifier: Apache-2.0
#include "cover_points.hpp"

#include <fmt/format.h>

#include <array>

namespace sluice::test {
namespace {

constexpr std::array kPhaseNames = {"never", "before its descriptor", "waiting", "issuing", "answering", "after"};
constexpr std::array<const char*, kJobKinds> kKindNames = {
    "fill", "verify", "fill-verify", "fill list", "verify list", "fill-verify list", "fence", "no-op"};
constexpr std::array kFaultNames = {"none", "SLVERR", "DECERR", "mismatch", "window", "bad descriptor", "timeout"};

}  // namespace

bool touches_memory(JobKind kind) { return kind != JobKind::Fence && kind != JobKind::Noop; }
bool is_list(JobKind kind) {
  return kind == JobKind::FillList || kind == JobKind::VerifyList || kind == JobKind::FillVerifyList;
}
bool reads(JobKind kind) {
  return kind == JobKind::Verify || kind == JobKind::FillVerify || kind == JobKind::VerifyList ||
         kind == JobKind::FillVerifyList;
}
bool writes(JobKind kind) { return touches_memory(kind) && kind != JobKind::Verify && kind != JobKind::VerifyList; }

bool can_mismatch(JobKind kind) { return kind == JobKind::Verify || kind == JobKind::VerifyList; }

std::set<CoverPoint> all_cover_points() {
  std::set<CoverPoint> points;
  for (std::size_t phase = 0; phase < kPhaseNames.size(); ++phase) {
    for (std::size_t kind = 0; kind < kKindNames.size(); ++kind) {
      for (std::size_t fault = 0; fault < kFaultNames.size(); ++fault) {
        const CoverPoint point{static_cast<CancelPhase>(phase), static_cast<JobKind>(kind),
                               static_cast<JobFault>(fault)};
        const bool bursts = point.phase == CancelPhase::Issuing || point.phase == CancelPhase::Answering;
        const bool refused = point.fault == JobFault::OutsideWindow || point.fault == JobFault::BadDescriptor;
        if (!touches_memory(point.kind) &&
            (bursts || (point.fault != JobFault::None && point.fault != JobFault::BadDescriptor))) {
          continue;
        }
        if (point.fault == JobFault::Mismatch && !can_mismatch(point.kind)) continue;
        if (refused && bursts && !is_list(point.kind)) continue;
        if (refused && point.phase == CancelPhase::Answering) continue;  // not all bursts can be issued
        points.insert(point);
      }
    }
  }
  return points;
}

std::string to_string(const CoverPoint& point) {
  return fmt::format("{} cancelled {}, fault {}", kKindNames.at(static_cast<std::size_t>(point.kind)),
                     kPhaseNames.at(static_cast<std::size_t>(point.phase)),
                     kFaultNames.at(static_cast<std::size_t>(point.fault)));
}

}  // namespace sluice::test
