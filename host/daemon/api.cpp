// SPDX-License-Identifier: Apache-2.0
#include "sluice/daemon/api.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <optional>

#include "api_handlers.hpp"
#include "http_conditions.hpp"

namespace sluice::inline daemon {
namespace {

constexpr std::size_t kLongestTarget = 2048;

std::vector<std::string_view> split(std::string_view path) {
  std::vector<std::string_view> parts;
  for (path.remove_prefix(1);; path.remove_prefix(path.find('/') + 1)) {
    parts.push_back(path.substr(0, path.find('/')));
    if (path.find('/') == std::string_view::npos) return parts;
  }
}

/// nullopt: a percent without two digits after it, or a 0.
std::optional<std::string> from_percent(std::string_view text) {
  std::string plain;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '%') {
      plain += text[at];
      continue;
    }
    unsigned value = 0;
    const std::string_view digits = text.substr(at + 1, 2);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    if (error != std::errc{} || end != digits.data() + 2 || value == 0) return std::nullopt;
    plain += static_cast<char>(value);
    at += 2;
  }
  return plain;
}

/// What stands for {...}, still in percent; nullopt: another path.
std::optional<std::vector<std::string_view>> match(std::string_view pattern,
                                                   const std::vector<std::string_view>& path) {
  const std::vector<std::string_view> wanted = split(pattern);
  if (wanted.size() != path.size()) return std::nullopt;
  std::vector<std::string_view> values;
  for (std::size_t at = 0; at < path.size(); ++at) {
    std::string_view given = path[at];
    if (!wanted[at].starts_with('{')) {
      if (wanted[at] != given) return std::nullopt;
      continue;
    }
    const std::string_view verb = wanted[at].substr(wanted[at].find('}') + 1);  // ":reboot"
    if (!given.ends_with(verb)) return std::nullopt;
    given.remove_suffix(verb.size());
    if (given.empty() || given.find(':') != std::string_view::npos) return std::nullopt;
    values.push_back(given);
  }
  return values;
}

struct Kind {
  HostErrc code;
  unsigned status;
  std::string_view type;
  std::string_view title;
};

constexpr std::array<Kind, 11> kKinds = {{
    {HostErrc::InvalidArgument, 400, "invalid-argument", "A value that makes no sense"},
    {HostErrc::UnknownId, 404, "unknown-id", "There is no such thing"},
    {HostErrc::IdUsedBefore, 409, "id-used-before", "The id has been used before"},
    {HostErrc::ForeignCustomer, 403, "foreign-customer", "It is another customer's"},
    {HostErrc::WrongState, 409, "wrong-state", "It does not fit what is going on"},
    {HostErrc::NotHeld, 409, "not-held", "The VM does not have that memory"},
    {HostErrc::OutOfMemory, 507, "out-of-memory", "There is not enough memory"},
    {HostErrc::ScrubUnavailable, 503, "scrub-unavailable", "Nothing can be scrubbed"},
    {HostErrc::Abandoned, 503, "abandoned", "It was given up"},
    {HostErrc::NoResources, 507, "no-resources", "The operating system refused something"},
    {HostErrc::NotPermitted, 403, "not-permitted", "The caller may not do that"},
}};

}  // namespace

ApiResponse problem(unsigned status, std::string_view type, std::string_view title, std::string_view detail) {
  // What came from outside may be no UTF-8, which a JSON document must be.
  const boost::json::object document = {{"type", fmt::format("/problems/{}", type)},
                                        {"title", title},
                                        {"status", status},
                                        {"detail", printable(detail, detail.size())}};
  return {.status = status,
          .type = "application/problem+json",
          .body = boost::json::serialize(document) + "\n",
          .allow = {}};
}

ApiResponse problem_of(const Error& error) {
  for (const Kind& kind : kKinds) {
    if (error.code == kind.code) return problem(kind.status, kind.type, kind.title, error.message);
  }
  return problem(500, "internal", "Something else went wrong", error.message);
}

std::span<const Api::Handlers::Entry> Api::Handlers::table() {
  using H = Handlers;
  static constexpr std::array kTable = std::to_array<Entry>({
      {{"GET", "/"}, &H::get_page},
      {{"GET", "/page.js"}, &H::get_page_script},
      {{"GET", "/page.css"}, &H::get_page_style},
      {{"GET", "/v1/host"}, &H::get_host},
      {{"GET", "/metrics"}, &H::get_metrics},
      {{"GET", "/v1/memory"}, &H::get_memory},
      {{"GET", "/v1/quarantine"}, &H::get_quarantine},
      {{"GET", "/v1/series/{step}"}, &H::get_series},
      {{"GET", "/v1/events"}, &H::get_events},
      {{"GET", "/v1/events/{from}"}, &H::get_events_after},
      {{"GET", "/v1/vms"}, &H::get_vms},
      {{"GET", "/v1/vms/{uuid}"}, &H::get_vm},
      {{"POST", "/v1/vms/{uuid}:reboot"}, &H::reboot_vm},
      {{"POST", "/v1/vms/{uuid}:give-up"}, &H::give_up_vm},
      {{"PUT", "/v1/vms/{uuid}/trust-group"}, &H::put_vm_group},
      {{"PUT", "/v1/vms/{uuid}/pool"}, &H::put_vm_pool},
      {{"PUT", "/v1/vms/{uuid}/say/{field}"}, &H::put_vm_say},
      {{"GET", "/v1/vms/{uuid}/erasure"}, &H::get_erasure},
      {{"GET", "/v1/audit"}, &H::get_audit},
      {{"GET", "/v1/audit/lines/{from}"}, &H::get_audit_lines},
      {{"POST", "/v1/audit:verify"}, &H::verify_audit},
      {{"GET", "/v1/trust-groups"}, &H::get_groups},
      {{"POST", "/v1/trust-groups"}, &H::post_group},
      {{"GET", "/v1/trust-groups/{id}"}, &H::get_group},
      {{"PATCH", "/v1/trust-groups/{id}"}, &H::patch_group},
      {{"DELETE", "/v1/trust-groups/{id}"}, &H::delete_group},
      {{"GET", "/v1/pools"}, &H::get_pools},
      {{"POST", "/v1/pools"}, &H::post_pool},
      {{"GET", "/v1/pools/{id}"}, &H::get_pool},
      {{"DELETE", "/v1/pools/{id}"}, &H::delete_pool},
      {{"POST", "/v1/pools/{id}:grow"}, &H::grow_pool},
      {{"POST", "/v1/pools/{id}:shrink"}, &H::shrink_pool},
      {{"POST", "/v1/pools/{id}:partition"}, &H::partition_pool},
      {{"POST", "/v1/pools/{id}:merge"}, &H::merge_pool},
      {{"POST", "/v1/pools/{id}:change-rule"}, &H::change_pool_rule},
      {{"GET", "/v1/templates"}, &H::get_templates},
      {{"POST", "/v1/templates"}, &H::post_template},
      {{"GET", "/v1/templates/{name}"}, &H::get_template},
      {{"PUT", "/v1/templates/{name}"}, &H::put_template},
      {{"DELETE", "/v1/templates/{name}"}, &H::delete_template},
      {{"POST", "/v1/templates/{name}:copy"}, &H::copy_template},
      {{"GET", "/v1/attachments"}, &H::get_attachments},
      {{"GET", "/v1/attachments/{scope}/{id}"}, &H::get_attachment},
      {{"PUT", "/v1/attachments/{scope}/{id}"}, &H::put_attachment},
      {{"DELETE", "/v1/attachments/{scope}/{id}"}, &H::delete_attachment},
      {{"GET", "/v1/locks"}, &H::get_locks},
      {{"PUT", "/v1/locks/{scope}/{id}/{field}"}, &H::put_lock},
      {{"DELETE", "/v1/locks/{scope}/{id}/{field}"}, &H::delete_lock},
      {{"GET", "/v1/users"}, &H::get_users},
      {{"POST", "/v1/users"}, &H::post_user},
      {{"DELETE", "/v1/users/{id}"}, &H::delete_user},
      {{"GET", "/v1/registrations"}, &H::get_registrations},
      {{"GET", "/v1/registrations/{uuid}"}, &H::get_registration},
      {{"PUT", "/v1/registrations/{uuid}"}, &H::put_registration},
      {{"DELETE", "/v1/registrations/{uuid}"}, &H::delete_registration},
  });
  return kTable;
}

Api::Api(Host& host, PolicyManager& policies, StateStore& state, const BackingMemory& memory, const Engine& engine,
         const Series& series, const Events& events)
    : handlers_(std::make_unique<Handlers>(host, policies, state, memory, engine, series, events)),
      state_(&state),
      events_(&events) {}
Api::~Api() = default;

Result<void> Api::check_caller(const Caller& caller) const { return handlers_->check_caller(caller); }

void Api::restore_pools() { handlers_->restore_pools(); }

ApiResponse Api::answer(const ApiRequest& request, const Caller& caller) {
  if (auto known = handlers_->check_caller(caller); !known) return problem_of(known.error());
  if (request.body.size() > kLongestApiBody) {
    return problem(413, "body-too-long", "The body is too long",
                   fmt::format("the body has {} bytes: give at most {}", request.body.size(), kLongestApiBody));
  }
  const std::string_view target = request.target;
  if (target.empty() || target.front() != '/' || target.size() > kLongestTarget) {
    return problem_of({HostErrc::InvalidArgument, fmt::format("{} is no path: give one of at most {} letters that "
                                                              "begins with '/'",
                                                              in_quotes(target), kLongestTarget)});
  }
  if (target.find_first_of("?#") != std::string_view::npos) {
    return problem_of(
        {HostErrc::InvalidArgument, fmt::format("{} has a query: no call takes one, leave it out", in_quotes(target))});
  }
  if (request.method == "GET") return read(request, caller);
  // First: what is repeated may name the tag that it has changed itself.
  if (request.method == "POST" && !request.idempotency_key.empty()) return answer_once(request, caller);
  return change(request, caller);
}

ApiResponse Api::change(const ApiRequest& request, const Caller& caller) {
  if (auto failed = fails_condition(request, caller)) return std::move(*failed);
  return run(request, caller);
}

/// With its tag, or that it is still what the caller has.
ApiResponse Api::read(const ApiRequest& request, const Caller& caller) {
  ApiResponse answered = run(request, caller);
  if (answered.status != 200) return answered;
  answered.etag = etag_of(answered.body);
  if (request.if_none_match.empty() || !names_etag(request.if_none_match, answered.etag)) return answered;
  return {.status = 304, .type = {}, .body = {}, .allow = {}, .etag = answered.etag};
}

/// nullopt: what is to be changed is what the caller takes it to be.
std::optional<ApiResponse> Api::fails_condition(const ApiRequest& request, const Caller& caller) {
  if (request.if_match.empty() && request.if_none_match.empty()) return std::nullopt;
  // What a call such as ":grow" changes is what is in front of the colon.
  const std::size_t verb = request.target.find(':', request.target.rfind('/'));
  const ApiResponse now = run({.method = "GET", .target = request.target.substr(0, verb), .body = {}}, caller);
  if (now.status == 405) {
    return problem_of({HostErrc::InvalidArgument,
                       fmt::format("{} cannot be read, and has no tag: leave If-Match and If-None-Match out",
                                   in_quotes(request.target))});
  }
  const std::string etag = now.status == 200 ? etag_of(now.body) : "";
  const bool is_as_wanted = request.if_match.empty() || (!etag.empty() && names_etag(request.if_match, etag));
  const bool is_new = request.if_none_match.empty() || etag.empty() || !names_etag(request.if_none_match, etag);
  if (is_as_wanted && is_new) return std::nullopt;
  return problem(412, "precondition-failed", "It is not what the caller takes it to be",
                 fmt::format("{} {}: read it again, and decide anew", in_quotes(request.target),
                             etag.empty() ? "is not there" : "is now " + etag));
}

/// A POST that is repeated with its key is answered as it was, and does nothing again.
ApiResponse Api::answer_once(const ApiRequest& request, const Caller& caller) {
  constexpr std::size_t kLongestKey = 255;
  const std::string& key = request.idempotency_key;
  const bool printable_key =
      std::ranges::all_of(key, [](char letter) { return letter > ' ' && letter <= '~'; }) && key.size() <= kLongestKey;
  if (!printable_key) {
    return problem_of(
        {HostErrc::InvalidArgument,
         fmt::format("Idempotency-Key {} is none: give 1 to {} letters without blanks", in_quotes(key), kLongestKey)});
  }
  const std::string who = fmt::format("{}:{}", static_cast<int>(caller.role), caller.id);
  const auto fingerprint = digest_of(fmt::format("{}\n{}", request.target, request.body));
  const auto known = state_->answer_to(who, key);
  if (!known) return problem_of(known.error());
  if (*known) {
    if ((*known)->fingerprint == fingerprint) {
      return {
          .status = (*known)->status, .type = (*known)->type, .body = (*known)->body, .allow = {}, .replayed = true};
    }
    return problem(409, "idempotency-key-reused", "The key was used for another request",
                   fmt::format("Idempotency-Key {} was that of another request in the last {} hours: give a new one",
                               in_quotes(key), StateStore::kAnswersHours));
  }
  ApiResponse answered = change(request, caller);
  if (answered.status >= 300) return answered;  // it has changed nothing, and may be tried again
  const auto put = state_->put_answer(who, key, {fingerprint, answered.status, answered.type, answered.body});
  if (!put)
    spdlog::warn("an answer could not be stored, and is not known when it is asked for again: {}", put.error().message);
  return answered;
}

ApiResponse Api::run(const ApiRequest& request, const Caller& caller) {
  const std::string_view target = request.target;
  const std::vector<std::string_view> path = split(target);
  std::string allow;
  for (const Handlers::Entry& entry : Handlers::table()) {
    const auto values = match(entry.route.path, path);
    if (!values) continue;
    if (entry.route.method != request.method) {
      allow += fmt::format("{}{}", allow.empty() ? "" : ", ", entry.route.method);
      continue;
    }
    ApiCall call{caller, {}, request.body};
    for (const std::string_view value : *values) {
      auto plain = from_percent(value);
      if (!plain) {
        return problem_of({HostErrc::InvalidArgument, fmt::format("{} is wrong at a percent: give two hexadecimal "
                                                                  "digits after it, not 00",
                                                                  in_quotes(value))});
      }
      call.parts.push_back(std::move(*plain));
    }
    try {
      auto answered = (handlers_.get()->*entry.handler)(call);
      return answered ? std::move(*answered) : problem_of(answered.error());
    } catch (const WrongBody& wrong) {
      return problem_of({HostErrc::InvalidArgument, wrong.what()});
    }
  }
  if (!allow.empty()) {
    auto answered =
        problem(405, "method-not-allowed", "The path has no such method",
                fmt::format("{} is not for {}: use {}", in_quotes(target), in_quotes(request.method), allow));
    answered.allow = allow;
    return answered;
  }
  return problem(404, "no-such-path", "There is no such path",
                 fmt::format("{} is no path of this service: docs/API.md has all", in_quotes(target)));
}

std::vector<ApiRoute> Api::routes() {
  std::vector<ApiRoute> routes;
  for (const Handlers::Entry& entry : Handlers::table()) routes.push_back(entry.route);
  return routes;
}

Result<void> Api::Handlers::check_caller(const Caller& caller) const {
  switch (caller.role) {
    case Caller::Role::Provider:
      return {};
    case Caller::Role::Customer:
      if (caller.id != 0) return {};
      break;
    case Caller::Role::User:
      if (policies_->book().users().contains(UserId(caller.id))) return {};
      return Error{
          HostErrc::NotPermitted,
          fmt::format("user {} is no user of a customer: have its customer or the provider add it", caller.id)};
    case Caller::Role::Instance:
      break;
  }
  return Error{HostErrc::NotPermitted, "only the provider, customers and their users may call this service"};
}

ApiResponse Api::Handlers::stored(ApiResponse answer) {
  const auto saved = state_->put_policies(policies_->save());
  if (saved) return answer;
  return problem(507, "not-stored", "It is done, and could not be stored",
                 fmt::format("what was asked for is done and holds, but will be forgotten when sluiced ends: {}; the "
                             "next change that can be stored stores this one too",
                             saved.error().message));
}

ApiAnswer Api::Handlers::stored_changes(const Result<ChangedVms>& done) {
  if (!done) return done.error();
  return stored(reply(changed_json(*done)));
}

Result<PolicyField> parse_field(std::string_view text) {
  for (std::size_t at = 0; at < kPolicyFields; ++at) {
    if (to_string(static_cast<PolicyField>(at)) == text) return static_cast<PolicyField>(at);
  }
  return Error{HostErrc::InvalidArgument,
               fmt::format("policies have no field {}: docs/policy.schema.json has all", in_quotes(text))};
}

boost::json::value policy_json(const Policy& policy) { return boost::json::parse(policy.to_json()); }

void expect_no_body(const ApiCall& call) {
  if (!call.body.empty()) ApiBody(call.body).end();
}

}  // namespace sluice::inline daemon
