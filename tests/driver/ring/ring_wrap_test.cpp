// SPDX-License-Identifier: Apache-2.0
// Rings that are full and go round, over a device of the test that does as docs/RING.md says.
#include <gtest/gtest.h>
#include <ucontext.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <deque>
#include <random>
#include <thread>

#include "scripted_transport.hpp"
#include "sluice/ring/ring_engine.hpp"
#include "support/patience.hpp"

namespace sluice::test {
namespace {

/// One queue of a device, as long as nothing goes wrong. What the driver does wrong is a failure of the test.
class RingDevice {
 public:
  RingDevice(ScriptedTransport::Script& script, std::uint32_t entries) : script_(script), entries_(entries) {
    script.on_write = [this](std::uint32_t offset, std::uint32_t value) {
      if (offset == ring::kQueueBase + ring::kQueueSqTail) doorbell(static_cast<std::uint16_t>(value));
      if (offset == ring::kQueueBase + ring::kQueueCqHead) release(static_cast<std::uint16_t>(value));
    };
  }

  /// Does at most `jobs` of those that wait, and no more than the completion ring has room for.
  void work(std::size_t jobs = ~std::size_t{0}) {
    for (; jobs > 0 && sq_head_ != sq_tail_ && distance(cq_head_, cq_tail_) < entries_;
         --jobs, ++sq_head_, ++cq_tail_) {
      ring::Descriptor descriptor;
      std::byte* const place = script_.rings.at(0)->all().data() + sq_head_ % entries_ * sizeof descriptor;
      std::memcpy(&descriptor, place, sizeof descriptor);
      std::memset(place, 0xEE, sizeof descriptor);  // who takes an entry twice takes this
      const MemorySpan memory(reinterpret_cast<std::byte*>(descriptor.address), descriptor.length_bytes);
      for (std::byte& byte : memory) byte = pattern_byte(descriptor.pattern, &byte);
      ring::CompletionEntry entry;
      entry.low = descriptor.length_bytes | static_cast<std::uint64_t>(descriptor.slot) << 48;
      entry.high = descriptor.generation | static_cast<std::uint64_t>(ring::kOutcomeZeroed) << 32 |
                   static_cast<std::uint64_t>((cq_tail_ & entries_) == 0) << 63;
      std::memcpy(script_.rings.at(1)->all().data() + cq_tail_ % entries_ * sizeof entry, &entry, sizeof entry);
    }
  }
  [[nodiscard]] std::size_t doorbells() const { return doorbells_; }
  [[nodiscard]] std::size_t waiting() const { return distance(sq_head_, sq_tail_); }

 private:
  static std::uint16_t distance(std::uint16_t from, std::uint16_t to) { return static_cast<std::uint16_t>(to - from); }
  void doorbell(std::uint16_t tail) {
    ++doorbells_;
    EXPECT_NE(tail, sq_tail_) << "for nothing";
    EXPECT_LE(distance(sq_head_, tail), entries_) << "more than the ring has";
    sq_tail_ = tail;
  }
  void release(std::uint16_t head) {
    EXPECT_LE(distance(cq_head_, head), distance(cq_head_, cq_tail_)) << "of what was not posted";
    cq_head_ = head;
  }

  ScriptedTransport::Script& script_;
  std::uint32_t entries_;
  std::uint16_t sq_head_ = 0;
  std::uint16_t sq_tail_ = 0;
  std::uint16_t cq_head_ = 0;
  std::uint16_t cq_tail_ = 0;
  std::size_t doorbells_ = 0;
};

class RingWrap : public ::testing::TestWithParam<std::uint32_t> {
 protected:
  RingWrap() {
    const MemorySpan windows[] = {memory_.all()};
    engine_ =
        RingEngine::create(std::make_unique<ScriptedTransport>(script_), {.ring_entries = GetParam()}, windows).value();
  }
  /// Submits a batch; returns how many were accepted.
  std::size_t submit(std::size_t count) {
    std::vector<ScrubJob> jobs(count);
    for (std::size_t index = 0; index < count; ++index) {
      const std::uint64_t number = next_ + index;
      const std::size_t length = 1 + number % 63;
      jobs[index] = {memory_.part(number % kPlaces * 64, length), number, Urgency::Background, number};
    }
    std::vector<JobId> ids(count);
    const auto accepted = engine_->submit(jobs, ids);
    if (!accepted) {
      EXPECT_EQ(accepted.error().code, DriverErrc::Busy);
      return 0;
    }
    next_ += *accepted;
    return *accepted;
  }
  /// Collects into a small `out`, in the order in which they were submitted.
  std::size_t collect(std::size_t room) {
    std::array<Completion, 20> some;
    const std::size_t got = engine_->poll(std::span(some).first(room));
    for (const Completion& completion : std::span(some).first(got)) {
      EXPECT_EQ(completion.cookie, collected_);
      EXPECT_EQ(completion.outcome, Outcome::Zeroed);
      const MemorySpan memory = memory_.part(collected_ % kPlaces * 64, 1 + collected_ % 63);
      EXPECT_EQ(completion.bytes_zeroed, length_of(memory));
      EXPECT_EQ(first_not_pattern(memory, collected_), std::nullopt);
      ++collected_;
    }
    return got;
  }

  static constexpr std::size_t kPlaces = 1024;
  Memory memory_{kPlaces * 64};
  ScriptedTransport::Script script_;
  RingDevice device_{script_, GetParam()};
  std::unique_ptr<RingEngine> engine_;
  std::uint64_t next_ = 0;
  std::uint64_t collected_ = 0;
};

TEST_P(RingWrap, AFullBatchIsTakenWithOneDoorbellFromEveryStartOfTheRing) {
  const std::size_t entries = GetParam();
  for (std::size_t start = 0; start <= 2 * entries; ++start) {
    const std::size_t before = device_.doorbells();
    ASSERT_EQ(submit(entries + 3), entries) << "what fits";
    EXPECT_EQ(device_.doorbells(), before + 1);
    EXPECT_EQ(device_.waiting(), entries);
    EXPECT_EQ(submit(1), 0U) << "full";
    EXPECT_EQ(device_.doorbells(), before + 1);
    device_.work();
    EXPECT_EQ(submit(1), 0U) << "full until they are collected";
    for (std::size_t left = entries; left > 0;) {
      const std::size_t got = collect(1 + start % 3);
      ASSERT_GT(got, 0U);
      left -= got;
    }
    EXPECT_EQ(collect(1), 0U);
    // One more, so that the next batch begins at the next index.
    ASSERT_EQ(submit(1), 1U);
    device_.work();
    ASSERT_EQ(collect(20), 1U);
  }
  EXPECT_FALSE(engine_->fault());
}

TEST_P(RingWrap, GoesRoundAllItsPointersFullOrNot) {
  std::mt19937_64 random(GetParam());
  while (collected_ < 70'000) {  // pointers have 16 bits
    submit(1 + random() % (2 * GetParam()));
    device_.work(random() % (GetParam() + 1));
    collect(1 + random() % 20);
    if (HasFailure()) return;
  }
  EXPECT_FALSE(engine_->fault());
}

INSTANTIATE_TEST_SUITE_P(Entries, RingWrap, ::testing::Values(2, 4, 8, 16), ::testing::PrintToStringParamName());

/// Acts between two instructions of this thread, as a device may that runs at the same time: the processor traps after
/// each of them.
class BetweenInstructions {
 public:
  /// Calls `act` when `instructions` more have been executed.
  BetweenInstructions(std::size_t instructions, std::function<void()> act) {
    left = instructions;
    pending = std::move(act);
    struct sigaction action {};
    action.sa_sigaction = [](int, siginfo_t*, void* context) {
      auto& flags = static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_EFL];
      constexpr greg_t kTrap = 1 << 8;
      flags |= kTrap;
      if (left > 1) {
        left = left - 1;
        return;
      }
      flags &= ~kTrap;
      if (pending) std::exchange(pending, {})();
    };
    action.sa_flags = SA_SIGINFO;
    ::sigaction(SIGTRAP, &action, &before_);
    ::raise(SIGTRAP);
  }
  BetweenInstructions(const BetweenInstructions&) = delete;
  BetweenInstructions& operator=(const BetweenInstructions&) = delete;
  ~BetweenInstructions() {
    static_cast<void>(end());
    ::sigaction(SIGTRAP, &before_, nullptr);
  }
  /// No more of that; returns whether it has acted.
  [[nodiscard]] bool end() {
    const bool acted = !pending;
    pending = {};
    left = 0;
    return acted;
  }

 private:
  static inline volatile std::size_t left = 0;
  static inline std::function<void()> pending;
  struct sigaction before_ {};
};

/// Registers and rings that a device in another thread sees too.
class ThreadedTransport final : public Transport {
 public:
  struct Shared {
    std::array<std::atomic<std::uint32_t>, 1024> registers{};
    Memory rings{8192};
  };
  explicit ThreadedTransport(Shared& shared) : shared_(shared) {
    shared.registers[ring::kRegId / 4] = ring::kId;
    shared.registers[ring::kRegVersion / 4] = ring::kVersion;
    shared.registers[ring::kRegCapabilities / 4] = 0x00080106;
  }
  std::uint32_t read_register(std::uint32_t offset) override { return shared_.registers.at(offset / 4); }
  void write_register(std::uint32_t offset, std::uint32_t value) override {
    if (offset == ring::kRegCtrl) value &= ~ring::kEngineCtrlReset;
    shared_.registers.at(offset / 4) = value;
  }
  Result<DmaBuffer> allocate_ring(ByteCount length) override {
    const MemorySpan memory = shared_.rings.part(4096 * allocated_++, length.value());
    return DmaBuffer{memory, Iova(reinterpret_cast<std::uintptr_t>(memory.data()))};
  }
  Result<Iova> map(MemorySpan memory) override { return Iova(reinterpret_cast<std::uintptr_t>(memory.data())); }
  void advance() override {}
  [[nodiscard]] std::chrono::nanoseconds now() const override {
    return std::chrono::steady_clock::now().time_since_epoch();
  }

 private:
  Shared& shared_;
  std::size_t allocated_ = 0;
};

// Not where a sanitizer's own code would be stepped through.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST(RingMemoryOrder, AnEntryIsWholeBetweenWhicheverInstructionsOfAPollItComes) {
  const Memory memory(4096);
  const MemorySpan windows[] = {memory.all()};
  bool within = true;
  for (std::size_t instructions = 1; within; ++instructions) {
    ScriptedTransport::Script script;
    const auto engine = RingEngine::create(std::make_unique<ScriptedTransport>(script), {}, windows).value();
    const ScrubJob job{memory.all()};
    JobId id;
    ASSERT_TRUE(engine->submit({&job, 1}, {&id, 1}));
    Completion completion;
    std::size_t got = 0;
    {
      BetweenInstructions device(instructions, [&] { script.post(0, 0, 1, ring::kOutcomeZeroed, 0, 4096); });
      got = engine->poll({&completion, 1});
      within = device.end();
    }
    if (!within) break;
    if (got == 0) got = engine->poll({&completion, 1});
    ASSERT_EQ(got, 1U) << "after " << instructions;
    ASSERT_EQ(completion.outcome, Outcome::Zeroed) << "after " << instructions;
    ASSERT_EQ(completion.bytes_zeroed, ByteCount(4096));
    ASSERT_LT(instructions, 100'000U);
  }
}
#endif

/// A device that completes all the time while the driver polls: whoever reads an entry before its phase says that it is
/// complete finds another job's in it.
TEST(RingMemoryOrder, AnEntryIsReadOnlyAfterItsPhaseThoughTheDeviceWritesWhileTheDriverPolls) {
  constexpr std::uint32_t kEntries = 4;
  constexpr std::uint64_t kJobs = 5'000;
  ThreadedTransport::Shared shared;
  const Memory memory(4096);
  const MemorySpan windows[] = {memory.all()};
  const auto engine = RingEngine::create(std::make_unique<ThreadedTransport>(shared),
                                         {.ring_entries = kEntries, .stall_timeout = std::chrono::seconds(20)}, windows)
                          .value();
  const auto at = [&](std::uint32_t name) -> std::atomic<std::uint32_t>& {
    return shared.registers.at((ring::kQueueBase + name) / 4);
  };
  std::atomic<bool> stop{false};
  std::jthread device([&] {
    auto* const descriptors = reinterpret_cast<ring::Descriptor*>(shared.rings.all().data());
    auto* const entries = reinterpret_cast<ring::CompletionEntry*>(shared.rings.all().data() + 4096);
    for (std::uint16_t head = 0; !stop;) {
      if (head == static_cast<std::uint16_t>(at(ring::kQueueSqTail))) continue;
      const ring::Descriptor descriptor = descriptors[head % kEntries];
      ring::CompletionEntry& entry = entries[head % kEntries];
      const std::uint64_t high = descriptor.generation | static_cast<std::uint64_t>(ring::kOutcomeZeroed) << 32 |
                                 static_cast<std::uint64_t>((head & kEntries) == 0) << 63;
      entry.low = descriptor.length_bytes | static_cast<std::uint64_t>(descriptor.slot) << 48;
      std::atomic_ref(entry.high).store(high, std::memory_order_release);
      ++head;
    }
  });
  std::uint64_t submitted = 0;
  std::uint64_t collected = 0;
  Patience patience;
  while (collected < kJobs && !engine->fault() && !patience.over()) {
    const ScrubJob job{memory.part(0, 1 + submitted % 4096), 0, Urgency::Background, submitted};
    JobId id;
    if (submitted < kJobs && engine->submit({&job, 1}, {&id, 1})) ++submitted;
    Completion one;
    if (engine->poll({&one, 1}) == 0) continue;
    EXPECT_EQ(one.bytes_zeroed, ByteCount(1 + collected % 4096));
    ++collected;
    patience.renew();
  }
  stop = true;
  EXPECT_FALSE(engine->fault()) << engine->fault()->message;
  EXPECT_EQ(collected, kJobs);
}

}  // namespace
}  // namespace sluice::test
