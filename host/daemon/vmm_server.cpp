// SPDX-License-Identifier: Apache-2.0
#include "vmm_server.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <cstring>
#include <utility>

#include "sluice/base/descriptor.hpp"
#include "unix_listener.hpp"

namespace sluice::inline daemon {
namespace {

namespace asio = boost::asio;

constexpr std::size_t kMostDescriptorsIn = 4;

Refusal refusal_for(const Error& error) {
  if (error.code == HostErrc::InvalidArgument) return Refusal::Size;
  if (error.code == HostErrc::UnknownId || error.code == HostErrc::NotHeld) return Refusal::Unknown;
  if (error.code == HostErrc::WrongState || error.code == HostErrc::IdUsedBefore) return Refusal::WrongState;
  if (error.code == HostErrc::NotPermitted || error.code == HostErrc::ForeignCustomer) return Refusal::NotPermitted;
  if (error.code == HostErrc::OutOfMemory) return Refusal::NoMemory;
  if (error.code == HostErrc::ScrubUnavailable || error.code == HostErrc::Abandoned) return Refusal::Stopping;
  return Refusal::Busy;
}

struct Received {
  std::size_t length = 0;  ///< Of the packet, also beyond the buffer.
  bool cut = false;        ///< It, or its descriptors, did not fit.
  std::vector<int> descriptors;
};

/// nullopt with errno: nothing came.
std::optional<Received> receive(int socket, std::span<std::byte> buffer) {
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int) * kMostDescriptorsIn)> control{};
  iovec into{buffer.data(), buffer.size()};
  msghdr message{};
  message.msg_iov = &into;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t length = ::recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC | MSG_TRUNC);
  if (length < 0) return std::nullopt;
  Received received;
  received.length = static_cast<std::size_t>(length);
  received.cut = (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t at = 0; at < count; ++at) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + at * sizeof fd, sizeof fd);
      received.descriptors.push_back(above_standard(fd));
    }
  }
  return received;
}

/// Whether all of it is on its way.
bool send(int socket, const Packet& packet, std::span<const int> descriptors) {
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int) * (SLUICE_MOST_BRICKS + 1))> control{};
  iovec from{const_cast<std::byte*>(packet.data()), packet.size()};
  msghdr message{};
  message.msg_iov = &from;
  message.msg_iovlen = 1;
  if (!descriptors.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size_bytes());
  }
  ssize_t sent = 0;
  do {
    sent = ::sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent == static_cast<ssize_t>(packet.size());
}

}  // namespace

/// What connections have of their server, which may be gone.
struct VmmServer::Shared {
  Shared(const asio::any_io_executor& executor, Host& for_host)
      : listener(executor), pause(executor), host(&for_host) {}

  asio::posix::stream_descriptor listener;
  asio::steady_timer pause;
  Host* host;  ///< nullptr: the server has gone.
  std::vector<uid_t> users;
  std::function<void()> after;
  std::set<std::shared_ptr<Connection>> connections;
};

/// One VMM. It lives as long as its socket, and longer than the requests that wait.
class VmmServer::Connection : public std::enable_shared_from_this<Connection> {
 public:
  /// `peer`: who has connected, and to whom leases are bound.
  Connection(const std::shared_ptr<Shared>& shared, int socket, const ProcessId& peer)
      : server_(shared), socket_(shared->listener.get_executor(), socket), peer_(peer) {}

  void wait() {
    socket_.async_wait(asio::posix::stream_descriptor::wait_read,
                       [self = shared_from_this()](boost::system::error_code error) {
                         if (!error) self->read();
                       });
  }
  void close() {
    boost::system::error_code ignored;
    socket_.close(ignored);
    // Those that wait for memory have nobody to give it to. Their VMs may be gone by the time they are asked.
    for (const VmId vm : std::exchange(waiting_, {})) {
      if (server_->host != nullptr) server_->host->leases().abandon(vm);
    }
    if (server_->host != nullptr) server_->connections.erase(shared_from_this());
  }
  /// Its first request will be refused, whatever it is.
  void send_away(Refusal reason, std::string text) { unwelcome_.emplace(reason, std::move(text)); }
  void refuse(std::uint32_t serial, Refusal reason, std::string_view text) {
    spdlog::info("refused: {}", text);
    reply(refused_packet(serial, reason, text));
  }

 private:
  void read() {
    const auto self = shared_from_this();
    std::array<std::byte, kLongestRequest> buffer;
    // A few at a time: others want their turn too.
    for (int count = 0; count < 8 && socket_.is_open(); ++count) {
      auto received = receive(socket_.native_handle(), buffer);
      if (!received && errno == EINTR) continue;
      if (!received && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
      if (!received || received->length == 0) {
        if (received) close_all(received->descriptors);
        close();
        server_->after();
        return;
      }
      take(std::span(buffer).first(std::min(received->length, buffer.size())), *received);
    }
    server_->after();
    if (socket_.is_open()) wait();
  }

  static void close_all(std::span<const int> descriptors) {
    for (const int fd : descriptors) ::close(fd);
  }

  void take(std::span<const std::byte> packet, Received& received) {
    const std::uint32_t serial = serial_of(packet).value_or(0);
    if (unwelcome_) {
      close_all(received.descriptors);
      refuse(serial, unwelcome_->first, unwelcome_->second);
      close();
      return;
    }
    auto request = parse_request(packet);
    std::string bad;
    if (received.cut) {
      bad = fmt::format("a packet of {} bytes, or with more than {} descriptors: no request is", received.length,
                        kMostDescriptorsIn);
    } else if (!request) {
      bad = request.error().message;
    } else if (received.descriptors.size() > (std::holds_alternative<AcquireRequest>(*request) ? 1U : 0U)) {
      bad = fmt::format("{} descriptors came with a request: only an acquire may have one, a pidfd",
                        received.descriptors.size());
    }
    if (!bad.empty()) {
      close_all(received.descriptors);
      refuse(serial, Refusal::BadMessage, bad);
      close();
      return;
    }
    if (pending_ == kMostRequests) {
      close_all(received.descriptors);
      refuse(serial, Refusal::Busy, fmt::format("{} requests of this connection wait already", pending_));
      return;
    }
    std::visit([&](const auto& asked) { handle(asked, received); }, *request);
  }

  /// The answer to a request that waits, for as long as somebody may want it.
  template <class Value, class Answer>
  auto later(std::uint32_t serial, Answer answer) {
    ++pending_;
    return [self = shared_from_this(), serial, answer = std::move(answer)](Result<Value> result) {
      --self->pending_;
      if (!result) {
        self->refuse(serial, refusal_for(result.error()), result.error().message);
      } else if constexpr (std::is_void_v<Value>) {
        answer(*self);
      } else {
        answer(*self, std::move(*result));
      }
    };
  }
  /// Of a call that has not begun.
  void not_begun(std::uint32_t serial, const Result<void>& result) {
    if (result) return;
    --pending_;
    refuse(serial, refusal_for(result.error()), result.error().message);
  }

  void handle(const AcquireRequest& request, const Received& received) {
    auto process = received.descriptors.empty() ? Process::peer_of(socket_.native_handle())
                                                : Process::of_pidfd(received.descriptors.front());
    if (process && process->id() != peer_) {
      process = Error{HostErrc::NotPermitted,
                      fmt::format("process {} asks with a pidfd of process {}: a lease is bound to who asks for it",
                                  peer_.process, process->id().process)};
    }
    if (!process) {
      refuse(request.serial, refusal_for(process.error()), process.error().message);
      return;
    }
    auto answer = later<GrantedLease>(request.serial, [serial = request.serial](Connection& to, GrantedLease lease) {
      to.waiting_.erase(lease.grant.id.vm);
      to.give(serial, lease);
    });
    const auto begun = server_->host->acquire(request, std::move(*process), std::move(answer));
    if (begun) {
      if (const auto lease = server_->host->status(request.vm); lease.state) waiting_.insert(lease.lease.vm);
    }
    not_begun(request.serial, begun);
  }

  void handle(const GrowRequest& request, const Received& /*received*/) {
    auto answer = later<GrantedLease>(
        request.serial, [serial = request.serial](Connection& to, GrantedLease lease) { to.give(serial, lease); });
    not_begun(request.serial, server_->host->grow(request, peer_, std::move(answer)));
  }

  void handle(const ShrinkRequest& request, const Received& /*received*/) {
    auto answer =
        later<void>(request.serial, [serial = request.serial](Connection& to) { to.reply(done_packet(serial)); });
    not_begun(request.serial, server_->host->give_back(request, peer_, std::move(answer)));
  }

  void handle(const NotifyRequest& request, const Received& /*received*/) {
    done(request.serial, server_->host->notify(request, peer_));
  }
  void handle(const ReleaseRequest& request, const Received& /*received*/) {
    done(request.serial, server_->host->release(request, peer_));
  }
  void handle(const StatusRequest& request, const Received& /*received*/) {
    reply(state_packet(request.serial, server_->host->status(request.vm)));
  }
  void done(std::uint32_t serial, const Result<void>& result) {
    if (!result) {
      refuse(serial, refusal_for(result.error()), result.error().message);
    } else {
      reply(done_packet(serial));
    }
  }

  void give(std::uint32_t serial, const GrantedLease& lease) {
    std::vector<int> descriptors = lease.grant.descriptors;
    if (lease.monitor >= 0) descriptors.push_back(lease.monitor);
    std::vector<LeaseBrick> bricks;
    std::size_t recycled = 0;
    for (const LeasedBrick& brick : lease.grant.bricks) {
      bricks.push_back({brick.length, brick.number, brick.recycled});
      recycled += brick.recycled ? 1 : 0;
    }
    const bool sent =
        socket_.is_open() &&
        send(socket_.native_handle(), lease_packet(serial, lease.grant.id, bricks, lease.monitor >= 0), descriptors);
    close_all(descriptors);
    if (sent) {
      spdlog::info("VM {} has {} bricks more, by process {}, {} of them as they were", lease.grant.id.vm.value(),
                   bricks.size(), peer_.process, recycled);
    } else if (server_->host != nullptr) {
      spdlog::warn("process {} has gone before the memory of VM {} came", peer_.process, lease.grant.id.vm.value());
      server_->host->not_delivered(lease.grant);
    }
  }

  void reply(const Packet& packet) {
    if (!socket_.is_open() || send(socket_.native_handle(), packet, {})) return;
    close();  // it reads nothing, or has gone
  }

  std::shared_ptr<Shared> server_;
  asio::posix::stream_descriptor socket_;
  ProcessId peer_;
  std::optional<std::pair<Refusal, std::string>> unwelcome_;  ///< Why it gets nothing.
  std::size_t pending_ = 0;
  std::set<VmId> waiting_;  ///< For their first memory.
};

VmmServer::VmmServer(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}

VmmServer::~VmmServer() {
  shared_->host = nullptr;
  boost::system::error_code ignored;
  shared_->listener.close(ignored);
  shared_->pause.cancel();
  for (const auto& connection : std::exchange(shared_->connections, {})) connection->close();
}

Result<std::unique_ptr<VmmServer>> VmmServer::listen(const asio::any_io_executor& executor, Host& host,
                                                     const std::string& path, std::vector<uid_t> users,
                                                     std::function<void()> after) {
  const auto listening = listen_at(path, SOCK_SEQPACKET);
  if (!listening) return listening.error();
  auto shared = std::make_shared<Shared>(executor, host);
  shared->listener.assign(*listening);
  shared->users = std::move(users);
  shared->after = std::move(after);
  std::unique_ptr<VmmServer> server(new VmmServer(shared));
  accept(shared);
  return server;
}

void VmmServer::accept(const std::shared_ptr<Shared>& shared) {
  shared->listener.async_wait(asio::posix::stream_descriptor::wait_read, [shared](boost::system::error_code error) {
    if (error || shared->host == nullptr) return;
    const int fd =
        above_standard(::accept4(shared->listener.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (fd >= 0) {
      const auto process = Process::peer_of(fd);
      auto connection = std::make_shared<Connection>(shared, fd, process ? process->id() : ProcessId());
      ucred peer{};
      socklen_t length = sizeof peer;
      const bool known = ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0;
      if (!process) {
        connection->send_away(Refusal::WrongState, process.error().message);
      } else if (!known || std::ranges::find(shared->users, peer.uid) == shared->users.end()) {
        connection->send_away(Refusal::NotPermitted,
                              fmt::format("user {} may not ask for memory: put it into vmm.users", peer.uid));
      } else if (shared->connections.size() >= kMostConnections) {
        connection->send_away(Refusal::Busy, fmt::format("there are {} connections already", kMostConnections));
      }
      if (shared->connections.size() < 2 * kMostConnections) {
        shared->connections.insert(connection);
        connection->wait();
      }
    }
    if (fd >= 0 || errno == EAGAIN || errno == ECONNABORTED || errno == EINTR) {
      accept(shared);
      return;
    }
    // No descriptor is left: the one that waits would be announced again at once, for ever.
    shared->pause.expires_after(std::chrono::milliseconds(100));
    shared->pause.async_wait([shared](boost::system::error_code ended) {
      if (!ended && shared->host != nullptr) accept(shared);
    });
  });
}

}  // namespace sluice::inline daemon
