// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/base/ids.hpp"
#include "sluice/base/units.hpp"
#include "sluice/base/uuid.hpp"
#include "sluice/daemon/process.hpp"
#include "sluice/memory/error.hpp"
#include "sluice/policy/policy_book.hpp"

namespace sluice::inline daemon {

class Sqlite;

/// What a VM of this UUID will be when it first asks for memory.
struct VmRegistration {
  Uuid uuid;
  CustomerId customer;
  TrustGroupId group;
  DedicatedPoolId pool;
  UserId user;
  std::optional<PolicyAttachment> attachment;  ///< To the VM itself.
  bool operator==(const VmRegistration&) const = default;
};

/// A VM that has a lease, or waits for one: what a new sluiced must know of it beside the ledger.
struct VmRecord {
  Uuid uuid;
  VmId vm;
  std::string name;
  CustomerId customer;
  TrustGroupId group;
  DedicatedPoolId pool;
  ByteCount unit;  ///< The length of its bricks.
  std::uint64_t epoch = 0;
  bool filtered = false;
  bool monitored = false;
  ProcessId process;  ///< The last that had its memory.
  bool operator==(const VmRecord&) const = default;
};

/// The VMs of this boot, in a file that need not outlive it. What was put is there after a crash of the process.
/// Errors of all calls: NoResources.
class LeaseStore {
 public:
  /// Errors: as Sqlite::open().
  [[nodiscard]] static Result<LeaseStore> open(const std::string& path);
  LeaseStore(LeaseStore&&) noexcept;
  LeaseStore& operator=(LeaseStore&&) noexcept;
  ~LeaseStore();

  [[nodiscard]] Result<void> put(const VmRecord& record);
  /// Nothing, if it is not there.
  [[nodiscard]] Result<void> erase(VmId vm);
  /// By their ids.
  [[nodiscard]] Result<std::vector<VmRecord>> all();

 private:
  explicit LeaseStore(Sqlite database);
  std::unique_ptr<Sqlite> database_;
};

/// What outlives a boot, and a power cut. Errors of all calls: NoResources.
class StateStore {
 public:
  /// Errors: as Sqlite::open().
  [[nodiscard]] static Result<StateStore> open(const std::string& path);
  StateStore(StateStore&&) noexcept;
  StateStore& operator=(StateStore&&) noexcept;
  ~StateStore();

  /// An id that no VM of this host has had. Not every id is used: they are taken from the disk many at a time.
  [[nodiscard]] Result<VmId> next_vm();
  /// Of PolicyManager::save(); empty: there is none yet.
  [[nodiscard]] Result<std::string> policies();
  [[nodiscard]] Result<void> put_policies(std::string_view document);

  /// What a request was answered, for when it is repeated.
  struct Answer {
    std::array<std::byte, 32> fingerprint{};  ///< Of the request.
    unsigned status = 0;
    std::string type;
    std::string body;
    bool operator==(const Answer&) const = default;
  };
  static constexpr int kAnswersHours = 24;
  /// nullopt: `who` has not used this key in the last kAnswersHours.
  [[nodiscard]] Result<std::optional<Answer>> answer_to(std::string_view who, std::string_view key);
  /// Forgets those that are older.
  [[nodiscard]] Result<void> put_answer(std::string_view who, std::string_view key, const Answer& answer);

  /// In place of one that is there.
  [[nodiscard]] Result<void> put_registration(const VmRegistration& registration);
  /// Nothing, if it is not there.
  [[nodiscard]] Result<void> erase_registration(const Uuid& uuid);
  /// nullopt: none.
  [[nodiscard]] Result<std::optional<VmRegistration>> registration(const Uuid& uuid);
  /// By their UUIDs.
  [[nodiscard]] Result<std::vector<VmRegistration>> registrations();

 private:
  explicit StateStore(Sqlite database);
  std::unique_ptr<Sqlite> database_;
  std::uint64_t next_ = 0;
  std::uint64_t end_ = 0;  ///< Of the ids that are taken from the disk.
};

}  // namespace sluice::inline daemon
