// SPDX-License-Identifier: Apache-2.0
// The watchdog of one queue. A tick comes every TIMEOUT cycles; a queue that waits for the bus from one tick to the next
// without an answer is quarantined, until the engine is reset.
module sluice_watch (
    input  logic clk_i,
    input  logic rst_ni,
    input  logic tick_i,
    input  logic waiting_i,
    input  logic progress_i,
    output logic quarantine_o
);
  logic silent_q;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      silent_q     <= 1'b0;
      quarantine_o <= 1'b0;
    end else begin
      if (progress_i || !waiting_i) silent_q <= 1'b0;
      else if (tick_i) silent_q <= 1'b1;
      if (tick_i && silent_q && waiting_i && !progress_i) quarantine_o <= 1'b1;
    end
  end
endmodule
