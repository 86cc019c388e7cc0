// SPDX-License-Identifier: Apache-2.0
#include "sluice/daemon/config.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

#include "sluice/base/parse.hpp"
#include "sluice/base/toml.hpp"
#include "sluice/engine/engine_options.hpp"

namespace sluice::inline daemon {
namespace {

constexpr std::size_t kMostText = 1 << 20;
constexpr std::uint32_t kMostBricks = 60'000;  // the kernel gives a process 65,530 mappings
constexpr std::size_t kMostUsers = 64;
constexpr std::size_t kMostCustomers = 4096;
constexpr std::size_t kMostEngines = 8;
constexpr std::size_t kLongestSocket = 103;  // unix(7): 107, and it is made under a longer name
constexpr std::array<std::string_view, 5> kLevels = {"trace", "debug", "info", "warn", "error"};

/// A table of the file. Every key must be asked for, so that a misspelt one is an error and not silence.
class Section {
 public:
  Section(const toml::table& table, std::string name) : table_(table), name_(std::move(name)) {}

  [[noreturn]] void fail(const toml::node& node, std::string_view key, const std::string& message) const {
    throw TomlError(node.source().begin.line, fmt::format("{}.{}: {}", name_, printable(key, 60), message));
  }
  /// Of a key that may not be there.
  [[noreturn]] void fail(std::string_view key, const std::string& message) const {
    const toml::node* const node = table_.get(key);
    fail(node == nullptr ? table_ : *node, key, message);
  }
  const toml::node* find(std::string_view key) {
    asked_.emplace(key);
    return table_.get(key);
  }
  void text(std::string_view key, std::string& into, std::size_t most = 4000) {
    const toml::node* const node = find(key);
    if (node == nullptr) return;
    const auto value = node->value_exact<std::string>();
    if (!value || value->empty() || value->size() > most) {
      fail(*node, key, fmt::format("give text of 1 to {} letters, in quotes", most));
    }
    into = *value;
  }
  void flag(std::string_view key, bool& into) {
    const toml::node* const node = find(key);
    if (node == nullptr) return;
    const auto value = node->value_exact<bool>();
    if (!value) fail(*node, key, "give true or false");
    into = *value;
  }
  /// "64MiB"
  ByteCount bytes(std::string_view key, ByteCount otherwise) {
    const toml::node* const node = find(key);
    if (node == nullptr) return otherwise;
    const auto value = node->value_exact<std::string>();
    const auto parsed = value ? parse_bytes(*value) : std::nullopt;
    if (!parsed) fail(*node, key, "give a length in quotes, such as \"64MiB\"");
    return *parsed;
  }
  std::optional<std::uint64_t> number(std::string_view key, std::uint64_t most) {
    const toml::node* const node = find(key);
    if (node == nullptr) return std::nullopt;
    const auto value = node->value_exact<std::int64_t>();
    if (!value || *value < 0 || static_cast<std::uint64_t>(*value) > most) {
      fail(*node, key, fmt::format("give a number from 0 to {}", most));
    }
    return static_cast<std::uint64_t>(*value);
  }
  const toml::array* array(std::string_view key, std::size_t most, std::string_view example) {
    const toml::node* const node = find(key);
    if (node == nullptr) return nullptr;
    const toml::array* const values = node->as_array();
    if (values == nullptr || values->empty() || values->size() > most) {
      fail(*node, key, fmt::format("give a list of 1 to {}, such as {}", most, example));
    }
    return values;
  }
  /// After all keys were asked for.
  void end() const {
    for (const auto& [key, node] : table_) {
      if (asked_.contains(key.str())) continue;
      std::string known;
      for (const std::string& name : asked_) known += (known.empty() ? "" : ", ") + name;
      fail(node, key.str(), fmt::format("there is no such key; there are {}", known));
    }
  }

 private:
  const toml::table& table_;
  std::string name_;
  std::set<std::string, std::less<>> asked_;
};

void read_bricks(Section& section, DaemonConfig& config) {
  constexpr std::string_view kExample = R"([{ size = "1GiB", count = 16 }])";
  const toml::array* const classes = section.array("bricks", 16, kExample);
  if (classes == nullptr) return;
  config.bricks.clear();
  std::uint64_t total = 0;
  for (const toml::node& node : *classes) {
    const toml::table* const table = node.as_table();
    if (table == nullptr) section.fail(node, "bricks", fmt::format("give tables, such as {}", kExample));
    Section entry(*table, "memory.bricks");
    const BrickClass bricks{entry.bytes("size", ByteCount(0)),
                            static_cast<std::uint32_t>(entry.number("count", kMostBricks).value_or(0))};
    entry.end();
    const std::uint64_t page = page_length(config.pages).value();
    if (bricks.count == 0 || bricks.length == ByteCount(0) || bricks.length.value() % page != 0) {
      section.fail(
          node, "bricks",
          fmt::format("give a size that is a multiple of {}, and a count of at least 1", print_bytes(ByteCount(page))));
    }
    if (std::ranges::find(config.bricks, bricks.length, &BrickClass::length) != config.bricks.end()) {
      section.fail(node, "bricks", fmt::format("{} is there twice", print_bytes(bricks.length)));
    }
    total += bricks.count;
    config.bricks.push_back(bricks);
  }
  if (total > kMostBricks) {
    section.fail(*classes, "bricks",
                 fmt::format("{} bricks are more than the {} that one process can map: give "
                             "longer ones",
                             total, kMostBricks));
  }
  std::ranges::sort(config.bricks, {}, &BrickClass::length);
}

void read_memory(Section section, DaemonConfig& config) {
  section.text("folder", config.memory_folder);
  std::string pages = print_bytes(page_length(config.pages));
  section.text("pages", pages);
  bool known = false;
  for (const PageKind kind : {PageKind::Small, PageKind::Huge2MiB, PageKind::Huge1GiB}) {
    if (pages != print_bytes(page_length(kind))) continue;
    config.pages = kind;
    known = true;
  }
  if (!known) {
    section.fail(*section.find("pages"), "pages", R"(give "4KiB", or "2MiB" or "1GiB" for a folder on hugetlbfs)");
  }
  if (const auto node = section.number("node", 1023)) config.node = static_cast<std::uint32_t>(*node);
  read_bricks(section, config);
  section.end();
}

void read_scrub(Section section, DaemonConfig& config) {
  if (const toml::array* const engines = section.array("engines", kMostEngines, R"(["cpu"])")) {
    config.engines.clear();
    for (const toml::node& node : *engines) {
      const auto name = node.value_exact<std::string>();
      if (!name) section.fail(node, "engines", "give names of engines, in quotes");
      if (auto parsed = EngineName::parse(*name); !parsed) section.fail(node, "engines", parsed.error().message);
      config.engines.push_back(*name);
    }
  }
  config.background_rate = section.bytes("background_rate", config.background_rate);
  section.end();
}

uid_t user_in(const Section& section, const toml::node& node, std::string_view key) {
  const auto user = node.value_exact<std::int64_t>();
  if (!user || *user < 0 || *user >= 0xffffffff) section.fail(node, key, "give user ids, which are numbers");
  return static_cast<uid_t>(*user);
}

void read_vmm(Section section, DaemonConfig& config) {
  section.text("socket", config.socket, kLongestSocket);
  if (const toml::array* const users = section.array("users", kMostUsers, "[0, 64055]")) {
    config.users.clear();
    for (const toml::node& node : *users) config.users.push_back(user_in(section, node, "users"));
  }
  if (const auto customer = section.number("customer", 1ULL << 62)) {
    if (*customer == 0) section.fail(*section.find("customer"), "customer", "give a number of at least 1");
    config.customer = CustomerId(*customer);
  }
  section.end();
}

/// "192.0.2.1:8443", "[2001:db8::1]:8443"
void read_listen(Section& section, ApiTls& tls) {
  std::string listen;
  section.text("listen", listen);
  const std::size_t colon = listen.rfind(':');
  if (colon != std::string::npos) {
    tls.port = parse_integer<std::uint16_t>(std::string_view(listen).substr(colon + 1)).value_or(0);
  }
  tls.address = listen.substr(0, colon);
  if (tls.address.starts_with('[') && tls.address.ends_with(']'))
    tls.address = tls.address.substr(1, tls.address.size() - 2);
  if (tls.port == 0 || tls.address.empty()) {
    section.fail("listen", "give an address and a port, such as \"0.0.0.0:8443\"");
  }
}

ApiTls read_tls(Section section) {
  ApiTls tls;
  read_listen(section, tls);
  for (const auto& [key, text] : {std::pair{"certificate", &tls.certificate}, std::pair{"key", &tls.key},
                                  std::pair{"client_ca", &tls.client_ca}}) {
    section.text(key, *text);
    if (text->empty()) section.fail(key, "give a file in PEM");
  }
  section.end();
  return tls;
}

void read_api(Section section, DaemonConfig& config) {
  section.text("socket", config.api.socket, kLongestSocket);
  if (const toml::array* const users = section.array("users", kMostUsers, "[0, 64055]")) {
    for (const toml::node& node : *users) config.api.users.push_back(user_in(section, node, "users"));
  }
  constexpr std::string_view kExample = "[{ user = 1001, customer = 7 }]";
  if (const toml::array* const customers = section.array("customers", kMostCustomers, kExample)) {
    for (const toml::node& node : *customers) {
      const toml::table* const table = node.as_table();
      if (table == nullptr) section.fail(node, "customers", fmt::format("give tables, such as {}", kExample));
      Section entry(*table, "api.customers");
      const toml::node* const user = entry.find("user");
      const auto customer = entry.number("customer", 1ULL << 62).value_or(0);
      entry.end();
      if (user == nullptr || customer == 0) {
        section.fail(node, "customers", fmt::format("give a user and a customer from 1, such as {}", kExample));
      }
      const ApiCustomer named{user_in(entry, *user, "user"), CustomerId(customer)};
      const bool provides = named.user == 0 || std::ranges::count(config.api.users, named.user) != 0;
      if (provides || std::ranges::count(config.api.customers, named.user, &ApiCustomer::user) != 0) {
        section.fail(node, "customers",
                     fmt::format("user {} is {}: name it once", named.user, provides ? "the provider" : "there twice"));
      }
      config.api.customers.push_back(named);
    }
  }
  if (const toml::node* const tls = section.find("tls")) {
    if (tls->as_table() == nullptr) section.fail(*tls, "tls", "give a table: [api.tls]");
    config.api.tls = read_tls(Section(*tls->as_table(), "api.tls"));
  }
  if (const auto timeout = section.number("timeout_s", 3600)) {
    if (*timeout == 0) section.fail(*section.find("timeout_s"), "timeout_s", "give a number of seconds from 1");
    config.api.timeout = std::chrono::seconds(*timeout);
  }
  section.end();
}

void read_log(Section section, DaemonConfig& config) {
  section.text("level", config.log_level);
  if (std::ranges::find(kLevels, config.log_level) == kLevels.end()) {
    section.fail(*section.find("level"), "level", "give trace, debug, info, warn or error");
  }
  section.flag("json", config.log_json);
  section.end();
}

}  // namespace

Result<DaemonConfig> parse_config(std::string_view text, std::string_view file) {
  DaemonConfig config;
  if (text.size() > kMostText) {
    return Error{HostErrc::InvalidArgument,
                 fmt::format("{} has {} bytes: it can have {}", printable(file, 200), text.size(), kMostText)};
  }
  try {
    const toml::table document = parse_toml(text);
    Section top(document, "sluiced");
    const auto section = [&](std::string_view name, const auto& read) {
      const toml::node* const node = top.find(name);
      if (node == nullptr) return;
      if (node->as_table() == nullptr) top.fail(*node, name, fmt::format("give a table: [{}]", name));
      read(Section(*node->as_table(), std::string(name)));
    };
    section("memory", [&](const Section& table) { read_memory(table, config); });
    section("scrub", [&](const Section& table) { read_scrub(table, config); });
    section("vmm", [&](const Section& table) { read_vmm(table, config); });
    section("api", [&](const Section& table) { read_api(table, config); });
    section("folders", [&](Section table) {
      table.text("run", config.run_folder);
      table.text("state", config.state_folder);
      table.end();
    });
    section("log", [&](const Section& table) { read_log(table, config); });
    top.end();
  } catch (const TomlError& error) {
    return Error{HostErrc::InvalidArgument, fmt::format("{}:{}: {}", printable(file, 200), error.line(), error.what())};
  }
  if (config.api.socket == config.socket) {
    return Error{HostErrc::InvalidArgument, fmt::format("{}: vmm.socket and api.socket are both {}: give one another",
                                                        printable(file, 200), in_quotes(config.socket))};
  }
  return config;
}

}  // namespace sluice::inline daemon
