// SPDX-License-Identifier: Apache-2.0
// The types and numbers that software and hardware share. docs/RING.md explains them;
// driver/include/sluice/driver/ring_format.hpp holds the same in C++, and tests/rtl/wire_format_test.cpp
// compares the two field by field.
package sluice_pkg;

  localparam int unsigned DescriptorBytes = 64;
  localparam int unsigned CompletionBytes = 16;
  localparam int unsigned LengthWidth = 48;
  localparam int unsigned BurstBytesWidth = 13;  // 0 to 4096 bytes
  localparam logic [63:0] MaxLengthBytes = 64'd1 << 40;

  // Descriptor.operation
  localparam logic [7:0] OpFill = 8'd1;

  // Completion.outcome
  localparam logic [7:0] OutcomeZeroed = 8'd1;
  localparam logic [7:0] OutcomeCancelled = 8'd2;
  localparam logic [7:0] OutcomeFailed = 8'd3;

  // Completion.cause
  localparam logic [7:0] CauseNone = 8'd0;
  localparam logic [7:0] CauseBadDescriptor = 8'd1;
  localparam logic [7:0] CauseOutsideWindow = 8'd2;
  localparam logic [7:0] CauseSlaveError = 8'd3;
  localparam logic [7:0] CauseDecodeError = 8'd4;

  // Registers of the engine.
  localparam logic [11:0] RegCtrl = 12'h000;
  localparam logic [11:0] RegGie = 12'h004;
  localparam logic [11:0] RegIer = 12'h008;
  localparam logic [11:0] RegIsr = 12'h00C;
  localparam logic [11:0] RegId = 12'h010;
  localparam logic [11:0] RegVersion = 12'h014;
  localparam logic [11:0] RegCapabilities = 12'h018;
  localparam logic [11:0] RegCycles = 12'h020;
  localparam logic [11:0] RegDataBeats = 12'h028;
  localparam logic [11:0] RegJobs = 12'h030;
  localparam logic [11:0] RegJobsCancelled = 12'h038;

  // Registers of queue q lie at RegQueues + q * QueueStride.
  localparam logic [11:0] RegQueues = 12'h800;
  localparam logic [11:0] QueueStride = 12'h080;
  localparam logic [6:0] QueueCtrl = 7'h00;
  localparam logic [6:0] QueueStatus = 7'h04;
  localparam logic [6:0] QueueRingLog2 = 7'h08;
  localparam logic [6:0] QueueSqTail = 7'h0C;
  localparam logic [6:0] QueueSqBase = 7'h10;
  localparam logic [6:0] QueueCqBase = 7'h18;
  localparam logic [6:0] QueueWindowBase = 7'h20;
  localparam logic [6:0] QueueWindowLimit = 7'h28;
  localparam logic [6:0] QueueSqHead = 7'h30;
  localparam logic [6:0] QueueCqTail = 7'h34;
  localparam logic [6:0] QueueCqHead = 7'h38;
  localparam logic [6:0] QueueCancelGeneration = 7'h40;
  localparam logic [6:0] QueueCancelSlot = 7'h44;

  localparam logic [31:0] IdValue = 32'h534C_4345;  // "SLCE"
  localparam logic [31:0] VersionValue = 32'h0001_0000;

  // The last field of a packed struct lies at byte 0.
  typedef struct packed {
    logic [255:0] reserved;
    logic [31:0]  generation;
    logic [7:0]   flags;
    logic [7:0]   operation;
    logic [15:0]  slot;
    logic [63:0]  pattern;
    logic [63:0]  length_bytes;
    logic [63:0]  address;
  } descriptor_t;

  typedef struct packed {
    logic        phase;
    logic [14:0] reserved;
    logic [7:0]  cause;
    logic [7:0]  outcome;
    logic [31:0] generation;
    logic [15:0] slot;
    logic [47:0] bytes_zeroed;
  } completion_t;

  // A checked descriptor. A cause other than CauseNone: it is refused and writes nothing.
  typedef struct packed {
    logic [63:0]            address;
    logic [LengthWidth-1:0] length_bytes;
    logic [63:0]            pattern;
    logic [15:0]            slot;
    logic [31:0]            generation;
    logic [7:0]             cause;
  } job_t;

  // One AXI burst: `bytes` bytes from `address`, filled with `data` repeated from 16-byte aligned addresses on.
  typedef struct packed {
    logic [63:0]                address;
    logic [BurstBytesWidth-1:0] bytes;
    logic [127:0]               data;
  } burst_t;

  // The data beats of one burst, as the write master remembers them: which lanes of its first and last beat count.
  typedef struct packed {
    logic         completion;
    logic [7:0]   last_beat;
    logic [6:0]   first_lane;
    logic [6:0]   last_lane;
    logic [127:0] data;
  } beats_t;

  // What software has set up for a queue.
  typedef struct packed {
    logic        enable;
    logic [3:0]  ring_log2;
    logic [63:0] sq_base;
    logic [63:0] cq_base;
    logic [63:0] window_base;
    logic [63:0] window_limit;
  } queue_config_t;

endpackage
