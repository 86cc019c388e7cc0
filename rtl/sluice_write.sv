// SPDX-License-Identifier: Apache-2.0
// AXI4 write master. Takes bursts of data and lines of completions, lines first, and issues them in that order on AW and
// W. At most W_AHEAD addresses run ahead of their data, and a burst of data only when fewer than BEATS_AHEAD beats wait
// before it: a cancel or an urgent job never finds a long tail of promised bursts. What a
// line holds is fixed when its beat leaves, not when its address does: completions that come meanwhile join it. The top
// bit of an ID marks lines; below it stands the queue, or nothing (ID_PER_QUEUE = 0: answers then come in order).
module sluice_write #(
    parameter int unsigned DATA_WIDTH   = 512,
    parameter int unsigned NUM_QUEUES   = 4,
    parameter int unsigned QUEUE_W      = 2,
    parameter bit          ID_PER_QUEUE = 1'b1,
    parameter int unsigned ORDER_DEPTH  = 128,   // bursts under way at most, without IDs by queue
    parameter bit          HAS_DATA     = 1'b1,
    parameter bit          HAS_LINES    = 1'b1,
    parameter int unsigned W_AHEAD      = 4,
    parameter int unsigned BEATS_AHEAD  = 32,
    parameter int unsigned LINE_WIDTH   = 512
) (
    input  logic                    clk_i,
    input  logic                    rst_ni,

    input  sluice_pkg::burst_t      data_i,
    input  logic [QUEUE_W-1:0]      data_queue_i,
    input  logic                    data_valid_i,
    output logic                    data_room_o,
    output logic [NUM_QUEUES-1:0]   data_answer_o,   // one cycle: a burst of this queue has been answered
    input  logic                    line_valid_i,
    input  logic [63:0]             line_address_i,
    output logic                    line_taken_o,
    input  logic [LINE_WIDTH-1:0]   line_data_i,
    input  logic [LINE_WIDTH/8-1:0] line_strobe_i,
    output logic                    line_pop_o,      // one cycle: the oldest line is leaving
    output logic                    line_answer_o,
    output logic [1:0]              code_o,          // of the answer
    output logic                    data_beat_o,
    output logic                    line_beat_o,

    output logic [QUEUE_W:0]        awid_o,
    output logic [63:0]             awaddr_o,
    output logic [7:0]              awlen_o,
    output logic                    awvalid_o,
    input  logic                    awready_i,
    output logic [DATA_WIDTH-1:0]   wdata_o,
    output logic [DATA_WIDTH/8-1:0] wstrb_o,
    output logic                    wlast_o,
    output logic                    wvalid_o,
    input  logic                    wready_i,
    input  logic [QUEUE_W:0]        bid_i,
    input  logic [1:0]              bresp_i,
    input  logic                    bvalid_i,
    output logic                    bready_o
);
  localparam int unsigned BusBytes = DATA_WIDTH / 8;
  localparam int unsigned LineBeats = LINE_WIDTH / DATA_WIDTH;

  sluice_pkg::beats_t pushed;
  sluice_pkg::beats_t current;
  logic take, aw_free, beats_room, order_room, beats_valid, beats_pop, load, near_end;
  logic [2:0] unused_count;

  assign aw_free      = !awvalid_o || awready_i;
  assign line_taken_o = HAS_LINES && line_valid_i && aw_free && beats_room;
  assign data_room_o  = HAS_DATA && aw_free && beats_room && near_end && order_room && !(HAS_LINES && line_valid_i);
  assign take         = line_taken_o || (data_room_o && data_valid_i);

  always_comb begin
    pushed.is_line    = line_taken_o;
    pushed.last_beat  = line_taken_o ? 8'(LineBeats - 1) : data_i.last_beat;
    pushed.first_lane = data_i.first_lane;
    pushed.last_lane  = data_i.last_lane;
    pushed.pattern    = data_i.pattern;
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) awvalid_o <= 1'b0;
    else if (take) awvalid_o <= 1'b1;
    else if (awready_i) awvalid_o <= 1'b0;
  end
  always_ff @(posedge clk_i) begin
    if (take) begin
      awid_o   <= {line_taken_o, (ID_PER_QUEUE && !line_taken_o) ? data_queue_i : QUEUE_W'(0)};
      awaddr_o <= line_taken_o ? line_address_i : data_i.address;
      awlen_o  <= pushed.last_beat;
    end
  end

  // Data follows in the order of the addresses.
  sluice_fifo #(
      .WIDTH($bits(pushed)),
      .DEPTH(W_AHEAD)
  ) u_beats (
      .clk_i, .rst_ni,
      .push_i(take), .data_i(pushed), .ready_o(beats_room),
      .valid_o(beats_valid), .data_o(current), .pop_i(beats_pop), .count_o(unused_count)
  );

  // Beats whose address was taken and that have not left.
  if (HAS_DATA) begin : g_near_end
    localparam int unsigned AheadW = $clog2(BEATS_AHEAD + 256 + 2 * W_AHEAD);
    logic [AheadW-1:0] ahead_q, ahead_d;
    logic near_end_q, unused_carry;
    assign near_end = near_end_q;
    // Plus last_beat + 1 when one is taken, less 1 when a beat is loaded: one adder, by a bit below its lowest.
    assign {ahead_d, unused_carry} = {ahead_q, 1'b1} + {take ? AheadW'(pushed.last_beat) : {AheadW{load}}, take && !load};
    always_ff @(posedge clk_i) begin
      if (!rst_ni) begin
        ahead_q    <= '0;
        near_end_q <= 1'b1;
      end else begin
        ahead_q    <= ahead_d;
        near_end_q <= ahead_d < AheadW'(BEATS_AHEAD);
      end
    end
  end else begin : g_lines_only
    assign near_end = 1'b1;
  end

  logic [7:0] beat_q;
  logic is_line, first_beat, last_beat, w_is_line_q;
  logic [BusBytes-1:0] strobe;
  logic [DATA_WIDTH-1:0] line_data;
  logic [BusBytes-1:0] line_strobe;

  assign is_line    = HAS_LINES && (!HAS_DATA || current.is_line);
  assign first_beat = beat_q == 8'd0;
  assign last_beat  = (!HAS_DATA && LineBeats <= 1) || beat_q == current.last_beat;
  assign load       = beats_valid && (!wvalid_o || wready_i);
  assign beats_pop  = load && last_beat;
  assign line_pop_o = beats_pop && is_line;

  if (LineBeats > 1) begin : g_line_beats
    assign line_data   = line_data_i[32'(beat_q)*DATA_WIDTH+:DATA_WIDTH];
    assign line_strobe = line_strobe_i[32'(beat_q)*BusBytes+:BusBytes];
  end else begin : g_line_beat
    assign line_data   = line_data_i;
    assign line_strobe = line_strobe_i;
  end
  always_comb begin
    strobe = 'x;
    if (load) begin
      strobe = is_line ? line_strobe : {BusBytes{1'b1}};
      if (!is_line && (first_beat || last_beat)) begin
        strobe = BusBytes'(sluice_pkg::lanes_between(first_beat ? current.first_lane : 7'd0,
                                                     last_beat ? current.last_lane : 7'(BusBytes - 1)));
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      wvalid_o <= 1'b0;
      beat_q   <= '0;
    end else begin
      if (load) wvalid_o <= 1'b1;
      else if (wready_i) wvalid_o <= 1'b0;
      if (beats_pop) beat_q <= '0;
      else if (load) beat_q <= beat_q + 8'd1;
    end
  end
  always_ff @(posedge clk_i) begin
    if (load) begin
      wdata_o     <= is_line ? line_data : {(DATA_WIDTH / 64) {current.pattern}};
      wstrb_o     <= strobe;
      wlast_o     <= last_beat;
      w_is_line_q <= is_line;
    end
  end

  // Answers go back to where their bursts came from.
  logic [QUEUE_W-1:0] answered_queue;
  logic is_data_answer;
  if (ID_PER_QUEUE || !HAS_DATA) begin : g_id
    assign order_room     = 1'b1;
    assign answered_queue = bid_i[QUEUE_W-1:0];
  end else begin : g_order
    logic unused_valid;
    logic [$clog2(ORDER_DEPTH):0] unused_order_count;
    sluice_fifo #(
        .WIDTH(QUEUE_W),
        .DEPTH(ORDER_DEPTH)
    ) u_order (
        .clk_i, .rst_ni,
        .push_i(data_room_o && data_valid_i), .data_i(data_queue_i), .ready_o(order_room),
        .valid_o(unused_valid), .data_o(answered_queue), .pop_i(is_data_answer), .count_o(unused_order_count)
    );
  end
  assign bready_o       = 1'b1;
  assign is_data_answer = bvalid_i && !bid_i[QUEUE_W];
  assign line_answer_o  = bvalid_i && bid_i[QUEUE_W];
  assign code_o         = bresp_i;
  for (genvar q = 0; q < NUM_QUEUES; q++) begin : g_answer
    assign data_answer_o[q] = is_data_answer && answered_queue == QUEUE_W'(q);
  end
  assign data_beat_o = wvalid_o && wready_i && !w_is_line_q;
  assign line_beat_o = wvalid_o && wready_i && w_is_line_q;
endmodule
