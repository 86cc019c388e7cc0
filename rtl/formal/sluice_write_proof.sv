// SPDX-License-Identifier: Apache-2.0
// The write master keeps the rules of AXI4 on all its channels, whatever it is given and however slow the slave is; the
// read master does too. The rules are those of assertions/sluice_axi_checker.sv, the same that simulation checks.
module sluice_write_proof (
    input logic               clk,
    input logic               rst_n,
    input sluice_pkg::burst_t burst,
    input logic               queue,
    input logic               write_valid,
    input logic               read_valid,
    input logic               line_valid,
    input logic [51:0]        line_page,
    input logic [5:0]         line_index,
    input logic [511:0]       line_data,
    input logic [3:0]         line_lanes,
    input logic [1:0]         read_lines_valid,
    input logic [127:0]       read_address,
    input logic [9:0]         read_count,
    input logic               awready,
    input logic               wready,
    input logic               arready,
    input logic [1:0]         bid,
    input logic               bvalid,
    input logic [1:0]         rid,
    input logic               rvalid,
    input logic               rlast
);
  logic write_room, read_room, line_taken, line_pop, line_answer, data_beat, line_beat, beat_last;
  logic [1:0] answer, code, lines_ready, lines_beat, data_beats, beat_code;
  logic [511:0] beat;
  logic [1:0] awid, arid;
  logic [63:0] awaddr, araddr;
  logic [7:0] awlen, arlen;
  logic awvalid, wvalid, wlast, bready, arvalid, rready;
  logic [2:0] arsize;
  logic [511:0] wdata;
  logic [63:0] wstrb, strobe;

  for (genvar lane = 0; lane < 4; lane++) begin : g_strobe
    assign strobe[lane*16+:16] = {16{line_lanes[lane]}};
  end

  sluice_write #(
      .NUM_QUEUES(2),
      .QUEUE_W   (1)
  ) u_write (
      .clk_i(clk), .rst_ni(rst_n), .data_i(burst), .data_queue_i(queue), .data_valid_i(write_valid),
      .data_room_o(write_room), .data_answer_o(answer), .line_valid_i(line_valid),
      .line_address_i({line_page, line_index, 6'd0}), .line_taken_o(line_taken), .line_data_i(line_data),
      .line_strobe_i(strobe), .line_pop_o(line_pop), .line_answer_o(line_answer), .code_o(code),
      .data_beat_o(data_beat), .line_beat_o(line_beat), .awid_o(awid), .awaddr_o(awaddr), .awlen_o(awlen),
      .awvalid_o(awvalid), .awready_i(awready), .wdata_o(wdata), .wstrb_o(wstrb), .wlast_o(wlast), .wvalid_o(wvalid),
      .wready_i(wready), .bid_i(bid), .bresp_i(2'd0), .bvalid_i(bvalid), .bready_o(bready)
  );
  sluice_read #(
      .NUM_QUEUES(2),
      .QUEUE_W   (1)
  ) u_read (
      .clk_i(clk), .rst_ni(rst_n), .line_address_i(read_address), .line_count_i(read_count),
      .line_valid_i(read_lines_valid), .line_ready_o(lines_ready), .line_beat_o(lines_beat), .data_i(burst),
      .data_queue_i(queue), .data_valid_i(read_valid), .data_room_o(read_room), .data_beat_o(data_beats),
      .beat_o(beat), .beat_code_o(beat_code), .beat_last_o(beat_last), .arid_o(arid), .araddr_o(araddr),
      .arlen_o(arlen), .arsize_o(arsize), .arvalid_o(arvalid), .arready_i(arready), .rid_i(rid), .rdata_i(512'd0),
      .rresp_i(2'd0), .rlast_i(rlast), .rvalid_i(rvalid), .rready_o(rready)
  );
  sluice_axi_checker #(
      .ID_WIDTH(2)
  ) u_checker (
      .clk_i(clk), .rst_ni(rst_n), .awid(awid), .awaddr(awaddr), .awlen(awlen), .awsize(3'd6), .awburst(2'b01),
      .awvalid(awvalid), .awready(awready), .wdata(wdata), .wstrb(wstrb), .wlast(wlast), .wvalid(wvalid),
      .wready(wready), .bvalid(bvalid), .bready(bready), .arid(arid), .araddr(araddr), .arlen(arlen),
      .arsize(arsize), .arburst(2'b01), .arvalid(arvalid), .arready(arready), .rvalid(rvalid), .rlast(rlast),
      .rready(rready)
  );

  logic started = 1'b0;
  logic [13:0] last_byte;
  always @(posedge clk) started <= 1'b1;
  assign last_byte = {8'd0, burst.address[5:0]} + {1'b0, burst.bytes} - 14'd1;
  always @(*) begin
    if (!started) assume (!rst_n);
    else assume (rst_n);
    // A burst as sluice_split makes it (its own proof shows that).
    assume (burst.bytes != 13'd0 && {1'b0, burst.address[11:0]} + burst.bytes <= 13'd4096);
    assume (burst.first_lane == {1'b0, burst.address[5:0]});
    assume (burst.last_beat == last_byte[13:6] && burst.last_lane < 7'd64);
    if (burst.last_beat == 8'd0) assume (burst.last_lane >= burst.first_lane);
    if (line_valid) assume (line_lanes != 4'd0);
    // Reads of whole lines inside a page.
    assume (read_address[5:0] == 6'd0 && read_address[69:64] == 6'd0);
    assume (read_count[4:0] != 5'd0 && read_count[9:5] != 5'd0 && read_count[4:0] <= 5'd16 && read_count[9:5] <= 5'd16);
    assume ({1'b0, read_address[11:6]} + {2'd0, read_count[4:0]} <= 7'd64);
    assume ({1'b0, read_address[75:70]} + {2'd0, read_count[9:5]} <= 7'd64);
    if (write_valid) assume (write_room);
    if (read_valid) assume (read_room);
    // A line stays until it is taken, and keeps its completions until it is sent.
    assume (line_lanes != 4'd0);
  end

  // Beats whose address was taken and that the bus has not: a burst of data joins only 31, and the one on the bus.
  logic [11:0] promised;
  always @(posedge clk) begin
    if (!rst_n) begin
      promised <= 12'd0;
    end else begin
      promised <= promised + (line_taken ? 12'd1 : write_valid ? {4'd0, burst.last_beat} + 12'd1 : 12'd0) -
                  {11'd0, wvalid && wready};
    end
    if (started && rst_n) begin
      if (write_valid) assert (promised <= 12'd32);
      // Never held back without a reason.
      if (!awvalid && !line_valid && promised < 12'd4) assert (write_room);
    end
  end
endmodule
