// SPDX-License-Identifier: Apache-2.0
// The engine's own registers: control and interrupt in the order of an HLS kernel (0x00-0x0C), identity and counters
// from 0x10. Reading the low half of a counter latches its high half.
module sluice_regs #(
    parameter int unsigned DATA_WIDTH = 512,
    parameter int unsigned NUM_SLOTS  = 256
) (
    input  logic        clk_i,
    input  logic        rst_ni,
    input  logic        write_i,
    input  logic [11:0] write_address_i,
    input  logic [1:0]  write_data_i,
    input  logic        read_i,
    input  logic [11:0] read_address_i,
    output logic [31:0] read_data_o,

    output logic enable_o,
    output logic interrupt_o,
    input  logic idle_i,
    input  logic completion_event_i,
    input  logic fault_event_i,
    input  logic data_beat_i,
    input  logic job_done_i,
    input  logic job_cancelled_i
);
  localparam logic [31:0] Capabilities =
      (NUM_SLOTS == 0) ? 32'd0 :
      {8'd0, 8'($clog2(NUM_SLOTS)), 8'd1, 8'($clog2(DATA_WIDTH / 8))};

  logic enable_q, gie_q;
  logic [1:0] ier_q, isr_q, isr_clear;
  logic [63:0] cycles_q, beats_q, jobs_q, cancelled_q;
  logic [31:0] high_q;

  assign enable_o    = enable_q;
  assign interrupt_o = gie_q && ((ier_q & isr_q) != 2'b00);
  assign isr_clear   = (write_i && write_address_i == sluice_pkg::RegIsr) ? write_data_i : 2'b00;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      enable_q    <= 1'b0;
      gie_q       <= 1'b0;
      ier_q       <= '0;
      isr_q       <= '0;
      cycles_q    <= '0;
      beats_q     <= '0;
      jobs_q      <= '0;
      cancelled_q <= '0;
      high_q      <= '0;
    end else begin
      cycles_q    <= cycles_q + 64'd1;
      beats_q     <= beats_q + 64'(data_beat_i);
      jobs_q      <= jobs_q + 64'(job_done_i);
      cancelled_q <= cancelled_q + 64'(job_cancelled_i);
      isr_q       <= (isr_q & ~isr_clear) | {fault_event_i, completion_event_i};
      if (write_i) begin
        case (write_address_i)
          sluice_pkg::RegCtrl: enable_q <= write_data_i[0];
          sluice_pkg::RegGie:  gie_q <= write_data_i[0];
          sluice_pkg::RegIer:  ier_q <= write_data_i;
          default: ;
        endcase
      end
      if (read_i) begin
        case (read_address_i)
          sluice_pkg::RegCycles:        high_q <= cycles_q[63:32];
          sluice_pkg::RegDataBeats:     high_q <= beats_q[63:32];
          sluice_pkg::RegJobs:          high_q <= jobs_q[63:32];
          sluice_pkg::RegJobsCancelled: high_q <= cancelled_q[63:32];
          default: ;
        endcase
      end
    end
  end

  always_comb begin
    case (read_address_i)
      sluice_pkg::RegCtrl:          read_data_o = {29'd0, idle_i, 1'b0, enable_q};
      sluice_pkg::RegGie:           read_data_o = {31'd0, gie_q};
      sluice_pkg::RegIer:           read_data_o = {30'd0, ier_q};
      sluice_pkg::RegIsr:           read_data_o = {30'd0, isr_q};
      sluice_pkg::RegId:            read_data_o = sluice_pkg::IdValue;
      sluice_pkg::RegVersion:       read_data_o = sluice_pkg::VersionValue;
      sluice_pkg::RegCapabilities:  read_data_o = Capabilities;
      sluice_pkg::RegCycles:        read_data_o = cycles_q[31:0];
      sluice_pkg::RegDataBeats:     read_data_o = beats_q[31:0];
      sluice_pkg::RegJobs:          read_data_o = jobs_q[31:0];
      sluice_pkg::RegJobsCancelled: read_data_o = cancelled_q[31:0];
      sluice_pkg::RegCycles + 12'd4, sluice_pkg::RegDataBeats + 12'd4, sluice_pkg::RegJobs + 12'd4,
      sluice_pkg::RegJobsCancelled + 12'd4:
                                    read_data_o = high_q;
      default:                      read_data_o = 32'd0;
    endcase
  end
endmodule
