// SPDX-License-Identifier: Apache-2.0
#include "sluice/vmm/brick_access.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>
#include <cstring>

#include "sluice/vmm/sole_access.hpp"

namespace sluice::inline vmm {

Result<int> FileBrickAccess::open(const Brick& brick) { return open_again(brick.fd); }

Result<bool> FileBrickAccess::take(const Brick& brick) { return try_sole_access(brick.fd); }

Result<void> FileBrickAccess::renew(const Brick& brick) {
  const auto length = static_cast<off_t>(brick.memory.size());
  const auto allocate = [&](int mode) {
    int result = 0;
    do {
      result = ::fallocate(brick.fd, mode, 0, length);
    } while (result != 0 && errno == EINTR);
    return result == 0;
  };
  if (allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE) && allocate(0)) return {};
  return Error{HostErrc::NoResources,
               fmt::format("the kernel gives a brick of {} bytes no new pages: {}; free memory, or reserve huge pages "
                           "again (vm.nr_hugepages)",
                           brick.memory.size(), std::strerror(errno))};
}

Result<std::vector<Holder>> FileBrickAccess::holders(const Brick& brick) { return holders_of(brick.fd); }

}  // namespace sluice::inline vmm
