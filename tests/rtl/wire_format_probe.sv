// SPDX-License-Identifier: Apache-2.0
// Shows how sluice_pkg lays out descriptors and completions, and its numbers, so that a test can compare them with the
// C++ side.
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
    output logic [127:0] completion_o,

    input  logic [7:0]   index_i,
    output logic [63:0]  constant_o
);
  sluice_pkg::descriptor_t descriptor;
  sluice_pkg::completion_t completion;

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
  always_comb begin
    case (index_i)
      8'd0:  constant_o = 64'(sluice_pkg::OpFill);
      8'd1:  constant_o = sluice_pkg::MaxLengthBytes;
      8'd2:  constant_o = 64'(sluice_pkg::IdValue);
      8'd3:  constant_o = 64'(sluice_pkg::VersionValue);
      8'd4:  constant_o = 64'(sluice_pkg::OutcomeZeroed);
      8'd5:  constant_o = 64'(sluice_pkg::OutcomeCancelled);
      8'd6:  constant_o = 64'(sluice_pkg::OutcomeFailed);
      8'd7:  constant_o = 64'(sluice_pkg::CauseNone);
      8'd8:  constant_o = 64'(sluice_pkg::CauseBadDescriptor);
      8'd9:  constant_o = 64'(sluice_pkg::CauseOutsideWindow);
      8'd10: constant_o = 64'(sluice_pkg::CauseSlaveError);
      8'd11: constant_o = 64'(sluice_pkg::CauseDecodeError);
      8'd12: constant_o = 64'(sluice_pkg::RegCtrl);
      8'd13: constant_o = 64'(sluice_pkg::RegGie);
      8'd14: constant_o = 64'(sluice_pkg::RegIer);
      8'd15: constant_o = 64'(sluice_pkg::RegIsr);
      8'd16: constant_o = 64'(sluice_pkg::RegId);
      8'd17: constant_o = 64'(sluice_pkg::RegVersion);
      8'd18: constant_o = 64'(sluice_pkg::RegCapabilities);
      8'd19: constant_o = 64'(sluice_pkg::RegCycles);
      8'd20: constant_o = 64'(sluice_pkg::RegDataBeats);
      8'd21: constant_o = 64'(sluice_pkg::RegJobs);
      8'd22: constant_o = 64'(sluice_pkg::RegJobsCancelled);
      8'd23: constant_o = 64'(sluice_pkg::RegQueues);
      8'd24: constant_o = 64'(sluice_pkg::QueueStride);
      8'd25: constant_o = 64'(sluice_pkg::QueueCtrl);
      8'd26: constant_o = 64'(sluice_pkg::QueueStatus);
      8'd27: constant_o = 64'(sluice_pkg::QueueRingLog2);
      8'd28: constant_o = 64'(sluice_pkg::QueueSqTail);
      8'd29: constant_o = 64'(sluice_pkg::QueueSqBase);
      8'd30: constant_o = 64'(sluice_pkg::QueueCqBase);
      8'd31: constant_o = 64'(sluice_pkg::QueueWindowBase);
      8'd32: constant_o = 64'(sluice_pkg::QueueWindowLimit);
      8'd33: constant_o = 64'(sluice_pkg::QueueSqHead);
      8'd34: constant_o = 64'(sluice_pkg::QueueCqTail);
      8'd35: constant_o = 64'(sluice_pkg::QueueCqHead);
      8'd36: constant_o = 64'(sluice_pkg::QueueCancelGeneration);
      8'd37: constant_o = 64'(sluice_pkg::QueueCancelSlot);
      8'd38: constant_o = 64'(sluice_pkg::DescriptorBytes);
      8'd39: constant_o = 64'(sluice_pkg::CompletionBytes);
      default: constant_o = '1;
    endcase
  end
endmodule
