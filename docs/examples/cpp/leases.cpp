// SPDX-License-Identifier: Apache-2.0
// A hypervisor gives a VM's memory to the VM's process, and takes it back when nobody has it any more.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <optional>
#include <sluice/cpu/cpu_engine.hpp>
#include <sluice/vmm/leases.hpp>

namespace {

constexpr sluice::ByteCount kBrick{1 << 20};

std::chrono::nanoseconds now() { return std::chrono::steady_clock::now().time_since_epoch(); }

/// The VM's process: it has its brick by a descriptor, and leaves something in it.
pid_t start_vm(int brick) {
  const pid_t process = ::fork();
  if (process != 0) return process;
  void* const memory = ::mmap(nullptr, kBrick.value(), PROT_READ | PROT_WRITE, MAP_SHARED, brick, 0);
  if (memory == MAP_FAILED) ::_exit(1);
  std::memset(memory, 0x5A, kBrick.value());
  ::_exit(0);
}

}  // namespace

int main() {
  auto memory = sluice::FileMemory::create(kBrick, 2).value();
  memory->keep_whole();
  const sluice::MemorySpan windows[] = {memory->bricks()[0].memory, memory->bricks()[1].memory};
  auto engine = sluice::CpuEngine::create({}, windows).value();
  auto manager = sluice::MemoryManager::create(*memory, *engine).value();
  sluice::FileBrickAccess access;
  sluice::Leases leases(*manager, *memory, access, [&](sluice::VmId vm) { return manager->terminate(vm); });

  sluice::VmProfile profile;
  profile.vm = sluice::VmId(1);
  profile.customer = sluice::CustomerId(1);
  manager->create_vm(profile).value();
  std::optional<sluice::LeaseGrant> grant;
  leases.acquire(profile.vm, kBrick, false, [&](sluice::Result<sluice::LeaseGrant> given) { grant = given.value(); })
      .value();
  while (!grant) manager->poll();
  std::printf("VM 1 has brick %u\n", grant->bricks[0].number);

  const pid_t process = start_vm(grant->descriptors[0]);
  ::close(grant->descriptors[0]);
  ::waitpid(process, nullptr, 0);
  std::printf("its process has ended, and byte 0 is 0x%02X\n",
              static_cast<unsigned>(memory->bricks()[grant->bricks[0].number].memory[0]));
  leases.process_ended(profile.vm, false).value();
  while (leases.find(profile.vm) || manager->has_work()) {
    leases.poll(now());
    manager->poll();
  }
  const auto byte = static_cast<unsigned>(memory->bricks()[grant->bricks[0].number].memory[0]);
  std::printf("nobody has it any more, and byte 0 is 0x%02X\n", byte);
  return byte == 0 ? 0 : 1;
}
