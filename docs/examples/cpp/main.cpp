// SPDX-License-Identifier: Apache-2.0
// Two VMs of one customer share a dedicated pool: what one leaves, the other takes as it is. Coroutines on
// Boost.Asio.
#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cstdio>
#include <exception>
#include <sluice/cpu/cpu_engine.hpp>
#include <sluice/manager/async_memory_manager.hpp>

namespace asio = boost::asio;

namespace {

constexpr sluice::CustomerId kCustomer{1};
constexpr sluice::DedicatedPoolId kPool{1};
constexpr sluice::ByteCount kLength{4 << 20};

asio::awaitable<bool> live(sluice::AsyncMemoryManager& async) {
  co_await async.async_create_dedicated_pool(kPool, kCustomer, kLength, asio::use_awaitable,
                                             {.placement = {}, .shares = true});
  std::puts("the pool is filled with clean memory");
  bool recycled = false;
  const std::array vms = {sluice::VmId(1), sluice::VmId(2)};
  for (const sluice::VmId vm : vms) {
    sluice::VmProfile profile;
    profile.vm = vm;
    profile.customer = kCustomer;
    profile.pool = kPool;
    async.create_vm(profile).value();
  }
  for (const sluice::VmId vm : vms) {
    const sluice::Grant grant = co_await async.async_allocate(vm, kLength, asio::use_awaitable);
    recycled = grant.ranges.at(0).recycled;
    std::printf("VM %llu got %s memory\n", static_cast<unsigned long long>(vm.value()),
                recycled ? "recycled" : "clean");
    async.terminate(vm).value();
  }
  co_return recycled;
}

}  // namespace

int main() {
  auto memory = sluice::FileMemory::create(sluice::ByteCount(8 << 20), 1).value();
  const sluice::MemorySpan windows[] = {memory->bricks()[0].memory};
  auto engine = sluice::CpuEngine::create({}, windows).value();
  auto manager = sluice::MemoryManager::create(*memory, *engine).value();
  asio::io_context io;
  sluice::AsyncMemoryManager async(io.get_executor(), *manager);
  bool recycled = false;
  asio::co_spawn(io, live(async), [&](const std::exception_ptr& error, bool result) {
    if (error) std::rethrow_exception(error);
    recycled = result;
  });
  io.run();
  return recycled ? 0 : 1;
}
