// SPDX-License-Identifier: Apache-2.0
// Requests to the web service, one a line: the caller (p, or a customer's digit), method, path, and the body. Whatever
// they are, each is answered, what is refused is a problem that can be printed, and a customer is shown nothing of
// another's.
#include "fuzz/fuzz.hpp"
#include "support/api_fixture.hpp"

namespace sluice::fuzz {
namespace {

constexpr std::size_t kMostRequests = 64;

std::string_view next_word(std::string_view& line) {
  const std::size_t end = std::min(line.find(' '), line.size());
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return word;
}

/// Customer 7's VM, and one of nobody else's.
void check_answer(const ApiResponse& answer, const Caller& caller) {
  enforce(answer.status >= 200 && answer.status < 600, "every request is answered");
  enforce(answer.status != 500, "errors have a problem of their own");
  if (answer.status == 204) {
    enforce(answer.body.empty(), "204 has no body");
    return;
  }
  if (answer.type.starts_with("text/plain")) return;
  boost::system::error_code wrong;
  const boost::json::value body = boost::json::parse(answer.body, wrong);
  enforce(!wrong, "an answer is JSON");
  if (answer.status >= 400) {
    enforce(answer.type == "application/problem+json", "what is refused is a problem");
    const auto& detail = body.at("detail").as_string();
    for (const char letter : detail) enforce(letter >= ' ' && letter <= '~', "a message can be printed");
    enforce(!detail.empty() && detail.size() < 4000, "a message is short");
  } else if (caller == Caller::customer(CustomerId(8))) {
    enforce(answer.body.find("01010101-0101-0101-0101-010101010101") == std::string::npos,
            "a customer is shown nothing of another's");
  }
}

}  // namespace

void one(std::span<const std::byte> input) {
  test::ApiHost host;
  enforce(!host.come(test::ApiHost::uuid_of(1), 2, CustomerId(7)), "there is memory");
  std::string_view rest = as_text(input);
  for (std::size_t count = 0; count < kMostRequests && !rest.empty(); ++count) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    const std::string_view who = next_word(line);
    const bool is_customer = who.size() == 1 && who.front() >= '0' && who.front() <= '9';
    const Caller caller =
        is_customer ? Caller::customer(CustomerId(static_cast<std::uint64_t>(who.front() - '0'))) : Caller::provider();
    const std::string_view method = next_word(line);
    const std::string_view target = next_word(line);
    check_answer(host.ask(method, target, line, caller), caller);
    if (count % 4 == 3) host.settle();
  }
  // What was done can be stored, and found again.
  enforce(!host.policies_->save().empty(), "what was done can be saved");
}

}  // namespace sluice::fuzz
