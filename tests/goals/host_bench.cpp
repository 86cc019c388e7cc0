// SPDX-License-Identifier: Apache-2.0
// What the memory manager's books cost on large hosts: modelled memory without backing, an engine that writes nothing,
// 10,000 VMs whose memory is scattered over the pool in pieces of 2 MiB, none beside another of the same VM.
#include <fmt/format.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <stdexcept>
#include <vector>

#include "sluice/bench/modelled_host.hpp"
#include "sluice/manager/memory_manager.hpp"
#include "sluice/memory/extent_table.hpp"
#include "sluice/memory/ledger.hpp"

namespace sluice::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr ByteCount kPiece(2ULL << 20);
constexpr std::uint64_t kVms = 10'000;
constexpr std::uint64_t kGroups = 100;
constexpr ByteCount kClaim(64ULL << 30);
constexpr int kRounds = 21;

/// A ledger in memory, which goes when this goes.
class TemporaryLedger {
 public:
  explicit TemporaryLedger(const ModelledMemory& memory)
      : path_(fmt::format("/dev/shm/sluice-host-bench-{}", ::getpid())) {
    auto opened = Ledger::open(path_, memory.bricks());
    if (!opened) throw std::runtime_error(opened.error().message);
    ledger_ = std::move(*opened);
  }
  ~TemporaryLedger() {
    ledger_.reset();
    std::filesystem::remove(path_);
    std::filesystem::remove(path_ + ".lock");
  }
  TemporaryLedger(const TemporaryLedger&) = delete;
  TemporaryLedger& operator=(const TemporaryLedger&) = delete;

  [[nodiscard]] Ledger& get() { return *ledger_; }

 private:
  std::string path_;
  std::unique_ptr<Ledger> ledger_;
};

class Host {
 public:
  Host(ByteCount length, bool with_ledger)
      : memory_(length),
        ledger_(with_ledger ? std::make_unique<TemporaryLedger>(memory_) : nullptr),
        heap_before_(heap()),
        manager_(make_manager()) {
    settle();
    // Piece by piece, in turn: nobody's pieces lie side by side.
    for (std::uint64_t vm = 1; vm <= kVms; ++vm) create(vm);
    const std::uint64_t pieces = length.value() / kPiece.value();
    for (std::uint64_t piece = 0; piece < pieces; ++piece) {
      grant(manager_->allocate(VmId(1 + piece % kVms), kPiece, handler()));
    }
    next_vm_ = kVms + 1;
    extents_ = manager_->extents().count();
    heap_per_extent_ = static_cast<double>(heap() - heap_before_) / static_cast<double>(extents_);
  }

  [[nodiscard]] std::size_t extents() const { return extents_; }
  [[nodiscard]] double heap_per_extent() const { return heap_per_extent_; }

  /// Median over rounds of the time for each extent. ns
  struct Figures {
    double grant = 0;    ///< 64 GiB of clean pieces
    double release = 0;  ///< all of it at the end of the VM
    double reboot = 0;   ///< down and back with all of it
    double group = 0;    ///< 64 GiB of what another VM of the group left behind
    double small = 0;    ///< one piece, granted and released
  };
  Figures measure() {
    // Old VMs make room for large ones; what they leave is clean and scattered.
    const std::uint64_t ending = kClaim.value() * kVms / memory_.length().value() + 1;
    for (std::uint64_t vm = 1; vm <= ending; ++vm) check(manager_->terminate(VmId(vm)));
    settle();
    std::vector<double> grants;
    std::vector<double> releases;
    std::vector<double> reboots;
    std::vector<double> groups;
    std::vector<double> small;
    for (int round = 0; round < kRounds; ++round) {
      const std::uint64_t first = create(next_vm_);
      std::size_t ranges = 0;
      grants.push_back(time([&] { ranges = take(first); }) / static_cast<double>(ranges));
      reboots.push_back(time([&] {
                          check(manager_->begin_reboot(VmId(first)));
                          static_cast<void>(grant(manager_->finish_reboot(VmId(first), kClaim, handler())));
                        }) /
                        static_cast<double>(ranges));
      const std::uint64_t second = create(next_vm_, first % kGroups);
      // Left for the group: else the engine begins to scrub it.
      check(manager_->change_scrub_settings(VmId(first),
                                            {.timing = ScrubTiming::Scheduled, .delay = std::chrono::hours(1)}));
      releases.push_back(time([&] { check(manager_->terminate(VmId(first))); }) / static_cast<double>(ranges));
      const auto before = manager_->statistics().recycled_for(Reason::TrustGroup);
      groups.push_back(time([&] { ranges = take(second); }) / static_cast<double>(ranges));
      if (manager_->statistics().recycled_for(Reason::TrustGroup) - before != kClaim) {
        throw std::runtime_error("the group's memory was not recycled");
      }
      check(manager_->terminate(VmId(second)));
      settle();
      const std::uint64_t third = create(next_vm_);
      for (int piece = 0; piece < 100; ++piece) {
        small.push_back(time([&] {
          grant(manager_->allocate(VmId(third), kPiece, handler()));
          check(manager_->release(VmId(third), last_.ranges.at(0).memory));
        }));
      }
      check(manager_->terminate(VmId(third)));
      settle();
    }
    return {median(grants), median(releases), median(reboots), median(groups), median(small)};
  }

 private:
  static std::size_t heap() {
    const struct mallinfo2 info = ::mallinfo2();
    return info.uordblks + info.hblkhd;
  }
  static double time(const std::function<void()>& work) {
    const auto start = Clock::now();
    work();
    return std::chrono::duration<double, std::nano>(Clock::now() - start).count();
  }
  static double median(std::vector<double> values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
  }
  template <class Value>
  static void check(const Result<Value>& result) {
    if (!result) throw std::runtime_error(result.error().message);
  }

  std::unique_ptr<MemoryManager> make_manager() {
    const ScrubberConfig config{.max_jobs_in_flight = 1024, .background_job_length = ByteCount(1ULL << 30)};
    auto made = ledger_ ? MemoryManager::recover(memory_, engine_, ledger_->get(), config)
                        : MemoryManager::create(memory_, engine_, config);
    check(made);
    return std::move(*made);
  }
  std::uint64_t create(std::uint64_t vm, std::optional<std::uint64_t> group = std::nullopt) {
    next_vm_ = vm + 1;
    const TrustGroupId id(1 + group.value_or(vm % kGroups));
    static_cast<void>(manager_->create_trust_group(id, CustomerId(id.value())));
    check(manager_->create_vm({VmId(vm), CustomerId(id.value()), {}, id, {}, {}, {}}));
    return vm;
  }
  GrantHandler handler() {
    return [this](Result<Grant> grant) {
      check(grant);
      last_ = std::move(*grant);
      granted_ = true;
    };
  }
  void grant(const Result<ClaimId>& claim) {
    check(claim);
    granted_ = false;
    while (!granted_) manager_->poll();
  }
  std::size_t take(std::uint64_t vm) {
    grant(manager_->allocate(VmId(vm), kClaim, handler()));
    return last_.ranges.size();
  }
  void settle() {
    while (manager_->has_work()) manager_->poll();
  }

  ModelledMemory memory_;
  std::unique_ptr<TemporaryLedger> ledger_;  ///< nullptr: none.
  std::size_t heap_before_;
  NullEngine engine_;
  std::unique_ptr<MemoryManager> manager_;
  std::uint64_t next_vm_ = 1;
  bool granted_ = false;
  Grant last_;
  std::size_t extents_ = 0;
  double heap_per_extent_ = 0;
};

void run() {
  struct Row {
    const char* what;
    double Host::Figures::*figure;
    const char* goal;
  };
  static constexpr Row kRows[] = {
      {"grant 64 GiB of clean pieces", &Host::Figures::grant, "1000 ns"},
      {"end of a VM of 64 GiB", &Host::Figures::release, "1000 ns"},
      {"reboot with 64 GiB, down and back", &Host::Figures::reboot, "1000 ns"},
      {"64 GiB inside a trust group", &Host::Figures::group, "1000 ns"},
      {"one piece granted and released", &Host::Figures::small, "no more on the larger host"},
  };
  std::vector<Host::Figures> figures;
  std::vector<std::string> books;
  struct Size {
    std::uint64_t tebibytes;
    bool with_ledger;
  };
  for (const auto& [tebibytes, with_ledger] : {Size{1, false}, Size{16, false}, Size{1, true}}) {
    fmt::print("{} TiB{}: filling the host with {} VMs\n", tebibytes, with_ledger ? " with a ledger" : "", kVms);
    std::fflush(stdout);
    Host host(ByteCount(tebibytes << 40), with_ledger);
    books.push_back(fmt::format("{:.1f} B ({} extents)", host.heap_per_extent(), host.extents()));
    figures.push_back(host.measure());
  }
  fmt::print("\nThe memory manager on modelled memory, {} VMs, pieces of 2 MiB; medians of {} rounds\n", kVms, kRounds);
  fmt::print("{:<36}{:>25}{:>26}{:>8}{:>27}  {}\n", "time for each extent", "1 TiB", "16 TiB", "ratio",
             "1 TiB with a ledger", "goal");
  for (const Row& row : kRows) {
    const double small = figures[0].*row.figure;
    const double large = figures[1].*row.figure;
    fmt::print("{:<36}{:>22.0f} ns{:>23.0f} ns{:>8.2f}{:>24.0f} ns  {}\n", row.what, small, large, large / small,
               figures[2].*row.figure, row.goal);
  }
  fmt::print("{:<36}{:>25}{:>26}{:>8}{:>27}  {}\n", "memory of the books, each extent", books[0], books[1], "",
             books[2], "64 B");
  fmt::print("A ledger's file has 16 B more for each extent.\n");
}

}  // namespace
}  // namespace sluice::bench

int main() {
  try {
    sluice::bench::run();
  } catch (const std::exception& error) {
    fmt::print(stderr, "host_bench: {}\n", error.what());
    return 1;
  }
}
