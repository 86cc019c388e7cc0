// SPDX-License-Identifier: Apache-2.0
// A manager behind the C interface: whose handlers are called, when, and what happens to them at its end.
#include <algorithm>

#include "c_api.hpp"

namespace sluice::c {
namespace {

void report(const Waiting& who, const Answer& answer) {
  std::vector<sluice_span> failed;
  for (const MemorySpan range : answer.report.failed) failed.push_back({range.data(), range.size()});
  const sluice_suspect_report report = {answer.report.tested.value(), answer.report.not_tested.value(), failed.data(),
                                        failed.size()};
  who.report_handler(who.context, who.number, answer.code, answer.code == SLUICE_OK ? &report : nullptr);
}

}  // namespace

State::State(std::shared_ptr<Memory> memory, std::shared_ptr<OpenEngine> engine, std::shared_ptr<OpenLedger> ledger,
             std::unique_ptr<MemoryManager> manager)
    : memory_(std::move(memory)), engine_(std::move(engine)), ledger_(std::move(ledger)), manager_(std::move(manager)) {
  memory_->by_manager = engine_->by_manager = true;
  if (ledger_) ledger_->by_manager = true;
}

State::~State() { end(); }

std::uint64_t State::expect(const Waiting& who) {
  waiting_.emplace(next_ticket_, who);
  return next_ticket_++;
}

void State::answer(std::uint64_t ticket, Answer answer) {
  const auto found = waiting_.find(ticket);
  if (found == waiting_.end()) return;
  answers_.emplace_back(found->second, std::move(answer));
  waiting_.erase(found);
}

bool State::has_answer_for(VmId vm) const {
  return std::any_of(answers_.begin(), answers_.end(), [&](const auto& entry) { return entry.first.vm == vm; });
}

void State::deliver() noexcept {
  while (!answers_.empty()) {
    const auto [who, answer] = std::move(answers_.front());
    answers_.pop_front();
    // What a handler of C++ throws is its own affair; the next handler is called all the same.
    static_cast<void>(guarded([&who = who, &answer = answer] {
      if (answer.code != SLUICE_OK) last_message = answer.message;
      if (who.report_handler != nullptr) {
        report(who, answer);
      } else {
        who.handler(who.context, who.number, answer.code, answer.ranges.data(), answer.ranges.size());
      }
      return static_cast<int>(SLUICE_OK);
    }));
  }
}

void State::end() noexcept {
  if (!manager_) return;
  manager_.reset();
  memory_->by_manager = engine_->by_manager = false;
  if (ledger_) ledger_->by_manager = false;
  // Grants that nobody has heard of are void: their manager is gone.
  static_cast<void>(guarded([&] {
    for (const auto& [ticket, who] : waiting_) answers_.emplace_back(who, Answer());
    waiting_.clear();
    for (auto& [who, answer] : answers_) {
      answer = {.code = SLUICE_ABANDONED, .message = "the manager was destroyed before the claim was met"};
    }
    return static_cast<int>(SLUICE_OK);
  }));
  deliver();
}

}  // namespace sluice::c
