// SPDX-License-Identifier: Apache-2.0
#include "sqlite.hpp"

#include <fmt/format.h>

#include <utility>

namespace sluice::inline daemon {

Sqlite::Sqlite(std::string path, sqlite3* database) : path_(std::move(path)), database_(database, &sqlite3_close_v2) {}

Error Sqlite::error(int code) const {
  const char* const said = database_ ? sqlite3_errmsg(database_.get()) : sqlite3_errstr(code);
  if (code == SQLITE_BUSY || code == SQLITE_LOCKED) {
    return {HostErrc::WrongState,
            fmt::format("{} is in use by another process: end that, or give another folder", path_)};
  }
  if (code == SQLITE_NOTADB || code == SQLITE_CORRUPT) {
    return {HostErrc::InvalidArgument,
            fmt::format("{} cannot be read as a database ({}): move it away, and what it knew is lost", path_, said)};
  }
  return {HostErrc::NoResources, fmt::format("{}: {}; is its folder there, writable, and not full?", path_, said)};
}

Result<Sqlite> Sqlite::open(const std::string& path, Durability durability, const char* schema, int version) {
  sqlite3* opened = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &opened, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr);
  Sqlite database(path, opened);
  if (code != SQLITE_OK) return database.error(code);
  const bool power = durability == Durability::Power;
  for (const char* const pragma : {"PRAGMA locking_mode=EXCLUSIVE", "PRAGMA foreign_keys=ON",
                                   power ? "PRAGMA journal_mode=WAL" : "PRAGMA journal_mode=TRUNCATE",
                                   power ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=OFF"}) {
    Statement statement = database.prepare(pragma);
    for (;;) {
      const auto row = statement.step();
      if (!row) return row.error();
      if (!*row) break;
    }
  }
  std::uint64_t found = 0;
  {
    Statement statement = database.prepare("PRAGMA user_version");
    if (const auto row = statement.step(); !row) return row.error();
    found = statement.number(0);
  }
  if (found != 0 && found != static_cast<std::uint64_t>(version)) {
    return Error{HostErrc::InvalidArgument,
                 fmt::format("{} is of version {}, and this sluiced has version {}: use the sluiced that wrote it, or "
                             "move it away",
                             path, found, version)};
  }
  // The first write takes the lock.
  const std::string made = fmt::format("BEGIN IMMEDIATE; {} PRAGMA user_version={}; COMMIT;", schema, version);
  const int run = sqlite3_exec(database.database_.get(), made.c_str(), nullptr, nullptr, nullptr);
  if (run != SQLITE_OK) return database.error(run);
  return database;
}

Sqlite::Statement::Statement(Sqlite& database, const char* sql)
    : database_(&database), statement_(nullptr, &sqlite3_finalize) {
  sqlite3_stmt* prepared = nullptr;
  failed_ = sqlite3_prepare_v2(database.database_.get(), sql, -1, &prepared, nullptr);
  statement_.reset(prepared);
}

Sqlite::Statement& Sqlite::Statement::bind(std::uint64_t value) {
  if (failed_ == SQLITE_OK) {
    failed_ = sqlite3_bind_int64(statement_.get(), ++bound_, static_cast<sqlite3_int64>(value));
  }
  return *this;
}

Sqlite::Statement& Sqlite::Statement::bind(std::string_view text) {
  if (failed_ == SQLITE_OK) {
    failed_ = sqlite3_bind_text64(statement_.get(), ++bound_, text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  }
  return *this;
}

Sqlite::Statement& Sqlite::Statement::bind(std::span<const std::byte> blob) {
  if (failed_ == SQLITE_OK) {
    failed_ = sqlite3_bind_blob64(statement_.get(), ++bound_, blob.data(), blob.size(), SQLITE_TRANSIENT);
  }
  return *this;
}

Result<bool> Sqlite::Statement::step() {
  if (failed_ == SQLITE_OK) {
    const int code = sqlite3_step(statement_.get());
    if (code == SQLITE_ROW) return true;
    if (code == SQLITE_DONE) return false;
    failed_ = code;
  }
  return database_->error(failed_);
}

Result<void> Sqlite::Statement::run() {
  const auto row = step();
  if (!row) return row.error();
  return {};
}

std::uint64_t Sqlite::Statement::number(int column) const {
  return static_cast<std::uint64_t>(sqlite3_column_int64(statement_.get(), column));
}

std::string Sqlite::Statement::text(int column) const {
  const auto* const letters = reinterpret_cast<const char*>(sqlite3_column_text(statement_.get(), column));
  return letters == nullptr
             ? std::string()
             : std::string(letters, static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column)));
}

std::span<const std::byte> Sqlite::Statement::blob(int column) const {
  return {static_cast<const std::byte*>(sqlite3_column_blob(statement_.get(), column)),
          static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column))};
}

}  // namespace sluice::inline daemon
