// SPDX-License-Identifier: Apache-2.0
// A completion ring is never overrun, whatever software frees and whenever, and what is sent is what was done: every
// completion that a queue hands over is in exactly one line that leaves.
module sluice_complete_proof (
    input logic       clk,
    input logic       rst_n,
    input logic [1:0] done_valid,
    input logic       line_taken,
    input logic       line_pop,
    input logic       answer,
    input logic [1:0] frees
);
  logic [31:0] freed, tail;
  logic [1:0] fault, unanswered, full, ready, written;
  logic line_valid;
  logic [63:0] line_address;
  logic [511:0] line_data;
  logic [63:0] line_strobe;
  logic [3:0] written_count;
  logic [4:0] in_ring_0, in_ring_1;  // posted and not freed
  logic [4:0] handed, sent, asked_lines, sent_lines, answered_lines;

  assign freed = {15'd0, frees[1], 15'd0, frees[0]};

  sluice_complete #(
      .NUM_QUEUES(2),
      .QUEUE_W   (1),
      .LINES     (2)
  ) dut (
      .clk_i(clk), .rst_ni(rst_n), .start_i(2'b00), .ring_log2_i({4'd2, 4'd1}), .cq_base_i(128'd0), .freed_i(freed),
      .cq_tail_o(tail), .fault_o(fault), .unanswered_o(unanswered), .full_o(full), .done_i(256'd0),
      .done_valid_i(done_valid), .done_ready_o(ready), .line_valid_o(line_valid), .line_address_o(line_address),
      .line_taken_i(line_taken), .line_data_o(line_data), .line_strobe_o(line_strobe), .line_pop_i(line_pop),
      .answer_i(answer), .answer_bad_i(1'b0), .written_o(written), .written_count_o(written_count)
  );

  logic started = 1'b0;
  always @(posedge clk) started <= 1'b1;
  always @(*) begin
    if (!started) assume (!rst_n);
    else assume (rst_n);
    if (frees[0]) assume (in_ring_0 != 5'd0);
    if (frees[1]) assume (in_ring_1 != 5'd0);
    // What the write master does.
    if (line_taken) assume (line_valid);
    if (line_pop) assume (asked_lines != sent_lines);
    if (answer) assume (sent_lines != answered_lines);
  end

  logic [4:0] lanes;
  assign lanes = {4'd0, line_strobe[0]} + {4'd0, line_strobe[16]} + {4'd0, line_strobe[32]} + {4'd0, line_strobe[48]};
  always @(posedge clk) begin
    if (!rst_n) begin
      in_ring_0      <= 5'd0;
      in_ring_1      <= 5'd0;
      handed         <= 5'd0;
      sent           <= 5'd0;
      asked_lines    <= 5'd0;
      sent_lines     <= 5'd0;
      answered_lines <= 5'd0;
    end else begin
      in_ring_0      <= in_ring_0 + {4'd0, ready[0]} - {4'd0, frees[0]};
      in_ring_1      <= in_ring_1 + {4'd0, ready[1]} - {4'd0, frees[1]};
      handed         <= handed + {4'd0, ready[0]} + {4'd0, ready[1]};
      sent           <= sent + (line_pop ? lanes : 5'd0);
      asked_lines    <= asked_lines + {4'd0, line_taken};
      sent_lines     <= sent_lines + {4'd0, line_pop};
      answered_lines <= answered_lines + {4'd0, answer};
    end
  end

  (* hierconn *) wire [1:0] \dut.used_q ;
  always @(posedge clk) begin
    if (started && rst_n) begin
      assert (ready == 2'b00 || ready == 2'b01 || ready == 2'b10);
      assert ((ready & ~done_valid) == 2'b00);
      assert (in_ring_0 <= 5'd2 && in_ring_1 <= 5'd4);
      if (line_pop) assert (lanes != 5'd0);
      if (dut.used_q == 2'b00) assert (handed == sent);
    end
  end
endmodule
