// SPDX-License-Identifier: Apache-2.0
// How long a real guest waits for its memory: QEMU with fresh memory of the kernel, and with memory from sluiced.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>

#include "sluice/base/parse.hpp"
#include "sluice/bench/bench.hpp"
#include "sluice/memory/available_memory.hpp"
#include "vm_rig.hpp"

namespace sluice::bench {
namespace {

using Memory = VmRig::Memory;
using Clock = VmProcess::Clock;

constexpr std::size_t kMostRounds = 5;
constexpr unsigned kUuid = 1;
constexpr std::uint64_t kGuestsOwn = 16ULL << 20;

struct MemorySource {
  const char* name;
  Memory memory;
};
constexpr std::array<MemorySource, 3> kSources = {{{"fresh memory, at once", Memory::Touched},
                                                   {"fresh memory, when touched", Memory::Untouched},
                                                   {"sluiced", Memory::Leased}}};

double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

void expect(VmProcess& guest, std::string_view beginning) {
  const std::string line = guest.line();
  if (!line.starts_with(beginning)) {
    throw std::runtime_error(fmt::format("the guest says '{}' and not '{}'", line, beginning));
  }
}

/// What the tasks of this part share. Made by the first of them: it takes seconds.
struct Rig {
  VmTools tools;
  std::vector<ByteCount> sizes;
  std::size_t many;
  std::unique_ptr<VmRig> vms;
  VmRig& get() {
    if (!vms) vms = std::make_unique<VmRig>(tools, sizes, many);
    return *vms;
  }
};

/// One guest, until it says something, and until it has written to each of its pages.
void start_one(Rig& rig, const MemorySource& source, ByteCount size, std::size_t place, Chart& starts, Chart& used) {
  VmRig& vms = rig.get();
  const auto guest = vms.start(source.memory, size, kUuid);
  expect(*guest, "boots");
  const double started = milliseconds_since(guest->started());
  guest->tell(fmt::format("mark 1 {} {}", kGuestsOwn >> 20, (size.value() - kGuestsOwn) >> 20));
  expect(*guest, "marked");
  const double filled = milliseconds_since(guest->started());
  guest->kill();
  vms.settle();
  const Figure figure{source.name, short_bytes(size), static_cast<double>(place), {}};
  Bench::add_sample(starts, figure, started);
  Bench::add_sample(used, figure, filled);
}

/// A guest that reboots by way of another process: from the order until the next one says something.
void reboot_one(Rig& rig, const char* name, bool leased, bool recycles, ByteCount size, std::size_t place,
                Chart& chart) {
  VmRig& vms = rig.get();
  if (leased) vms.recycle_on_reboot(recycles);
  const Memory memory = leased ? Memory::Leased : Memory::Touched;
  const auto before = vms.start(memory, size, kUuid, {"-no-reboot"});
  expect(*before, "boots");
  const auto ordered = Clock::now();
  before->tell("reboot");
  before->wait_for_end();
  if (leased) vms.wait_until_reserved(kUuid);
  const auto after = vms.start(memory, size, kUuid);
  const std::string line = after->line();
  const double took = milliseconds_since(ordered);
  const bool has_kept = line != "boots 1";
  if (has_kept != (leased && recycles)) {
    throw std::runtime_error(fmt::format("after its reboot the guest says '{}' ({})", line, name));
  }
  after->kill();
  vms.settle();
  Bench::add_sample(chart, {name, short_bytes(size), static_cast<double>(place), {}}, took);
}

void start_many(Rig& rig, const MemorySource& source, Chart& chart) {
  VmRig& vms = rig.get();
  const auto start = Clock::now();
  std::vector<std::unique_ptr<VmProcess>> guests;
  for (std::size_t at = 0; at < rig.many; ++at) {
    guests.push_back(vms.start(source.memory, rig.sizes.front(), kUuid + static_cast<unsigned>(at)));
  }
  for (const auto& guest : guests) expect(*guest, "boots");
  const double took = milliseconds_since(start);
  guests.clear();
  vms.settle();
  Bench::add_sample(chart, {source.name, fmt::format("{} VMs", rig.many), 0.0, {}}, took);
}

/// CPU time of all threads of a process; proc_pid_schedstat: the first number, in nanoseconds.
std::uint64_t cpu_time_of(pid_t process) {
  std::uint64_t sum = 0;
  for (const auto& thread : std::filesystem::directory_iterator(fmt::format("/proc/{}/task", process))) {
    std::ifstream file(thread.path() / "schedstat");
    std::uint64_t spent = 0;
    if (file >> spent) sum += spent;
  }
  return sum;
}

void rest(Rig& rig, std::chrono::milliseconds how_long, Chart& chart) {
  const pid_t daemon = rig.get().daemon();
  const std::uint64_t before = cpu_time_of(daemon);
  const auto start = Clock::now();
  std::this_thread::sleep_for(how_long);
  const double spent = static_cast<double>(cpu_time_of(daemon) - before) / 1e6;
  Bench::add_sample(chart, {"sluiced", "no VMs", 0.0, {}}, 100.0 * spent / milliseconds_since(start));
}

/// Those for which there is room, beside a guest with as much fresh memory.
std::vector<ByteCount> sizes_that_fit(const Effort& effort) {
  const std::uint64_t room = available_memory().bytes.value() / 4 * 3;
  std::vector<ByteCount> sizes;
  std::uint64_t sum = effort.guests.front().value() * effort.guests_at_once;
  for (const ByteCount size : effort.guests) {
    sum += size.value();
    if (sum + std::max(size.value(), effort.guests.front().value() * effort.guests_at_once) > room) break;
    sizes.push_back(size);
  }
  return sizes;
}

Chart chart_of(const char* id, const char* title, const char* x_label) {
  Chart chart{id, "vm", title, x_label, "time", "ms"};
  chart.more_is_better = false;
  chart.y_logarithmic = true;
  chart.baseline = kSources.front().name;
  return chart;
}

}  // namespace

void plan_vm(Bench& bench, Plan& plan) {
  auto tools = VmTools::find();
  if (!tools) {
    bench.results.facts.push_back({"not measured", "vm: " + tools.error().message});
    return;
  }
  const auto rig = std::make_shared<Rig>(Rig{*tools, sizes_that_fit(bench.effort), bench.effort.guests_at_once, {}});
  if (rig->sizes.empty()) {
    bench.results.facts.push_back({"not measured", "vm: there is no memory for guests"});
    return;
  }
  bench.results.facts.push_back({"guests", fmt::format("QEMU under {}, pages of 4 KiB", tools->accelerator)});
  Chart& starts = bench.add(chart_of("vm_start", "From the start of QEMU to the guest's first output", "memory"));
  Chart& used = bench.add(
      chart_of("vm_used", "From the start of QEMU until the guest has written to all of its memory", "memory"));
  Chart& reboots =
      bench.add(chart_of("vm_reboot", "From a guest's reboot to its next output, in another process", "memory"));
  reboots.notes = {"sluiced looks at who still has the memory of a process that has ended before anybody gets it."};
  Chart& many = bench.add(chart_of("vm_many", "VMs that are started at once: until all have said something", ""));
  many.notes = {fmt::format("Each has {}.", short_bytes(rig->sizes.front()))};
  Chart& idle = bench.add({"vm_idle", "vm", "What sluiced needs at rest", "", "of a CPU", "%"});
  idle.more_is_better = false;
  const std::size_t rounds = std::min(bench.effort.rounds, kMostRounds);
  for (std::size_t round = 0; round < rounds; ++round) {
    for (std::size_t place = 0; place < rig->sizes.size(); ++place) {
      const ByteCount size = rig->sizes[place];
      Plan tasks;
      for (const MemorySource& source : kSources) {
        tasks.emplace_back([=, &starts, &used] { start_one(*rig, source, size, place, starts, used); });
      }
      add_round(plan, std::move(tasks), round);
      add_round(plan,
                {[=, &reboots] { reboot_one(*rig, kSources.front().name, false, false, size, place, reboots); },
                 [=, &reboots] { reboot_one(*rig, "sluiced, scrubbed first", true, false, size, place, reboots); },
                 [=, &reboots] { reboot_one(*rig, "sluiced, recycled", true, true, size, place, reboots); }},
                round);
    }
    Plan tasks;
    for (const MemorySource& source : kSources) {
      tasks.emplace_back([=, &many] { start_many(*rig, source, many); });
    }
    add_round(plan, std::move(tasks), round);
    plan.emplace_back([=, &idle] { rest(*rig, std::chrono::milliseconds(500), idle); });
  }
}

}  // namespace sluice::bench
