// SPDX-License-Identifier: Apache-2.0
#include "sluice/xrt/xrt_emulation.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <sstream>
#include <string_view>
#include <thread>

#include "sluice/base/descriptor.hpp"

namespace sluice::inline xrt {
namespace {

namespace fs = std::filesystem;

constexpr auto kPatience = std::chrono::seconds(5);
constexpr auto kPause = std::chrono::milliseconds(2);

struct Pipe {
  std::array<int, 2> ends{-1, -1};  // read, write
  Pipe() {
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) ends = {-1, -1};
    for (int& end : ends) end = above_standard(end);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  ~Pipe() {
    for (const int end : ends) {
      if (end >= 0) ::close(end);
    }
  }
  int take(std::size_t end) { return std::exchange(ends[end], -1); }
};

/// 0: it runs.
int spawn(pid_t& process, const std::vector<std::string>& words, int input, int output) {
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t files;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_adddup2(&files, input, STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO);
  const int error = ::posix_spawnp(&process, arguments[0], &files, nullptr, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&files);
  return error;
}

Error cannot_start(const std::string& program, const std::string& why) {
  return {DriverErrc::DeviceMissing,
          fmt::format("{} did not start: {}; build it (it needs libxrt-dev), or name it with program=", program, why)};
}

std::string local_name(int fd) {
  sockaddr_un address{};
  socklen_t length = sizeof address;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0 || address.sun_family != AF_UNIX)
    return {};
  return {address.sun_path, ::strnlen(address.sun_path, sizeof address.sun_path)};
}

// XRT's frames: sim/xrt/emulation_socket.cpp.
constexpr char kCloseHeader[14] = {0x09, 0, 0, 0, 0, 0, 0, 0, 0, 0x15, 1, 0, 0, 0};  // no body, call 1
constexpr char kYes[11] = {0x09, 2, 0, 0, 0, 0, 0, 0, 0, 0x08, 1};  // a body of two bytes: field 1 is true

void say_yes(int fd) {
  std::array<char, sizeof kCloseHeader> header{};
  while (::recv(fd, header.data(), header.size(), MSG_WAITALL) == static_cast<ssize_t>(header.size())) {
    std::uint64_t size = 0;
    std::memcpy(&size, header.data() + 1, sizeof size);
    std::array<char, 4096> body{};
    while (size > 0) {
      const ssize_t got = ::recv(fd, body.data(), std::min<std::uint64_t>(size, body.size()), 0);
      if (got <= 0) return;
      size -= static_cast<std::uint64_t>(got);
    }
    if (::send(fd, kYes, sizeof kYes, MSG_NOSIGNAL) < 0) return;
  }
}

/// What the process writes until it ends its output, or a line, or has no more time. nullopt: it had no more time.
std::optional<std::string> hear(int fd, bool one_line) {
  constexpr std::size_t kLongest = 64 << 10;
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  std::string text;
  while (text.size() < kLongest) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd waiting{fd, POLLIN, 0};
    const int ready = left.count() > 0 ? ::poll(&waiting, 1, static_cast<int>(left.count())) : 0;
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return std::nullopt;
    std::array<char, 512> some{};
    const ssize_t got = ::read(fd, some.data(), one_line ? 1 : some.size());
    if (got <= 0) return text;
    text.append(some.data(), static_cast<std::size_t>(got));
    if (one_line && text.back() == '\n') return text;
  }
  return std::nullopt;
}

/// Runs `program prepare folder`, and sets the environment that it prints.
Result<void> prepare(const std::string& program, const fs::path& folder) {
  Pipe nothing;
  Pipe output;
  pid_t process = -1;
  if (const int error = spawn(process, {program, "prepare", folder}, nothing.ends[0], output.ends[1]); error != 0) {
    return cannot_start(program, std::strerror(error));
  }
  ::close(output.take(1));
  const auto text = hear(output.ends[0], false);
  if (!text) ::kill(process, SIGKILL);
  int status = 0;
  ::waitpid(process, &status, 0);
  if (!text) return cannot_start(program, "its command prepare did not end");
  if (status != 0) return cannot_start(program, fmt::format("its command prepare ended with status {}", status));
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t equals = line.find('=');
    if (equals != std::string::npos) ::setenv(line.substr(0, equals).c_str(), line.c_str() + equals + 1, 1);
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<XrtEmulation>> XrtEmulation::start(const XrtEmulationOptions& options) {
  std::unique_ptr<XrtEmulation> emulation(new XrtEmulation);
  std::string pattern = fs::temp_directory_path() / "sluice-xrt-XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr) {
    return Error{DriverErrc::NoResources,
                 fmt::format("no folder {} can be made: {}; set TMPDIR", pattern, std::strerror(errno))};
  }
  emulation->folder_ = pattern;
  if (auto prepared = prepare(options.program, emulation->folder_); !prepared) return prepared.error();
  std::signal(SIGPIPE, SIG_IGN);  // XRT writes to a device process that has died, at the latest when this process ends
  // XRT's sockets: /tmp/$USER/$EMULATION_SOCKETID
  constexpr std::size_t kLongestUser = 32;  // the sockets' names have 107 bytes
  const char* const user = std::getenv("USER");
  const std::string_view name = user == nullptr ? "" : user;
  if (name.empty() || name.size() > kLongestUser || name.find('/') != std::string_view::npos) {
    ::setenv("USER", "sluice", 1);
  }
  ::setenv("EMULATION_SOCKETID", emulation->folder_.filename().c_str(), 1);
  Pipe commands;
  Pipe answers;
  std::vector<std::string> words = {options.program, "serve", "--control"};
  words.insert(words.end(), options.device_options.begin(), options.device_options.end());
  if (const int error = spawn(emulation->process_, words, commands.ends[0], answers.ends[1]); error != 0) {
    return cannot_start(options.program, std::strerror(error));
  }
  emulation->commands_ = commands.take(1);
  emulation->answers_ = answers.take(0);
  ::close(answers.take(1));  // so that its death shows
  // XRT would wait for minutes for a process that never comes.
  const auto said = hear(emulation->answers_, true);
  if (said == "ready\n") return emulation;
  return cannot_start(options.program, said ? "its command serve ended; its last words are above"
                                            : "its command serve was not ready in time");
}

XrtEmulation::~XrtEmulation() {
  if (process_ > 0) {
    ::close(commands_);  // the process ends at the end of its input
    ::close(answers_);
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (::waitpid(process_, nullptr, WNOHANG) == 0) {
      if (std::chrono::steady_clock::now() > deadline) ::kill(process_, SIGKILL);  // also one that is stopped
      std::this_thread::sleep_for(kPause);
    }
  }
  std::error_code error;
  if (const char* const user = std::getenv("USER"); user != nullptr) {  // XRT leaves one of its sockets
    fs::remove(fmt::format("/tmp/{}/D2X_unix_sock_{}", user, folder_.filename().string()), error);
  }
  fs::remove_all(folder_, error);
}

bool XrtEmulation::alive() {
  siginfo_t ended{};
  const int asked = ::waitid(P_PID, static_cast<id_t>(process_), &ended, WEXITED | WSTOPPED | WNOHANG | WNOWAIT);
  if (asked == 0 && ended.si_pid == 0) return true;
  if (asked == 0 && ended.si_code == CLD_STOPPED) ::kill(process_, SIGKILL);  // XRT would wait for its answer for ever
  if (!buried_) bury();
  buried_ = true;
  return false;
}

/// Puts a thread at the other end of XRT's sockets that says yes to everything.
void XrtEmulation::bury() {
  const std::string id = folder_.filename();
  std::vector<int> sockets;
  for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
    const int fd = std::stoi(entry.path().filename());
    if (local_name(fd).ends_with(id)) sockets.push_back(fd);
  }
  for (const int fd : sockets) {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) continue;
    const bool to_device = local_name(fd).find("D2X_") == std::string::npos;
    ::dup2(ends[0], fd);
    ::close(ends[0]);
    if (to_device) {
      std::thread(say_yes, ends[1]).detach();
    } else {  // XRT's thread for host memory ends when it is notified that the device closes; else it turns for ever
      if (::write(ends[1], kCloseHeader, sizeof kCloseHeader) < 0) ::close(ends[1]);
    }
  }
}

void XrtEmulation::command(const std::string& line) {
  const std::string whole = line + "\n";
  if (::write(commands_, whole.data(), whole.size()) < 0) return;  // it has died
  static_cast<void>(hear(answers_, true));
}

}  // namespace sluice::inline xrt
