// SPDX-License-Identifier: Apache-2.0
#include "sluice/workload/trace_generator.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "sluice/workload/random.hpp"

namespace sluice::inline workload {
namespace {

/// Shares of VM sizes and of lifetimes after Cortez et al., Resource Central, SOSP 2017, and its public data set.
struct Share {
  double up_to;  ///< cumulative
  std::uint64_t mebibytes;
};
constexpr std::array<Share, 5> kSizes = {{{0.60, 1792}, {0.79, 3584}, {0.89, 7168}, {0.98, 14336}, {1.00, 768}}};
constexpr double kMedianLifetimeMs = 20.0 * 60'000.0;
constexpr double kLifetimeSpread = 1.3;  // of the logarithm
constexpr double kBatchGoesOn = 0.6;     // geometric: 2.5 VMs a batch

double normal(Random& random) {
  double sum = -6.0;
  for (int draws = 0; draws < 12; ++draws) sum += random.uniform();
  return sum;
}

}  // namespace

Result<Trace> generate_trace(const GeneratorOptions& options) {
  if (options.vms == 0 || !(options.hours > 0.0) || options.population.customers == 0) {
    return Error{HostErrc::InvalidArgument, fmt::format("{} VMs of {} customers in {} hours: each must be above 0",
                                                        options.vms, options.population.customers, options.hours)};
  }
  Random random(options.population.seed ^ 0x5EED);
  const double end_ms = options.hours * 3'600'000.0;
  std::vector<double> batch_times;
  std::vector<std::uint64_t> batch_sizes;
  for (std::uint64_t vms = 0; vms < options.vms;) {
    std::uint64_t size = 1;
    while (random.chance(kBatchGoesOn) && vms + size < options.vms) ++size;
    batch_sizes.push_back(size);
    batch_times.push_back(random.uniform() * end_ms);
    vms += size;
  }
  std::sort(batch_times.begin(), batch_times.end());
  std::vector<Arrival> arrivals;
  for (std::size_t batch = 0; batch < batch_sizes.size(); ++batch) {
    const double size_draw = random.uniform();
    const Share& share =
        *std::find_if(kSizes.begin(), kSizes.end(), [&](const Share& s) { return size_draw < s.up_to; });
    for (std::uint64_t vm = 0; vm < batch_sizes[batch]; ++vm) {
      const double lifetime_ms = kMedianLifetimeMs * std::exp(kLifetimeSpread * normal(random));
      arrivals.push_back({static_cast<std::int64_t>(batch_times[batch]), batch, ByteCount(share.mebibytes << 20),
                          static_cast<std::int64_t>(lifetime_ms)});
    }
  }
  Trace trace;
  auto events = populate(arrivals, static_cast<std::int64_t>(end_ms), options.population);
  if (!events) return events.error();
  trace.events = std::move(*events);
  trace.source = fmt::format("generated, {} VMs in {} hours", options.vms, options.hours);
  trace.taken = "nothing: sizes, lifetimes and batches are drawn in the shape of published data";
  trace.drawn = "sizes, lifetimes and batches, " + describe(options.population);
  return trace;
}

}  // namespace sluice::inline workload
