// SPDX-License-Identifier: Apache-2.0
#include "cpu_affinity.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sched.h>

#include <cstring>
#include <fstream>

#include "sluice/cpu/cpu_engine.hpp"

namespace sluice::inline cpu {

Result<void> run_only_on(pthread_t thread, std::span<const std::uint32_t> cpus) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const std::uint32_t cpu : cpus) {
    if (cpu < CPU_SETSIZE) CPU_SET(cpu, &set);
  }
  const int error = ::pthread_setaffinity_np(thread, sizeof set, &set);
  if (error == 0) return {};
  return Error{DriverErrc::InvalidArgument,
               fmt::format("workers cannot run on CPU {}: {}; `taskset -p $$` shows the CPUs that there are",
                           fmt::join(cpus, ","), std::strerror(error))};
}

/// The kernel's list format: "0-3,8,10-11".
Result<std::vector<std::uint32_t>> cpus_of_node(std::uint32_t node) {
  const std::string path = fmt::format("/sys/devices/system/node/node{}/cpulist", node);
  std::ifstream file(path);
  std::vector<std::uint32_t> cpus;
  std::uint32_t first = 0;
  while (file >> first) {
    std::uint32_t last = first;
    if (file.peek() == '-') file.ignore() >> last;
    for (std::uint32_t cpu = first; cpu <= last; ++cpu) cpus.push_back(cpu);
    if (file.peek() == ',') file.ignore();
  }
  if (!cpus.empty()) return cpus;
  return Error{DriverErrc::InvalidArgument,
               fmt::format("NUMA node {} has no CPUs ({}): `ls /sys/devices/system/node` shows the nodes", node, path)};
}

}  // namespace sluice::inline cpu
