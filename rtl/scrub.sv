// SPDX-License-Identifier: Apache-2.0
// The scrub engine, with the ports of a Vitis RTL kernel (protocol user_managed): one AXI4-Lite control slave, one level
// interrupt, active high, and AXI4 masters: m00_axi for data, m01_axi for rings, or m00_axi for both (NUM_MASTERS = 1,
// m01_axi is silent then). ap_rst_n resets at once and must reset the bus behind the masters too; the reset in CTRL
// waits for the bus instead. A new pin needs its register in sim/device/rtl/scrub_pins.sv.
module scrub #(
    parameter int unsigned DATA_WIDTH      = 512,   // 64, 128, 256, 512 or 1024
    parameter int unsigned ADDR_WIDTH      = 64,    // 40 to 64
    parameter int unsigned NUM_QUEUES      = 4,     // 1 to 16
    parameter int unsigned NUM_SLOTS       = 256,   // of a queue: 16 to 4096, a power of two
    parameter int unsigned PREFETCH        = 128,   // descriptors of a queue fetched ahead: 16 to 128, a power of two
    parameter int unsigned MAX_OUTSTANDING = 128,   // bursts of a queue under way: 16 to 1024, a power of two
    parameter int unsigned NUM_MASTERS     = 2,     // 1 or 2
    parameter bit          ID_PER_QUEUE    = 1'b1,  // 0: one AXI ID for data and one for rings
    parameter bit          WAIT_FOR_ACKS   = 1'b1,  // 0 breaks a promise, for tests
    localparam int unsigned QUEUE_W        = (NUM_QUEUES > 1) ? $clog2(NUM_QUEUES) : 1,
    localparam int unsigned ID_WIDTH       = QUEUE_W + 1
) (
    input  logic ap_clk,
    input  logic ap_rst_n,
    output logic interrupt,

    input  logic [11:0] s_axi_control_awaddr,
    input  logic        s_axi_control_awvalid,
    output logic        s_axi_control_awready,
    input  logic [31:0] s_axi_control_wdata,
    input  logic [3:0]  s_axi_control_wstrb,
    input  logic        s_axi_control_wvalid,
    output logic        s_axi_control_wready,
    output logic [1:0]  s_axi_control_bresp,
    output logic        s_axi_control_bvalid,
    input  logic        s_axi_control_bready,
    input  logic [11:0] s_axi_control_araddr,
    input  logic        s_axi_control_arvalid,
    output logic        s_axi_control_arready,
    output logic [31:0] s_axi_control_rdata,
    output logic [1:0]  s_axi_control_rresp,
    output logic        s_axi_control_rvalid,
    input  logic        s_axi_control_rready,

    output logic [ID_WIDTH-1:0] m00_axi_awid,
    output logic [ADDR_WIDTH-1:0] m00_axi_awaddr,
    output logic [7:0] m00_axi_awlen,
    output logic [2:0] m00_axi_awsize,
    output logic [1:0] m00_axi_awburst,
    output logic m00_axi_awvalid,
    input  logic m00_axi_awready,
    output logic [DATA_WIDTH-1:0] m00_axi_wdata,
    output logic [DATA_WIDTH/8-1:0] m00_axi_wstrb,
    output logic m00_axi_wlast,
    output logic m00_axi_wvalid,
    input  logic m00_axi_wready,
    input  logic [ID_WIDTH-1:0] m00_axi_bid,
    input  logic [1:0] m00_axi_bresp,
    input  logic m00_axi_bvalid,
    output logic m00_axi_bready,
    output logic [ID_WIDTH-1:0] m00_axi_arid,
    output logic [ADDR_WIDTH-1:0] m00_axi_araddr,
    output logic [7:0] m00_axi_arlen,
    output logic [2:0] m00_axi_arsize,
    output logic [1:0] m00_axi_arburst,
    output logic m00_axi_arvalid,
    input  logic m00_axi_arready,
    input  logic [ID_WIDTH-1:0] m00_axi_rid,
    input  logic [DATA_WIDTH-1:0] m00_axi_rdata,
    input  logic [1:0] m00_axi_rresp,
    input  logic m00_axi_rlast,
    input  logic m00_axi_rvalid,
    output logic m00_axi_rready,

    output logic [ID_WIDTH-1:0] m01_axi_awid,
    output logic [ADDR_WIDTH-1:0] m01_axi_awaddr,
    output logic [7:0] m01_axi_awlen,
    output logic [2:0] m01_axi_awsize,
    output logic [1:0] m01_axi_awburst,
    output logic m01_axi_awvalid,
    input  logic m01_axi_awready,
    output logic [DATA_WIDTH-1:0] m01_axi_wdata,
    output logic [DATA_WIDTH/8-1:0] m01_axi_wstrb,
    output logic m01_axi_wlast,
    output logic m01_axi_wvalid,
    input  logic m01_axi_wready,
    input  logic [ID_WIDTH-1:0] m01_axi_bid,
    input  logic [1:0] m01_axi_bresp,
    input  logic m01_axi_bvalid,
    output logic m01_axi_bready,
    output logic [ID_WIDTH-1:0] m01_axi_arid,
    output logic [ADDR_WIDTH-1:0] m01_axi_araddr,
    output logic [7:0] m01_axi_arlen,
    output logic [2:0] m01_axi_arsize,
    output logic [1:0] m01_axi_arburst,
    output logic m01_axi_arvalid,
    input  logic m01_axi_arready,
    input  logic [ID_WIDTH-1:0] m01_axi_rid,
    input  logic [DATA_WIDTH-1:0] m01_axi_rdata,
    input  logic [1:0] m01_axi_rresp,
    input  logic m01_axi_rlast,
    input  logic m01_axi_rvalid,
    output logic m01_axi_rready
);
  localparam int unsigned LineWidth = (DATA_WIDTH < 128) ? 128 : DATA_WIDTH;
  localparam int unsigned IndexW = $clog2((NUM_QUEUES + 1) * 8);
  localparam bit Shared = NUM_MASTERS == 1;
  localparam logic [31:0] Capabilities =
      {8'(ADDR_WIDTH), 8'($clog2(NUM_SLOTS)), 8'(NUM_QUEUES), 8'($clog2(DATA_WIDTH / 8))};
  localparam logic [31:0] Limits = {5'd0, ID_PER_QUEUE, 2'(NUM_MASTERS), 8'(PREFETCH), 16'(MAX_OUTSTANDING)};

  // Parameters outside their range stop the elaboration here.
  if (DATA_WIDTH < 64 || DATA_WIDTH > 1024 || (DATA_WIDTH & (DATA_WIDTH - 1)) != 0) begin : g_data_width
    $error("DATA_WIDTH is %0d: give 64, 128, 256, 512 or 1024", DATA_WIDTH);
  end
  if (ADDR_WIDTH < 40 || ADDR_WIDTH > 64) begin : g_addr_width
    $error("ADDR_WIDTH is %0d: give 40 to 64", ADDR_WIDTH);
  end
  if (NUM_QUEUES < 1 || NUM_QUEUES > 16) begin : g_num_queues
    $error("NUM_QUEUES is %0d: give 1 to 16", NUM_QUEUES);
  end
  if (NUM_SLOTS < 16 || NUM_SLOTS > 4096 || (NUM_SLOTS & (NUM_SLOTS - 1)) != 0) begin : g_num_slots
    $error("NUM_SLOTS is %0d: give a power of two from 16 to 4096", NUM_SLOTS);
  end
  if (PREFETCH < 16 || PREFETCH > 128 || (PREFETCH & (PREFETCH - 1)) != 0) begin : g_prefetch
    $error("PREFETCH is %0d: give a power of two from 16 to 128", PREFETCH);
  end
  if (MAX_OUTSTANDING < 16 || MAX_OUTSTANDING > 1024 || (MAX_OUTSTANDING & (MAX_OUTSTANDING - 1)) != 0) begin : g_outstanding
    $error("MAX_OUTSTANDING is %0d: give a power of two from 16 to 1024", MAX_OUTSTANDING);
  end
  if (NUM_MASTERS < 1 || NUM_MASTERS > 2) begin : g_num_masters
    $error("NUM_MASTERS is %0d: give 1 or 2", NUM_MASTERS);
  end

  // Registers.
  logic check, write, write_wait, write_error, refused, read, to_queue, engine_write_error;
  logic enable, abort_all, clear, tick, queue_clear_n, counters_known;
  logic [11:0] write_address, read_address;
  logic [31:0] write_data, read_data, engine_read_data, queue_read_data;
  logic [NUM_QUEUES-1:0] selected, queue_wait, queue_error, idle, cause;
  logic [NUM_QUEUES*32-1:0] queue_data;
  logic [63:0] counter;
  logic [IndexW-1:0] counter_index;
  logic [7:0] engine_events;

  assign to_queue    = write_address[11];
  assign write_wait  = to_queue && (selected & queue_wait) != '0;
  assign write_error = to_queue ? (selected & ~queue_error) == '0 : engine_write_error;
  assign read_data   = read_address[11] ? queue_read_data : engine_read_data;
  always_comb begin
    queue_read_data = '0;
    for (int unsigned q = 0; q < NUM_QUEUES; q++) queue_read_data = queue_read_data | queue_data[q*32+:32];
  end

  sluice_axil u_axil (
      .clk_i(ap_clk), .rst_ni(ap_rst_n),
      .awaddr_i(s_axi_control_awaddr), .awvalid_i(s_axi_control_awvalid), .awready_o(s_axi_control_awready),
      .wdata_i(s_axi_control_wdata), .wstrb_i(s_axi_control_wstrb), .wvalid_i(s_axi_control_wvalid),
      .wready_o(s_axi_control_wready), .bresp_o(s_axi_control_bresp), .bvalid_o(s_axi_control_bvalid),
      .bready_i(s_axi_control_bready), .araddr_i(s_axi_control_araddr), .arvalid_i(s_axi_control_arvalid),
      .arready_o(s_axi_control_arready), .rdata_o(s_axi_control_rdata), .rresp_o(s_axi_control_rresp),
      .rvalid_o(s_axi_control_rvalid), .rready_i(s_axi_control_rready),
      .check_o(check), .write_o(write), .write_address_o(write_address), .write_data_o(write_data),
      .write_wait_i(write_wait), .write_error_i(write_error), .refused_o(refused),
      .read_o(read), .read_address_o(read_address), .read_data_i(read_data)
  );

  sluice_regs #(
      .NUM_QUEUES  (NUM_QUEUES),
      .CAPABILITIES(Capabilities),
      .LIMITS      (Limits)
  ) u_regs (
      .clk_i(ap_clk), .rst_ni(ap_rst_n),
      .write_i(write && !to_queue), .write_address_i(write_address), .write_data_i(write_data),
      .write_error_o(engine_write_error), .refused_i(refused),
      .read_i(read), .read_address_i(read_address), .read_data_o(engine_read_data), .counter_i(counter),
      .counters_known_i(counters_known),
      .enable_o(enable), .abort_all_o(abort_all), .clear_o(clear), .tick_o(tick), .interrupt_o(interrupt),
      .idle_i(idle), .cause_i(cause)
  );
  assign queue_clear_n = ap_rst_n && !clear;

  // Queues.
  logic bus_stuck_q;
  logic [NUM_QUEUES-1:0] start, burst_valid, burst_is_read, grant, limited, done_valid, done_ready;
  logic [NUM_QUEUES-1:0] ring_full, completion_fault, unanswered, written, skipped;
  logic [NUM_QUEUES-1:0] line_read_valid, line_read_ready, line_read_beat;
  logic [NUM_QUEUES*64-1:0] line_read_address, cq_base;
  logic [NUM_QUEUES*5-1:0] line_read_count;
  logic [NUM_QUEUES*sluice_pkg::BurstBits-1:0] bursts;
  logic [NUM_QUEUES*13-1:0] burst_bytes;
  logic [NUM_QUEUES*128-1:0] done;
  logic [NUM_QUEUES*16-1:0] freed, cq_tail, cq_used;
  logic [NUM_QUEUES*4-1:0] ring_log2;
  logic [NUM_QUEUES*2-1:0] level;
  logic [NUM_QUEUES*8-1:0] weight;
  logic [NUM_QUEUES*24-1:0] rate;
  logic [NUM_QUEUES*6-1:0] events;
  logic [NUM_QUEUES*42-1:0] skipped_bytes;
  logic [3:0] written_count;
  logic [DATA_WIDTH-1:0] line_beat, data_beat;
  logic [1:0] line_beat_code, data_beat_code, answer_code;
  logic line_beat_last, data_beat_last;
  logic [NUM_QUEUES-1:0] data_beat_queue;
  sluice_pkg::answer_t verify_answer;
  logic [NUM_QUEUES-1:0] write_answer_valid, verify_answer_valid;
  logic [3:0] write_cause;

  assign write_cause = !answer_code[1] ? 4'(sluice_ring_pkg::CauseNone) :
                       answer_code[0] ? 4'(sluice_ring_pkg::CauseDecodeError) : 4'(sluice_ring_pkg::CauseSlaveError);

  for (genvar q = 0; q < NUM_QUEUES; q++) begin : g_queue
    assign selected[q] = write_address[10:7] == 4'(q);
    sluice_queue #(
        .DATA_WIDTH     (DATA_WIDTH),
        .ADDR_WIDTH     (ADDR_WIDTH),
        .NUM_SLOTS      (NUM_SLOTS),
        .PREFETCH       (PREFETCH),
        .MAX_OUTSTANDING(MAX_OUTSTANDING),
        .WAIT_FOR_ACKS  (WAIT_FOR_ACKS)
    ) u_queue (
        .clk_i(ap_clk), .rst_ni(ap_rst_n), .clear_i(clear), .enable_i(enable), .abort_all_i(abort_all), .tick_i(tick),
        .bus_stuck_i(bus_stuck_q), .check_i(check && to_queue && selected[q]),
        .write_i(write && to_queue && selected[q]), .write_address_i(write_address[6:0]), .write_data_i(write_data),
        .write_wait_o(queue_wait[q]), .write_error_o(queue_error[q]),
        .read_i(read && read_address[11:7] == {1'b1, 4'(q)}), .read_address_i(read_address[6:0]),
        .read_data_o(queue_data[q*32+:32]), .cause_o(cause[q]), .idle_o(idle[q]),
        .start_o(start[q]), .ring_log2_o(ring_log2[q*4+:4]), .cq_base_o(cq_base[q*64+:64]), .level_o(level[q*2+:2]),
        .weight_o(weight[q*8+:8]), .rate_o(rate[q*24+:24]), .events_o(events[q*6+:6]), .skipped_o(skipped[q]),
        .skipped_bytes_o(skipped_bytes[q*42+:42]),
        .read_address_o(line_read_address[q*64+:64]), .read_lines_o(line_read_count[q*5+:5]),
        .read_valid_o(line_read_valid[q]), .read_ready_i(line_read_ready[q]), .beat_valid_i(line_read_beat[q]),
        .beat_i(line_beat), .beat_bad_i(line_beat_code[1]), .beat_last_i(line_beat_last),
        .burst_o(bursts[q*sluice_pkg::BurstBits+:sluice_pkg::BurstBits]), .burst_bytes_o(burst_bytes[q*13+:13]),
        .burst_is_read_o(burst_is_read[q]), .burst_valid_o(burst_valid[q]), .burst_ready_i(grant[q]),
        .limited_i(limited[q]), .write_answer_i(write_answer_valid[q]), .write_cause_i(write_cause),
        .verify_answer_i(verify_answer), .verify_answer_valid_i(verify_answer_valid[q]),
        .verify_beat_i(data_beat_queue[q]),
        .done_o(done[q*128+:128]), .done_valid_o(done_valid[q]), .done_ready_i(done_ready[q]),
        .ring_full_i(ring_full[q]), .cq_tail_i(cq_tail[q*16+:16]), .cq_used_i(cq_used[q*16+:16]),
        .freed_o(freed[q*16+:16]), .completion_fault_i(completion_fault[q]), .unanswered_i(unanswered[q]),
        .written_i(written[q]), .written_count_i(written_count)
    );
  end

  // Whose burst goes next.
  sluice_pkg::burst_t burst;
  logic [QUEUE_W-1:0] burst_queue;
  logic write_room, read_room, granted_write, granted_read;
  logic [NUM_QUEUES-1:0] verify_room;
  sluice_arbiter #(
      .NUM_QUEUES(NUM_QUEUES)
  ) u_arbiter (
      .clk_i(ap_clk), .rst_ni(queue_clear_n), .valid_i(burst_valid), .is_read_i(burst_is_read), .bytes_i(burst_bytes),
      .level_i(level), .weight_i(weight), .rate_i(rate), .write_room_i(write_room),
      .read_room_i(verify_room & {NUM_QUEUES{read_room}}), .grant_o(grant), .limited_o(limited)
  );
  always_comb begin
    burst       = 'x;
    burst_queue = 'x;
    if (grant != '0) begin
      // The first queue's, if it is no other's.
      burst       = ((grant >> 1) == '0) ? bursts[sluice_pkg::BurstBits-1:0] : '0;
      burst_queue = '0;
      for (int unsigned q = 1; q < NUM_QUEUES; q++) begin
        if (grant[q]) begin
          burst       = burst | bursts[q*sluice_pkg::BurstBits+:sluice_pkg::BurstBits];
          burst_queue = burst_queue | QUEUE_W'(q);
        end
      end
    end
  end
  assign granted_write = (grant & ~burst_is_read) != '0;
  assign granted_read  = (grant & burst_is_read) != '0;

  sluice_verify #(
      .DATA_WIDTH(DATA_WIDTH),
      .NUM_QUEUES(NUM_QUEUES)
  ) u_verify (
      .clk_i(ap_clk), .rst_ni(ap_rst_n), .burst_i(burst), .burst_valid_i(grant & burst_is_read), .room_o(verify_room),
      .beat_valid_i(data_beat_queue), .beat_i(data_beat), .beat_code_i(data_beat_code), .beat_last_i(data_beat_last),
      .answer_o(verify_answer), .answer_valid_o(verify_answer_valid)
  );

  // Completions.
  logic line_valid, line_taken, line_pop, line_answer;
  logic [1:0] line_code;
  logic [63:0] line_address;
  logic [LineWidth-1:0] line_data;
  logic [LineWidth/8-1:0] line_strobe;
  sluice_complete #(
      .NUM_QUEUES(NUM_QUEUES),
      .QUEUE_W   (QUEUE_W),
      .NUM_SLOTS (NUM_SLOTS),
      .LINE_WIDTH(LineWidth),
      .LINES     (Shared ? 2 : 1)
  ) u_complete (
      .clk_i(ap_clk), .rst_ni(queue_clear_n), .start_i(start), .ring_log2_i(ring_log2), .cq_base_i(cq_base),
      .freed_i(freed), .cq_tail_o(cq_tail), .cq_used_o(cq_used), .fault_o(completion_fault), .unanswered_o(unanswered),
      .full_o(ring_full), .done_i(done), .done_valid_i(done_valid), .done_ready_o(done_ready),
      .line_valid_o(line_valid), .line_address_o(line_address), .line_taken_i(line_taken), .line_data_o(line_data),
      .line_strobe_o(line_strobe), .line_pop_i(line_pop), .answer_i(line_answer), .answer_bad_i(line_code[1]),
      .written_o(written), .written_count_o(written_count)
  );

  sluice_counters #(
      .NUM_QUEUES(NUM_QUEUES)
  ) u_counters (
      .clk_i(ap_clk), .rst_ni(ap_rst_n), .engine_i(engine_events), .queue_i(events), .burst_i(grant),
      .burst_last_beat_i(burst.last_beat), .skipped_i(skipped), .skipped_bytes_i(skipped_bytes),
      .read_i(read), .read_index_i(counter_index), .value_o(counter), .known_o(counters_known)
  );
  assign counter_index = read_address[10] ? IndexW'(read_address[9:3])
                                          : IndexW'(NUM_QUEUES * 8) + IndexW'(read_address[5:3]);

  // The bus.
  logic data_write_beat, line_write_beat;
  assign engine_events[0] = 1'b1;
  assign engine_events[1] = data_write_beat;
  assign engine_events[2] = data_beat_queue != '0;
  assign engine_events[3] = line_write_beat;
  assign engine_events[4] = m00_axi_awvalid && !m00_axi_awready;
  assign engine_events[5] = m00_axi_wvalid && !m00_axi_wready;
  assign engine_events[6] = m00_axi_arvalid && !m00_axi_arready;
  assign engine_events[7] = refused;
  always_ff @(posedge ap_clk) begin
    if (!ap_rst_n) bus_stuck_q <= 1'b0;
    else bus_stuck_q <= engine_events[4] || engine_events[5] || engine_events[6];
  end

  // What m00_axi says to rings, which counts when it carries them.
  logic m00_line_taken, m00_line_pop, m00_line_answer, m00_line_written;
  logic [NUM_QUEUES-1:0] m00_read_ready, m00_read_beat;
  sluice_master #(
      .DATA_WIDTH  (DATA_WIDTH),
      .ADDR_WIDTH  (ADDR_WIDTH),
      .NUM_QUEUES  (NUM_QUEUES),
      .QUEUE_W     (QUEUE_W),
      .ID_PER_QUEUE(ID_PER_QUEUE),
      .ORDER_DEPTH (MAX_OUTSTANDING),
      .HAS_DATA    (1'b1),
      .HAS_LINES   (Shared),
      .LINE_WIDTH  (LineWidth)
  ) u_m00 (
      .clk_i(ap_clk), .rst_ni(ap_rst_n), .data_i(burst), .data_queue_i(burst_queue), .data_write_i(granted_write),
      .data_write_room_o(write_room), .data_answer_o(write_answer_valid), .data_read_i(granted_read),
      .data_read_room_o(read_room), .data_beat_o(data_beat_queue),
      .line_valid_i(line_valid), .line_address_i(line_address), .line_taken_o(m00_line_taken), .line_data_i(line_data),
      .line_strobe_i(line_strobe), .line_pop_o(m00_line_pop), .line_answer_o(m00_line_answer),
      .read_address_i(line_read_address), .read_lines_i(line_read_count), .read_valid_i(line_read_valid),
      .read_ready_o(m00_read_ready), .read_beat_o(m00_read_beat),
      .answer_code_o(answer_code), .beat_o(data_beat), .beat_code_o(data_beat_code), .beat_last_o(data_beat_last),
      .data_written_o(data_write_beat), .line_written_o(m00_line_written),
      .awid_o(m00_axi_awid), .awaddr_o(m00_axi_awaddr), .awlen_o(m00_axi_awlen), .awsize_o(m00_axi_awsize),
      .awburst_o(m00_axi_awburst), .awvalid_o(m00_axi_awvalid), .awready_i(m00_axi_awready), .wdata_o(m00_axi_wdata),
      .wstrb_o(m00_axi_wstrb), .wlast_o(m00_axi_wlast), .wvalid_o(m00_axi_wvalid), .wready_i(m00_axi_wready),
      .bid_i(m00_axi_bid), .bresp_i(m00_axi_bresp), .bvalid_i(m00_axi_bvalid), .bready_o(m00_axi_bready),
      .arid_o(m00_axi_arid), .araddr_o(m00_axi_araddr), .arlen_o(m00_axi_arlen), .arsize_o(m00_axi_arsize),
      .arburst_o(m00_axi_arburst), .arvalid_o(m00_axi_arvalid), .arready_i(m00_axi_arready), .rid_i(m00_axi_rid),
      .rdata_i(m00_axi_rdata), .rresp_i(m00_axi_rresp), .rlast_i(m00_axi_rlast), .rvalid_i(m00_axi_rvalid),
      .rready_o(m00_axi_rready)
  );

  if (Shared) begin : g_shared
    assign line_taken      = m00_line_taken;
    assign line_pop        = m00_line_pop;
    assign line_answer     = m00_line_answer;
    assign line_code       = answer_code;
    assign line_write_beat = m00_line_written;
    assign line_read_ready = m00_read_ready;
    assign line_read_beat  = m00_read_beat;
    assign line_beat       = data_beat;
    assign line_beat_code  = data_beat_code;
    assign line_beat_last  = data_beat_last;

    assign {m01_axi_awid, m01_axi_awaddr, m01_axi_awlen, m01_axi_awsize, m01_axi_awburst, m01_axi_awvalid, m01_axi_wdata,
            m01_axi_wstrb, m01_axi_wlast, m01_axi_wvalid, m01_axi_arid, m01_axi_araddr, m01_axi_arlen, m01_axi_arsize,
            m01_axi_arburst, m01_axi_arvalid} = '0;
    assign {m01_axi_bready, m01_axi_rready} = 2'b11;
  end else begin : g_apart
    sluice_master #(
        .DATA_WIDTH  (DATA_WIDTH),
        .ADDR_WIDTH  (ADDR_WIDTH),
        .NUM_QUEUES  (NUM_QUEUES),
        .QUEUE_W     (QUEUE_W),
        .ID_PER_QUEUE(ID_PER_QUEUE),
        .ORDER_DEPTH (MAX_OUTSTANDING),
        .HAS_DATA    (1'b0),
        .HAS_LINES   (1'b1),
        .LINE_WIDTH  (LineWidth)
    ) u_m01 (
        .clk_i(ap_clk), .rst_ni(ap_rst_n), .data_i('0), .data_queue_i('0), .data_write_i(1'b0), .data_write_room_o(),
        .data_answer_o(), .data_read_i(1'b0), .data_read_room_o(), .data_beat_o(),
        .line_valid_i(line_valid), .line_address_i(line_address), .line_taken_o(line_taken), .line_data_i(line_data),
        .line_strobe_i(line_strobe), .line_pop_o(line_pop), .line_answer_o(line_answer),
        .read_address_i(line_read_address), .read_lines_i(line_read_count), .read_valid_i(line_read_valid),
        .read_ready_o(line_read_ready), .read_beat_o(line_read_beat),
        .answer_code_o(line_code), .beat_o(line_beat), .beat_code_o(line_beat_code), .beat_last_o(line_beat_last),
        .data_written_o(), .line_written_o(line_write_beat),
        .awid_o(m01_axi_awid), .awaddr_o(m01_axi_awaddr), .awlen_o(m01_axi_awlen), .awsize_o(m01_axi_awsize),
        .awburst_o(m01_axi_awburst), .awvalid_o(m01_axi_awvalid), .awready_i(m01_axi_awready), .wdata_o(m01_axi_wdata),
        .wstrb_o(m01_axi_wstrb), .wlast_o(m01_axi_wlast), .wvalid_o(m01_axi_wvalid), .wready_i(m01_axi_wready),
        .bid_i(m01_axi_bid), .bresp_i(m01_axi_bresp), .bvalid_i(m01_axi_bvalid), .bready_o(m01_axi_bready),
        .arid_o(m01_axi_arid), .araddr_o(m01_axi_araddr), .arlen_o(m01_axi_arlen), .arsize_o(m01_axi_arsize),
        .arburst_o(m01_axi_arburst), .arvalid_o(m01_axi_arvalid), .arready_i(m01_axi_arready), .rid_i(m01_axi_rid),
        .rdata_i(m01_axi_rdata), .rresp_i(m01_axi_rresp), .rlast_i(m01_axi_rlast), .rvalid_i(m01_axi_rvalid),
        .rready_o(m01_axi_rready)
    );
  end
endmodule
