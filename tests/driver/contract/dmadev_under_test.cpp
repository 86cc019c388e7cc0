// SPDX-License-Identifier: Apache-2.0
#include "dmadev_under_test.hpp"

#include <deque>
#include <stdexcept>

#include "sluice/dmadev/dmadev_engine.hpp"
#include "sluice/dmadev/rte_device.hpp"
#include "support/dsa_folder.hpp"
#include "support/patience.hpp"

namespace sluice::test {
namespace {

/// Stands before a real device and lets through what it is allowed to, one operation after the other. What touches bad
/// memory fails, and what was prepared with it is not attempted, as with a device that stops at an error.
class Gate final : public DmaDevice {
 public:
  Gate(std::unique_ptr<DmaDevice> device, MemorySpan bad, const std::uint64_t& allowed)
      : device_(std::move(device)), bad_(bad), allowed_(allowed) {}

  [[nodiscard]] const DmaLimits& limits() const override { return device_->limits(); }
  [[nodiscard]] Result<void> map(MemorySpan memory) override { return device_->map(memory); }
  [[nodiscard]] bool fill(std::uint64_t pattern, MemorySpan to) override { return prepare({nullptr, pattern, to}); }
  [[nodiscard]] bool copy(const std::byte* from, MemorySpan to) override { return prepare({from, 0, to}); }
  void doorbell() override {}
  [[nodiscard]] bool halted() override { return device_->halted(); }
  void give_up() override { device_->give_up(); }

  std::size_t completed(std::span<DmaStatus> out) override {
    std::size_t count = 0;
    while (count < out.size() && !waiting_.empty() && done_ < allowed_) {
      const Job job = waiting_.front();
      waiting_.pop_front();
      ++done_;
      if (to_skip_ > 0) {
        --to_skip_;
        out[count++] = DmaStatus::NotAttempted;
      } else if (job.to.data() < bad_.data() + bad_.size() && bad_.data() < job.to.data() + job.to.size()) {
        to_skip_ = waiting_.size();
        out[count++] = DmaStatus::AccessFailed;
      } else {
        out[count++] = perform(job);
      }
    }
    return count;
  }

 private:
  struct Job {
    const std::byte* from;
    std::uint64_t pattern;
    MemorySpan to;
  };

  bool prepare(const Job& job) {
    if (waiting_.size() == limits().descriptors) return false;
    waiting_.push_back(job);
    return true;
  }

  DmaStatus perform(const Job& job) {
    const bool taken = job.from != nullptr ? device_->copy(job.from, job.to) : device_->fill(job.pattern, job.to);
    if (!taken) throw std::runtime_error("an idle device took nothing");
    device_->doorbell();
    DmaStatus status{};
    if (!comes_true([&] { return device_->completed({&status, 1}) == 1; })) {
      throw std::runtime_error("a device does not end an operation");
    }
    return status;
  }

  std::unique_ptr<DmaDevice> device_;
  MemorySpan bad_;
  const std::uint64_t& allowed_;
  std::deque<Job> waiting_;
  std::uint64_t done_ = 0;
  std::size_t to_skip_ = 0;
};

class DmadevUnderTest final : public EngineUnderTest {
 public:
  DmadevUnderTest(std::string device, std::string arguments)
      : name_(std::move(device)), arguments_(std::move(arguments)) {}

  std::unique_ptr<Engine> make(const EngineWish& wish) override {
    allowed_ = wish.gated ? 0 : (wish.stalls ? 2 : kEverything);
#ifdef SLUICE_WITH_DSA_MODEL
    static const DsaFolder folder;  // before DPDK starts
#endif
    RteOptions rte;
    rte.driver = SLUICE_PMD;
    rte.arguments = arguments_;
    auto device = std::move(open_rte_device(name_, rte)).value();
    const bool plain = !wish.gated && !wish.stalls && wish.bad_range.empty();
    if (!plain) device = std::make_unique<Gate>(std::move(device), wish.bad_range, allowed_);
    DmadevOptions options;
    options.max_jobs = wish.max_jobs;
    options.chunk = ByteCount(64 << 10);
    options.in_flight = ByteCount(512 << 10);
    if (wish.stalls) options.stall_timeout = std::chrono::milliseconds(50);
    const MemorySpan windows[] = {wish.window};
    return std::move(DmadevEngine::create(std::move(device), options, windows)).value();
  }

  void let_work(Engine& engine) override {
    allowed_ += 3;
    engine.poll({});
  }
  void open_gate() override { allowed_ = kEverything; }

 private:
  static constexpr std::uint64_t kEverything = ~0ULL;
  std::string name_;
  std::string arguments_;
  std::uint64_t allowed_ = kEverything;
};

}  // namespace

std::vector<EngineKind> dmadev_engines() {
  const auto kind = [](const std::string& name, const std::string& device, const std::string& arguments) {
    return EngineKind{name, [=] { return std::make_unique<DmadevUnderTest>(device, arguments); }};
  };
  std::vector<EngineKind> kinds = {kind("DmadevSkeleton", "dma_skeleton", ""),
                                   kind("DmadevSluiceCpu", "dma_sluice_cpu", "engine=cpu"),
                                   kind("DmadevSluiceRtl", "dma_sluice_rtl", "engine=rtl")};
#ifdef SLUICE_WITH_DSA_MODEL
  // DPDK's driver for Intel DSA, unmodified, on the model that this program links.
  kinds.push_back(kind("DmadevIdxd", "wq0.0", ""));
#endif
  return kinds;
}

}  // namespace sluice::test
