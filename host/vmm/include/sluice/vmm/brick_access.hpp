// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "sluice/memory/backing_memory.hpp"
#include "sluice/vmm/holders.hpp"

namespace sluice::inline vmm {

/// How the files of bricks reach other processes, and come back. The calls are those of sluice/vmm/sole_access.hpp and
/// holders.hpp; a test has answers of its own.
class BrickAccess {
 public:
  BrickAccess() = default;
  BrickAccess(const BrickAccess&) = delete;
  BrickAccess& operator=(const BrickAccess&) = delete;
  virtual ~BrickAccess() = default;

  /// A descriptor for somebody else: open_again(). The caller closes it.
  [[nodiscard]] virtual Result<int> open(const Brick& brick) = 0;
  /// try_sole_access(): false if somebody else has it.
  [[nodiscard]] virtual Result<bool> take(const Brick& brick) = 0;
  /// Gives its pages back to the kernel and has new ones, zeroed by the kernel, in their place: whoever still has old
  /// ones, pinned, has nothing of the brick any more. Blocks as long as the kernel takes. Errors: NoResources; the
  /// brick then lacks pages, and touching it may be a signal, until another call has succeeded.
  [[nodiscard]] virtual Result<void> renew(const Brick& brick) = 0;
  /// holders_of()
  [[nodiscard]] virtual Result<std::vector<Holder>> holders(const Brick& brick) = 0;
};

/// By the kernel.
class FileBrickAccess final : public BrickAccess {
 public:
  [[nodiscard]] Result<int> open(const Brick& brick) override;
  [[nodiscard]] Result<bool> take(const Brick& brick) override;
  [[nodiscard]] Result<void> renew(const Brick& brick) override;
  [[nodiscard]] Result<std::vector<Holder>> holders(const Brick& brick) override;
};

}  // namespace sluice::inline vmm
