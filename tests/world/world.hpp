// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <bitset>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "layout.hpp"
#include "memory_model.hpp"
#include "order_oracle.hpp"
#include "sluice/manager/memory_manager.hpp"
#include "sluice/memory/extent_table.hpp"
#include "story.hpp"
#include "world_engine.hpp"

namespace sluice::world {

/// Whoever wrote what is there when a host begins.
inline constexpr MemoryModel::Vm kUnknown{~0ULL, ~0ULL, 0, 0, 0};

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

 private:
  using Pages = std::bitset<kPages>;
  struct Vm {
    [[nodiscard]] bool recycles() const { return say.enable.value_or(allowed.enable); }
    [[nodiscard]] bool recycles_on_reboot() const {
      return recycles() && say.recycle_on_reboot.value_or(allowed.recycle_on_reboot);
    }
    /// Its memory is kept for it during a reboot.
    [[nodiscard]] bool keeps() const { return recycles_on_reboot() && !allowed.force_new_memory; }
    MemoryModel::Vm who;
    bool down = false;
    VmSay say;
    VmSay may_say{true, true};
    RecycleSettings allowed;
    ScrubSettings scrub;
    Placement placement;
    PageKind kind = PageKind::Small;
    Pages pages;    ///< Of its grants.
    Pages before;   ///< Kept for it while it is down.
    Pages suspect;  ///< It gets none of this.
    Pages seen;     ///< It holds, its handler was not called yet, and it may have by the rules as they were.
    std::chrono::nanoseconds down_since{0};
    int claims = 0;
  };
  struct Claim {
    Id vm = 0;  ///< 0: for a pool
    Id pool = 0;
    std::size_t pages = 0;
    bool reboot = false;
    bool abandoned = false;
    std::uint64_t step = 0;
    Pages before;               ///< Kept for it while it was down.
    Pages kept;                 ///< Reserved for it when it came.
    Pages pool_free;            ///< Free for it in its own pool when it came, and no other claim was there.
    std::uint64_t minimum = 0;  ///< Of the shared pool: the least since then, in bytes.
    ClaimId id;
    Step then;                  ///< What its handler does.
    Pages busy;                 ///< Were being scrubbed when it came.
    std::uint64_t jobs = 0;     ///< That the engine had taken by then.
    std::uint64_t losses = 0;   ///< Of memory, that the manager knew of then.
    std::uint64_t changes = 0;  ///< Of settings and groups, before it.
    bool has_rivals = false;    ///< With another reach: what they take, nobody foresees.
    bool had_room = false;      ///< All of its memory was there when it came.
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
    PageKind kind = PageKind::Small;
    Placement placement;
    bool shares = false;
    std::optional<PoolRule> rule = std::nullopt;
    std::uint64_t ruled_since = 0;  ///< The step in which its rule became what it is.
    bool grew = false;              ///< By a call, since the last look: nobody knows how much by the rule.
  };

  /// Of suspect memory, which nobody gets before it ends.
  struct SuspectTest {
    ClaimId id;
    Id vm = 0;  ///< For which the memory is suspect; 0: for all.
    bool abandoned = false;
    bool known =
        false;  ///< Which memory is tested: no claim was there, nor a rule, that could take of it when it began.
    Pages pages;
    Pages suspect;  ///< What may be tested.
    ByteCount not_tested;
    std::uint64_t last_pattern = 0;
    std::uint64_t losses = 0;  ///< As of Claim.
  };

  void start();
  void try_engine_that_does_not_reach();
  [[nodiscard]] std::unique_ptr<WorldEngine> engine_with(std::vector<std::size_t> windows);
  void take(const Step& step);
  void take_vm_step(const Step& step);
  void take_group_step(const Step& step);
  void take_pool_step(const Step& step);
  void take_new_pool_step(const Step& step);
  void resize_pool(const Step& step, Id id, Pool& facts);
  void join_pools(const Step& step, Id id, Pool& facts);
  void grow_pool(Id id, Pool& facts, std::size_t pages);
  void move_between_pools(Id from, std::size_t pages, std::size_t free, std::uint32_t number);
  void change_pool(const Step& step);
  void take_suspect_step(const Step& step);
  void take_test_step(const Step& step);
  void begin_test(const Step& step, Id vm);
  void tested(std::uint64_t number, const Result<SuspectReport>& result);
  void check_report(const SuspectTest& test, const SuspectReport& report);
  void check_tests();
  [[nodiscard]] bool still_runs(const SuspectTest& test) const;
  [[nodiscard]] Pages under_test() const;
  [[nodiscard]] bool is_worked_on(std::size_t first, std::size_t end) const;
  /// Without a call of the manager: its memory stays as it was.
  void take_engine_step(const Step& step);
  void take_setting_step(const Step& step);

  void create_vm(const Step& step);
  [[nodiscard]] Pages lent_to_claims(const Vm& vm) const;
  void allocate(const Step& step, bool reboot);
  void note_claim(std::uint64_t number, Claim claim);
  void release(const Step& step);
  void begin_reboot(const Step& step);
  void terminate(const Step& step);
  void crash(const Step& step);
  void find_pools(const Step& step);
  void settle_stray(Id id, bool adopts);
  void find_vms(const Step& step);
  void forget_writers();
  void adopt(Id id);
  void stop();
  void poll();
  void notified(std::uint64_t number, const Result<sluice::Grant>& result);
  void pool_notified(std::uint64_t number, const Result<void>& result);
  [[nodiscard]] std::optional<Claim> ended(std::uint64_t number, const std::optional<Error>& error);
  void act_in_handler(const Step& step);
  void look_at_grants();
  /// `rebooting`: a VM that has just gone down.
  void look_at_pools(Id rebooting = 0);
  void rules_change();
  void settings_changed(Vm& vm, bool force_new_before);
  [[nodiscard]] MemoryModel::Reader reader(const Vm& vm) const;
  [[nodiscard]] static bool lends(const Vm& vm);
  [[nodiscard]] bool reservation_is_over(const Vm& vm) const;
  void forget_if_over(Vm& vm) const;
  [[nodiscard]] ByteCount shared_bytes() const;
  void check_may_have(const Vm& vm, std::size_t page);
  void check_reserved(const Vm& vm, std::size_t page);
  void check_own_pool_first(const Claim& claim, const Vm& vm, const sluice::Grant& grant);
  void check_own_memory_first(const Claim& claim, const Vm& vm, std::size_t recycled);
  void check_what_is_left();
  [[nodiscard]] std::size_t pool_pages(Id pool) const;
  void check_range(const Claim& claim, const Vm& vm, const GrantedRange& range, std::size_t& recycled);
  void check_permission(const Vm& vm, const GrantedRange& range);
  void check_order(std::uint64_t number, const Claim& claim, const sluice::Grant& grant);
  void create_pool(const Step& step);
  void create_pools(const Step& step);
  void check_minimum();
  void check_refusal(const Error& error, bool fits);
  [[nodiscard]] Pool draw_pool(const Step& step) const;
  [[nodiscard]] static PoolRule draw_rule(std::uint32_t bits, PageKind kind);
  void change_rule(const Step& step);
  void follow_rules();
  void check_rules_at_rest();
  [[nodiscard]] bool has_rules() const;
  [[nodiscard]] static bool may_have(const Pool& pool, std::size_t pages);
  [[nodiscard]] static bool may_keep(const Pool& pool, std::size_t pages);
  [[nodiscard]] std::size_t promised_to(Id pool) const;

  template <class... Values>
  void check(bool holds, fmt::format_string<Values...> message, Values&&... values) {
    if (holds || failure_) return;
    failure_ = Failure{steps_, fmt::format(message, std::forward<Values>(values)...)};
  }
  void expect(bool as_it_should, bool succeeded, const char* what);
  void look_for_losses();
  void may_be_lost(std::size_t first, std::size_t pages);
  void check_step();
  void check_sums();
  void check_everything();
  void check_extent(const Extent& extent);
  void check_jobs();
  void check_suspects();
  void check_pools();
  void check_available(const Vm& vm);
  void check_nobody_waits_beside_free_memory();
  [[nodiscard]] bool reaches(const Claim& claim, const Lineage& lineage) const;
  [[nodiscard]] bool same_reach(const Claim& one, const Claim& other) const;
  [[nodiscard]] ByteCount suspect_for(const Claim& claim) const;
  [[nodiscard]] ByteCount wanted(const Claim& claim) const;
  void end();

  template <class Map>
  [[nodiscard]] static typename Map::value_type* pick(Map& map, std::uint32_t number) {
    if (map.empty()) return nullptr;
    auto found = map.begin();
    std::advance(found, number % map.size());
    return &*found;
  }
  [[nodiscard]] std::size_t page_of(const std::byte* at) const {
    return layout_.page_at(static_cast<std::size_t>(at - base_));
  }
  [[nodiscard]] std::size_t first_page(const Extent& extent) const { return layout_.page_at(extent.offset()); }
  [[nodiscard]] std::size_t end_page(const Extent& extent) const {
    return layout_.page_at(extent.offset() + extent.length().value());
  }
  [[nodiscard]] MemorySpan span(std::size_t page, std::size_t pages) const {
    return {base_ + layout_.offset(page), layout_.bytes(page, pages)};
  }
  [[nodiscard]] static ByteCount length(std::size_t pages, PageKind kind) {
    return ByteCount(pages * page_length(kind).value());
  }
  [[nodiscard]] PageKind smallest() const { return PageKind::Small; }
  void let_go_of(Vm& vm, std::size_t page);
  void let_go_of_all(Vm& vm);
  [[nodiscard]] Placement placement(std::uint32_t bits) const;
  /// Often the same one, so that its groups and pools have members.
  [[nodiscard]] static Id customer(std::uint32_t bits) { return bits % 8 < 5 ? 1 : bits % 8 < 7 ? 2 : 3; }
  [[nodiscard]] static RecycleSettings recycling(std::uint32_t bits);
  [[nodiscard]] static ScrubSettings scrubs(std::uint32_t bits);
  [[nodiscard]] VmProfile profile(const Vm& vm) const;

  std::string folder_;
  Layout layout_;
  int fd_ = -1;
  std::byte* base_ = nullptr;
  class Bricks;
  std::unique_ptr<Bricks> bricks_;
  ScrubberConfig config_;
  EngineLimits limits_;
  std::uint64_t starts_ = 0;

  MemoryModel memory_{kPages};
  OrderOracle order_{layout_};
  std::unique_ptr<Ledger> ledger_;
  std::unique_ptr<WorldEngine> engine_;
  std::unique_ptr<MemoryManager> manager_;
  std::map<Id, Vm> vms_;
  std::map<Id, Group> groups_;
  std::map<Id, Pool> pools_;
  std::map<Id, Pool> strays_;  ///< Were found after a crash, and nobody has adopted them yet.
  std::map<std::uint64_t, Claim> claims_;
  std::map<std::uint64_t, SuspectTest> tests_;
  std::vector<Id> holder_ = std::vector<Id>(kPages);
  Pages suspect_to_all_;
  ByteCount shared_minimum_;
  Pages may_be_lost_;  ///< A failure may have put these into quarantine.
  ByteCount held_;     ///< By VMs, of what their handlers were called with.
  Id next_id_ = 1;
  std::uint64_t next_claim_ = 1;
  std::uint64_t steps_ = 0;
  std::uint64_t claims_granted_ = 0;
  std::uint64_t losses_ = 0;        ///< Failures, refusals, lies: whatever memory may be lost by.
  std::uint64_t known_losses_ = 0;  ///< Those before the last poll began.
  std::uint64_t changes_ = 0;       ///< Of rules that pending claims go by.
  std::uint64_t refusals_ = 0;      ///< Of the engine, that are known.
  std::chrono::nanoseconds time_;
  int polling_ = 0;         ///< So many polls are under way, one inside the other.
  bool reentered_ = false;  ///< A handler has done something in this step.
  bool called_ = false;     ///< The manager was, in this step.
  bool stopped_ = false;
  bool ending_ = false;  ///< The manager is destroyed now.
  std::optional<Failure> failure_;
};

}  // namespace sluice::world
