// SPDX-License-Identifier: Apache-2.0
#include "support/qemu.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstring>
#include <fstream>
#include <iterator>

namespace sluice::test {
namespace {

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) std::abort();
  path.copy(address.sun_path, path.size());
  return address;
}

int unix_socket() { return ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0); }

int listen_at(const std::string& path) {
  const int fd = unix_socket();
  const sockaddr_un address = address_of(path);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || ::listen(fd, 4) != 0)
    std::abort();
  return fd;
}

void close_it(int& fd) {
  if (fd >= 0) ::close(fd);
  fd = -1;
}

std::vector<char*> pointers_to(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return pointers;
}

/// All of it, with the descriptor beside the first byte.
void send_all(int fd, const QmpOutput& output) {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  iovec bytes{const_cast<char*>(output.bytes.data()), output.bytes.size()};
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  if (output.descriptor >= 0) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &output.descriptor, sizeof(int));
  }
  const ssize_t sent = ::sendmsg(fd, &message, MSG_NOSIGNAL);
  EXPECT_EQ(sent, static_cast<ssize_t>(output.bytes.size())) << "a monitor takes a command as a whole";
}

}  // namespace

Qemu::Qemu() : program_(SLUICE_QEMU) {
  serial_listener_ = listen_at(folder_ / "serial");
  monitor_ = listen_at(folder_ / "monitor");
}

Qemu::~Qemu() {
  kill();
  for (int* const fd : {&serial_listener_, &serial_, &monitor_, &connection_}) close_it(*fd);
}

std::vector<std::string> Qemu::command_line(const std::vector<std::string>& arguments) const {
  const std::string serial = folder_ / "serial";
  std::vector<std::string> words = {
      program_,  "-nodefaults",  "-display", "none",    "-accel",   accelerator_ == Accelerator::Tcg ? "tcg" : "kvm",
      "-bios",   SLUICE_GUEST,   "-device",  "pvpanic", "-chardev", "socket,id=guest,path=" + serial,
      "-serial", "chardev:guest"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  return words;
}

void Qemu::start(const std::vector<std::string>& arguments, const std::vector<int>& inherited) {
  std::vector<std::string> words = command_line(arguments);
  for (char** variable = environ; *variable != nullptr; ++variable) environment_.emplace_back(*variable);
  const std::vector<char*> argv = pointers_to(words), envp = pointers_to(environment_);
  const int errors = ::open((folder_ / "stderr").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  process_ = ::fork();
  if (process_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::dup2(errors, STDERR_FILENO);
    for (const int fd : inherited) ::fcntl(fd, F_SETFD, 0);
    ::fcntl(monitor_, F_SETFD, 0);
    ::execve(argv[0], argv.data(), envp.data());
    ::_exit(127);
  }
  ::close(errors);
  connect();
  close_it(monitor_);
}

void Qemu::connect() {
  close_it(connection_);
  qmp_ = Qmp();
  events_.clear();
  connection_ = unix_socket();
  const sockaddr_un address = address_of(folder_ / "monitor");
  EXPECT_EQ(::connect(connection_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
}

void Qemu::exchange() {
  constexpr int kMoment = 20;  // milliseconds
  send_to_monitor();
  std::array<pollfd, 2> wanted = {{{serial_ >= 0 ? serial_ : serial_listener_, POLLIN, 0}, {connection_, POLLIN, 0}}};
  if (::poll(wanted.data(), wanted.size(), kMoment) <= 0) return;
  if (wanted[0].revents != 0) read_serial();
  if (wanted[1].revents != 0) read_monitor();
}

void Qemu::read_serial() {
  if (serial_ < 0) {
    serial_ = ::accept4(serial_listener_, nullptr, nullptr, SOCK_CLOEXEC);
    close_it(serial_listener_);
    return;
  }
  std::array<char, 4096> buffer;
  const ssize_t got = ::recv(serial_, buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (got > 0) {
    serial_input_.append(buffer.data(), static_cast<std::size_t>(got));
  } else if (got == 0 || errno != EAGAIN) {
    close_it(serial_);
  }
}

void Qemu::read_monitor() {
  std::array<char, 4096> buffer;
  const ssize_t got = ::recv(connection_, buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) return close_it(connection_);
  const auto received = qmp_.receive({buffer.data(), static_cast<std::size_t>(got)});
  EXPECT_TRUE(received) << received.error().message;
  for (QmpEvent& event : qmp_.take_events()) events_.push_back(std::move(event));
}

void Qemu::send_to_monitor() {
  while (connection_ >= 0) {
    const auto output = qmp_.take_output();
    if (!output) return;
    send_all(connection_, *output);
  }
}

std::string Qemu::line(std::chrono::seconds limit) {
  const bool there = happens([this] { return serial_input_.find('\n') != std::string::npos || has_ended(); }, limit);
  const std::size_t end = serial_input_.find('\n');
  if (!there || end == std::string::npos) return {};
  std::string line = serial_input_.substr(0, end);
  serial_input_.erase(0, end + 1);
  return line;
}

void Qemu::tell(const std::string& command) {
  if (!happens([this] { return serial_ >= 0 || has_ended(); }) || serial_ < 0) {
    ADD_FAILURE() << "the guest has no serial port: " << printed();
    return;
  }
  const std::string text = command + "\n";
  EXPECT_EQ(::send(serial_, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
}

qmp::Reply Qemu::reply_to(const Result<QmpId>& command) {
  if (!command) {
    ADD_FAILURE() << command.error().message;
    return {};
  }
  qmp::Reply found;
  const bool there = happens([&] {
    for (const QmpEvent& event : events_) {
      const auto* const reply = std::get_if<qmp::Reply>(&event);
      if (reply == nullptr || reply->id != *command) continue;
      found = *reply;
      return true;
    }
    return false;
  });
  EXPECT_TRUE(there) << "no reply to command " << *command;
  return found;
}

void Qemu::send_signal(int signal) const {
  if (process_ > 0 && !reaped_) ::kill(process_, signal);
}

bool Qemu::has_ended() {
  if (process_ > 0 && !reaped_) reaped_ = ::waitpid(process_, nullptr, WNOHANG) == process_;
  return reaped_;
}

bool Qemu::ends() {
  return happens([this] { return has_ended() && connection_ < 0; });
}

void Qemu::kill() {
  if (process_ <= 0 || reaped_) return;
  ::kill(process_, SIGKILL);
  ::waitpid(process_, nullptr, 0);
  reaped_ = true;
}

std::string Qemu::printed() const {
  std::ifstream in(folder_ / "stderr");
  return {std::istreambuf_iterator<char>(in), {}};
}

bool Qemu::has_kvm() {
  static const bool has = [] {
    constexpr std::chrono::seconds kLimit{5};
    Qemu qemu;
    qemu.set_accelerator(Accelerator::Kvm);
    qemu.start({"-m", "32"}, {});
    return qemu.line(kLimit) == "boots 1";
  }();
  return has;
}

}  // namespace sluice::test
