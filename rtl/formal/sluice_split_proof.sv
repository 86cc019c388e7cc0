// SPDX-License-Identifier: Apache-2.0
// Promise 7 and AXI's 4 KiB rule, for every piece, window, cancel, error and backpressure: check and split together
// never offer a burst that leaves the window, crosses a page or is empty, and none once the job is stopped. A window may
// hold the last byte that there is. A fence leaves only when nothing is unanswered, cancelled or not.
module sluice_split_proof (
    input logic               clk,
    input logic               rst_n,
    input sluice_pkg::piece_t piece,
    input logic               piece_valid,
    input logic               cancel,
    input logic [15:0]        cancel_slot,
    input logic [31:0]        cancel_generation,
    input logic               table_hit,
    input logic               abort,
    input logic               quarantine,
    input logic               error_hit,
    input logic               room,
    input logic               quiet,
    input logic               burst_ready
);
  (* anyconst *) logic [63:0] window_base;
  (* anyconst *) logic [63:0] window_limit;
  sluice_pkg::checked_t checked;
  sluice_pkg::burst_t burst;
  sluice_pkg::entry_t entry;
  logic piece_ready, checked_valid, checked_ready, abandon, check_idle, split_idle, burst_valid, entry_valid, skipped;
  logic [41:0] skipped_bytes;
  logic table_ask;
  logic [31:0] table_generation;
  (* hierconn *) wire \u_split.busy_q ;
  (* hierconn *) wire [1:0] \u_split.kind_q ;
  (* hierconn *) wire [3:0] \u_split.cause_q ;
  (* hierconn *) wire [63:0] \u_split.address_q ;
  (* hierconn *) wire [12:0] \u_split.bytes_q ;
  (* hierconn *) wire [40:0] \u_split.rest_q ;
  (* hierconn *) wire \u_split.stop ;
  (* hierconn *) wire \u_check.valid_q ;
  (* hierconn *) wire [63:0] \u_check.last_q ;
  (* hierconn *) wire \u_split.fence_q ;
  (* hierconn *) wire [41:0] \u_check.sum_q ;
  (* hierconn *) wire \u_check.wraps ;
  (* hierconn *) wire [63:0] \u_check.piece_q_address ;

  sluice_check #(
      .DATA_WIDTH(512)
  ) u_check (
      .clk_i(clk), .rst_ni(rst_n), .window_base_i(window_base), .window_limit_i(window_limit), .cancel_i(cancel),
      .cancel_slot_i(cancel_slot), .cancel_generation_i(cancel_generation), .table_ask_o(table_ask),
      .table_generation_o(table_generation), .table_hit_i(table_hit), .idle_o(check_idle), .piece_i(piece),
      .valid_i(piece_valid), .ready_o(piece_ready), .checked_o(checked), .valid_o(checked_valid),
      .ready_i(checked_ready)
  );
  sluice_split #(
      .DATA_WIDTH(512)
  ) u_split (
      .clk_i(clk), .rst_ni(rst_n), .checked_i(checked), .checked_valid_i(checked_valid),
      .checked_ready_o(checked_ready), .abandon_o(abandon), .idle_o(split_idle), .cancel_i(cancel),
      .cancel_slot_i(cancel_slot), .cancel_generation_i(cancel_generation), .abort_i(abort),
      .quarantine_i(quarantine), .error_hit_i(error_hit), .room_i(room), .quiet_i(quiet), .burst_o(burst),
      .burst_valid_o(burst_valid), .burst_ready_i(burst_ready), .entry_o(entry), .entry_valid_o(entry_valid),
      .skipped_o(skipped), .skipped_bytes_o(skipped_bytes)
  );

  logic started = 1'b0;
  always @(posedge clk) started <= 1'b1;
  always @(*) begin
    if (!started) assume (!rst_n);
    // What sluice_fetch and sluice_expand let through.
    if (piece_valid && piece.kind != sluice_pkg::KindNone && piece.cause == 4'd0) begin
      assume (piece.length_bytes != 41'd0 && piece.length_bytes <= 41'h100_0000_0000);
    end
    assume (piece.kind != 2'd3);
    if (piece.fence) assume (piece.kind == sluice_pkg::KindNone);
  end

  // The piece in the first stage, kept apart from the design.
  logic [63:0] address;
  logic [40:0] length;
  logic real_piece;
  always @(posedge clk) begin
    if (piece_valid && piece_ready) begin
      address    <= piece.address;
      length     <= piece.length_bytes;
      real_piece <= piece.kind != sluice_pkg::KindNone && piece.cause == 4'd0;
    end
  end

  logic [64:0] last_of_piece, end_of_work;
  assign last_of_piece = {1'b0, address} + {24'd0, length} - 65'd1;
  assign end_of_work  = {1'b0, u_split.address_q} + {52'd0, u_split.bytes_q} + {24'd0, u_split.rest_q};
  always @(posedge clk) begin
    if (started && rst_n) begin
      if (u_check.valid_q) begin
        assert (checked.piece.address == address && checked.piece.length_bytes == length);
        assert (u_check.last_q == last_of_piece[63:0]);
        assert (u_check.wraps == last_of_piece[64]);
        assert (u_check.sum_q == {30'd0, address[11:0]} + {1'b0, length});
        if (checked.piece.fence) assert (checked.piece.kind == sluice_pkg::KindNone);
        if (real_piece) assert (length != 41'd0 && length <= 41'h100_0000_0000);
        if (checked.piece.kind != sluice_pkg::KindNone && checked.piece.cause == 4'd0) assert (real_piece);
      end
      if (u_split.busy_q && u_split.kind_q != sluice_pkg::KindNone && u_split.cause_q == 4'd0) begin
        // What is left of the piece lies in the window; its burst in one page, and what follows starts a page.
        assert (u_split.address_q >= window_base);
        assert (end_of_work <= {1'b0, window_limit} + 65'd1);
        assert (u_split.bytes_q != 13'd0 && u_split.bytes_q <= 13'd4096);
        assert ({2'b0, u_split.address_q[11:0]} + {1'b0, u_split.bytes_q} <= 14'd4096);
        if (u_split.rest_q != 41'd0) assert ({1'b0, u_split.address_q[11:0]} + u_split.bytes_q == 13'd4096);
      end
      if (u_split.busy_q && u_split.fence_q) begin
        assert (u_split.kind_q == sluice_pkg::KindNone);
        if (entry_valid) assert (quiet || quarantine);
      end
      if (burst_valid) begin
        assert (!u_split.stop);
        assert (burst.address >= window_base);
        assert ({1'b0, burst.address} + {52'd0, burst.bytes} <= {1'b0, window_limit} + 65'd1);
        assert ({1'b0, burst.address[11:0]} + burst.bytes <= 13'd4096);
        assert (burst.bytes != 13'd0);
        assert ({5'd0, burst.last_beat} < 13'd64);
      end
    end
  end
endmodule
