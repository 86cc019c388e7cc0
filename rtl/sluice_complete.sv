// SPDX-License-Identifier: Apache-2.0
// Writes completions to the completion ring. The phase bit is 1 on the first pass over the ring and flips on each pass,
// so software finds new entries by reading memory. A full ring (software has not moved cq_head) holds jobs back.
module sluice_complete (
    input  logic                      clk_i,
    input  logic                      rst_ni,
    input  logic [3:0]                ring_log2_i,
    input  logic [63:0]               cq_base_i,
    input  logic                      start_i,
    input  logic [15:0]               cq_head_i,
    output logic [15:0]               cq_tail_o,
    output logic                      fault_o,
    output logic                      idle_o,

    input  sluice_pkg::completion_t   done_i,
    input  logic                      done_valid_i,
    output logic                      done_ready_o,

    output sluice_pkg::burst_t        write_o,
    output logic                      write_valid_o,
    input  logic                      write_ready_i,
    input  logic                      response_i,
    input  logic                      response_bad_i,
    output logic                      written_o       // one cycle: a completion has reached memory
);
  logic [15:0] tail_q, size, index, unanswered_q;
  logic fault_q, send;
  sluice_pkg::completion_t entry;

  assign size          = 16'd1 << ring_log2_i;
  assign index         = tail_q & (size - 16'd1);
  assign write_valid_o = done_valid_i && (tail_q - cq_head_i) != size;
  assign send          = write_valid_o && write_ready_i;
  assign done_ready_o  = send;
  assign cq_tail_o     = tail_q;
  assign fault_o       = fault_q;
  assign idle_o        = unanswered_q == 16'd0;
  assign written_o     = response_i && !response_bad_i;

  always_comb begin
    entry           = done_i;
    entry.phase     = (tail_q & size) == 16'd0;
    write_o.address = cq_base_i + {44'd0, index, 4'd0};
    write_o.bytes   = sluice_pkg::BurstBytesWidth'(sluice_pkg::CompletionBytes);
    write_o.data    = entry;
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      tail_q       <= '0;
      unanswered_q <= '0;
      fault_q      <= 1'b0;
    end else begin
      if (send) tail_q <= tail_q + 16'd1;
      unanswered_q <= unanswered_q + 16'(send) - 16'(response_i);
      if (response_i && response_bad_i) fault_q <= 1'b1;
      if (start_i) begin
        tail_q  <= '0;
        fault_q <= 1'b0;
      end
    end
  end
endmodule
