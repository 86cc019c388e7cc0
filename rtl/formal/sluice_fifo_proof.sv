// SPDX-License-Identifier: Apache-2.0
// A FIFO loses nothing, invents nothing and keeps the order: two values that were pushed one behind the other, at any
// place in the stream, come out one behind the other. Proved by induction for every depth of run.
module sluice_fifo_proof (
    input logic       clk,
    input logic       rst_n,
    input logic       push,
    input logic [1:0] data,
    input logic       pop
);
  localparam int unsigned Depth = 4;
  localparam bit Bypass = 1'b1;  // proofs.toml proves the other one too
  logic ready, valid;
  logic [1:0] out;
  logic [2:0] count;
  (* hierconn *) wire [1:0] \dut.head_q ;
  (* hierconn *) wire [1:0] \dut.tail_q ;
  (* hierconn *) wire \dut.full_q ;
  (* hierconn *) wire [1:0] \dut.data_q ;

  sluice_fifo #(
      .WIDTH (2),
      .DEPTH (Depth),
      .BYPASS(Bypass)
  ) dut (
      .clk_i(clk), .rst_ni(rst_n), .push_i(push), .data_i(data), .ready_o(ready), .valid_o(valid), .data_o(out),
      .pop_i(pop), .count_o(count)
  );

  logic started = 1'b0;
  always @(posedge clk) started <= 1'b1;
  always @(*) if (!started) assume (!rst_n);

  // A reference: the stream as a shift register, oldest first.
  logic [1:0] model_0, model_1, model_2, model_3;
  logic [2:0] model_count;
  logic does_push, does_pop;
  assign does_push = push && ready;
  assign does_pop  = pop && valid;
  always @(posedge clk) begin
    if (!rst_n) begin
      model_count <= 3'd0;
    end else begin
      model_count <= model_count + {2'd0, does_push} - {2'd0, does_pop};
      if (does_pop) begin
        model_0 <= model_1;
        model_1 <= model_2;
        model_2 <= model_3;
      end
      if (does_push) begin
        case (model_count - {2'd0, does_pop})
          3'd0: model_0 <= data;
          3'd1: model_1 <= data;
          3'd2: model_2 <= data;
          default: model_3 <= data;
        endcase
      end
    end
  end

  // What the memory holds at a distance behind the head.
  (* hierconn *) wire [1:0] \dut.mem_q[0] ;
  (* hierconn *) wire [1:0] \dut.mem_q[1] ;
  (* hierconn *) wire [1:0] \dut.mem_q[2] ;
  (* hierconn *) wire [1:0] \dut.mem_q[3] ;
  logic [7:0] words;
  logic [1:0] behind, word_0, word_1, word_2;
  assign words  = {\dut.mem_q[3] , \dut.mem_q[2] , \dut.mem_q[1] , \dut.mem_q[0] };
  assign behind = dut.tail_q - dut.head_q;
  assign word_0 = words[{dut.head_q, 1'b0}+:2];
  assign word_1 = words[{dut.head_q + 2'd1, 1'b0}+:2];
  assign word_2 = words[{dut.head_q + 2'd2, 1'b0}+:2];

  always @(posedge clk) begin
    if (started && rst_n) begin
      assert (count == model_count);
      assert (count <= 3'(Depth));
      assert (ready == (count != 3'(Depth)));
      assert (dut.full_q == (count == 3'(Depth)));
      assert ({1'b0, behind} + {2'd0, valid} == count);
      assert (valid || behind == 2'd0 || (!Bypass && behind == 2'd1));
      if (valid) begin
        assert (out == model_0);
        if (behind > 2'd0) assert (word_0 == model_1);
        if (behind > 2'd1) assert (word_1 == model_2);
        if (behind > 2'd2) assert (word_2 == model_3);
      end else if (behind != 2'd0) begin
        assert (word_0 == model_0);
      end
    end
  end
endmodule
