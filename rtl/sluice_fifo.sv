// SPDX-License-Identifier: Apache-2.0
// A FIFO with a registered output: what was pushed into an empty FIFO is visible at data_o one cycle later, without the
// bypass two cycles later (and for less logic). Holds DEPTH entries. count_o is exact.
module sluice_fifo #(
    parameter int unsigned WIDTH   = 8,
    parameter int unsigned DEPTH   = 4,   // a power of two, at least 2
    parameter bit          BYPASS  = 1'b1,
    parameter int unsigned COUNT_W = $clog2(DEPTH) + 1
) (
    input  logic               clk_i,
    input  logic               rst_ni,
    input  logic               push_i,
    input  logic [WIDTH-1:0]   data_i,
    output logic               ready_o,
    output logic               valid_o,
    output logic [WIDTH-1:0]   data_o,
    input  logic               pop_i,
    output logic [COUNT_W-1:0] count_o
);
  localparam int unsigned PtrW = $clog2(DEPTH);

  // The output register holds the head; the memory holds what comes behind it.
  // Without the bypass it is read as a block RAM is, which pays from some size on.
  (* ram_style = (!BYPASS && WIDTH * DEPTH >= 2048) ? "block" : "auto" *) logic [WIDTH-1:0] mem_q[0:DEPTH-1];
  logic [PtrW-1:0] head_q, tail_q;
  logic [COUNT_W-1:0] count_q;
  logic full_q, valid_q, behind, push, pop, to_output, refill;
  logic [WIDTH-1:0] data_q;

  assign ready_o   = !full_q;
  assign valid_o   = valid_q;
  assign data_o    = data_q;
  assign count_o   = count_q;
  assign push      = push_i && !full_q;
  assign pop       = pop_i && valid_q;
  assign behind    = head_q != tail_q;
  assign refill    = behind && (pop || !valid_q);
  assign to_output = BYPASS && push && !behind && (pop || !valid_q);

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      head_q  <= '0;
      tail_q  <= '0;
      count_q <= '0;
      full_q  <= 1'b0;
      valid_q <= 1'b0;
    end else if (push || pop || refill) begin
      if (push && !to_output) tail_q <= tail_q + PtrW'(1);
      if (refill) head_q <= head_q + PtrW'(1);
      if (pop || !valid_q) valid_q <= refill || to_output;
      if (push != pop) begin
        count_q <= count_q + (push ? COUNT_W'(1) : {COUNT_W{1'b1}});  // one adder for both directions
        full_q  <= push && count_q == COUNT_W'(DEPTH - 1);
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (push && !to_output) mem_q[tail_q] <= data_i;
    if (to_output) data_q <= data_i;
    else if (refill) data_q <= mem_q[head_q];
  end
endmodule
