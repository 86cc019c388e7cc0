// SPDX-License-Identifier: Apache-2.0
// Cuts a job into AXI bursts that stay inside 4 KiB pages. Each burst is a point at which a cancel or an error stops
// the job. The next job starts in the cycle after the last burst of the one before.
module sluice_split #(
    parameter int unsigned DATA_WIDTH = 512,
    parameter int unsigned TAG_WIDTH  = 4
) (
    input  logic                      clk_i,
    input  logic                      rst_ni,
    input  sluice_pkg::job_t          job_i,
    input  logic                      job_valid_i,
    output logic                      job_ready_o,
    output logic                      idle_o,

    // the job's entry in sluice_track
    output logic                      open_o,
    input  logic                      open_ready_i,
    input  logic [TAG_WIDTH-1:0]      open_tag_i,
    output logic                      close_o,
    output logic [TAG_WIDTH-1:0]      close_tag_o,
    output logic                      close_cancelled_o,

    // the running job, for the cancel table and the error look-up
    output logic [15:0]               slot_o,
    output logic [31:0]               generation_o,
    output logic [TAG_WIDTH-1:0]      tag_o,
    input  logic                      cancel_hit_i,
    input  logic                      error_hit_i,

    output sluice_pkg::burst_t        burst_o,
    output logic                      burst_valid_o,
    input  logic                      burst_ready_i
);
  localparam int unsigned BusBytes = DATA_WIDTH / 8;
  // AXI4 allows 256 beats and no crossing of 4 KiB.
  localparam int unsigned MaxBurstBytes = (BusBytes * 256 < 4096) ? BusBytes * 256 : 4096;
  localparam int unsigned BoundaryW = $clog2(MaxBurstBytes);

  logic busy_q, stop, fire, is_last, accept, refused;
  logic [63:0] address_q, pattern_q;
  logic [sluice_pkg::LengthWidth-1:0] left_q, room;
  logic [15:0] slot_q;
  logic [31:0] generation_q;
  logic [TAG_WIDTH-1:0] tag_q;

  assign room    = sluice_pkg::LengthWidth'(MaxBurstBytes) - sluice_pkg::LengthWidth'(address_q[BoundaryW-1:0]);
  assign is_last = left_q <= room;
  assign stop    = cancel_hit_i || error_hit_i;
  assign fire    = burst_valid_o && burst_ready_i;

  assign refused      = job_i.cause != sluice_pkg::CauseNone;
  assign job_ready_o  = open_ready_i && (!busy_q || close_o);
  assign accept       = job_valid_i && job_ready_o;
  assign open_o       = accept;
  assign idle_o       = !busy_q;
  assign slot_o       = slot_q;
  assign generation_o = generation_q;
  assign tag_o        = tag_q;

  assign close_o           = busy_q && (stop || (fire && is_last));
  assign close_tag_o       = tag_q;
  assign close_cancelled_o = cancel_hit_i && !error_hit_i;

  assign burst_valid_o = busy_q && !stop;
  always_comb begin
    burst_o.address = address_q;
    burst_o.bytes   = is_last ? left_q[sluice_pkg::BurstBytesWidth-1:0] : room[sluice_pkg::BurstBytesWidth-1:0];
    burst_o.data    = {pattern_q, pattern_q};
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      busy_q       <= 1'b0;
      address_q    <= '0;
      left_q       <= '0;
      pattern_q    <= '0;
      slot_q       <= '0;
      generation_q <= '0;
      tag_q        <= '0;
    end else begin
      if (fire) begin
        address_q <= address_q + 64'(burst_o.bytes);
        left_q    <= left_q - sluice_pkg::LengthWidth'(burst_o.bytes);
      end
      if (close_o) busy_q <= 1'b0;
      if (accept && !refused) begin
        busy_q       <= 1'b1;
        address_q    <= job_i.address;
        left_q       <= job_i.length_bytes;
        pattern_q    <= job_i.pattern;
        slot_q       <= job_i.slot;
        generation_q <= job_i.generation;
        tag_q        <= open_tag_i;
      end
    end
  end
endmodule
