// SPDX-License-Identifier: Apache-2.0
// The rules of AXI4-Lite (ARM IHI 0022) for the control slave and for whoever drives it: what is shown and not taken
// stays as it is, and every answer has its request.
module sluice_axil_checker (
    input logic        clk_i,
    input logic        rst_ni,
    input logic [11:0] awaddr,
    input logic        awvalid,
    input logic        awready,
    input logic [31:0] wdata,
    input logic [3:0]  wstrb,
    input logic        wvalid,
    input logic        wready,
    input logic [1:0]  bresp,
    input logic        bvalid,
    input logic        bready,
    input logic [11:0] araddr,
    input logic        arvalid,
    input logic        arready,
    input logic [31:0] rdata,
    input logic [1:0]  rresp,
    input logic        rvalid,
    input logic        rready
);
  logic was_reset_q = 1'b0;
  logic aw_held_q, w_held_q, b_held_q, ar_held_q, r_held_q;
  logic [11:0] awaddr_q, araddr_q;
  logic [31:0] wdata_q, rdata_q;
  logic [3:0] wstrb_q;
  logic [1:0] bresp_q, rresp_q;
  logic [3:0] addresses_q, data_q, reads_q;  // taken and not answered

  always_ff @(posedge clk_i) begin
    was_reset_q <= !rst_ni;
    if (!rst_ni) begin
      {aw_held_q, w_held_q, b_held_q, ar_held_q, r_held_q} <= 5'd0;
      {addresses_q, data_q, reads_q}                       <= 12'd0;
    end else begin
      aw_held_q   <= awvalid && !awready;
      w_held_q    <= wvalid && !wready;
      b_held_q    <= bvalid && !bready;
      ar_held_q   <= arvalid && !arready;
      r_held_q    <= rvalid && !rready;
      addresses_q <= addresses_q + 4'(awvalid && awready) - 4'(bvalid && bready);
      data_q      <= data_q + 4'(wvalid && wready) - 4'(bvalid && bready);
      reads_q     <= reads_q + 4'(arvalid && arready) - 4'(rvalid && rready);
    end
  end
  always_ff @(posedge clk_i) begin
    if (awvalid && !awready) awaddr_q <= awaddr;
    if (wvalid && !wready) {wdata_q, wstrb_q} <= {wdata, wstrb};
    if (bvalid && !bready) bresp_q <= bresp;
    if (arvalid && !arready) araddr_q <= araddr;
    if (rvalid && !rready) {rdata_q, rresp_q} <= {rdata, rresp};
  end

  always_ff @(posedge clk_i) begin
    if (was_reset_q) begin
      l_reset_silent: assert (!bvalid && !rvalid);
    end
    if (rst_ni && !was_reset_q) begin
      if (aw_held_q) begin
        l_aw_stable: assert (awvalid && awaddr == awaddr_q);
      end
      if (w_held_q) begin
        l_w_stable: assert (wvalid && wdata == wdata_q && wstrb == wstrb_q);
      end
      if (b_held_q) begin
        l_b_stable: assert (bvalid && bresp == bresp_q);
      end
      if (ar_held_q) begin
        l_ar_stable: assert (arvalid && araddr == araddr_q);
      end
      if (r_held_q) begin
        l_r_stable: assert (rvalid && rdata == rdata_q && rresp == rresp_q);
      end
      if (bvalid) begin
        l_b_has_write: assert (addresses_q != '0 && data_q != '0);
        l_b_response: assert (!bresp[0]);
      end
      if (rvalid) begin
        l_r_has_read: assert (reads_q != '0);
      end
    end
  end
endmodule
