// SPDX-License-Identifier: Apache-2.0
// Remembers cancel requests, one for each slot, with the generation they name. A request that comes before its job was
// fetched waits here; one that names a past generation matches nothing. An entry is cleared when its slot's job ends.
module sluice_cancel #(
    parameter int unsigned NUM_SLOTS = 256
) (
    input  logic        clk_i,
    input  logic        rst_ni,
    input  logic        cancel_i,
    input  logic [15:0] cancel_slot_i,
    input  logic [31:0] cancel_generation_i,
    input  logic        clear_i,
    input  logic [15:0] clear_slot_i,
    input  logic [15:0] query_slot_i,
    input  logic [31:0] query_generation_i,
    output logic        hit_o
);
  localparam int unsigned SlotW = $clog2(NUM_SLOTS);

  logic [NUM_SLOTS-1:0] valid_q;
  logic [31:0] generation_q[0:NUM_SLOTS-1];
  logic known_cancel, known_clear;

  assign known_cancel = cancel_i && 32'(cancel_slot_i) < NUM_SLOTS;
  assign known_clear  = clear_i && 32'(clear_slot_i) < NUM_SLOTS;
  assign hit_o = 32'(query_slot_i) < NUM_SLOTS && valid_q[query_slot_i[SlotW-1:0]] &&
                 generation_q[query_slot_i[SlotW-1:0]] == query_generation_i;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      valid_q <= '0;
    end else begin
      if (known_clear) valid_q[clear_slot_i[SlotW-1:0]] <= 1'b0;
      if (known_cancel) valid_q[cancel_slot_i[SlotW-1:0]] <= 1'b1;
    end
  end

  always_ff @(posedge clk_i) begin
    if (known_cancel) generation_q[cancel_slot_i[SlotW-1:0]] <= cancel_generation_i;
  end
endmodule
