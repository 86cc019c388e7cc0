// SPDX-License-Identifier: Apache-2.0
// Compares what was read with the pattern of its queue, a beat a cycle, and answers each burst with the first byte that
// differs. Bursts of different queues may come interleaved; those of one queue are in order, with one pattern at a time.
module sluice_verify #(
    parameter int unsigned DATA_WIDTH = 512,
    parameter int unsigned NUM_QUEUES = 4,
    parameter int unsigned READS      = 32   // bursts of a queue under way at most
) (
    input  logic                     clk_i,
    input  logic                     rst_ni,
    input  sluice_pkg::burst_t       burst_i,
    input  logic [NUM_QUEUES-1:0]    burst_valid_i,   // of which queue
    output logic [NUM_QUEUES-1:0]    room_o,
    input  logic [NUM_QUEUES-1:0]    beat_valid_i,
    input  logic [DATA_WIDTH-1:0]    beat_i,
    input  logic [1:0]               beat_code_i,
    input  logic                     beat_last_i,
    output sluice_pkg::answer_t      answer_o,
    output logic [NUM_QUEUES-1:0]    answer_valid_o
);
  localparam int unsigned BusBytes = DATA_WIDTH / 8;
  localparam int unsigned BytesW = sluice_pkg::BurstBytesWidth;
  localparam logic [3:0] None = 4'(sluice_ring_pkg::CauseNone);

  // Where the bursts under way begin and end in their first and last beat.
  logic [NUM_QUEUES*14-1:0] lanes;
  logic [NUM_QUEUES*64-1:0] patterns_q;
  logic [NUM_QUEUES-1:0] first_beat_q, unused_known;
  for (genvar q = 0; q < NUM_QUEUES; q++) begin : g_queue
    logic [$clog2(READS):0] unused_count;
    sluice_fifo #(
        .WIDTH (14),
        .DEPTH (READS),
        .BYPASS(1'b0)  // data come two cycles later at the earliest
    ) u_lanes (
        .clk_i, .rst_ni,
        .push_i(burst_valid_i[q]), .data_i({burst_i.first_lane, burst_i.last_lane}), .ready_o(room_o[q]),
        .valid_o(unused_known[q]), .data_o(lanes[q*14+:14]), .pop_i(beat_valid_i[q] && beat_last_i),
        .count_o(unused_count)
    );
    always_ff @(posedge clk_i) begin
      if (!rst_ni) first_beat_q[q] <= 1'b1;
      else if (beat_valid_i[q]) first_beat_q[q] <= beat_last_i;
    end
    always_ff @(posedge clk_i) begin
      if (burst_valid_i[q]) patterns_q[q*64+:64] <= burst_i.pattern;
    end
  end

  // First stage: which bytes differ.
  logic [6:0] first_lane, last_lane;
  logic [63:0] pattern;
  logic [BusBytes-1:0] looked_at;
  always_comb begin
    first_lane = 'x;
    last_lane  = 'x;
    pattern    = 'x;
    looked_at  = 'x;
    if (beat_valid_i != '0) begin
      // The first queue's, if it is no other's.
      first_lane = ((beat_valid_i >> 1) == '0 && first_beat_q[0]) ? lanes[13:7] : 7'd0;
      last_lane  = ((beat_valid_i >> 1) == '0 && beat_last_i) ? lanes[6:0] : 7'd0;
      pattern    = ((beat_valid_i >> 1) == '0) ? patterns_q[63:0] : 64'd0;
      for (int unsigned q = 1; q < NUM_QUEUES; q++) begin
        if (beat_valid_i[q]) begin
          first_lane = first_lane | (first_beat_q[q] ? lanes[q*14+7+:7] : 7'd0);
          last_lane  = last_lane | (beat_last_i ? lanes[q*14+:7] : 7'd0);
          pattern    = pattern | patterns_q[q*64+:64];
        end
      end
      if (!beat_last_i) last_lane = 7'(BusBytes - 1);
      looked_at = BusBytes'(sluice_pkg::lanes_between(first_lane, last_lane));
    end
  end
  logic [NUM_QUEUES-1:0] valid1_q;
  logic [BusBytes-1:0] differs1_q;
  logic [6:0] first_lane1_q, last_lane1_q;
  logic [1:0] code1_q;
  logic last1_q;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) valid1_q <= '0;
    else valid1_q <= beat_valid_i;
  end
  always_ff @(posedge clk_i) begin
    if (beat_valid_i != '0) begin
      first_lane1_q <= first_lane;
      last_lane1_q  <= last_lane;
      code1_q       <= beat_code_i;
      last1_q       <= beat_last_i;
      for (int unsigned lane = 0; lane < BusBytes; lane++) begin
        differs1_q[lane] <= looked_at[lane] && beat_i[lane*8+:8] != pattern[(lane%8)*8+:8];
      end
    end
  end

  // Second stage: in which groups of eight bytes they are.
  logic [NUM_QUEUES-1:0] valid2_q;
  logic [BusBytes-1:0] differs2_q;
  logic [BusBytes/8-1:0] groups2_q;
  logic [6:0] first_lane2_q, last_lane2_q;
  logic [1:0] code2_q;
  logic last2_q;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) valid2_q <= '0;
    else valid2_q <= valid1_q;
  end
  always_ff @(posedge clk_i) begin
    if (valid1_q != '0) begin
      differs2_q    <= differs1_q;
      first_lane2_q <= first_lane1_q;
      last_lane2_q  <= last_lane1_q;
      code2_q       <= code1_q;
      last2_q       <= last1_q;
      for (int unsigned g = 0; g < BusBytes / 8; g++) groups2_q[g] <= differs1_q[g*8+:8] != 8'd0;
    end
  end

  // Third stage: where the first of them is.
  logic [NUM_QUEUES-1:0] valid3_q;
  logic last3_q;
  logic [3:0] cause3_q;
  logic [6:0] first_lane3_q;
  logic [7:0] end3_q;  // the lane behind the last good byte
  logic [3:0] first_group;
  logic [7:0] group;
  logic [2:0] first_in_group;
  logic any_differs;
  always_comb begin
    first_group    = '0;
    first_in_group = '0;
    group          = '0;
    any_differs    = groups2_q != '0;
    if (valid2_q != '0 && any_differs) begin
      for (int g = BusBytes / 8 - 1; g >= 0; g--) begin
        if (groups2_q[g]) first_group = 4'(g);
      end
      group = differs2_q[32'(first_group)*8+:8];
      for (int lane = 7; lane >= 0; lane--) begin
        if (group[lane]) first_in_group = 3'(lane);
      end
    end
  end
  always_ff @(posedge clk_i) begin
    if (!rst_ni) valid3_q <= '0;
    else valid3_q <= valid2_q;
  end
  always_ff @(posedge clk_i) begin
    if (valid2_q != '0) begin
      last3_q       <= last2_q;
      first_lane3_q <= first_lane2_q;
      end3_q        <= any_differs ? 8'({first_group, first_in_group}) : 8'(last_lane2_q) + 8'd1;
      if (code2_q[1]) cause3_q <= code2_q[0] ? 4'(sluice_ring_pkg::CauseDecodeError) : 4'(sluice_ring_pkg::CauseSlaveError);
      else cause3_q <= any_differs ? 4'(sluice_ring_pkg::CauseMismatch) : None;
    end
  end

  // Fourth stage: how many good bytes the beat has.
  logic [NUM_QUEUES-1:0] valid4_q;
  logic last4_q;
  logic [3:0] cause4_q;
  logic [7:0] good4_q;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) valid4_q <= '0;
    else valid4_q <= valid3_q;
  end
  always_ff @(posedge clk_i) begin
    if (valid3_q != '0) begin
      last4_q  <= last3_q;
      cause4_q <= cause3_q;
      good4_q  <= (cause3_q == None || cause3_q == 4'(sluice_ring_pkg::CauseMismatch)) ? end3_q - 8'(first_lane3_q) : 8'd0;
    end
  end

  // Fifth stage: add up for the burst. A burst without a cause needs no count.
  logic [NUM_QUEUES*BytesW-1:0] good_q;
  logic [NUM_QUEUES*4-1:0] cause_q;
  logic [BytesW-1:0] good, good_d;
  logic [3:0] cause, cause_d;
  always_comb begin
    good    = '0;
    cause   = None;
    good_d  = 'x;
    cause_d = 'x;
    if (valid4_q != '0) begin
      for (int unsigned q = 0; q < NUM_QUEUES; q++) begin
        if (valid4_q[q]) begin
          good  = good | good_q[q*BytesW+:BytesW];
          cause = cause | cause_q[q*4+:4];
        end
      end
      good_d  = (cause == None) ? good + BytesW'(good4_q) : good;
      cause_d = (cause == None) ? cause4_q : cause;
    end
  end
  for (genvar q = 0; q < NUM_QUEUES; q++) begin : g_sum
    always_ff @(posedge clk_i) begin
      if (!rst_ni) begin
        good_q[q*BytesW+:BytesW] <= '0;
        cause_q[q*4+:4]          <= None;
        answer_valid_o[q]        <= 1'b0;
      end else begin
        answer_valid_o[q] <= valid4_q[q] && last4_q;
        if (valid4_q[q]) begin
          good_q[q*BytesW+:BytesW] <= last4_q ? '0 : good_d;
          cause_q[q*4+:4]          <= last4_q ? None : cause_d;
        end
      end
    end
  end
  always_ff @(posedge clk_i) begin
    if (valid4_q != '0) begin
      answer_o.cause      <= cause_d;
      answer_o.good_bytes <= good_d;
    end
  end
endmodule
