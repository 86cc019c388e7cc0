// SPDX-License-Identifier: Apache-2.0
// The structures of sluice.h, field by field: each is set to something else than its default, and has its effect.
#include "host/c/c_fields.hpp"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <cstdlib>
#include <memory>
#include <set>

namespace sluice::test {
namespace {

using ::testing::HasSubstr;

/// For each flag: with it one thing happens, without it another.
TEST_F(CFields, RecyclingFlagsSayWhatAVmGetsAsItWas) {
  // Whether a VM that differs in `recycling` from the default gets memory back unscrubbed.
  const auto within = [&](const sluice_recycling& recycling) {
    restart();
    sluice_vm facts = lazy(1);
    facts.recycling = recycling;
    add(facts);
    release(1, take(1, 16));
    return recycled(take(1, 16));
  };
  EXPECT_TRUE(within({1, 0, 1, 0, 0, 0, 0, 0}));
  EXPECT_FALSE(within({1, 1, 0, 1, 1, 0, 0, 0})) << "recycle_within_vm";
  EXPECT_FALSE(within({0, 1, 1, 1, 1, 0, 0, 0})) << "enabled";
  const auto reboots = [&](const sluice_recycling& recycling) {
    restart();
    sluice_vm facts = lazy(1);
    facts.recycling = recycling;
    add(facts);
    take(1, 16);
    return recycled(come_back(1, 16));
  };
  EXPECT_TRUE(reboots({1, 1, 0, 0, 0, 0, 0, 0}));
  EXPECT_FALSE(reboots({1, 0, 0, 1, 1, 0, 0, 0})) << "recycle_on_reboot";
  const auto between = [&](const sluice_recycling& recycling, std::uint64_t pool, std::uint64_t group) {
    restart();
    Heard made;
    if (pool != 0) {
      EXPECT_EQ(sluice_pool_create(manager_, pool, 1, kLength, 1, hear, &made, nullptr), SLUICE_OK);
      poll();
    }
    if (group != 0) {
      EXPECT_EQ(sluice_group_create(manager_, group, 1, 0), SLUICE_OK);
    }
    for (const std::uint64_t id : {1U, 2U}) {
      sluice_vm facts = lazy(id);
      facts.recycling = recycling;
      facts.pool = pool;
      facts.group = group;
      add(facts);
    }
    take(1, 16);
    EXPECT_EQ(sluice_vm_terminate(manager_, 1), SLUICE_OK);
    return recycled(take(2, 16));
  };
  EXPECT_TRUE(between({1, 0, 0, 1, 0, 0, 0, 0}, 7, 0));
  EXPECT_FALSE(between({1, 1, 1, 0, 1, 0, 0, 0}, 7, 0)) << "dedicated_pool";
  EXPECT_FALSE(between({1, 1, 1, 1, 1, 0, 0, 0}, 0, 0)) << "pool";
  EXPECT_TRUE(between({1, 0, 0, 0, 1, 0, 0, 0}, 0, 5));
  EXPECT_FALSE(between({1, 1, 1, 1, 0, 0, 0, 0}, 0, 5)) << "trust_group";
}

TEST_F(CFields, RecyclingFlagsSayWhatBecomesOfAVmsMemoryInAReboot) {
  const auto base_after_reboot = [&](int new_memory) {
    restart();
    sluice_vm facts = lazy(1);
    facts.recycling.force_new_memory = new_memory;
    add(facts);
    const void* const before = take(1, 4).ranges.at(0).base;
    return come_back(1, 4).ranges.at(0).base == before;
  };
  EXPECT_TRUE(base_after_reboot(0));
  EXPECT_FALSE(base_after_reboot(1)) << "force_new_memory";
  const auto left_for_others = [&](int keeps) {
    restart();
    sluice_vm facts = lazy(1);
    facts.recycling.retain_memory = keeps;
    add(facts);
    create(2, 2);
    take(1, 8);
    come_back(1, 4);
    return most_for(2);
  };
  EXPECT_EQ(left_for_others(0), 12U);
  EXPECT_EQ(left_for_others(1), 8U) << "retain_memory";
  const auto left_beside_the_pool = [&](int grows) {
    restart();
    Heard made;
    EXPECT_EQ(sluice_pool_create(manager_, 7, 1, 4 * kPage, 0, hear, &made, nullptr), SLUICE_OK);
    poll();
    sluice_vm facts = lazy(1);
    facts.pool = 7;
    facts.recycling.grow_pool_on_reboot = grows;
    add(facts);
    create(2, 2);
    take(1, 8);
    come_back(1, 8);
    EXPECT_EQ(sluice_vm_terminate(manager_, 1), SLUICE_OK);
    return most_for(2);
  };
  EXPECT_EQ(left_beside_the_pool(0), 12U);
  EXPECT_EQ(left_beside_the_pool(1), 8U) << "grow_pool_on_reboot";
}

TEST_F(CFields, ScrubTimingAndDelaySayWhenMemoryIsScrubbed) {
  const auto scrubbed_when = [&](int timing, std::uint64_t delay_ns) {
    restart();
    poll();
    sluice_vm facts = vm(1);
    facts.scrub_timing = timing;
    facts.scrub_delay_ns = delay_ns;
    add(facts);
    take(1, 16);
    own_.seen.clear();
    EXPECT_EQ(sluice_vm_terminate(manager_, 1), SLUICE_OK);
    poll();
    const std::uint64_t after_release = bytes_seen();
    const std::int64_t next = sluice_manager_next_scheduled_ns(manager_);
    EXPECT_EQ(next > 0, timing == SLUICE_SCHEDULED && delay_ns > 0) << next;
    EXPECT_LE(next, static_cast<std::int64_t>(delay_ns));
    add(lazy(2, 2));
    take(2, 16);
    return std::pair(after_release, bytes_seen() - after_release);
  };
  constexpr std::uint64_t kHour = 3'600'000'000'000;
  EXPECT_EQ(scrubbed_when(SLUICE_AFTER_RELEASE, 0).first, kLength);
  EXPECT_EQ(scrubbed_when(SLUICE_BEFORE_GRANT, 0), (std::pair{std::uint64_t{0}, kLength}));
  EXPECT_EQ(scrubbed_when(SLUICE_SCHEDULED, kHour), (std::pair{std::uint64_t{0}, kLength}));
  EXPECT_EQ(scrubbed_when(SLUICE_SCHEDULED, 0).first, kLength);
  EXPECT_EQ(scrubbed_when(SLUICE_BOTH, 0).first, kLength);
}

/// Memory that is clean already is scrubbed once more for one who wants both.
TEST_F(CFields, ScrubTimingBothScrubsBeforeTheGrantToo) {
  poll();
  own_.seen.clear();
  sluice_vm facts = vm(1);
  facts.scrub_timing = SLUICE_BOTH;
  add(facts);
  take(1, 16);
  EXPECT_EQ(bytes_seen(), kLength);
  own_.seen.clear();
  create(2);
  EXPECT_EQ(sluice_vm_terminate(manager_, 1), SLUICE_OK);
  poll();
  own_.seen.clear();
  take(2, 16);
  EXPECT_EQ(bytes_seen(), 0U) << "who wants it after the release only";
}

TEST_F(CFields, FillAndPatternSayWhatIsWritten) {
  const auto written = [&](int fill, std::uint64_t pattern) {
    restart();
    sluice_vm facts = lazy(1);
    facts.fill = fill;
    facts.fill_pattern = pattern;
    add(facts);
    const Heard first = take(1, 16);
    for (const sluice_range& range : first.ranges) EXPECT_EQ(range.pattern, own_.seen.back().pattern);
    return own_.seen.back().pattern;
  };
  EXPECT_EQ(written(SLUICE_FILL_ZEROS, 77), 0U);
  EXPECT_EQ(written(SLUICE_FILL_ONES, 77), ~0ULL);
  EXPECT_EQ(written(SLUICE_FILL_PATTERN, 0x0123456789ABCDEF), 0x0123456789ABCDEFULL);
  const std::uint64_t random = written(SLUICE_FILL_RANDOM, 77);
  EXPECT_TRUE(random != 0 && random != ~0ULL && random != 77) << random;
}

/// Two nodes of eight pages each, and a piece with pages of 2 MiB on a third.
class CPlaces : public CFields {
 protected:
  static constexpr std::uint64_t kHuge = 2 << 20;
  CPlaces() {
    auto* const base = static_cast<std::byte*>(raw_.get());
    const sluice_piece pieces[] = {{base, 8 * kPage, -1, SLUICE_PAGES_SMALL, 3, 0},
                                   {base + 8 * kPage, 8 * kPage, -1, SLUICE_PAGES_SMALL, 1, 0},
                                   {base + kHuge, kHuge, -1, SLUICE_PAGES_2MIB, 2, 0}};
    sluice_memory* memory = nullptr;
    EXPECT_EQ(sluice_memory_wrap(pieces, 3, &memory), SLUICE_OK) << sluice_last_message();
    take_memory(memory);
  }
  [[nodiscard]] std::size_t piece_of(const Heard& heard) const {
    const auto offset = static_cast<std::uint64_t>(static_cast<std::byte*>(heard.ranges.at(0).base) -
                                                   static_cast<std::byte*>(raw_.get()));
    return offset >= kHuge ? 2 : offset / (8 * kPage);
  }

  std::unique_ptr<void, void (*)(void*)> raw_{std::aligned_alloc(kHuge, 2 * kHuge), std::free};
};

TEST_F(CPlaces, PiecesKeepTheirPagesAndNodes) {
  sluice_piece piece;
  ASSERT_EQ(sluice_memory_piece(memory_, 2, &piece), SLUICE_OK);
  EXPECT_EQ(piece.base, static_cast<std::byte*>(raw_.get()) + kHuge);
  EXPECT_EQ(piece.length, kHuge);
  EXPECT_EQ(piece.pages, SLUICE_PAGES_2MIB);
  EXPECT_EQ(piece.node, 2U);
}

TEST_F(CPlaces, NodeAndOnlyNodeAndPagesSayWhere) {
  for (const auto& [node, piece] : {std::pair<std::int64_t, std::size_t>{1, 1}, {3, 0}}) {
    restart();
    sluice_vm facts = vm(1);
    facts.node = node;
    add(facts);
    EXPECT_EQ(piece_of(take(1, 1)), piece) << node;
  }
  for (const int only : {0, 1}) {
    restart();
    sluice_vm facts = vm(1);
    facts.node = 1;
    facts.only_node = only;
    add(facts);
    Heard heard;
    EXPECT_EQ(ask(1, 9, heard), only == 0 ? SLUICE_OK : SLUICE_OUT_OF_MEMORY) << only;
  }
  restart();
  sluice_vm facts = vm(1);
  facts.pages = SLUICE_PAGES_2MIB;
  add(facts);
  Heard heard;
  EXPECT_EQ(ask(1, 1, heard), SLUICE_INVALID_ARGUMENT);
  EXPECT_EQ(piece_of(take(1, kHuge / kPage)), 2U);
}

TEST_F(CFields, WholePiecesAndUnitsOfThemChangeHandsAsOne) {
  sluice_memory* memory = nullptr;
  ASSERT_EQ(sluice_memory_create(4 * kPage, 3, SLUICE_PAGES_SMALL, &memory), SLUICE_OK);
  sluice_piece piece;
  ASSERT_EQ(sluice_memory_piece(memory, 0, &piece), SLUICE_OK);
  EXPECT_EQ(piece.whole, 0);
  ASSERT_EQ(sluice_memory_keep_whole(memory), SLUICE_OK) << sluice_last_message();
  ASSERT_EQ(sluice_memory_piece(memory, 2, &piece), SLUICE_OK);
  EXPECT_NE(piece.whole, 0);
  take_memory(memory);
  EXPECT_EQ(sluice_memory_keep_whole(memory), SLUICE_WRONG_STATE) << "a manager has it";
  sluice_vm facts = vm(1);
  facts.unit = 8 * kPage;
  EXPECT_EQ(sluice_vm_create(manager_, &facts), SLUICE_INVALID_ARGUMENT);
  facts.unit = 4 * kPage;
  add(facts);
  Heard heard;
  EXPECT_EQ(ask(1, 3, heard), SLUICE_INVALID_ARGUMENT) << sluice_last_message();
  EXPECT_EQ(take(1, 8).ranges.size(), 2U);
}

TEST_F(CFields, ContiguousIsPreferredWhereThereIsAChoice) {
  const auto ranges_of_four = [&](std::uint64_t contiguous) {
    restart();
    poll();
    sluice_vm facts = lazy(1);
    facts.contiguous = contiguous;
    add(facts);
    auto* const base = static_cast<std::byte*>(take(1, 8).ranges.at(0).base);
    for (const std::size_t page : {0U, 2U, 4U, 6U}) {
      EXPECT_EQ(sluice_vm_release(manager_, 1, base + page * kPage, kPage), SLUICE_OK);
    }
    return take(1, 4).ranges.size();
  };
  EXPECT_EQ(ranges_of_four(0), 4U) << "its own pages, as they are";
  EXPECT_EQ(ranges_of_four(4 * kPage), 1U);
}

TEST_F(CFields, ConfigurationOfJobsBoundsThem) {
  sluice_config config = {};
  config.max_jobs = 3;
  config.background_job_length = 2 * kPage;
  own_.holds = true;
  restart(&config);
  poll();
  ASSERT_EQ(own_.seen.size(), 3U) << "max_jobs";
  for (const sluice_job& job : own_.seen) {
    EXPECT_EQ(job.length, 2 * kPage) << "background_job_length";
    EXPECT_EQ(job.urgent, 0);
  }
  own_.holds = false;
}

TEST_F(CFields, ConfigurationOfTheBackgroundBoundsWhatIsClean) {
  sluice_config config = {};
  config.background_job_length = kPage;
  const auto scrubbed_beside_a_claim = [&] {
    restart(&config);
    create(1);
    take(1, 1);
    return bytes_seen() / kPage;
  };
  EXPECT_EQ(scrubbed_beside_a_claim(), 16U);
  config.clean_target = 4 * kPage;
  config.idle_after_ns = 3'600'000'000'000;
  EXPECT_EQ(scrubbed_beside_a_claim(), 5U) << "clean_target, and what was claimed";
  config.idle_after_ns = 1;
  EXPECT_EQ(scrubbed_beside_a_claim(), 16U) << "idle_after_ns";
  config = {};
  config.background_job_length = kPage;
  config.background_rate = 1.0;  // a page needs more than an hour
  restart(&config);
  poll();
  EXPECT_EQ(bytes_seen(), kPage) << "background_rate";
  EXPECT_GT(sluice_manager_next_scheduled_ns(manager_), 3'600'000'000'000);
}

TEST_F(CFields, OperationsOfAnEngineAreKept) {
  sluice_engine_operations operations = kOperations;
  operations.name = "a name of its own";
  operations.max_jobs = 2;
  operations.max_job_length = 3 * kPage;
  own_.holds = true;
  restart(nullptr, operations);
  poll();
  EXPECT_EQ(own_.seen.size(), 2U) << "max_jobs";
  EXPECT_LE(own_.longest, 3 * kPage) << "max_job_length";
  own_.holds = false;
  own_.extra_taken = 1;  // it is given up by its name
  restart(nullptr, operations);
  create(1);
  Heard heard;
  const int started = ask(1, 1, heard);
  poll();
  EXPECT_EQ(started == SLUICE_OK ? heard.code : started, SLUICE_SCRUB_UNAVAILABLE);
  EXPECT_THAT(started == SLUICE_OK ? heard.message : std::string(sluice_last_message()),
              HasSubstr("a name of its own"));
}

TEST_F(CFields, JobsSayWhereWhatForWhomAndWhich) {
  sluice_piece piece;
  ASSERT_EQ(sluice_memory_piece(memory_, 0, &piece), SLUICE_OK);
  sluice_config config = {};
  config.background_job_length = kPage;
  config.clean_target = kPage;
  config.idle_after_ns = 3'600'000'000'000;
  restart(&config);
  create(1);
  take(1, 16);
  std::set<std::uint64_t> numbers;
  std::set<int> urgencies;
  for (const sluice_job& job : own_.seen) {
    EXPECT_TRUE(numbers.insert(job.number).second) << "a number names one job";
    urgencies.insert(job.urgent);
    EXPECT_GE(job.base, piece.base);
    EXPECT_LE(static_cast<std::byte*>(job.base) + job.length, static_cast<std::byte*>(piece.base) + piece.length);
  }
  EXPECT_TRUE(urgencies.contains(1)) << "a VM waits";
  EXPECT_EQ(bytes_seen(), kLength) << "each byte once";
}

TEST_F(CFields, RangesSayWhereInWhichFileAndHow) {
  sluice_piece piece;
  ASSERT_EQ(sluice_memory_piece(memory_, 0, &piece), SLUICE_OK);
  struct stat status {};
  EXPECT_EQ(::fstat(piece.fd, &status), 0);
  add(lazy(1));
  create(2);
  const Heard first = take(1, 6);
  const Heard second = take(2, 4);
  for (const Heard* const heard : {&first, &second}) {
    std::uint64_t bytes = 0;
    for (const sluice_range& range : heard->ranges) {
      EXPECT_EQ(range.fd, piece.fd);
      EXPECT_EQ(static_cast<std::byte*>(range.base), static_cast<std::byte*>(piece.base) + range.fd_offset);
      EXPECT_EQ(range.recycled, 0);
      bytes += range.length;
    }
    EXPECT_EQ(bytes, (heard == &first ? 6 : 4) * kPage);
  }
  EXPECT_NE(first.ranges.at(0).fd_offset, second.ranges.at(0).fd_offset);
  release(1, first);
  EXPECT_EQ(take(1, 6).ranges.at(0).recycled, 1);
}

TEST_F(CFields, CustomerAndGroupDecideWhoMaySeeWhat) {
  ASSERT_EQ(sluice_group_create(manager_, 5, 1, 0), SLUICE_OK);
  sluice_vm stranger = vm(1, 2);
  stranger.group = 5;
  EXPECT_EQ(sluice_vm_create(manager_, &stranger), SLUICE_FOREIGN_CUSTOMER) << "customer";
  stranger.group = 6;
  EXPECT_EQ(sluice_vm_create(manager_, &stranger), SLUICE_UNKNOWN_ID) << "group";
  stranger.group = 0;
  stranger.pool = 9;
  EXPECT_EQ(sluice_vm_create(manager_, &stranger), SLUICE_UNKNOWN_ID) << "pool";
  stranger.pool = 0;
  add(stranger);
}

}  // namespace
}  // namespace sluice::test
