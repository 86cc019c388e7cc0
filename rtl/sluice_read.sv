// SPDX-License-Identifier: Apache-2.0
// AXI4 read master. Takes reads of ring lines (round robin over the queues, first) and bursts of data to verify. Every
// beat has a place waiting for it, so R is always ready. The top bit of an ID marks ring lines; below it stands the
// queue, or nothing (ID_PER_QUEUE = 0: answers of either kind then come in order).
module sluice_read #(
    parameter int unsigned DATA_WIDTH   = 512,
    parameter int unsigned NUM_QUEUES   = 4,
    parameter int unsigned QUEUE_W      = 2,
    parameter bit          ID_PER_QUEUE = 1'b1,
    parameter int unsigned ORDER_DEPTH  = 128,   // reads of either kind under way at most, without IDs by queue
    parameter bit          HAS_DATA     = 1'b1,
    parameter bit          HAS_LINES    = 1'b1
) (
    input  logic                     clk_i,
    input  logic                     rst_ni,

    input  logic [NUM_QUEUES*64-1:0] line_address_i,
    input  logic [NUM_QUEUES*5-1:0]  line_count_i,
    input  logic [NUM_QUEUES-1:0]    line_valid_i,
    output logic [NUM_QUEUES-1:0]    line_ready_o,
    output logic [NUM_QUEUES-1:0]    line_beat_o,    // a beat for this queue's fetch
    input  sluice_pkg::burst_t       data_i,
    input  logic [QUEUE_W-1:0]       data_queue_i,
    input  logic                     data_valid_i,
    output logic                     data_room_o,
    output logic [NUM_QUEUES-1:0]    data_beat_o,    // a beat of this queue's verify
    output logic [DATA_WIDTH-1:0]    beat_o,
    output logic [1:0]               beat_code_o,
    output logic                     beat_last_o,

    output logic [QUEUE_W:0]         arid_o,
    output logic [63:0]              araddr_o,
    output logic [7:0]               arlen_o,
    output logic [2:0]               arsize_o,
    output logic                     arvalid_o,
    input  logic                     arready_i,
    input  logic [QUEUE_W:0]         rid_i,
    input  logic [DATA_WIDTH-1:0]    rdata_i,
    input  logic [1:0]               rresp_i,
    input  logic                     rlast_i,
    input  logic                     rvalid_i,
    output logic                     rready_o
);
  localparam int unsigned LineBeats = (DATA_WIDTH < 512) ? 512 / DATA_WIDTH : 1;
  localparam int unsigned LineBeatBytes = (DATA_WIDTH < 512) ? DATA_WIDTH / 8 : 64;

  // Whose line is next.
  logic [NUM_QUEUES-1:0] above_last_q, above, chosen;
  logic [QUEUE_W-1:0] chosen_queue;
  logic [63:0] chosen_address;
  logic [4:0] chosen_count;
  logic ar_free, take_line, take_data, line_order_room, data_order_room;

  assign above  = line_valid_i & above_last_q;
  assign chosen = (above != '0) ? above & (~above + NUM_QUEUES'(1)) : line_valid_i & (~line_valid_i + NUM_QUEUES'(1));
  always_comb begin
    chosen_queue   = 'x;
    chosen_address = 'x;
    chosen_count   = 'x;
    if (line_valid_i != '0) begin
      // The first queue's, if it is no other's.
      chosen_queue   = '0;
      chosen_address = ((chosen >> 1) == '0) ? line_address_i[63:0] : '0;
      chosen_count   = ((chosen >> 1) == '0) ? line_count_i[4:0] : '0;
      for (int unsigned q = 1; q < NUM_QUEUES; q++) begin
        if (chosen[q]) begin
          chosen_queue   = chosen_queue | QUEUE_W'(q);
          chosen_address = chosen_address | line_address_i[q*64+:64];
          chosen_count   = chosen_count | line_count_i[q*5+:5];
        end
      end
    end
  end

  assign ar_free      = !arvalid_o || arready_i;
  assign take_line    = HAS_LINES && ar_free && line_order_room && line_valid_i != '0;
  assign data_room_o  = HAS_DATA && ar_free && data_order_room && !(HAS_LINES && line_valid_i != '0);
  assign take_data    = data_room_o && data_valid_i;
  assign line_ready_o = take_line ? chosen : '0;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      arvalid_o    <= 1'b0;
      above_last_q <= '0;
    end else begin
      if (take_line || take_data) arvalid_o <= 1'b1;
      else if (arready_i) arvalid_o <= 1'b0;
      if (take_line) above_last_q <= ~(chosen | (chosen - NUM_QUEUES'(1)));
    end
  end
  always_ff @(posedge clk_i) begin
    if (take_line || take_data) begin
      arid_o   <= {take_line, ID_PER_QUEUE ? (take_line ? chosen_queue : data_queue_i) : QUEUE_W'(0)};
      araddr_o <= take_line ? chosen_address : data_i.address;
      arlen_o  <= take_line ? 8'(32'(chosen_count) * LineBeats - 1) : data_i.last_beat;
      arsize_o <= take_line ? 3'($clog2(LineBeatBytes)) : 3'($clog2(DATA_WIDTH / 8));
    end
  end

  // Beats are registered, then go where their read came from.
  logic beat_valid_q;
  logic [QUEUE_W:0] beat_id_q;
  logic [QUEUE_W-1:0] line_queue, data_queue;
  logic line_beat, data_beat;

  assign rready_o  = 1'b1;
  assign line_beat = HAS_LINES && beat_valid_q && beat_id_q[QUEUE_W];
  assign data_beat = HAS_DATA && beat_valid_q && !beat_id_q[QUEUE_W];
  always_ff @(posedge clk_i) begin
    if (!rst_ni) beat_valid_q <= 1'b0;
    else beat_valid_q <= rvalid_i;
  end
  always_ff @(posedge clk_i) begin
    if (rvalid_i) begin
      beat_id_q   <= rid_i;
      beat_o      <= rdata_i;
      beat_code_o <= rresp_i;
      beat_last_o <= rlast_i;
    end
  end

  if (ID_PER_QUEUE) begin : g_id
    assign line_order_room = 1'b1;
    assign data_order_room = 1'b1;
    assign line_queue      = beat_id_q[QUEUE_W-1:0];
    assign data_queue      = beat_id_q[QUEUE_W-1:0];
  end else begin : g_order
    logic unused_line_valid, unused_data_valid;
    logic [$clog2(ORDER_DEPTH):0] unused_line_count, unused_data_count;
    sluice_fifo #(
        .WIDTH(QUEUE_W),
        .DEPTH(ORDER_DEPTH)
    ) u_line_order (
        .clk_i, .rst_ni,
        .push_i(take_line), .data_i(chosen_queue), .ready_o(line_order_room),
        .valid_o(unused_line_valid), .data_o(line_queue), .pop_i(line_beat && beat_last_o),
        .count_o(unused_line_count)
    );
    sluice_fifo #(
        .WIDTH(QUEUE_W),
        .DEPTH(ORDER_DEPTH)
    ) u_data_order (
        .clk_i, .rst_ni,
        .push_i(take_data), .data_i(data_queue_i), .ready_o(data_order_room),
        .valid_o(unused_data_valid), .data_o(data_queue), .pop_i(data_beat && beat_last_o),
        .count_o(unused_data_count)
    );
  end
  for (genvar q = 0; q < NUM_QUEUES; q++) begin : g_beat
    assign line_beat_o[q] = line_beat && line_queue == QUEUE_W'(q);
    assign data_beat_o[q] = data_beat && data_queue == QUEUE_W'(q);
  end
endmodule
