// SPDX-License-Identifier: Apache-2.0
// A policy book as it was saved.
#include "fuzz/fuzz.hpp"
#include "sluice/policy/policy_book.hpp"

void sluice::fuzz::one(std::span<const std::byte> input) {
  const auto book = PolicyBook::load(as_text(input));
  if (!book) return check_message(book.error().message);
  const auto again = PolicyBook::load(book->save());
  enforce(again && *again == *book, "a book is saved as it was loaded");
  enforce(again->save() == book->save(), "equal books give equal text");
  for (const auto& [vm, subject] : book->vms()) {
    enforce(book->effective_of(vm)->explanation.size() == kPolicyFields, "each field of each VM is explained");
  }
}
