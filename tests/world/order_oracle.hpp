// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <deque>
#include <optional>
#include <string>

#include "layout.hpp"
#include "sluice/memory/extent_table.hpp"

namespace sluice::world {

/// Who comes first, as far as it can be seen from outside: what was released earlier is scrubbed earlier in the
/// background, and scrubs for claims begin in the order of the claims.
class OrderOracle {
 public:
  explicit OrderOracle(const Layout& layout) : layout_(layout) {}

  /// A new process: nobody knows in which order it finds things.
  void restart();
  /// The page's turn is not known any more: it may have been clean in between.
  void forget(std::size_t page);

  /// After every step in which the manager was called. `compares`: no memory was claimed and given up in the middle of
  /// it. What is wrong; nullopt: nothing.
  [[nodiscard]] std::optional<std::string> look(const ExtentTable& table, std::uint32_t step, bool compares);

  /// A claim that had all of its memory at once was granted. Its scrubs were the engine's jobs from `first` to `last`.
  [[nodiscard]] std::optional<std::string> granted(std::uint64_t claim, std::uint64_t first, std::uint64_t last);

 private:
  static constexpr std::uint32_t kUnknown = ~0U;
  struct Page {
    ExtentState state = ExtentState::Dirty;
    bool waits = false;          ///< For a scrub in the background that may begin at once.
    std::uint32_t earliest = 0;  ///< Its turn is that of a step between these.
    std::uint32_t latest = kUnknown;
  };
  struct Served {
    std::uint64_t claim;
    std::uint64_t first;
    std::uint64_t last;
  };

  void enter(const ExtentTable& table, const Extent& extent, std::size_t first, std::size_t end, std::uint32_t step,
             bool compares);

  const Layout& layout_;
  std::array<Page, kPages> pages_{};
  std::array<Page, kPages> before_{};
  std::deque<Served> served_;
  bool knows_ = false;
};

}  // namespace sluice::world
