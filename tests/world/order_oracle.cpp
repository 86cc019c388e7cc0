// SPDX-License-Identifier: Apache-2.0
#include "order_oracle.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace sluice::world {
namespace {

constexpr std::size_t kServed = 32;  // claims that are remembered

constexpr LineageIndex kNoLineage = ~LineageIndex{0};

bool is_released(ExtentState state) {
  return state == ExtentState::Dirty || state == ExtentState::Scrubbing || state == ExtentState::Cancelling;
}

}  // namespace

void OrderOracle::restart() {
  served_.clear();
  knows_ = false;
}

void OrderOracle::forget(std::size_t page) {
  pages_[page].earliest = 0;
  pages_[page].latest = kUnknown;
}

void OrderOracle::enter(const ExtentTable& table, const Extent& extent, std::size_t first, std::size_t end,
                        std::uint32_t step, bool compares) {
  const Lineage& lineage = table.lineage(extent);
  const bool shared = !lineage.pool.is_set() && lineage.delay.count() == 0;
  std::uint32_t latest = kUnknown;
  for (std::size_t page = first; page < end; ++page) {
    Page& now = pages_[page];
    const Page& before = before_[page];
    now = {extent.state(), shared && extent.state() == ExtentState::Dirty && !extent.is_claimed(), before.earliest,
           before.latest};
    if (!knows_ || (before.state == ExtentState::Clean && is_released(now.state))) {
      now.earliest = 0;
      now.latest = kUnknown;
    } else if (is_released(now.state) && !is_released(before.state)) {
      now.earliest = now.latest = step;
    }
    // It may have been granted and released in between.
    if (!compares && now.latest != kUnknown) now.latest = step;
    latest = std::min(latest, now.latest);
  }
  // What was joined has the earliest turn of all its parts.
  for (std::size_t page = first; page < end; ++page) pages_[page].latest = latest;
}

std::optional<std::string> OrderOracle::look(const ExtentTable& table, std::uint32_t step, bool compares) {
  before_ = pages_;
  std::uint32_t last_started = 0;
  std::size_t started = kPages;
  std::size_t run = 0;  // of memory that may have been one extent in the middle of the step
  std::uint32_t run_earliest = kUnknown;
  LineageIndex run_lineage = kNoLineage;
  const auto end_run = [&](std::size_t end) {
    for (std::size_t page = run; page < end; ++page) {
      if (run_lineage != kNoLineage) pages_[page].earliest = run_earliest;
      const bool starts = before_[page].waits && pages_[page].state == ExtentState::Scrubbing;
      if (!starts || pages_[page].earliest < last_started) continue;
      last_started = pages_[page].earliest;
      started = page;
    }
    run = end;
    run_earliest = kUnknown;
    run_lineage = kNoLineage;
  };
  for (const Extent* extent = table.first_place(); extent != nullptr; extent = table.next_place(*extent)) {
    const std::size_t first = layout_.page_at(extent->offset());
    const std::size_t end = layout_.page_at(extent->offset() + extent->length().value());
    enter(table, *extent, first, end, step, compares);
    if (extent->is_claimed()) {  // the scrub is urgent
      for (std::size_t page = first; page < end; ++page) before_[page].waits = false;
    }
    if (run_lineage != table.lineage_index(*extent)) end_run(first);
    if (is_released(extent->state())) {
      run_lineage = table.lineage_index(*extent);
      for (std::size_t page = first; page < end; ++page) run_earliest = std::min(run_earliest, pages_[page].earliest);
    } else {
      end_run(end);
    }
  }
  end_run(kPages);
  const bool knew = std::exchange(knows_, true);
  if (started == kPages || !compares || !knew) return std::nullopt;
  for (std::size_t page = 0; page < kPages; ++page) {
    if (!before_[page].waits || !pages_[page].waits || pages_[page].latest >= last_started) continue;
    return fmt::format("page {}, released in step {}, was scrubbed before page {}, released in step {}", started,
                       last_started, page, pages_[page].latest);
  }
  return std::nullopt;
}

std::optional<std::string> OrderOracle::granted(std::uint64_t claim, std::uint64_t first, std::uint64_t last) {
  std::optional<std::string> wrong;
  for (const Served& other : served_) {
    const bool later = claim > other.claim;
    if (later ? first > other.last : last < other.first) continue;
    wrong = fmt::format("scrubs for claim {} began before those for claim {}", std::max(claim, other.claim),
                        std::min(claim, other.claim));
  }
  served_.push_back({claim, first, last});
  if (served_.size() > kServed) served_.pop_front();
  return wrong;
}

}  // namespace sluice::world
