// SPDX-License-Identifier: Apache-2.0
#include "sluice/sim/simulated_device.hpp"

#include <Vscrub1024.h>
#include <Vscrub128.h>
#include <Vscrub256.h>
#include <Vscrub512.h>
#include <Vscrub512NoQuiescence.h>
#include <Vscrub64.h>
#include <fmt/format.h>
#include <sys/mman.h>

#include <cerrno>

#include "rtl_model.hpp"

/// Verilator calls this when an assertion fails.
void vl_stop(const char* file, int line, const char* scope) {
  throw sluice::sim::RtlViolation(fmt::format("assertion failed at {}:{} in {}", file, line, scope));
}

namespace sluice::sim {
namespace {

constexpr std::uint32_t kRegisterCycles = 64;  // a register access that takes longer is a broken device
constexpr std::uint32_t kResetCycles = 8;

std::unique_ptr<RtlModel> make_model(const SimOptions& options) {
  const std::string wave = options.wave_file.string();
  if (options.variant == RtlVariant::WithoutQuiescence) {
    if (options.data_width == 512)
      return std::make_unique<VerilatedModel<Vscrub512NoQuiescence>>(wave, options.assertions);
    return nullptr;
  }
  switch (options.data_width) {
    case 64:
      return std::make_unique<VerilatedModel<Vscrub64>>(wave, options.assertions);
    case 128:
      return std::make_unique<VerilatedModel<Vscrub128>>(wave, options.assertions);
    case 256:
      return std::make_unique<VerilatedModel<Vscrub256>>(wave, options.assertions);
    case 512:
      return std::make_unique<VerilatedModel<Vscrub512>>(wave, options.assertions);
    case 1024:
      return std::make_unique<VerilatedModel<Vscrub1024>>(wave, options.assertions);
    default:
      return nullptr;
  }
}

class Device final : public SimulatedDevice {
 public:
  Device(std::unique_ptr<RtlModel> model, const SimOptions& options)
      : options_(options),
        model_(std::move(model)),
        memory_(model_->bus_bytes(), options.seed, options.timing, options.faults) {
    model_->set_reset(true);
    run_cycles(kResetCycles);
    model_->set_reset(false);
    cycles_ = 0;
  }
  ~Device() override {
    for (const MemorySpan ring : rings_) ::munmap(ring.data(), ring.size());
  }

  std::uint32_t read_register(std::uint32_t offset) override {
    control_.arvalid = true;
    control_.araddr = static_cast<std::uint16_t>(offset);
    wait([this] { return answer_.arready; });
    control_.arvalid = false;
    wait([this] { return answer_.rvalid; });
    return answer_.rdata;
  }

  void write_register(std::uint32_t offset, std::uint32_t value) override {
    control_.awvalid = control_.wvalid = true;
    control_.awaddr = static_cast<std::uint16_t>(offset);
    control_.wdata = value;
    wait([this] { return answer_.awready; });
    control_.awvalid = control_.wvalid = false;
    wait([this] { return answer_.bvalid; });
    last_write_accepted_ = answer_.bresp == 0;
  }

  Result<DmaBuffer> allocate_ring(ByteCount length) override {
    void* const memory =
        ::mmap(nullptr, length.value(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED) {
      return Error{DriverErrc::NoResources, fmt::format("mmap of a ring of {} bytes failed: {}; free some memory",
                                                        length.value(), std::strerror(errno))};
    }
    rings_.emplace_back(static_cast<std::byte*>(memory), length.value());
    return DmaBuffer{rings_.back(), memory_.add_window(rings_.back(), true)};
  }

  Result<Iova> map(MemorySpan memory) override { return memory_.add_window(memory, false); }
  void advance() override { run_cycles(options_.cycles_per_advance); }
  [[nodiscard]] std::chrono::nanoseconds now() const override {
    return std::chrono::nanoseconds(
        static_cast<std::int64_t>(static_cast<double>(cycles_) * 1000.0 / options_.clock_mhz));
  }

  [[nodiscard]] std::uint64_t cycles() const override { return cycles_; }
  [[nodiscard]] bool interrupt() const override { return model_->interrupt(); }
  [[nodiscard]] bool last_write_accepted() const override { return last_write_accepted_; }
  void set_faults(const BusFaults& faults) override { memory_.set_faults(faults); }
  void run_cycles(std::uint64_t count) override {
    for (std::uint64_t cycle = 0; cycle < count; ++cycle) step();
  }

 private:
  void step() {
    ++cycles_;
    if (broken_) return;
    broken_ = true;  // unless this cycle ends well; a device that broke a rule answers nothing any more
    model_->drive(memory_.drive(), control_);
    model_->sample(master_, answer_);
    memory_.observe(master_);
    model_->clock();
    broken_ = false;
  }

  template <class Done>
  void wait(Done done) {
    for (std::uint32_t cycle = 0; cycle < kRegisterCycles; ++cycle) {
      step();
      if (done()) return;
    }
    if (!broken_) throw RtlViolation("the control slave did not answer a register access");
  }

  SimOptions options_;
  std::unique_ptr<RtlModel> model_;
  AxiMemory memory_;
  std::vector<MemorySpan> rings_;
  ControlPins control_;
  ControlAnswer answer_;
  MasterPins master_;
  std::uint64_t cycles_ = 0;
  bool last_write_accepted_ = true;
  bool broken_ = false;
};

}  // namespace

Result<std::unique_ptr<SimulatedDevice>> SimulatedDevice::create(const SimOptions& options) {
  if (!(options.clock_mhz > 0.0) || !(options.timing.ready_probability > 0.0)) {
    return Error{DriverErrc::InvalidArgument, fmt::format("a clock of {} MHz and a ready probability of {} were given: "
                                                          "both must be above 0",
                                                          options.clock_mhz, options.timing.ready_probability)};
  }
  std::unique_ptr<RtlModel> model = make_model(options);
  if (!model) {
    return Error{DriverErrc::InvalidArgument,
                 fmt::format("no RTL build of {} bits: give 64, 128, 256, 512 or 1024 (without quiescence only 512)",
                             options.data_width)};
  }
  return std::unique_ptr<SimulatedDevice>(std::make_unique<Device>(std::move(model), options));
}

}  // namespace sluice::sim
