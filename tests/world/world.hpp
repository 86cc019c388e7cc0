// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <bitset>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "memory_model.hpp"
#include "sluice/manager/memory_manager.hpp"
#include "sluice/memory/extent_table.hpp"
#include "story.hpp"
#include "world_engine.hpp"

namespace sluice::world {

struct Failure {
  std::size_t step = 0;
  std::string message;
};

/// A host with VMs, an engine and a ledger, in which one story happens. After every step what the manager says is
/// compared with a model of its own of who holds what, what is in the memory, and who may see it.
class World {
 public:
  /// `folder`: an empty one on tmpfs for the ledger. `seed` draws the host.
  World(const std::string& folder, std::uint64_t seed);
  ~World();

  /// The first thing that was wrong; nullopt: nothing.
  [[nodiscard]] std::optional<Failure> play(const Story& story);
  [[nodiscard]] std::uint64_t claims_granted() const { return claims_granted_; }

  static constexpr std::size_t kPages = 192;

 private:
  using Pages = std::bitset<kPages>;
  struct Vm {
    /// Its memory is kept for it during a reboot.
    [[nodiscard]] bool keeps() const {
      return allowed.enabled && allowed.after_reboot && recycles && !allowed.new_memory_after_reboot;
    }
    MemoryModel::Vm who;
    bool down = false;
    bool recycles = true;
    RecycleSettings allowed;
    ScrubSettings scrub;
    Placement placement;
    Pages pages;   ///< It was told of.
    Pages before;  ///< Kept for it while it is down.
    Pages old;     ///< Kept from it while it was down, and until it has other memory.
    Pages seen;    ///< It holds, was not told of yet, and may see by the groups as they were.
    int claims = 0;
  };
  struct Claim {
    Id vm = 0;  ///< 0: for a pool
    Id pool = 0;
    std::size_t pages = 0;
    bool reboot = false;
    bool abandoned = false;
    std::uint64_t step = 0;
    Pages before;  ///< Kept for it while it was down.
    Pages old;     ///< Kept from it while it was down, and until it has other memory.
  };
  struct Group {
    Id customer = 0;
    Id inside = 0;
    bool enabled = true;
  };
  struct Pool {
    Id customer = 0;
    std::size_t pages = 0;
    bool ready = false;
    int claims = 0;
  };

  void start();
  void take(const Step& step);
  void take_vm_step(const Step& step);
  void take_group_step(const Step& step);
  void take_pool_step(const Step& step);
  void take_engine_step(const Step& step);
  void take_setting_step(const Step& step);

  void create_vm(const Step& step);
  void allocate(const Step& step, bool reboot);
  void release(const Step& step);
  void begin_reboot(const Step& step);
  void terminate(const Step& step);
  void crash(const Step& step);
  void adopt(Id id);
  void poll();
  void told(std::uint64_t number, const Result<sluice::Grant>& result);
  void look_at_grants();
  [[nodiscard]] std::size_t pool_pages(Id pool) const;
  void check_range(const Claim& claim, const Vm& vm, const GrantedRange& range, std::size_t& recycled);
  void pool_told(std::uint64_t number, const Result<void>& result);
  void forget_claim(std::uint64_t number);

  template <class... Values>
  void check(bool holds, fmt::format_string<Values...> message, Values&&... values) {
    if (holds || failure_) return;
    failure_ = Failure{steps_, fmt::format(message, std::forward<Values>(values)...)};
  }
  void expect(bool as_it_should, bool succeeded, const char* what);
  void check_sums();
  void check_everything();
  void end();

  template <class Map>
  [[nodiscard]] static typename Map::value_type* pick(Map& map, std::uint32_t number) {
    if (map.empty()) return nullptr;
    auto found = map.begin();
    std::advance(found, number % map.size());
    return &*found;
  }
  [[nodiscard]] std::size_t page_of(const std::byte* at) const { return static_cast<std::size_t>(at - base_) / 4096; }
  [[nodiscard]] MemorySpan span(std::size_t page, std::size_t pages) const;
  [[nodiscard]] static RecycleSettings recycling(std::uint32_t bits);
  [[nodiscard]] static ScrubSettings scrubs(std::uint32_t bits);
  [[nodiscard]] VmProfile profile(const Vm& vm) const;

  std::string folder_;
  int fd_ = -1;
  std::byte* base_ = nullptr;
  class Bricks;
  std::unique_ptr<Bricks> bricks_;
  ScrubberConfig config_;
  std::size_t max_jobs_ = 4;

  MemoryModel memory_{kPages};
  std::unique_ptr<Ledger> ledger_;
  std::unique_ptr<WorldEngine> engine_;
  std::unique_ptr<MemoryManager> manager_;
  std::map<Id, Vm> vms_;
  std::map<Id, Group> groups_;
  std::map<Id, Pool> pools_;
  std::map<std::uint64_t, Claim> claims_;
  std::map<std::uint64_t, ClaimId> claim_ids_;
  std::vector<Id> holder_ = std::vector<Id>(kPages);
  std::size_t held_pages_ = 0;
  Id next_id_ = 1;
  std::uint64_t next_claim_ = 1;
  std::uint64_t steps_ = 0;
  std::uint64_t claims_granted_ = 0;
  std::chrono::nanoseconds time_{std::chrono::seconds(1)};
  bool polling_ = false;
  bool ending_ = false;  ///< The manager is destroyed now.
  std::optional<Failure> failure_;
};

}  // namespace sluice::world
