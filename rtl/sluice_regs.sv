// SPDX-License-Identifier: Apache-2.0
// The engine's own registers: control and interrupt in the order of an HLS kernel (0x00-0x0C), identity, limits, the
// watchdog's clock, and the engine reset: it aborts all queues, waits until the bus owes nothing, then clears them.
module sluice_regs #(
    parameter int unsigned NUM_QUEUES   = 4,
    parameter logic [31:0] CAPABILITIES = 32'd0,
    parameter logic [31:0] LIMITS       = 32'd0
) (
    input  logic        clk_i,
    input  logic        rst_ni,
    input  logic        write_i,
    input  logic [11:0] write_address_i,
    input  logic [31:0] write_data_i,
    output logic        write_error_o,
    input  logic        refused_i,        // one cycle: the write at write_address_i was refused
    input  logic        read_i,
    input  logic [11:0] read_address_i,
    output logic [31:0] read_data_o,
    input  logic [63:0] counter_i,        // the one at read_address_i
    input  logic        counters_known_i, // they have been cleared since the reset

    output logic                  enable_o,
    output logic                  abort_all_o,
    output logic                  clear_o,        // one cycle
    output logic                  tick_o,         // one cycle every TIMEOUT cycles
    output logic                  interrupt_o,
    input  logic [NUM_QUEUES-1:0] idle_i,
    input  logic [NUM_QUEUES-1:0] cause_i
);
  localparam logic [31:0] Operations = 32'b111110;
  localparam logic [31:0] DefaultTimeout = 32'd1048576;

  logic enable_q, gie_q, resetting_q, settled_q, refused_q, all_idle, is_counter;
  logic [NUM_QUEUES-1:0] ier_q;
  logic ier_refused_q;
  logic [31:0] timeout_q, clock_q, high_q;
  logic [11:0] refused_address_q;

  assign all_idle    = idle_i == {NUM_QUEUES{1'b1}};
  assign enable_o    = enable_q;
  assign abort_all_o = resetting_q;
  // Counters: those of the engine, and those of the queues.
  assign is_counter  = counters_known_i && (read_address_i[11:6] == 6'd1 ||
                       (read_address_i[11:10] == 2'b01 && {1'b0, read_address_i[9:6]} < 5'(NUM_QUEUES)));

  // Valid one cycle before write_i: nothing that it looks at changes for the worse meanwhile.
  always_comb begin
    case (write_address_i)
      sluice_ring_pkg::RegCtrl: write_error_o = write_data_i[31:2] != 30'd0 || resetting_q;
      sluice_ring_pkg::RegGie, sluice_ring_pkg::RegIer, sluice_ring_pkg::RegIsr, sluice_ring_pkg::RegTimeout:
        write_error_o = 1'b0;
      default: write_error_o = 1'b1;
    endcase
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      enable_q          <= 1'b0;
      gie_q             <= 1'b0;
      ier_q             <= '0;
      ier_refused_q     <= 1'b0;
      refused_q         <= 1'b0;
      refused_address_q <= '0;
      resetting_q       <= 1'b0;
      settled_q         <= 1'b0;
      clear_o           <= 1'b0;
      timeout_q         <= DefaultTimeout;
      clock_q           <= '0;
      tick_o            <= 1'b0;
      interrupt_o       <= 1'b0;
    end else begin
      clear_o <= 1'b0;
      // The clock of the watchdogs.
      tick_o  <= clock_q == 32'd1;
      clock_q <= (clock_q[31:1] == 31'd0) ? timeout_q : clock_q - 32'd1;
      if (write_i) begin
        case (write_address_i)
          sluice_ring_pkg::RegCtrl: begin
            enable_q    <= write_data_i[0] && !write_data_i[1];
            resetting_q <= write_data_i[1];
          end
          sluice_ring_pkg::RegGie: gie_q <= write_data_i[0];
          sluice_ring_pkg::RegIer: begin
            ier_q         <= write_data_i[NUM_QUEUES-1:0];
            ier_refused_q <= write_data_i[31];
          end
          sluice_ring_pkg::RegIsr: if (write_data_i[31]) refused_q <= 1'b0;
          sluice_ring_pkg::RegTimeout: begin
            timeout_q <= write_data_i;
            clock_q   <= write_data_i;
          end
          default: ;
        endcase
      end
      if (refused_i) begin
        refused_q         <= 1'b1;
        refused_address_q <= write_address_i;
      end
      // A queue that starts something in the first cycle of the reset shows that it is not idle in the next.
      settled_q <= resetting_q;
      if (resetting_q && settled_q && all_idle) begin
        clear_o     <= 1'b1;
        resetting_q <= 1'b0;
        settled_q   <= 1'b0;
      end
      interrupt_o <= gie_q && ((ier_q & cause_i) != '0 || (ier_refused_q && refused_q));
    end
  end
  always_ff @(posedge clk_i) begin
    if (read_i && is_counter && !read_address_i[2]) high_q <= counter_i[63:32];
  end

  always_comb begin
    read_data_o = 32'd0;
    if (read_i) begin
      case (read_address_i)
        sluice_ring_pkg::RegCtrl:         read_data_o = {29'd0, all_idle, resetting_q, enable_q};
        sluice_ring_pkg::RegGie:          read_data_o = {31'd0, gie_q};
        sluice_ring_pkg::RegIer:          read_data_o = {ier_refused_q, 31'(ier_q)};
        sluice_ring_pkg::RegIsr:          read_data_o = {refused_q, 31'(cause_i)};
        sluice_ring_pkg::RegId:           read_data_o = sluice_ring_pkg::Id;
        sluice_ring_pkg::RegVersion:      read_data_o = sluice_ring_pkg::Version;
        sluice_ring_pkg::RegCapabilities: read_data_o = CAPABILITIES;
        sluice_ring_pkg::RegLimits:       read_data_o = LIMITS;
        sluice_ring_pkg::RegOperations:   read_data_o = Operations;
        sluice_ring_pkg::RegTimeout:      read_data_o = timeout_q;
        sluice_ring_pkg::RegRefused:      read_data_o = {20'd0, refused_address_q};
        default: ;
      endcase
      if (is_counter) read_data_o = read_address_i[2] ? high_q : counter_i[31:0];
    end
  end
endmodule
