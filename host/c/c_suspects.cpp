// SPDX-License-Identifier: Apache-2.0
// sluice.h: memory that may be defective.
#include "c_calls.hpp"

using namespace sluice::c;  // NOLINT: the functions of C are in no namespace

int sluice_suspect(sluice_manager* manager, uint64_t vm, void* base, uint64_t length) {
  return with_manager(manager, [&](sluice::MemoryManager& to) {
    return code_of(to.suspect({static_cast<std::byte*>(base), length}, sluice::VmId(vm)));
  });
}
int sluice_absolve(sluice_manager* manager, uint64_t vm) {
  return with_manager(manager, [&](sluice::MemoryManager& to) { return code_of(to.absolve(sluice::VmId(vm))); });
}
uint64_t sluice_suspect_bytes(const sluice_manager* manager, uint64_t vm) {
  if (manager == nullptr) return nothing<std::uint64_t>(0, "the manager");
  const sluice::MemoryManager* const of = manager->state->manager();
  std::uint64_t bytes = 0;
  static_cast<void>(guarded([&] {
    if (of != nullptr) bytes = of->suspect_bytes(sluice::VmId(vm)).value();
    return static_cast<int>(SLUICE_OK);
  }));
  return bytes;
}
int sluice_suspect_test(sluice_manager* manager, uint64_t vm, const uint64_t* patterns, size_t count,
                        sluice_report_handler handler, void* context, uint64_t* claim) {
  const Waiting who = {.context = context, .report_handler = handler};
  if (manager != nullptr && patterns == nullptr && count > 0)
    return nothing<int>(SLUICE_INVALID_ARGUMENT, "the first pattern");
  return start_claim<sluice::SuspectReport>(manager, who, claim, [&](sluice::MemoryManager& to, const auto& answer) {
    return to.test_suspect(sluice::VmId(vm), {patterns, patterns + count}, answer);
  });
}
