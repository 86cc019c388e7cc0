// SPDX-License-Identifier: Apache-2.0
// The registers of one queue. Rings and window can be set only while the queue is disabled: a write to them while it
// runs is refused (write_error_o) and changes nothing. Enabling a queue starts its pointers at zero.
module sluice_queue_regs #(
    parameter int unsigned NUM_SLOTS = 256
) (
    input  logic        clk_i,
    input  logic        rst_ni,
    input  logic        write_i,
    input  logic [6:0]  write_address_i,
    input  logic [31:0] write_data_i,
    output logic        write_error_o,
    input  logic [6:0]  read_address_i,
    output logic [31:0] read_data_o,

    output sluice_pkg::queue_config_t config_o,
    output logic                      start_o,       // one cycle: the queue has just been enabled
    output logic [15:0]               sq_tail_o,
    output logic [15:0]               cq_head_o,
    output logic                      cancel_o,      // one cycle: cancel this slot and generation
    output logic [15:0]               cancel_slot_o,
    output logic [31:0]               cancel_generation_o,
    input  logic [15:0]               sq_head_i,
    input  logic [15:0]               cq_tail_i,
    input  logic                      idle_i,
    input  logic                      fetch_fault_i,
    input  logic                      completion_fault_i
);
  localparam logic [3:0] MaxRingLog2 = 4'($clog2(NUM_SLOTS));

  sluice_pkg::queue_config_t config_q;
  logic start_q, cancel_q;
  logic [15:0] sq_tail_q, cq_head_q, cancel_slot_q;
  logic [31:0] cancel_generation_q;
  logic locked, is_setup, bad_log2;

  assign config_o            = config_q;
  assign start_o             = start_q;
  assign sq_tail_o           = sq_tail_q;
  assign cq_head_o           = cq_head_q;
  assign cancel_o            = cancel_q;
  assign cancel_slot_o       = cancel_slot_q;
  assign cancel_generation_o = cancel_generation_q;

  assign locked        = config_q.enable || !idle_i;
  assign is_setup      = write_address_i == sluice_pkg::QueueRingLog2 ||
                         (write_address_i >= sluice_pkg::QueueSqBase && write_address_i < sluice_pkg::QueueSqHead);
  assign bad_log2      = write_address_i == sluice_pkg::QueueRingLog2 &&
                         (write_data_i > 32'(MaxRingLog2) || write_data_i == 32'd0);
  assign write_error_o = (is_setup && locked) || bad_log2;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      config_q            <= '0;
      start_q             <= 1'b0;
      cancel_q            <= 1'b0;
      sq_tail_q           <= '0;
      cq_head_q           <= '0;
      cancel_slot_q       <= '0;
      cancel_generation_q <= '0;
    end else begin
      start_q  <= 1'b0;
      cancel_q <= 1'b0;
      if (write_i && !write_error_o) begin
        case (write_address_i)
          sluice_pkg::QueueCtrl: begin
            config_q.enable <= write_data_i[0];
            if (write_data_i[0] && !config_q.enable) begin
              start_q   <= 1'b1;
              sq_tail_q <= '0;
              cq_head_q <= '0;
            end
          end
          sluice_pkg::QueueRingLog2:           config_q.ring_log2 <= write_data_i[3:0];
          sluice_pkg::QueueSqBase:             config_q.sq_base[31:0] <= write_data_i;
          sluice_pkg::QueueSqBase + 7'd4:      config_q.sq_base[63:32] <= write_data_i;
          sluice_pkg::QueueCqBase:             config_q.cq_base[31:0] <= write_data_i;
          sluice_pkg::QueueCqBase + 7'd4:      config_q.cq_base[63:32] <= write_data_i;
          sluice_pkg::QueueWindowBase:         config_q.window_base[31:0] <= write_data_i;
          sluice_pkg::QueueWindowBase + 7'd4:  config_q.window_base[63:32] <= write_data_i;
          sluice_pkg::QueueWindowLimit:        config_q.window_limit[31:0] <= write_data_i;
          sluice_pkg::QueueWindowLimit + 7'd4: config_q.window_limit[63:32] <= write_data_i;
          sluice_pkg::QueueSqTail:             sq_tail_q <= write_data_i[15:0];
          sluice_pkg::QueueCqHead:             cq_head_q <= write_data_i[15:0];
          sluice_pkg::QueueCancelGeneration:   cancel_generation_q <= write_data_i;
          sluice_pkg::QueueCancelSlot: begin
            cancel_q      <= 1'b1;
            cancel_slot_q <= write_data_i[15:0];
          end
          default: ;
        endcase
      end
    end
  end

  always_comb begin
    case (read_address_i)
      sluice_pkg::QueueCtrl:               read_data_o = {31'd0, config_q.enable};
      sluice_pkg::QueueStatus:             read_data_o = {29'd0, completion_fault_i, fetch_fault_i, idle_i};
      sluice_pkg::QueueRingLog2:           read_data_o = {28'd0, config_q.ring_log2};
      sluice_pkg::QueueSqTail:             read_data_o = {16'd0, sq_tail_q};
      sluice_pkg::QueueSqBase:             read_data_o = config_q.sq_base[31:0];
      sluice_pkg::QueueSqBase + 7'd4:      read_data_o = config_q.sq_base[63:32];
      sluice_pkg::QueueCqBase:             read_data_o = config_q.cq_base[31:0];
      sluice_pkg::QueueCqBase + 7'd4:      read_data_o = config_q.cq_base[63:32];
      sluice_pkg::QueueWindowBase:         read_data_o = config_q.window_base[31:0];
      sluice_pkg::QueueWindowBase + 7'd4:  read_data_o = config_q.window_base[63:32];
      sluice_pkg::QueueWindowLimit:        read_data_o = config_q.window_limit[31:0];
      sluice_pkg::QueueWindowLimit + 7'd4: read_data_o = config_q.window_limit[63:32];
      sluice_pkg::QueueSqHead:             read_data_o = {16'd0, sq_head_i};
      sluice_pkg::QueueCqTail:             read_data_o = {16'd0, cq_tail_i};
      sluice_pkg::QueueCqHead:             read_data_o = {16'd0, cq_head_q};
      sluice_pkg::QueueCancelGeneration:   read_data_o = cancel_generation_q;
      sluice_pkg::QueueCancelSlot:         read_data_o = {16'd0, cancel_slot_q};
      default:                             read_data_o = 32'd0;
    endcase
  end
endmodule
