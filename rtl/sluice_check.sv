// SPDX-License-Identifier: Apache-2.0
// Decides whether a descriptor may run: known operation, reserved bits zero, a length of 1 to 2^40 bytes, a slot that
// exists, and every byte inside the queue's window [window_base, window_limit). Purely combinational.
module sluice_check #(
    parameter int unsigned NUM_SLOTS = 256
) (
    input  logic [63:0]             window_base_i,
    input  logic [63:0]             window_limit_i,
    input  sluice_pkg::descriptor_t descriptor_i,
    output sluice_pkg::job_t        job_o
);
  logic malformed, outside;
  logic [64:0] end_address;

  assign end_address = {1'b0, descriptor_i.address} + {1'b0, descriptor_i.length_bytes};
  assign malformed = descriptor_i.operation != sluice_pkg::OpFill || descriptor_i.flags != 8'd0 ||
                     descriptor_i.reserved != 256'd0 || descriptor_i.length_bytes == 64'd0 ||
                     descriptor_i.length_bytes > sluice_pkg::MaxLengthBytes ||
                     32'(descriptor_i.slot) >= NUM_SLOTS;
  assign outside = descriptor_i.address < window_base_i || end_address > {1'b0, window_limit_i};

  always_comb begin
    job_o.address      = descriptor_i.address;
    job_o.length_bytes = descriptor_i.length_bytes[sluice_pkg::LengthWidth-1:0];
    job_o.pattern      = descriptor_i.pattern;
    job_o.slot         = descriptor_i.slot;
    job_o.generation   = descriptor_i.generation;
    if (malformed) job_o.cause = sluice_pkg::CauseBadDescriptor;
    else if (outside) job_o.cause = sluice_pkg::CauseOutsideWindow;
    else job_o.cause = sluice_pkg::CauseNone;
  end
endmodule
