// SPDX-License-Identifier: Apache-2.0
// The policy book as one JSON document.
#include <fmt/format.h>

#include <array>

#include "policy_fields.hpp"
#include "policy_state.hpp"
#include "sluice/base/json.hpp"
#include "sluice/base/json_entry.hpp"

namespace sluice::inline policy {
namespace {

namespace json = boost::json;

constexpr ByteCount kLongestBook{64ULL << 20};
constexpr std::uint64_t kVersion = 1;
constexpr std::array<std::string_view, 5> kScopes = {"instance", "trust_group", "user", "customer", "default"};
constexpr std::array<std::string_view, 4> kRoles = {"provider", "customer", "user", "instance"};
constexpr std::array<std::string_view, 8> kSections = {"users",     "groups",      "pools", "vms",
                                                       "templates", "attachments", "locks", "says"};

template <class Id>
json::array registered(const std::map<Id, CustomerId>& known) {
  json::array entries;
  for (const auto& [id, customer] : known) {
    entries.push_back(json::object{{"id", id.value()}, {"customer", customer.value()}});
  }
  return entries;
}

json::object target_entry(PolicyTarget target) {
  return {{"scope", json::string(kScopes.at(static_cast<std::size_t>(target.scope)))}, {"id", target.id}};
}

json::value document(const Policy& policy) { return json::parse(policy.to_json()); }

json::array vm_entries(const PolicyState& state) {
  json::array entries;
  for (const auto& [vm, subject] : state.vms) {
    entries.push_back(json::object{{"id", vm.value()},
                                   {"customer", subject.customer.value()},
                                   {"user", subject.user.value()},
                                   {"group", subject.group.value()},
                                   {"pool", subject.pool.value()}});
  }
  return entries;
}

json::array template_entries(const PolicyState& state) {
  json::array entries;
  for (const auto& [name, made] : state.templates) {
    entries.push_back(json::object{{"name", name},
                                   {"role", json::string(kRoles.at(static_cast<std::size_t>(made.owner.role)))},
                                   {"owner", made.owner.id},
                                   {"policy", document(made.policy)}});
  }
  return entries;
}

json::array attachment_entries(const PolicyState& state) {
  json::array entries;
  for (const auto& [target, attachment] : state.attached) {
    json::object entry = target_entry(target);
    if (attachment.template_name.empty()) {
      entry["policy"] = document(attachment.policy);
    } else {
      entry["template"] = attachment.template_name;
    }
    entries.push_back(std::move(entry));
  }
  return entries;
}

json::array lock_entries(const PolicyState& state) {
  json::array entries;
  for (const auto& [target, fields] : state.locks) {
    for (const PolicyField field : fields) {
      json::object entry = target_entry(target);
      entry["field"] = json::string(to_string(field));
      entries.push_back(std::move(entry));
    }
  }
  return entries;
}

json::array say_entries(const PolicyState& state) {
  json::array entries;
  for (const auto& [vm, said] : state.says) {
    for (const auto& [field, value] : said) {
      entries.push_back(json::object{{"id", vm.value()}, {"field", json::string(to_string(field))}, {"value", value}});
    }
  }
  return entries;
}

/// One entry of a book.
class Entry : public JsonEntry {
 public:
  using JsonEntry::JsonEntry;
  PolicyField field() {
    const std::string given = text("field");
    for (const FieldFacts& facts : kFields) {
      if (facts.name == given) return facts.field;
    }
    wrong("field", "a field of policies");
  }
  Policy policy() {
    auto read = Policy::from_json(json::serialize(at("policy")));
    if (!read) throw WrongEntry(read.error().message);
    return std::move(*read);
  }
  PolicyTarget target() { return {choice<PolicyScope>("scope", kScopes), number("id")}; }
};

void read_entry(PolicyState& state, std::string_view section, Entry& entry) {
  if (section == "users") {
    Entry::once(state.users.emplace(UserId(entry.number("id")), CustomerId(entry.number("customer"))).second);
  } else if (section == "groups") {
    Entry::once(state.groups.emplace(TrustGroupId(entry.number("id")), CustomerId(entry.number("customer"))).second);
  } else if (section == "pools") {
    Entry::once(state.pools.emplace(DedicatedPoolId(entry.number("id")), CustomerId(entry.number("customer"))).second);
  } else if (section == "vms") {
    const PolicySubject subject{VmId(entry.number("id")), TrustGroupId(entry.number("group")),
                                UserId(entry.number("user")), CustomerId(entry.number("customer")),
                                DedicatedPoolId(entry.number("pool"))};
    Entry::once(state.vms.emplace(subject.vm, subject).second);
  } else if (section == "templates") {
    const Caller owner{entry.choice<Caller::Role>("role", kRoles), entry.number("owner")};
    Entry::once(state.templates.emplace(entry.text("name"), PolicyTemplate{entry.policy(), owner}).second);
  } else if (section == "attachments") {
    PolicyAttachment attachment;
    if (!entry.has("template")) {
      attachment.policy = entry.policy();
    } else if (attachment.template_name = entry.text("template"); attachment.template_name.empty()) {
      Entry::wrong("template", "a name");
    }
    Entry::once(state.attached.emplace(entry.target(), attachment).second);
  } else if (section == "locks") {
    Entry::once(state.locks[entry.target()].insert(entry.field()).second);
  } else {
    Entry::once(state.says[VmId(entry.number("id"))].emplace(entry.field(), entry.flag("value")).second);
  }
  entry.end();
}

Error unfit(const std::string& what) { return {HostErrc::InvalidArgument, "policy book is wrong at " + what}; }

Result<void> read_sections(PolicyState& state, const json::object& document) {
  for (const std::string_view section : kSections) {
    auto read = read_json_section(document, section, [&](const json::value& value) {
      Entry entry(value);
      read_entry(state, section, entry);
    });
    if (!read) return unfit(read.error().message);
  }
  return {};
}

}  // namespace

std::string PolicyBook::save() const {
  return fmt::format("{{\n  \"version\": {}", kVersion) + json_section("users", registered(state_.users)) +
         json_section("groups", registered(state_.groups)) + json_section("pools", registered(state_.pools)) +
         json_section("vms", vm_entries(state_)) + json_section("templates", template_entries(state_)) +
         json_section("attachments", attachment_entries(state_)) + json_section("locks", lock_entries(state_)) +
         json_section("says", say_entries(state_)) + "\n}\n";
}

Result<PolicyBook> PolicyBook::load(std::string_view text, Policy built_in) {
  const auto parsed = parse_json(text, kLongestBook);
  if (!parsed) return unfit("its JSON: " + parsed.error().message);
  const json::object* const document = parsed->if_object();
  if (document == nullptr) return unfit("its JSON: it is no object: give what was saved");
  const json::value* const version = document->if_contains("version");
  if (version == nullptr || *version != json::value(kVersion)) {
    return unfit(fmt::format("version: give a book of version {}", kVersion));
  }
  if (document->size() != kSections.size() + 1) return unfit("its keys: one does not exist: leave it out");
  PolicyBook book(std::move(built_in));
  if (auto read = read_sections(book.state_, *document); !read) return read.error();
  if (auto checked = check_state(book.state_); !checked) return checked.error();
  return book;
}

}  // namespace sluice::inline policy
