// SPDX-License-Identifier: Apache-2.0
// What must hold in every cycle of every simulation. Bound to the modules, so that these stay free of it.
// tests/rtl/quiescence_test.cpp shows that the assertions are alive.

module sluice_track_assert #(
    parameter int unsigned COUNT_WIDTH = 8
) (
    input logic                   clk_i,
    input logic                   rst_ni,
    input logic                   retire,
    input logic [COUNT_WIDTH-1:0] outstanding,
    input logic                   open_i,
    input logic                   open_ready_o,
    input logic                   issue_i,
    input logic                   issue_ready_o,
    input logic                   response_i,
    input logic                   burst_known
);
  // Promise 2: a job ends only when every write that was issued for it has been answered.
  EndedJobHasNoWriteUnderWay: assert property (@(posedge clk_i) disable iff (!rst_ni) retire |-> outstanding == '0);
  // Promise 3: no job and no burst is lost for want of room, and no response is a stranger.
  OpenHasRoom: assert property (@(posedge clk_i) disable iff (!rst_ni) open_i |-> open_ready_o);
  IssueHasRoom: assert property (@(posedge clk_i) disable iff (!rst_ni) issue_i |-> issue_ready_o);
  ResponseHasBurst: assert property (@(posedge clk_i) disable iff (!rst_ni) response_i |-> burst_known);
endmodule

bind sluice_track sluice_track_assert #(
    .COUNT_WIDTH(CountW)
) u_assert (
    .clk_i, .rst_ni, .retire, .outstanding(outstanding_q[head]), .open_i, .open_ready_o, .issue_i, .issue_ready_o,
    .response_i, .burst_known
);
