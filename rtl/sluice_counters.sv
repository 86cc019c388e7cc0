// SPDX-License-Identifier: Apache-2.0
// The 64-bit counters of the engine and its queues, eight each, in one memory. Events are gathered in short counters;
// one of these is added to the memory in each cycle, in turn; a read takes the place of a turn. A counter lags by at most
// twice 8 * (NUM_QUEUES + 1) cycles.
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
    input  logic [NUM_QUEUES*42-1:0] skipped_bytes_i,  // 0 when none were

    input  logic                     read_i,           // not in two cycles on end
    input  logic [INDEX_W-1:0]       read_index_i,     // block * 8 + counter; the engine is block NUM_QUEUES
    output logic [63:0]              value_o,
    output logic                     known_o           // every counter has started anew since the reset
);
  localparam int unsigned Blocks = NUM_QUEUES + 1;
  localparam int unsigned BlockW = $clog2(Blocks);
  localparam int unsigned ShortW = $clog2(Blocks * 16 + 1);  // one event a cycle for a round with reads
  localparam int unsigned BeatsW = 15;
  localparam int unsigned BytesW = 48;
  localparam logic [2:0] BeatCounter = 3'd3;  // of a queue
  localparam logic [2:0] ByteCounter = 3'd4;

  logic [63:0] mem_q[0:Blocks*8-1];
  logic [BlockW-1:0] block_q;
  logic [2:0] counter_q;
  logic [INDEX_W-1:0] turn, turn1_q, address;
  logic valid1_q, first_round_q, old_known1_q;
  logic [63:0] old1_q;
  logic [BytesW-1:0] amount1_q;

  // In the sums the operand that may be masked comes second: the first one then needs no logic of its own before the carry
  // chain.
  for (genvar b = 0; b < Blocks; b++) begin : g_block
    logic mine;
    logic [7:0] events, clear;
    logic [8*ShortW-1:0] short_q, ones;
    logic [ShortW-1:0] count;               // of the short counter whose turn it is
    logic [BytesW-1:0] own_amount, amount;  // amount: of the blocks so far

    assign mine = block_q == BlockW'(b) && !read_i;
    assign clear = {8{!rst_ni}} | (mine ? 8'd1 << counter_q : 8'd0);
    always_ff @(posedge clk_i) begin
      if (events != '0) short_q <= short_q + ones;
      for (int unsigned e = 0; e < 8; e++) begin
        if (clear[e]) short_q[e*ShortW+:ShortW] <= '0;  // its event of this cycle goes along
      end
    end
    // No short counter runs over into the next: one addition serves all eight.
    for (genvar e = 0; e < 8; e++) begin : g_event
      assign ones[e*ShortW+:ShortW] = ShortW'(events[e]);
    end

    always_comb begin
      count = '0;
      if (mine) begin
        for (int unsigned e = 0; e < 8; e++) begin
          if (counter_q == 3'(e)) count = count | short_q[e*ShortW+:ShortW];
        end
        count = count + ShortW'(events[counter_q]);
      end
    end

    if (b == NUM_QUEUES) begin : g_engine
      assign events     = engine_i;
      assign own_amount = BytesW'(count);
    end else begin : g_queue
      logic [BeatsW-1:0] beats_q;
      logic [BytesW-1:0] bytes_q;
      logic take_beats, take_bytes, burst_q;
      logic [8:0] burst_beats_q;
      assign events     = {queue_i[b*6], queue_i[b*6+1], queue_i[b*6+2], 2'b00, queue_i[b*6+3], queue_i[b*6+4],
                           queue_i[b*6+5]};
      assign take_beats = mine && counter_q == BeatCounter;
      assign take_bytes = mine && counter_q == ByteCounter;
      always_ff @(posedge clk_i) begin
        if (!rst_ni) begin
          beats_q <= '0;
          bytes_q <= '0;
          burst_q <= 1'b0;
        end else begin
          burst_q <= burst_i[b];
          if (take_beats || burst_q) begin
            beats_q <= BeatsW'(burst_beats_q) + (take_beats ? '0 : beats_q);
          end
          if (take_bytes || skipped_i[b]) begin
            bytes_q <= BytesW'(skipped_bytes_i[b*42+:42]) + (take_bytes ? '0 : bytes_q);
          end
        end
      end
      always_ff @(posedge clk_i) begin
        burst_beats_q <= burst_i[b] ? {1'b0, burst_last_beat_i} + 9'd1 : '0;
      end
      assign own_amount = take_beats ? BytesW'(beats_q) : take_bytes ? bytes_q :
                          BytesW'(count);
    end

    if (b == 0) begin : g_first
      assign amount = mine ? own_amount : '0;
    end else begin : g_next
      assign amount = mine ? own_amount : g_block[b-1].amount;
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      block_q       <= '0;
      counter_q     <= '0;
      first_round_q <= 1'b1;
      valid1_q      <= 1'b0;
    end else begin
      valid1_q  <= !read_i;
      if (!read_i) counter_q <= counter_q + 3'd1;
      if (!read_i && counter_q == 3'd7) begin
        block_q <= (block_q == BlockW'(NUM_QUEUES)) ? '0 : block_q + BlockW'(1);
        if (block_q == BlockW'(NUM_QUEUES)) first_round_q <= 1'b0;
      end
    end
  end
  assign turn    = INDEX_W'({block_q, counter_q});
  assign address = read_i ? read_index_i : turn;
  // The first round after a reset starts every counter anew.
  always_ff @(posedge clk_i) begin
    turn1_q      <= turn;
    amount1_q    <= g_block[NUM_QUEUES].amount;
    old1_q       <= mem_q[address];
    old_known1_q <= !first_round_q;
    if (valid1_q) mem_q[turn1_q] <= 64'(amount1_q) + (old_known1_q ? old1_q : 64'd0);
  end
  assign value_o = mem_q[address];
  assign known_o = old_known1_q;
endmodule
