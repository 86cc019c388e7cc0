// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <verilated.h>
#include <verilated_fst_c.h>

#include <cstring>
#include <memory>

#include "axi_memory.hpp"

namespace sluice::sim {

/// The pins of the AXI4-Lite control slave.
struct ControlPins {
  bool awvalid = false, wvalid = false, arvalid = false;
  std::uint16_t awaddr = 0, araddr = 0;
  std::uint32_t wdata = 0;
};
struct ControlAnswer {
  bool awready = false, bvalid = false, arready = false, rvalid = false;
  std::uint8_t bresp = 0;
  std::uint32_t rdata = 0;
};

/// One Verilated build of rtl/scrub.sv, whatever its data width.
class RtlModel {
 public:
  RtlModel() = default;
  RtlModel(const RtlModel&) = delete;
  RtlModel& operator=(const RtlModel&) = delete;
  virtual ~RtlModel() = default;

  [[nodiscard]] virtual std::uint32_t bus_bytes() const = 0;
  virtual void set_reset(bool active) = 0;
  virtual void drive(const SlavePins& memory, const ControlPins& control) = 0;  ///< before the clock edge
  virtual void sample(MasterPins& master, ControlAnswer& control) = 0;
  virtual void clock() = 0;
  [[nodiscard]] virtual bool interrupt() const = 0;
};

/// Gives the generated classes of all widths one shape: ports are copied as bytes.
template <class Verilated>
class VerilatedModel final : public RtlModel {
 public:
  VerilatedModel(const std::string& wave_file, bool assertions) : context_(std::make_unique<VerilatedContext>()) {
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
    if (wave_) wave_->close();
    top_->final();
  }

  [[nodiscard]] std::uint32_t bus_bytes() const override { return sizeof(top_->m00_axi_wdata); }
  void set_reset(bool active) override { top_->ap_rst_n = active ? 0 : 1; }

  void drive(const SlavePins& memory, const ControlPins& control) override {
    top_->m00_axi_awready = memory.awready;
    top_->m00_axi_wready = memory.wready;
    top_->m00_axi_bvalid = memory.bvalid;
    top_->m00_axi_bid = memory.bid;
    top_->m00_axi_bresp = memory.bresp;
    top_->m00_axi_arready = memory.arready;
    top_->m00_axi_rvalid = memory.rvalid;
    top_->m00_axi_rlast = memory.rlast;
    top_->m00_axi_rresp = memory.rresp;
    if (memory.rvalid) std::memcpy(&top_->m00_axi_rdata, memory.rdata.data(), sizeof(top_->m00_axi_rdata));
    top_->s_axi_control_awvalid = control.awvalid;
    top_->s_axi_control_awaddr = control.awaddr;
    top_->s_axi_control_wvalid = control.wvalid;
    top_->s_axi_control_wdata = control.wdata;
    top_->s_axi_control_wstrb = 0xF;
    top_->s_axi_control_bready = 1;
    top_->s_axi_control_arvalid = control.arvalid;
    top_->s_axi_control_araddr = control.araddr;
    top_->s_axi_control_rready = 1;
    top_->eval();
  }

  void sample(MasterPins& master, ControlAnswer& control) override {
    master.awvalid = top_->m00_axi_awvalid;
    master.wvalid = top_->m00_axi_wvalid;
    master.bready = top_->m00_axi_bready;
    master.arvalid = top_->m00_axi_arvalid;
    master.rready = top_->m00_axi_rready;
    if (master.awvalid) {
      master.awid = top_->m00_axi_awid;
      master.awaddr = top_->m00_axi_awaddr;
      master.awlen = top_->m00_axi_awlen;
      master.awsize = top_->m00_axi_awsize;
      master.awburst = top_->m00_axi_awburst;
    }
    if (master.wvalid) {
      master.wlast = top_->m00_axi_wlast;
      std::memcpy(master.wdata.data(), &top_->m00_axi_wdata, sizeof(top_->m00_axi_wdata));
      std::memcpy(master.wstrb.data(), &top_->m00_axi_wstrb, sizeof(top_->m00_axi_wdata) / 8);
    }
    if (master.arvalid) {
      master.arid = top_->m00_axi_arid;
      master.araddr = top_->m00_axi_araddr;
      master.arlen = top_->m00_axi_arlen;
      master.arsize = top_->m00_axi_arsize;
      master.arburst = top_->m00_axi_arburst;
    }
    control = {top_->s_axi_control_awready != 0, top_->s_axi_control_bvalid != 0, top_->s_axi_control_arready != 0,
               top_->s_axi_control_rvalid != 0,  top_->s_axi_control_bresp,       top_->s_axi_control_rdata};
  }

  void clock() override {
    top_->ap_clk = 1;
    top_->eval();
    if (wave_) wave_->dump(context_->time());
    context_->timeInc(1);
    top_->ap_clk = 0;
    if (wave_) {
      top_->eval();
      wave_->dump(context_->time());
    }
    context_->timeInc(1);
  }

  [[nodiscard]] bool interrupt() const override { return top_->__SYM__interrupt != 0; }  // a C++ word to Verilator

 private:
  std::unique_ptr<VerilatedContext> context_;
  std::unique_ptr<Verilated> top_;
  std::unique_ptr<VerilatedFstC> wave_;
};

}  // namespace sluice::sim
