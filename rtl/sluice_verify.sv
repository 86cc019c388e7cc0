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
  localparam int unsigned LaneW = $clog2(BusBytes);
  localparam int unsigned BytesW = sluice_pkg::BurstBytesWidth;
  localparam logic [3:0] None = 4'(sluice_ring_pkg::CauseNone);

  // Where the bursts under way begin and end in their first and last beat.
  logic [NUM_QUEUES*14-1:0] lanes;
  logic [NUM_QUEUES*64-1:0] patterns_q;
  logic [NUM_QUEUES-1:0] first_beat_q, unused_known;
  for (genvar q = 0; q < NUM_QUEUES; q++) begin : g_queue
    logic [$clog2(READS):0] unused_count;
    sluice_fifo #(
        .WIDTH(14),
        .DEPTH(READS)
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
  always_comb begin
    first_lane = '0;
    last_lane  = '0;
    pattern    = '0;
    if (beat_valid_i != '0) begin
      for (int unsigned q = 0; q < NUM_QUEUES; q++) begin
        if (beat_valid_i[q]) begin
          first_lane = first_lane | (first_beat_q[q] ? lanes[q*14+7+:7] : 7'd0);
          last_lane  = last_lane | (beat_last_i ? lanes[q*14+:7] : 7'(BusBytes - 1));
          pattern    = pattern | patterns_q[q*64+:64];
        end
      end
    end
  end
  logic [NUM_QUEUES-1:0] valid1_q;
  logic [BusBytes-1:0] differs_q;
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
        differs_q[lane] <= LaneW'(lane) >= first_lane[LaneW-1:0] && LaneW'(lane) <= last_lane[LaneW-1:0] &&
                           beat_i[lane*8+:8] != pattern[(lane%8)*8+:8];
      end
    end
  end

  // Second stage: where the first of them is, and how many good bytes the beat has.
  logic [NUM_QUEUES-1:0] valid2_q;
  logic last2_q;
  logic [3:0] cause2_q;
  logic [7:0] good2_q;
  logic [6:0] first_difference;
  logic [BusBytes/8-1:0] group_differs;
  logic [3:0] first_group;
  logic [7:0] group;
  logic [2:0] first_in_group;
  always_comb begin
    // In groups of eight bytes, so that the path stays short.
    first_group    = '0;
    first_in_group = '0;
    group_differs  = '0;
    group          = '0;
    if (valid1_q != '0) begin
      for (int unsigned g = 0; g < BusBytes / 8; g++) group_differs[g] = differs_q[g*8+:8] != 8'd0;
      for (int g = BusBytes / 8 - 1; g >= 0; g--) begin
        if (group_differs[g]) first_group = 4'(g);
      end
      group = differs_q[32'(first_group)*8+:8];
      for (int lane = 7; lane >= 0; lane--) begin
        if (group[lane]) first_in_group = 3'(lane);
      end
    end
    first_difference = {first_group, first_in_group};
  end
  always_ff @(posedge clk_i) begin
    if (!rst_ni) valid2_q <= '0;
    else valid2_q <= valid1_q;
  end
  always_ff @(posedge clk_i) begin
    if (valid1_q != '0) begin
      last2_q <= last1_q;
      if (code1_q[1]) begin
        cause2_q <= code1_q[0] ? 4'(sluice_ring_pkg::CauseDecodeError) : 4'(sluice_ring_pkg::CauseSlaveError);
        good2_q  <= 8'd0;
      end else if (differs_q != '0) begin
        cause2_q <= 4'(sluice_ring_pkg::CauseMismatch);
        good2_q  <= 8'(first_difference) - 8'(first_lane1_q);
      end else begin
        cause2_q <= None;
        good2_q  <= 8'(last_lane1_q) - 8'(first_lane1_q) + 8'd1;
      end
    end
  end

  // Third stage: add up for the burst. A burst without a cause needs no count.
  logic [NUM_QUEUES*BytesW-1:0] good_q;
  logic [NUM_QUEUES*4-1:0] cause_q;
  logic [BytesW-1:0] good, good_d;
  logic [3:0] cause, cause_d;
  always_comb begin
    good  = '0;
    cause = None;
    if (valid2_q != '0) begin
      for (int unsigned q = 0; q < NUM_QUEUES; q++) begin
        if (valid2_q[q]) begin
          good  = good | good_q[q*BytesW+:BytesW];
          cause = cause | cause_q[q*4+:4];
        end
      end
    end
    good_d  = (cause == None) ? good + BytesW'(good2_q) : good;
    cause_d = (cause == None) ? cause2_q : cause;
  end
  for (genvar q = 0; q < NUM_QUEUES; q++) begin : g_sum
    always_ff @(posedge clk_i) begin
      if (!rst_ni) begin
        good_q[q*BytesW+:BytesW] <= '0;
        cause_q[q*4+:4]          <= None;
        answer_valid_o[q]        <= 1'b0;
      end else begin
        answer_valid_o[q] <= valid2_q[q] && last2_q;
        if (valid2_q[q]) begin
          good_q[q*BytesW+:BytesW] <= last2_q ? '0 : good_d;
          cause_q[q*4+:4]          <= last2_q ? None : cause_d;
        end
      end
    end
  end
  always_ff @(posedge clk_i) begin
    if (valid2_q != '0) begin
      answer_o.cause      <= cause_d;
      answer_o.good_bytes <= good_d;
    end
  end
endmodule
