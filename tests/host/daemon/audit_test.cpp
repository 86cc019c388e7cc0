// SPDX-License-Identifier: Apache-2.0
// The audit: what it remembers, and that it shows who has changed it.
#include "sluice/daemon/audit.hpp"

#include <gmock/gmock.h>
#include <sqlite3.h>

#include <csignal>

#include "support/full_disk.hpp"
#include "support/temporary_folder.hpp"

namespace sluice::test {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr std::uint64_t kBrick = 1 << 20;

Uuid uuid_of(int vm) {
  Uuid uuid;
  uuid.bytes.fill(static_cast<std::byte>(vm));
  return uuid;
}

class AuditTest : public ::testing::Test {
 protected:
  AuditTest() { open(); }

  void open() {
    audit_.reset();
    auto opened = Audit::open(path());
    ASSERT_TRUE(opened) << opened.error().message;
    audit_.emplace(std::move(*opened));
  }
  [[nodiscard]] std::string path() const { return folder_ / "audit.db"; }
  void note(AuditKind kind, int vm, std::uint32_t brick, std::uint64_t offset = 0, std::uint64_t length = kBrick,
            const std::string& how = "scrubbed") {
    audit_->note({kind, VmId(static_cast<std::uint64_t>(vm)), uuid_of(vm), brick, offset, length, how});
  }
  void commit() {
    const auto committed = audit_->commit();
    ASSERT_TRUE(committed) << committed.error().message;
  }
  /// As somebody who can write the file.
  void change(const std::string& sql) {
    audit_.reset();
    run(sql);
    open();
  }
  void run(const std::string& sql) const {
    sqlite3* database = nullptr;
    ASSERT_EQ(sqlite3_open(path().c_str(), &database), SQLITE_OK);
    char* error = nullptr;
    EXPECT_EQ(sqlite3_exec(database, sql.c_str(), nullptr, nullptr, &error), SQLITE_OK) << error;
    sqlite3_close(database);
  }

  TemporaryFolder folder_;
  std::optional<Audit> audit_;
};

TEST_F(AuditTest, HasItsLinesInTheirOrderAfterItIsOpenedAgain) {
  note(AuditKind::HandOver, 1, 3);
  note(AuditKind::Return, 1, 3, 0, kBrick, "released");
  commit();
  note(AuditKind::Scrub, 1, 3, 0, kBrick, "cpu/avx2, verified");
  EXPECT_TRUE(audit_->has_notes());
  commit();
  EXPECT_FALSE(audit_->has_notes());
  const AuditHash head = audit_->head();
  open();
  EXPECT_EQ(audit_->lines(), 3U);
  EXPECT_EQ(audit_->head(), head);
  EXPECT_THAT(to_string(head), SizeIs(64));
  const auto lines = audit_->read(2, 10);
  ASSERT_TRUE(lines);
  ASSERT_THAT(*lines, SizeIs(2));
  EXPECT_EQ((*lines)[1].number, 3U);
  EXPECT_EQ((*lines)[1].entry, (AuditEntry{AuditKind::Scrub, VmId(1), uuid_of(1), 3, 0, kBrick, "cpu/avx2, verified"}));
  EXPECT_EQ((*lines)[1].hash, head);
  EXPECT_THAT(*audit_->read(1, 2), SizeIs(2));
  EXPECT_THAT(*audit_->read(1, 0), SizeIs(0));
  EXPECT_EQ(*audit_->first_bad_line(), std::nullopt);
}

TEST_F(AuditTest, ShowsAnyChange) {
  for (const auto& [sql, bad] : std::initializer_list<std::pair<std::string, std::uint64_t>>{
           {"UPDATE line SET time = time + 1 WHERE number = 5", 5},
           {"UPDATE line SET kind = 3 WHERE number = 5", 5},
           {"UPDATE line SET vm = 2 WHERE number = 5", 5},
           {"UPDATE line SET uuid = zeroblob(16) WHERE number = 5", 5},
           {"UPDATE line SET brick = 2 WHERE number = 5", 5},
           {"UPDATE line SET start = 1 WHERE number = 5", 5},
           {"UPDATE line SET length = 1 WHERE number = 5", 5},
           {"UPDATE line SET how = 'zerosx' WHERE number = 5", 5},
           {"UPDATE line SET hash = zeroblob(32) WHERE number = 5", 5},
           {"DELETE FROM line WHERE number = 5", 5},
           {"DELETE FROM line WHERE number = 1", 1}}) {
    change("DELETE FROM line");
    for (int line = 0; line < 10; ++line) note(AuditKind::HandOver, 1, 1);
    commit();
    EXPECT_EQ(*audit_->first_bad_line(), std::nullopt);
    change(sql);
    EXPECT_EQ(*audit_->first_bad_line(), bad) << sql;
  }
}

TEST_F(AuditTest, GoesOnFromNoBrokenChain) {
  for (const std::string sql :
       {"UPDATE line SET how = 'x' WHERE number = 10", "DELETE FROM line WHERE number = 9",
        "DELETE FROM line WHERE number = 5; UPDATE line SET number = number - 1 WHERE number > 5"}) {
    change("DELETE FROM line");
    for (int line = 0; line < 10; ++line) note(AuditKind::HandOver, 1, 1);
    commit();
    audit_.reset();
    run(sql);
    EXPECT_THAT(Audit::open(path()).error().message, HasSubstr("does not fit to the one before it")) << sql;
    run("DELETE FROM line");
    open();
  }
}

TEST_F(AuditTest, SaysWhetherAllThatAVmHadWasScrubbed) {
  note(AuditKind::HandOver, 1, 3);
  note(AuditKind::HandOver, 1, 4);
  note(AuditKind::HandOver, 2, 5);
  note(AuditKind::Scrub, 0, 3);  // while the VM may still write to it: no proof
  commit();
  EXPECT_FALSE(audit_->erasure_of(uuid_of(2))->complete());
  note(AuditKind::Return, 1, 4, 0, kBrick, "released");
  note(AuditKind::Scrub, 1, 4, 0, kBrick / 2);
  commit();
  auto erased = *audit_->erasure_of(uuid_of(1));
  ASSERT_THAT(erased.parts, SizeIs(2));
  EXPECT_FALSE(erased.complete()) << "half of it";
  note(AuditKind::Scrub, 1, 4, kBrick / 2, kBrick / 2);
  note(AuditKind::Return, 1, 3, 0, kBrick, "released");
  note(AuditKind::Scrub, 1, 3);
  commit();
  erased = *audit_->erasure_of(uuid_of(1));
  EXPECT_TRUE(erased.complete());
  ASSERT_THAT(erased.parts, SizeIs(2));
  EXPECT_EQ(erased.parts[0].brick, 3U);
  EXPECT_EQ(erased.parts[0].scrubbed_by, 9U);
  EXPECT_EQ(erased.parts[1].returned, 5U);
  EXPECT_EQ(erased.parts[1].scrubbed_by, 7U);
  EXPECT_EQ(erased.lines, 9U);
  EXPECT_EQ(erased.head, audit_->head());
}

TEST_F(AuditTest, MemoryThatAnotherVmGotAsItWasIsNotErased) {
  note(AuditKind::HandOver, 1, 3);
  note(AuditKind::Return, 1, 3, 0, kBrick, "reserved");
  note(AuditKind::HandOver, 1, 3, 0, kBrick, "same VM after reboot");
  note(AuditKind::Return, 1, 3, 0, kBrick, "released");
  note(AuditKind::HandOver, 2, 3, 0, kBrick, "trust group");
  note(AuditKind::Return, 2, 3, 0, kBrick, "released");
  note(AuditKind::Scrub, 2, 3);
  commit();
  const auto erased = *audit_->erasure_of(uuid_of(1));
  ASSERT_THAT(erased.parts, SizeIs(1)) << "its reboot is no other hand-over";
  EXPECT_EQ(erased.parts[0].handed_over, 1U);
  EXPECT_EQ(erased.parts[0].recycled_by, 5U);
  EXPECT_FALSE(erased.complete());
  EXPECT_TRUE(audit_->erasure_of(uuid_of(2))->complete());
}

TEST_F(AuditTest, KnowsTheLastOfEachBrick) {
  note(AuditKind::HandOver, 1, 0);
  note(AuditKind::Return, 1, 0);
  note(AuditKind::Scrub, 1, 0);
  note(AuditKind::HandOver, 2, 0);
  note(AuditKind::HandOver, 1, 2);
  note(AuditKind::Return, 1, 2);
  note(AuditKind::HandOver, 1, 3);
  note(AuditKind::Return, 1, 3);
  note(AuditKind::Scrub, 1, 3);
  note(AuditKind::HandOver, 1, 99);
  commit();
  const auto bricks = *audit_->bricks(4);
  ASSERT_THAT(bricks, SizeIs(4));
  EXPECT_EQ(bricks[0].vm, VmId(2));
  EXPECT_EQ(bricks[0].uuid, uuid_of(2));
  EXPECT_FALSE(bricks[0].returned);
  EXPECT_FALSE(bricks[0].scrubbed);
  EXPECT_EQ(bricks[1].vm, VmId());
  EXPECT_TRUE(bricks[2].returned);
  EXPECT_FALSE(bricks[2].scrubbed);
  EXPECT_TRUE(bricks[3].returned);
  EXPECT_TRUE(bricks[3].scrubbed);
}

TEST_F(AuditTest, AFullDiskLosesNothing) {
  note(AuditKind::HandOver, 1, 0);
  commit();
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  for (int line = 0; line < 5000; ++line) note(AuditKind::HandOver, 1, 0);
  {
    const FullDisk full(100 << 10);
    const auto committed = audit_->commit();
    ASSERT_FALSE(committed);
    EXPECT_EQ(committed.error().code, HostErrc::NoResources);
    EXPECT_EQ(audit_->lines(), 1U);
    EXPECT_TRUE(audit_->has_notes());
  }
  std::signal(SIGXFSZ, handler);
  commit();
  EXPECT_EQ(audit_->lines(), 5001U);
  EXPECT_EQ(*audit_->first_bad_line(), std::nullopt);
}

}  // namespace
}  // namespace sluice::test
