// SPDX-License-Identifier: Apache-2.0
#include "vm_rig.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <boost/json.hpp>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <string_view>
#include <thread>

#include "sluice/base/embedded_file.hpp"
#include "sluice/base/input.hpp"

// The guest as the build has made it from sim/guest.
SLUICE_EMBEDDED_FILE(sluice_bench_guest, SLUICE_GUEST);

namespace sluice::bench {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using namespace std::chrono_literals;

constexpr auto kPatience = 60s;
constexpr auto kMoment = 1ms;

void write_guest(const std::string& path) {
  std::ofstream(path, std::ios::binary)
      .write(sluice_bench_guest, static_cast<std::streamsize>(sluice_bench_guest_end - sluice_bench_guest));
}

std::vector<std::string> qemu_words(const std::string& program, const std::string& accelerator,
                                    const std::string& guest) {
  return {program,     "-nodefaults",  "-display", "none",     "-accel",
          accelerator, "-bios",        guest,      "-chardev", "stdio,id=guest,signal=off",
          "-serial",   "chardev:guest"};
}

/// Beside this program; empty: it is not there.
std::string beside(const std::string& name) {
  std::error_code error;
  const fs::path path = fs::read_symlink("/proc/self/exe", error).parent_path() / name;
  return ::access(path.c_str(), X_OK) == 0 ? path.string() : std::string();
}

std::string on_path(const std::string& name) {
  const char* const path = std::getenv("PATH");
  std::string_view rest = path == nullptr ? "/usr/bin:/bin" : path;
  while (!rest.empty()) {
    const std::string_view folder = rest.substr(0, rest.find(':'));
    const std::string file = fmt::format("{}/{}", folder, name);
    if (::access(file.c_str(), X_OK) == 0) return file;
    rest.remove_prefix(std::min(rest.size(), folder.size() + 1));
  }
  return {};
}

bool starts_under(const VmTools& tools, const std::string& accelerator) {
  const VmFolder folder;
  write_guest(folder / "guest.bin");
  std::vector<std::string> words = qemu_words(tools.qemu, accelerator, folder / "guest.bin");
  words.insert(words.end(), {"-m", "32"});
  try {
    VmProcess guest(words, {}, folder / "errors");
    return guest.line().starts_with("boots");
  } catch (const std::runtime_error&) {
    return false;
  }
}

std::string uuid_of(unsigned number) { return fmt::format("5b1c0e00-0000-4000-8000-{:012x}", number); }

}  // namespace

Result<VmTools> VmTools::find() {
  VmTools tools;
  for (const auto& [program, name] : {std::pair{&tools.wrapper, "sluice-qemu"}, std::pair{&tools.daemon, "sluiced"},
                                      std::pair{&tools.control, "sluicectl"}}) {
    *program = beside(name);
    if (program->empty()) {
      return Error{HostErrc::NoResources, fmt::format("there is no {} beside this program: build or install it", name)};
    }
  }
  tools.qemu = on_path("qemu-system-x86_64");
  if (tools.qemu.empty()) {
    return Error{HostErrc::NoResources, "there is no qemu-system-x86_64: install the package qemu-system-x86"};
  }
  for (const std::string accelerator : {"kvm", "tcg"}) {
    if (accelerator == "kvm" && ::access("/dev/kvm", R_OK | W_OK) != 0) continue;
    tools.accelerator = accelerator;
    if (starts_under(tools, accelerator)) return tools;
  }
  return Error{HostErrc::NoResources, fmt::format("the guest does not start under {}", tools.qemu)};
}

VmFolder::VmFolder() {
  std::string name = "/dev/shm/sluice-bench-XXXXXX";
  if (::mkdtemp(name.data()) == nullptr) {
    throw std::runtime_error(fmt::format("no folder can be made in /dev/shm: {}", std::strerror(errno)));
  }
  path_ = name;
}

VmFolder::~VmFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

VmProcess::VmProcess(const std::vector<std::string>& words, const std::vector<std::string>& environment,
                     const std::string& error_file)
    : name_(fs::path(words.front()).filename()), error_file_(error_file) {
  std::vector<std::string> all = environment;
  for (char** variable = environ; *variable != nullptr; ++variable) all.emplace_back(*variable);
  std::vector<char*> argv, envp;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  for (const std::string& variable : all) envp.push_back(const_cast<char*>(variable.c_str()));
  argv.push_back(nullptr);
  envp.push_back(nullptr);
  std::array<int, 2> in{}, out{};
  if (::pipe2(in.data(), O_CLOEXEC) != 0 || ::pipe2(out.data(), O_CLOEXEC) != 0) {
    throw std::runtime_error(fmt::format("no pipe for {}: {}", name_, std::strerror(errno)));
  }
  const int errors = ::open(error_file_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  started_ = Clock::now();
  process_ = ::fork();
  if (process_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::dup2(in[0], STDIN_FILENO);
    ::dup2(out[1], STDOUT_FILENO);
    ::dup2(errors, STDERR_FILENO);
    ::execve(argv[0], argv.data(), envp.data());
    ::_exit(127);
  }
  for (const int fd : {in[0], out[1], errors}) ::close(fd);
  input_ = in[1];
  output_ = out[0];
  if (process_ < 0) fail(std::strerror(errno));
}

void VmProcess::fail(const std::string& why) const {
  const auto said = read_whole_file(error_file_, kMiB);
  throw std::runtime_error(
      fmt::format("{}: {}{}{}", name_, why, said && !said->empty() ? "; it says: " : "", said ? *said : std::string()));
}

std::string VmProcess::line() {
  const auto limit = Clock::now() + kPatience;
  while (read_.find('\n') == std::string::npos) {
    pollfd wanted{output_, POLLIN, 0};
    if (Clock::now() > limit) fail("it says nothing");
    if (::poll(&wanted, 1, 1000) <= 0) continue;
    std::array<char, 4096> buffer;
    const ssize_t got = ::read(output_, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) fail("it has ended");
    read_.append(buffer.data(), static_cast<std::size_t>(got));
  }
  const std::size_t end = read_.find('\n');
  std::string line = read_.substr(0, end);
  read_.erase(0, end + 1);
  return line;
}

void VmProcess::tell(const std::string& command) {
  const std::string text = command + "\n";
  if (::write(input_, text.data(), text.size()) != static_cast<ssize_t>(text.size())) fail("it listens no more");
}

bool VmProcess::has_ended() {
  if (!reaped_) reaped_ = ::waitpid(process_, nullptr, WNOHANG) == process_;
  return reaped_;
}

void VmProcess::wait_for_end() {
  const auto limit = Clock::now() + kPatience;
  while (!has_ended()) {
    if (Clock::now() > limit) fail("it does not end");
    std::this_thread::sleep_for(kMoment);
  }
}

void VmProcess::kill() {
  if (!reaped_ && process_ > 0) {
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
    reaped_ = true;
  }
  for (int* const fd : {&input_, &output_}) {
    if (*fd >= 0) ::close(*fd);
    *fd = -1;
  }
}

VmRig::VmRig(const VmTools& tools, const std::vector<ByteCount>& sizes, std::size_t many) : tools_(tools) {
  write_guest(folder_ / "guest.bin");
  std::string bricks;
  for (const ByteCount size : sizes) {
    bricks += fmt::format("{}{{ size = \"{}B\", count = {} }}", bricks.empty() ? "" : ", ", size.value(),
                          size == sizes.front() ? std::max<std::size_t>(many, 1) : 1);
  }
  std::ofstream(folder_ / "sluiced.toml") << fmt::format(
      "[memory]\nfolder = \"{0}\"\nbricks = [{1}]\n[folders]\nrun = \"{2}\"\nstate = \"{3}\"\n[vmm]\nsocket = "
      "\"{4}\"\nusers = [{5}]\n[api]\nsocket = \"{6}\"\nusers = [{5}]\n",
      folder_ / "memory", bricks, folder_ / "run", folder_ / "state", folder_ / "vmm.sock", ::geteuid(),
      folder_ / "api.sock");
  daemon_ = std::make_unique<VmProcess>(std::vector<std::string>{tools.daemon, "--config", folder_ / "sluiced.toml"},
                                        std::vector<std::string>{}, folder_ / "log");
  const auto limit = VmProcess::Clock::now() + kPatience;
  while (!fs::exists(folder_ / "api.sock")) {
    if (daemon_->has_ended() || VmProcess::Clock::now() > limit) static_cast<void>(daemon_->line());
    std::this_thread::sleep_for(kMoment);
  }
  settle();
}

std::string VmRig::control(const std::string& words) const {
  VmProcess process(
      {"/bin/sh", "-c", fmt::format("exec '{}' --json --socket '{}' {}", tools_.control, folder_ / "api.sock", words)},
      {}, folder_ / "control");
  return process.line();
}

void VmRig::settle() const {
  const auto limit = VmProcess::Clock::now() + kPatience;
  for (;;) {
    const json::value host = json::parse(control("host"));
    const json::object& bytes = host.at("bytes_by_state").as_object();
    std::uint64_t all = 0, good = 0;
    for (const auto& [state, count] : bytes) {
      all += count.to_number<std::uint64_t>();
      if (state == "clean" || state == "reserved") good += count.to_number<std::uint64_t>();
    }
    if (all == good) return;
    if (VmProcess::Clock::now() > limit) throw std::runtime_error("sluiced does not get its memory clean");
  }
}

void VmRig::wait_until_reserved(unsigned uuid) const {
  const auto limit = VmProcess::Clock::now() + kPatience;
  while (json::parse(control("vm show " + uuid_of(uuid))).at("state").as_string() != "reserved") {
    if (VmProcess::Clock::now() > limit) throw std::runtime_error("sluiced does not reserve the VM's memory");
  }
}

void VmRig::recycle_on_reboot(bool recycles) const {
  std::ofstream(folder_ / "policy.json") << (recycles ? R"({"recycle_on_reboot": true})"
                                                      : R"({"recycle_on_reboot": false})");
  static_cast<void>(control(fmt::format("attach default 0 --policy '{}'", folder_ / "policy.json")));
}

std::unique_ptr<VmProcess> VmRig::start(Memory memory, ByteCount size, unsigned uuid,
                                        const std::vector<std::string>& more) const {
  const bool leased = memory == Memory::Leased;
  std::vector<std::string> words =
      qemu_words(leased ? tools_.wrapper : tools_.qemu, tools_.accelerator, folder_ / "guest.bin");
  words.insert(words.end(), {"-uuid", uuid_of(uuid), "-m", fmt::format("{}", size.value() >> 20)});
  if (!leased) {
    words.insert(words.end(), {"-object",
                               fmt::format("memory-backend-memfd,id=fresh,size={},share=on,prealloc={}", size.value(),
                                           memory == Memory::Touched ? "on" : "off"),
                               "-machine", "memory-backend=fresh"});
  }
  words.insert(words.end(), more.begin(), more.end());
  return std::make_unique<VmProcess>(
      words, std::vector<std::string>{"SLUICE_SOCKET=" + (folder_ / "vmm.sock"), "SLUICE_QEMU=" + tools_.qemu},
      folder_ / "errors");
}

}  // namespace sluice::bench
