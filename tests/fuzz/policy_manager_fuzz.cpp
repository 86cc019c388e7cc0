// SPDX-License-Identifier: Apache-2.0
// A policy manager as it was saved, for a manager that has just been made.
#include "fuzz/fuzz.hpp"
#include "sluice/manager/policy_manager.hpp"
#include "support/manual_engine.hpp"
#include "support/memory.hpp"

namespace sluice::fuzz {
namespace {

struct Host {
  test::Memory memory{8 * kPageSize.value(), std::byte{0}};
  MemorySpan pieces[1] = {memory.all()};
  std::unique_ptr<ForeignMemory> backing = ForeignMemory::create(pieces).value();
  test::ManualEngine engine;
  std::unique_ptr<MemoryManager> manager = MemoryManager::create(*backing, engine).value();
};

}  // namespace

void one(std::span<const std::byte> input) {
  Host host;
  auto loaded = PolicyManager::load(as_text(input), *host.manager);
  if (!loaded) return check_message(loaded.error().message);
  const std::string saved = loaded->save();
  Host other;
  auto again = PolicyManager::load(saved, *other.manager);
  enforce(again && again->book() == loaded->book(), "a policy manager is saved as it was loaded");
  enforce(again->save() == saved, "equal states give equal text");
  for (const VmId vm : loaded->unadopted()) {
    if (auto adopted = loaded->adopt(Caller::provider(), vm); !adopted) check_message(adopted.error().message);
  }
  Host third;
  enforce(PolicyManager::load(loaded->save(), *third.manager).has_value(), "it can be saved whoever was adopted");
}

}  // namespace sluice::fuzz
