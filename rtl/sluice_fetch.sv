// SPDX-License-Identifier: Apache-2.0
// Reads for one queue: descriptors from its submission ring, in runs of up to 16 and ahead of their use, and lines of
// extent lists on request. Pointers count without wrapping at the ring size: only their low ring_log2 bits address the
// ring. Answers come in order; a small FIFO remembers which kind each read was. A descriptor that cannot be read stops
// fetching (fault_o) until the queue is enabled again, and so does the watchdog (quarantine_i). What arrives after either
// is dropped: the jobs that the queue has taken are always the first sq_head_o, without a gap.
module sluice_fetch #(
    parameter int unsigned DATA_WIDTH = 512,
    parameter int unsigned ADDR_WIDTH = 64,
    parameter int unsigned NUM_SLOTS  = 256,
    parameter int unsigned PREFETCH   = 128
) (
    input  logic        clk_i,
    input  logic        rst_ni,
    input  logic        enable_i,
    input  logic [3:0]  ring_log2_i,
    input  logic [63:0] sq_base_i,
    input  logic        start_i,
    input  logic [15:0] sq_tail_i,
    input  logic        quarantine_i,
    output logic [15:0] sq_head_o,       // descriptors that have arrived
    output logic        fault_o,
    output logic        idle_o,
    output logic        waiting_o,       // reads are under way

    // to the read master: whole 64-byte lines
    output logic [63:0]           address_o,
    output logic [4:0]            lines_o,
    output logic                  valid_o,
    input  logic                  ready_i,
    input  logic                  data_valid_i,
    input  logic [DATA_WIDTH-1:0] data_i,
    input  logic                  data_bad_i,
    input  logic                  data_last_i,

    input  logic                  list_valid_i,   // asks for the line at list_address_i
    input  logic [63:0]           list_address_i,
    output logic                  list_ready_o,
    output logic                  list_done_o,    // one cycle: list_line_o is it
    output logic                  list_bad_o,
    output logic [511:0]          list_line_o,

    output sluice_pkg::job_t      job_o,
    output logic                  job_valid_o,
    input  logic                  job_ready_i
);
  localparam int unsigned LineBits = 512;
  localparam int unsigned ReadBits = (DATA_WIDTH < LineBits) ? DATA_WIDTH : LineBits;
  localparam int unsigned Beats = LineBits / ReadBits;
  localparam int unsigned SpaceW = $clog2(PREFETCH) + 1;
  localparam int unsigned MaxReads = 16;
  localparam int unsigned MaxLengthBit = $clog2(sluice_ring_pkg::MaxLengthBytes);  // it is a power of two

  // Ask for descriptors: first work out how many, then ask. A run waits for space for all that it could take, or for 8.
  logic [15:0] head_q, arrived_q, available, index;  // head_q: those asked for
  logic [SpaceW-1:0] space_q;
  logic [4:0] run_q, run, to_boundary, ready_to_read;
  logic [3:0] boundary_mask;
  logic [63:0] address_q;
  logic space_for_all, wanted, plan, ask, ask_list, pending_q, planned_q, fault_q;
  logic kinds_ready, kind_is_list, kind_known, job_pop, unused_fifo_ready;
  logic line_done, line_bad, descriptor_done, push;
  logic [4:0] reads_under_way;
  logic [SpaceW-1:0] jobs_waiting;

  assign available = sq_tail_i - head_q;
  assign index     = head_q & sluice_pkg::ring_mask(ring_log2_i);
  // A run ends at a multiple of 16 descriptors, or of the ring's size if that is smaller.
  assign boundary_mask = (ring_log2_i < 4'd4) ? 4'((5'd1 << ring_log2_i[1:0]) - 5'd1) : 4'hF;
  assign to_boundary   = {1'b0, boundary_mask & ~head_q[3:0]} + 5'd1;
  assign ready_to_read = (available[15:4] != '0) ? 5'd16 : available[4:0];
  assign space_for_all = space_q >= SpaceW'(ready_to_read) || space_q >= SpaceW'(to_boundary);
  always_comb begin
    run = (ready_to_read < to_boundary) ? ready_to_read : to_boundary;
    if (!space_for_all) run = {1'b0, space_q[3:0]};
  end

  assign wanted   = enable_i && !start_i && !fault_q && available != '0;
  assign plan     = wanted && !pending_q && (space_for_all || space_q[SpaceW-1:3] != '0);
  assign ask_list = list_valid_i && kinds_ready;
  assign ask      = pending_q && !list_valid_i && kinds_ready;

  assign valid_o      = ask_list || ask;
  assign address_o    = list_valid_i ? list_address_i : address_q;
  assign lines_o      = list_valid_i ? 5'd1 : run_q;
  assign list_ready_o = kinds_ready && ready_i;
  assign job_pop      = job_valid_o && job_ready_i;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      head_q    <= '0;
      arrived_q <= '0;
      space_q   <= SpaceW'(PREFETCH);
      run_q     <= '0;
      pending_q <= 1'b0;
      planned_q <= 1'b0;
      fault_q   <= 1'b0;
    end else begin
      if (plan) begin
        pending_q <= 1'b1;
        run_q     <= run;
      end else if (ask && ready_i) begin
        pending_q <= 1'b0;
      end
      planned_q <= plan;
      if (planned_q) head_q <= head_q + 16'(run_q);
      space_q <= space_q - (planned_q ? SpaceW'(run_q) : '0) + SpaceW'(job_pop) + SpaceW'(descriptor_done && !push);
      if (push) arrived_q <= arrived_q + 16'd1;
      if (descriptor_done && line_bad) fault_q <= 1'b1;
      if (start_i) begin
        head_q    <= '0;
        arrived_q <= '0;
        fault_q   <= 1'b0;
      end
    end
  end
  always_ff @(posedge clk_i) begin
    if (plan) address_q <= sq_base_i + {42'd0, index, 6'd0};
  end

  sluice_fifo #(
      .WIDTH(1),
      .DEPTH(MaxReads)
  ) u_kinds (
      .clk_i, .rst_ni,
      .push_i(valid_o && ready_i), .data_i(list_valid_i), .ready_o(kinds_ready),
      .valid_o(kind_known), .data_o(kind_is_list), .pop_i(data_valid_i && data_last_i), .count_o(reads_under_way)
  );

  // Put the beats of a line together. A bus wider than a line delivers it in the lanes of its address.
  logic beats_bad;
  logic [LineBits-1:0] line;
  if (Beats > 1) begin : g_narrow
    logic [$clog2(Beats)-1:0] beat_q;
    logic [LineBits-ReadBits-1:0] earlier_q;
    logic bad_q;
    assign line_done = data_valid_i && beat_q == $clog2(Beats)'(Beats - 1);
    assign beats_bad = bad_q;
    assign line      = {data_i, earlier_q};
    always_ff @(posedge clk_i) begin
      if (!rst_ni) begin
        beat_q <= '0;
        bad_q  <= 1'b0;
      end else if (data_valid_i) begin
        beat_q <= beat_q + $clog2(Beats)'(1);
        bad_q  <= !line_done && (bad_q || data_bad_i);
      end
    end
    always_ff @(posedge clk_i) begin
      if (data_valid_i) earlier_q <= (LineBits - ReadBits)'({data_i, earlier_q} >> ReadBits);
    end
  end else begin : g_whole
    assign line_done = data_valid_i;
    assign beats_bad = 1'b0;
    if (DATA_WIDTH > LineBits) begin : g_wide
      // Rings are page-aligned, so a descriptor's lane is the low bit of its index; a list line's is in its address.
      logic descriptor_lane_q, list_lane_q, lane;
      always_ff @(posedge clk_i) begin
        if (!rst_ni) descriptor_lane_q <= 1'b0;
        else if (start_i) descriptor_lane_q <= 1'b0;
        else if (line_done && !kind_is_list) descriptor_lane_q <= !descriptor_lane_q;
      end
      always_ff @(posedge clk_i) begin
        if (list_valid_i && list_ready_o) list_lane_q <= list_address_i[6];
      end
      assign lane = kind_is_list ? list_lane_q : descriptor_lane_q;
      assign line = lane ? data_i[DATA_WIDTH-1-:LineBits] : data_i[LineBits-1:0];
    end else begin : g_same
      assign line = data_i;
    end
  end
  assign line_bad        = beats_bad || data_bad_i;
  assign descriptor_done = line_done && !kind_is_list;
  assign push            = descriptor_done && !line_bad && !fault_q && !quarantine_i;
  assign list_done_o     = line_done && kind_is_list;
  assign list_bad_o      = line_bad;
  assign list_line_o     = line;

  // Keep what is needed of a descriptor, and whether it is well formed.
  sluice_ring_pkg::descriptor_t descriptor;
  sluice_pkg::job_t job;
  logic touches, is_list, bad_length, bad_operation, bad_flags, address_too_high;

  assign descriptor    = line;
  assign touches       = descriptor.operation != sluice_ring_pkg::OpFence &&
                         descriptor.operation != sluice_ring_pkg::OpNoop;
  assign is_list       = descriptor.flags[0];
  assign bad_operation = descriptor.operation == 8'd0 || descriptor.operation > sluice_ring_pkg::OpNoop;
  assign bad_length    = touches ? (descriptor.length_bytes == 64'd0 ||
                                    descriptor.length_bytes[63:MaxLengthBit+1] != '0 ||
                                    (descriptor.length_bytes[MaxLengthBit] &&
                                     descriptor.length_bytes[MaxLengthBit-1:0] != '0))
                                 : descriptor.length_bytes != 64'd0;
  assign bad_flags     = descriptor.flags[7:1] != 7'd0 ||
                         (is_list && (!touches || descriptor.address[5:0] != 6'd0 || address_too_high));
  if (ADDR_WIDTH < 64) begin : g_short
    assign address_too_high = descriptor.address[63:ADDR_WIDTH] != '0;
  end else begin : g_full
    assign address_too_high = 1'b0;
  end
  always_comb begin
    job = 'x;
    if (push) begin
      job.malformed    = bad_operation || bad_length || bad_flags || descriptor.reserved != 256'd0 ||
                         32'(descriptor.slot) >= NUM_SLOTS;
      job.is_list      = is_list;
      job.operation    = descriptor.operation[2:0];
      job.generation   = descriptor.generation;
      job.slot         = descriptor.slot;
      job.pattern      = descriptor.pattern;
      job.length_bytes = descriptor.length_bytes[sluice_pkg::LengthWidth-1:0];
      job.address      = descriptor.address;
    end
  end
  sluice_fifo #(
      .WIDTH ($bits(job)),
      .DEPTH (PREFETCH),
      .BYPASS(1'b0)
  ) u_jobs (
      .clk_i, .rst_ni,
      .push_i(push), .data_i(job), .ready_o(unused_fifo_ready),
      .valid_o(job_valid_o), .data_o(job_o), .pop_i(job_pop), .count_o(jobs_waiting)
  );

  assign sq_head_o = arrived_q;
  assign fault_o   = fault_q;
  assign waiting_o = reads_under_way != 5'd0;
  assign idle_o    = !waiting_o && !kind_known && !pending_q && !wanted && jobs_waiting == '0;
endmodule
