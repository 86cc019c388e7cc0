// SPDX-License-Identifier: Apache-2.0
// How long a VM waits for its memory: from the kernel, scrubbed when it is claimed, clean already, or recycled.
#include <fmt/format.h>
#include <poll.h>

#include <stdexcept>

#include "sluice/bench/bench.hpp"
#include "sluice/bench/modelled_host.hpp"
#include "sluice/manager/memory_manager.hpp"

namespace sluice::bench {
namespace {

using Duration = std::chrono::nanoseconds;

constexpr ByteCount kPiece{2ULL << 20};
constexpr CustomerId kCustomer{1};

template <class Value>
void check(const Result<Value>& result) {
  if (!result) throw std::runtime_error(result.error().message);
}

/// A manager whose memory lies scattered: pieces of 2 MiB belonged in turn to two VMs.
class ScatteredHost {
 public:
  ScatteredHost(const BackingMemory& memory, Engine& engine, const ScrubberConfig& config)
      : engine_(engine), owned_(make_manager(memory, engine, config)) {
    ByteCount length;
    for (const Brick& brick : memory.bricks()) length += length_of(brick.memory);
    create(one_, {});
    create(other_, {});
    for (std::uint64_t piece = 0; piece < length.value() / kPiece.value(); ++piece) {
      take(piece % 2 == 0 ? one_ : other_, kPiece);
    }
  }

  [[nodiscard]] MemoryManager& manager() { return manager_; }
  [[nodiscard]] VmId one() const { return one_; }
  [[nodiscard]] VmId other() const { return other_; }

  VmId create(TrustGroupId group = {}, DedicatedPoolId pool = {}) {
    const VmId vm(next_vm_++);
    create(vm, group, pool);
    return vm;
  }
  void end(VmId vm) { check(manager_.terminate(vm)); }
  /// Its memory waits for whoever may have it unscrubbed.
  void end_and_leave(VmId vm) {
    check(manager_.change_scrub_settings(vm, {.timing = ScrubTiming::Scheduled, .delay = std::chrono::hours(1)}));
    end(vm);
  }
  void settle() {
    while (manager_.has_work()) manager_.poll();
  }

  /// By the engine's clock.
  Duration take(VmId vm, ByteCount length) {
    const Duration start = engine_.now();
    wait([&](GrantHandler handler) { return manager_.allocate(vm, length, std::move(handler)); });
    return engine_.now() - start;
  }
  Duration reboot(VmId vm, ByteCount length) {
    const Duration start = engine_.now();
    check(manager_.begin_reboot(vm));
    wait([&](GrantHandler handler) { return manager_.finish_reboot(vm, length, std::move(handler)); });
    return engine_.now() - start;
  }
  /// What the last grant brought.
  [[nodiscard]] const Grant& last() const { return last_; }

 private:
  void create(VmId vm, TrustGroupId group, DedicatedPoolId pool = {}) {
    check(manager_.create_vm({vm, kCustomer, pool, group, {}, {}, {}}));
  }
  template <class Start>
  void wait(Start start) {
    granted_ = false;
    check(start([this](Result<Grant> grant) {
      check(grant);
      last_ = std::move(*grant);
      granted_ = true;
    }));
    const int descriptor = engine_.completion_fd();
    for (manager_.poll(); !granted_; manager_.poll()) {
      if (descriptor < 0) continue;
      manager_.poll();  // submits what the last one made room for: nobody sleeps while nothing is in flight
      pollfd completions{descriptor, POLLIN, 0};
      if (!granted_) ::poll(&completions, 1, 1);
    }
  }

  static std::unique_ptr<MemoryManager> make_manager(const BackingMemory& memory, Engine& engine,
                                                     const ScrubberConfig& config) {
    auto made = MemoryManager::create(memory, engine, config);
    check(made);
    return std::move(*made);
  }

  Engine& engine_;
  std::unique_ptr<MemoryManager> owned_;
  MemoryManager& manager_ = *owned_;
  VmId one_{1};
  VmId other_{2};
  std::uint64_t next_vm_ = 3;
  bool granted_ = false;
  Grant last_;
};

double milliseconds(Duration time) { return static_cast<double>(time.count()) / 1e6; }

void scrub_on_grant(Bench& bench, const Entry& entry, const EngineName& name, Chart& chart, ByteCount length) {
  const auto own = bench.registry.allocate(name, length);
  check(own);
  const MemorySpan memory = own->empty() ? bench.arena.all().first(length.value()) : *own;
  const MemorySpan pieces[] = {memory.first(length.value())};
  const auto backing = ForeignMemory::create(pieces);
  check(backing);
  auto engine = bench.registry.create(name, pieces);
  if (!engine) throw std::runtime_error(engine.error().message);
  ScatteredHost host(**backing, **engine, {.background = false});
  host.end(host.one());
  host.end(host.other());
  const Duration time = host.take(host.create(), length);
  Bench::add_sample(chart,
                    {"scrub on grant, " + entry.name,
                     short_bytes(length),
                     static_cast<double>(length.value()),
                     {},
                     entry.simulated,
                     entry.simulated},
                    milliseconds(time));
}

void from_the_kernel(Bench& bench, Chart& chart, ByteCount length) {
  for (const Entry& peer : kernel_peers()) {
    auto contender = peer.make({});
    const MemorySpan block = bench.arena.all().first(length.value());
    const auto time = contender ? (*contender)->prepare_and_clear({&block, 1}) : contender.error();
    if (time) {
      Bench::add_sample(chart, {peer.name, short_bytes(length), static_cast<double>(length.value()), {}},
                        milliseconds(*time));
    }
  }
}

/// The books alone, on memory that nothing touches.
class Books {
 public:
  explicit Books(ByteCount largest)
      : memory_(ByteCount(largest.value() * 2 + kGiB.value())),
        host_(memory_, engine_, {.max_jobs_in_flight = 1024, .background_job_length = ByteCount(64ULL << 20)}) {
    MemoryManager& manager = host_.manager();
    check(manager.create_trust_group(kGroup, kCustomer));
    check(manager.create_trust_group(kLarger, kCustomer));
    check(manager.create_trust_group(kPart, kCustomer, kLarger));
    check(manager.create_trust_group(kOtherPart, kCustomer, kLarger));
    host_.end(host_.one());  // the other one keeps its pieces: what is clean lies between them
    host_.settle();
  }

  void measure(Chart& chart, ByteCount length) {
    const auto add = [&](const std::string& series, Duration time) {
      Bench::add_sample(chart, {series, short_bytes(length), static_cast<double>(length.value()), {}},
                        milliseconds(time));
    };
    const VmId vm = host_.create();
    add("from the clean pool", host_.take(vm, length));
    add("recycled: same VM after reboot", host_.reboot(vm, length));
    expect(Reason::SameVmAfterReboot);
    const Grant held = host_.last();
    check(
        host_.manager().change_scrub_settings(vm, {.timing = ScrubTiming::Scheduled, .delay = std::chrono::hours(1)}));
    for (const GrantedRange& range : held.ranges) check(host_.manager().release(vm, range.memory));
    add("recycled: same VM", host_.take(vm, length));
    expect(Reason::SameVm);
    check(host_.manager().change_scrub_settings(vm, {}));
    host_.end(vm);
    host_.settle();
    add("recycled: trust group", pass_on({kGroup, {}}, {kGroup, {}}, length, Reason::TrustGroup));
    add("recycled: larger trust group", pass_on({kPart, {}}, {kOtherPart, {}}, length, Reason::LargerGroup));
    const DedicatedPoolId pool(next_pool_++);
    bool ready = false;
    const auto handler = [&](const Result<void>& made) {
      check(made);
      ready = true;
    };
    check(host_.manager().create_dedicated_pool(pool, kCustomer, length, handler, {.placement = {}, .shares = true}));
    while (!ready) host_.manager().poll();
    add("recycled: dedicated pool", pass_on({{}, pool}, {{}, pool}, length, Reason::DedicatedPool));
    check(host_.manager().destroy_dedicated_pool(pool));
    host_.settle();
  }

 private:
  struct Place {
    TrustGroupId group;
    DedicatedPoolId pool;
  };
  static constexpr TrustGroupId kGroup{1}, kLarger{2}, kPart{3}, kOtherPart{4};

  Duration pass_on(const Place& from, const Place& to, ByteCount length, Reason reason) {
    const VmId first = host_.create(from.group, from.pool);
    host_.take(first, length);
    const VmId second = host_.create(to.group, to.pool);
    host_.end_and_leave(first);
    const Duration time = host_.take(second, length);
    expect(reason);
    host_.end(second);
    host_.settle();
    return time;
  }
  void expect(Reason reason) const {
    for (const GrantedRange& range : host_.last().ranges) {
      if (!range.recycled || range.reason != reason) {
        throw std::runtime_error(fmt::format("memory that should be recycled ({}) was not", to_string(reason)));
      }
    }
  }

  ModelledMemory memory_;
  NullEngine engine_;
  ScatteredHost host_;
  std::uint64_t next_pool_ = 1;
};

}  // namespace

void plan_grant(Bench& bench, Plan& plan) {
  Chart chart{"grant", "grant", "How long a VM waits for its memory", "memory", "time", "ms"};
  chart.x_scale = Scale::Logarithmic;
  chart.y_logarithmic = true;
  chart.more_is_better = false;
  chart.baseline = "kernel populate, 4 KiB";
  const ByteCount largest(std::min(bench.effort.grants.value(), bench.arena.all().size()));
  std::vector<ByteCount> lengths = {std::min(ByteCount(largest.value() / 16), ByteCount(64ULL << 20))};
  while (lengths.back().value() * 4 <= largest.value()) lengths.emplace_back(lengths.back().value() * 4);
  chart.notes = {fmt::format("Memory lies scattered in pieces of {}. Up to {} it is really cleared.",
                             short_bytes(kPiece), short_bytes(lengths.back())),
                 "From the clean pool, and recycled: no byte is touched, so the books are measured alone, up to 64 "
                 "GiB, on memory that "
                 "is not there. A reboot is measured down and back."};
  Chart& grant = bench.add(std::move(chart));
  const bool smoke = bench.effort.grants < kGiB;
  for (std::size_t round = 0; round < bench.effort.rounds; ++round) {
    Plan tasks;
    for (const ByteCount length : lengths) {
      tasks.emplace_back([&bench, &grant, length] { from_the_kernel(bench, grant, length); });
      for (const EngineName& name : bench.engines) {
        const Entry entry = engine_entry(bench.registry, name);
        if (length > entry.most || (entry.simulated && round > 0)) continue;
        tasks.emplace_back(
            [&bench, &grant, entry, name, length] { scrub_on_grant(bench, entry, name, grant, length); });
      }
    }
    tasks.emplace_back([&grant, smoke] {
      Books books(ByteCount((smoke ? 1ULL : 64ULL) << 30));
      for (const std::uint64_t gibibytes : {1ULL, 4ULL, 16ULL, 64ULL}) {
        if (!smoke || gibibytes == 1) books.measure(grant, ByteCount(gibibytes << 30));
      }
    });
    add_round(plan, std::move(tasks), round);
  }
}

}  // namespace sluice::bench
