// SPDX-License-Identifier: Apache-2.0
// The types that the engine's modules hand to each other. What software sees is in sluice_ring_pkg.
package sluice_pkg;

  localparam int unsigned LengthWidth = 41;      // 0 to 2^40 bytes
  localparam int unsigned BurstBytesWidth = 13;  // 0 to 4096 bytes

  // What a piece of a job asks of the bus.
  localparam logic [1:0] KindNone = 2'd0;
  localparam logic [1:0] KindWrite = 2'd1;
  localparam logic [1:0] KindRead = 2'd2;

  // A descriptor as it waits in the prefetch buffer. malformed: it fails and touches nothing.
  typedef struct packed {
    logic                   malformed;
    logic                   is_list;
    logic [2:0]             operation;
    logic [31:0]            generation;
    logic [15:0]            slot;
    logic [63:0]            pattern;
    logic [LengthWidth-1:0] length_bytes;
    logic [63:0]            address;
  } job_t;

  // One contiguous extent of a job, to be written or read. A job is a row of pieces; only the last one ends it.
  typedef struct packed {
    logic [1:0]             kind;
    logic                   last;
    logic                   fence;
    logic                   verify_only;  // the job writes nothing
    logic                   counted;      // its bytes count as skipped when a cancel drops it
    logic [3:0]             cause;        // other than none: the job fails here
    logic [31:0]            generation;
    logic [15:0]            slot;
    logic [63:0]            pattern;
    logic [LengthWidth-1:0] length_bytes;
    logic [63:0]            address;
  } piece_t;

  // A checked piece with its first burst worked out.
  typedef struct packed {
    piece_t                     piece;
    logic                       cancelled;
    logic [BurstBytesWidth-1:0] first_bytes;
    logic [LengthWidth-1:0]     rest_bytes;  // behind the first burst
    logic [6:0]                 end_lane;    // of the last byte
  } checked_t;

  localparam int unsigned BurstBits = 164;

  // One AXI burst of full-width beats. Lanes say which bytes of its first and last beat count.
  typedef struct packed {
    logic [63:0]                address;
    logic [BurstBytesWidth-1:0] bytes;
    logic [7:0]                 last_beat;
    logic [6:0]                 first_lane;
    logic [6:0]                 last_lane;
    logic [63:0]                pattern;
    logic                       is_read;
  } burst_t;

  // The data beats of one burst, as the write master remembers them.
  typedef struct packed {
    logic        is_line;
    logic [7:0]  last_beat;
    logic [6:0]  first_lane;
    logic [6:0]  last_lane;
    logic [63:0] pattern;
  } beats_t;

  // An entry in a queue's book: a burst under way, or the end of a job, or both.
  typedef struct packed {
    logic                       is_burst;
    logic                       is_read;
    logic                       ends;
    logic                       verify_only;
    logic                       cancelled;
    logic [3:0]                 cause;
    logic [BurstBytesWidth-1:0] bytes;
    logic [15:0]                slot;
    logic [31:0]                generation;
  } entry_t;

  // What the bus said to a burst: a cause, and how many of its bytes came before it.
  typedef struct packed {
    logic [3:0]                 cause;
    logic [BurstBytesWidth-1:0] good_bytes;  // when there is a cause
  } answer_t;

  // What software has set up for a queue.
  typedef struct packed {
    logic        enable;
    logic [3:0]  ring_log2;
    logic [63:0] sq_base;
    logic [63:0] cq_base;
    logic [63:0] window_base;
    logic [63:0] window_limit;
    logic [1:0]  level;
    logic [7:0]  weight;
    logic [23:0] rate;
    logic [7:0]  moderation_count;
    logic [23:0] moderation_cycles;
  } queue_config_t;

  // Events that are counted, one cycle each.
  typedef struct packed {
    logic job;
    logic cancelled;
    logic failed;
    logic stall_rate;
    logic stall_bus;
    logic stall_ring;
  } queue_events_t;

  // The bits of a pointer that are an index into a ring.
  function automatic logic [15:0] ring_mask(input logic [3:0] ring_log2);
    ring_mask = ~(16'hFFFF << ring_log2);
  endfunction

  // Which byte lanes of a beat lie from `first` to `last`, both included.
  function automatic logic [127:0] lanes_between(input logic [6:0] first, input logic [6:0] last);
    logic [7:0] from, upto;
    for (int unsigned group = 0; group < 16; group++) begin
      from = (4'(group) == first[6:3]) ? 8'hFF << first[2:0] : {8{4'(group) > first[6:3]}};
      upto = (4'(group) == last[6:3]) ? ~(8'hFE << last[2:0]) : {8{4'(group) < last[6:3]}};
      lanes_between[group*8+:8] = from & upto;
    end
  endfunction

endpackage
