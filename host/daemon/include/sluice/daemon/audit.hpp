// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/base/ids.hpp"
#include "sluice/base/uuid.hpp"
#include "sluice/memory/error.hpp"
#include "sluice/policy/recycle_policy.hpp"

namespace sluice::inline daemon {

class Sqlite;

using AuditHash = std::array<std::byte, 32>;

/// "9f86d081...": 64 digits.
[[nodiscard]] std::string to_string(const AuditHash& hash);

/// What a line of the audit is about.
enum class AuditKind : std::uint8_t {
  HandOver = 1,  ///< A brick was given to a VM.
  Return = 2,    ///< A VM has a brick no more, and nobody else has it.
  Scrub = 3,     ///< A part of a brick was filled.
  Failure = 4,   ///< A scrub has failed, or was refused: that part is quarantined.
};

/// "hand-over", "return", "scrub", "failure"
[[nodiscard]] std::string_view to_string(AuditKind kind);

/// What has happened to a part of a brick.
struct AuditEntry {
  AuditKind kind = AuditKind::HandOver;
  VmId vm;    ///< HandOver, Return: which. Scrub, Failure: who held it last; unset: nobody knows.
  Uuid uuid;  ///< Of that VM; unset: not known.
  std::uint32_t brick = 0;
  std::uint64_t offset = 0;  ///< In the brick. bytes
  std::uint64_t length = 0;  ///< bytes
  /// HandOver: "scrubbed", or why it was handed over as it was. Return: "released", "reserved". Scrub: the engine, and
  /// ", verified" if it was read back; "clean by the ledger" if its line was lost in a crash. Failure: the engine.
  std::string how;
  bool operator==(const AuditEntry&) const = default;
};

struct AuditLine {
  std::uint64_t number = 0;        ///< 1, 2, 3 ...
  std::chrono::milliseconds time;  ///< Since 1970, by the clock of the host.
  AuditEntry entry;
  AuditHash hash{};  ///< SHA-256 of the hash before it and of all above.
  bool operator==(const AuditLine&) const = default;
};

/// What became of the memory of one VM.
struct Erasure {
  struct Part {
    std::uint32_t brick = 0;
    std::uint64_t handed_over = 0;  ///< The line.
    std::uint64_t returned = 0;     ///< The line; 0: the VM has it, or its end is not in the audit.
    std::uint64_t scrubbed_by = 0;  ///< The line by which all of it was scrubbed after that; 0: it was not.
    std::uint64_t recycled_by = 0;  ///< The line of the next hand-over, if it came before that scrub.
  };
  std::vector<Part> parts;
  AuditHash head{};  ///< Of the last line when this was found.
  std::uint64_t lines = 0;
  /// All that the VM ever had was scrubbed.
  [[nodiscard]] bool complete() const;
};

/// All hand-overs and scrubs of a host, in a file that outlives a power cut. The lines are a chain of hashes: one that
/// was changed, left out or put in between does not fit to the next. Who can write the file can make it all anew, or
/// leave out its end: so the last hash is to be kept elsewhere too (it is logged when sluiced ends). Not thread-safe.
class Audit {
 public:
  /// Errors: as Sqlite::open(); InvalidArgument (the last lines do not fit together: it goes on from no broken chain).
  [[nodiscard]] static Result<Audit> open(const std::string& path);
  Audit(Audit&&) noexcept;
  Audit& operator=(Audit&&) noexcept;
  ~Audit();

  /// To be written by the next commit(), in this order.
  void note(AuditEntry entry);
  /// Returns when what was noted outlives a power cut. Errors: NoResources; it is noted still.
  [[nodiscard]] Result<void> commit();
  [[nodiscard]] bool has_notes() const { return !notes_.empty(); }

  [[nodiscard]] std::uint64_t lines() const { return lines_; }
  /// Of the last line; zeros: there is none.
  [[nodiscard]] const AuditHash& head() const { return head_; }
  /// At most `most` lines from line `from` on.
  [[nodiscard]] Result<std::vector<AuditLine>> read(std::uint64_t from, std::size_t most);
  /// The first line that does not fit to those before it, or is missing; nullopt: all is well. Reads all.
  [[nodiscard]] Result<std::optional<std::uint64_t>> first_bad_line();
  /// Of all VMs that had this UUID. Reads all.
  [[nodiscard]] Result<Erasure> erasure_of(const Uuid& uuid);
  /// What was written last of a brick.
  struct BrickFacts {
    VmId vm;  ///< Who got it last; unset: nobody.
    Uuid uuid;
    bool returned = true;   ///< Since then.
    bool scrubbed = false;  ///< Something of it, since then.
    /// Why it was handed over as it was; nullopt: it was scrubbed.
    std::optional<Reason> recycled;
  };
  /// Of each brick, by their numbers.
  [[nodiscard]] Result<std::vector<BrickFacts>> bricks(std::uint32_t count);

 private:
  explicit Audit(Sqlite database);
  template <class Visit>
  [[nodiscard]] Result<void> each(std::uint64_t from, const Visit& visit);

  std::unique_ptr<Sqlite> database_;
  std::vector<AuditEntry> notes_;
  std::uint64_t lines_ = 0;
  AuditHash head_{};
};

}  // namespace sluice::inline daemon
