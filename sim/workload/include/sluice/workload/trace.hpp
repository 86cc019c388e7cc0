// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <iosfwd>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/base/ids.hpp"
#include "sluice/base/units.hpp"
#include "sluice/memory/backing_memory.hpp"
#include "sluice/memory/error.hpp"

namespace sluice::inline workload {

enum class TraceEventKind : std::uint8_t {
  CreateGroup,
  CreatePool,
  DestroyPool,
  Create,
  BalloonUp,
  BalloonDown,
  Reboot,
  ChangeGroup,
  Terminate,
};

/// One event in the life of a VM, a trust group or a dedicated pool. docs/TRACES.md says which fields each kind uses.
struct TraceEvent {
  std::int64_t time_ms = 0;
  TraceEventKind kind = TraceEventKind::Create;
  VmId vm;
  CustomerId customer;
  TrustGroupId group;
  DedicatedPoolId pool;
  ByteCount bytes;
  TrustGroupId inside{};  ///< The larger group around `group`.
};

struct Trace {
  std::vector<TraceEvent> events;
  std::string source;  ///< Where it comes from.
  std::string taken;   ///< What of it the source says.
  std::string drawn;   ///< What of it was drawn from a seed; empty: nothing.
};

/// What is wrong with an event: which column, and what was expected there.
struct TraceProblem {
  std::string_view column;
  std::string expected;
};

/// Bytes of a trace as they are in the pool: divided, and rounded up to whole pages of the pool's size.
[[nodiscard]] ByteCount scaled(ByteCount bytes, std::uint64_t memory_scale, ByteCount page = kPageSize);

/// Follows a trace and says whether each event can happen: identifiers are new or known, times do not run backwards,
/// sizes stay above zero. Also finds how much memory the trace needs at once.
class TraceChecker {
 public:
  /// Sizes are added up as they are in the pool: see scaled().
  explicit TraceChecker(std::uint64_t memory_scale = 1, ByteCount page = kPageSize)
      : memory_scale_(memory_scale), page_(page) {}

  [[nodiscard]] std::optional<TraceProblem> add(const TraceEvent& event);
  /// Enough at every instant: dedicated pools, and beside them all that VMs hold.
  [[nodiscard]] ByteCount peak() const { return peak_; }
  /// With less the trace cannot run: what VMs find in their own pools counts once.
  [[nodiscard]] ByteCount least() const { return least_; }
  /// What all events ask for and give back, added up: no replay scrubs more.
  [[nodiscard]] ByteCount moved() const { return ByteCount(moved_); }
  [[nodiscard]] std::size_t vm_count() const { return vms_.size(); }

 private:
  struct Piece {
    std::uint64_t bytes = 0;  ///< Scaled.
    bool from_pool = false;
  };
  struct Vm {
    CustomerId customer;
    DedicatedPoolId pool;
    std::uint64_t bytes = 0;
    std::vector<Piece> pieces{};  ///< In the order in which they came; they go in the other.
    bool alive = true;
  };
  struct Pool {
    CustomerId customer;
    std::uint64_t bytes = 0;
    std::uint64_t vms = 0;
    bool alive = true;
    std::uint64_t free = 0;  ///< What no VM has of it. Scaled.
  };

  struct Group {
    CustomerId customer;
    bool inside = false;  ///< Another one.
  };

  [[nodiscard]] std::optional<TraceProblem> add_create_group(const TraceEvent& event);
  [[nodiscard]] std::optional<TraceProblem> add_pool_event(const TraceEvent& event);
  [[nodiscard]] std::optional<TraceProblem> add_create(const TraceEvent& event);
  [[nodiscard]] std::optional<TraceProblem> add_vm_event(const TraceEvent& event);
  [[nodiscard]] std::optional<TraceProblem> check_group(TrustGroupId group, CustomerId customer);
  void resize_vm(Vm& vm, std::uint64_t bytes);
  void resize_pool(Pool& pool, std::uint64_t bytes);
  [[nodiscard]] std::uint64_t in_pool(std::uint64_t bytes) const {
    return scaled(ByteCount(bytes), memory_scale_, page_).value();
  }
  /// Sums must not wrap.
  [[nodiscard]] std::optional<TraceProblem> check_sum(std::uint64_t before, std::uint64_t after) const;
  void move(std::uint64_t bytes);

  std::uint64_t memory_scale_;
  ByteCount page_;
  std::int64_t last_time_ms_ = 0;
  std::map<VmId, Vm> vms_;
  std::map<DedicatedPoolId, Pool> pools_;
  std::map<TrustGroupId, Group> groups_;
  std::uint64_t in_use_ = 0;  // bytes, scaled
  std::uint64_t least_in_use_ = 0;
  std::uint64_t moved_ = 0;
  ByteCount peak_;
  ByteCount least_;
};

[[nodiscard]] std::string_view to_string(TraceEventKind kind);

/// Our own format (docs/TRACES.md). An error names file, line, column and value, and what was expected; no event of a
/// bad trace is returned.
[[nodiscard]] Result<Trace> read_csv(std::istream& in, const std::string& name);
/// Errors: also for a file that cannot be read.
[[nodiscard]] Result<Trace> read_csv_file(const std::string& path);
void write_csv(const Trace& trace, std::ostream& out);

}  // namespace sluice::inline workload
