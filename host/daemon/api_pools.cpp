// SPDX-License-Identifier: Apache-2.0
// Dedicated pools by the web service. They are filled while others are served.
#include <spdlog/spdlog.h>

#include "api_handlers.hpp"

namespace sluice::inline daemon {

namespace json = boost::json;

namespace {

constexpr std::size_t kMostFailures = 64;  // that are remembered

std::optional<PoolRule> rule_in(ApiBody& body) {
  if (!body.has("rule") || body.is_null("rule")) return std::nullopt;
  ApiBody rule(body.at("rule"), "rule");
  PoolRule read{rule.bytes("least_free"), rule.bytes("most_free"), rule.bytes("step"), rule.bytes("smallest"),
                rule.bytes("largest")};
  rule.end();
  return read;
}

json::value rule_json(const std::optional<PoolRule>& rule) {
  if (!rule) return nullptr;
  return json::object{{"least_free", rule->least_free.value()},
                      {"most_free", rule->most_free.value()},
                      {"step", rule->step.value()},
                      {"smallest", rule->smallest.value()},
                      {"largest", rule->largest.value()}};
}

}  // namespace

json::object Api::Handlers::pool_json(DedicatedPoolId pool, const PoolFacts& facts) const {
  return {{"id", pool.value()},
          {"customer", facts.customer.value()},
          {"ready", facts.ready},
          {"bytes", facts.size.value()},
          {"free", facts.free.value()},
          {"shares", facts.shares},
          {"vms", facts.vms},
          {"unit", facts.placement.unit ? json::value(facts.placement.unit->value()) : json::value(nullptr)},
          {"rule", rule_json(facts.rule)}};
}

Result<DedicatedPoolId> Api::Handlers::find_pool(const ApiCall& call) {
  const auto pool = parse_id<DedicatedPoolId>(call.parts.front());
  if (!pool) return pool.error();
  if (const auto facts = policies_->manager().dedicated_pool(*pool)) {
    if (sees(call.caller, facts->customer)) return *pool;
  } else if (const auto filling = fillings_->find(*pool);
             filling != fillings_->end() && sees(call.caller, filling->second.customer)) {
    return Error{HostErrc::UnknownId,
                 fmt::format("pool {} could not be filled: {}", pool->value(), filling->second.failure)};
  } else if (const auto known = policies_->book().pools().find(*pool);
             known != policies_->book().pools().end() && sees(call.caller, known->second)) {
    return *pool;  // lost with the host's memory
  }
  return unknown("pool", call.parts.front());
}

/// For the manager, which may call it when this has gone.
PoolHandler Api::Handlers::when_filled(DedicatedPoolId pool, CustomerId customer) {
  // No more failures than can be read.
  while (fillings_->size() > kMostFailures) {
    const auto failed = std::ranges::find_if(*fillings_, [](const auto& each) { return !each.second.failure.empty(); });
    if (failed == fillings_->end()) break;
    fillings_->erase(failed);
  }
  fillings_->insert_or_assign(pool, Filling{customer, {}});
  return [this, pool, alive = std::weak_ptr(fillings_)](const Result<void>& filled) {
    const auto fillings = alive.lock();
    if (!fillings) return;
    if (!filled) {
      (*fillings)[pool].failure = filled.error().message;
      spdlog::warn("pool {} could not be filled: {}", pool.value(), filled.error().message);
      return;
    }
    fillings->erase(pool);
    if (auto saved = state_->put_policies(policies_->save()); !saved) {
      spdlog::error("pool {} is filled, and that could not be stored: {}", pool.value(), saved.error().message);
    }
  };
}

void Api::Handlers::restore_pools() {
  for (const DedicatedPoolId pool : policies_->manager().unadopted_pools()) {
    const auto given_up = policies_->manager().destroy_dedicated_pool(pool);
    spdlog::warn("pool {} was being filled when sluiced ended, and is given up{}", pool.value(),
                 given_up ? "" : ": " + given_up.error().message);
  }
  for (const auto& [pool, lost] : policies_->lost_pools()) {
    const auto begun = policies_->create_dedicated_pool(Caller::provider(), pool, lost.customer, lost.length,
                                                        when_filled(pool, lost.customer), lost.options);
    if (begun) continue;
    fillings_->erase(pool);
    spdlog::warn("pool {} cannot be filled again: {}", pool.value(), begun.error().message);
  }
}

ApiAnswer Api::Handlers::get_pools(const ApiCall& call) {
  std::map<DedicatedPoolId, CustomerId> all = policies_->book().pools();
  for (const auto& [pool, filling] : *fillings_) all.emplace(pool, filling.customer);
  json::array pools;
  for (const auto& [pool, customer] : all) {
    const auto facts = policies_->manager().dedicated_pool(pool);
    if (facts && sees(call.caller, facts->customer)) pools.push_back(pool_json(pool, *facts));
  }
  return reply(json::object{{"pools", std::move(pools)}});
}

ApiAnswer Api::Handlers::post_pool(const ApiCall& call) {
  ApiBody body(call.body);
  const DedicatedPoolId pool(body.number("id"));
  const CustomerId customer(body.number("customer"));
  const ByteCount length = body.bytes("length");
  PoolOptions options;
  options.shares = body.flag("shares", false);
  if (body.has("unit")) options.placement.unit = body.bytes("unit");
  options.rule = rule_in(body);
  body.end();
  const auto before = fillings_->find(pool) == fillings_->end() ? std::nullopt : std::optional(fillings_->at(pool));
  const auto begun =
      policies_->create_dedicated_pool(call.caller, pool, customer, length, when_filled(pool, customer), options);
  if (!begun) {
    fillings_->erase(pool);
    if (before) fillings_->emplace(pool, *before);
    return begun.error();
  }
  return stored(reply(pool_json(pool, policies_->manager().dedicated_pool(pool).value()), 202));
}

ApiAnswer Api::Handlers::get_pool(const ApiCall& call) {
  const auto pool = find_pool(call);
  if (!pool) return pool.error();
  const auto facts = policies_->manager().dedicated_pool(*pool);
  if (!facts) {
    return Error{HostErrc::WrongState,
                 fmt::format("pool {} was lost with the host's memory, and could not be filled again: create or delete "
                             "it",
                             pool->value())};
  }
  return reply(pool_json(*pool, *facts));
}

ApiAnswer Api::Handlers::delete_pool(const ApiCall& call) {
  expect_no_body(call);
  const auto pool = find_pool(call);
  if (!pool) return pool.error();
  const auto named = registration_naming([&](const VmRegistration& each) { return each.pool == *pool; });
  if (!named) return named.error();
  if (call.caller.role == Caller::Role::Provider && !named->empty()) {
    return Error{HostErrc::WrongState,
                 fmt::format("the registration of VM {} names pool {}: change that first", *named, pool->value())};
  }
  return stored(policies_->destroy_dedicated_pool(call.caller, *pool), nothing());
}

ApiAnswer Api::Handlers::grow_pool(const ApiCall& call) {
  ApiBody body(call.body);
  const ByteCount length = body.bytes("length");
  body.end();
  const auto pool = find_pool(call);
  if (!pool) return pool.error();
  const auto begun = policies_->grow_dedicated_pool(
      call.caller, *pool, length, [this, pool = *pool, alive = std::weak_ptr(fillings_)](const Result<void>& grown) {
        if (!grown) spdlog::warn("pool {} could not grow: {}", pool.value(), grown.error().message);
        if (!grown || alive.expired()) return;
        if (auto saved = state_->put_policies(policies_->save()); !saved) {
          spdlog::error("pool {} has grown, and that could not be stored: {}", pool.value(), saved.error().message);
        }
      });
  if (!begun) return begun.error();
  return reply(pool_json(*pool, policies_->manager().dedicated_pool(*pool).value()), 202);
}

ApiAnswer Api::Handlers::shrink_pool(const ApiCall& call) {
  ApiBody body(call.body);
  const ByteCount length = body.bytes("length");
  body.end();
  const auto pool = find_pool(call);
  if (!pool) return pool.error();
  if (auto done = policies_->shrink_dedicated_pool(call.caller, *pool, length); !done) return done.error();
  return stored(reply(pool_json(*pool, policies_->manager().dedicated_pool(*pool).value())));
}

ApiAnswer Api::Handlers::partition_pool(const ApiCall& call) {
  ApiBody body(call.body);
  const DedicatedPoolId part(body.number("part"));
  const ByteCount length = body.bytes("length");
  body.end();
  const auto pool = find_pool(call);
  if (!pool) return pool.error();
  if (auto done = policies_->partition_dedicated_pool(call.caller, *pool, part, length); !done) return done.error();
  return stored(reply(pool_json(part, policies_->manager().dedicated_pool(part).value()), 201));
}

ApiAnswer Api::Handlers::merge_pool(const ApiCall& call) {
  ApiBody body(call.body);
  const DedicatedPoolId other(body.number("other"));
  body.end();
  const auto pool = find_pool(call);
  if (!pool) return pool.error();
  const auto named = registration_naming([&](const VmRegistration& each) { return each.pool == other; });
  if (!named) return named.error();
  if (call.caller.role == Caller::Role::Provider && !named->empty()) {
    return Error{HostErrc::WrongState,
                 fmt::format("the registration of VM {} names pool {}: change that first", *named, other.value())};
  }
  if (auto done = policies_->merge_dedicated_pools(call.caller, *pool, other); !done) return done.error();
  return stored(reply(pool_json(*pool, policies_->manager().dedicated_pool(*pool).value())));
}

ApiAnswer Api::Handlers::change_pool_rule(const ApiCall& call) {
  ApiBody body(call.body);
  static_cast<void>(body.at("rule"));
  const auto rule = rule_in(body);
  body.end();
  const auto pool = find_pool(call);
  if (!pool) return pool.error();
  if (auto checked = check_provider(call.caller, "change the rule of a pool"); !checked) return checked.error();
  if (auto done = policies_->manager().change_pool_rule(*pool, rule); !done) return done.error();
  return stored(reply(pool_json(*pool, policies_->manager().dedicated_pool(*pool).value())));
}

}  // namespace sluice::inline daemon
