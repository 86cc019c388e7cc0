// SPDX-License-Identifier: Apache-2.0
#include "sluice/bench/contenders.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <thread>

#include "sluice/bench/arena.hpp"
#include "sluice/bench/own_cpu.hpp"
#include "sluice/compose/engine_choice.hpp"
#include "sluice/cpu/cpu_stores.hpp"
#include "sluice/memory/error.hpp"
#include "sluice/ring/ring_engine.hpp"

namespace sluice::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Duration = std::chrono::nanoseconds;

constexpr ByteCount kMostSimulated{64ULL << 20};
constexpr auto kWarmUp = std::chrono::milliseconds(20);
using MakeContender = Contender*(std::byte*, std::size_t);

class OnThisThread final : public Contender {
 public:
  explicit OnThisThread(void (*each)(MemorySpan)) : each_(each) {}
  [[nodiscard]] Result<Duration> clear(std::span<const MemorySpan> blocks) override {
    const auto start = Clock::now();
    for (const MemorySpan block : blocks) each_(block);
    store_fence();
    return Duration(Clock::now() - start);
  }

 private:
  void (*each_)(MemorySpan);
};

void libc_memset(MemorySpan block) {
  std::memset(block.data(), 0, block.size());
  asm volatile("" : : "r"(block.data()) : "memory");  // NOLINT: it must be done
}

void rep_stosb(MemorySpan block) {
  void* to = block.data();
  std::size_t count = block.size();
  asm volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(0) : "memory");  // NOLINT
}

void page_by_page(MemorySpan block) {
  constexpr std::size_t kPage = kPageSize.value();
  for (std::size_t at = 0; at < block.size(); at += kPage) {
    fill_nontemporal(StoreKind::Movnti, block.subspan(at, std::min(kPage, block.size() - at)), 0);
    store_fence();
  }
}

/// Fresh memory, all of it mapped before: what counts is the populating.
class Populate final : public Contender {
 public:
  explicit Populate(Pages pages) : pages_(pages) {}
  ~Populate() override { unmap(); }

  [[nodiscard]] Result<void> prepare(std::span<const MemorySpan> blocks) override {
    constexpr std::size_t kHuge = 2ULL << 20;
    unmap();
    for (const MemorySpan block : blocks) length_ += block.size();
    length_ += kHuge;  // to begin at a huge page
    const int reserved = pages_ == Pages::Hugetlb ? MAP_HUGETLB : 0;
    void* const mapped =
        ::mmap(nullptr, length_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | reserved, -1, 0);
    if (mapped == MAP_FAILED) {
      const char* const help = reserved != 0 ? "; reserve huge pages: sysctl vm.nr_hugepages" : "";
      return refused(fmt::format("mmap: {}{}", std::strerror(errno), help));
    }
    mapped_ = static_cast<std::byte*>(mapped);
    begin_ = mapped_ + (kHuge - reinterpret_cast<std::uintptr_t>(mapped_) % kHuge) % kHuge;
    if (reserved == 0) ::madvise(mapped_, length_, pages_ == Pages::Transparent ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    return {};
  }

  [[nodiscard]] Result<Duration> clear(std::span<const MemorySpan> blocks) override {
    std::byte* at = begin_;
    const auto start = Clock::now();
    for (const MemorySpan block : blocks) {
      if (::madvise(at, block.size(), MADV_POPULATE_WRITE) != 0) {
        return refused(fmt::format("madvise(MADV_POPULATE_WRITE): {}", std::strerror(errno)));
      }
      at += block.size();
    }
    return Duration(Clock::now() - start);
  }

 private:
  static Error refused(const std::string& why) { return {HostErrc::NoResources, why}; }
  void unmap() {
    if (mapped_ != nullptr) ::munmap(mapped_, length_);
    mapped_ = nullptr;
    length_ = 0;
  }

  Pages pages_;
  std::byte* mapped_ = nullptr;
  std::byte* begin_ = nullptr;
  std::size_t length_ = 0;
};

/// A file's pages given back to the kernel, and got again.
class PunchHole final : public Contender {
 public:
  ~PunchHole() override { close(); }

  [[nodiscard]] Result<void> prepare(std::span<const MemorySpan> blocks) override {
    close();
    for (const MemorySpan block : blocks) length_ += block.size();
    file_ = ::memfd_create("sluice-bench", MFD_CLOEXEC);
    if (file_ < 0 || ::ftruncate(file_, static_cast<off_t>(length_)) != 0) return refused("a memfd");
    void* const base = ::mmap(nullptr, length_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, file_, 0);
    if (base == MAP_FAILED) return refused("mmap");
    base_ = static_cast<std::byte*>(base);
    return {};
  }

  [[nodiscard]] Result<Duration> clear(std::span<const MemorySpan> blocks) override {
    std::size_t at = 0;
    const auto start = Clock::now();
    for (const MemorySpan block : blocks) {
      const auto length = static_cast<off_t>(block.size());
      if (::fallocate(file_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(at), length) != 0 ||
          ::madvise(base_ + at, block.size(), MADV_POPULATE_WRITE) != 0) {
        return refused("fallocate(FALLOC_FL_PUNCH_HOLE), or populating the hole");
      }
      at += block.size();
    }
    return Duration(Clock::now() - start);
  }

 private:
  static Error refused(const char* call) {
    return {HostErrc::NoResources, fmt::format("{}: {}", call, std::strerror(errno))};
  }
  void close() {
    if (base_ != nullptr) ::munmap(base_, length_);
    if (file_ >= 0) ::close(file_);
    base_ = nullptr;
    file_ = -1;
    length_ = 0;
  }

  int file_ = -1;
  std::byte* base_ = nullptr;
  std::size_t length_ = 0;
};

class ThroughEngine final : public Contender {
 public:
  ThroughEngine(std::unique_ptr<Engine> engine, MemorySpan own, const Drive& drive, std::unique_ptr<OwnCpu> own_cpu)
      : own_cpu_(std::move(own_cpu)),
        engine_(std::move(engine)),
        own_(own),
        mhz_(simulated_mhz(*engine_)),
        drive_(drive) {
    drive_.depth = std::min(drive.depth, engine_->capabilities().max_jobs_in_flight);
    drive_.batch = std::min(drive.batch, drive_.depth);
    if (drive.sleeps) descriptor_ = engine_->completion_fd();
    jobs_.resize(drive_.batch);
    ids_.resize(drive_.batch);
    completions_.resize(drive_.batch);
  }

  /// Until the threads of an engine have found CPUs of their own. A simulation has no need of it.
  [[nodiscard]] Result<void> warm_up(MemorySpan memory) {
    const MemorySpan block = memory.first(std::min<std::size_t>(memory.size(), 2ULL << 20));
    const auto end = Clock::now() + kWarmUp;
    while (mhz_ == 0.0 && Clock::now() < end) {
      if (auto cleared = clear({&block, 1}); !cleared) return cleared.error();
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
    return {};
  }

  [[nodiscard]] Result<Duration> clear(std::span<const MemorySpan> blocks) override {
    std::size_t submitted = 0;
    std::size_t done = 0;
    const Duration start = now();
    while (done < blocks.size()) {
      const std::size_t count = std::min({drive_.batch, blocks.size() - submitted, drive_.depth - (submitted - done)});
      // A whole batch, or what is left: else the batch would melt to the first job that ends.
      if (count == drive_.batch || count == blocks.size() - submitted) {
        for (std::size_t index = 0; index < count; ++index) jobs_[index].memory = reachable(blocks[submitted + index]);
        if (count > 0) {
          const auto accepted = engine_->submit(std::span(jobs_).first(count), ids_);
          if (accepted) submitted += *accepted;
          if (!accepted && accepted.error().code != DriverErrc::Busy) return accepted.error();
        }
      }
      const std::size_t got = engine_->poll(completions_);
      for (const Completion& completion : std::span(completions_).first(got)) {
        if (completion.outcome == Outcome::Zeroed) continue;
        return Error{DriverErrc::EngineFailed, "a job failed: " + to_string(completion.cause)};
      }
      done += got;
      if (got == 0 && submitted > done && descriptor_ >= 0) {
        pollfd completions{descriptor_, POLLIN, 0};
        ::poll(&completions, 1, 1);
      }
      if (auto fault = engine_->fault()) return *fault;
    }
    return now() - start;
  }

 private:
  [[nodiscard]] Duration now() const {
    auto* const ring = dynamic_cast<RingEngine*>(engine_.get());
    if (mhz_ == 0.0 || ring == nullptr) return engine_->now();
    return Duration(static_cast<std::int64_t>(static_cast<double>(ring->counters().cycles) * 1000.0 / mhz_));
  }

  [[nodiscard]] MemorySpan reachable(MemorySpan block) {
    if (own_.empty()) return block;
    if (at_ + block.size() > own_.size()) at_ = 0;
    at_ += block.size();
    return own_.subspan(at_ - block.size(), block.size());
  }

  std::unique_ptr<OwnCpu> own_cpu_;  ///< nullptr: none.
  std::unique_ptr<Engine> engine_;
  MemorySpan own_;  ///< Empty: the engine reaches any memory.
  std::size_t at_ = 0;
  double mhz_;
  Drive drive_;
  int descriptor_ = -1;  ///< To sleep on; -1: not.
  std::vector<ScrubJob> jobs_;
  std::vector<JobId> ids_;
  std::vector<Completion> completions_;
};

Entry plain(const std::string& name, void (*clear)(MemorySpan)) {
  return {name, [clear](MemorySpan) -> Result<std::unique_ptr<Contender>> {
            return std::unique_ptr<Contender>(std::make_unique<OnThisThread>(clear));
          }};
}

template <class Kind, class... Arguments>
Entry entry(const std::string& name, Arguments... arguments) {
  return {name, [arguments...](MemorySpan) -> Result<std::unique_ptr<Contender>> {
            return std::unique_ptr<Contender>(std::make_unique<Kind>(arguments...));
          }};
}

}  // namespace

double simulated_mhz(Engine& engine) {
  constexpr double kProjectedMhz = 300.0;  // of a simulation in another process, whose clock this one does not see
  if (engine.capabilities().clock_mhz > 0.0) return engine.capabilities().clock_mhz;
  return dynamic_cast<RingEngine*>(&engine) != nullptr ? kProjectedMhz : 0.0;
}

std::string projection(const EngineRegistry& registry, const EngineName& name, MemorySpan memory) {
  const auto own = registry.allocate(name, kMostSimulated);
  if (!own) return {};
  const MemorySpan windows[] = {own->empty() ? memory : *own};
  const auto engine = registry.create(name, windows);
  const double mhz = engine ? simulated_mhz(**engine) : 0.0;
  if (mhz == 0.0) return {};
  return fmt::format("{}: {} (the number is the width of its bus in bits), its cycles at {:.0f} MHz", name.text,
                     (*engine)->capabilities().name, mhz);
}

std::vector<Entry> cpu_peers() {
  return {plain("libc memset", libc_memset), plain("rep stosb", rep_stosb),
          plain("page by page, as Xen", page_by_page)};
}

std::vector<Entry> kernel_peers() {
  Entry transparent = entry<Populate>("kernel populate, THP", Pages::Transparent);
  Entry reserved = entry<Populate>("kernel populate, hugetlb", Pages::Hugetlb);
  transparent.least = reserved.least = ByteCount(2ULL << 20);
  return {entry<Populate>("kernel populate, 4 KiB", Pages::Small), transparent, reserved,
          entry<PunchHole>("punch a hole, populate")};
}

std::vector<Entry> raw_dmadev() {
  const std::string path = plugin_folder() / "sluice_raw_dmadev.so";
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return {};
  Entry raw{"raw rte_dma_copy", [path](MemorySpan memory) -> Result<std::unique_ptr<Contender>> {
              void* const library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
              auto* const make = library == nullptr
                                     ? nullptr
                                     : reinterpret_cast<MakeContender*>(::dlsym(library, "sluice_bench_contender"));
              if (make == nullptr) return Error{HostErrc::NoResources, ::dlerror()};
              std::unique_ptr<Contender> contender(make(memory.data(), memory.size()));
              if (!contender) return Error{HostErrc::NoResources, "the device dma_skeleton is not there"};
              return contender;
            }};
  return {raw};
}

Entry engine_entry(const EngineRegistry& registry, const EngineName& name, const Drive& drive) {
  const bool simulated = name.kind == "rtl" || name.kind == "xrt";
  Entry entry{name.text, [&registry, name, drive, simulated](MemorySpan memory) -> Result<std::unique_ptr<Contender>> {
                // Where an engine reaches only memory of its own, it clears that.
                auto own = registry.allocate(name, kMostSimulated);
                if (!own) return own.error();
                const MemorySpan windows[] = {own->empty() ? memory : *own};
                auto own_cpu = drive.sleeps || simulated ? nullptr : std::make_unique<OwnCpu>();
                const auto create = [&] { return registry.create(name, windows); };
                auto engine = own_cpu ? own_cpu->elsewhere(create) : create();
                if (!engine) return engine.error();
                auto contender = std::make_unique<ThroughEngine>(std::move(*engine), *own, drive, std::move(own_cpu));
                if (auto warm = contender->warm_up(windows[0]); !warm) return warm.error();
                return std::unique_ptr<Contender>(std::move(contender));
              }};
  entry.simulated = simulated;
  if (simulated) entry.most = kMostSimulated;
  return entry;
}

}  // namespace sluice::bench
