// SPDX-License-Identifier: Apache-2.0
#include "engines.hpp"

#include <atomic>
#include <thread>

#ifdef SLUICE_WITH_DPDK
#include "dmadev_under_test.hpp"
#endif
#include "cpu_hooks.hpp"
#include "sluice/compose/auto_factory.hpp"
#include "sluice/compose/failover_engine.hpp"
#include "sluice/compose/job_splitter.hpp"
#include "sluice/compose/offload_engine.hpp"
#include "sluice/cpu/cpu_engine.hpp"
#include "sluice/device/simulated_device.hpp"
#include "sluice/ring/ring_engine.hpp"
#include "sluice/workload/paced_engine.hpp"
#include "support/faulty_engine.hpp"
#include "support/patience.hpp"
#include "support/wave.hpp"

namespace sluice::test {
namespace {

class CpuUnderTest final : public EngineUnderTest {
 public:
  CpuUnderTest(std::uint32_t threads, std::optional<StoreKind> store) : threads_(threads), store_(store) {}
  ~CpuUnderTest() override { open_gate(); }

  std::unique_ptr<Engine> make(const EngineWish& wish) override {
    CpuOptions options;
    options.max_jobs = wish.max_jobs;
    options.threads = threads_;
    if (wish.stalls) options.stall_timeout = std::chrono::milliseconds(50);
    allowed_ = wish.gated ? 0 : (wish.stalls ? 2 : kEverything);
    started_ = 0;
    CpuHooks hooks;
    hooks.fill = [this, bad = wish.bad_range, kind = store_.value_or(best_store())](MemorySpan memory,
                                                                                    std::uint64_t pattern) {
      const std::uint64_t mine = started_.fetch_add(1);
      hold_until([&] { return mine < allowed_.load(); });
      if (memory.data() < bad.data() + bad.size() && bad.data() < memory.data() + memory.size()) return false;
      fill_nontemporal(kind, memory, pattern);
      finished_.fetch_add(1);
      return true;
    };
    const MemorySpan windows[] = {wish.window};
    return value_or_throw(CpuEngine::create(options, windows, hooks));
  }

  /// Returns when a worker has done something and waits at the gate again, in the middle of its job.
  void let_work(Engine& /*engine*/) override {
    const std::uint64_t before = finished_;
    allowed_ = started_ + 2;
    if (!comes_true([&] { return finished_ != before && started_ > allowed_; })) {
      throw std::runtime_error("no worker came to the gate");
    }
  }
  void open_gate() override { allowed_ = kEverything; }

 private:
  static constexpr std::uint64_t kEverything = ~0ULL;
  std::uint32_t threads_;
  std::optional<StoreKind> store_;
  std::atomic<std::uint64_t> allowed_{kEverything};
  std::atomic<std::uint64_t> started_{0};
  std::atomic<std::uint64_t> finished_{0};
};

/// A simulated engine works only while it is polled, so it needs no gate.
class RingUnderTest final : public EngineUnderTest {
 public:
  RingUnderTest(std::string build, BusTiming timing) : build_(std::move(build)), timing_(timing) {}

  std::unique_ptr<Engine> make(const EngineWish& wish) override {
    SimOptions options;
    options.build = build_;
    options.seed = wish.seed;
    options.wave_file = wave_file();
    options.timing = timing_;
    options.faults.slave_error_range = wish.bad_range;
    if (wish.stalls) options.faults.hang_after_bursts = 2;
    auto device = value_or_throw(SimulatedDevice::create(options));
    device_ = device.get();
    RingOptions ring;
    ring.ring_entries = wish.max_jobs;
    ring.stall_timeout = std::chrono::microseconds(100);
    const MemorySpan windows[] = {wish.window};
    return value_or_throw(RingEngine::create(std::move(device), ring, windows));
  }

  void let_work(Engine& /*engine*/) override { device_->run_cycles(400); }
  void open_gate() override {}

 private:
  std::string build_;
  BusTiming timing_;
  SimulatedDevice* device_ = nullptr;
};

/// Any engine behind something that must keep its promises.
class WrappedUnderTest final : public EngineUnderTest {
 public:
  using Wrap = std::function<std::unique_ptr<Engine>(std::unique_ptr<Engine>, const EngineWish&)>;
  WrappedUnderTest(std::unique_ptr<EngineUnderTest> inner, Wrap wrap)
      : inner_(std::move(inner)), wrap_(std::move(wrap)) {}

  std::unique_ptr<Engine> make(const EngineWish& wish) override { return wrap_(inner_->make(wish), wish); }
  void let_work(Engine& engine) override { inner_->let_work(engine); }
  void open_gate() override { inner_->open_gate(); }

 private:
  std::unique_ptr<EngineUnderTest> inner_;
  Wrap wrap_;
};

EngineKind wrapped(const std::string& name, const EngineKind& inner, const WrappedUnderTest::Wrap& wrap) {
  return {name, [=] { return std::make_unique<WrappedUnderTest>(inner.make(), wrap); }, inner.cuts, inner.goes_on};
}

WrappedUnderTest::Wrap with(EngineMisdeed misdeed) {
  return [misdeed](std::unique_ptr<Engine> engine, const EngineWish& wish) {
    return std::make_unique<FaultyEngine>(std::move(engine), misdeed, 1, wish.seed);
  };
}

std::unique_ptr<Engine> alone_in_failover(std::unique_ptr<Engine> engine, const EngineWish& /*wish*/) {
  std::vector<EngineCandidate> candidates(1);
  const auto shared = std::make_shared<std::unique_ptr<Engine>>(std::move(engine));  // std::function wants copies
  candidates[0] = {"only", [shared]() -> Result<std::unique_ptr<Engine>> { return std::move(*shared); }};
  return value_or_throw(FailoverEngine::create(std::move(candidates), {}));
}

/// Every job goes to the engine that is wrapped, as one side of two; when it fails, to the other.
EngineKind offloaded(const std::string& name, const EngineKind& inner, bool to_engine) {
  const auto wrap = [to_engine](std::unique_ptr<Engine> engine, const EngineWish& wish) -> std::unique_ptr<Engine> {
    std::unique_ptr<Engine> other = value_or_throw(CpuEngine::create({.max_jobs = 65'536}, {&wish.window, 1}));
    if (!to_engine) std::swap(engine, other);
    const ByteCount all(to_engine ? 0 : ~0ULL);
    return value_or_throw(OffloadEngine::create(std::move(other), std::move(engine), {all, all}));
  };
  EngineKind kind = wrapped(name, inner, wrap);
  kind.goes_on = true;
  return kind;
}

/// The kind of engine that "auto" is to put beside the CPU: one that there is already.
class GivenFactory final : public EngineFactory {
 public:
  explicit GivenFactory(std::unique_ptr<Engine> engine) : engine_(std::move(engine)) {}
  [[nodiscard]] std::string kind() const override { return "given"; }
  [[nodiscard]] std::vector<EngineOffer> offers() override { return {{"given", "an engine", "", {}}}; }
  [[nodiscard]] std::vector<EngineOptionHelp> options() override { return {}; }
  [[nodiscard]] Result<std::unique_ptr<Engine>> create(const EngineName& /*name*/,
                                                       std::span<const MemorySpan> /*windows*/) override {
    return std::move(engine_);
  }

 private:
  std::unique_ptr<Engine> engine_;
};

/// As "auto" makes it of two engines; jobs of more than one byte go to the one that is wrapped.
EngineKind automatic(const std::string& name, const EngineKind& inner) {
  const auto wrap = [](std::unique_ptr<Engine> engine, const EngineWish& wish) {
    EngineRegistry registry;
    registry.add(make_cpu_factory());
    registry.add(std::make_unique<GivenFactory>(std::move(engine)));
    const auto factory = make_auto_factory(std::move(registry), {});
    const auto both = value_or_throw(EngineName::parse("auto:engine=given,above=1B"));
    return value_or_throw(factory->create(both, {&wish.window, 1}));
  };
  EngineKind kind = wrapped(name, inner, wrap);
  kind.goes_on = true;
  return kind;
}

/// An engine on the clock of a trace, in which each look takes as long as any job.
class OnATracesClock final : public Engine {
 public:
  explicit OnATracesClock(std::unique_ptr<Engine> engine) : engine_(std::move(engine)), paced_(*engine_, 1e9) {}

  [[nodiscard]] const EngineCapabilities& capabilities() const noexcept override { return paced_.capabilities(); }
  [[nodiscard]] Result<std::size_t> submit(std::span<const ScrubJob> jobs, std::span<JobId> ids) override {
    return paced_.submit(jobs, ids);
  }
  CancelResult cancel(JobId id) override { return paced_.cancel(id); }
  std::size_t poll(std::span<Completion> out) override {
    paced_.set_time(paced_.time() + std::chrono::seconds(1));
    return paced_.poll(out);
  }
  [[nodiscard]] std::uint64_t progress() override { return paced_.progress(); }
  [[nodiscard]] bool reaches(MemorySpan memory) const override { return paced_.reaches(memory); }
  [[nodiscard]] int completion_fd() const noexcept override { return paced_.completion_fd(); }
  [[nodiscard]] std::optional<Error> fault() const override { return paced_.fault(); }
  [[nodiscard]] std::chrono::nanoseconds now() const override { return paced_.now(); }

 private:
  std::unique_ptr<Engine> engine_;
  PacedEngine paced_;
};

std::unique_ptr<Engine> paced(std::unique_ptr<Engine> engine, const EngineWish& /*wish*/) {
  return std::make_unique<OnATracesClock>(std::move(engine));
}

/// In pieces that are short enough for the suite's jobs to have several.
std::unique_ptr<Engine> split(std::unique_ptr<Engine> engine, const EngineWish& /*wish*/) {
  return value_or_throw(JobSplitter::create(std::move(engine), {ByteCount(256 << 10), std::chrono::seconds(120)}));
}

EngineKind split_at_once(const std::string& name, const EngineKind& inner) {
  EngineKind kind = wrapped(name, inner, split);
  kind.cuts = true;
  return kind;
}

EngineKind cpu(const std::string& name, std::uint32_t threads, std::optional<StoreKind> store) {
  return {name, [=] { return std::make_unique<CpuUnderTest>(threads, store); }};
}

EngineKind ring(const std::string& name, const std::string& build, BusTiming timing) {
  return {name, [=] { return std::make_unique<RingUnderTest>(build, timing); }};
}

}  // namespace

std::vector<EngineKind> all_engines() {
  const BusTiming calm;
  const BusTiming rough{{0, 200}, {0, 200}, {0, 5}, 0.6, true};
  std::vector<EngineKind> kinds = {
      cpu("Cpu", 1, {}),
      cpu("CpuThreeThreads", 3, {}),
      ring("Ring64", "64", calm),
      ring("Ring128", "128", calm),
      ring("Ring256", "256", rough),
      ring("Ring512", "512", calm),
      ring("Ring512Rough", "512", rough),
      ring("Ring512Shared", "512-shared", rough),
      ring("Ring512Lean", "512-lean", calm),
      ring("Ring1024", "1024", calm),
      wrapped("CpuDelayed", cpu("", 1, {}), with(EngineMisdeed::Delay)),
      wrapped("CpuReordered", cpu("", 2, {}), with(EngineMisdeed::Reorder)),
      wrapped("FailoverCpu", cpu("", 1, {}), alone_in_failover),
      offloaded("OffloadCpu", cpu("", 2, {}), false),
      offloaded("OffloadRing512", ring("", "512", rough), true),
      wrapped("FailoverRing512", ring("", "512", rough), alone_in_failover),
      wrapped("SplitterCpu", cpu("", 1, {}), split),
      wrapped("SplitterRing512", ring("", "512", rough), split),
      split_at_once("SplitterCpuThreeThreads", cpu("", 3, {})),
      wrapped("SplitterFailoverCpu", wrapped("", cpu("", 1, {}), alone_in_failover), split),
      wrapped("SplitterOffloadCpu", offloaded("", cpu("", 1, {}), true), split),
      automatic("AutoCpu", cpu("", 1, {})),
      wrapped("PacedCpu", cpu("", 1, {}), paced),
  };
  for (const StoreKind kind : kStoreKinds) {
    if (has_store(kind)) kinds.push_back(cpu("Cpu_" + to_string(kind), 1, kind));
  }
#ifdef SLUICE_WITH_DPDK
  for (const EngineKind& kind : dmadev_engines()) kinds.push_back(kind);
#endif
  return kinds;
}

}  // namespace sluice::test
