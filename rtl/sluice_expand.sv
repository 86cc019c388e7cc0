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
  // For a list: which extent of it is next, and what is left of the job. Else only whether the first half of a
  // fill-then-verify has gone.
  typedef enum logic [1:0] {
    StPlain,
    StAsk,   // for a line of the list
    StWait,  // for its data
    StLine   // use it
  } state_e;
  state_e state_q;
  logic second_q, list_bad_q;
  logic [511:0] line_q;
  logic [1:0] extent_q;
  logic [63:0] line_address_q, list_extent_address, list_extent_length;
  logic [sluice_pkg::LengthWidth-1:0] left_q, left_after;
  logic is_list, touches, two_halves, is_second, extent_bad, finishes, send;

  assign is_list    = job_i.is_list && !job_i.malformed;
  assign touches    = job_i.operation != 3'(sluice_ring_pkg::OpFence) && job_i.operation != 3'(sluice_ring_pkg::OpNoop);
  assign two_halves = job_i.operation == 3'(sluice_ring_pkg::OpFillVerify);
  assign is_second  = two_halves && second_q;

  always_comb begin
    list_extent_address = 'x;
    list_extent_length  = 'x;
    extent_bad          = 1'b0;
    left_after          = 'x;
    if (state_q == StLine) begin
      list_extent_address = line_q[32'(extent_q)*128+:64];
      list_extent_length  = line_q[32'(extent_q)*128+64+:64];
      extent_bad          = list_extent_length == 64'd0 || list_extent_length > 64'(left_q) || list_bad_q;
      left_after          = left_q - list_extent_length[sluice_pkg::LengthWidth-1:0];
    end
  end

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
        piece_o.length_bytes = list_extent_length[sluice_pkg::LengthWidth-1:0];
        piece_o.address      = list_extent_address;
        piece_o.last         = left_after == '0 && (!two_halves || second_q);
        if (list_bad_q) piece_o.cause = 4'(sluice_ring_pkg::CauseSlaveError);
        else if (extent_bad) piece_o.cause = 4'(sluice_ring_pkg::CauseBadDescriptor);
        if (extent_bad || abandon_i) begin
          piece_o.last         = 1'b1;
          piece_o.counted      = 1'b1;
          piece_o.length_bytes = is_second ? left_after : left_q;
          piece_o.kind         = extent_bad ? sluice_pkg::KindNone : piece_o.kind;
        end
      end
    end
  end

  assign piece_valid_o  = job_valid_i && (!is_list || state_q == StLine);
  assign send           = piece_valid_o && piece_ready_i;
  assign finishes       = send && piece_o.last;
  assign job_ready_o    = finishes;
  assign list_valid_o   = state_q == StAsk;
  assign list_address_o = line_address_q;
  assign idle_o         = state_q == StPlain;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q    <= StPlain;
      second_q   <= 1'b0;
      extent_q   <= '0;
      left_q     <= '0;
      list_bad_q <= 1'b0;
    end else begin
      case (state_q)
        StPlain: begin
          if (job_valid_i && is_list) begin
            state_q    <= StAsk;
            left_q     <= job_i.length_bytes;
            list_bad_q <= 1'b0;
            extent_q   <= '0;
          end
        end
        StAsk: if (list_ready_i) state_q <= StWait;
        StWait: begin
          if (list_done_i) begin
            state_q    <= StLine;
            list_bad_q <= list_bad_i;
          end
        end
        default: begin
          if (finishes) begin
            state_q <= StPlain;
          end else if (send && (!two_halves || second_q)) begin
            extent_q <= extent_q + 2'd1;
            left_q   <= left_after;
            if (extent_q == 2'd3) state_q <= StAsk;
          end
        end
      endcase
      if (send) second_q <= two_halves && !second_q && !piece_o.last;
    end
  end

  always_ff @(posedge clk_i) begin
    if (state_q == StPlain && job_valid_i) line_address_q <= job_i.address;
    if (list_done_i) begin
      line_address_q <= line_address_q + 64'd64;
      line_q         <= list_line_i;
    end
  end
endmodule
