// SPDX-License-Identifier: Apache-2.0
// Made by tools/ring_format.py from rtl/ring.toml: do not edit.
package sluice_ring_pkg;

  localparam logic [31:0] Version = 32'h30000;
  localparam logic [31:0] Id = 32'h534C4345;
  localparam logic [63:0] MaxLengthBytes = 64'h10000000000;
  localparam logic [31:0] PageBytes = 32'h1000;
  localparam logic [31:0] ListAlignment = 32'h40;
  localparam logic [31:0] DescriptorBytes = 32'h40;
  localparam logic [31:0] CompletionBytes = 32'h10;
  localparam logic [31:0] ExtentBytes = 32'h10;
  localparam logic [11:0] QueueBase = 12'h800;
  localparam logic [11:0] QueueStride = 12'h80;
  localparam logic [11:0] QueueCounterBase = 12'h400;
  localparam logic [11:0] QueueCounterStride = 12'h40;

  // Descriptor.operation
  localparam logic [7:0] OpFill = 8'd1;  // write the pattern
  localparam logic [7:0] OpVerify = 8'd2;  // read, and compare with the pattern
  localparam logic [7:0] OpFillVerify = 8'd3;  // fill; when all of it is acknowledged, verify
  localparam logic [7:0] OpFence = 8'd4;  // ends when all earlier jobs of the queue have ended; later ones start after it
  localparam logic [7:0] OpNoop = 8'd5;  // ends in its turn, touches nothing

  // Completion.outcome
  localparam logic [7:0] OutcomeZeroed = 8'd1;  // done: every byte was written and acknowledged, or read and equal
  localparam logic [7:0] OutcomeCancelled = 8'd2;  // stopped on request; bytes_zeroed is the exact acknowledged prefix
  localparam logic [7:0] OutcomeFailed = 8'd3;  // see cause; bytes_zeroed is the exact prefix before the failure

  // Completion.cause
  localparam logic [7:0] CauseNone = 8'd0;  // not failed
  localparam logic [7:0] CauseBadDescriptor = 8'd1;  // not well formed; nothing was written
  localparam logic [7:0] CauseOutsideWindow = 8'd2;  // a byte lies outside the queue's window; nothing of that extent was written
  localparam logic [7:0] CauseSlaveError = 8'd3;  // the bus answered SLVERR
  localparam logic [7:0] CauseDecodeError = 8'd4;  // the bus answered DECERR
  localparam logic [7:0] CauseTimeout = 8'd5;  // the bus did not answer; the queue is quarantined
  localparam logic [7:0] CauseMismatch = 8'd7;  // a byte that was read differs from the pattern

  // Descriptor.flags, as masks
  localparam logic [7:0] DescriptorFlagList = 8'd1;  // address is that of an extent list, length_bytes the sum of its extents

  // bits of STATUS, as masks
  localparam logic [31:0] StatusIdle = 32'd1;  // nothing is under way; with the queue disabled: drained
  localparam logic [31:0] StatusFetchFault = 32'd2;  // a descriptor could not be read; nothing more is fetched
  localparam logic [31:0] StatusCompletionFault = 32'd4;  // a completion could not be written; nothing more is fetched
  localparam logic [31:0] StatusQuarantined = 32'd8;  // the watchdog has ended the queue's jobs; reset the engine
  localparam logic [31:0] StatusAborting = 32'd16;  // an abort is under way

  // bits of CTRL, as masks
  localparam logic [31:0] EngineCtrlEnable = 32'd1;  // queues fetch only while it is set
  localparam logic [31:0] EngineCtrlReset = 32'd2;  // write 1: abort all queues, wait for the bus, then clear pointers, faults, enables and window locks. Reads 1 until done
  localparam logic [31:0] EngineCtrlIdle = 32'd4;  // all queues are idle (read only)

  // bits of a queue's CTRL, as masks
  localparam logic [31:0] QueueCtrlBitEnable = 32'd1;  // setting it starts the pointers at zero; clearing it drains: what was fetched still runs to its end
  localparam logic [31:0] QueueCtrlBitAbort = 32'd2;  // write 1: cancel everything that was fetched, and disable

  // bits of a queue's CAUSE, as masks
  localparam logic [31:0] IrqCauseCompletion = 32'd1;  // completions were written, as MODERATION says
  localparam logic [31:0] IrqCauseFault = 32'd2;  // fetch or completion fault, see STATUS
  localparam logic [31:0] IrqCauseQuarantine = 32'd4;  // the watchdog has fired
  localparam logic [31:0] IrqCauseDrained = 32'd8;  // the queue was disabled and has become idle

  // Registers of the engine
  localparam logic [11:0] RegCtrl = 12'h000;
  localparam logic [11:0] RegGie = 12'h004;
  localparam logic [11:0] RegIer = 12'h008;
  localparam logic [11:0] RegIsr = 12'h00C;
  localparam logic [11:0] RegId = 12'h010;
  localparam logic [11:0] RegVersion = 12'h014;
  localparam logic [11:0] RegCapabilities = 12'h018;
  localparam logic [11:0] RegLimits = 12'h01C;
  localparam logic [11:0] RegOperations = 12'h020;
  localparam logic [11:0] RegTimeout = 12'h024;
  localparam logic [11:0] RegRefused = 12'h028;
  localparam logic [11:0] RegCycles = 12'h040;
  localparam logic [11:0] RegWriteBeats = 12'h048;
  localparam logic [11:0] RegReadBeats = 12'h050;
  localparam logic [11:0] RegRingBeats = 12'h058;
  localparam logic [11:0] RegStallAw = 12'h060;
  localparam logic [11:0] RegStallW = 12'h068;
  localparam logic [11:0] RegStallAr = 12'h070;
  localparam logic [11:0] RegRefusals = 12'h078;

  // Registers of counters of queue q, at 0x400 + q * 0x40
  localparam logic [6:0] QueueCounterJobs = 7'h000;
  localparam logic [6:0] QueueCounterCancelled = 7'h008;
  localparam logic [6:0] QueueCounterFailed = 7'h010;
  localparam logic [6:0] QueueCounterBeats = 7'h018;
  localparam logic [6:0] QueueCounterSkippedBytes = 7'h020;
  localparam logic [6:0] QueueCounterStallRate = 7'h028;
  localparam logic [6:0] QueueCounterStallBus = 7'h030;
  localparam logic [6:0] QueueCounterStallRing = 7'h038;

  // Registers of queue q, at 0x800 + q * 0x80
  localparam logic [6:0] QueueCtrl = 7'h000;
  localparam logic [6:0] QueueStatus = 7'h004;
  localparam logic [6:0] QueueRingLog2 = 7'h008;
  localparam logic [6:0] QueueSqTail = 7'h00C;
  localparam logic [6:0] QueueSqBase = 7'h010;
  localparam logic [6:0] QueueCqBase = 7'h018;
  localparam logic [6:0] QueueWindowBase = 7'h020;
  localparam logic [6:0] QueueWindowLimit = 7'h028;
  localparam logic [6:0] QueueSqHead = 7'h030;
  localparam logic [6:0] QueueCqTail = 7'h034;
  localparam logic [6:0] QueueCqHead = 7'h038;
  localparam logic [6:0] QueueLock = 7'h03C;
  localparam logic [6:0] QueueCancelGeneration = 7'h040;
  localparam logic [6:0] QueueCancelSlot = 7'h044;
  localparam logic [6:0] QueueQos = 7'h048;
  localparam logic [6:0] QueueRate = 7'h04C;
  localparam logic [6:0] QueueModeration = 7'h050;
  localparam logic [6:0] QueueCause = 7'h054;

  // The last field lies at byte 0.
  typedef struct packed {
    logic [255:0] reserved;
    logic [31:0] generation;
    logic [7:0] flags;
    logic [7:0] operation;
    logic [15:0] slot;
    logic [63:0] pattern;
    logic [63:0] length_bytes;
    logic [63:0] address;
  } descriptor_t;

  // The last field lies at byte 0.
  typedef struct packed {
    logic phase;
    logic [14:0] reserved;
    logic [7:0] cause;
    logic [7:0] outcome;
    logic [31:0] generation;
    logic [15:0] slot;
    logic [47:0] bytes_zeroed;
  } completion_t;

endpackage
