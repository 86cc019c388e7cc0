// SPDX-License-Identifier: Apache-2.0
// The policy manager as one JSON document, and what a new manager makes of it.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "errors.hpp"
#include "sluice/base/json.hpp"
#include "sluice/base/json_entry.hpp"
#include "sluice/manager/policy_manager.hpp"

namespace sluice::inline manager {

/// What is in a document.
struct PolicyManager::Document {
  PolicyBook book;
  std::map<TrustGroupId, GroupFacts> groups;
  std::map<DedicatedPoolId, LostPool> pools;
  std::map<VmId, Placement> vms;
  std::optional<ByteCount> shared_minimum;
};

namespace {

namespace json = boost::json;

constexpr ByteCount kLongestDocument{64ULL << 20};
constexpr std::uint64_t kVersion = 1;
constexpr std::string_view kSharedMinimum = "shared_minimum";
constexpr std::array kPages = {PageKind::Small, PageKind::Huge2MiB, PageKind::Huge1GiB};

template <class Value>
json::value or_null(const std::optional<Value>& value) {
  return value ? json::value(*value) : json::value(nullptr);
}

json::object placement_entry(std::uint64_t id, const Placement& placement) {
  std::optional<std::uint64_t> page;
  std::optional<std::uint64_t> unit;
  if (placement.pages) page = page_length(*placement.pages).value();
  if (placement.unit) unit = placement.unit->value();
  return {{"id", id},
          {"page", or_null(page)},
          {"unit", or_null(unit)},
          {"node", or_null(placement.node)},
          {"only_node", placement.only_node},
          {"contiguous", placement.contiguous.value()}};
}

json::object group_entry(TrustGroupId group, const GroupFacts& facts) {
  return {{"id", group.value()}, {"inside", facts.inside.value()}, {"enabled", facts.enabled}};
}

json::value rule_entry(const PoolRule& rule) {
  return {{"least_free", rule.least_free.value()},
          {"most_free", rule.most_free.value()},
          {"step", rule.step.value()},
          {"smallest", rule.smallest.value()},
          {"largest", rule.largest.value()}};
}

std::optional<PoolRule> rule_in(JsonEntry& pool) {
  if (pool.is_null("rule")) return std::nullopt;
  JsonEntry entry(pool.at("rule"));
  const auto bytes = [&](std::string_view key) { return ByteCount(entry.number(key)); };
  const PoolRule rule{bytes("least_free"), bytes("most_free"), bytes("step"), bytes("smallest"), bytes("largest")};
  entry.end();
  return rule;
}

json::object pool_entry(DedicatedPoolId pool, const LostPool& facts) {
  json::object entry = placement_entry(pool.value(), facts.options.placement);
  entry["shares"] = facts.options.shares;
  entry["length"] = facts.length.value();
  entry["rule"] = facts.options.rule ? rule_entry(*facts.options.rule) : json::value(nullptr);
  return entry;
}

Placement placement_in(JsonEntry& entry) {
  Placement placement;
  if (!entry.is_null("page")) {
    const ByteCount given(entry.number("page"));
    for (const PageKind pages : kPages) {
      if (page_length(pages) == given) placement.pages = pages;
    }
    if (!placement.pages) JsonEntry::wrong("page", "null, 4096, 2097152 or 1073741824");
  }
  if (!entry.is_null("unit")) placement.unit = ByteCount(entry.number("unit"));
  if (!entry.is_null("node")) {
    const std::uint64_t node = entry.number("node");
    if (node > UINT32_MAX) JsonEntry::wrong("node", "null, or a number below 2^32");
    placement.node = static_cast<std::uint32_t>(node);
  }
  placement.only_node = entry.flag("only_node");
  placement.contiguous = ByteCount(entry.number("contiguous"));
  return placement;
}

Error unfit(const std::string& what) { return {HostErrc::InvalidArgument, "policy document is wrong at " + what}; }

/// One entry for each id of the book, and no other.
template <class Id, class Facts, class Known, class Read>
Result<void> read_section(const json::object& document, std::string_view name, const Known& known,
                          std::map<Id, Facts>& into, const Read& read) {
  auto done = read_json_section(document, name, [&](const json::value& value) {
    JsonEntry entry(value);
    const Id id(entry.number("id"));
    if (!known.contains(id)) JsonEntry::wrong("id", "one that is in the book");
    JsonEntry::once(into.emplace(id, read(entry, id)).second);
    entry.end();
  });
  if (!done) return unfit(done.error().message);
  if (into.size() == known.size()) return {};
  return unfit(
      fmt::format("{}: it has {} entries, and the book {}: give one for each", name, into.size(), known.size()));
}

/// Of a document that has it.
Result<std::optional<ByteCount>> shared_minimum_in(const json::object& document) {
  const json::value* const value = document.if_contains(kSharedMinimum);
  if (value == nullptr) return std::optional<ByteCount>();
  if (value->is_uint64()) return std::optional(ByteCount(value->get_uint64()));
  if (value->is_int64() && value->get_int64() >= 0) {
    return std::optional(ByteCount(static_cast<std::uint64_t>(value->get_int64())));
  }
  return unfit(fmt::format("{}: it is not what it can be: give a whole number from 0", kSharedMinimum));
}

/// Whether the groups of a document can all be created.
Result<void> check_groups(const std::map<TrustGroupId, GroupFacts>& groups) {
  for (const auto& [group, facts] : groups) {
    const bool is_customers = group >= customer_group({});
    if (is_customers && (group != customer_group(facts.customer) || facts.inside.is_set())) {
      return unfit(
          fmt::format("groups: {:#x} is the id of another customer's own group, or lies inside one: leave it "
                      "out",
                      group.value()));
    }
    if (!facts.inside.is_set()) continue;
    const auto outer = groups.find(facts.inside);
    const bool fits = outer != groups.end() && outer->second.customer == facts.customer &&
                      !outer->second.inside.is_set() && facts.inside != group;
    if (!fits) {
      return unfit(fmt::format("groups: {} lies inside {}: give a group of the same customer that lies inside none",
                               group.value(), facts.inside.value()));
    }
  }
  return {};
}

}  // namespace

std::string PolicyManager::save() const {
  PolicyBook book = book_;
  add_filled(book);
  json::array groups;
  for (const auto& [group, customer] : book.groups()) {
    groups.push_back(group_entry(group, manager_->trust_group(group).value()));
  }
  json::array pools;
  for (const auto& [pool, customer] : book.pools()) {
    const auto facts = manager_->dedicated_pool(pool);
    const bool is_there = facts && facts->ready;
    pools.push_back(
        pool_entry(pool, is_there ? LostPool{customer, {facts->placement, facts->shares, facts->rule}, facts->size}
                                  : lost_.at(pool)));
  }
  json::array vms;
  for (const auto& [vm, subject] : book.vms()) {
    const auto profile = manager_->profile(vm);
    vms.push_back(placement_entry(vm.value(), profile ? profile->placement : unadopted_.at(vm)));
  }
  std::string text = book.save();
  text.pop_back();  // the end of its last line
  return fmt::format("{{\n\"version\": {},\n\"{}\": {},\n\"book\": {}", kVersion, kSharedMinimum,
                     manager_->shared_minimum().value(), text) +
         json_section("groups", groups) + json_section("pools", pools) + json_section("vms", vms) + "\n}\n";
}

Result<PolicyManager::Document> PolicyManager::read(std::string_view text, Policy built_in) {
  const auto parsed = parse_json(text, kLongestDocument);
  if (!parsed) return unfit("its JSON: " + parsed.error().message);
  const json::object* const object = parsed->if_object();
  if (object == nullptr) return unfit("its JSON: it is no object: give what was saved");
  const json::value* const version = object->if_contains("version");
  if (version == nullptr || *version != json::value(kVersion)) {
    return unfit(fmt::format("version: give a document of version {}", kVersion));
  }
  const json::value* const saved = object->if_contains("book");
  auto shared_minimum = shared_minimum_in(*object);
  if (!shared_minimum) return shared_minimum.error();
  if (saved == nullptr || object->size() != (*shared_minimum ? 6 : 5)) {
    return unfit("its keys: give version, shared_minimum, book, groups, pools and vms, and no other");
  }
  auto book = PolicyBook::load(json::serialize(*saved), std::move(built_in));
  if (!book) return book.error();
  Document document{std::move(*book), {}, {}, {}, *shared_minimum};
  const PolicyBook& known = document.book;
  auto groups = read_section(*object, "groups", known.groups(), document.groups, [&](JsonEntry& entry, auto group) {
    const TrustGroupId inside(entry.number("inside"));
    return GroupFacts{known.groups().at(group), inside, entry.flag("enabled")};
  });
  if (!groups) return groups.error();
  auto pools = read_section(*object, "pools", known.pools(), document.pools, [&](JsonEntry& entry, auto pool) {
    const Placement placement = placement_in(entry);
    const bool shares = entry.flag("shares");
    const ByteCount length(entry.number("length"));
    return LostPool{known.pools().at(pool), {placement, shares, rule_in(entry)}, length};
  });
  if (!pools) return pools.error();
  auto vms = read_section(*object, "vms", known.vms(), document.vms,
                          [](JsonEntry& entry, auto /*vm*/) { return placement_in(entry); });
  if (!vms) return vms.error();
  if (auto checked = check_groups(document.groups); !checked) return checked.error();
  return document;
}

Result<PolicyManager> PolicyManager::load(std::string_view text, MemoryManager& manager, Policy built_in) {
  auto document = read(text, std::move(built_in));
  if (!document) return document.error();
  for (const auto& [vm, placement] : document->vms) {
    if (!manager.profile(vm)) continue;
    return Error{
        HostErrc::WrongState,
        fmt::format("the manager has VM {} already: load the document before VMs are created or adopted", vm.value())};
  }
  PolicyManager loaded(manager);
  for (const auto& [pool, facts] : document->pools) {
    if (auto restored = loaded.restore_pool(pool, facts); !restored) return restored.error();
  }
  for (const bool nested : {false, true}) {
    for (const auto& [group, facts] : document->groups) {
      if (facts.inside.is_set() != nested) continue;
      if (auto restored = loaded.restore_group(group, facts); !restored) return restored.error();
    }
  }
  if (document->shared_minimum) manager.keep_shared(*document->shared_minimum);
  loaded.book_ = std::move(document->book);
  loaded.unadopted_ = std::move(document->vms);
  return loaded;
}

Result<void> PolicyManager::restore_group(TrustGroupId group, const GroupFacts& facts) {
  if (const auto there = manager_->trust_group(group)) {
    if (there->customer != facts.customer || there->inside != facts.inside) {
      return Error{
          HostErrc::WrongState,
          fmt::format("the manager has another trust group {}: load the document into a new manager", group.value())};
    }
  } else if (group != customer_group(facts.customer)) {
    auto created = manager_->create_trust_group(group, facts.customer, facts.inside);
    if (!created) return created;
  }
  return manager_->enable_trust_group(group, facts.enabled);
}

/// A pool without memory waits for somebody to create it again.
Result<void> PolicyManager::restore_pool(DedicatedPoolId pool, const LostPool& facts) {
  if (const auto there = manager_->dedicated_pool(pool); there && there->customer != facts.customer) {
    return Error{HostErrc::WrongState, fmt::format("the manager has another pool {}: load the document into a new "
                                                   "manager",
                                                   pool.value())};
  }
  lost_.emplace(pool, facts);
  const std::vector<DedicatedPoolId> found = manager_->unadopted_pools();
  if (std::find(found.begin(), found.end(), pool) == found.end()) return {};
  return manager_->adopt_dedicated_pool(pool, facts.customer, facts.options);
}

}  // namespace sluice::inline manager
