// SPDX-License-Identifier: Apache-2.0
// Cuts a queue's pieces into AXI bursts that stay inside 4 KiB pages, one burst a cycle, the next job right behind the
// one before. Each burst is a point at which a cancel, an error, an abort or the watchdog stops the job: what is left of
// it is dropped, and an entry that is no burst ends it. Reads wait until all writes of the queue are answered and the
// other way round, so that a verify sees what was written before it, and answers come in the order of the entries.
module sluice_split #(
    parameter int unsigned DATA_WIDTH = 512
) (
    input  logic                  clk_i,
    input  logic                  rst_ni,
    input  sluice_pkg::checked_t  checked_i,
    input  logic                  checked_valid_i,
    output logic                  checked_ready_o,
    output logic                  abandon_o,       // the job is stopped and its last piece has not come yet
    output logic                  idle_o,

    input  logic                  cancel_i,
    input  logic [15:0]           cancel_slot_i,
    input  logic [31:0]           cancel_generation_i,
    input  logic                  abort_i,
    input  logic                  quarantine_i,
    input  logic                  error_hit_i,     // a burst of the running job has failed
    input  logic                  room_i,          // for an entry
    input  logic                  quiet_i,         // no burst is unanswered

    output sluice_pkg::burst_t    burst_o,
    output logic                  burst_valid_o,
    input  logic                  burst_ready_i,
    output sluice_pkg::entry_t    entry_o,
    output logic                  entry_valid_o,

    output logic                           skipped_o,
    output logic [sluice_pkg::LengthWidth:0] skipped_bytes_o  // 0 when none were
);
  localparam int unsigned BusBytes = DATA_WIDTH / 8;
  localparam int unsigned OffsetW = $clog2(BusBytes);
  localparam int unsigned MaxBurstBytes = (BusBytes * 256 < 4096) ? BusBytes * 256 : 4096;
  localparam int unsigned BoundaryW = $clog2(MaxBurstBytes);

  // The piece in work: what it is, and its next burst.
  logic busy_q, last_q, fence_q, verify_only_q, counted_q, cancelled_q;
  logic [1:0] kind_q;
  logic [3:0] cause_q;
  logic [31:0] generation_q;
  logic [15:0] slot_q;
  logic [63:0] pattern_q, address_q;
  logic [sluice_pkg::BurstBytesWidth-1:0] bytes_q;
  logic [sluice_pkg::LengthWidth-1:0] rest_q;
  logic [6:0] end_lane_q;

  // Why the job was stopped, while its later pieces are dropped.
  logic stopped_q, stopped_cancelled_q;
  logic [3:0] stopped_cause_q;

  // What is under way: reads with one pattern, or writes.
  logic flight_read_q, same_pattern_q;
  logic [63:0] flight_pattern_q;

  logic more, direct_hit, stop, is_read, kind_fits, fire, is_last_burst, drop, ends, leaves, load, cancelled;
  logic [3:0] cause;
  logic [sluice_pkg::BurstBytesWidth-1:0] last_byte;

  assign direct_hit = cancel_i && cancel_slot_i == slot_q && cancel_generation_i == generation_q;
  assign is_read    = kind_q == sluice_pkg::KindRead;
  assign stop       = stopped_q || cancelled_q || abort_i || quarantine_i || error_hit_i ||
                      cause_q != 4'(sluice_ring_pkg::CauseNone);
  assign kind_fits  = quiet_i || (is_read ? flight_read_q && same_pattern_q : !flight_read_q);

  assign burst_valid_o = busy_q && kind_q != sluice_pkg::KindNone && !stop && kind_fits && room_i;
  assign fire          = burst_valid_o && burst_ready_i;
  assign is_last_burst = rest_q == '0;
  assign more          = rest_q[sluice_pkg::LengthWidth-1:BoundaryW+1] != '0 ||
                         (rest_q[BoundaryW] && rest_q[BoundaryW-1:0] != '0);
  assign drop          = busy_q && (kind_q == sluice_pkg::KindNone || stop) &&
                         (!last_q || (room_i && (!fence_q || quiet_i || quarantine_i)));
  assign ends          = last_q && (drop || (fire && is_last_burst));
  assign leaves        = drop || (fire && is_last_burst);

  assign checked_ready_o = !busy_q || leaves;
  assign load            = checked_valid_i && checked_ready_o;
  assign abandon_o       = busy_q ? stop && !last_q : stopped_q;
  assign idle_o          = !busy_q && !stopped_q;

  // The first reason counts. An error that the book knows already needs none.
  always_comb begin
    if (stopped_q) begin
      cause     = stopped_cause_q;
      cancelled = stopped_cancelled_q;
    end else begin
      cause     = cause_q;
      cancelled = 1'b0;
      if (cause_q == 4'(sluice_ring_pkg::CauseNone)) begin
        if (quarantine_i) cause = 4'(sluice_ring_pkg::CauseTimeout);
        else if (!error_hit_i) cancelled = cancelled_q || abort_i;
      end
    end
  end

  assign last_byte = sluice_pkg::BurstBytesWidth'(address_q[OffsetW-1:0]) + bytes_q - sluice_pkg::BurstBytesWidth'(1);
  always_comb begin
    burst_o = 'x;
    entry_o = 'x;
    if (busy_q) begin
      burst_o.address    = address_q;
      burst_o.bytes      = bytes_q;
      burst_o.last_beat  = 8'(last_byte >> OffsetW);
      burst_o.first_lane = 7'(address_q[OffsetW-1:0]);
      burst_o.last_lane  = is_last_burst ? end_lane_q : 7'(BusBytes - 1);
      burst_o.pattern    = pattern_q;
      burst_o.is_read    = is_read;

      entry_o.is_burst    = !drop;
      entry_o.is_read     = is_read;
      entry_o.ends        = ends;
      entry_o.verify_only = verify_only_q;
      entry_o.cancelled   = drop && cancelled;
      entry_o.cause       = drop ? cause : 4'(sluice_ring_pkg::CauseNone);
      entry_o.bytes       = bytes_q;
      entry_o.slot        = slot_q;
      entry_o.generation  = generation_q;
    end
  end
  assign entry_valid_o = fire || (drop && last_q);

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      busy_q              <= 1'b0;
      cancelled_q         <= 1'b0;
      stopped_q           <= 1'b0;
      stopped_cancelled_q <= 1'b0;
      stopped_cause_q     <= '0;
      flight_read_q       <= 1'b0;
      same_pattern_q      <= 1'b0;
      skipped_o           <= 1'b0;
    end else begin
      if (load) busy_q <= 1'b1;
      else if (leaves) busy_q <= 1'b0;
      if (load) cancelled_q <= checked_i.cancelled;
      else if (direct_hit) cancelled_q <= 1'b1;
      if (ends) begin
        stopped_q <= 1'b0;
      end else if (drop && !stopped_q) begin
        stopped_q           <= 1'b1;
        stopped_cancelled_q <= cancelled;
        stopped_cause_q     <= cause;
      end
      if (fire) flight_read_q <= is_read;
      same_pattern_q <= !load && pattern_q == flight_pattern_q;
      skipped_o      <= drop && cancelled && counted_q;
    end
  end

  always_ff @(posedge clk_i) begin
    skipped_bytes_o <= '0;
    if (drop && cancelled && counted_q) begin
      skipped_bytes_o <= (sluice_pkg::LengthWidth + 1)'(bytes_q) + (sluice_pkg::LengthWidth + 1)'(rest_q);
    end
    if (fire) flight_pattern_q <= pattern_q;
    if (load) begin
      last_q        <= checked_i.piece.last;
      fence_q       <= checked_i.piece.fence;
      verify_only_q <= checked_i.piece.verify_only;
      counted_q     <= checked_i.piece.counted;
      kind_q        <= checked_i.piece.kind;
      cause_q       <= checked_i.piece.cause;
      generation_q  <= checked_i.piece.generation;
      slot_q        <= checked_i.piece.slot;
      pattern_q     <= checked_i.piece.pattern;
      address_q     <= checked_i.piece.address;
      bytes_q       <= checked_i.first_bytes;
      rest_q        <= checked_i.rest_bytes;
      end_lane_q    <= checked_i.end_lane;
    end else if (fire) begin
      // From the next boundary on.
      address_q <= {address_q[63:BoundaryW] + (64 - BoundaryW)'(1), BoundaryW'(0)};
      if (more) begin
        bytes_q <= sluice_pkg::BurstBytesWidth'(MaxBurstBytes);
        rest_q  <= {rest_q[sluice_pkg::LengthWidth-1:BoundaryW] - (sluice_pkg::LengthWidth - BoundaryW)'(1),
                    rest_q[BoundaryW-1:0]};
      end else begin
        bytes_q <= rest_q[sluice_pkg::BurstBytesWidth-1:0];
        rest_q  <= '0;
      end
    end
  end
endmodule
