// SPDX-License-Identifier: Apache-2.0
// The host's memory brick by brick, what of it is in quarantine, and how it was over time.
#include <algorithm>
#include <array>

#include "api_handlers.hpp"
#include "sluice/memory/extent_table.hpp"

namespace sluice::inline daemon {

namespace json = boost::json;

namespace {

/// What is in one brick.
struct BrickFacts {
  std::array<std::uint64_t, kExtentStates> bytes{};
  VmId holder;
  Owner owner;  ///< Of the first extent of it that has one.
  DedicatedPoolId pool;
};

std::vector<BrickFacts> facts_of(const ExtentTable& extents, std::span<const Brick> bricks) {
  std::vector<BrickFacts> facts(bricks.size());
  for (std::size_t number = 0; number < bricks.size(); ++number) {
    BrickFacts& fact = facts[number];
    const std::byte* at = bricks[number].memory.data();
    const std::byte* const end = at + bricks[number].memory.size();
    while (at < end) {
      const Extent* const extent = extents.find(at);
      if (extent == nullptr) break;
      const MemorySpan memory = extents.memory(*extent);
      const std::byte* const next = std::min<const std::byte*>(end, memory.data() + memory.size());
      fact.bytes[static_cast<std::size_t>(extent->state())] += static_cast<std::uint64_t>(next - at);
      if (const VmId holder = extents.holder(*extent); holder.is_set()) fact.holder = holder;
      if (!fact.owner.customer.is_set()) fact.owner = extents.owner(*extent);
      if (extents.lineage(*extent).pool.is_set()) fact.pool = extents.lineage(*extent).pool;
      at = next;
    }
  }
  return facts;
}

json::object states_json(const std::array<std::uint64_t, kExtentStates>& bytes) {
  json::object states;
  for (std::size_t state = 0; state < kExtentStates; ++state) {
    if (bytes[state] != 0) states[label(to_string(static_cast<ExtentState>(state)))] = bytes[state];
  }
  return states;
}

template <class Id>
json::value id_or_null(Id id) {
  return id.is_set() ? json::value(id.value()) : json::value(nullptr);
}

}  // namespace

json::array Api::Handlers::holders_json(const LeaseFacts& lease) {
  json::array holders;
  for (const Holder& holder : lease.holders) {
    holders.push_back(json::object{
        {"process", holder.process}, {"command", printable(holder.command, 64)}, {"mapped", holder.mapped}});
  }
  return holders;
}

json::value Api::Handlers::uuid_json(VmId vm) const {
  const auto record = host_->vms().find(vm);
  const bool known = record != host_->vms().end() && record->second.uuid.is_set();
  return known ? json::value(to_string(record->second.uuid)) : json::value(nullptr);
}

ApiAnswer Api::Handlers::get_memory(const ApiCall& call) {
  const std::span<const Brick> bricks = memory_->bricks();
  const std::vector<BrickFacts> facts = facts_of(policies_->manager().extents(), bricks);
  const bool provider = call.caller.role == Caller::Role::Provider;
  json::array all;
  for (std::size_t number = 0; number < bricks.size(); ++number) {
    const BrickFacts& fact = facts[number];
    json::object brick = {{"number", number}, {"length", bricks[number].memory.size()}};
    const auto pool = policies_->book().pools().find(fact.pool);
    const CustomerId customer = pool != policies_->book().pools().end() ? pool->second : fact.owner.customer;
    const bool is_customers = customer.is_set() && sees(call.caller, customer);
    if (provider || is_customers || (fact.holder.is_set() && sees_vm(call.caller, fact.holder))) {
      brick["states"] = states_json(fact.bytes);
      brick["vm"] = uuid_json(fact.holder);
      brick["last_vm"] = uuid_json(fact.owner.vm);
      brick["customer"] = id_or_null(customer);
      brick["pool"] = id_or_null(fact.pool);
    }
    all.push_back(std::move(brick));
  }
  return reply(json::object{{"bricks", std::move(all)}});
}

ApiAnswer Api::Handlers::get_quarantine(const ApiCall& call) {
  if (auto checked = check_provider(call.caller, "see what is in quarantine"); !checked) return checked.error();
  json::array leases;
  for (const LeaseFacts& lease : host_->leases().all()) {
    if (lease.state != LeaseState::Quarantined) continue;
    std::uint64_t bytes = 0;
    for (const LeasedBrick& brick : lease.bricks) bytes += brick.length.value();
    leases.push_back(json::object{{"vm", uuid_json(lease.id.vm)},
                                  {"bytes", bytes},
                                  {"obstacle", printable(lease.obstacle, lease.obstacle.size())},
                                  {"holders", holders_json(lease)}});
  }
  const std::vector<BrickFacts> facts = facts_of(policies_->manager().extents(), memory_->bricks());
  json::array failed;
  for (std::size_t number = 0; number < facts.size(); ++number) {
    const std::uint64_t bytes = facts[number].bytes[static_cast<std::size_t>(ExtentState::Quarantined)];
    if (bytes != 0) failed.push_back(json::object{{"brick", number}, {"bytes", bytes}});
  }
  return reply(json::object{{"leases", std::move(leases)}, {"failed", std::move(failed)}});
}

ApiAnswer Api::Handlers::get_series(const ApiCall& call) {
  if (auto checked = check_provider(call.caller, "see the host as a whole"); !checked) return checked.error();
  const std::string& step = call.parts.front();
  if (step != "second" && step != "minute") {
    return Error{
        HostErrc::InvalidArgument,
        fmt::format("there are no samples of each {}: ask for those of each second or minute", in_quotes(step))};
  }
  const auto& samples = series_->samples(step == "second" ? Series::Step::Second : Series::Step::Minute);
  json::array times, recycled, granted, scrubbed;
  std::array<json::array, kExtentStates> bytes;
  for (const Sample& sample : samples) {
    times.emplace_back(sample.time.count());
    recycled.emplace_back(sample.recycled);
    granted.emplace_back(sample.granted);
    scrubbed.emplace_back(sample.scrubbed);
    for (std::size_t state = 0; state < kExtentStates; ++state) bytes[state].emplace_back(sample.bytes[state]);
  }
  json::object by_state;
  for (std::size_t state = 0; state < kExtentStates; ++state) {
    by_state[label(to_string(static_cast<ExtentState>(state)))] = std::move(bytes[state]);
  }
  const auto rate = series_->scrub_rate();
  return reply(json::object{{"step_ms", step == "second" ? 1000 : 60'000},
                            {"times_ms", std::move(times)},
                            {"bytes_by_state", std::move(by_state)},
                            {"recycled_bytes", std::move(recycled)},
                            {"granted_bytes", std::move(granted)},
                            {"scrubbed_bytes", std::move(scrubbed)},
                            {"scrub_bytes_per_s", rate ? json::value(*rate) : json::value(nullptr)}});
}

}  // namespace sluice::inline daemon
