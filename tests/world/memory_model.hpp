// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace sluice::world {

using Id = std::uint64_t;  ///< 0: none

/// What the memory of the world holds and who may see it, by rules of its own: nothing here comes from the manager.
///
/// A page holds the traces of whoever wrote it since it was last filled. A trace is a VM as it was when it wrote: in
/// its pool, and in its groups as they were then. Any change of who is in a group, and any pause of it, begins a new
/// age of that group and of the one around it; traces of an earlier age are for nobody but their VM.
class MemoryModel {
 public:
  explicit MemoryModel(std::size_t pages) : pages_(pages) {}

  struct Vm {
    Id vm = 0;
    Id customer = 0;
    Id pool = 0;
    Id group = 0;
    bool operator==(const Vm&) const = default;
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
  [[nodiscard]] std::optional<std::string> forbidden(std::size_t page, const Vm& reader) const;

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
  struct Page {
    std::array<std::uint32_t, 4> traces{};  ///< Into traces_, the latest last.
    std::uint8_t count = 0;
    bool bad = false;
    bool filled = false;
    std::uint64_t pattern = 0;
    std::uint64_t reported = 0;
  };

  [[nodiscard]] Id around(Id group) const;
  [[nodiscard]] Trace trace_of(const Vm& vm) const;
  [[nodiscard]] bool may_see(const Trace& reader, const Trace& writer) const;
  void age(Id group);

  std::vector<Page> pages_;
  std::vector<Trace> traces_;
  std::map<Id, std::uint32_t> last_trace_;  ///< of each VM
  std::map<Id, Group> groups_;
};

}  // namespace sluice::world
