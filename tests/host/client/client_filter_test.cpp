// SPDX-License-Identifier: Apache-2.0
// A process that has given up the system calls by which pages outlive their mappings, and what it starts. Each test has
// a process of its own for it, since there is no way back.
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <csignal>
#include <functional>
#include <thread>

#include "host/client/scripted_sluiced.hpp"
#include "sluice/vmm/sole_access.hpp"

namespace sluice::test {
namespace {

/// What a process of its own says is wrong; "" if nothing is.
std::string in_a_process(const std::function<std::string()>& act) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) std::abort();
  const pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const std::string said = act();
    static_cast<void>(!::write(ends[1], said.data(), said.size()));
    ::_exit(0);
  }
  ::close(ends[1]);
  std::string said;
  char some[512];
  for (ssize_t got = 0; (got = ::read(ends[0], some, sizeof some)) > 0;)
    said.append(some, static_cast<std::size_t>(got));
  ::close(ends[0]);
  int status = -1;
  ::waitpid(child, &status, 0);
  if (status != 0) said += " status " + std::to_string(status);
  return said;
}

/// The names of the calls that are not refused with EPERM.
std::string calls_that_go_through() {
  static char page[4096];
  iovec data{page, sizeof page};
  int pipe_ends[2];
  int sockets[2];
  if (::pipe(pipe_ends) != 0 || ::socketpair(AF_UNIX, SOCK_DGRAM, 0, sockets) != 0) return "no pipe";
  const int file = make_brick(4096);
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  mmsghdr messages{};
  messages.msg_hdr = message;
  io_uring_params ring{};
  const pid_t self = ::getpid();
  const std::pair<const char*, std::function<long()>> calls[] = {
      {"vmsplice", [&] { return ::vmsplice(pipe_ends[1], &data, 1, 0); }},
      {"splice", [&] { return ::splice(file, nullptr, pipe_ends[1], nullptr, 1, 0); }},
      {"sendfile", [&] { return ::sendfile(pipe_ends[1], file, nullptr, 1); }},
      {"sendto", [&] { return ::send(sockets[0], page, 1, MSG_ZEROCOPY | MSG_DONTWAIT); }},
      {"sendmsg", [&] { return ::sendmsg(sockets[0], &message, MSG_ZEROCOPY | MSG_DONTWAIT); }},
      {"sendmmsg", [&] { return ::sendmmsg(sockets[0], &messages, 1, MSG_ZEROCOPY | MSG_DONTWAIT); }},
      {"AF_XDP", [&] { return ::setsockopt(sockets[0], 283, 4, page, 32); }},
      {"io_uring_setup", [&] { return ::syscall(SYS_io_uring_setup, 1, &ring); }},
      {"io_uring_enter", [&] { return ::syscall(SYS_io_uring_enter, file, 0, 0, 0, nullptr, 0); }},
      {"io_uring_register", [&] { return ::syscall(SYS_io_uring_register, file, 0, &data, 1); }},
      {"process_vm_readv", [&] { return ::process_vm_readv(self, &data, 1, &data, 1, 0); }},
      {"process_vm_writev", [&] { return ::process_vm_writev(self, &data, 1, &data, 1, 0); }},
      {"process_madvise", [&] { return ::syscall(SYS_process_madvise, -1, &data, 1, 0, 0); }},
      {"x32", [&] { return ::syscall(0x40000000L | SYS_getpid); }},
  };
  std::string through;
  for (const auto& [name, call] : calls) {
    errno = 0;
    if (call() != -1 || errno != EPERM) through += std::string(name) + " ";
  }
  // Nobody may attach to a process that is not there: ESRCH where it is not refused before.
  for (const auto attach : {PTRACE_ATTACH, PTRACE_SEIZE}) {
    if (::ptrace(attach, pid_t{0x7FFFFFFF}, nullptr, nullptr) != -1 || errno != EPERM) through += "ptrace ";
  }
  return through;
}

std::string ordinary_calls_that_fail() {
  std::string failed;
  const auto need = [&failed](bool works, const char* name) {
    if (!works) failed += std::string(name) + " ";
  };
  int sockets[2];
  need(::socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0, "socketpair");
  const int one = 1;
  need(::setsockopt(sockets[0], SOL_SOCKET, SO_PASSCRED, &one, sizeof one) == 0, "setsockopt");
  char text[] = "text";
  iovec data{text, sizeof text};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  need(::sendmsg(sockets[0], &message, MSG_NOSIGNAL) == sizeof text, "sendmsg");
  need(::send(sockets[0], text, sizeof text, MSG_NOSIGNAL) == sizeof text, "send");
  const int file = make_brick(1 << 20);
  void* const map = ::mmap(nullptr, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  need(map != MAP_FAILED && ::madvise(map, 1 << 20, MADV_DONTNEED) == 0, "mmap");
  need(::writev(file, &data, 1) == sizeof text, "writev");
  bool ran = false;
  std::thread([&ran] { ran = true; }).join();
  need(ran, "thread");
  need(in_a_process([] { return ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) == 0 ? "" : "no"; }).empty(), "ptrace");
  return failed;
}

/// Sets the filter through a client of its own; "" if that works.
std::string set_filter() {
  sluice_client* const client = sluice_client_adopt(-1);
  if (sluice_client_filter(client) != 0) return sluice_client_error(client);
  if (sluice_client_filter(client) != 0) return "a second time: " + std::string(sluice_client_error(client));
  sluice_client_close(client);
  return "";
}

std::function<std::string()> with_filter(const std::function<std::string()>& act) {
  return [act] {
    const std::string failed = set_filter();
    return failed + act();
  };
}

TEST(ClientFilter, RefusesWhatKeepsPagesAndNothingElse) {
  EXPECT_EQ(in_a_process(with_filter(calls_that_go_through)), "");
  EXPECT_EQ(in_a_process(with_filter(ordinary_calls_that_fail)), "");
  EXPECT_THAT(in_a_process(calls_that_go_through), ::testing::HasSubstr("vmsplice splice sendfile")) << "without it";
}

/// Why: whoever has the pipe reads what the next owner of the memory writes there.
TEST(ClientFilter, RefusesWhatNobodyFindsWhoAsksForHolders) {
  const int made = make_brick(4096);
  const int brick = *open_again(made);
  ::close(made);
  for (const bool by_splice : {true, false}) {
    SCOPED_TRACE(by_splice);
    const int vmm = *open_again(brick);
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    ASSERT_EQ(::pwrite(vmm, "old", 4, 0), 4);
    off64_t offset = 0;
    ASSERT_EQ(by_splice ? ::splice(vmm, &offset, ends[1], nullptr, 4, 0) : ::sendfile(ends[1], vmm, &offset, 4), 4);
    ::close(vmm);
    EXPECT_TRUE(take_sole_access(brick)) << "nobody has it";
    ASSERT_EQ(::pwrite(brick, "new", 4, 0), 4);
    char read[4] = {};
    EXPECT_EQ(::read(ends[0], read, 4), 4);
    EXPECT_STREQ(read, "new");
    for (const int end : ends) ::close(end);
  }
  ::close(brick);
}

TEST(ClientFilter, HoldsForThreadsThatRunAlready) {
  EXPECT_EQ(in_a_process([] {
              std::atomic<bool> set = false;
              std::string through;
              std::thread other([&] {
                while (!set) std::this_thread::yield();
                through = calls_that_go_through();
              });
              const std::string failed = set_filter();
              set = true;
              other.join();
              return failed + through;
            }),
            "");
}

std::string run_probe() {
  const pid_t child = ::fork();
  if (child == 0) {
    ::setenv("ASAN_OPTIONS", "detect_leaks=0", 1);  // LeakSanitizer attaches by ptrace
    ::execl(SLUICE_FILTER_PROBE, "filter_probe", nullptr);
    ::_exit(127);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? std::to_string(WEXITSTATUS(status)) : "a signal";
}

TEST(ClientFilter, HoldsForProgramsThatAreStarted) {
  EXPECT_EQ(in_a_process(with_filter(run_probe)), "0");
  EXPECT_EQ(run_probe(), "1") << "without it";
}

/// By the door of 32-bit programs, where there is one.
TEST(ClientFilter, HoldsForCallsByAnotherArchitecture) {
  EXPECT_EQ(in_a_process([] {
              std::string said = set_filter();
              const pid_t child = ::fork();
              if (child == 0) {
                long result = 20;  // getpid, which always works there
                asm volatile("int $0x80" : "+a"(result) : : "memory", "cc");
                ::_exit(result == -EPERM ? 0 : 1);
              }
              int status = -1;
              ::waitpid(child, &status, 0);
              const bool no_door = WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
              if (status != 0 && !no_door) said += "went through";
              return said;
            }),
            "");
}

TEST_F(ClientTest, AcquireTellsOfAFilterThatThisClientHasSet) {
  peer_->send(refused_packet(1, Refusal::NoMemory, ""));
  peer_->send(refused_packet(2, Refusal::NoMemory, ""));
  EXPECT_EQ(in_a_process([this] {
              client_->process = ::getpid();
              if (acquire() != -1 || sluice_client_reason(client_) != SLUICE_REFUSED_NO_MEMORY) return error();
              if (sluice_client_filter(client_) != 0 || !error().empty()) return "filter: " + error();
              if (acquire() != -1 || sluice_client_reason(client_) != SLUICE_REFUSED_NO_MEMORY) return error();
              return std::string();
            }),
            "");
  EXPECT_FALSE(peer_->take<AcquireRequest>().filtered);
  EXPECT_TRUE(peer_->take<AcquireRequest>().filtered);
}

TEST(ClientFilter, IsRefusedWhereAThreadHasOneOfItsOwn) {
  EXPECT_EQ(in_a_process([] {
              std::atomic<int> step = 0;
              std::thread other([&] {
                ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
                sock_filter allow[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
                const sock_fprog program{1, allow};
                if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) std::abort();
                step = 1;
                while (step != 2) std::this_thread::yield();
              });
              while (step != 1) std::this_thread::yield();
              const std::string failed = set_filter();
              step = 2;
              other.join();
              return failed.find("has a seccomp filter of its own") != std::string::npos ? "" : "taken: " + failed;
            }),
            "");
}

}  // namespace
}  // namespace sluice::test
