// SPDX-License-Identifier: Apache-2.0
// Writes the completions of all queues to their rings. Completions that follow each other into one line of the bus are
// merged into one beat, until that beat leaves. The phase bit is 1 on the first pass over a ring and flips on each pass,
// so software finds new entries by reading memory. A full ring (software has not moved cq_head) holds its queue's
// completions back, and no others.
module sluice_complete #(
    parameter int unsigned NUM_QUEUES = 4,
    parameter int unsigned QUEUE_W    = 2,
    parameter int unsigned NUM_SLOTS  = 256,  // entries of the largest ring
    parameter int unsigned LINE_WIDTH = 512,  // bits, 128 to 1024
    parameter int unsigned LINES      = 2     // 1 or 2 being filled or waiting for their turn
) (
    input  logic                      clk_i,
    input  logic                      rst_ni,

    input  logic [NUM_QUEUES-1:0]     start_i,
    input  logic [NUM_QUEUES*4-1:0]   ring_log2_i,
    input  logic [NUM_QUEUES*64-1:0]  cq_base_i,
    input  logic [NUM_QUEUES*16-1:0]  freed_i,         // entries that software has just given back
    output logic [NUM_QUEUES*16-1:0]  cq_tail_o,
    output logic [NUM_QUEUES*16-1:0]  cq_used_o,       // entries that software has not given back
    output logic [NUM_QUEUES-1:0]     fault_o,
    output logic [NUM_QUEUES-1:0]     unanswered_o,
    output logic [NUM_QUEUES-1:0]     full_o,

    input  logic [NUM_QUEUES*128-1:0] done_i,
    input  logic [NUM_QUEUES-1:0]     done_valid_i,
    output logic [NUM_QUEUES-1:0]     done_ready_o,

    output logic                      line_valid_o,
    output logic [63:0]               line_address_o,
    input  logic                      line_taken_i,
    output logic [LINE_WIDTH-1:0]     line_data_o,
    output logic [LINE_WIDTH/8-1:0]   line_strobe_o,
    input  logic                      line_pop_i,
    input  logic                      answer_i,
    input  logic                      answer_bad_i,

    output logic [NUM_QUEUES-1:0]     written_o,       // one cycle: completions have reached memory
    output logic [3:0]                written_count_o  // so many
);
  localparam int unsigned Lanes = LINE_WIDTH / 128;
  localparam int unsigned LaneW = (Lanes > 1) ? $clog2(Lanes) : 1;
  localparam int unsigned AnswersDepth = 16;

  // A line from its first completion until its beat leaves. They are opened, asked for and sent in turn.
  logic [LINES-1:0] used_q, asked_q;
  logic [LINES*QUEUE_W-1:0] queue_q;
  logic [LINES*64-1:0] address_q;
  logic [LINES*Lanes-1:0] lanes_q;
  logic [LINES*LINE_WIDTH-1:0] data_q;
  logic open_q, ask_q, send_q, next_open;  // the line opened last, asked for next, sent next, opened next

  logic [NUM_QUEUES*16-1:0] tail_q, count_q, answered_q;
  logic [NUM_QUEUES*LaneW-1:0] tail_lane;
  logic [NUM_QUEUES-1:0] eligible, above_last_q, above, picked, post, is_open_queue;
  logic [QUEUE_W-1:0] open_queue, post_queue;
  logic [63:0] post_base;
  logic [3:0] post_log2;
  logic [15:0] post_tail, post_index;
  logic [LaneW-1:0] post_lane, open_lane;
  logic open_is_used, merge, can_open, start_line, answers_room, answer_known;
  sluice_ring_pkg::completion_t entry;

  // Which line a new completion can join or begin.
  assign next_open    = (LINES == 2) ? !open_q : 1'b0;
  assign open_is_used = used_q[open_q] && !(line_pop_i && send_q == open_q);
  assign can_open     = !used_q[next_open] || (line_pop_i && send_q == next_open);
  assign open_queue   = queue_q[32'(open_q)*QUEUE_W+:QUEUE_W];

  for (genvar q = 0; q < NUM_QUEUES; q++) begin : g_eligible
    assign full_o[q]        = count_q[q*16+32'(ring_log2_i[q*4+:4])];
    assign eligible[q]      = done_valid_i[q] && !full_o[q];
    assign is_open_queue[q] = open_queue == QUEUE_W'(q);
  end
  always_comb begin
    open_lane = '0;
    for (int unsigned q = 0; q < NUM_QUEUES; q++) begin
      if (is_open_queue[q]) open_lane = open_lane | tail_lane[q*LaneW+:LaneW];
    end
  end
  assign merge      = Lanes > 1 && open_is_used && (eligible & is_open_queue) != '0 && open_lane != '0;
  assign above      = eligible & above_last_q;
  assign picked     = (above != '0) ? above & (~above + NUM_QUEUES'(1)) : eligible & (~eligible + NUM_QUEUES'(1));
  assign post       = merge ? is_open_queue : (can_open ? picked : '0);
  assign start_line = !merge && can_open && eligible != '0;
  assign done_ready_o = post;

  // The lane of a queue's next completion in its line. A ring of fewer entries than lanes wraps within the line.
  for (genvar q = 0; q < NUM_QUEUES; q++) begin : g_lane
    if (Lanes > 1) begin : g_lanes
      assign tail_lane[q*LaneW+:LaneW] = tail_q[q*16+:LaneW] & LaneW'(sluice_pkg::ring_mask(ring_log2_i[q*4+:4]));
    end else begin : g_one
      assign tail_lane[q*LaneW+:LaneW] = '0;
    end
  end

  always_comb begin
    post_queue = '0;
    post_base  = '0;
    post_log2  = '0;
    post_tail  = '0;
    post_lane  = '0;
    entry      = '0;
    for (int unsigned q = 0; q < NUM_QUEUES; q++) begin
      if (post[q]) begin
        post_queue = post_queue | QUEUE_W'(q);
        post_base  = post_base | cq_base_i[q*64+:64];
        post_log2  = post_log2 | ring_log2_i[q*4+:4];
        post_tail  = post_tail | tail_q[q*16+:16];
        post_lane  = post_lane | tail_lane[q*LaneW+:LaneW];
        entry      = entry | done_i[q*128+:128];
      end
    end
    entry.phase = !post_tail[post_log2];
  end
  assign post_index = post_tail & sluice_pkg::ring_mask(post_log2);

  // Rings are page-aligned: where no ring is longer than a page its base and the place in it have no bit in common.
  logic [63:0] post_address, post_place;
  assign post_place = {44'd0, post_index - 16'(post_lane), 4'd0};
  if (NUM_SLOTS * sluice_ring_pkg::CompletionBytes > sluice_ring_pkg::PageBytes) begin : g_add
    assign post_address = post_base + post_place;
  end else begin : g_join
    assign post_address = post_base | post_place;
  end

  logic target;  // the line that is written to
  assign target = start_line ? next_open : open_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      used_q       <= '0;
      open_q       <= 1'b0;
      ask_q        <= (LINES == 2);
      send_q       <= (LINES == 2);
      asked_q      <= '0;
      above_last_q <= '0;
      lanes_q      <= '0;
    end else begin
      if (line_pop_i) begin
        used_q[send_q] <= 1'b0;
        send_q         <= (LINES == 2) ? !send_q : 1'b0;
      end
      if (line_taken_i) begin
        asked_q[ask_q] <= 1'b1;
        ask_q          <= (LINES == 2) ? !ask_q : 1'b0;
      end
      if (start_line) begin
        used_q[next_open]  <= 1'b1;
        asked_q[next_open] <= 1'b0;
        open_q             <= next_open;
        above_last_q       <= ~(picked | (picked - NUM_QUEUES'(1)));
      end
      if (post != '0) begin
        for (int unsigned l = 0; l < LINES; l++) begin
          for (int unsigned lane = 0; lane < Lanes; lane++) begin
            if (32'(target) == l) begin
              if (32'(post_lane) == lane) lanes_q[l*Lanes+lane] <= 1'b1;
              else if (start_line) lanes_q[l*Lanes+lane] <= 1'b0;
            end
          end
        end
      end
    end
  end
  always_ff @(posedge clk_i) begin
    if (post != '0) begin
      for (int unsigned l = 0; l < LINES; l++) begin
        if (start_line && 32'(next_open) == l) begin
          queue_q[l*QUEUE_W+:QUEUE_W] <= post_queue;
          address_q[l*64+:64]         <= post_address;
        end
        for (int unsigned lane = 0; lane < Lanes; lane++) begin
          if (32'(target) == l && 32'(post_lane) == lane) data_q[(l*Lanes+lane)*128+:128] <= entry;
        end
      end
    end
  end

  // A line is asked for as soon as it is begun.
  assign line_valid_o   = used_q[ask_q] && !asked_q[ask_q] && answers_room;
  assign line_address_o = address_q[32'(ask_q)*64+:64];
  assign line_data_o    = data_q[32'(send_q)*LINE_WIDTH+:LINE_WIDTH];
  for (genvar lane = 0; lane < Lanes; lane++) begin : g_strobe
    assign line_strobe_o[lane*16+:16] = {16{lanes_q[32'(send_q)*Lanes+lane]}};
  end

  // What each line under way holds, for its answer.
  logic [QUEUE_W-1:0] answered_queue;
  logic [3:0] sent_count, answered_count;
  logic [$clog2(AnswersDepth):0] unused_count;
  always_comb begin
    sent_count = '0;
    if (line_pop_i) begin
      for (int unsigned lane = 0; lane < Lanes; lane++) begin
        sent_count = sent_count + 4'(lanes_q[32'(send_q)*Lanes+lane]);
      end
    end
  end
  sluice_fifo #(
      .WIDTH (QUEUE_W + 4),
      .DEPTH (AnswersDepth),
      .BYPASS(1'b0)  // the answer comes two cycles later at the earliest
  ) u_answers (
      .clk_i, .rst_ni,
      .push_i(line_pop_i), .data_i({queue_q[32'(send_q)*QUEUE_W+:QUEUE_W], sent_count}), .ready_o(),
      .valid_o(answer_known), .data_o({answered_queue, answered_count}), .pop_i(answer_i), .count_o(unused_count)
  );
  // Two lines may have been asked for and not sent yet.
  assign answers_room = unused_count < ($clog2(AnswersDepth) + 1)'(AnswersDepth - 2);

  assign written_count_o = answered_count;
  assign cq_tail_o       = tail_q;
  assign cq_used_o       = count_q;
  for (genvar q = 0; q < NUM_QUEUES; q++) begin : g_queue
    logic mine;
    assign mine            = answer_i && answer_known && answered_queue == QUEUE_W'(q);
    assign written_o[q]    = mine && !answer_bad_i;
    assign unanswered_o[q] = tail_q[q*16+:16] != answered_q[q*16+:16];
    always_ff @(posedge clk_i) begin
      if (!rst_ni || start_i[q]) begin
        tail_q[q*16+:16]     <= '0;
        count_q[q*16+:16]    <= '0;
        answered_q[q*16+:16] <= '0;
        fault_o[q]           <= 1'b0;
      end else begin
        if (post[q]) tail_q[q*16+:16] <= tail_q[q*16+:16] + 16'd1;
        if (post[q] || freed_i[q*16+:16] != 16'd0) begin
          count_q[q*16+:16] <= count_q[q*16+:16] + 16'(post[q]) - freed_i[q*16+:16];
        end
        if (mine) begin
          answered_q[q*16+:16] <= answered_q[q*16+:16] + 16'(answered_count);
          if (answer_bad_i) fault_o[q] <= 1'b1;
        end
      end
    end
  end
endmodule
