// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <verilated.h>
#include <verilated_fst_c.h>

#if SLUICE_RTL_COVERAGE
#include <unistd.h>
#include <verilated_cov.h>

#include <cstdlib>
#endif

#include <cstring>
#include <memory>

#include "axi_slave.hpp"

namespace sluice::inline device {

/// The pins of the AXI4-Lite control slave.
struct ControlPins {
  bool awvalid = false, wvalid = false, arvalid = false, bready = true, rready = true;
  std::uint16_t awaddr = 0, araddr = 0;
  std::uint32_t wdata = 0;
  std::uint8_t wstrb = 0xF;
};
struct ControlAnswer {
  bool awready = false, wready = false, bvalid = false, arready = false, rvalid = false;
  std::uint8_t bresp = 0;
  std::uint32_t rdata = 0;
};

inline constexpr std::size_t kMasters = 2;

/// One Verilated build of rtl/scrub.sv, whatever its parameters.
class RtlModel {
 public:
  RtlModel() = default;
  RtlModel(const RtlModel&) = delete;
  RtlModel& operator=(const RtlModel&) = delete;
  virtual ~RtlModel() = default;

  virtual void set_reset(bool active) = 0;
  /// What the pins show from the next clock edge on: sim/device/rtl/scrub_pins.sv registers all of them.
  virtual void drive(const SlavePins& data, const SlavePins& rings, const ControlPins& control) = 0;
  /// What the engine shows in the cycle that the last clock edge began.
  virtual void sample(MasterPins& data, MasterPins& rings, ControlAnswer& control) = 0;
  /// The edge: ends one cycle and begins the next.
  virtual void clock() = 0;
  [[nodiscard]] virtual bool interrupt() const = 0;
};

#if SLUICE_RTL_COVERAGE
inline int next_coverage_file() {
  static int written = 0;
  return written++;
}
#endif

/// Gives the generated classes of all widths one shape: ports are copied as bytes.
template <class Verilated>
class VerilatedModel final : public RtlModel {
 public:
  VerilatedModel(const std::string& wave_file, bool assertions) : context_(std::make_unique<VerilatedContext>()) {
    ::Verilated::threadContextp(context_.get());  // scopes of assertions register there
    context_->assertOn(assertions);
    context_->traceEverOn(!wave_file.empty());
    top_ = std::make_unique<Verilated>(context_.get(), "scrub");
    top_->ap_clk = 0;
    if (!wave_file.empty()) {
      wave_ = std::make_unique<VerilatedFstC>();
      top_->trace(wave_.get(), 99);
      wave_->open(wave_file.c_str());
    }
  }
  VerilatedModel(const VerilatedModel&) = delete;
  VerilatedModel& operator=(const VerilatedModel&) = delete;
  ~VerilatedModel() override {
    ::Verilated::threadContextp(context_.get());
    if (wave_) wave_->close();
    top_->final();
#if SLUICE_RTL_COVERAGE
    // tools/rtl_coverage.py sums these files up.
    if (const char* const folder = std::getenv("SLUICE_RTL_COVERAGE_DIR")) {
      context_->coveragep()->write(
          (std::string(folder) + "/" + std::to_string(::getpid()) + "-" + std::to_string(next_coverage_file()) + ".dat")
              .c_str());
    }
#endif
  }

  void set_reset(bool active) override { top_->ap_rst_n = active ? 0 : 1; }

  void drive(const SlavePins& data, const SlavePins& rings, const ControlPins& control) override {
    top_->m00_axi_awready = data.awready;
    top_->m00_axi_wready = data.wready;
    top_->m00_axi_bvalid = data.bvalid;
    top_->m00_axi_bid = data.bid;
    top_->m00_axi_bresp = data.bresp;
    top_->m00_axi_arready = data.arready;
    top_->m00_axi_rvalid = data.rvalid;
    top_->m00_axi_rid = data.rid;
    top_->m00_axi_rlast = data.rlast;
    top_->m00_axi_rresp = data.rresp;
    if (data.rvalid) std::memcpy(&top_->m00_axi_rdata, data.rdata.data(), sizeof(top_->m00_axi_rdata));
    top_->m01_axi_awready = rings.awready;
    top_->m01_axi_wready = rings.wready;
    top_->m01_axi_bvalid = rings.bvalid;
    top_->m01_axi_bid = rings.bid;
    top_->m01_axi_bresp = rings.bresp;
    top_->m01_axi_arready = rings.arready;
    top_->m01_axi_rvalid = rings.rvalid;
    top_->m01_axi_rid = rings.rid;
    top_->m01_axi_rlast = rings.rlast;
    top_->m01_axi_rresp = rings.rresp;
    if (rings.rvalid) std::memcpy(&top_->m01_axi_rdata, rings.rdata.data(), sizeof(top_->m01_axi_rdata));
    top_->s_axi_control_awvalid = control.awvalid;
    top_->s_axi_control_awaddr = control.awaddr;
    top_->s_axi_control_wvalid = control.wvalid;
    top_->s_axi_control_wdata = control.wdata;
    top_->s_axi_control_wstrb = control.wstrb;
    top_->s_axi_control_bready = control.bready;
    top_->s_axi_control_arvalid = control.arvalid;
    top_->s_axi_control_araddr = control.araddr;
    top_->s_axi_control_rready = control.rready;
  }

  void sample(MasterPins& data, MasterPins& rings, ControlAnswer& control) override {
    data.awvalid = top_->m00_axi_awvalid;
    data.wvalid = top_->m00_axi_wvalid;
    data.bready = top_->m00_axi_bready;
    data.arvalid = top_->m00_axi_arvalid;
    data.rready = top_->m00_axi_rready;
    if (data.awvalid) {
      data.awid = top_->m00_axi_awid;
      data.awaddr = top_->m00_axi_awaddr;
      data.awlen = top_->m00_axi_awlen;
      data.awsize = top_->m00_axi_awsize;
      data.awburst = top_->m00_axi_awburst;
    }
    if (data.wvalid) {
      data.wlast = top_->m00_axi_wlast;
      std::memcpy(data.wdata.data(), &top_->m00_axi_wdata, sizeof(top_->m00_axi_wdata));
      std::memcpy(data.wstrb.data(), &top_->m00_axi_wstrb, sizeof(top_->m00_axi_wdata) / 8);
    }
    if (data.arvalid) {
      data.arid = top_->m00_axi_arid;
      data.araddr = top_->m00_axi_araddr;
      data.arlen = top_->m00_axi_arlen;
      data.arsize = top_->m00_axi_arsize;
      data.arburst = top_->m00_axi_arburst;
    }
    rings.awvalid = top_->m01_axi_awvalid;
    rings.wvalid = top_->m01_axi_wvalid;
    rings.bready = top_->m01_axi_bready;
    rings.arvalid = top_->m01_axi_arvalid;
    rings.rready = top_->m01_axi_rready;
    if (rings.awvalid) {
      rings.awid = top_->m01_axi_awid;
      rings.awaddr = top_->m01_axi_awaddr;
      rings.awlen = top_->m01_axi_awlen;
      rings.awsize = top_->m01_axi_awsize;
      rings.awburst = top_->m01_axi_awburst;
    }
    if (rings.wvalid) {
      rings.wlast = top_->m01_axi_wlast;
      std::memcpy(rings.wdata.data(), &top_->m01_axi_wdata, sizeof(top_->m01_axi_wdata));
      std::memcpy(rings.wstrb.data(), &top_->m01_axi_wstrb, sizeof(top_->m01_axi_wdata) / 8);
    }
    if (rings.arvalid) {
      rings.arid = top_->m01_axi_arid;
      rings.araddr = top_->m01_axi_araddr;
      rings.arlen = top_->m01_axi_arlen;
      rings.arsize = top_->m01_axi_arsize;
      rings.arburst = top_->m01_axi_arburst;
    }
    control = {top_->s_axi_control_awready != 0, top_->s_axi_control_wready != 0, top_->s_axi_control_bvalid != 0,
               top_->s_axi_control_arready != 0, top_->s_axi_control_rvalid != 0, top_->s_axi_control_bresp,
               top_->s_axi_control_rdata};
  }

  void clock() override {
    top_->ap_clk = 0;
    top_->eval();
    if (wave_) wave_->dump(context_->time());
    context_->timeInc(1);
    top_->ap_clk = 1;
    top_->eval();
    if (wave_) wave_->dump(context_->time());
    context_->timeInc(1);
  }

  [[nodiscard]] bool interrupt() const override { return top_->__SYM__interrupt != 0; }  // a C++ word to Verilator

 private:
  std::unique_ptr<VerilatedContext> context_;
  std::unique_ptr<Verilated> top_;
  std::unique_ptr<VerilatedFstC> wave_;
};

}  // namespace sluice::inline device
