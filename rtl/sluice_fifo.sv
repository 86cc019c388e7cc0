// SPDX-License-Identifier: Apache-2.0
// A show-ahead FIFO: what was pushed is visible at data_o one cycle later.
module sluice_fifo #(
    parameter int unsigned WIDTH = 8,
    parameter int unsigned DEPTH = 4   // a power of two
) (
    input  logic             clk_i,
    input  logic             rst_ni,
    input  logic             push_i,
    input  logic [WIDTH-1:0] data_i,
    output logic             ready_o,
    output logic             valid_o,
    output logic [WIDTH-1:0] data_o,
    input  logic             pop_i
);
  localparam int unsigned PtrW = $clog2(DEPTH);

  logic [WIDTH-1:0] mem_q[0:DEPTH-1];
  logic [PtrW:0] head_q, tail_q;

  assign valid_o = head_q != tail_q;
  assign ready_o = (tail_q - head_q) != (PtrW + 1)'(DEPTH);
  assign data_o  = mem_q[head_q[PtrW-1:0]];

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      head_q <= '0;
      tail_q <= '0;
    end else begin
      if (push_i && ready_o) tail_q <= tail_q + (PtrW + 1)'(1);
      if (pop_i && valid_o) head_q <= head_q + (PtrW + 1)'(1);
    end
  end

  always_ff @(posedge clk_i) begin
    if (push_i && ready_o) mem_q[tail_q[PtrW-1:0]] <= data_i;
  end
endmodule
