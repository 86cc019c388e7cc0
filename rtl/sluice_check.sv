// SPDX-License-Identifier: Apache-2.0
// Decides whether every byte of a piece lies inside the queue's window, window_base to window_limit, and works out its
// first burst. Two stages: sums, then comparisons. Meanwhile the cancel table is asked for the piece, and a cancel that
// comes while it is here is noted.
module sluice_check #(
    parameter int unsigned DATA_WIDTH = 512,
    parameter int unsigned ADDR_WIDTH = 64
) (
    input  logic                  clk_i,
    input  logic                  rst_ni,
    input  logic [63:0]           window_base_i,
    input  logic [63:0]           window_limit_i,
    input  logic                  cancel_i,
    input  logic [15:0]           cancel_slot_i,
    input  logic [31:0]           cancel_generation_i,
    output logic                  table_ask_o,     // for the slot of piece_i
    output logic [31:0]           table_generation_o,
    input  logic                  table_hit_i,     // from the next cycle on: it is cancelled
    output logic                  idle_o,

    input  sluice_pkg::piece_t    piece_i,
    input  logic                  valid_i,
    output logic                  ready_o,
    output sluice_pkg::checked_t  checked_o,
    output logic                  valid_o,
    input  logic                  ready_i
);
  localparam int unsigned BusBytes = DATA_WIDTH / 8;
  // AXI4 allows 256 beats and no crossing of 4 KiB.
  localparam int unsigned MaxBurstBytes = (BusBytes * 256 < 4096) ? BusBytes * 256 : 4096;
  localparam int unsigned BoundaryW = $clog2(MaxBurstBytes);
  localparam int unsigned SumW = sluice_pkg::LengthWidth + 1;

  sluice_pkg::piece_t piece_q;
  logic valid_q, moves, seen_q, direct_hit, too_high, wraps, outside, fits;
  logic [63:0] last_q;     // its last byte
  logic [SumW-1:0] sum_q;  // offset in its burst boundary + length

  assign moves   = valid_q && ready_i;
  assign ready_o = !valid_q || ready_i;
  assign valid_o = valid_q;
  assign idle_o  = !valid_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      valid_q <= 1'b0;
      seen_q  <= 1'b0;
    end else begin
      if (valid_i && ready_o) valid_q <= 1'b1;
      else if (moves) valid_q <= 1'b0;
      seen_q <= valid_q && !moves && (seen_q || direct_hit);
    end
  end
  always_ff @(posedge clk_i) begin
    if (valid_i && ready_o) begin
      piece_q         <= piece_i;
      {wraps, last_q} <= {1'b0, piece_i.address} + 65'(piece_i.length_bytes) - 65'd1;
      sum_q           <= SumW'(piece_i.address[BoundaryW-1:0]) + SumW'(piece_i.length_bytes);
    end
  end

  if (ADDR_WIDTH < 64) begin : g_short
    assign too_high = piece_q.address[63:ADDR_WIDTH] != '0;
  end else begin : g_full
    assign too_high = 1'b0;
  end
  assign outside = piece_q.address < window_base_i || last_q > window_limit_i || wraps || too_high;
  assign fits    = sum_q[SumW-1:BoundaryW+1] == '0 && (!sum_q[BoundaryW] || sum_q[BoundaryW-1:0] == '0);

  assign table_ask_o        = valid_i && ready_o;
  assign table_generation_o = piece_q.generation;
  assign direct_hit         = cancel_i && cancel_slot_i == piece_q.slot && cancel_generation_i == piece_q.generation;

  always_comb begin
    checked_o = 'x;
    if (valid_q) begin
      checked_o.piece = piece_q;
      if (piece_q.kind != sluice_pkg::KindNone && piece_q.cause == 4'(sluice_ring_pkg::CauseNone) && outside) begin
        checked_o.piece.cause = 4'(sluice_ring_pkg::CauseOutsideWindow);
      end
      checked_o.cancelled   = table_hit_i || direct_hit || seen_q;
      checked_o.first_bytes = fits ? piece_q.length_bytes[sluice_pkg::BurstBytesWidth-1:0] :
                              sluice_pkg::BurstBytesWidth'(MaxBurstBytes) -
                              sluice_pkg::BurstBytesWidth'(piece_q.address[BoundaryW-1:0]);
      checked_o.rest_bytes  = '0;
      if (!fits) begin
        checked_o.rest_bytes = {(sluice_pkg::LengthWidth-BoundaryW)'(sum_q[SumW-1:BoundaryW] - (SumW-BoundaryW)'(1)),
                                sum_q[BoundaryW-1:0]};
      end
      checked_o.end_lane = 7'($clog2(BusBytes)'(last_q));
    end
  end
endmodule
