// SPDX-License-Identifier: Apache-2.0
#include "sluice/device/simulated_device.hpp"

#include <Vscrub1024.h>
#include <Vscrub128.h>
#include <Vscrub256.h>
#include <Vscrub512.h>
#include <Vscrub512lean.h>
#include <Vscrub512no_quiescence.h>
#include <Vscrub512shared.h>
#include <Vscrub64.h>
#include <fmt/format.h>
#include <sys/mman.h>

#include <bit>
#include <cerrno>
#include <fstream>
#include <random>

#include "rtl_model.hpp"
#include "sluice/ring/ring_format.hpp"

/// Verilator calls this when an assertion fails.
void vl_stop(const char* file, int line, const char* scope) {
  throw sluice::device::RtlViolation(fmt::format("assertion failed at {}:{} in {}", file, line, scope));
}

namespace sluice::inline device {
namespace {

constexpr std::uint32_t kRegisterCycles = 8192;  // a register access that takes longer is a broken device
constexpr std::uint32_t kResetCycles = 8;

using MakeModel = std::unique_ptr<RtlModel> (*)(const std::string& wave_file, bool assertions);

template <class Verilated>
std::unique_ptr<RtlModel> make(const std::string& wave_file, bool assertions) {
  return std::make_unique<VerilatedModel<Verilated>>(wave_file, assertions);
}

struct Build {
  RtlBuild parameters;
  MakeModel make;
};

/// The same as in models.cmake.
const std::vector<Build>& builds() {
  static const std::vector<Build> all = {
      {{"64", 64, 40, 1, 64, 32, 1, false}, make<Vscrub64>},
      {{"128", 128, 48, 2, 256, 64, 2, false}, make<Vscrub128>},
      {{"256", 256, 64, 3, 64, 64, 1, true}, make<Vscrub256>},
      {{"512", 512, 64, 4, 256, 128, 2, true}, make<Vscrub512>},
      {{"512-shared", 512, 64, 4, 256, 128, 1, true}, make<Vscrub512shared>},
      {{"512-lean", 512, 64, 1, 64, 16, 2, true}, make<Vscrub512lean>},
      {{"512-no-quiescence", 512, 64, 1, 256, 128, 2, true, true}, make<Vscrub512no_quiescence>},
      {{"1024", 1024, 64, 16, 64, 64, 2, true}, make<Vscrub1024>},
  };
  return all;
}

const Build* find_build(const std::string& name) {
  for (const Build& build : builds()) {
    if (build.parameters.name == name) return &build;
  }
  return nullptr;
}

class Device final : public SimulatedDevice {
 public:
  Device(const Build& build, const SimOptions& options)
      : options_(options),
        build_(build.parameters),
        model_(build.make(options.wave_file.string(), options.assertions)),
        memory_(options.first_iova, options.remote_memory),
        data_(memory_, build_.data_width / 8, ring_ids(), options.seed, options.timing),
        rings_(memory_, build_.data_width / 8, ring_ids(), options.seed + 1, options.timing) {
    set_faults(options.faults);
    reset();
  }
  ~Device() override {
    for (const MemorySpan ring : ring_memory_) ::munmap(ring.data(), ring.size());
  }

  std::uint32_t read_register(std::uint32_t offset) override {
    control_.arvalid = true;
    control_.araddr = static_cast<std::uint16_t>(offset);
    wait([] {}, [this] { return answer_.arready; });
    control_.arvalid = false;
    wait([this] { control_.rready = hurried(); }, [this] { return answer_.rvalid && control_.rready; });
    return answer_.rdata;
  }

  void write_register(std::uint32_t offset, std::uint32_t value) override {
    control_.awaddr = static_cast<std::uint16_t>(offset);
    control_.wdata = value;
    bool address_taken = false;
    bool data_taken = false;
    wait(
        [&] {  // in any order; what was shown stays
          control_.awvalid = !address_taken && (control_.awvalid || hurried());
          control_.wvalid = !data_taken && (control_.wvalid || hurried());
        },
        [&] {
          address_taken = address_taken || (control_.awvalid && answer_.awready);
          data_taken = data_taken || (control_.wvalid && answer_.wready);
          return address_taken && data_taken;
        });
    control_.awvalid = control_.wvalid = false;
    wait([this] { control_.bready = hurried(); }, [this] { return answer_.bvalid && control_.bready; });
    last_write_accepted_ = answer_.bresp == 0;
  }

  Result<DmaBuffer> allocate_ring(ByteCount length) override {
    void* const memory =
        ::mmap(nullptr, length.value(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED) {
      return Error{DriverErrc::NoResources, fmt::format("mmap of a ring of {} bytes failed: {}; free some memory",
                                                        length.value(), std::strerror(errno))};
    }
    ring_memory_.emplace_back(static_cast<std::byte*>(memory), length.value());
    return DmaBuffer{ring_memory_.back(), memory_.add_window(ring_memory_.back(), true)};
  }

  Result<Iova> map(MemorySpan memory) override { return memory_.add_window(memory, false); }
  void advance() override { run_cycles(options_.cycles_per_advance); }
  [[nodiscard]] std::chrono::nanoseconds now() const override {
    return std::chrono::nanoseconds(
        static_cast<std::int64_t>(static_cast<double>(cycles_) * 1000.0 / options_.clock_mhz));
  }

  [[nodiscard]] double simulated_clock_mhz() const override { return options_.clock_mhz; }
  [[nodiscard]] std::uint64_t cycles() const override { return cycles_; }
  [[nodiscard]] bool interrupt() const override { return model_->interrupt(); }
  [[nodiscard]] bool last_write_accepted() const override { return last_write_accepted_; }
  void set_faults(const BusFaults& faults) override {
    data_.set_faults(faults);
    rings_.set_faults(faults);
  }
  void set_observer(std::function<void(const BusEvent&)> observer) override { data_.set_observer(std::move(observer)); }
  void set_cycle_observer(std::function<void(const CyclePins&)> observer) override {
    cycle_observer_ = std::move(observer);
  }
  void reset() override {
    model_->set_reset(true);
    model_->drive(silence_, silence_, {});
    model_->clock();  // the reset reaches the pins
    model_->clock();  // the bus does not see the master fall silent: it is in reset too
    data_.reset();
    rings_.reset();
    control_ = {};
    run_cycles(kResetCycles);
    model_->set_reset(false);
  }
  [[nodiscard]] const RtlBuild& build() const override { return build_; }
  [[nodiscard]] const BusTrace& data_bus() const override { return data_.trace(); }
  [[nodiscard]] const BusTrace& ring_bus() const override {
    return build_.masters == 1 ? data_.trace() : rings_.trace();
  }
  void run_cycles(std::uint64_t count) override {
    for (std::uint64_t cycle = 0; cycle < count; ++cycle) step();
  }

 private:
  /// The top bit of an AXI ID marks rings.
  [[nodiscard]] std::uint8_t ring_ids() const {
    return static_cast<std::uint8_t>(build_.queues == 1 ? 2U : 2U << (std::bit_width(build_.queues - 1) - 1));
  }

  void step() {
    if (broken_) {
      ++cycles_;
      return;
    }
    broken_ = true;  // unless this cycle ends well; a device that broke a rule answers nothing any more
    const bool two = build_.masters == 2;
    const SlavePins& data_answers = data_.drive();
    const SlavePins& ring_answers = two ? rings_.drive() : silence_;
    model_->drive(data_answers, ring_answers, control_);
    model_->clock();
    model_->sample(data_pins_, ring_pins_, answer_);
    if (cycle_observer_) {
      cycle_observer_({cycles_, pins_of(data_pins_, data_answers), pins_of(ring_pins_, ring_answers),
                       control_.awvalid && answer_.awready, control_.awaddr, model_->interrupt()});
    }
    data_.observe(data_pins_);
    if (two) rings_.observe(ring_pins_);
    ++cycles_;
    broken_ = false;
  }

  static PortPins pins_of(const MasterPins& master, const SlavePins& slave) {
    return {master.awvalid, slave.awready, master.wvalid, slave.wready, master.wlast, slave.bvalid,
            master.arvalid, slave.arready, slave.rvalid,  slave.rlast,  master.awlen, slave.bresp,
            master.arlen,   slave.rresp,   master.awaddr, master.araddr};
  }

  /// Whether the master of the control port acts in this cycle: it is as patient as the memory.
  bool hurried() {
    return options_.timing.ready_probability >= 1.0 ||
           static_cast<double>(control_random_() >> 11) * 0x1.0p-53 < options_.timing.ready_probability;
  }

  /// Cycle by cycle: `before` sets the control pins, `done` looks at the answer.
  template <class Before, class Done>
  void wait(Before before, Done done) {
    for (std::uint32_t cycle = 0; cycle < kRegisterCycles; ++cycle) {
      before();
      step();
      if (done()) return;
    }
    if (!broken_) throw RtlViolation("the control slave did not answer a register access");
  }

  SimOptions options_;
  RtlBuild build_;
  std::unique_ptr<RtlModel> model_;
  HostMemory memory_;
  AxiSlave data_;
  AxiSlave rings_;
  const SlavePins silence_;
  std::vector<MemorySpan> ring_memory_;
  std::function<void(const CyclePins&)> cycle_observer_;
  std::mt19937_64 control_random_{options_.seed + 2};
  ControlPins control_;
  ControlAnswer answer_;
  MasterPins data_pins_;
  MasterPins ring_pins_;
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
  if (options.first_iova % ring::kPageBytes != 0) {
    return Error{DriverErrc::InvalidArgument,
                 fmt::format("the first I/O virtual address, {:#x}, must be a multiple of {}", options.first_iova,
                             ring::kPageBytes)};
  }
  const Build* const build = find_build(options.build);
  if (build == nullptr) {
    std::string names;
    for (const RtlBuild& known : rtl_builds()) names += (names.empty() ? "" : ", ") + known.name;
    return Error{DriverErrc::InvalidArgument,
                 fmt::format("there is no RTL build '{}': give one of {}", options.build, names)};
  }
  if (!options.wave_file.empty() && !std::ofstream(options.wave_file)) {
    return Error{DriverErrc::NoResources, fmt::format("the wave file {} cannot be written: {}; give another one",
                                                      options.wave_file.string(), std::strerror(errno))};
  }
  return std::unique_ptr<SimulatedDevice>(std::make_unique<Device>(*build, options));
}

const std::vector<RtlBuild>& rtl_builds() {
  static const std::vector<RtlBuild> all = [] {
    std::vector<RtlBuild> parameters;
    for (const Build& build : builds()) parameters.push_back(build.parameters);
    return parameters;
  }();
  return all;
}

}  // namespace sluice::inline device
