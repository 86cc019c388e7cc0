// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace sluice::world {

using Id = std::uint64_t;  ///< 0: none

/// What the memory of the world holds and who may see it, by rules of its own: nothing here comes from the manager.
///
/// A page holds the traces of whoever wrote it since it was last filled. A trace is a VM as it was when it wrote: in
/// which boot, in its pool if the page was a part of that, and in its groups as they were then. Any change of who is in
/// a group, and any pause of it, begins a new age of that group and of the one around it; traces of an earlier age are
/// for nobody but their VM. What leaves a pool is for nobody any more, its VM included, unless a group allows it.
class MemoryModel {
 public:
  explicit MemoryModel(std::size_t pages) : pages_(pages) {}

  struct Vm {
    Id vm = 0;
    Id customer = 0;
    Id pool = 0;
    Id group = 0;
    std::uint64_t boot = 0;
    bool operator==(const Vm&) const = default;
  };
  /// Who would have memory as it is, and what it allows.
  struct Reader {
    Vm vm;
    bool after_reboot = true;
    bool within_vm = true;
    bool within_pool = true;
    bool within_group = true;
    bool pool_shares = false;
  };

  // Groups
  void create_group(Id group, Id customer, Id inside) { groups_[group] = {customer, inside, 0, true}; }
  void destroy_group(Id group) { groups_.erase(group); }
  void enable_group(Id group, bool enabled);
  /// A VM goes from one group (0: none) to another.
  void moved(Id from, Id to);
  void forget_groups() { groups_.clear(); }
  [[nodiscard]] bool has_group(Id group) const { return groups_.contains(group); }

  // Memory
  /// The page is a part of this pool now. Whoever holds it, or has it reserved, keeps what is its own.
  void belongs(std::size_t page, Id pool, Id holder);
  /// The VM left this pool: what it does not hold there is not its own any more, and what it holds is for no other.
  void leaves_pool(Id vm, std::size_t page, Id holder);
  /// A VM has been given the page: what it had left there, it has again.
  void returns(std::size_t page, Id vm);
  /// The VM gave it back to a pool that is not its own.
  void gives_away_to_pool(Id vm, std::size_t page);
  /// The VM writes all of the page, or some.
  void write(std::size_t page, const Vm& vm, bool all);
  /// An engine has filled the page, all of it or a part.
  void fill(std::size_t page, std::uint64_t pattern, bool whole);
  /// It has said so.
  void reported(std::size_t page, std::uint64_t time) { pages_[page].reported = time; }
  void set_bad(std::size_t page) { pages_[page].bad = true; }
  /// The engine that it had failed on is gone, and nobody had heard of it.
  void forget_bad(std::size_t page) { pages_[page].bad = false; }

  [[nodiscard]] bool bad(std::size_t page) const { return pages_[page].bad; }
  /// Holds this everywhere.
  [[nodiscard]] bool holds_only(std::size_t page, std::uint64_t pattern) const {
    const Page& here = pages_[page];
    return here.count == 0 && here.filled && here.pattern == pattern;
  }
  [[nodiscard]] std::uint64_t reported(std::size_t page) const { return pages_[page].reported; }
  /// A trace that the VM must not see; nullopt: it may see all.
  [[nodiscard]] std::optional<std::string> forbidden(std::size_t page, const Reader& reader) const;
  [[nodiscard]] Id pool_of(std::size_t page) const { return pages_[page].pool; }
  [[nodiscard]] bool is_written(std::size_t page) const { return pages_[page].count > 0; }
  [[nodiscard]] Id last_writer(std::size_t page) const;
  /// Whether all that is in it was written by VMs that are gone from its pool.
  template <class IsGone>
  [[nodiscard]] bool is_left_for_good(std::size_t page, IsGone is_gone) const {
    const Page& here = pages_[page];
    for (std::size_t mark = 0; mark < here.count; ++mark) {
      const Vm& writer = traces_[here.marks[mark].trace].writer;
      if (writer.pool != here.pool || !is_gone(writer.vm, here.pool)) return false;
    }
    return here.count > 0;
  }

 private:
  struct Group {
    Id customer = 0;
    Id inside = 0;
    std::uint64_t age = 0;
    bool enabled = true;
  };
  struct Trace {
    Vm writer;
    std::uint64_t age = 0;  ///< Of its group.
    Id larger = 0;
    std::uint64_t larger_age = 0;
    bool operator==(const Trace&) const = default;
  };
  struct Mark {
    std::uint32_t trace = 0;  ///< Into traces_.
    bool left = false;        ///< The memory has left the pool: only a group allows this to anybody.
    bool apart = false;       ///< Or its VM kept it when it moved: the pool allows this to no other VM.
  };
  struct Page {
    std::array<Mark, 4> marks{};  ///< The latest last.
    std::uint8_t count = 0;
    Id pool = 0;
    bool bad = false;
    bool filled = false;
    std::uint64_t pattern = 0;
    std::uint64_t reported = 0;
  };

  [[nodiscard]] Id around(Id group) const;
  [[nodiscard]] Trace trace_of(const Vm& vm) const;
  [[nodiscard]] static bool may_see(const Page& page, const Reader& reader, const Trace& own, const Mark& mark,
                                    const Trace& found);
  void age(Id group);

  std::vector<Page> pages_;
  std::vector<Trace> traces_;
  std::map<std::pair<Id, Id>, std::uint32_t> last_trace_;  ///< of each VM in each pool
  std::map<Id, Group> groups_;
};

}  // namespace sluice::world
