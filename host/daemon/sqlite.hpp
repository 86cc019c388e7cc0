// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "sluice/memory/error.hpp"

namespace sluice::inline daemon {

/// A database file of SQLite. Errors of all calls: NoResources with the file and what SQLite says. Not thread-safe.
class Sqlite {
 public:
  enum class Durability : std::uint8_t {
    Process,  ///< What was committed outlives the process.
    Power,    ///< And a power cut.
  };
  /// Opens or creates `path`, locks it as long as this lives, and gives it `schema`, whose statements must do nothing
  /// where it has that already. Errors: also WrongState (another process has it), InvalidArgument (it is no database,
  /// or one of another version).
  [[nodiscard]] static Result<Sqlite> open(const std::string& path, Durability durability, const char* schema,
                                           int version);

  /// One statement, prepared, with values bound in their order. A row at a time.
  class Statement {
   public:
    Statement& bind(std::uint64_t value);
    Statement& bind(std::string_view text);
    Statement& bind(std::span<const std::byte> blob);
    /// True: there is a row; false: there is none any more.
    [[nodiscard]] Result<bool> step();
    /// To its end, for statements without rows.
    [[nodiscard]] Result<void> run();
    [[nodiscard]] std::uint64_t number(int column) const;
    [[nodiscard]] std::string text(int column) const;
    [[nodiscard]] std::span<const std::byte> blob(int column) const;

   private:
    friend class Sqlite;
    Statement(Sqlite& database, const char* sql);
    Sqlite* database_;
    std::unique_ptr<sqlite3_stmt, int (*)(sqlite3_stmt*)> statement_;
    int failed_ = SQLITE_OK;
    int bound_ = 0;
  };
  [[nodiscard]] Statement prepare(const char* sql) { return {*this, sql}; }
  [[nodiscard]] Result<void> run(const char* sql) { return prepare(sql).run(); }

 private:
  Sqlite(std::string path, sqlite3* database);
  [[nodiscard]] Error error(int code) const;

  std::string path_;
  std::unique_ptr<sqlite3, int (*)(sqlite3*)> database_;
};

}  // namespace sluice::inline daemon
