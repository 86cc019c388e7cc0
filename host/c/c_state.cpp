// SPDX-License-Identifier: Apache-2.0
// A manager behind the C interface: whose handlers are called, when, and what happens to them at its end.
#include <algorithm>

#include "c_api.hpp"

namespace sluice::c {

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

void State::answer(std::uint64_t ticket, int code, std::string message, std::vector<sluice_range> ranges) {
  const auto found = waiting_.find(ticket);
  if (found == waiting_.end()) return;
  answers_.push_back({found->second, code, std::move(message), std::move(ranges)});
  waiting_.erase(found);
}

bool State::has_answer_for(VmId vm) const {
  return std::any_of(answers_.begin(), answers_.end(), [&](const Answer& answer) { return answer.who.vm == vm; });
}

void State::deliver() noexcept {
  while (!answers_.empty()) {
    const Answer answer = std::move(answers_.front());
    answers_.pop_front();
    // What a handler of C++ throws is its own affair; the next handler is called all the same.
    static_cast<void>(guarded([&] {
      if (answer.code != SLUICE_OK) last_message = answer.message;
      answer.who.handler(answer.who.context, answer.who.number, answer.code, answer.ranges.data(),
                         answer.ranges.size());
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
    std::deque<Answer> answers = std::exchange(answers_, {});
    for (const auto& [ticket, who] : waiting_) answers.push_back({who, SLUICE_ABANDONED, {}, {}});
    waiting_.clear();
    for (Answer& answer : answers) {
      answers_.push_back({answer.who, SLUICE_ABANDONED, "the manager was destroyed before the claim was met", {}});
    }
    return static_cast<int>(SLUICE_OK);
  }));
  deliver();
}

}  // namespace sluice::c
