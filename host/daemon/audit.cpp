// SPDX-License-Identifier: Apache-2.0
#include "sluice/daemon/audit.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <map>
#include <stdexcept>
#include <utility>

#include "sqlite.hpp"

namespace sluice::inline daemon {
namespace {

constexpr const char* kSchema =
    "CREATE TABLE IF NOT EXISTS line (number INTEGER PRIMARY KEY, time INTEGER NOT NULL, kind INTEGER NOT NULL, "
    "vm INTEGER NOT NULL, uuid BLOB NOT NULL, brick INTEGER NOT NULL, start INTEGER NOT NULL, length INTEGER NOT NULL, "
    "how TEXT NOT NULL, hash BLOB NOT NULL) STRICT;"
    "CREATE INDEX IF NOT EXISTS by_brick ON line (brick, kind, number);";

/// All numbers are 8 bytes, little endian; text and ids have a fixed length, or stand last.
AuditHash hash_of(const AuditHash& before, const AuditLine& line) {
  std::vector<std::byte> bytes(before.begin(), before.end());
  const auto put = [&](std::uint64_t number) {
    for (int at = 0; at < 8; ++at) bytes.push_back(static_cast<std::byte>(number >> (8 * at)));
  };
  put(line.number);
  put(static_cast<std::uint64_t>(line.time.count()));
  put(static_cast<std::uint64_t>(line.entry.kind));
  put(line.entry.vm.value());
  bytes.insert(bytes.end(), line.entry.uuid.bytes.begin(), line.entry.uuid.bytes.end());
  put(line.entry.brick);
  put(line.entry.offset);
  put(line.entry.length);
  for (const char letter : line.entry.how) bytes.push_back(static_cast<std::byte>(letter));
  AuditHash hash{};
  unsigned length = hash.size();
  if (EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(hash.data()), &length, EVP_sha256(),
                 nullptr) != 1) {
    throw std::runtime_error("SHA-256 is not available: is OpenSSL whole?");
  }
  return hash;
}

template <std::size_t N>
std::array<std::byte, N> bytes_of(std::span<const std::byte> blob) {
  std::array<std::byte, N> bytes{};
  std::copy_n(blob.begin(), std::min(blob.size(), N), bytes.begin());
  return bytes;
}

AuditLine line_of(const Sqlite::Statement& row) {
  AuditLine line;
  line.number = row.number(0);
  line.time = std::chrono::milliseconds(row.number(1));
  line.entry.kind = static_cast<AuditKind>(row.number(2));
  line.entry.vm = VmId(row.number(3));
  line.entry.uuid.bytes = bytes_of<16>(row.blob(4));
  line.entry.brick = static_cast<std::uint32_t>(row.number(5));
  line.entry.offset = row.number(6);
  line.entry.length = row.number(7);
  line.entry.how = row.text(8);
  line.hash = bytes_of<32>(row.blob(9));
  return line;
}

}  // namespace

std::string to_string(const AuditHash& hash) {
  std::string text;
  for (const std::byte byte : hash) text += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
  return text;
}

std::string_view to_string(AuditKind kind) {
  switch (kind) {
    case AuditKind::HandOver:
      return "hand-over";
    case AuditKind::Return:
      return "return";
    case AuditKind::Scrub:
      return "scrub";
    case AuditKind::Failure:
      return "failure";
  }
  return "unknown";
}

bool Erasure::complete() const {
  return std::ranges::all_of(parts, [](const Part& part) { return part.scrubbed_by != 0; });
}

Audit::Audit(Sqlite database) : database_(std::make_unique<Sqlite>(std::move(database))) {}
Audit::Audit(Audit&&) noexcept = default;
Audit& Audit::operator=(Audit&&) noexcept = default;
Audit::~Audit() = default;

Result<Audit> Audit::open(const std::string& path) {
  auto database = Sqlite::open(path, Sqlite::Durability::Power, kSchema, 1);
  if (!database) return database.error();
  Audit audit(std::move(*database));
  // The last two lines: all of them would take long, and is first_bad_line()'s business.
  Sqlite::Statement last = audit.database_->prepare("SELECT * FROM line ORDER BY number DESC LIMIT 2");
  std::vector<AuditLine> lines;
  for (;;) {
    const auto row = last.step();
    if (!row) return row.error();
    if (!*row) break;
    lines.push_back(line_of(last));
  }
  if (lines.empty()) return audit;
  const AuditHash before = lines.size() == 2 ? lines[1].hash : AuditHash{};
  if (hash_of(before, lines[0]) != lines[0].hash || (lines.size() == 2 && lines[1].number + 1 != lines[0].number)) {
    return Error{
        HostErrc::InvalidArgument,
        fmt::format("line {} of {} does not fit to the one before it: somebody has changed the audit; move the "
                    "file away, and keep it",
                    lines[0].number, path)};
  }
  audit.lines_ = lines[0].number;
  audit.head_ = lines[0].hash;
  return audit;
}

void Audit::note(AuditEntry entry) { notes_.push_back(std::move(entry)); }

Result<void> Audit::commit() {
  if (notes_.empty()) return {};
  if (auto begun = database_->run("BEGIN IMMEDIATE"); !begun) return begun;
  AuditLine line;
  line.number = lines_;
  line.hash = head_;
  line.time =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch());
  Result<void> written;
  for (const AuditEntry& entry : notes_) {
    ++line.number;
    line.entry = entry;
    line.hash = hash_of(line.hash, line);
    written = database_->prepare("INSERT INTO line VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
                  .bind(line.number)
                  .bind(static_cast<std::uint64_t>(line.time.count()))
                  .bind(static_cast<std::uint64_t>(entry.kind))
                  .bind(entry.vm.value())
                  .bind(std::span(entry.uuid.bytes))
                  .bind(std::uint64_t{entry.brick})
                  .bind(entry.offset)
                  .bind(entry.length)
                  .bind(entry.how)
                  .bind(std::span(line.hash))
                  .run();
    if (!written) break;
  }
  if (written) written = database_->run("COMMIT");
  if (!written) {
    static_cast<void>(database_->run("ROLLBACK"));
    return written;
  }
  lines_ = line.number;
  head_ = line.hash;
  notes_.clear();
  return {};
}

/// Calls visit(line) until it returns false.
template <class Visit>
Result<void> Audit::each(std::uint64_t from, const Visit& visit) {
  Sqlite::Statement rows = database_->prepare("SELECT * FROM line WHERE number >= ? ORDER BY number");
  rows.bind(from);
  for (;;) {
    const auto row = rows.step();
    if (!row) return row.error();
    if (!*row || !visit(line_of(rows))) return {};
  }
}

Result<std::vector<AuditLine>> Audit::read(std::uint64_t from, std::size_t most) {
  std::vector<AuditLine> lines;
  if (most == 0) return lines;
  auto read = each(from, [&](AuditLine line) {
    lines.push_back(std::move(line));
    return lines.size() < most;
  });
  if (!read) return read.error();
  return lines;
}

Result<std::optional<std::uint64_t>> Audit::first_bad_line() {
  std::uint64_t number = 0;
  AuditHash before{};
  std::optional<std::uint64_t> bad;
  auto read = each(0, [&](const AuditLine& line) {
    ++number;
    if (line.number != number || hash_of(before, line) != line.hash) bad = number;
    before = line.hash;
    return !bad;
  });
  if (!read) return read.error();
  // What this process has written last must be there too.
  if (!bad && number != lines_) bad = number + 1;
  if (!bad && before != head_) bad = number;
  return bad;
}

Result<Erasure> Audit::erasure_of(const Uuid& uuid) {
  struct Open {
    Erasure::Part part;
    std::uint64_t length = 0;
    std::map<std::uint64_t, std::uint64_t> scrubbed;  ///< Parts since it was returned: offset -> end.
  };
  Erasure erasure{.parts = {}, .head = head_, .lines = lines_};
  std::map<std::uint32_t, Open> open;  // by brick
  auto read = each(0, [&](const AuditLine& line) {
    const AuditEntry& entry = line.entry;
    const auto found = open.find(entry.brick);
    switch (entry.kind) {
      case AuditKind::HandOver:
        if (found != open.end() && entry.uuid == uuid) {  // its own again
          found->second.part.returned = 0;
          found->second.scrubbed.clear();
        } else if (found != open.end()) {
          found->second.part.recycled_by = line.number;
          erasure.parts.push_back(found->second.part);
          open.erase(found);
        } else if (entry.uuid == uuid) {
          open[entry.brick] = {{entry.brick, line.number}, entry.length, {}};
        }
        break;
      case AuditKind::Return:
        if (found != open.end() && entry.uuid == uuid) found->second.part.returned = line.number;
        break;
      case AuditKind::Scrub:
        if (found != open.end() && found->second.part.returned != 0) {
          std::uint64_t& end = found->second.scrubbed[entry.offset];
          end = std::max(end, entry.offset + entry.length);
          std::uint64_t covered = 0;
          for (const auto& [from, to] : found->second.scrubbed)
            covered = from <= covered ? std::max(covered, to) : covered;
          if (covered >= found->second.length) {
            found->second.part.scrubbed_by = line.number;
            erasure.parts.push_back(found->second.part);
            open.erase(found);
          }
        }
        break;
      case AuditKind::Failure:
        break;
    }
    return true;
  });
  if (!read) return read.error();
  for (const auto& [brick, left] : open) erasure.parts.push_back(left.part);
  std::ranges::sort(erasure.parts, {}, &Erasure::Part::handed_over);
  return erasure;
}

Result<std::vector<Audit::BrickFacts>> Audit::bricks(std::uint32_t count) {
  std::vector<BrickFacts> facts(count);
  // For each brick its last line of each kind.
  Sqlite::Statement rows = database_->prepare(
      "SELECT brick, kind, vm, uuid, how FROM line WHERE number IN (SELECT MAX(number) FROM line GROUP BY brick, kind) "
      "ORDER BY number");
  for (;;) {
    const auto row = rows.step();
    if (!row) return row.error();
    if (!*row) return facts;
    const std::uint64_t brick = rows.number(0);
    if (brick >= count) continue;
    BrickFacts& fact = facts[brick];
    switch (static_cast<AuditKind>(rows.number(1))) {
      case AuditKind::HandOver:
        fact = {VmId(rows.number(2)), {}, false, false, {}};
        fact.uuid.bytes = bytes_of<16>(rows.blob(3));
        for (const Reason reason : kRecycleReasons) {
          if (rows.text(4) == to_string(reason)) fact.recycled = reason;
        }
        break;
      case AuditKind::Return:
        fact.returned = true;
        break;
      case AuditKind::Scrub:
        fact.scrubbed = true;
        break;
      case AuditKind::Failure:
        break;
    }
  }
}

}  // namespace sluice::inline daemon
