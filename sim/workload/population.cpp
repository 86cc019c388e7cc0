// SPDX-License-Identifier: Apache-2.0
#include "sluice/workload/population.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "sluice/workload/random.hpp"

namespace sluice::inline workload {
namespace {

constexpr double kMsPerDay = 86'400'000.0;
constexpr std::uint64_t kMostEvents = 100'000'000;  // some gigabytes

class Population {
 public:
  Population(std::int64_t end_ms, const PopulationOptions& options)
      : options_(options), random_(options.seed), end_ms_(end_ms) {}

  std::vector<TraceEvent> make(const std::vector<Arrival>& arrivals) && {
    for (std::size_t first = 0; first < arrivals.size();) {
      std::size_t last = first;
      while (last < arrivals.size() && arrivals[last].batch == arrivals[first].batch) ++last;
      add_batch(std::span(arrivals).subspan(first, last - first));
      first = last;
    }
    events_.insert(events_.begin(), groups_.begin(), groups_.end());
    std::stable_sort(events_.begin(), events_.end(),
                     [](const TraceEvent& a, const TraceEvent& b) { return a.time_ms < b.time_ms; });
    return std::move(events_);
  }

 private:
  /// Few customers have most of the batches: density 1/x over 1 to `customers`.
  CustomerId draw_customer() {
    const double most = static_cast<double>(options_.customers);
    return CustomerId(static_cast<std::uint64_t>(std::exp(random_.uniform() * std::log(most + 1.0))));
  }

  /// The customer's groups are drawn with its first batch. Their ids: the customer's own for the larger one, or the
  /// only one, and two beyond all customers for the groups inside it.
  TrustGroupId draw_group(CustomerId customer) {
    auto known = in_groups_.find(customer);
    if (known == in_groups_.end()) {
      std::vector<TrustGroupId> groups;
      const TrustGroupId whole(customer.value());
      const bool grouped = random_.chance(options_.group_share);
      if (grouped && random_.chance(options_.nested_share)) {
        groups_.push_back({0, TraceEventKind::CreateGroup, {}, customer, whole, {}, {}});
        for (const std::uint64_t part : {1ULL, 2ULL}) {
          groups.emplace_back(options_.customers + 2 * (customer.value() - 1) + part);
          groups_.push_back({0, TraceEventKind::CreateGroup, {}, customer, groups.back(), {}, {}, whole});
        }
      } else if (grouped) {
        groups.push_back(whole);
      }
      known = in_groups_.emplace(customer, std::move(groups)).first;
    }
    const std::vector<TrustGroupId>& groups = known->second;
    if (groups.size() < 2) return groups.empty() ? TrustGroupId() : groups.front();
    return groups[random_.below(groups.size())];
  }

  void add_batch(std::span<const Arrival> batch) {
    const CustomerId customer = draw_customer();
    const TrustGroupId group = draw_group(customer);
    DedicatedPoolId pool;
    std::int64_t pool_end_ms = 0;
    if (batch.size() >= 2 && random_.chance(options_.pool_share)) {
      pool = DedicatedPoolId(++pools_);
      // Room for half of the batch: the rest comes from the shared pool.
      std::uint64_t bytes = 0;
      for (const Arrival& arrival : batch) bytes += arrival.bytes.value();
      std::int64_t begin_ms = batch.front().time_ms;
      for (const Arrival& arrival : batch) begin_ms = std::min(begin_ms, arrival.time_ms);
      add({begin_ms, TraceEventKind::CreatePool, {}, customer, {}, pool, ByteCount(bytes / 2)});
    }
    for (const Arrival& arrival : batch) {
      const std::int64_t end = add_vm(arrival, customer, group, pool);
      pool_end_ms = std::max(pool_end_ms, end);
    }
    if (pool.is_set() && pool_end_ms < end_ms_) {
      add({pool_end_ms, TraceEventKind::DestroyPool, {}, {}, {}, pool, {}});
    }
  }

  /// Returns when the VM ends, or the trace.
  std::int64_t add_vm(const Arrival& arrival, CustomerId customer, TrustGroupId group, DedicatedPoolId pool) {
    const VmId vm(++vms_);
    const bool ends = arrival.lifetime_ms && arrival.time_ms + *arrival.lifetime_ms < end_ms_;
    const std::int64_t end = ends ? arrival.time_ms + *arrival.lifetime_ms : end_ms_;
    add({arrival.time_ms, TraceEventKind::Create, vm, customer, group, pool, arrival.bytes});
    std::uint64_t size = arrival.bytes.value();
    std::uint64_t ballooned = 0;
    const double rate = (options_.reboots_per_day + 2.0 * options_.balloons_per_day +
                         (group.is_set() ? options_.group_changes_per_day : 0.0)) /
                        kMsPerDay;
    double time = static_cast<double>(arrival.time_ms);
    while (rate > 0.0) {
      time += -std::log1p(-random_.uniform()) / rate;
      if (time >= static_cast<double>(end)) break;
      const auto at = static_cast<std::int64_t>(time);
      const double what = random_.uniform() * rate * kMsPerDay;
      if (what < options_.reboots_per_day) {
        add({at, TraceEventKind::Reboot, vm, {}, {}, {}, ByteCount(size)});
      } else if (what >= options_.reboots_per_day + 2.0 * options_.balloons_per_day) {
        if (group.is_set()) add({at, TraceEventKind::ChangeGroup, vm, {}, {}, {}, {}});
        group = {};
      } else if (ballooned > 0) {
        add({at, TraceEventKind::BalloonUp, vm, {}, {}, {}, ByteCount(ballooned)});
        size += ballooned;
        ballooned = 0;
      } else {
        ballooned = size / 4 + random_.below(size / 4 + 1);
        if (ballooned == 0) continue;
        add({at, TraceEventKind::BalloonDown, vm, {}, {}, {}, ByteCount(ballooned)});
        size -= ballooned;
      }
    }
    if (ends) add({end, TraceEventKind::Terminate, vm, {}, {}, {}, {}});
    return end;
  }

  void add(const TraceEvent& event) { events_.push_back(event); }

  PopulationOptions options_;
  Random random_;
  std::int64_t end_ms_;
  std::vector<TraceEvent> events_;
  std::vector<TraceEvent> groups_;
  std::map<CustomerId, std::vector<TrustGroupId>> in_groups_;
  std::uint64_t vms_ = 0;
  std::uint64_t pools_ = 0;
};

/// About how many events that makes: as many as are drawn on average.
double expected_events(const std::vector<Arrival>& arrivals, std::int64_t end_ms, const PopulationOptions& options) {
  const double each_day = options.reboots_per_day + 2.0 * options.balloons_per_day + options.group_changes_per_day;
  double events = 0.0;
  for (const Arrival& arrival : arrivals) {
    const std::int64_t rest_ms = end_ms - arrival.time_ms;
    const auto lived = static_cast<double>(std::min(arrival.lifetime_ms.value_or(rest_ms), rest_ms));
    events += 2.0 + std::max(lived, 0.0) / kMsPerDay * each_day;
  }
  return events;
}

}  // namespace

Result<std::vector<TraceEvent>> populate(const std::vector<Arrival>& arrivals, std::int64_t end_ms,
                                         const PopulationOptions& options) {
  const double events = expected_events(arrivals, end_ms, options);
  if (events > static_cast<double>(kMostEvents)) {
    return Error{
        HostErrc::InvalidArgument,
        fmt::format("a trace of about {:.3g} events: at most {} are drawn; ask for fewer VMs or hours, or fewer "
                    "reboots, balloons and changes of group a day",
                    events, kMostEvents)};
  }
  return Population(end_ms, options).make(arrivals);
}

std::string describe(const PopulationOptions& options) {
  return fmt::format(
      "the customer of each batch (of {}), trust groups ({:.0f}% of customers, {:.0f}% of them with two groups "
      "inside), "
      "dedicated pools ({:.0f}% of batches of 2 or more VMs), and for each VM and day {} reboots, {} balloons, {} "
      "group changes; seed {}",
      options.customers, options.group_share * 100, options.nested_share * 100, options.pool_share * 100,
      options.reboots_per_day, options.balloons_per_day, options.group_changes_per_day, options.seed);
}

}  // namespace sluice::inline workload
