// SPDX-License-Identifier: Apache-2.0
// Remembers cancel requests, one for each slot (the latest), with the generation they name, until the job ends. A
// request that comes before its job was fetched waits here; one that names a past generation matches nothing. An entry
// is valid while its two marks differ: a request turns one, the end of the job the other, so that each mark is a memory
// with one writer. Starting the queue sweeps the table; ready_o is low meanwhile and requests must wait.
module sluice_cancel #(
    parameter int unsigned NUM_SLOTS = 256
) (
    input  logic        clk_i,
    input  logic        rst_ni,
    input  logic        start_i,
    output logic        ready_o,
    input  logic        cancel_i,
    input  logic [15:0] cancel_slot_i,
    input  logic [31:0] cancel_generation_i,
    input  logic        clear_i,
    input  logic [15:0] clear_slot_i,
    input  logic        query_i,
    input  logic [15:0] query_slot_i,
    input  logic [31:0] query_generation_i,
    output logic        hit_o
);
  localparam int unsigned SlotW = $clog2(NUM_SLOTS);

  logic asked_mem_q[0:NUM_SLOTS-1];
  logic ended_mem_q[0:NUM_SLOTS-1];
  logic [31:0] generation_mem_q[0:NUM_SLOTS-1];
  logic [SlotW-1:0] sweep_q, cancel_slot, clear_slot, query_slot;
  logic sweeping_q, known_cancel, known_clear;

  assign ready_o      = !sweeping_q;
  assign cancel_slot  = cancel_slot_i[SlotW-1:0];
  assign clear_slot   = clear_slot_i[SlotW-1:0];
  assign query_slot   = query_slot_i[SlotW-1:0];
  assign known_cancel = cancel_i && 32'(cancel_slot_i) < NUM_SLOTS;
  // A request that comes with the end of the slot's job is for the next one: it stays.
  assign known_clear  = clear_i && 32'(clear_slot_i) < NUM_SLOTS && !(known_cancel && cancel_slot == clear_slot);
  assign hit_o        = query_i && asked_mem_q[query_slot] != ended_mem_q[query_slot] &&
                        generation_mem_q[query_slot] == query_generation_i;

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
    if (sweeping_q || known_cancel) begin
      asked_mem_q[sweeping_q ? sweep_q : cancel_slot] <= !sweeping_q && !ended_mem_q[cancel_slot];
    end
    if (sweeping_q || known_clear) begin
      ended_mem_q[sweeping_q ? sweep_q : clear_slot] <= !sweeping_q && asked_mem_q[clear_slot];
    end
    if (known_cancel) generation_mem_q[cancel_slot] <= cancel_generation_i;
  end
endmodule
