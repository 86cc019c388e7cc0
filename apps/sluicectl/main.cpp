// SPDX-License-Identifier: Apache-2.0
// sluicectl: the calls of sluiced's web service (docs/API.md) from a command line.
#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <boost/json.hpp>
#include <cstdio>
#include <functional>
#include <list>
#include <map>
#include <string>
#include <vector>

#include "common/options.hpp"
#include "sluice/base/input.hpp"
#include "sluice/base/json.hpp"
#include "sluice/base/output.hpp"
#include "sluicectl/connection.hpp"
#include "sluicectl/page.hpp"
#include "sluicectl/tables.hpp"

namespace sluice {
namespace {

namespace json = boost::json;

enum ExitCode : int {
  kExitGood = 0,
  kExitRefused = 1,       ///< The service has said no.
  kExitUsage = 2,         ///< Options that make no sense.
  kExitNoConnection = 3,  ///< Nobody answers, or the page cannot be served.
};

/// One call, by the words and options of the command line.
struct Command {
  std::string method;
  std::string path;  ///< With {word} for each word of the command line.
  std::map<std::string, std::string> words;
  json::object body;
  std::string policy_file;  ///< Its document is "policy" in the body.
  bool explains = false;
};

/// Makes subcommands. What they hold lives as long as this.
class Commands {
 public:
  explicit Commands(CLI::App& app) : app_(app) {}

  CLI::App* group(const std::string& name, const std::string& text) {
    CLI::App* const made = app_.add_subcommand(name, text);
    made->require_subcommand(1);
    return made;
  }
  /// A word for each {word} of the path, in their order.
  Command& add(CLI::App* under, const std::string& name, const std::string& text, const std::string& method,
               const std::string& path) {
    Command& command = commands_.emplace_back();
    command.method = method;
    command.path = path;
    last_ = under->add_subcommand(name, text);
    for (std::size_t at = path.find('{'); at != std::string::npos; at = path.find('{', at + 1)) {
      const std::string word = path.substr(at + 1, path.find('}', at) - at - 1);
      last_->add_option(word, command.words[word], "")->required()->type_name("");
    }
    last_->callback([this, &command] { chosen_ = &command; });
    return command;
  }
  // Of the command that was added last: keys of its body.
  Commands& number(const std::string& option, const std::string& key, const std::string& text, bool required = false) {
    CLI::Option* const added =
        detail::add_checked(*last_, option, "a whole number", text, [to = body(), key](const std::string& given) {
          const auto read = parse_integer<std::uint64_t>(given);
          if (read) (*to)[key] = *read;
          return read.has_value();
        });
    added->type_name("NUMBER")->required(required);
    return *this;
  }
  Commands& bytes(const std::string& option, const std::string& key, const std::string& text, bool required = false) {
    CLI::Option* const added =
        detail::add_checked(*last_, option, "a size, like 64MiB", text, [to = body(), key](const std::string& given) {
          const auto read = parse_bytes(given);
          if (read) (*to)[key] = read->value();
          return read.has_value();
        });
    added->type_name("SIZE")->required(required);
    return *this;
  }
  Commands& text(const std::string& option, const std::string& key, const std::string& help, bool required = false) {
    last_
        ->add_option_function<std::string>(
            option, [to = body(), key](const std::string& given) { (*to)[key] = given; }, help)
        ->required(required)
        ->type_name("NAME");
    return *this;
  }
  Commands& flag(const std::string& option, const std::string& key, const std::string& help) {
    last_->add_flag_callback(
        option, [to = body(), key] { (*to)[key] = true; }, help);
    return *this;
  }
  Commands& policy(bool or_template) {
    CLI::Option* const file =
        last_->add_option("--policy", commands_.back().policy_file, "a file with a policy in JSON (docs/POLICIES.md)")
            ->type_name("FILE");
    if (!or_template) {
      file->required();
      return *this;
    }
    text("--template", "template", "the name of a template, instead");
    last_->get_option("--template")->excludes(file);
    return *this;
  }
  [[nodiscard]] Command* chosen() const { return chosen_; }

 private:
  json::object* body() { return &commands_.back().body; }

  CLI::App& app_;
  CLI::App* last_ = nullptr;
  std::list<Command> commands_;
  Command* chosen_ = nullptr;
};

void add_vms(Commands& add) {
  CLI::App* const vm = add.group("vm", "VMs with their leases, and why their policies are so");
  add.add(vm, "list", "all VMs", "GET", "/v1/vms");
  add.add(vm, "show", "one VM", "GET", "/v1/vms/{uuid}");
  add.add(vm, "explain", "what holds for a VM, and who said so", "GET", "/v1/vms/{uuid}").explains = true;
  add.add(vm, "reboot", "resets it, or keeps its memory for the process that replaces this one", "POST",
          "/v1/vms/{uuid}:reboot");
  add.add(vm, "give-up", "it does not come back: what is reserved for it is free", "POST", "/v1/vms/{uuid}:give-up");
  add.add(vm, "erasure", "whether all that it ever had was scrubbed, by the audit", "GET", "/v1/vms/{uuid}/erasure");
  add.add(vm, "group", "puts it into another trust group", "PUT", "/v1/vms/{uuid}/trust-group");
  add.number("--id", "id", "the group; 0: none", true);
  add.add(vm, "pool", "gives it another pool", "PUT", "/v1/vms/{uuid}/pool");
  add.number("--id", "id", "the pool; 0: none", true);
}

void add_audit(Commands& add) {
  CLI::App* const audit = add.group("audit", "all hand-overs and scrubs, as a chain of hashes");
  add.add(audit, "head", "how many lines there are, and the last hash", "GET", "/v1/audit");
  add.add(audit, "lines", "1,000 lines, from this number on", "GET", "/v1/audit/lines/{from}");
  add.add(audit, "verify", "whether a line was changed or is missing", "POST", "/v1/audit:verify");
}

void add_groups(Commands& add) {
  CLI::App* const group = add.group("group", "trust groups, whose VMs may have each other's memory");
  add.add(group, "list", "all groups", "GET", "/v1/trust-groups");
  add.add(group, "create", "a new group", "POST", "/v1/trust-groups");
  add.number("--id", "id", "one that was never used", true).number("--customer", "customer", "whose it is", true);
  add.number("--inside", "inside", "a larger group around it");
  add.add(group, "enable", "recycles again", "PATCH", "/v1/trust-groups/{id}").body["enabled"] = true;
  add.add(group, "disable", "recycles nothing", "PATCH", "/v1/trust-groups/{id}").body["enabled"] = false;
  add.add(group, "delete", "a group that has no VMs", "DELETE", "/v1/trust-groups/{id}");
  CLI::App* const user = add.group("user", "users of customers, as policies know them");
  add.add(user, "list", "all users", "GET", "/v1/users");
  add.add(user, "create", "a new user", "POST", "/v1/users");
  add.number("--id", "id", "one that is free", true).number("--customer", "customer", "whose it is", true);
  add.add(user, "delete", "a user that has no VMs", "DELETE", "/v1/users/{id}");
}

void add_pools(Commands& add) {
  CLI::App* const pool = add.group("pool", "dedicated pools");
  add.add(pool, "list", "all pools", "GET", "/v1/pools");
  add.add(pool, "show", "one pool", "GET", "/v1/pools/{id}");
  add.add(pool, "create", "a new pool, which is filled meanwhile", "POST", "/v1/pools");
  add.number("--id", "id", "one that was never used", true).number("--customer", "customer", "whose it is", true);
  add.bytes("--length", "length", "of its memory", true).bytes("--unit", "unit", "of its bricks");
  add.flag("--shares", "shares", "its VMs may have each other's memory");
  add.add(pool, "grow", "more memory", "POST", "/v1/pools/{id}:grow");
  add.bytes("--length", "length", "how much", true);
  add.add(pool, "shrink", "less memory", "POST", "/v1/pools/{id}:shrink");
  add.bytes("--length", "length", "how much", true);
  add.add(pool, "partition", "makes free memory of it a pool of its own", "POST", "/v1/pools/{id}:partition");
  add.number("--part", "part", "the id of that", true).bytes("--length", "length", "how much", true);
  add.add(pool, "merge", "takes another pool into it", "POST", "/v1/pools/{id}:merge");
  add.number("--other", "other", "that pool", true);
  add.add(pool, "delete", "a pool that has no VMs", "DELETE", "/v1/pools/{id}");
}

void add_policies(Commands& add, CLI::App& app) {
  CLI::App* const made = add.group("template", "policies with names");
  add.add(made, "list", "all templates", "GET", "/v1/templates");
  add.add(made, "show", "one template", "GET", "/v1/templates/{name}");
  add.add(made, "create", "a new template", "POST", "/v1/templates");
  add.text("--name", "name", "of 1 to 200 bytes", true).policy(false);
  add.add(made, "change", "all that it is attached to follows", "PUT", "/v1/templates/{name}");
  add.policy(false);
  add.add(made, "copy", "under another name", "POST", "/v1/templates/{name}:copy");
  add.text("--to", "name", "that name", true);
  add.add(made, "delete", "a template that is attached to nothing", "DELETE", "/v1/templates/{name}");
  add.add(&app, "attachments", "what policies are attached to what", "GET", "/v1/attachments");
  add.add(&app, "attach", "a policy to an instance, trust-group, user, customer or the default", "PUT",
          "/v1/attachments/{scope}/{id}");
  add.policy(true);
  add.add(&app, "detach", "the policy that is attached there", "DELETE", "/v1/attachments/{scope}/{id}");
  add.add(&app, "locks", "what the provider has locked", "GET", "/v1/locks");
  add.add(&app, "lock", "has a field be off there, whatever anybody says", "PUT", "/v1/locks/{scope}/{id}/{field}");
  add.add(&app, "unlock", "takes that back", "DELETE", "/v1/locks/{scope}/{id}/{field}");
}

void add_registrations(Commands& add) {
  CLI::App* const registration = add.group("registration", "what VMs will be when they first ask for memory");
  add.add(registration, "list", "all registrations", "GET", "/v1/registrations");
  add.add(registration, "show", "one registration", "GET", "/v1/registrations/{uuid}");
  add.add(registration, "put", "a new one, or in place of one", "PUT", "/v1/registrations/{uuid}");
  add.number("--customer", "customer", "whose VM it is", true).number("--group", "trust_group", "its trust group");
  add.number("--pool", "pool", "its pool").number("--user", "user", "its user").policy(true);
  add.add(registration, "delete", "the VM will be as its request says", "DELETE", "/v1/registrations/{uuid}");
}

/// Errors: of a file with a policy.
Result<void> complete(Command& command) {
  for (const auto& [word, value] : command.words) {
    const std::string mark = "{" + word + "}";
    command.path.replace(command.path.find(mark), mark.size(), path_part(value));
  }
  if (command.policy_file.empty()) return {};
  const auto text = read_whole_file(command.policy_file, kMiB);
  if (!text) return text.error();
  auto document = parse_json(*text, kMiB);
  if (!document) {
    return Error{document.error().code, fmt::format("{}: {}", command.policy_file, document.error().message)};
  }
  command.body["policy"] = std::move(*document);
  return {};
}

int say(const std::string& message, int code) {
  fmt::print(stderr, "sluicectl: {}\n", message);
  return code;
}

int say_no_answer(const Error& error) {
  const bool options = error.code == boost::system::errc::invalid_argument;
  return say(error.message, options ? kExitUsage : kExitNoConnection);
}

int perform(Command& command, const Service& service, bool as_json) {
  if (auto completed = complete(command); !completed) return say(completed.error().message, kExitUsage);
  const std::string body = command.body.empty() ? "" : json::serialize(command.body);
  const auto answer = call_service(service, command.method, command.path, body);
  if (!answer) return say_no_answer(answer.error());
  boost::system::error_code ignored;
  const json::value read = answer->body.empty() ? json::value() : json::parse(answer->body, ignored);
  const bool refused = answer->status >= 400;
  if (as_json) fmt::print("{}", answer->body);
  if (refused) {
    const json::object* const problem = read.if_object();
    const json::value* const detail = problem == nullptr ? nullptr : problem->if_contains("detail");
    const std::string text = detail != nullptr && detail->is_string() ? std::string(detail->get_string())
                                                                      : fmt::format("status {}", answer->status);
    return say(printable(text, text.size()), kExitRefused);
  }
  if (!as_json && !answer->body.empty()) fmt::print("{}", command.explains ? as_explanation(read) : as_table(read));
  const json::object* const object = read.if_object();
  const json::value* const intact = object == nullptr ? nullptr : object->if_contains("intact");
  return intact != nullptr && *intact == false ? kExitRefused : kExitGood;
}

int run(int argc, char** argv) {
  CLI::App app("Shows and changes what sluiced does with the memory of this host's VMs.", "sluicectl");
  app.require_subcommand(1);
  app.fallthrough();
  Service service;
  bool as_json = false;
  CLI::Option* const socket =
      app.add_option("--socket", service.socket, "of sluiced's web service")->capture_default_str()->type_name("PATH");
  app.add_option("--url", service.url, "of a sluiced elsewhere, such as https://host:8443, by TLS")
      ->type_name("URL")
      ->excludes(socket);
  app.add_option("--cert", service.certificate, "for --url: your certificate")->type_name("FILE");
  app.add_option("--key", service.key, "for --url: its key")->type_name("FILE");
  app.add_option("--ca", service.authority, "for --url: the authority of the server")->type_name("FILE");
  app.add_flag("--json", as_json, "prints the answer as it is");
  Commands add(app);
  add.add(&app, "host", "the host as a whole", "GET", "/v1/host");
  add_vms(add);
  add_groups(add);
  add_pools(add);
  add_policies(add, app);
  add_registrations(add);
  add_audit(add);
  std::uint16_t port = 0;
  CLI::App* const page = app.add_subcommand("page", "serves the page of sluiced to a browser of this user");
  page->add_option("--port", port, "of 127.0.0.1; left out, or 0: one that is free")->type_name("NUMBER");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitGood : kExitUsage;
  }
  if (page->parsed()) {
    const auto served = serve_page(service, port);
    return served ? kExitGood : say_no_answer(served.error());
  }
  return perform(*add.chosen(), service, as_json);
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) {
  try {
    sluice::prepare_process();
    const int code = sluice::run(argc, argv);
    if (const auto written = sluice::finish_standard_output(); !written) {
      return sluice::say(written.error().message, sluice::kExitRefused);
    }
    return code;
  } catch (const std::exception& error) {
    return sluice::say(error.what(), sluice::kExitRefused);
  }
}
