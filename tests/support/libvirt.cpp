// SPDX-License-Identifier: Apache-2.0
#include "support/libvirt.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <fstream>
#include <sstream>

namespace sluice::test {
namespace {

namespace fs = std::filesystem;

constexpr char kStart = 's';
constexpr char kKill = 'k';
constexpr char kIsThere = '1';

bool is_root() { return ::geteuid() == 0; }

std::string text_of(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

/// What libvirtd finds below /etc, /run and /var.
void write_folders(const fs::path& root) {
  for (const char* const name : {"etc", "run", "run/libvirt", "lib", "cache", "log", "config"}) {
    fs::create_directory(root / name);
  }
  fs::create_directory_symlink(root / "etc", root / "config/libvirt");
  std::ofstream(root / "etc/libvirtd.conf")
      << fmt::format("unix_sock_dir = \"{}/run/libvirt\"\nauth_unix_rw = \"none\"\nauth_unix_ro = \"none\"\n",
                     root.string())
      << "log_outputs = \"2:file:" << (root / "libvirtd.log").string() << "\"\n"
      << "host_uuid = \"5b4c3d2e-1f60-4718-8293-a4b5c6d7e8f9\"\n";
  std::ofstream(root / "etc/qemu.conf")
      << (is_root() ? "user = \"root\"\ngroup = \"root\"\n" : "")
      << "dynamic_ownership = 0\nremember_owner = 0\n"
         "security_driver = \"none\"\nnamespaces = []\ncgroup_controllers = []\nstdio_handler = \"file\"\n";
  // libvirtd does not start without them, whatever qemu.conf says.
  std::string users = text_of("/etc/passwd");
  if (users.find("\nlibvirt-qemu:") == std::string::npos)
    users += "libvirt-qemu:x:64055:64055::/nonexistent:/usr/sbin/nologin\n";
  std::ofstream(root / "passwd") << users;
  std::string groups = text_of("/etc/group");
  if (groups.find("\nlibvirt-qemu:") == std::string::npos) groups += "libvirt-qemu:x:64055:\n";
  if (groups.find("\nkvm:") == std::string::npos) groups += "kvm:x:64056:\n";
  std::ofstream(root / "group") << groups;
}

bool enter_namespace(const fs::path& root) {
  if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return false;
  constexpr std::array<std::pair<const char*, const char*>, 7> kPlaces = {{{"passwd", "/etc/passwd"},
                                                                           {"group", "/etc/group"},
                                                                           {"etc", "/etc/libvirt"},
                                                                           {"run", "/run"},
                                                                           {"lib", "/var/lib"},
                                                                           {"cache", "/var/cache"},
                                                                           {"log", "/var/log"}}};
  for (const auto& [from, to] : kPlaces) {
    if (::mount((root / from).c_str(), to, nullptr, MS_BIND, nullptr) != 0) return false;
  }
  return true;
}

/// The process between the test and libvirtd: whatever loses its parent becomes its child.
class Keeper {
 public:
  Keeper(fs::path root, int orders, int done) : root_(std::move(root)), orders_(orders), done_(done) {}

  /// Until the test closes its end, or is gone.
  [[noreturn]] void serve() {
    constexpr int kMoment = 20;  // milliseconds
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (is_root() && !enter_namespace(root_)) ::_exit(1);
    answer();
    for (;;) {
      pollfd wanted{orders_, POLLIN, 0};
      const int ready = ::poll(&wanted, 1, kMoment);
      reap();
      if (ready <= 0) continue;
      char order = 0;
      if (::read(orders_, &order, 1) != 1) end_all();
      if (order == kStart) {
        start();
      } else {
        end_daemon();
      }
      answer();
    }
  }

 private:
  void answer() const {
    if (::write(done_, &kIsThere, 1) != 1) ::_exit(1);
  }
  void reap() {
    for (pid_t ended = 0; (ended = ::waitpid(-1, nullptr, WNOHANG)) > 0;) {
      if (ended == daemon_) daemon_ = 0;
    }
  }
  void start() {
    daemon_ = ::fork();
    if (daemon_ != 0) return;
    ::setsid();
    const int output = ::open((root_ / "output").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    ::dup2(output, STDOUT_FILENO);
    ::dup2(output, STDERR_FILENO);
    // Where the libvirtd of a user who is not root has its folders. Root's does not look at them.
    ::setenv("XDG_CONFIG_HOME", (root_ / "config").c_str(), 1);
    ::setenv("XDG_CACHE_HOME", (root_ / "cache").c_str(), 1);
    ::setenv("XDG_RUNTIME_DIR", (root_ / "run").c_str(), 1);
    ::execl(SLUICE_LIBVIRTD, "libvirtd", "--config", (root_ / "etc/libvirtd.conf").c_str(), "--pid-file",
            (root_ / "libvirtd.pid").c_str(), nullptr);
    ::_exit(127);
  }
  void end_daemon() {
    if (daemon_ == 0) return;
    ::kill(daemon_, SIGKILL);
    ::waitpid(daemon_, nullptr, 0);
    daemon_ = 0;
  }
  [[noreturn]] void end_all() {
    constexpr int kMost = 100;
    end_daemon();
    reap();
    int count = 0;
    const std::string children = fmt::format("/proc/{0}/task/{0}/children", ::getpid());
    // The children of those that end become children of this process.
    for (;;) {
      std::ifstream list(children);
      pid_t child = 0;
      if (!(list >> child)) break;
      ::kill(child, SIGKILL);
      ::waitpid(child, nullptr, 0);
      if (count < kMost) ++count;
    }
    ::_exit(count);
  }

  fs::path root_;
  int orders_, done_;
  pid_t daemon_ = 0;
};

}  // namespace

Libvirt::Libvirt() {
  write_folders(folder_.path());
  int orders[2], done[2];
  if (::pipe2(orders, O_CLOEXEC) != 0 || ::pipe2(done, O_CLOEXEC) != 0) std::abort();
  keeper_ = ::fork();
  if (keeper_ == 0) {
    ::close(orders[1]);
    ::close(done[0]);
    Keeper(folder_.path(), orders[0], done[1]).serve();
  }
  ::close(orders[0]);
  ::close(done[1]);
  orders_ = orders[1];
  done_ = done[0];
  char there = 0;
  if (::read(done_, &there, 1) != 1) end();
}

Libvirt::~Libvirt() { end(); }

int Libvirt::end() {
  if (keeper_ <= 0) return -1;
  ::close(orders_);
  ::close(done_);
  int status = 0;
  ::waitpid(keeper_, &status, 0);
  keeper_ = 0;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

bool Libvirt::tell_keeper(char order) {
  char there = 0;
  return ::write(orders_, &order, 1) == 1 && ::read(done_, &there, 1) == 1;
}

void Libvirt::start_daemon() {
  ASSERT_TRUE(tell_keeper(kStart));
  EXPECT_TRUE(comes_true([this] { return virsh("list").exit_code == 0; })) << log();
}

void Libvirt::kill_daemon() { ASSERT_TRUE(tell_keeper(kKill)); }

Outcome Libvirt::virsh(const std::string& words) const {
  return run_program(
      fmt::format("XDG_CACHE_HOME={0} XDG_CONFIG_HOME={0} LC_ALL=C {1} -q -c "
                  "'qemu:///{2}?socket={0}/run/libvirt/libvirt-sock' {3}",
                  folder_.path().string(), SLUICE_VIRSH, is_root() ? "system" : "session", words));
}

pid_t Libvirt::process_of(const std::string& domain) const {
  pid_t process = 0;
  const std::string folder = is_root() ? "run/libvirt/qemu/" : "run/libvirt/qemu/run/";
  std::ifstream(folder_ / (folder + domain + ".pid")) >> process;
  return process;
}

std::string Libvirt::log() const { return text_of(folder_ / "output") + text_of(folder_ / "libvirtd.log"); }

GuestPort::GuestPort() {
  listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path().copy(address.sun_path, sizeof(address.sun_path) - 1);
  if (::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener_, 4) != 0)
    std::abort();
}

GuestPort::~GuestPort() {
  drop();
  ::close(listener_);
}

void GuestPort::drop() {
  if (connection_ >= 0) ::close(connection_);
  connection_ = -1;
  input_.clear();
}

void GuestPort::exchange(int milliseconds) {
  std::array<pollfd, 2> wanted = {{{listener_, POLLIN, 0}, {connection_, POLLIN, 0}}};
  if (::poll(wanted.data(), wanted.size(), milliseconds) <= 0) return;
  if (wanted[0].revents != 0) {
    drop();
    connection_ = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    return;
  }
  std::array<char, 4096> buffer;
  const ssize_t got = ::recv(connection_, buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (got > 0) {
    input_.append(buffer.data(), static_cast<std::size_t>(got));
  } else {
    drop();
  }
}

std::string GuestPort::line() {
  constexpr int kMoment = 20;  // milliseconds
  std::string line;
  const bool there = comes_true([&] {
    exchange(kMoment);
    return input_.find('\n') != std::string::npos;
  });
  if (!there) return line;
  line = input_.substr(0, input_.find('\n'));
  input_.erase(0, line.size() + 1);
  return line;
}

void GuestPort::tell(const std::string& command) {
  const std::string text = command + "\n";
  exchange(0);
  const bool there = comes_true([&] {
    if (connection_ < 0) exchange(1);
    return connection_ >= 0;
  });
  if (!there || ::send(connection_, text.data(), text.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(text.size()))
    ADD_FAILURE() << "the guest has no serial port";
}

}  // namespace sluice::test
