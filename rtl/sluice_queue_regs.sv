// SPDX-License-Identifier: Apache-2.0
// The registers of one queue. A write is checked first (check_i): one that would break a running queue is refused
// (write_error_o) and never comes; between the check and the write nothing changes for the worse.
// Enabling a queue starts its pointers at zero.
module sluice_queue_regs #(
    parameter int unsigned ADDR_WIDTH = 64,
    parameter int unsigned NUM_SLOTS  = 256
) (
    input  logic        clk_i,
    input  logic        rst_ni,         // the hardware's
    input  logic        clear_i,        // the end of an engine reset
    input  logic        check_i,
    input  logic        write_i,
    input  logic [6:0]  write_address_i,
    input  logic [31:0] write_data_i,
    output logic        write_wait_o,
    output logic        write_error_o,  // of the check
    input  logic        read_i,
    input  logic [6:0]  read_address_i,
    output logic [31:0] read_data_o,    // 0 when nothing is read

    output sluice_pkg::queue_config_t config_o,
    output logic                      start_o,        // one cycle: the queue has just been enabled
    output logic                      abort_o,        // an abort is under way
    output logic [15:0]               sq_tail_o,
    output logic [15:0]               freed_o,        // one cycle: completion ring entries given back
    output logic                      cancel_o,       // one cycle; slot and generation stay for one more
    output logic [15:0]               cancel_slot_o,
    output logic [31:0]               cancel_generation_o,
    input  logic                      cancel_ready_i,
    input  logic                      abort_all_i,
    input  logic [15:0]               sq_head_i,
    input  logic [15:0]               cq_tail_i,
    input  logic [15:0]               cq_used_i,      // entries that software has not given back
    input  logic                      idle_i,
    input  logic                      fetch_fault_i,
    input  logic                      completion_fault_i,
    input  logic                      quarantine_i,
    output logic                      drained_o,      // one cycle
    output logic [3:0]                cause_clear_o,
    input  logic [3:0]                cause_i
);
  localparam logic [3:0] MaxRingLog2 = 4'($clog2(NUM_SLOTS));
  localparam logic [63:0] AddressMask = (ADDR_WIDTH < 64) ? (64'd1 << (ADDR_WIDTH % 64)) - 64'd1 : ~64'd0;

  sluice_pkg::queue_config_t config_q;
  logic [15:0] sq_tail_q, cq_head_q;
  logic [31:0] cancel_generation_q;
  logic start_q, abort_q, locked_q, draining_q;
  logic [15:0] behind_last, ahead_of_tail, returned;
  logic running, bad_setup, bad_doorbell, bad_head, accepted;
  logic [31:0] high_mask;

  assign config_o            = config_q;
  assign start_o             = start_q;
  assign abort_o             = abort_q;
  assign sq_tail_o           = sq_tail_q;
  assign cancel_generation_o = cancel_generation_q;
  assign cancel_slot_o       = write_data_i[15:0];
  assign high_mask           = AddressMask[63:32];

  assign running       = config_q.enable || start_q || !idle_i;
  assign behind_last   = write_data_i[15:0] + ~sq_head_i;  // those that have not arrived, less one
  assign ahead_of_tail = write_data_i[15:0] - sq_tail_q;
  assign returned      = write_data_i[15:0] - cq_head_q;
  always_comb begin
    bad_setup     = 1'b0;
    bad_doorbell  = 1'b0;
    bad_head      = 1'b0;
    write_error_o = 1'b0;
    if (check_i) begin
      bad_setup    = running || (write_address_i[2:0] == 3'd4 && (write_data_i & ~high_mask) != 32'd0);
      // Not backwards, and at most a ring ahead of what has arrived.
      bad_doorbell = !config_q.enable || write_data_i[31:16] != 16'd0 || ahead_of_tail[15] ||
                     (ahead_of_tail != 16'd0 && (behind_last & ~sluice_pkg::ring_mask(config_q.ring_log2)) != 16'd0);
      bad_head     = returned > cq_used_i || write_data_i[31:16] != 16'd0;
      case (write_address_i)
        sluice_ring_pkg::QueueCtrl:
          write_error_o = write_data_i[31:2] != 30'd0 ||
                          (write_data_i[0] && !config_q.enable &&
                           (running || abort_q || write_data_i[1] || config_q.ring_log2 == 4'd0 || quarantine_i ||
                            abort_all_i));
        sluice_ring_pkg::QueueRingLog2:
          write_error_o = bad_setup || write_data_i[31:4] != 28'd0 || write_data_i[3:0] == 4'd0 ||
                          write_data_i[3:0] > MaxRingLog2;
        sluice_ring_pkg::QueueSqBase, sluice_ring_pkg::QueueCqBase:
          write_error_o = bad_setup || write_data_i[11:0] != 12'd0;
        sluice_ring_pkg::QueueSqBase + 7'd4, sluice_ring_pkg::QueueCqBase + 7'd4:
          write_error_o = bad_setup;
        sluice_ring_pkg::QueueWindowBase, sluice_ring_pkg::QueueWindowBase + 7'd4, sluice_ring_pkg::QueueWindowLimit,
        sluice_ring_pkg::QueueWindowLimit + 7'd4:
          write_error_o = bad_setup || locked_q;
        sluice_ring_pkg::QueueSqTail: write_error_o = bad_doorbell;
        sluice_ring_pkg::QueueCqHead: write_error_o = bad_head;
        sluice_ring_pkg::QueueCancelSlot: write_error_o = write_data_i[31:$clog2(NUM_SLOTS)] != '0;
        sluice_ring_pkg::QueueLock, sluice_ring_pkg::QueueCancelGeneration, sluice_ring_pkg::QueueQos,
        sluice_ring_pkg::QueueRate, sluice_ring_pkg::QueueModeration, sluice_ring_pkg::QueueCause:
          write_error_o = 1'b0;
        default: write_error_o = 1'b1;
      endcase
    end
  end

  // A request must not fall into the sweep of the cancel table.
  assign write_wait_o  = write_address_i == sluice_ring_pkg::QueueCancelSlot && !cancel_ready_i;
  assign accepted      = write_i && !write_wait_o;
  assign cancel_o      = accepted && write_address_i == sluice_ring_pkg::QueueCancelSlot;
  assign cause_clear_o = (accepted && write_address_i == sluice_ring_pkg::QueueCause) ? write_data_i[3:0] : 4'd0;
  assign drained_o     = draining_q && idle_i;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      config_q            <= '0;
      // A window that nobody has set up holds nothing.
      config_q.window_base <= AddressMask;
      start_q             <= 1'b0;
      abort_q             <= 1'b0;
      locked_q            <= 1'b0;
      draining_q          <= 1'b0;
      sq_tail_q           <= '0;
      cq_head_q           <= '0;
      freed_o             <= '0;
      cancel_generation_q <= '0;
    end else begin
      start_q <= 1'b0;
      freed_o <= '0;
      if (abort_q && idle_i) abort_q <= 1'b0;
      if (drained_o) draining_q <= 1'b0;
      if (accepted) begin
        case (write_address_i)
          sluice_ring_pkg::QueueCtrl: begin
            config_q.enable <= write_data_i[0] && !write_data_i[1];
            if (write_data_i[1]) abort_q <= 1'b1;
            if (config_q.enable && (!write_data_i[0] || write_data_i[1])) draining_q <= 1'b1;
            if (write_data_i[0] && !config_q.enable) begin
              start_q    <= 1'b1;
              draining_q <= 1'b0;
              sq_tail_q  <= '0;
              cq_head_q  <= '0;
            end
          end
          sluice_ring_pkg::QueueRingLog2:           config_q.ring_log2 <= write_data_i[3:0];
          sluice_ring_pkg::QueueSqBase:             config_q.sq_base[31:0] <= write_data_i;
          sluice_ring_pkg::QueueSqBase + 7'd4:      config_q.sq_base[63:32] <= write_data_i & high_mask;
          sluice_ring_pkg::QueueCqBase:             config_q.cq_base[31:0] <= write_data_i;
          sluice_ring_pkg::QueueCqBase + 7'd4:      config_q.cq_base[63:32] <= write_data_i & high_mask;
          sluice_ring_pkg::QueueWindowBase:         config_q.window_base[31:0] <= write_data_i;
          sluice_ring_pkg::QueueWindowBase + 7'd4:  config_q.window_base[63:32] <= write_data_i & high_mask;
          sluice_ring_pkg::QueueWindowLimit:        config_q.window_limit[31:0] <= write_data_i;
          sluice_ring_pkg::QueueWindowLimit + 7'd4: config_q.window_limit[63:32] <= write_data_i & high_mask;
          sluice_ring_pkg::QueueSqTail:             sq_tail_q <= write_data_i[15:0];
          sluice_ring_pkg::QueueCqHead: begin
            cq_head_q <= write_data_i[15:0];
            freed_o   <= returned;
          end
          sluice_ring_pkg::QueueLock:             locked_q <= locked_q || write_data_i[0];
          sluice_ring_pkg::QueueCancelGeneration: cancel_generation_q <= write_data_i;
          sluice_ring_pkg::QueueQos: begin
            config_q.level  <= write_data_i[1:0];
            config_q.weight <= write_data_i[15:8];
          end
          sluice_ring_pkg::QueueRate: config_q.rate <= write_data_i[23:0];
          sluice_ring_pkg::QueueModeration: begin
            config_q.moderation_count  <= write_data_i[7:0];
            config_q.moderation_cycles <= write_data_i[31:8];
          end
          default: ;
        endcase
      end
      if (abort_all_i) begin
        config_q.enable <= 1'b0;
        abort_q         <= 1'b1;
      end
      if (clear_i) begin
        locked_q   <= 1'b0;
        abort_q    <= 1'b0;
        draining_q <= 1'b0;
        sq_tail_q  <= '0;
        cq_head_q  <= '0;
      end
    end
  end

  always_comb begin
    read_data_o = 32'd0;
    if (read_i) begin
      case (read_address_i)
        sluice_ring_pkg::QueueCtrl:   read_data_o = {31'd0, config_q.enable};
        sluice_ring_pkg::QueueStatus: read_data_o = {27'd0, abort_q, quarantine_i, completion_fault_i, fetch_fault_i, idle_i};
        sluice_ring_pkg::QueueRingLog2:           read_data_o = {28'd0, config_q.ring_log2};
        sluice_ring_pkg::QueueSqTail:             read_data_o = {16'd0, sq_tail_q};
        sluice_ring_pkg::QueueSqBase:             read_data_o = config_q.sq_base[31:0];
        sluice_ring_pkg::QueueSqBase + 7'd4:      read_data_o = config_q.sq_base[63:32];
        sluice_ring_pkg::QueueCqBase:             read_data_o = config_q.cq_base[31:0];
        sluice_ring_pkg::QueueCqBase + 7'd4:      read_data_o = config_q.cq_base[63:32];
        sluice_ring_pkg::QueueWindowBase:         read_data_o = config_q.window_base[31:0];
        sluice_ring_pkg::QueueWindowBase + 7'd4:  read_data_o = config_q.window_base[63:32];
        sluice_ring_pkg::QueueWindowLimit:        read_data_o = config_q.window_limit[31:0];
        sluice_ring_pkg::QueueWindowLimit + 7'd4: read_data_o = config_q.window_limit[63:32];
        sluice_ring_pkg::QueueSqHead:             read_data_o = {16'd0, sq_head_i};
        sluice_ring_pkg::QueueCqTail:             read_data_o = {16'd0, cq_tail_i};
        sluice_ring_pkg::QueueCqHead:             read_data_o = {16'd0, cq_head_q};
        sluice_ring_pkg::QueueLock:               read_data_o = {31'd0, locked_q};
        sluice_ring_pkg::QueueCancelGeneration:   read_data_o = cancel_generation_q;
        sluice_ring_pkg::QueueQos:                read_data_o = {16'd0, config_q.weight, 6'd0, config_q.level};
        sluice_ring_pkg::QueueRate:               read_data_o = {8'd0, config_q.rate};
        sluice_ring_pkg::QueueModeration:         read_data_o = {config_q.moderation_cycles, config_q.moderation_count};
        sluice_ring_pkg::QueueCause:              read_data_o = {28'd0, cause_i};
        default: ;
      endcase
    end
  end
endmodule
