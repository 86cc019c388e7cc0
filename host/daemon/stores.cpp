// SPDX-License-Identifier: Apache-2.0
#include "sluice/daemon/stores.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "sqlite.hpp"

namespace sluice::inline daemon {
namespace {

constexpr const char* kLeaseSchema =
    "CREATE TABLE IF NOT EXISTS vm (vm INTEGER PRIMARY KEY, uuid BLOB NOT NULL UNIQUE, name TEXT NOT NULL, "
    "customer INTEGER NOT NULL, trust_group INTEGER NOT NULL, pool INTEGER NOT NULL, unit INTEGER NOT NULL, "
    "epoch INTEGER NOT NULL, filtered INTEGER NOT NULL, monitored INTEGER NOT NULL, process INTEGER NOT NULL, "
    "start INTEGER NOT NULL) STRICT;";
constexpr const char* kStateSchema =
    "CREATE TABLE IF NOT EXISTS counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;"
    "CREATE TABLE IF NOT EXISTS document (name TEXT PRIMARY KEY, text TEXT NOT NULL) STRICT;"
    "CREATE TABLE IF NOT EXISTS registration (uuid BLOB PRIMARY KEY, customer INTEGER NOT NULL, trust_group INTEGER "
    "NOT NULL, pool INTEGER NOT NULL, user INTEGER NOT NULL, template TEXT NOT NULL, policy TEXT NOT NULL) STRICT;"
    "CREATE TABLE IF NOT EXISTS answer (who TEXT NOT NULL, key TEXT NOT NULL, fingerprint BLOB NOT NULL, status "
    "INTEGER "
    "NOT NULL, type TEXT NOT NULL, body TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (who, key)) STRICT;";
constexpr std::uint64_t kIdsAtOnce = 1024;

Uuid uuid_of(std::span<const std::byte> blob) {
  Uuid uuid;
  std::copy_n(blob.begin(), std::min(blob.size(), uuid.bytes.size()), uuid.bytes.begin());
  return uuid;
}

Result<std::vector<VmRegistration>> read_registrations(Sqlite::Statement& rows) {
  std::vector<VmRegistration> registrations;
  for (;;) {
    const auto row = rows.step();
    if (!row) return row.error();
    if (!*row) return registrations;
    VmRegistration registration;
    registration.uuid = uuid_of(rows.blob(0));
    registration.customer = CustomerId(rows.number(1));
    registration.group = TrustGroupId(rows.number(2));
    registration.pool = DedicatedPoolId(rows.number(3));
    registration.user = UserId(rows.number(4));
    const std::string name = rows.text(5);
    const std::string policy = rows.text(6);
    if (!policy.empty()) {
      auto read = Policy::from_json(policy);
      if (!read) return read.error();
      registration.attachment = PolicyAttachment{{}, std::move(*read)};
    } else if (!name.empty()) {
      registration.attachment = PolicyAttachment{name, {}};
    }
    registrations.push_back(std::move(registration));
  }
}

}  // namespace

LeaseStore::LeaseStore(Sqlite database) : database_(std::make_unique<Sqlite>(std::move(database))) {}
LeaseStore::LeaseStore(LeaseStore&&) noexcept = default;
LeaseStore& LeaseStore::operator=(LeaseStore&&) noexcept = default;
LeaseStore::~LeaseStore() = default;

Result<LeaseStore> LeaseStore::open(const std::string& path) {
  auto database = Sqlite::open(path, Sqlite::Durability::Process, kLeaseSchema, 1);
  if (!database) return database.error();
  return LeaseStore(std::move(*database));
}

Result<void> LeaseStore::put(const VmRecord& record) {
  return database_->prepare("INSERT OR REPLACE INTO vm VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
      .bind(record.vm.value())
      .bind(std::span(record.uuid.bytes))
      .bind(record.name)
      .bind(record.customer.value())
      .bind(record.group.value())
      .bind(record.pool.value())
      .bind(record.unit.value())
      .bind(record.epoch)
      .bind(std::uint64_t{record.filtered})
      .bind(std::uint64_t{record.monitored})
      .bind(static_cast<std::uint64_t>(record.process.process))
      .bind(record.process.start)
      .run();
}

Result<void> LeaseStore::erase(VmId vm) {
  return database_->prepare("DELETE FROM vm WHERE vm = ?").bind(vm.value()).run();
}

Result<std::vector<VmRecord>> LeaseStore::all() {
  std::vector<VmRecord> records;
  Sqlite::Statement rows = database_->prepare("SELECT * FROM vm ORDER BY vm");
  for (;;) {
    const auto row = rows.step();
    if (!row) return row.error();
    if (!*row) return records;
    VmRecord record;
    record.vm = VmId(rows.number(0));
    record.uuid = uuid_of(rows.blob(1));
    record.name = rows.text(2);
    record.customer = CustomerId(rows.number(3));
    record.group = TrustGroupId(rows.number(4));
    record.pool = DedicatedPoolId(rows.number(5));
    record.unit = ByteCount(rows.number(6));
    record.epoch = rows.number(7);
    record.filtered = rows.number(8) != 0;
    record.monitored = rows.number(9) != 0;
    record.process = {static_cast<pid_t>(rows.number(10)), rows.number(11)};
    records.push_back(std::move(record));
  }
}

StateStore::StateStore(Sqlite database) : database_(std::make_unique<Sqlite>(std::move(database))) {}
StateStore::StateStore(StateStore&&) noexcept = default;
StateStore& StateStore::operator=(StateStore&&) noexcept = default;
StateStore::~StateStore() = default;

Result<StateStore> StateStore::open(const std::string& path) {
  auto database = Sqlite::open(path, Sqlite::Durability::Power, kStateSchema, 1);
  if (!database) return database.error();
  return StateStore(std::move(*database));
}

Result<VmId> StateStore::next_vm() {
  if (next_ == end_) {
    Sqlite::Statement taken = database_->prepare(
        "INSERT INTO counter VALUES ('vm', ?1 + 1) ON CONFLICT (name) DO UPDATE SET value = value + ?1 RETURNING "
        "value");
    const auto row = taken.bind(kIdsAtOnce).step();
    if (!row) return row.error();
    end_ = taken.number(0);
    next_ = end_ - kIdsAtOnce;
    if (const auto done = taken.step(); !done) return done.error();  // the commit
  }
  return VmId(next_++);
}

Result<std::string> StateStore::policies() {
  Sqlite::Statement rows = database_->prepare("SELECT text FROM document WHERE name = 'policies'");
  const auto row = rows.step();
  if (!row) return row.error();
  return *row ? rows.text(0) : std::string();
}

Result<void> StateStore::put_policies(std::string_view document) {
  return database_->prepare("INSERT OR REPLACE INTO document VALUES ('policies', ?)").bind(document).run();
}

Result<std::optional<StateStore::Answer>> StateStore::answer_to(std::string_view who, std::string_view key) {
  Sqlite::Statement rows = database_->prepare(
      "SELECT fingerprint, status, type, body FROM answer WHERE who = ? AND key = ? AND at > unixepoch() - ? * 3600");
  const auto row = rows.bind(who).bind(key).bind(kAnswersHours).step();
  if (!row) return row.error();
  if (!*row) return std::optional<Answer>();
  Answer answer;
  std::ranges::copy(rows.blob(0).first(std::min(rows.blob(0).size(), answer.fingerprint.size())),
                    answer.fingerprint.begin());
  answer.status = static_cast<unsigned>(rows.number(1));
  answer.type = rows.text(2);
  answer.body = rows.text(3);
  return std::optional(std::move(answer));
}

Result<void> StateStore::put_answer(std::string_view who, std::string_view key, const Answer& answer) {
  if (auto erased =
          database_->prepare("DELETE FROM answer WHERE at <= unixepoch() - ? * 3600").bind(kAnswersHours).run();
      !erased) {
    return erased;
  }
  return database_->prepare("INSERT OR REPLACE INTO answer VALUES (?, ?, ?, ?, ?, ?, unixepoch())")
      .bind(who)
      .bind(key)
      .bind(std::span(answer.fingerprint))
      .bind(answer.status)
      .bind(answer.type)
      .bind(answer.body)
      .run();
}

Result<void> StateStore::put_registration(const VmRegistration& registration) {
  const auto& attachment = registration.attachment;
  const bool is_inline = attachment && attachment->template_name.empty();
  return database_->prepare("INSERT OR REPLACE INTO registration VALUES (?, ?, ?, ?, ?, ?, ?)")
      .bind(std::span(registration.uuid.bytes))
      .bind(registration.customer.value())
      .bind(registration.group.value())
      .bind(registration.pool.value())
      .bind(registration.user.value())
      .bind(attachment ? attachment->template_name : std::string())
      .bind(is_inline ? attachment->policy.to_json() : std::string())
      .run();
}

Result<void> StateStore::erase_registration(const Uuid& uuid) {
  return database_->prepare("DELETE FROM registration WHERE uuid = ?").bind(std::span(uuid.bytes)).run();
}

Result<std::optional<VmRegistration>> StateStore::registration(const Uuid& uuid) {
  Sqlite::Statement rows = database_->prepare("SELECT * FROM registration WHERE uuid = ?");
  rows.bind(std::span(uuid.bytes));
  auto found = read_registrations(rows);
  if (!found) return found.error();
  if (found->empty()) return std::optional<VmRegistration>();
  return std::optional(std::move(found->front()));
}

Result<std::vector<VmRegistration>> StateStore::registrations() {
  Sqlite::Statement rows = database_->prepare("SELECT * FROM registration ORDER BY uuid");
  return read_registrations(rows);
}

}  // namespace sluice::inline daemon
