// SPDX-License-Identifier: Apache-2.0
// Shows how sluice_ring_pkg lays out descriptors and completions, so that a test can compare them with the C++ side.
module wire_format_probe (
    input  logic [511:0] descriptor_i,
    output logic [63:0]  address_o,
    output logic [63:0]  length_bytes_o,
    output logic [63:0]  pattern_o,
    output logic [15:0]  slot_o,
    output logic [7:0]   operation_o,
    output logic [7:0]   flags_o,
    output logic [31:0]  generation_o,
    output logic [255:0] reserved_o,

    input  logic [47:0]  bytes_zeroed_i,
    input  logic [15:0]  slot_i,
    input  logic [31:0]  generation_i,
    input  logic [7:0]   outcome_i,
    input  logic [7:0]   cause_i,
    input  logic         phase_i,
    output logic [127:0] completion_o
);
  sluice_ring_pkg::descriptor_t descriptor;
  sluice_ring_pkg::completion_t completion;

  assign descriptor     = descriptor_i;
  assign address_o      = descriptor.address;
  assign length_bytes_o = descriptor.length_bytes;
  assign pattern_o      = descriptor.pattern;
  assign slot_o         = descriptor.slot;
  assign operation_o    = descriptor.operation;
  assign flags_o        = descriptor.flags;
  assign generation_o   = descriptor.generation;
  assign reserved_o     = descriptor.reserved;

  always_comb begin
    completion              = '0;
    completion.bytes_zeroed = bytes_zeroed_i;
    completion.slot         = slot_i;
    completion.generation   = generation_i;
    completion.outcome      = outcome_i;
    completion.cause        = cause_i;
    completion.phase        = phase_i;
  end
  assign completion_o = completion;

  // In the order of the table in wire_format_test.cpp.
endmodule
