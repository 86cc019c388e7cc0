// SPDX-License-Identifier: Apache-2.0
// What a host lacks, by a /proc, /sys and /etc of the test's own.
#include "sluice/vmm/doctor.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "sluice/vmm/guest_memory.hpp"
#include "support/temporary_folder.hpp"

namespace sluice::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using Grade = Finding::Grade;

constexpr const char* kQemu = "qemu-system-x86";

class Doctor : public ::testing::Test {
 protected:
  Doctor() {
    host_.memory_folder = folder_ / "memory";
    host_.socket = folder_ / "sluiced.sock";
    host_.root = folder_ / "root";
    fs::create_directories(folder_ / "memory/64MiB");
    fs::create_directories(folder_ / "root/proc");
    fs::create_directories(folder_ / "root/sys/kernel/mm");
    write("proc/filesystems", "");
  }
  void write(const std::string& path, const std::string& text) const {
    const fs::path file = fs::path(host_.root) / path;
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  /// A brick, as proc_pid_maps(5) shows a mapping of it.
  std::string brick(const std::string& name) const {
    const fs::path path = folder_ / ("memory/64MiB/" + name);
    std::ofstream(path) << "";
    struct stat file {};
    ::stat(path.c_str(), &file);
    return fmt::format("7f0000000000-7f0008000000 rw-s 00000000 {:02x}:{:02x} {} {}\n", major(file.st_dev),
                       minor(file.st_dev), file.st_ino, path.string());
  }
  void vmm(int process, const std::string& command, const std::string& maps) const {
    write(fmt::format("proc/{}/comm", process), command + "\n");
    write(fmt::format("proc/{}/maps", process), maps);
  }
  /// The worst of what is found of this.
  Finding finding(const std::string& subject) const {
    Finding worst;
    for (const Finding& each : examine(host_)) {
      if (each.subject == subject && (worst.subject.empty() || each.grade > worst.grade)) worst = each;
    }
    EXPECT_EQ(worst.subject, subject);
    EXPECT_FALSE(worst.found.empty());
    EXPECT_EQ(worst.grade == Grade::Good, worst.remedy.empty()) << worst.found;
    return worst;
  }

  TemporaryFolder folder_{"/dev/shm"};
  HostToExamine host_;
};

TEST_F(Doctor, FindsThisKernelGoodEnoughForLeases) {
  EXPECT_NE(finding("kernel").grade, Grade::Failure);
  EXPECT_EQ(finding("brick folder").grade, Grade::Good);
  EXPECT_EQ(finding("sole access").grade, Grade::Good);
  EXPECT_TRUE(fs::is_empty(folder_ / "memory/64MiB")) << "it leaves nothing behind";
}

TEST_F(Doctor, NamesAFolderThatKeepsNoBricks) {
  host_.memory_folder = "/proc/self";
  EXPECT_EQ(finding("brick folder").grade, Grade::Failure);
  EXPECT_THAT(finding("brick folder").found, HasSubstr("neither on tmpfs nor on hugetlbfs"));
  EXPECT_EQ(finding("sole access").grade, Grade::Failure);
  host_.memory_folder = folder_ / "memory/not/yet/there";
  EXPECT_EQ(finding("brick folder").grade, Grade::Good) << "sluiced makes it";
}

TEST_F(Doctor, CountsHugePagesThatAreReserved) {
  EXPECT_EQ(finding("huge pages").grade, Grade::Warning);
  write("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "8\n");
  write("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "5\n");
  write("sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages", "0\n");
  write("sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages", "0\n");
  write("sys/kernel/mm/hugepages/odd", "");
  EXPECT_EQ(finding("huge pages").grade, Grade::Good);
  EXPECT_EQ(finding("huge pages").found, "5 of 8 pages of 2MiB are free");
}

TEST_F(Doctor, SaysWhetherThereIsAKvm) {
  EXPECT_EQ(finding("KVM").grade, Grade::Warning);
  write("dev/kvm", "no device");
  EXPECT_EQ(finding("KVM").grade, Grade::Warning) << "a file of that name is none";
}

TEST_F(Doctor, SaysWhetherSluicedListens) {
  EXPECT_EQ(finding("sluiced").grade, Grade::Warning);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::ranges::copy(host_.socket, address.sun_path);
  const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  ASSERT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(fd, 1), 0);
  EXPECT_EQ(finding("sluiced").grade, Grade::Good);
  ::close(fd);
  EXPECT_EQ(finding("sluiced").grade, Grade::Warning) << "a socket that was left behind";
  host_.socket = "/" + std::string(200, 's');
  EXPECT_EQ(finding("sluiced").grade, Grade::Failure);
}

TEST_F(Doctor, ReadsWhatLibvirtIsTold) {
  EXPECT_THAT(finding("libvirt").found, HasSubstr("is not here"));
  write("etc/libvirt/qemu.conf", "# user = \"root\"\nnamespaces = []\n");
  EXPECT_EQ(finding("libvirt").grade, Grade::Good);
  write("etc/libvirt/qemu.conf", "user = \"root\"\n");
  EXPECT_EQ(finding("libvirt").grade, Grade::Warning);
  EXPECT_THAT(finding("libvirt").found, HasSubstr("root"));
  write("etc/libvirt/qemu.conf", fmt::format("memory_backing_dir = \"{}\"\n", host_.memory_folder));
  EXPECT_EQ(finding("libvirt").grade, Grade::Failure);
  write("etc/libvirt/qemu.conf", "");
  write("sys/module/apparmor/parameters/enabled", "Y\n");
  EXPECT_THAT(finding("libvirt").found, HasSubstr("AppArmor"));
  write("etc/libvirt/qemu.conf", "security_driver = \"none\"\n");
  EXPECT_EQ(finding("libvirt").grade, Grade::Good);
}

TEST_F(Doctor, NamesVmsWhoseMemoryIsNotLeased) {
  EXPECT_THAT(finding("VMs").found, HasSubstr("none"));
  const std::string own =
      "7f1000000000-7f1040000000 rwxp 00000000 00:00 0\n"  // translated code
      "7f2000000000-7f2001000000 rw-p 00000000 00:00 0\n"  // video memory
      "55d0c0000000-55d0d0000000 rw-p 00000000 00:00 0 [heap]\n"
      "no mapping at all\n";
  vmm(100, kQemu, brick("0") + brick("1") + own);
  vmm(101, "bash", "7f2000000000-7f2100000000 rw-p 00000000 00:00 0\n");
  EXPECT_EQ(finding("VMs").grade, Grade::Good);
  EXPECT_EQ(finding("VMs").found, "1 run, with 256MiB of leased memory");
  vmm(102, kQemu, brick("2") + own + "7f3000000000-7f3010000000 rw-s 00000000 00:01 9 /memfd:pc.ram (deleted)\n");
  vmm(103, "firecracker", "7f3000000000-7f3004000000 rw-p 00000000 00:00 0\n");
  vmm(104, kQemu, "");  // has ended
  const auto memory = guest_memory_of_vmms(host_.memory_folder, host_.root + "/proc");
  ASSERT_TRUE(memory) << memory.error().message;
  ASSERT_EQ(memory->size(), 3U);
  EXPECT_EQ(memory->at(1).other, ByteCount(256ULL << 20));
  EXPECT_EQ(memory->at(1).leased, ByteCount(128ULL << 20));
  EXPECT_EQ(memory->at(1).largest_other, "/memfd:pc.ram (deleted)");
  EXPECT_EQ(finding("VMs").grade, Grade::Failure);
  EXPECT_EQ(memory->at(2).largest_other, "anonymous memory");
  EXPECT_EQ(guest_memory_of(104, host_.memory_folder, host_.root + "/proc").error().code, HostErrc::UnknownId);
}

}  // namespace
}  // namespace sluice::test
