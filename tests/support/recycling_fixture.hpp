// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <set>

#include "support/manager_fixture.hpp"

namespace sluice::test {

/// VMs that write into what they hold, and what their next memory has of it: contents are read, not states.
class RecyclingTest : public MemoryManagerTest {
 protected:
  using Pages = std::set<const std::byte*>;
  static constexpr std::byte kData{0xAA};

  /// What a grant has.
  struct Seen {
    std::size_t pages = 0;
    std::size_t recycled = 0;
    std::size_t old = 0;        ///< Pages that were asked about.
    std::size_t with_data = 0;  ///< Pages with a byte that a VM wrote.
    bool operator==(const Seen&) const = default;
  };

  static Pages pages_of(const Grant& grant) {
    Pages pages;
    for (const GrantedRange& range : grant.ranges) {
      for (std::size_t at = 0; at < range.memory.size(); at += kPageSize.value())
        pages.insert(range.memory.data() + at);
    }
    return pages;
  }
  static Pages write(const Grant& grant) {
    for (const GrantedRange& range : grant.ranges) std::fill(range.memory.begin(), range.memory.end(), kData);
    return pages_of(grant);
  }
  [[nodiscard]] static std::size_t with_data(const Pages& pages) {
    return static_cast<std::size_t>(std::count_if(pages.begin(), pages.end(), [](const std::byte* page) {
      return std::find(page, page + kPageSize.value(), kData) != page + kPageSize.value();
    }));
  }
  static Seen look(const Grant& grant, const Pages& old = {}) {
    Seen seen;
    const Pages pages = pages_of(grant);
    seen.pages = pages.size();
    for (const GrantedRange& range : grant.ranges) {
      seen.recycled += range.recycled ? range.memory.size() / kPageSize.value() : 0;
    }
    for (const std::byte* page : pages) seen.old += old.contains(page) ? 1 : 0;
    seen.with_data = with_data(pages);
    return seen;
  }
  void give_back(VmId vm, const Grant& grant) {
    for (const GrantedRange& range : grant.ranges) ASSERT_TRUE(manager_.release(vm, range.memory));
  }

  /// More memory by the balloon. A scrub that is cancelled for it has written nothing yet.
  Grant more(VmId vm, std::size_t pages) {
    return ended([&](const GrantHandler& handler) { return manager_.allocate(vm, length(pages), handler); });
  }
  /// The VM comes back from a reboot with so much.
  Grant back(VmId vm, std::size_t pages) {
    return ended([&](const GrantHandler& handler) { return manager_.finish_reboot(vm, length(pages), handler); });
  }
  Grant reboot(VmId vm, std::size_t pages) {
    EXPECT_TRUE(manager_.begin_reboot(vm));
    return back(vm, pages);
  }
  /// The code with which a claim is refused.
  HostErrc refused(VmId vm, std::size_t pages) {
    const auto claim = manager_.allocate(vm, length(pages), [](const Result<Grant>&) {});
    EXPECT_FALSE(claim);
    return claim ? HostErrc{} : HostErrc(claim.error().code.value());
  }
  void fill_pool(DedicatedPoolId pool, std::size_t pages, const PoolOptions& options = {}) {
    std::optional<Result<void>> filled;
    ASSERT_TRUE(manager_.create_dedicated_pool(
        pool, kCustomer, length(pages), [&](const Result<void>& result) { filled = result; }, options));
    settle();
    ASSERT_TRUE(filled && *filled);
  }

 private:
  template <class Start>
  Grant ended(Start start) {
    std::optional<Result<Grant>> result;
    const auto claim = start([this, &result](Result<Grant> grant) {
      if (!ending_) result.emplace(std::move(grant));
    });
    EXPECT_TRUE(claim) << (claim ? "" : claim.error().message);
    if (!claim) return {};
    for (int round = 0; round < 100 && !result; ++round) {
      for (std::size_t job = 0; job < engine_.running().size();) {
        if (engine_.running()[job].cancel_requested) {
          engine_.end(job, Outcome::Cancelled, 0);
        } else {
          ++job;
        }
      }
      manager_.poll();
      if (!result) engine_.end_all();
    }
    EXPECT_TRUE(result && *result);
    return result && *result ? **result : Grant{};
  }
};

}  // namespace sluice::test
