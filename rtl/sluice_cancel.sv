// SPDX-License-Identifier: Apache-2.0
// Remembers cancel requests, one for each slot (the latest), with the generation they name, until the job ends. A
// request that comes before its job was fetched waits here; one that names a past generation matches nothing. Starting
// the queue sweeps the table. One block RAM with one port to write: a request must wait (ready_o is low) while the table
// is swept or a job ends.
module sluice_cancel #(
    parameter int unsigned NUM_SLOTS = 256
) (
    input  logic        clk_i,
    input  logic        rst_ni,
    input  logic        start_i,
    output logic        swept_o,
    output logic        ready_o,
    input  logic        cancel_i,
    input  logic [15:0] cancel_slot_i,
    input  logic [31:0] cancel_generation_i,
    input  logic        clear_i,         // the job in this slot has ended
    input  logic [15:0] clear_slot_i,
    input  logic        query_i,
    input  logic [15:0] query_slot_i,
    input  logic [31:0] generation_i,    // of the query before
    output logic        hit_o            // its answer, from the next cycle on
);
  localparam int unsigned SlotW = $clog2(NUM_SLOTS);

  logic [32:0] mem_q[0:NUM_SLOTS-1];  // is there a request, and for which generation
  logic [32:0] found_q;
  logic [SlotW-1:0] sweep_q, write_slot;
  logic sweeping_q, write;

  assign swept_o    = !sweeping_q;
  assign ready_o    = !sweeping_q && !clear_i;
  assign write      = sweeping_q || clear_i || cancel_i;
  assign write_slot = sweeping_q ? sweep_q : clear_i ? clear_slot_i[SlotW-1:0] : cancel_slot_i[SlotW-1:0];
  assign hit_o      = found_q == {1'b1, generation_i};

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      sweeping_q <= 1'b1;
      sweep_q    <= '0;
    end else if (start_i) begin
      sweeping_q <= 1'b1;
      sweep_q    <= '0;
    end else if (sweeping_q) begin
      sweep_q    <= sweep_q + SlotW'(1);
      sweeping_q <= sweep_q != SlotW'(NUM_SLOTS - 1);
    end
  end

  always_ff @(posedge clk_i) begin
    if (write) mem_q[write_slot] <= {!sweeping_q && !clear_i, cancel_generation_i};
    if (query_i) found_q <= mem_q[query_slot_i[SlotW-1:0]];
  end
endmodule
