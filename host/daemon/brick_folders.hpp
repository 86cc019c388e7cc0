// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sluice/daemon/config.hpp"
#include "sluice/memory/backing_memory.hpp"

namespace sluice::inline daemon {

/// Whole bricks of several lengths: those of each length in a folder of their own, named after it. They can be handed
/// to a VMM of any user, who reaches them by descriptors alone: nobody but root passes the folder.
class BrickFolders final : public BackingMemory {
 public:
  /// Makes the folder, and what it lacks; goes on with what it has. Errors: as FileMemory::open(); InvalidArgument (on
  /// neither tmpfs nor hugetlbfs).
  [[nodiscard]] static Result<std::unique_ptr<BrickFolders>> open(const DaemonConfig& config);

  [[nodiscard]] std::span<const Brick> bricks() const override { return bricks_; }

 private:
  BrickFolders() = default;
  std::vector<std::unique_ptr<FileMemory>> folders_;
  std::vector<Brick> bricks_;
};

/// Makes a folder with all folders above it, and gives it this mode. Errors: NoResources.
[[nodiscard]] Result<void> make_folder(const std::string& path, mode_t mode);

}  // namespace sluice::inline daemon
