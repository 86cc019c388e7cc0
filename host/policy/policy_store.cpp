// SPDX-License-Identifier: Apache-2.0
// The policy book as one JSON document.
#include <fmt/format.h>

#include <array>
#include <stdexcept>

#include "policy_fields.hpp"
#include "policy_state.hpp"
#include "sluice/base/json.hpp"

namespace sluice::inline policy {
namespace {

namespace json = boost::json;

constexpr ByteCount kLongestBook{64ULL << 20};
constexpr std::uint64_t kVersion = 1;
constexpr std::array<std::string_view, 5> kScopes = {"instance", "trust_group", "user", "customer", "default"};
constexpr std::array<std::string_view, 4> kRoles = {"provider", "customer", "user", "instance"};
constexpr std::array<std::string_view, 8> kSections = {"users",     "groups",      "pools", "vms",
                                                       "templates", "attachments", "locks", "says"};

/// Its entries, one a line.
std::string section(std::string_view name, const json::array& entries) {
  std::string text = fmt::format(",\n  \"{}\": [", name);
  for (const json::value& entry : entries) {
    text += (&entry == &entries.front() ? "\n    " : ",\n    ") + json::serialize(entry);
  }
  return text + (entries.empty() ? "]" : "\n  ]");
}

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

/// What is wrong with an entry, until read() says where.
struct Wrong : std::runtime_error {
  using std::runtime_error::runtime_error;
};

[[noreturn]] void wrong(std::string_view key, std::string_view want) {
  throw Wrong(fmt::format("'{}' is not what it can be: give {}", key, want));
}

/// One entry; each key that is read must be there, and no other.
class Entry {
 public:
  explicit Entry(const json::value& value) : object_(value.if_object()) {
    if (object_ == nullptr) throw Wrong("an entry is no object: give {\"key\": value, ...}");
  }
  [[nodiscard]] bool has(std::string_view key) const { return object_->contains(key); }
  const json::value& at(std::string_view key) {
    const json::value* const value = object_->if_contains(key);
    if (value == nullptr) throw Wrong(fmt::format("'{}' is missing: give it", key));
    ++read_;
    return *value;
  }
  std::uint64_t id(std::string_view key) {
    const json::value& value = at(key);
    if (value.is_uint64()) return value.get_uint64();
    if (!value.is_int64() || value.get_int64() < 0) wrong(key, "a whole number from 0");
    return static_cast<std::uint64_t>(value.get_int64());
  }
  std::string text(std::string_view key) {
    const json::value& value = at(key);
    if (!value.is_string()) wrong(key, "a text");
    return std::string(value.get_string());
  }
  bool flag(std::string_view key) {
    const json::value& value = at(key);
    if (!value.is_bool()) wrong(key, "true or false");
    return value.get_bool();
  }
  template <class Enum>
  Enum choice(std::string_view key, std::span<const std::string_view> names) {
    const std::string given = text(key);
    for (std::size_t index = 0; index < names.size(); ++index) {
      if (names[index] == given) return static_cast<Enum>(index);
    }
    wrong(key, fmt::format("one of {}", fmt::join(names, ", ")));
  }
  PolicyField field() {
    const std::string given = text("field");
    for (const FieldFacts& facts : kFields) {
      if (facts.name == given) return facts.field;
    }
    wrong("field", "a field of policies");
  }
  Policy policy() {
    auto read = Policy::from_json(json::serialize(at("policy")));
    if (!read) throw Wrong(read.error().message);
    return std::move(*read);
  }
  PolicyTarget target() { return {choice<PolicyScope>("scope", kScopes), id("id")}; }
  void end() const {
    if (read_ != object_->size()) throw Wrong("the entry has a key that does not exist: leave it out");
  }

 private:
  const json::object* object_;
  std::size_t read_ = 0;
};

void once(bool fresh) {
  if (!fresh) throw Wrong("the entry stands twice: leave one out");
}

void read_entry(PolicyState& state, std::string_view section, Entry& entry) {
  if (section == "users") {
    once(state.users.emplace(UserId(entry.id("id")), CustomerId(entry.id("customer"))).second);
  } else if (section == "groups") {
    once(state.groups.emplace(TrustGroupId(entry.id("id")), CustomerId(entry.id("customer"))).second);
  } else if (section == "pools") {
    once(state.pools.emplace(DedicatedPoolId(entry.id("id")), CustomerId(entry.id("customer"))).second);
  } else if (section == "vms") {
    const PolicySubject subject{VmId(entry.id("id")), TrustGroupId(entry.id("group")), UserId(entry.id("user")),
                                CustomerId(entry.id("customer")), DedicatedPoolId(entry.id("pool"))};
    once(state.vms.emplace(subject.vm, subject).second);
  } else if (section == "templates") {
    const Caller owner{entry.choice<Caller::Role>("role", kRoles), entry.id("owner")};
    once(state.templates.emplace(entry.text("name"), PolicyTemplate{entry.policy(), owner}).second);
  } else if (section == "attachments") {
    PolicyAttachment attachment;
    if (!entry.has("template")) {
      attachment.policy = entry.policy();
    } else if (attachment.template_name = entry.text("template"); attachment.template_name.empty()) {
      wrong("template", "a name");
    }
    once(state.attached.emplace(entry.target(), attachment).second);
  } else if (section == "locks") {
    once(state.locks[entry.target()].insert(entry.field()).second);
  } else {
    once(state.says[VmId(entry.id("id"))].emplace(entry.field(), entry.flag("value")).second);
  }
  entry.end();
}

Error unfit(const std::string& where, std::string_view what) {
  return {HostErrc::InvalidArgument, fmt::format("policy book is wrong at {}: {}", where, what)};
}

Result<void> read_sections(PolicyState& state, const json::object& document) {
  for (const std::string_view section : kSections) {
    const json::value* const value = document.if_contains(section);
    if (value == nullptr || !value->is_array()) return unfit(std::string(section), "it is no array: give one");
    std::size_t index = 0;
    for (const json::value& each : value->get_array()) {
      try {
        Entry entry(each);
        read_entry(state, section, entry);
      } catch (const Wrong& error) {
        return unfit(fmt::format("{}[{}]", section, index), error.what());
      }
      ++index;
    }
  }
  return {};
}

}  // namespace

std::string PolicyBook::save() const {
  return fmt::format("{{\n  \"version\": {}", kVersion) + section("users", registered(state_.users)) +
         section("groups", registered(state_.groups)) + section("pools", registered(state_.pools)) +
         section("vms", vm_entries(state_)) + section("templates", template_entries(state_)) +
         section("attachments", attachment_entries(state_)) + section("locks", lock_entries(state_)) +
         section("says", say_entries(state_)) + "\n}\n";
}

Result<PolicyBook> PolicyBook::load(std::string_view text, Policy built_in) {
  const auto parsed = parse_json(text, kLongestBook);
  if (!parsed) return unfit("its JSON", parsed.error().message);
  const json::object* const document = parsed->if_object();
  if (document == nullptr) return unfit("its JSON", "it is no object: give what was saved");
  const json::value* const version = document->if_contains("version");
  if (version == nullptr || *version != json::value(kVersion)) {
    return unfit("version", fmt::format("give a book of version {}", kVersion));
  }
  if (document->size() != kSections.size() + 1) return unfit("its keys", "one does not exist: leave it out");
  PolicyBook book(std::move(built_in));
  if (auto read = read_sections(book.state_, *document); !read) return read.error();
  if (auto checked = check_state(book.state_); !checked) return checked.error();
  return book;
}

}  // namespace sluice::inline policy
