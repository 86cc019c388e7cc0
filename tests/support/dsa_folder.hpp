// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "support/temporary_folder.hpp"

namespace sluice::test {

/// What a program finds of a machine with one DSA work queue, wq0.0, which sim/dsa stands behind. To be made before
/// DPDK starts.
class DsaFolder {
 public:
  explicit DsaFolder(std::uint32_t max_batch = 128, std::uint32_t max_transfer = 2 << 20) {
    write("dev/wq0.0", "");
    write("sys/wq0.0/name", "dpdk_wq");
    write("sys/wq0.0/type", "user");
    write("sys/wq0.0/size", "16");
    write("sys/wq0.0/max_batch_size", std::to_string(max_batch));
    write("sys/wq0.0/max_transfer_size", std::to_string(max_transfer));
    write("sys/dsa0/numa_node", "0");
    ::setenv("DSA_DEV_PATH", (folder_ / "dev").c_str(), 1);
    ::setenv("DSA_SYSFS_PATH", (folder_ / "sys").c_str(), 1);
  }

  /// For a command line.
  [[nodiscard]] std::string environment() const {
    return "DSA_DEV_PATH=" + (folder_ / "dev").string() + " DSA_SYSFS_PATH=" + (folder_ / "sys").string();
  }

 private:
  void write(const std::string& file, const std::string& text) const {
    std::filesystem::create_directories((folder_ / file).parent_path());
    std::ofstream(folder_ / file) << text << '\n';
  }

  TemporaryFolder folder_;
};

}  // namespace sluice::test
