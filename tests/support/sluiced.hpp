// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sluice/sluice_client.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "support/patience.hpp"
#include "support/temporary_folder.hpp"

namespace sluice::test {

/// A sluiced in folders of its own on tmpfs, which ends with this object.
class Sluiced {
 public:
  /// `user`: who may ask for memory.
  /// `api`: more lines for the web service.
  explicit Sluiced(std::string bricks = R"([{ size = "1MiB", count = 4 }])", uid_t user = ::geteuid(),
                   std::string api = "", std::string engines = R"(["cpu"])")
      : bricks_(std::move(bricks)), user_(user), api_(std::move(api)), engines_(std::move(engines)) {
    start();
  }
  Sluiced(const Sluiced&) = delete;
  Sluiced& operator=(const Sluiced&) = delete;
  ~Sluiced() { end(SIGKILL); }

  /// From the next start on.
  void use_engines(std::string engines) { engines_ = std::move(engines); }
  void start() {
    std::ofstream(folder_ / "sluiced.toml") << fmt::format(
        "[memory]\nfolder = \"{0}/memory\"\nbricks = {1}\n[folders]\nrun = \"{0}/run\"\nstate = \"{0}/state\"\n"
        "[scrub]\nengines = {5}\n[vmm]\nsocket = \"{2}\"\nusers = [{3}]\n"
        "[api]\nsocket = \"{0}/run/api.sock\"\n{4}\n[log]\nlevel = \"debug\"\n",
        folder_.path().string(), bricks_, socket(), user_, api_, engines_);
    std::filesystem::remove(socket());
    process_ = ::fork();
    if (process_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      const int log = ::open(log_path().c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
      ::dup2(log, STDERR_FILENO);
      ::execl(SLUICED_PROGRAM, "sluiced", "--config", (folder_ / "sluiced.toml").c_str(), nullptr);
      ::_exit(127);
    }
    EXPECT_TRUE(comes_true([this] { return std::filesystem::exists(socket()) || has_ended(); })) << log();
  }
  /// Returns its exit code; -1: a signal ended it.
  int end(int signal) {
    if (process_ == 0) return -1;
    ::kill(process_, signal);
    int status = 0;
    ::waitpid(process_, &status, 0);
    process_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  [[nodiscard]] bool has_ended() {
    int status = 0;
    if (process_ == 0 || ::waitpid(process_, &status, WNOHANG) != process_) return process_ == 0;
    process_ = 0;
    return true;
  }
  [[nodiscard]] pid_t process() const { return process_; }
  [[nodiscard]] std::string socket() const { return folder_ / "run/sluiced.sock"; }
  [[nodiscard]] std::string api_socket() const { return folder_ / "run/api.sock"; }
  [[nodiscard]] const TemporaryFolder& folder() const { return folder_; }
  [[nodiscard]] std::string log() const {
    std::ostringstream text;
    text << std::ifstream(log_path()).rdbuf();
    return text.str();
  }
  [[nodiscard]] std::size_t open_descriptors() const {
    const std::filesystem::path folder = fmt::format("/proc/{}/fd", process_);
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder), {}));
  }

 private:
  [[nodiscard]] std::string log_path() const { return folder_ / "log"; }

  TemporaryFolder folder_{"/dev/shm"};
  std::string bricks_;
  uid_t user_;
  std::string api_;
  std::string engines_;
  pid_t process_ = 0;
};

/// Who speaks to a sluiced.
class Client {
 public:
  explicit Client(const std::string& socket) : client_(sluice_client_connect(socket.c_str()), &sluice_client_close) {}
  [[nodiscard]] sluice_client* get() const { return client_.get(); }
  [[nodiscard]] std::string error() const { return sluice_client_error(client_.get()); }
  [[nodiscard]] sluice_state status(std::uint8_t vm) const {
    sluice_state state{};
    const auto uuid = uuid_of(vm);
    if (sluice_client_status(client_.get(), uuid.data(), &state) != 0) ADD_FAILURE() << error();
    return state;
  }
  [[nodiscard]] bool comes_to(std::uint8_t vm, std::uint32_t state) const {
    return comes_true([&] { return status(vm).state == state; });
  }
  static std::array<std::uint8_t, 16> uuid_of(std::uint8_t vm) {
    std::array<std::uint8_t, 16> uuid{};
    uuid.fill(vm);
    return uuid;
  }
  /// 0, or SLUICE_REFUSED_*.
  int acquire(std::uint8_t vm, std::uint64_t size, sluice_lease& lease) const {
    sluice_request request{};
    const auto uuid = uuid_of(vm);
    std::memcpy(request.vm, uuid.data(), uuid.size());
    request.name = "test";
    request.size = size;
    request.node = -1;
    if (sluice_client_acquire(client_.get(), &request, &lease) == 0) return 0;
    return std::max(1, sluice_client_reason(client_.get()));
  }

 private:
  std::unique_ptr<sluice_client, void (*)(sluice_client*)> client_;
};

/// A process that is a VMM: it does what it is told by the test, in a child that ends with this object.
class Vmm {
 public:
  using Act = std::function<int()>;

  explicit Vmm(const Sluiced& sluiced) {
    if (::pipe2(to_, O_CLOEXEC) != 0 || ::pipe2(from_, O_CLOEXEC) != 0) std::abort();
    process_ = ::fork();
    if (process_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::prctl(PR_SET_NAME, "test-vmm");
      ::close(to_[1]);
      ::close(from_[0]);
      serve(sluiced.socket());
    }
    ::close(to_[0]);
    ::close(from_[1]);
  }
  Vmm(const Vmm&) = delete;
  Vmm& operator=(const Vmm&) = delete;
  ~Vmm() {
    end();
    ::close(to_[1]);
    ::close(from_[0]);
  }

  struct Given {
    int refused = 0;  ///< SLUICE_REFUSED_*; 0: it has the memory.
    unsigned bricks = 0;
    unsigned recycled = 0;
    unsigned found = 0;  ///< The byte that was in all of the memory; 256: various.
    std::uint64_t epoch = 0;
  };
  Given acquire(std::uint8_t vm, std::uint64_t size) { return ask<Given>({'A', vm, size}); }
  void filter() { EXPECT_EQ(ask<int>({'F', 0, 0}), 0); }
  /// Fills all memory that it has, and returns what was in it: the byte, 256: various.
  unsigned fill(std::uint8_t byte) { return ask<unsigned>({'W', byte, 0}); }
  unsigned look() { return ask<unsigned>({'L', 0, 0}); }
  void notify(std::uint32_t event) { EXPECT_EQ(ask<int>({'N', 0, event}), 0); }
  int grow(std::uint64_t size) { return ask<int>({'G', 0, size}); }
  /// Gives back its last brick; `lets_go`: having unmapped and closed it.
  int shrink(bool lets_go) { return ask<int>({'S', lets_go ? std::uint8_t{1} : std::uint8_t{0}, 0}); }
  int release() { return ask<int>({'R', 0, 0}); }
  /// Starts a process that has all of its memory mapped, and no descriptor; returns its id.
  pid_t leave_straggler() { return ask<pid_t>({'Z', 0, 0}); }
  /// A page of its memory in a pipe that belongs to the test: the read end.
  int pin(int pipe_write_end) { return ask<int>({'P', 0, static_cast<std::uint64_t>(pipe_write_end)}); }

  void end(int signal = SIGKILL) {
    if (process_ == 0) return;
    ::kill(process_, signal);
    ::waitpid(process_, nullptr, 0);
    process_ = 0;
  }
  [[nodiscard]] pid_t process() const { return process_; }

 private:
  struct Order {
    char what;
    std::uint8_t byte;
    std::uint64_t number;
  };
  template <class Answer>
  Answer ask(const Order& order) {
    Answer answer{};
    EXPECT_EQ(::write(to_[1], &order, sizeof order), static_cast<ssize_t>(sizeof order));
    EXPECT_EQ(::read(from_[0], &answer, sizeof answer), static_cast<ssize_t>(sizeof answer)) << "the VMM has ended";
    return answer;
  }
  template <class Answer>
  void answer(const Answer& value) const {
    if (::write(from_[1], &value, sizeof value) != sizeof value) ::_exit(1);
  }
  [[nodiscard]] unsigned look_through() const {
    unsigned found = 256;
    bool first = true;
    for (const auto& [base, length] : mapped_) {
      for (std::size_t at = 0; at < length; at += 64) {
        const unsigned byte = base[at];
        if (!first && byte != found) return 256;
        found = byte;
        first = false;
      }
    }
    return found;
  }
  void map(const sluice_lease& lease) {
    for (unsigned at = 0; at < lease.brick_count; ++at) {
      const sluice_brick& brick = lease.bricks[at];
      void* const base = ::mmap(nullptr, brick.length, PROT_READ | PROT_WRITE, MAP_SHARED, brick.fd, 0);
      if (base == MAP_FAILED) ::_exit(2);
      mapped_.emplace_back(static_cast<unsigned char*>(base), brick.length);
      numbers_.push_back(brick.number);
      descriptors_.push_back(brick.fd);
    }
  }
  [[noreturn]] void serve(const std::string& socket) {
    const Client client(socket);
    sluice_lease_id id{};
    for (Order order{}; ::read(to_[0], &order, sizeof order) == sizeof order;) {
      switch (order.what) {
        case 'A': {
          auto lease = std::make_unique<sluice_lease>();
          Given given;
          given.refused = client.acquire(order.byte, order.number, *lease);
          if (given.refused == 0) {
            map(*lease);
            id = lease->id;
            given.bricks = lease->brick_count;
            given.epoch = id.epoch;
            for (unsigned at = 0; at < lease->brick_count; ++at) given.recycled += lease->bricks[at].recycled;
            given.found = look_through();
          }
          answer(given);
          break;
        }
        case 'F':
          answer(sluice_client_filter(client.get()));
          break;
        case 'W': {
          const unsigned found = look_through();
          for (const auto& [base, length] : mapped_) std::memset(base, order.byte, length);
          answer(found);
          break;
        }
        case 'L':
          answer(look_through());
          break;
        case 'N':
          answer(sluice_client_notify(client.get(), id, static_cast<std::uint32_t>(order.number)));
          break;
        case 'G': {
          auto lease = std::make_unique<sluice_lease>();
          const int grown = sluice_client_grow(client.get(), id, &order.number, 1, lease.get());
          if (grown == 0) map(*lease);
          answer(grown == 0 ? 0 : sluice_client_reason(client.get()));
          break;
        }
        case 'S': {
          if (order.byte != 0) {
            ::munmap(mapped_.back().first, mapped_.back().second);
            ::close(descriptors_.back());
          }
          const int shrunk = sluice_client_shrink(client.get(), id, &numbers_.back(), 1);
          if (shrunk == 0) {
            mapped_.pop_back();
            numbers_.pop_back();
            descriptors_.pop_back();
          }
          answer(shrunk == 0 ? 0 : sluice_client_reason(client.get()));
          break;
        }
        case 'R': {
          for (const auto& [base, length] : mapped_) ::munmap(base, length);
          for (const int fd : descriptors_) ::close(fd);
          mapped_.clear();
          answer(sluice_client_release(client.get(), id));
          break;
        }
        case 'Z': {
          const pid_t straggler = ::fork();
          if (straggler == 0) {
            ::prctl(PR_SET_NAME, "straggler");
            for (const int fd : descriptors_) ::close(fd);
            for (;;) ::pause();
          }
          answer(straggler);
          break;
        }
        case 'P': {
          const iovec page{mapped_.front().first, 4096};
          answer(static_cast<int>(::vmsplice(static_cast<int>(order.number), &page, 1, 0)));
          break;
        }
        default:
          ::_exit(3);
      }
    }
    ::_exit(0);
  }

  int to_[2];
  int from_[2];
  pid_t process_ = 0;
  std::vector<std::pair<unsigned char*, std::size_t>> mapped_;  // in the child
  std::vector<std::uint32_t> numbers_;
  std::vector<int> descriptors_;
};

}  // namespace sluice::test
