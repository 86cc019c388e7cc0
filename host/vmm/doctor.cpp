// SPDX-License-Identifier: Apache-2.0
#include "sluice/vmm/doctor.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/kvm.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <utility>

#include "sluice/base/descriptor.hpp"
#include "sluice/base/parse.hpp"
#include "sluice/base/printable.hpp"
#include "sluice/vmm/guest_memory.hpp"
#include "sluice/vmm/sole_access.hpp"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77  // Linux 6.5
#endif

namespace sluice::inline vmm {
namespace {

namespace fs = std::filesystem;

Finding good(std::string subject, std::string found) {
  return {Finding::Grade::Good, std::move(subject), std::move(found), {}};
}
Finding warning(std::string subject, std::string found, std::string remedy) {
  return {Finding::Grade::Warning, std::move(subject), std::move(found), std::move(remedy)};
}
Finding failure(std::string subject, std::string found, std::string remedy) {
  return {Finding::Grade::Failure, std::move(subject), std::move(found), std::move(remedy)};
}

std::string first_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

Finding kernel() {
  utsname name{};
  ::uname(&name);
  const std::string release = fmt::format("Linux {}", name.release);
  const int own = above_standard(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0U)));
  if (own < 0) {
    return failure("kernel", fmt::format("{}: pidfd_open fails: {}", release, std::strerror(errno)),
                   "run Linux 5.3 or later, and allow pidfd_open where a container filters system calls");
  }
  ::close(own);
  std::array<int, 2> pair{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()) != 0) {
    return failure("kernel", fmt::format("{}: no unix sockets: {}", release, std::strerror(errno)),
                   "raise the limit of open files");
  }
  int peer = -1;
  socklen_t length = sizeof peer;
  const bool known = ::getsockopt(pair[0], SOL_SOCKET, SO_PEERPIDFD, &peer, &length) == 0;
  if (known) ::close(peer);
  for (const int fd : pair) ::close(fd);
  if (known) return good("kernel", release);
  return warning("kernel", release + ": sockets do not name their peer by a pidfd (SO_PEERPIDFD)",
                 "run Linux 6.5 or later; until then clients are known by their process ids");
}

/// The folder, or the nearest above it that is there.
fs::path nearest(fs::path folder) {
  std::error_code error;
  while (!fs::is_directory(folder, error) && folder.has_relative_path()) folder = folder.parent_path();
  return folder;
}

Finding folder_of_bricks(const HostToExamine& host) {
  const std::string subject = "brick folder";
  const fs::path folder = nearest(host.memory_folder);
  struct statfs facts {};
  if (::statfs(folder.c_str(), &facts) != 0) {
    return failure(subject, fmt::format("{}: {}", folder.string(), std::strerror(errno)), "give another folder");
  }
  if (facts.f_type != TMPFS_MAGIC && facts.f_type != HUGETLBFS_MAGIC) {
    return failure(subject, fmt::format("{} is neither on tmpfs nor on hugetlbfs", folder.string()),
                   "mount one of them there, or set memory.folder to a folder on one");
  }
  const ByteCount room(static_cast<std::uint64_t>(facts.f_bavail) * static_cast<std::uint64_t>(facts.f_bsize));
  return good(subject, fmt::format("{} is on {}, with {} free", host.memory_folder,
                                   facts.f_type == TMPFS_MAGIC ? "tmpfs" : "hugetlbfs", print_bytes(room)));
}

Finding sole_access(const HostToExamine& host) {
  const std::string subject = "sole access";
  const fs::path folder = nearest(host.memory_folder);
  const int made = above_standard(::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (made < 0) {
    return failure(subject, fmt::format("no file can be made in {}: {}", folder.string(), std::strerror(errno)),
                   "run this as the user of sluiced, and give it a folder on tmpfs or hugetlbfs");
  }
  const auto fd = open_again(made);
  ::close(made);
  if (!fd) return failure(subject, fd.error().message, "mount /proc");
  const auto taken = try_sole_access(*fd);
  ::close(*fd);
  if (taken && *taken) return good(subject, "the kernel tells whether somebody still has a brick (file leases)");
  return failure(subject, taken ? "somebody has a file that was just made" : taken.error().message,
                 "set fs.leases-enable to 1, and run sluiced as root or with CAP_LEASE");
}

Finding huge_pages(const HostToExamine& host) {
  const std::string subject = "huge pages";
  std::string found;
  std::error_code error;
  const fs::path folder = host.root + "/sys/kernel/mm/hugepages";
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename();  // "hugepages-2048kB"
    const std::size_t dash = name.find('-');
    const auto size = parse_integer<std::uint64_t>(
        std::string_view(name).substr(dash + 1, std::max<std::size_t>(name.size(), dash + 3) - dash - 3));
    const auto all = parse_integer<std::uint64_t>(first_line(at->path() / "nr_hugepages"));
    const auto free = parse_integer<std::uint64_t>(first_line(at->path() / "free_hugepages"));
    if (!size || !all || !free || *all == 0) continue;
    found += fmt::format("{}{} of {} pages of {} are free", found.empty() ? "" : ", ", *free, *all,
                         print_bytes(ByteCount(*size << 10)));
  }
  if (!found.empty()) return good(subject, found);
  return warning(subject, "none are reserved: bricks have pages of 4 KiB, and guests miss in the TLB more often",
                 "set vm.nr_hugepages and mount hugetlbfs at memory.folder, with memory.pages as long");
}

Finding kvm(const HostToExamine& host) {
  const std::string path = host.root + "/dev/kvm";
  const int fd = above_standard(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (fd < 0) {
    return warning("KVM", fmt::format("{}: {}: guests run under TCG, many times slower", path, std::strerror(errno)),
                   "load kvm_intel or kvm_amd, and let the user of VMs open it");
  }
  const int version = ::ioctl(fd, KVM_GET_API_VERSION, 0);
  ::close(fd);
  if (version == KVM_API_VERSION) return good("KVM", path + " can be opened");
  return warning("KVM", fmt::format("{} has version {}, not {}", path, version, KVM_API_VERSION),
                 "run a kernel with the KVM that programs are made for");
}

Finding sluiced(const HostToExamine& host) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (host.socket.size() >= sizeof address.sun_path) {
    return failure("sluiced", fmt::format("{} is too long for a socket", host.socket), "give a shorter path");
  }
  std::ranges::copy(host.socket, address.sun_path);
  const int fd = above_standard(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  const bool answers = fd >= 0 && ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  const int why = errno;
  if (fd >= 0) ::close(fd);
  if (answers) return good("sluiced", fmt::format("listens at {}", host.socket));
  return warning("sluiced", fmt::format("nobody listens at {}: {}", host.socket, std::strerror(why)), "start it");
}

/// Lines such as `security_driver = "none"`, without quotes.
std::map<std::string, std::string> settings_in(const fs::path& path) {
  std::map<std::string, std::string> settings;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string key, equals, value;
    if (!(words >> key >> equals) || key.starts_with('#') || equals != "=") continue;
    std::getline(words >> std::ws, value);
    std::erase(value, '"');
    settings[key] = value;
  }
  return settings;
}

std::vector<Finding> libvirt(const HostToExamine& host) {
  const std::string path = host.root + "/etc/libvirt/qemu.conf";
  std::error_code error;
  if (!fs::exists(path, error)) return {good("libvirt", fmt::format("is not here (no {})", path))};
  const auto settings = settings_in(path);
  const auto is = [&](const std::string& key) {
    const auto at = settings.find(key);
    return at == settings.end() ? std::string() : at->second;
  };
  std::vector<Finding> findings;
  const std::string driver = is("security_driver");
  const bool confines = first_line(host.root + "/sys/module/apparmor/parameters/enabled") == "Y" && driver != "none";
  if (confines) {
    findings.push_back(warning("libvirt",
                               "AppArmor confines its guests, and its profile knows neither sluice-qemu nor "
                               "sluiced's socket",
                               fmt::format("allow both in /etc/apparmor.d/abstractions/libvirt-qemu, or set "
                                           "security_driver = \"none\" in {}",
                                           path)));
  }
  if (is("memory_backing_dir").starts_with(host.memory_folder)) {
    findings.push_back(
        failure("libvirt",
                fmt::format("memory_backing_dir is {}, which is sluiced's alone", printable(is("memory_backing_dir"))),
                fmt::format("give libvirt another folder in {}", path)));
  }
  if (const std::string user = is("user"); user == "root" || user == "+0") {
    findings.push_back(warning("libvirt",
                               "all guests run as root: each QEMU can open the memory of every other through "
                               "/proc",
                               fmt::format("give them a user in {}, and each domain a DAC label of its own", path)));
  }
  if (findings.empty()) findings.push_back(good("libvirt", fmt::format("nothing in {} stands in the way", path)));
  return findings;
}

std::vector<Finding> guests(const HostToExamine& host) {
  const auto vmms = guest_memory_of_vmms(host.memory_folder, host.root + "/proc");
  if (!vmms) return {failure("VMs", vmms.error().message, "run this as root")};
  std::vector<Finding> findings;
  ByteCount leased{0};
  for (const GuestMemory& vmm : *vmms) {
    leased += vmm.leased;
    if (vmm.other == ByteCount(0)) continue;
    findings.push_back(failure("VMs",
                               fmt::format("{} (process {}) has {} that sluiced does not clean, in {}", vmm.command,
                                           vmm.process, print_bytes(vmm.other), vmm.largest_other),
                               "start it by sluice-qemu, without memory that libvirt or others plug in"));
  }
  if (!findings.empty()) return findings;
  return {good("VMs", vmms->empty()
                          ? "none run"
                          : fmt::format("{} run, with {} of leased memory", vmms->size(), print_bytes(leased)))};
}

}  // namespace

std::string_view to_string(Finding::Grade grade) {
  switch (grade) {
    case Finding::Grade::Good:
      return "good";
    case Finding::Grade::Warning:
      return "warning";
    case Finding::Grade::Failure:
      return "failure";
  }
  return "?";
}

std::vector<Finding> examine(const HostToExamine& host) {
  std::vector<Finding> findings = {kernel(),  folder_of_bricks(host), sole_access(host), huge_pages(host),
                                   kvm(host), sluiced(host)};
  for (const auto& more : {libvirt(host), guests(host)}) findings.insert(findings.end(), more.begin(), more.end());
  return findings;
}

}  // namespace sluice::inline vmm
