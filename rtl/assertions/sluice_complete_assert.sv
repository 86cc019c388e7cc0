// SPDX-License-Identifier: Apache-2.0
// What must hold in every cycle of every simulation. Bound to the modules, so that these stay free of it.
// tests/rtl/quiescence_test.cpp shows that the assertions are alive.

module sluice_complete_assert (
    input logic        clk_i,
    input logic        rst_ni,
    input logic        send,
    input logic [15:0] tail_q,
    input logic [15:0] cq_head_i,
    input logic [15:0] size
);
  // A full completion ring is never written over.
  CompletionHasRoom: assert property (@(posedge clk_i) disable iff (!rst_ni) send |-> (tail_q - cq_head_i) < size);
endmodule

bind sluice_complete sluice_complete_assert u_assert (
    .clk_i, .rst_ni, .send, .tail_q, .cq_head_i, .size
);
