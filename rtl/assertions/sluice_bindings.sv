// SPDX-License-Identifier: Apache-2.0
// What must hold in every cycle of every simulation. Bound to the modules, so that these stay free of it.
// tests/rtl/assertions_test.cpp shows that the assertions are alive.

bind scrub sluice_axi_checker #(
    .DATA_WIDTH(DATA_WIDTH), .ADDR_WIDTH(ADDR_WIDTH), .ID_WIDTH(ID_WIDTH)
) u_m00_checker (
    .clk_i(ap_clk), .rst_ni(ap_rst_n), .awid(m00_axi_awid), .awaddr(m00_axi_awaddr), .awlen(m00_axi_awlen),
    .awsize(m00_axi_awsize), .awburst(m00_axi_awburst), .awvalid(m00_axi_awvalid), .awready(m00_axi_awready),
    .wdata(m00_axi_wdata), .wstrb(m00_axi_wstrb), .wlast(m00_axi_wlast), .wvalid(m00_axi_wvalid),
    .wready(m00_axi_wready), .bvalid(m00_axi_bvalid), .bready(m00_axi_bready), .arid(m00_axi_arid),
    .araddr(m00_axi_araddr), .arlen(m00_axi_arlen), .arsize(m00_axi_arsize), .arburst(m00_axi_arburst),
    .arvalid(m00_axi_arvalid), .arready(m00_axi_arready), .rvalid(m00_axi_rvalid), .rlast(m00_axi_rlast),
    .rready(m00_axi_rready)
);
bind scrub sluice_axi_checker #(
    .DATA_WIDTH(DATA_WIDTH), .ADDR_WIDTH(ADDR_WIDTH), .ID_WIDTH(ID_WIDTH)
) u_m01_checker (
    .clk_i(ap_clk), .rst_ni(ap_rst_n), .awid(m01_axi_awid), .awaddr(m01_axi_awaddr), .awlen(m01_axi_awlen),
    .awsize(m01_axi_awsize), .awburst(m01_axi_awburst), .awvalid(m01_axi_awvalid), .awready(m01_axi_awready),
    .wdata(m01_axi_wdata), .wstrb(m01_axi_wstrb), .wlast(m01_axi_wlast), .wvalid(m01_axi_wvalid),
    .wready(m01_axi_wready), .bvalid(m01_axi_bvalid), .bready(m01_axi_bready), .arid(m01_axi_arid),
    .araddr(m01_axi_araddr), .arlen(m01_axi_arlen), .arsize(m01_axi_arsize), .arburst(m01_axi_arburst),
    .arvalid(m01_axi_arvalid), .arready(m01_axi_arready), .rvalid(m01_axi_rvalid), .rlast(m01_axi_rlast),
    .rready(m01_axi_rready)
);

bind scrub sluice_axil_checker u_control_checker (
    .clk_i(ap_clk), .rst_ni(ap_rst_n), .awaddr(s_axi_control_awaddr), .awvalid(s_axi_control_awvalid),
    .awready(s_axi_control_awready), .wdata(s_axi_control_wdata), .wstrb(s_axi_control_wstrb),
    .wvalid(s_axi_control_wvalid), .wready(s_axi_control_wready), .bresp(s_axi_control_bresp),
    .bvalid(s_axi_control_bvalid), .bready(s_axi_control_bready), .araddr(s_axi_control_araddr),
    .arvalid(s_axi_control_arvalid), .arready(s_axi_control_arready), .rdata(s_axi_control_rdata),
    .rresp(s_axi_control_rresp), .rvalid(s_axi_control_rvalid), .rready(s_axi_control_rready)
);

// The package states the width of a burst, because yosys cannot take $bits of a type.
module sluice_width_assert;
  initial assert ($bits(sluice_pkg::burst_t) == sluice_pkg::BurstBits);
endmodule
bind scrub sluice_width_assert u_width_assert ();

// What each queue breaks in this cycle, a bit for each rule. The rules are asserted once for all queues, by
// sluice_queues_assert: a queue's code is then the same for each of its instances, and the simulator has it once.
module sluice_queue_rules (
    input logic        rst_ni,
    input logic        quarantine,
    input logic        retire,
    input logic        is_burst,
    input logic        answer_known,
    input logic        entry_valid,
    input logic        room,
    input logic        answer_valid,
    input logic        quiet,
    input logic        burst_valid,
    input logic [63:0] address,
    input logic [12:0] bytes,
    input logic [63:0] window_base,
    input logic [63:0] window_limit,
    input logic        stop
);
  logic [6:0] broken;
  logic [63:0] last_byte;
  assign last_byte = address + 64'(bytes) - 64'd1;
  always_comb begin
    broken    = '0;
    broken[0] = retire && is_burst && !quarantine && !answer_known;
    broken[1] = entry_valid && !room;
    broken[2] = answer_valid && quiet;
    if (burst_valid) begin
      broken[3] = bytes == '0;
      broken[4] = {1'b0, address[11:0]} + bytes > 13'd4096;
      broken[5] = stop;
      broken[6] = address < window_base || last_byte > window_limit || last_byte < address;
    end
    if (!rst_ni) broken = '0;
  end
endmodule
bind sluice_queue sluice_queue_rules u_rules (
    .rst_ni(run_ni), .quarantine, .retire(u_track.retire), .is_burst(u_track.head.is_burst),
    .answer_known(u_track.answer_known), .entry_valid, .room, .answer_valid, .quiet, .burst_valid(burst_valid_o),
    .address(burst_o.address), .bytes(burst_o.bytes), .window_base(setup.window_base),
    .window_limit(setup.window_limit), .stop(u_split.stop)
);

module sluice_queues_assert #(
    parameter int unsigned NUM_QUEUES = 4
) (
    input logic clk_i
);
  for (genvar q = 0; q < NUM_QUEUES; q++) begin : g_queue_rules
    logic [6:0] broken;
    assign broken = scrub.g_queue[q].u_queue.u_rules.broken;
    always_ff @(posedge clk_i) begin
      if (broken != '0) begin
        // Promise 2: an entry leaves only when its burst has been answered.
        EndedJobHasNoWriteUnderWay: assert (!broken[0]);
        // Promise 3: no entry is lost for want of room, and no answer is a stranger.
        EntryHasRoom: assert (!broken[1]);
        AnswerHasBurst: assert (!broken[2]);
        BurstIsNotEmpty: assert (!broken[3]);
        BurstStaysInPage: assert (!broken[4]);
        NoBurstAfterStop: assert (!broken[5]);
        // Promise 7.
        BurstStaysInWindow: assert (!broken[6]);
      end
    end
  end
endmodule
bind scrub sluice_queues_assert #(
    .NUM_QUEUES(NUM_QUEUES)
) u_queues_assert (
    .clk_i(ap_clk)
);

module sluice_complete_assert #(
    parameter int unsigned NUM_QUEUES = 4
) (
    input logic                  clk_i,
    input logic                  rst_ni,
    input logic [NUM_QUEUES-1:0] post,
    input logic [NUM_QUEUES-1:0] full_o,
    input logic [NUM_QUEUES-1:0] done_valid_i
);
  // A full completion ring is never written over, and nothing is posted that was not done.
  CompletionHasRoom: assert property (@(posedge clk_i) disable iff (!rst_ni) (post & full_o) == '0);
  CompletionIsOne: assert property (@(posedge clk_i) disable iff (!rst_ni) (post & ~done_valid_i) == '0);
endmodule
bind sluice_complete sluice_complete_assert #(
    .NUM_QUEUES(NUM_QUEUES)
) u_assert (
    .clk_i, .rst_ni, .post, .full_o, .done_valid_i
);
