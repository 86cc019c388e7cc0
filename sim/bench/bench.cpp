// SPDX-License-Identifier: Apache-2.0
#include "sluice/bench/bench.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <x86intrin.h>

#include <algorithm>
#include <fstream>
#include <random>
#include <thread>

#include "sluice/base/parse.hpp"
#include "sluice/memory/available_memory.hpp"

namespace sluice::bench {
namespace {

/// The value of "key : value" in a file of /proc.
std::string proc_value(const char* file, const std::string& key) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with(key)) continue;
    const std::size_t begin = line.find_first_not_of(" \t", line.find(':') + 1);
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return "unknown";
}

std::string first_line(const char* file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line.empty() ? "unknown" : line;
}

/// A line of /proc/meminfo; 0: unknown.
ByteCount memory_fact(const std::string& key) {
  const std::string value = proc_value("/proc/meminfo", key);  // "123 kB"
  return ByteCount(parse_integer<std::uint64_t>(std::string_view(value).substr(0, value.find(' '))).value_or(0) << 10);
}

}  // namespace

Effort smoke_effort() {
  Effort effort;
  effort.rounds = 3;
  effort.arena = ByteCount(64ULL << 20);
  effort.sample = ByteCount(2ULL << 20);
  effort.blocks = {ByteCount(4ULL << 10), ByteCount(64ULL << 10), ByteCount(2ULL << 20)};
  effort.simulated = ByteCount(64ULL << 10);
  effort.grants = ByteCount(16ULL << 20);
  effort.latencies = 5;
  effort.cancels = 3;
  effort.victim = std::chrono::milliseconds(5);
  effort.guests = {ByteCount(64ULL << 20)};
  effort.guests_at_once = 2;
  return effort;
}

Effort usual_effort() {
  Effort effort;
  effort.rounds = 11;
  effort.arena = kGiB;
  effort.sample = ByteCount(64ULL << 20);
  effort.blocks = {ByteCount(4ULL << 10),
                   ByteCount(16ULL << 10),
                   ByteCount(64ULL << 10),
                   ByteCount(512ULL << 10),
                   ByteCount(2ULL << 20),
                   ByteCount(64ULL << 20),
                   kGiB};
  effort.simulated = kMiB;
  effort.grants = kGiB;
  effort.latencies = 31;
  effort.cancels = 5;
  effort.victim = std::chrono::milliseconds(50);
  effort.guests = {ByteCount(64ULL << 20), ByteCount(512ULL << 20), kGiB, ByteCount(2ULL << 30)};
  effort.guests_at_once = 10;
  return effort;
}

Effort full_effort() {
  Effort effort = usual_effort();
  effort.rounds = 21;
  effort.sample = ByteCount(256ULL << 20);
  effort.blocks.clear();
  for (std::uint64_t bytes = 4096; bytes <= kGiB.value(); bytes *= 4) effort.blocks.emplace_back(bytes);
  effort.blocks.insert(std::upper_bound(effort.blocks.begin(), effort.blocks.end(), ByteCount(2ULL << 20)),
                       ByteCount(2ULL << 20));
  effort.simulated = ByteCount(16ULL << 20);
  // A third of what is free, in whole GiB: the kernel is asked for as much beside the arena.
  const std::uint64_t gibibytes = std::clamp<std::uint64_t>(available_memory().bytes.value() / 3 / kGiB.value(), 1, 64);
  effort.grants = effort.arena = ByteCount(gibibytes * kGiB.value());
  effort.latencies = 101;
  effort.cancels = 11;
  effort.victim = std::chrono::milliseconds(200);
  effort.guests.emplace_back(4ULL << 30);
  effort.guests_at_once = 100;
  return effort;
}

void add_round(Plan& plan, Plan tasks, std::size_t round) {
  if (round > 0) std::shuffle(tasks.begin(), tasks.end(), std::mt19937_64(round));
  std::move(tasks.begin(), tasks.end(), std::back_inserter(plan));
}

Chart& Bench::add(Chart chart) { return results.charts.emplace_back(std::move(chart)); }

void Bench::add_sample(Chart& chart, const Figure& figure, double sample) {
  auto found = std::find_if(chart.figures.begin(), chart.figures.end(),
                            [&](const Figure& each) { return each.series == figure.series && each.at == figure.at; });
  if (found == chart.figures.end()) found = chart.figures.insert(chart.figures.end(), figure);
  found->samples.push_back(sample);
}

void Bench::note_once(Chart& chart, const std::string& note) {
  if (std::find(chart.notes.begin(), chart.notes.end(), note) == chart.notes.end()) chart.notes.push_back(note);
}

std::vector<Fact> machine_facts() {
  utsname kernel{};
  ::uname(&kernel);
  const auto now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  double load = 0.0;
  ::getloadavg(&load, 1);
  return {
      {"date", fmt::format("{:%Y-%m-%d %H:%M} UTC", fmt::gmtime(now))},
      {"CPU",
       fmt::format("{}, {} of its CPUs for us, time stamps at {:.2f} GHz", proc_value("/proc/cpuinfo", "model name"),
                   std::thread::hardware_concurrency(), tsc_hz() / 1e9)},
      {"memory",
       fmt::format("{:.1f} GiB, {:.1f} GiB free", gib(memory_fact("MemTotal")), gib(available_memory().bytes))},
      {"kernel", fmt::format("{} {}", kernel.sysname, kernel.release)},
      {"pages",
       fmt::format("{} KiB; transparent huge pages: {}; reserved huge pages: {}", ::sysconf(_SC_PAGESIZE) >> 10,
                   first_line("/sys/kernel/mm/transparent_hugepage/enabled"), first_line("/proc/sys/vm/nr_hugepages"))},
      {"load", fmt::format("{:.2f} before the run, over a minute", load)}};
}

std::string short_bytes(ByteCount bytes) {
  constexpr std::array<const char*, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  std::uint64_t value = bytes.value();
  std::size_t unit = 0;
  while (value >= 1024 && value % 1024 == 0 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{} {}", value, kUnits.at(unit));
}

double tsc_hz() {
  static const double hz = [] {
    const auto start = std::chrono::steady_clock::now();
    const std::uint64_t first = __rdtsc();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    const std::uint64_t last = __rdtsc();
    return static_cast<double>(last - first) /
           std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }();
  return hz;
}

double gib(ByteCount bytes) { return static_cast<double>(bytes.value()) / static_cast<double>(kGiB.value()); }

}  // namespace sluice::bench
