// SPDX-License-Identifier: Apache-2.0
// AXI4 write master. Takes bursts from two sources, completions first, and issues them in that order on AW and W. At
// most W_AHEAD addresses run ahead of their data, so a cancel never finds a long tail of promised bursts. ID 0 marks
// job data, ID 1 completions; their responses go back to their sources.
module sluice_write #(
    parameter int unsigned DATA_WIDTH = 512,
    parameter int unsigned W_AHEAD    = 4
) (
    input  logic                    clk_i,
    input  logic                    rst_ni,

    input  sluice_pkg::burst_t      data_i,
    input  logic                    data_valid_i,
    output logic                    data_ready_o,
    output logic                    data_response_o,
    input  sluice_pkg::burst_t      completion_i,
    input  logic                    completion_valid_i,
    output logic                    completion_ready_o,
    output logic                    completion_response_o,
    output logic [1:0]              response_code_o,
    output logic                    data_beat_o,

    output logic [0:0]              awid_o,
    output logic [63:0]             awaddr_o,
    output logic [7:0]              awlen_o,
    output logic                    awvalid_o,
    input  logic                    awready_i,
    output logic [DATA_WIDTH-1:0]   wdata_o,
    output logic [DATA_WIDTH/8-1:0] wstrb_o,
    output logic                    wlast_o,
    output logic                    wvalid_o,
    input  logic                    wready_i,
    input  logic [0:0]              bid_i,
    input  logic [1:0]              bresp_i,
    input  logic                    bvalid_i,
    output logic                    bready_o
);
  localparam int unsigned BusBytes = DATA_WIDTH / 8;
  localparam int unsigned OffsetW = $clog2(BusBytes);
  localparam int unsigned BeatsBits = 1 + 8 + 7 + 7 + 128;  // of beats_t

  // Choose the next burst.
  sluice_pkg::burst_t burst;
  sluice_pkg::beats_t pushed;
  sluice_pkg::beats_t current;
  logic take, room, aw_free, beats_valid, end_of_burst;
  logic [sluice_pkg::BurstBytesWidth-1:0] last_byte;

  assign aw_free            = !awvalid_o || awready_i;
  assign completion_ready_o = aw_free && room;
  assign data_ready_o       = aw_free && room && !completion_valid_i;
  assign take               = aw_free && room && (completion_valid_i || data_valid_i);
  assign burst              = completion_valid_i ? completion_i : data_i;
  assign last_byte          = sluice_pkg::BurstBytesWidth'(burst.address[OffsetW-1:0]) + burst.bytes -
                              sluice_pkg::BurstBytesWidth'(1);

  always_comb begin
    pushed.completion = completion_valid_i;
    pushed.last_beat  = 8'(last_byte >> OffsetW);
    pushed.first_lane = 7'(burst.address[OffsetW-1:0]);
    pushed.last_lane  = 7'(last_byte[OffsetW-1:0]);
    pushed.data       = burst.data;
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      awvalid_o <= 1'b0;
      awid_o    <= '0;
      awaddr_o  <= '0;
      awlen_o   <= '0;
    end else if (take) begin
      awvalid_o <= 1'b1;
      awid_o    <= completion_valid_i;
      awaddr_o  <= burst.address;
      awlen_o   <= pushed.last_beat;
    end else if (awready_i) begin
      awvalid_o <= 1'b0;
    end
  end

  // Data follows in the order of the addresses.
  sluice_fifo #(
      .WIDTH(BeatsBits),
      .DEPTH(W_AHEAD)
  ) u_beats (
      .clk_i,
      .rst_ni,
      .push_i (take),
      .data_i (pushed),
      .ready_o(room),
      .valid_o(beats_valid),
      .data_o (current),
      .pop_i  (end_of_burst)
  );

  logic [7:0] beat_q;
  logic first_beat;
  logic [BusBytes-1:0] from_first, to_last;

  assign first_beat   = beat_q == 8'd0;
  assign wvalid_o     = beats_valid;
  assign wlast_o      = beat_q == current.last_beat;
  assign end_of_burst = wvalid_o && wready_i && wlast_o;
  assign from_first   = first_beat ? {BusBytes{1'b1}} << current.first_lane : {BusBytes{1'b1}};
  assign to_last      = wlast_o ? {BusBytes{1'b1}} >> (7'(BusBytes - 1) - current.last_lane) : {BusBytes{1'b1}};
  assign wstrb_o      = from_first & to_last;
  assign data_beat_o  = wvalid_o && wready_i && !current.completion;

  if (DATA_WIDTH >= 128) begin : g_wide
    assign wdata_o = {(DATA_WIDTH / 128) {current.data}};
  end else begin : g_narrow
    assign wdata_o = beat_q[0] ? current.data[127:64] : current.data[63:0];
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) beat_q <= '0;
    else if (end_of_burst) beat_q <= '0;
    else if (wvalid_o && wready_i) beat_q <= beat_q + 8'd1;
  end

  assign bready_o              = 1'b1;
  assign response_code_o       = bresp_i;
  assign data_response_o       = bvalid_i && bid_i == 1'b0;
  assign completion_response_o = bvalid_i && bid_i == 1'b1;
endmodule
