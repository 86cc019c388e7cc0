// SPDX-License-Identifier: Apache-2.0
// What must hold in every cycle of every simulation. Bound to the modules, so that these stay free of it.
// tests/rtl/quiescence_test.cpp shows that the assertions are alive.

module sluice_split_assert (
    input logic        clk_i,
    input logic        rst_ni,
    input logic [11:0] page_offset,
    input logic [12:0] bytes,
    input logic        burst_valid_o,
    input logic        cancel_hit_i,
    input logic        error_hit_i
);
  BurstIsNotEmpty: assert property (@(posedge clk_i) disable iff (!rst_ni) burst_valid_o |-> bytes != '0);
  BurstStaysInPage: assert property (@(posedge clk_i) disable iff (!rst_ni) burst_valid_o |-> ({1'b0, page_offset} + bytes <= 13'd4096));
  NoBurstAfterStop: assert property (@(posedge clk_i) disable iff (!rst_ni)
                                     (cancel_hit_i || error_hit_i) |-> !burst_valid_o);
endmodule

bind sluice_split sluice_split_assert u_assert (
    .clk_i, .rst_ni, .page_offset(burst_o.address[11:0]), .bytes(burst_o.bytes), .burst_valid_o, .cancel_hit_i, .error_hit_i
);
