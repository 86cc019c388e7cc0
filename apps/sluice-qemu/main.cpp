// SPDX-License-Identifier: Apache-2.0
// sluice-qemu: QEMU with its guest's memory from sluiced. It takes QEMU's command line and becomes QEMU: libvirt's
// <emulator> may name it. Its own settings come from the environment:
//
//   SLUICE_SOCKET     where sluiced listens (/run/sluice/sluiced.sock)
//   SLUICE_QEMU       the emulator (/usr/bin/qemu-system-x86_64)
//   SLUICE_CUSTOMER, SLUICE_GROUP, SLUICE_POOL   whose VM it is, as sluiced numbers them (0: nobody's in particular)
//
// Ends with 1 and one line on its standard error where QEMU was not started.
#include <fcntl.h>
#include <fmt/format.h>
#include <sluice/sluice_client.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "sluice/base/descriptor.hpp"
#include "sluice/base/parse.hpp"
#include "sluice/vmm/qemu_arguments.hpp"

namespace sluice {
namespace {

struct Settings {
  std::string emulator = "/usr/bin/qemu-system-x86_64";
  std::uint64_t customer = 0;
  std::uint64_t group = 0;
  std::uint64_t pool = 0;
};

using Client = std::unique_ptr<sluice_client, decltype(&sluice_client_close)>;

void say(const std::string& message) { std::fprintf(stderr, "sluice-qemu: %s\n", message.c_str()); }

Error wrong(std::string message) { return {HostErrc::InvalidArgument, std::move(message)}; }

Result<void> read_number(const char* name, std::uint64_t& number) {
  const char* const text = std::getenv(name);
  if (text == nullptr) return {};
  const auto read = parse_integer<std::uint64_t>(text);
  if (!read) return wrong(fmt::format("{} is {}: give a number as sluiced has it, or 0", name, in_quotes(text)));
  number = *read;
  return {};
}

/// Whether there is an emulator, before anything is asked for on its behalf.
Result<void> check_emulator(const std::string& path) {
  struct stat file {
  }, own{};
  const bool there = ::stat(path.c_str(), &file) == 0 && ::access(path.c_str(), X_OK) == 0;
  if (!there || !S_ISREG(file.st_mode)) {
    return wrong(fmt::format("the emulator {} cannot be run: name another in SLUICE_QEMU", in_quotes(path)));
  }
  if (::stat("/proc/self/exe", &own) == 0 && own.st_dev == file.st_dev && own.st_ino == file.st_ino) {
    return wrong(fmt::format("the emulator {} is this program: name QEMU in SLUICE_QEMU", in_quotes(path)));
  }
  return {};
}

Result<Settings> read_settings() {
  Settings settings;
  if (const char* const emulator = std::getenv("SLUICE_QEMU")) settings.emulator = emulator;
  for (const auto& [name, number] :
       {std::pair{"SLUICE_CUSTOMER", &settings.customer}, std::pair{"SLUICE_GROUP", &settings.group},
        std::pair{"SLUICE_POOL", &settings.pool}}) {
    if (auto read = read_number(name, *number); !read) return read.error();
  }
  if (auto checked = check_emulator(settings.emulator); !checked) return checked.error();
  return settings;
}

/// A UUID of version 4 (RFC 4122).
Result<Uuid> random_uuid() {
  Uuid uuid;
  if (::getrandom(uuid.bytes.data(), uuid.bytes.size(), 0) != static_cast<ssize_t>(uuid.bytes.size())) {
    return wrong("the kernel has no random bytes for a UUID: give one with -uuid");
  }
  uuid.bytes[6] = (uuid.bytes[6] & std::byte{0x0F}) | std::byte{0x40};
  uuid.bytes[8] = (uuid.bytes[8] & std::byte{0x3F}) | std::byte{0x80};
  return uuid;
}

/// As sluiced takes it: printable, and not too long.
std::string name_for_people(const std::string& name) {
  constexpr std::size_t kMost = sizeof(sluice_acquire::name) - 1;
  return printable(name, kMost).substr(0, kMost);
}

Result<Client> connect() {
  Client client(sluice_client_connect(nullptr), &sluice_client_close);
  if (!client) return wrong("there is no memory for a connection to sluiced");
  if (sluice_client_filter(client.get()) != 0) {
    say(fmt::format("{}; sluiced has the kernel replace this VM's memory at its end",
                    sluice_client_error(client.get())));
  }
  return client;
}

Result<sluice_lease> acquire(const Settings& settings, const QemuPlan& plan) {
  auto client = connect();
  if (!client) return client.error();
  std::vector<std::uint64_t> lengths;
  for (const ByteCount length : plan.bricks()) lengths.push_back(length.value());
  const std::string name = name_for_people(plan.name);
  sluice_request request{};
  std::memcpy(request.vm, plan.uuid.bytes.data(), sizeof request.vm);
  request.name = name.empty() ? nullptr : name.c_str();
  request.customer = settings.customer;
  request.group = settings.group;
  request.pool = settings.pool;
  request.node = -1;
  request.wants_monitor = 1;
  if (plan.takes_any_bricks()) {
    request.size = plan.base.value();
  } else {
    request.brick_count = static_cast<unsigned>(lengths.size());
    request.bricks = lengths.data();
  }
  sluice_lease lease;
  if (sluice_client_acquire(client->get(), &request, &lease) != 0) return wrong(sluice_client_error(client->get()));
  return lease;
}

/// Has exec leave a descriptor open, and returns its number.
Result<int> inherited(int fd) {
  const int high = above_standard(fd);
  if (high >= 0 && ::fcntl(high, F_SETFD, 0) == 0) return high;
  return wrong(fmt::format("descriptor {} cannot be handed to QEMU: {}", fd, std::strerror(errno)));
}

Result<std::vector<std::string>> arguments_for(const QemuPlan& plan, const sluice_lease& lease) {
  std::vector<QemuBrick> bricks;
  for (unsigned at = 0; at < lease.brick_count; ++at) {
    const auto fd = inherited(lease.bricks[at].fd);
    if (!fd) return fd.error();
    bricks.push_back({*fd, ByteCount(lease.bricks[at].length)});
  }
  int monitor = -1;
  if (lease.monitor_fd >= 0) {
    const auto fd = inherited(lease.monitor_fd);
    if (!fd) return fd.error();
    monitor = *fd;
  }
  return with_memory(plan, bricks, monitor);
}

Result<std::vector<std::string>> prepare(const Settings& settings, QemuPlan plan) {
  if (plan.as_it_is) return plan.arguments;
  if (!plan.uuid.is_set()) {
    const auto drawn = random_uuid();
    if (!drawn) return drawn.error();
    plan.uuid = *drawn;
    say(fmt::format("without -uuid this VM is {} for sluiced, and another one when it is started again",
                    to_string(plan.uuid)));
  }
  const auto lease = acquire(settings, plan);
  if (!lease) return lease.error();
  return arguments_for(plan, *lease);
}

/// Does not return where it succeeds.
Error become(const std::string& emulator, std::vector<std::string> arguments) {
  std::vector<char*> words = {const_cast<char*>(emulator.c_str())};
  for (std::string& argument : arguments) words.push_back(argument.data());
  words.push_back(nullptr);
  ::execv(emulator.c_str(), words.data());
  return wrong(fmt::format("the emulator {} does not start: {}", in_quotes(emulator), std::strerror(errno)));
}

Error run(std::span<char* const> words) {
  const auto settings = read_settings();
  if (!settings) return settings.error();
  const std::vector<std::string> arguments(words.begin(), words.end());
  auto plan = plan_qemu(arguments);
  if (!plan) return plan.error();
  auto prepared = prepare(*settings, std::move(*plan));
  if (!prepared) return prepared.error();
  return become(settings->emulator, std::move(*prepared));
}

}  // namespace
}  // namespace sluice

int main(int count, char** words) {
  const std::span<char* const> all(words, static_cast<std::size_t>(count));
  sluice::say(sluice::run(all.subspan(std::min<std::size_t>(1, all.size()))).message);
  return 1;
}
