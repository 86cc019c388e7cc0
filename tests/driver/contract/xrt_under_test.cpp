// SPDX-License-Identifier: Apache-2.0
// The engine behind XRT's hardware emulation, with the engine in RTL in a process of its own.
#include <fmt/format.h>
#include <unistd.h>

#include <ctime>

#include "engines.hpp"
#include "sluice/ring/ring_engine.hpp"
#include "sluice/xrt/xrt_card.hpp"
#include "sluice/xrt/xrt_emulation.hpp"

/// XRT's emulation sleeps for ten seconds when it starts, and again when it ends. This is found before the C library's.
extern "C" unsigned sleep(unsigned /*seconds*/) {
  const timespec short_pause{0, 10'000'000};
  ::nanosleep(&short_pause, nullptr);
  return 0;
}

namespace sluice::test {
namespace {

class XrtUnderTest final : public EngineUnderTest {
 public:
  XrtUnderTest() {
    ::setsid();  // XRT answers a signal by sending it to the whole group
    emulation_ = value_or_throw(XrtEmulation::start({SLUICE_XRT_DEVICE, {}}));
    XrtOptions options;
    options.xclbin = emulation_->xclbin();
    options.alive = [this] { return emulation_->alive(); };
    card_ = value_or_throw(XrtCard::open(options));
  }

  [[nodiscard]] MemorySpan memory(std::size_t length) override {
    return value_or_throw(card_->allocate(ByteCount(length))).memory;
  }

  std::unique_ptr<Engine> make(const EngineWish& wish) override {
    if (!wish.bad_range.empty()) {
      const std::uint64_t begin = value_or_throw(card_->find(wish.bad_range)).value();
      emulation_->command(fmt::format("slave-errors {} {}", begin, begin + wish.bad_range.size()));
    }
    if (wish.stalls) emulation_->command("bus-hang-after 2");
    if (wish.gated) emulation_->command("hold");
    RingOptions ring;
    ring.ring_entries = wish.max_jobs;
    ring.stall_timeout = wish.stalls ? std::chrono::milliseconds(500) : std::chrono::milliseconds(20'000);
    const MemorySpan windows[] = {wish.window};
    return value_or_throw(RingEngine::create(std::make_unique<XrtTransport>(*card_), ring, windows));
  }

  void let_work(Engine& /*engine*/) override { emulation_->command("run 400"); }
  void open_gate() override { emulation_->command("free"); }

 private:
  std::unique_ptr<XrtEmulation> emulation_;
  std::unique_ptr<XrtCard> card_;
};

}  // namespace

std::vector<EngineKind> all_engines() {
  return {{"XrtEmulated", [] { return std::make_unique<XrtUnderTest>(); }}};
}

}  // namespace sluice::test
