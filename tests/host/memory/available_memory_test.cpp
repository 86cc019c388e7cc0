// SPDX-License-Identifier: Apache-2.0
// What a process can still get, on machines that are folders.
#include "sluice/memory/available_memory.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "support/temporary_folder.hpp"

namespace sluice::test {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;

/// A host with 1,000 MiB available and no limits.
class AvailableMemoryOf : public ::testing::Test {
 protected:
  AvailableMemoryOf() {
    write("proc/meminfo", "MemTotal:  2048000 kB\nMemFree: 1 kB\nMemAvailable:    1024000 kB\n");
    write("proc/self/limits", limits("unlimited"));
    write("proc/self/statm", std::to_string(100 * kMiB / static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE))) + " 5 5");
  }

  void write(const std::string& file, const std::string& text) const {
    const std::filesystem::path path = root_ / file;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  void group(const std::string& name, const std::string& limit, std::uint64_t used, std::uint64_t files = 0) const {
    const std::string folder = "sys/fs/cgroup" + name;
    write(folder + "/memory.max", limit);
    write(folder + "/memory.current", std::to_string(used * kMiB));
    write(folder + "/memory.stat", "anon 5\nfile 99999999999\ninactive_file " + std::to_string(files * kMiB / 4) +
                                       "\nactive_file " + std::to_string(files * kMiB * 3 / 4) + "\n");
  }
  static std::string mib(std::uint64_t amount) { return std::to_string(amount * kMiB) + "\n"; }
  static std::string limits(const std::string& soft) {
    return "Limit                     Soft Limit           Hard Limit           Units     \n"
           "Max file size             4096                 4096                 bytes     \n"
           "Max locked memory         8192                 8192                 bytes     \n"
           "Max address space         " +
           soft + "            8192                 bytes     \n";
  }
  void expect(std::uint64_t amount, const std::string& limit) const {
    const AvailableMemory found = available_memory(root_.path());
    EXPECT_EQ(found.bytes.value(), amount * kMiB);
    EXPECT_EQ(found.limit, limit);
  }

  TemporaryFolder root_;
};

TEST_F(AvailableMemoryOf, HostWithoutLimitsIsWhatTheKernelSays) { expect(1000, "this host"); }

TEST_F(AvailableMemoryOf, CgroupIsWhatIsLeftOfItsLimitBesideFiles) {
  write("proc/self/cgroup", "0::/job\n");
  group("/job", mib(128), 100);
  expect(28, "cgroup /job");
  group("/job", mib(128), 100, 40);
  expect(68, "cgroup /job");
  group("/job", mib(128), 300);
  expect(0, "cgroup /job");
  group("/job", "max\n", 300);
  expect(1000, "this host");
}

TEST_F(AvailableMemoryOf, EachParentOfACgroupLimitsToo) {
  write("proc/self/cgroup", "0::/batch/night/job\n");
  group("/batch/night/job", mib(900), 10);
  group("/batch/night", mib(800), 100);
  group("/batch", "max", 100);
  expect(700, "cgroup /batch/night");
  group("/batch", mib(500), 100);
  expect(400, "cgroup /batch");
}

/// As in a container: the path is the host's, and the mount is the container's own.
TEST_F(AvailableMemoryOf, CgroupWhoseFolderIsNotMountedIsTheMount) {
  write("proc/self/cgroup", "0::/docker/0123456789abcdef\n");
  group("", mib(64), 4);
  expect(60, "cgroup /");
}

TEST_F(AvailableMemoryOf, FirstVersionOfCgroupsCountsToo) {
  write("proc/self/cgroup", "5:cpu,cpuacct:/other\n4:memory:/service/job\n0::/\n");
  const auto first_version = [&](const std::string& name, std::uint64_t limit) {
    const std::string folder = "sys/fs/cgroup/memory" + name;
    write(folder + "/memory.limit_in_bytes", mib(limit));
    write(folder + "/memory.usage_in_bytes", mib(50));
    write(folder + "/memory.stat", "inactive_file 5\ntotal_inactive_file 1048576\ntotal_active_file 1048576\n");
  };
  first_version("/service/job", 200);
  expect(152, "cgroup /service/job");
  first_version("/service", 150);
  expect(102, "cgroup /service");
}

TEST_F(AvailableMemoryOf, LimitOfTheAddressSpaceIsLessWhatIsMapped) {
  write("proc/self/limits", limits(std::to_string(350 * kMiB)));
  expect(250, "RLIMIT_AS");
  write("proc/self/limits", limits(std::to_string(50 * kMiB)));
  expect(0, "RLIMIT_AS");
}

TEST_F(AvailableMemoryOf, AMachineThatSaysNothingHasNoLimit) {
  const TemporaryFolder nothing;
  EXPECT_EQ(available_memory(nothing.path()).bytes.value(), ~0ULL);
  EXPECT_EQ(available_memory(nothing.path()).limit, "");
}

}  // namespace
}  // namespace sluice::test
