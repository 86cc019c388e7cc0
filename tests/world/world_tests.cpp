// SPDX-License-Identifier: Apache-2.0
// Tests of suspect memory: it is named where it is bad, nobody gets any of it meanwhile, and nothing else is touched.
#include <algorithm>
#include <array>

#include "world.hpp"

namespace sluice::world {

/// Otherwise it may have ended, and its handler was not called yet.
bool World::still_runs(const SuspectTest& test) const {
  return !test.abandoned && test.losses == losses_ && !stopped_ && !engine_->dead() && !engine_->lied();
}

/// Of all tests that run.
World::Pages World::under_test() const {
  Pages pages;
  for (const auto& [number, test] : tests_) {
    if (still_runs(test)) pages |= test.pages;
  }
  return pages;
}

void World::take_test_step(const Step& step) {
  rules_change();
  look_at_pools();
  if (step.b % 8 == 0) {
    auto* const test = pick(tests_, step.a);
    if (test == nullptr) return;
    const bool abandoned = manager_->abandon(test->second.id);
    test->second.abandoned = test->second.abandoned || abandoned;
    return;
  }
  auto* const found = step.a % 2 == 0 ? nullptr : pick(vms_, step.a / 2);
  begin_test(step, found == nullptr ? 0 : found->first);
}

void World::begin_test(const Step& step, Id vm) {
  static constexpr std::uint64_t kPattern = 0x5A5A5A5A5A5A5A5A;
  static const std::array<std::vector<std::uint64_t>, 5> kPatterns = {
      {{}, {0}, {kPattern}, {kPattern, 0}, {0, kPattern}}};
  const auto& patterns = kPatterns[step.c % kPatterns.size()];
  bool may_fit = true;
  bool fits = true;
  for (const auto& [number, other] : tests_) {
    if (other.vm != vm || other.abandoned) continue;
    fits = false;
    may_fit = may_fit && !still_runs(other);
  }
  SuspectTest test;
  test.vm = vm;
  test.known = claims_.empty() && !has_rules();
  test.last_pattern = patterns.empty() ? 0 : patterns.back();
  test.losses = known_losses_;
  const auto& suspect = vm == 0 ? suspect_to_all_ : vms_.at(vm).suspect;
  Pages expected;
  for (const Extent* extent : manager_->extents().all_of(Domain::suspect(VmId(vm)))) {
    const ExtentState state = extent->state();
    const bool free = state == ExtentState::Clean || state == ExtentState::Dirty || state == ExtentState::Scrubbing;
    const bool takes = free && !extent->is_claimed();
    if (!takes && state != ExtentState::Quarantined) test.not_tested += extent->length();
    for (std::size_t page = first_page(*extent); page < end_page(*extent); ++page) {
      if (takes && test.known) test.pages.set(page);
      expected[page] = suspect[page];
      test.suspect.set(page);
    }
  }
  check(expected == suspect, "memory that is suspect for VM {} would not be tested", vm);
  if ((test.pages & may_be_lost_).any()) test.losses = ~0ULL;
  const std::uint64_t number = next_claim_++;
  tests_[number] = test;
  const auto begun = manager_->test_suspect(
      VmId(vm), patterns, [this, number](const Result<SuspectReport>& result) { tested(number, result); });
  if (begun) {
    check(may_fit && !stopped_, "a test began beside another one, or after the stop");
    check(!test.known || test.pages.any(), "a test began and nothing was there to be tested");
    tests_.at(number).id = *begun;
    return;
  }
  tests_.erase(number);
  const auto code = begun.error().code;
  if (stopped_ || engine_->dead() || engine_->lied()) return;
  const bool as_it_should = may_fit && code == HostErrc::OutOfMemory;
  check(as_it_should || (!fits && code == HostErrc::WrongState), "a test was refused: {}", begun.error().message);
  check(!fits || !test.known || test.pages.none(), "a test was refused, and there is memory to be tested");
}

void World::tested(std::uint64_t number, const Result<SuspectReport>& result) {
  const auto found = tests_.find(number);
  if (found == tests_.end()) {
    check(false, "a test ended twice");
    return;
  }
  const SuspectTest test = found->second;
  tests_.erase(found);
  if (ending_) {
    check(!result && result.error().code == HostErrc::Abandoned, "a test of a manager that is gone was not abandoned");
    return;
  }
  look_for_losses();
  check(polling_ > 0, "the handler of a test was called outside of a poll");
  if (result) {
    check(!test.abandoned, "an abandoned test came to its end");
    check_report(test, *result);
    return;
  }
  const auto code = result.error().code;
  const bool engine_failed = engine_->dead() || engine_->lied() || stopped_;
  check(code == HostErrc::Abandoned || code == HostErrc::ScrubUnavailable, "a test ended: {}", result.error().message);
  check((code == HostErrc::Abandoned) == test.abandoned || engine_failed, "a test was abandoned by nobody, or was not");
  check(code != HostErrc::ScrubUnavailable || engine_failed || test.losses != losses_,
        "a test found no engine, and there is one: {}", result.error().message);
}

/// What has failed is bad, and all else holds the last pattern and nothing of anybody's.
void World::check_report(const SuspectTest& test, const SuspectReport& report) {
  Pages failed;
  for (const MemorySpan range : report.failed) {
    const std::size_t end = page_of(range.data() + range.size());
    for (std::size_t page = page_of(range.data()); page < end; ++page) {
      failed.set(page);
      check(may_be_lost_[page], "page {} is said to have failed a test", page);
    }
  }
  if (!test.known) return;
  check(report.not_tested == test.not_tested, "{} bytes were not tested, and a report says {}", test.not_tested.value(),
        report.not_tested.value());
  ByteCount bytes;
  for (std::size_t page = 0; page < kPages; ++page) {
    if (!test.pages[page]) {
      check(!failed[page], "page {} failed a test that it was no part of", page);
      continue;
    }
    bytes += ByteCount(layout_.bytes(page, 1));
    check(failed[page] || !memory_.bad(page), "page {} is bad and passed a test", page);
    check(failed[page] || memory_.holds_only(page, test.last_pattern), "page {} was tested and holds something else",
          page);
  }
  check(report.tested == bytes, "{} bytes were tested, and a report says {}", bytes.value(), report.tested.value());
}

/// Nobody else has what is tested.
void World::check_tests() {
  const Pages pages = under_test();
  for (std::size_t page = 0; page < kPages; ++page) {
    if (!pages[page]) continue;
    const Extent* const extent = manager_->extents().find(base_ + layout_.offset(page));
    const bool kept = extent->is_claimed() || extent->state() == ExtentState::Quarantined;
    check(kept && holder_[page] == 0, "page {} is tested, and anybody may have it", page);
  }
}

}  // namespace sluice::world
