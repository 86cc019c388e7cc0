// SPDX-License-Identifier: Apache-2.0
// The 64-bit counters of the engine and its queues, eight each, in one memory. Events are gathered in short counters;
// one of these is added to the memory in each cycle, in turn. A counter lags by at most 8 * (NUM_QUEUES + 1) cycles.
module sluice_counters #(
    parameter int unsigned NUM_QUEUES = 4,
    parameter int unsigned INDEX_W    = $clog2((NUM_QUEUES + 1) * 8)
) (
    input  logic                     clk_i,
    input  logic                     rst_ni,
    input  logic [7:0]               engine_i,         // events of the engine's counters, in their order
    input  logic [NUM_QUEUES*6-1:0]  queue_i,          // queue_events_t
    input  logic [NUM_QUEUES-1:0]    burst_i,
    input  logic [7:0]               burst_last_beat_i,
    input  logic [NUM_QUEUES-1:0]    skipped_i,
    input  logic [NUM_QUEUES*42-1:0] skipped_bytes_i,

    input  logic [INDEX_W-1:0]       read_index_i,     // block * 8 + counter; the engine is block NUM_QUEUES
    output logic [63:0]              value_o
);
  localparam int unsigned Blocks = NUM_QUEUES + 1;
  localparam int unsigned Total = Blocks * 8;
  localparam int unsigned ShortW = 9;   // one event a cycle for a round of at most 8 * 17 cycles
  localparam int unsigned BeatsW = 14;
  localparam int unsigned BytesW = 48;

  logic [63:0] mem_q[0:Total-1];
  logic [INDEX_W-1:0] turn_q, turn1_q;
  logic valid1_q, first_round_q, old_known1_q;
  logic [63:0] old1_q;
  logic [BytesW-1:0] amount, amount1_q;
  logic [Blocks*8-1:0] is_turn;
  logic [Blocks*6*ShortW-1:0] short_q;
  logic [2*ShortW-1:0] engine_short_q;
  logic [NUM_QUEUES*BeatsW-1:0] beats_q;
  logic [NUM_QUEUES*BytesW-1:0] bytes_q;

  for (genvar i = 0; i < Total; i++) begin : g_turn
    assign is_turn[i] = turn_q == INDEX_W'(i);
  end

  // Short counters 0, 1, 2, 5, 6, 7 of each block; 3 and 4 of a queue count beats and bytes.
  for (genvar b = 0; b < Blocks; b++) begin : g_block
    for (genvar e = 0; e < 6; e++) begin : g_event
      localparam int unsigned Counter = (e < 3) ? e : e + 2;
      logic event_now;
      if (b == NUM_QUEUES) begin : g_engine
        assign event_now = engine_i[Counter];
      end else begin : g_queue
        assign event_now = queue_i[b*6+5-e];
      end
      always_ff @(posedge clk_i) begin
        if (!rst_ni) short_q[(b*6+e)*ShortW+:ShortW] <= '0;
        else if (is_turn[b*8+Counter]) short_q[(b*6+e)*ShortW+:ShortW] <= ShortW'(event_now);
        else short_q[(b*6+e)*ShortW+:ShortW] <= short_q[(b*6+e)*ShortW+:ShortW] + ShortW'(event_now);
      end
    end
  end
  for (genvar e = 0; e < 2; e++) begin : g_engine_event
    always_ff @(posedge clk_i) begin
      if (!rst_ni) engine_short_q[e*ShortW+:ShortW] <= '0;
      else if (is_turn[NUM_QUEUES*8+3+e]) engine_short_q[e*ShortW+:ShortW] <= ShortW'(engine_i[3+e]);
      else engine_short_q[e*ShortW+:ShortW] <= engine_short_q[e*ShortW+:ShortW] + ShortW'(engine_i[3+e]);
    end
  end
  for (genvar q = 0; q < NUM_QUEUES; q++) begin : g_wide
    logic [BeatsW-1:0] beats_now;
    logic [BytesW-1:0] bytes_now;
    assign beats_now = burst_i[q] ? BeatsW'(burst_last_beat_i) + BeatsW'(1) : '0;
    assign bytes_now = skipped_i[q] ? BytesW'(skipped_bytes_i[q*42+:42]) : '0;
    always_ff @(posedge clk_i) begin
      if (!rst_ni) begin
        beats_q[q*BeatsW+:BeatsW] <= '0;
        bytes_q[q*BytesW+:BytesW] <= '0;
      end else begin
        beats_q[q*BeatsW+:BeatsW] <= (is_turn[q*8+3] ? '0 : beats_q[q*BeatsW+:BeatsW]) + beats_now;
        bytes_q[q*BytesW+:BytesW] <= (is_turn[q*8+4] ? '0 : bytes_q[q*BytesW+:BytesW]) + bytes_now;
      end
    end
  end

  always_comb begin
    amount = '0;
    for (int unsigned b = 0; b < Blocks; b++) begin
      for (int unsigned e = 0; e < 6; e++) begin
        if (is_turn[b*8+((e < 3) ? e : e+2)]) amount = amount | BytesW'(short_q[(b*6+e)*ShortW+:ShortW]);
      end
    end
    for (int unsigned e = 0; e < 2; e++) begin
      if (is_turn[NUM_QUEUES*8+3+e]) amount = amount | BytesW'(engine_short_q[e*ShortW+:ShortW]);
    end
    for (int unsigned q = 0; q < NUM_QUEUES; q++) begin
      if (is_turn[q*8+3]) amount = amount | BytesW'(beats_q[q*BeatsW+:BeatsW]);
      if (is_turn[q*8+4]) amount = amount | bytes_q[q*BytesW+:BytesW];
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      turn_q        <= '0;
      first_round_q <= 1'b1;
      valid1_q      <= 1'b0;
    end else begin
      valid1_q <= 1'b1;
      if (turn_q == INDEX_W'(Total - 1)) begin
        turn_q        <= '0;
        first_round_q <= 1'b0;
      end else begin
        turn_q <= turn_q + INDEX_W'(1);
      end
    end
  end
  // The first round after a reset starts every counter anew.
  always_ff @(posedge clk_i) begin
    turn1_q      <= turn_q;
    amount1_q    <= amount;
    old1_q       <= mem_q[turn_q];
    old_known1_q <= !first_round_q;
    if (valid1_q) mem_q[turn1_q] <= (old_known1_q ? old1_q : 64'd0) + 64'(amount1_q);
  end
  assign value_o = mem_q[read_index_i];
endmodule
