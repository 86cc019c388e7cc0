// SPDX-License-Identifier: Apache-2.0
#include "cpu_options.hpp"

#include <fmt/format.h>

namespace sluice::inline cpu {

Result<CpuOptions> check_options(CpuOptions options) {
  if (options.max_jobs < 1 || options.max_jobs > 65'536 || options.threads < 1 || options.threads > 64 ||
      options.chunk == ByteCount(0)) {
    return Error{
        DriverErrc::InvalidArgument,
        fmt::format("{} jobs, {} threads, chunks of {} bytes: give 1 to 65536 jobs, 1 to 64 threads and chunks "
                    "of at least 1 byte",
                    options.max_jobs, options.threads, options.chunk.value())};
  }
  if (options.store && !has_store(*options.store)) {
    return Error{DriverErrc::InvalidArgument,
                 fmt::format("this CPU has no {} stores: leave the choice open, which gives {}",
                             to_string(*options.store), to_string(best_store()))};
  }
  if (options.numa_node) {
    if (!options.cpus.empty()) {
      return Error{DriverErrc::InvalidArgument,
                   fmt::format("CPUs and NUMA node {} were given: give one of them", *options.numa_node)};
    }
    auto cpus = cpus_of_node(*options.numa_node);
    if (!cpus) return cpus.error();
    options.cpus = std::move(*cpus);
  }
  return options;
}

}  // namespace sluice::inline cpu
