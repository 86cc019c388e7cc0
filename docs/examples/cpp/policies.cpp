// SPDX-License-Identifier: Apache-2.0
// A policy for a customer reaches the VM that runs; policies and groups outlive the manager.
#include <cstdio>
#include <sluice/cpu/cpu_engine.hpp>
#include <sluice/manager/policy_manager.hpp>

namespace {

constexpr sluice::CustomerId kCustomer{1};
constexpr sluice::TrustGroupId kGroup{1};
constexpr sluice::VmId kVm{1};
constexpr sluice::Caller kProvider = sluice::Caller::provider();

/// What a customer asks for, as a web service relays it.
sluice::Result<sluice::ChangedVms> no_reuse_after_reboots(sluice::PolicyManager& policies) {
  const auto policy = sluice::Policy::from_json(R"({"recycle_on_reboot": false, "fill": "ones"})").value();
  const sluice::PolicyTarget target{sluice::PolicyScope::Customer, kCustomer.value()};
  return policies.apply(
      [&](sluice::PolicyBook& book) { return book.attach(sluice::Caller::customer(kCustomer), target, policy); });
}

}  // namespace

int main() {
  auto memory = sluice::FileMemory::create(sluice::ByteCount(8 << 20), 1).value();
  const sluice::MemorySpan windows[] = {memory->bricks()[0].memory};
  auto engine = sluice::CpuEngine::create({}, windows).value();
  auto manager = sluice::MemoryManager::create(*memory, *engine).value();
  sluice::PolicyManager policies(sluice::PolicyBook(), *manager);
  policies.create_trust_group(kProvider, kGroup, kCustomer).value();
  policies.create_vm(kProvider, {kVm, kGroup, {}, kCustomer, {}}).value();
  const sluice::ChangedVms changed = no_reuse_after_reboots(policies).value();
  std::printf("%zu VM has changed\n", changed.size());

  const std::string document = policies.save();
  auto next_manager = sluice::MemoryManager::create(*memory, *engine).value();
  auto loaded = sluice::PolicyManager::load(document, *next_manager).value();
  for (const sluice::VmId vm : loaded.unadopted()) loaded.adopt(kProvider, vm).value();
  const bool kept = !next_manager->profile(kVm)->allowed.recycle_on_reboot;
  std::printf("after a restart VM 1 is in group %llu and its policy %s\n",
              static_cast<unsigned long long>(next_manager->profile(kVm)->group.value()), kept ? "holds" : "is gone");
  return kept ? 0 : 1;
}
