// SPDX-License-Identifier: Apache-2.0
// The rules of AXI4 (ARM IHI 0022) that one port shows by itself, for a master with its slave. Bound to every master of
// the engine in simulation; the proofs use it too, so it holds nothing but registers and immediate assertions.
module sluice_axi_checker #(
    parameter int unsigned DATA_WIDTH = 512,
    parameter int unsigned ADDR_WIDTH = 64,
    parameter int unsigned ID_WIDTH   = 3,
    parameter int unsigned AHEAD      = 16   // addresses shown before their data, at most
) (
    input logic                    clk_i,
    input logic                    rst_ni,
    input logic [ID_WIDTH-1:0]     awid,
    input logic [ADDR_WIDTH-1:0]   awaddr,
    input logic [7:0]              awlen,
    input logic [2:0]              awsize,
    input logic [1:0]              awburst,
    input logic                    awvalid,
    input logic                    awready,
    input logic [DATA_WIDTH-1:0]   wdata,
    input logic [DATA_WIDTH/8-1:0] wstrb,
    input logic                    wlast,
    input logic                    wvalid,
    input logic                    wready,
    input logic                    bvalid,
    input logic                    bready,
    input logic [ID_WIDTH-1:0]     arid,
    input logic [ADDR_WIDTH-1:0]   araddr,
    input logic [7:0]              arlen,
    input logic [2:0]              arsize,
    input logic [1:0]              arburst,
    input logic                    arvalid,
    input logic                    arready,
    input logic                    rvalid,
    input logic                    rlast,
    input logic                    rready
);
  localparam int unsigned BusLog2 = $clog2(DATA_WIDTH / 8);
  localparam int unsigned PtrW = $clog2(AHEAD);

  // What was shown and not taken in the cycle before.
  logic was_reset_q = 1'b0;
  logic aw_held_q, w_held_q, ar_held_q;
  logic [ID_WIDTH-1:0] awid_q, arid_q;
  logic [ADDR_WIDTH-1:0] awaddr_q, araddr_q;
  logic [7:0] awlen_q, arlen_q;
  logic [2:0] arsize_q;
  logic [DATA_WIDTH-1:0] wdata_q;
  logic [DATA_WIDTH/8-1:0] wstrb_q;
  logic wlast_q;

  // Lengths of the bursts whose data has not all come, from the moment their address was shown.
  logic [7:0] length_mem_q[0:AHEAD-1];
  logic [PtrW-1:0] shown_q, done_q;
  logic [7:0] beat_q;
  logic shows, data_known;
  logic [7:0] expected_length;
  // Bursts and lines that wait for an answer.
  logic [15:0] writes_q, reads_q;
  logic [12:0] aw_end, ar_end;

  function automatic logic [12:0] awaddr_low_mask(input logic [2:0] size);
    awaddr_low_mask = 13'h1FFF << size;
  endfunction

  assign shows           = awvalid && !aw_held_q;
  assign data_known      = shown_q != done_q;
  assign expected_length = data_known ? length_mem_q[done_q] : awlen;
  // Where in its page the byte behind the burst lies.
  assign aw_end = {1'b0, awaddr[11:BusLog2], {BusLog2{1'b0}}} + (13'({5'd0, awlen} + 13'd1) << BusLog2);
  assign ar_end = 13'((awaddr_low_mask(arsize) & {1'b0, araddr[11:0]}) + (13'({5'd0, arlen} + 13'd1) << arsize));

  always_ff @(posedge clk_i) begin
    was_reset_q <= !rst_ni;
    if (!rst_ni) begin
      aw_held_q <= 1'b0;
      w_held_q  <= 1'b0;
      ar_held_q <= 1'b0;
      shown_q   <= '0;
      done_q    <= '0;
      beat_q    <= '0;
      writes_q  <= '0;
      reads_q   <= '0;
    end else begin
      aw_held_q <= awvalid && !awready;
      w_held_q  <= wvalid && !wready;
      ar_held_q <= arvalid && !arready;
      if (shows) shown_q <= shown_q + PtrW'(1);
      if (wvalid && wready) begin
        beat_q <= wlast ? 8'd0 : beat_q + 8'd1;
        if (wlast) done_q <= done_q + PtrW'(1);
      end
      writes_q <= writes_q + 16'(awvalid && awready) - 16'(bvalid && bready);
      reads_q  <= reads_q + 16'(arvalid && arready) - 16'(rvalid && rready && rlast);
    end
  end
  always_ff @(posedge clk_i) begin
    if (shows) length_mem_q[shown_q] <= awlen;
    if (awvalid && !awready) begin
      awid_q   <= awid;
      awaddr_q <= awaddr;
      awlen_q  <= awlen;
    end
    if (wvalid && !wready) begin
      wdata_q <= wdata;
      wstrb_q <= wstrb;
      wlast_q <= wlast;
    end
    if (arvalid && !arready) begin
      arid_q   <= arid;
      araddr_q <= araddr;
      arlen_q  <= arlen;
      arsize_q <= arsize;
    end
  end

  always_ff @(posedge clk_i) begin
    if (was_reset_q) begin
      a_reset_silent: assert (!awvalid && !wvalid && !arvalid);
    end
    if (rst_ni && !was_reset_q) begin
      if (aw_held_q) begin
        a_aw_stable: assert (awvalid && awid == awid_q && awaddr == awaddr_q && awlen == awlen_q);
      end
      if (w_held_q) begin
        a_w_stable: assert (wvalid && wstrb == wstrb_q && wlast == wlast_q && wdata == wdata_q);
      end
      if (ar_held_q) begin
        a_ar_stable: assert (arvalid && arid == arid_q && araddr == araddr_q && arlen == arlen_q && arsize == arsize_q);
      end
      if (awvalid) begin
        a_aw_incr: assert (awburst == 2'b01 && awsize == 3'(BusLog2));
        a_aw_page: assert (aw_end <= 13'd4096);
      end
      if (arvalid) begin
        a_ar_incr: assert (arburst == 2'b01 && arsize <= 3'(BusLog2));
        a_ar_page: assert (ar_end <= 13'd4096);
      end
      if (wvalid) begin
        a_w_has_address: assert (data_known || shows);
        a_w_last: assert (wlast == (beat_q == expected_length));
        a_w_strobe: assert (wstrb != '0);
      end
      if (shows) begin
        a_aw_ahead: assert (PtrW'(shown_q - done_q) != PtrW'(AHEAD - 1));
      end
      a_ready_for_answers: assert (bready && rready);
    end
  end
endmodule
