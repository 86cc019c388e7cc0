// SPDX-License-Identifier: Apache-2.0
// Remembers cancel requests, one for each slot (the latest), with the generation they name. A request that comes before
// its job was fetched waits here until the job asks. One for a generation that has asked already does nothing here:
// sluice_check and sluice_split are told of every request and hold the jobs that have. Starting the queue sweeps both
// tables; a request must wait meanwhile (ready_o is low).
module sluice_cancel #(
    parameter int unsigned NUM_SLOTS = 256
) (
    input  logic        clk_i,
    input  logic        rst_ni,
    input  logic        start_i,
    output logic        swept_o,
    output logic        ready_o,
    input  logic        cancel_i,        // not in two cycles on end; slot and generation stay for one more
    input  logic [15:0] cancel_slot_i,
    input  logic [31:0] cancel_generation_i,
    input  logic        query_i,
    input  logic        query_last_i,    // the job does not ask again
    input  logic [15:0] query_slot_i,
    input  logic [31:0] query_generation_i,
    input  logic [31:0] generation_i,    // of the query before
    output logic        hit_o            // its answer, from the next cycle on
);
  localparam int unsigned SlotW = $clog2(NUM_SLOTS);

  logic [32:0] waiting_mem_q[0:NUM_SLOTS-1];  // is there a request, and for which generation
  logic [32:0] asked_mem_q[0:NUM_SLOTS-1];    // has a job of the slot asked for the last time, and of which generation
  logic [32:0] found_q, asked_q;
  logic [SlotW-1:0] sweep_q, cancel_slot, query_slot;
  logic sweeping_q, cancel_q, write, ask;
  logic is_past;
  logic [30:0] unused_distance;

  assign swept_o     = !sweeping_q;
  assign ready_o     = !sweeping_q;
  assign cancel_slot = cancel_slot_i[SlotW-1:0];
  assign query_slot  = query_slot_i[SlotW-1:0];
  assign hit_o       = found_q == {1'b1, generation_i};

  // Generations count round, so it is their distance that says which comes later: here less one.
  assign {is_past, unused_distance} = cancel_generation_i + ~asked_q[31:0];
  assign write = cancel_q && (!asked_q[32] || !is_past);
  // A descriptor may name a slot that there is not: it fails, and has no entry.
  assign ask   = query_i && query_last_i && (query_slot_i >> SlotW) == '0;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      sweeping_q <= 1'b1;
      sweep_q    <= '0;
      cancel_q   <= 1'b0;
    end else begin
      cancel_q <= cancel_i;
      if (start_i) begin
        sweeping_q <= 1'b1;
        sweep_q    <= '0;
      end else if (sweeping_q) begin
        sweep_q    <= sweep_q + SlotW'(1);
        sweeping_q <= sweep_q != SlotW'(NUM_SLOTS - 1);
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (sweeping_q || write) waiting_mem_q[sweeping_q ? sweep_q : cancel_slot] <= {!sweeping_q, cancel_generation_i};
    if (query_i) found_q <= waiting_mem_q[query_slot];
  end
  always_ff @(posedge clk_i) begin
    if (sweeping_q || ask) asked_mem_q[sweeping_q ? sweep_q : query_slot] <= {!sweeping_q, query_generation_i};
    if (cancel_i) asked_q <= asked_mem_q[cancel_slot];
  end
endmodule
