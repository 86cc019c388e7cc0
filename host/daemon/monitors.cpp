// SPDX-License-Identifier: Apache-2.0
#include "monitors.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include "sluice/base/descriptor.hpp"
#include "sluice/base/printable.hpp"
#include "unix_listener.hpp"

namespace sluice::inline daemon {

namespace asio = boost::asio;

struct Monitors::Shared {
  asio::any_io_executor executor;
  std::string memory_folder;
  std::function<void()> after;
  Host* host = nullptr;
};

/// A QMP session over a connected socket.
class Monitors::Followed : public std::enable_shared_from_this<Followed> {
 public:
  Followed(const std::shared_ptr<Shared>& shared, VmId vm, pid_t process, int socket)
      : shared_(shared), vm_(vm), process_(process), socket_(shared->executor, socket) {}

  void start() {
    send();
    if (socket_.is_open()) wait();
  }
  void wait() {
    socket_.async_wait(asio::posix::stream_descriptor::wait_read,
                       [self = shared_from_this()](boost::system::error_code error) {
                         if (error || self->shared_->host == nullptr) return;
                         self->read();
                         if (self->socket_.is_open()) self->wait();
                         self->shared_->after();
                       });
  }
  /// All that QEMU has said so far.
  void read() {
    std::array<char, 1 << 14> buffer;
    while (socket_.is_open()) {
      const ssize_t length = ::recv(socket_.native_handle(), buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (length < 0 && errno == EINTR) continue;
      if (length < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
      if (length <= 0) {
        close();
        return;
      }
      const auto received = session_.receive(std::string_view(buffer.data(), static_cast<std::size_t>(length)));
      tell();
      if (!received) {
        spdlog::warn("the monitor of VM {} is given up: {}", vm_.value(), received.error().message);
        close();
        return;
      }
      send();
    }
  }
  /// A VM that must not have its memory again after a reboot would have it on in the same process: that ends then.
  void follow_policies() {
    if (shared_->host == nullptr || !session_.is_ready()) return;
    const bool keeps = shared_->host->keeps_memory_through_reboot(vm_);
    if (keeps == resets_) return;
    resets_ = keeps;
    static_cast<void>(
        session_.set_action(keeps ? Qmp::OnReboot::Reset : Qmp::OnReboot::ShutDown, Qmp::OnShutDown::End));
    send();
  }
  /// False: nobody would read it.
  bool reset() {
    if (!socket_.is_open() || !session_.is_ready() || !session_.system_reset()) return false;
    send();
    return socket_.is_open();
  }
  /// False: as with reset().
  bool quit() {
    if (!socket_.is_open() || !session_.is_ready() || !session_.quit()) return false;
    send();
    return socket_.is_open();
  }
  void close() {
    boost::system::error_code ignored;
    socket_.close(ignored);
  }

 private:
  void tell() {
    for (const QmpEvent& event : session_.take_events()) {
      if (shared_->host == nullptr) continue;
      if (std::holds_alternative<qmp::Ready>(event)) {
        spdlog::debug("the monitor of VM {} answers", vm_.value());
        follow_policies();
        // From now on it has all the memory of its command line.
        const auto memory = guest_memory_of(process_, shared_->memory_folder);
        if (memory) shared_->host->has_mapped(vm_, *memory);
      } else if (const auto* const reply = std::get_if<qmp::Reply>(&event); reply != nullptr && !reply->error.empty()) {
        spdlog::warn("QEMU of VM {} does not obey: {}", vm_.value(), printable(reply->error, 200));
      }
      shared_->host->monitor_said(vm_, event, session_.end_reason());
    }
  }
  void send() {
    while (const auto output = session_.take_output()) {
      std::string_view rest = output->bytes;
      while (!rest.empty()) {
        const ssize_t sent = ::send(socket_.native_handle(), rest.data(), rest.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) {  // a QEMU that reads nothing of the little that we say
          close();
          return;
        }
        rest.remove_prefix(static_cast<std::size_t>(sent));
      }
    }
  }

  std::shared_ptr<Shared> shared_;
  VmId vm_;
  pid_t process_;
  asio::posix::stream_descriptor socket_;
  Qmp session_;
  bool resets_ = true;  ///< When the guest reboots, as far as QEMU was told: its default.
};

/// A VM's process, and its monitor where it has one.
class Monitors::Watched : public std::enable_shared_from_this<Watched> {
 public:
  Watched(const std::shared_ptr<Shared>& shared, VmId vm) : shared_(shared), vm_(vm), pidfd_(shared->executor) {}

  void watch(Process process) {
    process_ = process.id();
    pidfd_.assign(process.take_pidfd());
    pidfd_.async_wait(asio::posix::stream_descriptor::wait_read,
                      [self = shared_from_this()](boost::system::error_code error) {
                        if (error || self->shared_->host == nullptr) return;
                        // What it said last may still be in the socket.
                        if (self->monitor_) self->monitor_->read();
                        spdlog::info("process {} of VM {} has ended", self->process_.process, self->vm_.value());
                        self->shared_->host->process_ended(self->vm_);
                        self->shared_->after();
                      });
  }
  void follow(int socket) {
    monitor_ = std::make_shared<Followed>(shared_, vm_, process_.process, socket);
    monitor_->start();
  }
  void follow_policies() {
    if (monitor_) monitor_->follow_policies();
  }
  bool reset() { return monitor_ && monitor_->reset(); }
  void end_process() {
    if (monitor_ && monitor_->quit()) return;
    if (::syscall(SYS_pidfd_send_signal, pidfd_.native_handle(), SIGKILL, nullptr, 0U) != 0) {
      spdlog::warn("process {} of VM {} cannot be ended: {}", process_.process, vm_.value(), std::strerror(errno));
    }
  }
  void end() {
    boost::system::error_code ignored;
    pidfd_.close(ignored);
    if (monitor_) monitor_->close();
  }

 private:
  std::shared_ptr<Shared> shared_;
  VmId vm_;
  ProcessId process_;
  asio::posix::stream_descriptor pidfd_;
  std::shared_ptr<Followed> monitor_;
};

Monitors::Monitors(asio::any_io_executor executor, std::string folder, std::string memory_folder,
                   std::function<void()> after)
    : shared_(
          std::make_shared<Shared>(Shared{std::move(executor), std::move(memory_folder), std::move(after), nullptr})),
      folder_(std::move(folder)) {}

Monitors::~Monitors() {
  shared_->host = nullptr;
  for (const auto& [vm, watched] : watched_) watched->end();
}

void Monitors::tell(Host* host) { shared_->host = host; }

std::string Monitors::path_of(VmId vm) const { return fmt::format("{}/{}.qmp", folder_, vm.value()); }

void Monitors::watch(VmId vm, Process process) {
  std::shared_ptr<Watched>& watched = watched_[vm];
  if (watched) watched->end();
  watched = std::make_shared<Watched>(shared_, vm);
  watched->watch(std::move(process));
}

Result<int> Monitors::listen_for_monitor(VmId vm) { return listen_at(path_of(vm), SOCK_STREAM); }

void Monitors::follow_monitor(VmId vm) {
  const auto watched = watched_.find(vm);
  if (watched == watched_.end()) return;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::ranges::copy(path_of(vm), address.sun_path);
  const int fd = above_standard(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  // It waits in the backlog until QEMU accepts.
  if (fd < 0 || ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    spdlog::warn("the monitor of VM {} cannot be reached: {}; its reboots are not seen", vm.value(),
                 std::strerror(errno));
    if (fd >= 0) ::close(fd);
    return;
  }
  watched->second->follow(fd);
}

bool Monitors::reset(VmId vm) {
  const auto watched = watched_.find(vm);
  return watched != watched_.end() && watched->second->reset();
}

void Monitors::end_process(VmId vm) {
  const auto watched = watched_.find(vm);
  if (watched == watched_.end()) return;
  spdlog::warn(
      "VM {} was reset in its process before that heard that it must not keep its memory: the process is ended",
      vm.value());
  watched->second->end_process();
}

void Monitors::policies_changed() {
  for (const auto& [vm, watched] : watched_) watched->follow_policies();
}

void Monitors::forget(VmId vm) {
  ::unlink(path_of(vm).c_str());
  const auto watched = watched_.find(vm);
  if (watched == watched_.end()) return;
  watched->second->end();
  watched_.erase(watched);
}

}  // namespace sluice::inline daemon
