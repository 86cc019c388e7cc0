// SPDX-License-Identifier: Apache-2.0
// Turns a job into pieces: one for a plain extent, one for each extent of a list, and for fill-then-verify a second
// one that reads what the first one wrote. Lists are read a line of four extents at a time.
module sluice_expand (
    input  logic                  clk_i,
    input  logic                  rst_ni,

    input  sluice_pkg::job_t      job_i,
    input  logic                  job_valid_i,
    output logic                  job_ready_o,
    input  logic                  abandon_i,      // the job has been stopped: end it with the next piece
    output logic                  idle_o,

    output logic                  list_valid_o,
    output logic [63:0]           list_address_o,
    input  logic                  list_ready_i,
    input  logic                  list_done_i,
    input  logic                  list_bad_i,
    input  logic [511:0]          list_line_i,

    output sluice_pkg::piece_t    piece_o,
    output logic                  piece_valid_o,
    input  logic                  piece_ready_i
);
  // For a list: whether its next line or extent has to be had first. Else only whether the first half of a
  // fill-then-verify has gone.
  typedef enum logic [2:0] {
    StPlain,
    StAsk,   // for a line of the list
    StWait,  // for its data
    StPick,  // its first extent
    StSend   // the extent picked
  } state_e;
  state_e state_q;
  logic second_q, list_bad_q;
  // Of each extent of the line: its length is beyond what a job can have, its length, its address.
  localparam int unsigned ExtentBits = 1 + sluice_pkg::LengthWidth + 64;
  logic [4*ExtentBits-1:0] line_q;
  logic [ExtentBits-1:0] next_extent;
  logic [1:0] extent_q;  // the next to pick
  logic [63:0] line_address_q, extent_address_q;
  logic [sluice_pkg::LengthWidth-1:0] next_length, extent_length_q;
  logic [sluice_pkg::LengthWidth-1:0] left_q, after_q;  // of the job, from this extent on and behind it
  logic [sluice_pkg::LengthWidth:0] next_after;         // below zero when the next extent is too long
  logic extent_bad_q, extent_last_q;
  logic is_list, touches, two_halves, is_second, finishes, send, leaves, pick;

  assign is_list    = job_i.is_list && !job_i.malformed;
  assign touches    = job_i.operation != 3'(sluice_ring_pkg::OpFence) && job_i.operation != 3'(sluice_ring_pkg::OpNoop);
  assign two_halves = job_i.operation == 3'(sluice_ring_pkg::OpFillVerify);
  assign is_second  = two_halves && second_q;

  always_comb begin
    piece_o = 'x;
    if (job_valid_i) begin
      piece_o.kind         = (!touches || job_i.malformed) ? sluice_pkg::KindNone :
                             (job_i.operation == 3'(sluice_ring_pkg::OpVerify) || is_second) ? sluice_pkg::KindRead
                                                                                            : sluice_pkg::KindWrite;
      piece_o.fence        = job_i.operation == 3'(sluice_ring_pkg::OpFence) && !job_i.malformed;
      piece_o.verify_only  = job_i.operation == 3'(sluice_ring_pkg::OpVerify);
      piece_o.counted      = touches && !job_i.malformed && !is_second;
      piece_o.cause        = job_i.malformed ? 4'(sluice_ring_pkg::CauseBadDescriptor) : 4'(sluice_ring_pkg::CauseNone);
      piece_o.generation   = job_i.generation;
      piece_o.slot         = job_i.slot;
      piece_o.pattern      = job_i.pattern;
      piece_o.length_bytes = job_i.length_bytes;
      piece_o.address      = job_i.address;
      piece_o.last         = !two_halves || second_q || job_i.malformed;
      if (is_list) begin
        piece_o.length_bytes = extent_length_q;
        piece_o.address      = extent_address_q;
        piece_o.last         = extent_last_q && (!two_halves || second_q);
        if (list_bad_q) piece_o.cause = 4'(sluice_ring_pkg::CauseSlaveError);
        else if (extent_bad_q) piece_o.cause = 4'(sluice_ring_pkg::CauseBadDescriptor);
        if (extent_bad_q || abandon_i) begin
          piece_o.last         = 1'b1;
          piece_o.counted      = 1'b1;
          piece_o.length_bytes = is_second ? after_q : left_q;
          piece_o.kind         = extent_bad_q ? sluice_pkg::KindNone : piece_o.kind;
        end
      end
    end
  end

  assign piece_valid_o  = job_valid_i && (!is_list || state_q == StSend);
  assign send           = piece_valid_o && piece_ready_i;
  assign finishes       = send && piece_o.last;
  assign leaves         = send && (!two_halves || second_q);  // the extent
  assign pick           = state_q == StPick || (state_q == StSend && leaves && extent_q != 2'd0);
  assign job_ready_o    = finishes;
  assign list_valid_o   = state_q == StAsk;
  assign list_address_o = line_address_q;
  assign idle_o         = state_q == StPlain;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q    <= StPlain;
      second_q   <= 1'b0;
      extent_q   <= '0;
      list_bad_q <= 1'b0;
    end else begin
      case (state_q)
        StPlain: begin
          if (job_valid_i && is_list) begin
            state_q    <= StAsk;
            list_bad_q <= 1'b0;
            extent_q   <= '0;
          end
        end
        StAsk: if (list_ready_i) state_q <= StWait;
        StWait: begin
          if (list_done_i) begin
            state_q    <= StPick;
            list_bad_q <= list_bad_i;
          end
        end
        StPick: state_q <= StSend;
        default: begin
          if (finishes) state_q <= StPlain;
          else if (leaves && extent_q == 2'd0) state_q <= StAsk;
        end
      endcase
      if (pick) extent_q <= extent_q + 2'd1;
      if (send) second_q <= two_halves && !second_q && !piece_o.last;
    end
  end

  always_comb begin
    next_extent = '0;
    next_length = 'x;
    next_after  = 'x;
    if (pick) begin
      for (int unsigned e = 0; e < 4; e++) begin
        if (extent_q == 2'(e)) next_extent = next_extent | line_q[e*ExtentBits+:ExtentBits];
      end
      next_length = next_extent[64+:sluice_pkg::LengthWidth];
      next_after  = {1'b0, after_q} - {1'b0, next_length};
    end
  end
  always_ff @(posedge clk_i) begin
    if (state_q == StPlain && job_valid_i) begin
      line_address_q <= job_i.address;
      after_q        <= job_i.length_bytes;
    end
    if (pick) begin
      extent_address_q <= next_extent[63:0];
      extent_length_q  <= next_length;
      extent_bad_q     <= next_length == '0 || next_extent[ExtentBits-1] || next_after[sluice_pkg::LengthWidth] ||
                          list_bad_q;
      extent_last_q    <= next_after == '0;
      left_q           <= after_q;
      after_q          <= next_after[sluice_pkg::LengthWidth-1:0];
    end
    if (list_done_i) begin
      line_address_q <= line_address_q + 64'd64;
      for (int unsigned e = 0; e < 4; e++) begin
        line_q[e*ExtentBits+:ExtentBits] <= {(list_line_i[e*128+64+:64] >> sluice_pkg::LengthWidth) != 64'd0,
                                             list_line_i[e*128+64+:sluice_pkg::LengthWidth], list_line_i[e*128+:64]};
      end
    end
  end
endmodule
