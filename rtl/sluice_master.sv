// SPDX-License-Identifier: Apache-2.0
// One AXI4 master: its write and its read half, and the pins that never change. It carries bursts of data (HAS_DATA), lines
// of rings (HAS_LINES), or both. What it does not carry it neither takes nor answers.
module sluice_master #(
    parameter int unsigned DATA_WIDTH   = 512,
    parameter int unsigned ADDR_WIDTH   = 64,
    parameter int unsigned NUM_QUEUES   = 4,
    parameter int unsigned QUEUE_W      = 2,
    parameter bit          ID_PER_QUEUE = 1'b1,
    parameter int unsigned ORDER_DEPTH  = 128,   // bursts of either kind under way at most, without IDs by queue
    parameter bit          HAS_DATA     = 1'b1,
    parameter bit          HAS_LINES    = 1'b1,
    parameter int unsigned LINE_WIDTH   = 512
) (
    input  logic                     clk_i,
    input  logic                     rst_ni,

    input  sluice_pkg::burst_t       data_i,
    input  logic [QUEUE_W-1:0]       data_queue_i,
    input  logic                     data_write_i,       // data_i is to be written
    output logic                     data_write_room_o,
    output logic [NUM_QUEUES-1:0]    data_answer_o,      // one cycle: a burst of this queue has been written
    input  logic                     data_read_i,        // data_i is to be read
    output logic                     data_read_room_o,
    output logic [NUM_QUEUES-1:0]    data_beat_o,        // beat_o is of this queue's data

    input  logic                     line_valid_i,       // completions
    input  logic [63:0]              line_address_i,
    output logic                     line_taken_o,
    input  logic [LINE_WIDTH-1:0]    line_data_i,
    input  logic [LINE_WIDTH/8-1:0]  line_strobe_i,
    output logic                     line_pop_o,
    output logic                     line_answer_o,
    input  logic [NUM_QUEUES*64-1:0] read_address_i,     // descriptors and extent lists
    input  logic [NUM_QUEUES*5-1:0]  read_lines_i,
    input  logic [NUM_QUEUES-1:0]    read_valid_i,
    output logic [NUM_QUEUES-1:0]    read_ready_o,
    output logic [NUM_QUEUES-1:0]    read_beat_o,        // beat_o is of a line that this queue has asked for

    output logic [1:0]               answer_code_o,
    output logic [DATA_WIDTH-1:0]    beat_o,
    output logic [1:0]               beat_code_o,
    output logic                     beat_last_o,
    output logic                     data_written_o,     // one cycle: a beat of data was taken
    output logic                     line_written_o,

    output logic [QUEUE_W:0]         awid_o,
    output logic [ADDR_WIDTH-1:0]    awaddr_o,
    output logic [7:0]               awlen_o,
    output logic [2:0]               awsize_o,
    output logic [1:0]               awburst_o,
    output logic                     awvalid_o,
    input  logic                     awready_i,
    output logic [DATA_WIDTH-1:0]    wdata_o,
    output logic [DATA_WIDTH/8-1:0]  wstrb_o,
    output logic                     wlast_o,
    output logic                     wvalid_o,
    input  logic                     wready_i,
    input  logic [QUEUE_W:0]         bid_i,
    input  logic [1:0]               bresp_i,
    input  logic                     bvalid_i,
    output logic                     bready_o,
    output logic [QUEUE_W:0]         arid_o,
    output logic [ADDR_WIDTH-1:0]    araddr_o,
    output logic [7:0]               arlen_o,
    output logic [2:0]               arsize_o,
    output logic [1:0]               arburst_o,
    output logic                     arvalid_o,
    input  logic                     arready_i,
    input  logic [QUEUE_W:0]         rid_i,
    input  logic [DATA_WIDTH-1:0]    rdata_i,
    input  logic [1:0]               rresp_i,
    input  logic                     rlast_i,
    input  logic                     rvalid_i,
    output logic                     rready_o
);
  localparam logic [1:0] BurstIncr = 2'b01;

  logic [63:0] awaddr, araddr;
  assign awaddr_o  = awaddr[ADDR_WIDTH-1:0];
  assign araddr_o  = araddr[ADDR_WIDTH-1:0];
  assign awsize_o  = 3'($clog2(DATA_WIDTH / 8));
  assign awburst_o = BurstIncr;
  assign arburst_o = BurstIncr;

  sluice_write #(
      .DATA_WIDTH  (DATA_WIDTH),
      .NUM_QUEUES  (NUM_QUEUES),
      .QUEUE_W     (QUEUE_W),
      .ID_PER_QUEUE(ID_PER_QUEUE),
      .ORDER_DEPTH (ORDER_DEPTH),
      .HAS_DATA    (HAS_DATA),
      .HAS_LINES   (HAS_LINES),
      .LINE_WIDTH  (LINE_WIDTH)
  ) u_write (
      .clk_i, .rst_ni, .data_i, .data_queue_i, .data_valid_i(data_write_i), .data_room_o(data_write_room_o),
      .data_answer_o, .line_valid_i, .line_address_i, .line_taken_o, .line_data_i, .line_strobe_i, .line_pop_o,
      .line_answer_o, .code_o(answer_code_o), .data_beat_o(data_written_o), .line_beat_o(line_written_o),
      .awid_o, .awaddr_o(awaddr), .awlen_o, .awvalid_o, .awready_i, .wdata_o, .wstrb_o, .wlast_o, .wvalid_o, .wready_i,
      .bid_i, .bresp_i, .bvalid_i, .bready_o
  );
  sluice_read #(
      .DATA_WIDTH  (DATA_WIDTH),
      .NUM_QUEUES  (NUM_QUEUES),
      .QUEUE_W     (QUEUE_W),
      .ID_PER_QUEUE(ID_PER_QUEUE),
      .ORDER_DEPTH (ORDER_DEPTH),
      .HAS_DATA    (HAS_DATA),
      .HAS_LINES   (HAS_LINES)
  ) u_read (
      .clk_i, .rst_ni, .line_address_i(read_address_i), .line_count_i(read_lines_i), .line_valid_i(read_valid_i),
      .line_ready_o(read_ready_o), .line_beat_o(read_beat_o), .data_i, .data_queue_i, .data_valid_i(data_read_i),
      .data_room_o(data_read_room_o), .data_beat_o, .beat_o, .beat_code_o, .beat_last_o,
      .arid_o, .araddr_o(araddr), .arlen_o, .arsize_o, .arvalid_o, .arready_i, .rid_i, .rdata_i, .rresp_i, .rlast_i,
      .rvalid_i, .rready_o
  );
endmodule
