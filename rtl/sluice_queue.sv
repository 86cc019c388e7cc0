// SPDX-License-Identifier: Apache-2.0
// One queue, from descriptor to completion: fetch -> expand -> check -> split -> track, with its registers, its cancel
// table and its watchdog. The bus, the arbiter and the writing of completions are shared by all queues.
module sluice_queue #(
    parameter int unsigned DATA_WIDTH      = 512,
    parameter int unsigned ADDR_WIDTH      = 64,
    parameter int unsigned NUM_SLOTS       = 256,
    parameter int unsigned PREFETCH        = 128,
    parameter int unsigned MAX_OUTSTANDING = 128,
    parameter bit          WAIT_FOR_ACKS   = 1'b1
) (
    input  logic                         clk_i,
    input  logic                         rst_ni,           // the hardware's
    input  logic                         clear_i,          // the end of an engine reset
    input  logic                         enable_i,
    input  logic                         abort_all_i,
    input  logic                         tick_i,
    input  logic                         bus_stuck_i,      // the data master's address or data waits

    input  logic                         check_i,
    input  logic                         write_i,
    input  logic [6:0]                   write_address_i,
    input  logic [31:0]                  write_data_i,
    output logic                         write_wait_o,
    output logic                         write_error_o,
    input  logic                         read_i,
    input  logic [6:0]                   read_address_i,
    output logic [31:0]                  read_data_o,
    output logic                         cause_o,
    output logic                         idle_o,
    output logic                         start_o,
    output logic [3:0]                   ring_log2_o,
    output logic [63:0]                  cq_base_o,
    output logic [1:0]                   level_o,
    output logic [7:0]                   weight_o,
    output logic [23:0]                  rate_o,
    output sluice_pkg::queue_events_t    events_o,
    output logic                         skipped_o,
    output logic [sluice_pkg::LengthWidth:0] skipped_bytes_o,

    output logic [63:0]                  read_address_o,   // of ring lines
    output logic [4:0]                   read_lines_o,
    output logic                         read_valid_o,
    input  logic                         read_ready_i,
    input  logic                         beat_valid_i,
    input  logic [DATA_WIDTH-1:0]        beat_i,
    input  logic                         beat_bad_i,
    input  logic                         beat_last_i,

    output sluice_pkg::burst_t           burst_o,
    output logic [sluice_pkg::BurstBytesWidth-1:0] burst_bytes_o,
    output logic                         burst_is_read_o,
    output logic                         burst_valid_o,
    input  logic                         burst_ready_i,
    input  logic                         limited_i,
    input  logic                         write_answer_i,
    input  logic [3:0]                   write_cause_i,
    input  sluice_pkg::answer_t          verify_answer_i,
    input  logic                         verify_answer_valid_i,
    input  logic                         verify_beat_i,

    output sluice_ring_pkg::completion_t done_o,
    output logic                         done_valid_o,
    input  logic                         done_ready_i,
    input  logic                         ring_full_i,
    input  logic [15:0]                  cq_tail_i,
    input  logic [15:0]                  cq_used_i,
    output logic [15:0]                  freed_o,
    input  logic                         completion_fault_i,
    input  logic                         unanswered_i,     // completions on their way to memory
    input  logic                         written_i,
    input  logic [3:0]                   written_count_i
);
  logic run_ni;  // low: start over
  assign run_ni = rst_ni && !clear_i;

  logic [15:0] sq_tail, sq_head, cancel_slot;
  logic [31:0] cancel_generation, table_generation;
  logic start, abort, cancel, cancel_ready, cancel_swept, table_ask, table_hit, drained, quarantine, fetch_fault;
  logic [3:0] cause, cause_clear;
  sluice_pkg::queue_config_t setup;

  sluice_queue_regs #(
      .ADDR_WIDTH(ADDR_WIDTH),
      .NUM_SLOTS (NUM_SLOTS)
  ) u_regs (
      .clk_i, .rst_ni, .clear_i, .check_i, .write_i, .write_address_i, .write_data_i, .write_wait_o, .write_error_o,
      .read_i, .read_address_i, .read_data_o, .config_o(setup), .start_o(start), .abort_o(abort),
      .sq_tail_o(sq_tail), .freed_o,
      .cancel_o(cancel), .cancel_slot_o(cancel_slot), .cancel_generation_o(cancel_generation),
      .cancel_ready_i(cancel_ready), .abort_all_i, .sq_head_i(sq_head), .cq_tail_i, .cq_used_i, .idle_i(idle_o),
      .fetch_fault_i(fetch_fault), .completion_fault_i, .quarantine_i(quarantine), .drained_o(drained),
      .cause_clear_o(cause_clear), .cause_i(cause)
  );
  assign start_o     = start;
  assign ring_log2_o = setup.ring_log2;
  assign cq_base_o   = setup.cq_base;
  assign level_o     = setup.level;
  assign weight_o    = setup.weight;
  assign rate_o      = setup.rate;

  sluice_interrupt u_interrupt (
      .clk_i, .rst_ni(run_ni), .count_i(setup.moderation_count), .cycles_i(setup.moderation_cycles),
      .written_i, .written_count_i, .fault_i(fetch_fault || completion_fault_i), .quarantine_i(quarantine),
      .drained_i(drained), .clear_i(cause_clear), .cause_o(cause)
  );
  assign cause_o = cause != 4'd0;

  sluice_pkg::job_t job;
  logic job_valid, job_ready, fetch_idle, fetch_waiting;
  logic list_valid, list_ready, list_done, list_bad;
  logic [63:0] list_address;
  logic [511:0] list_line;

  sluice_fetch #(
      .DATA_WIDTH(DATA_WIDTH),
      .ADDR_WIDTH(ADDR_WIDTH),
      .NUM_SLOTS (NUM_SLOTS),
      .PREFETCH  (PREFETCH)
  ) u_fetch (
      .clk_i, .rst_ni(run_ni),
      .enable_i(enable_i && setup.enable && cancel_swept && !completion_fault_i && !quarantine),
      .ring_log2_i(setup.ring_log2), .sq_base_i(setup.sq_base), .start_i(start), .sq_tail_i(sq_tail),
      .quarantine_i(quarantine), .sq_head_o(sq_head), .fault_o(fetch_fault), .idle_o(fetch_idle), .waiting_o(fetch_waiting),
      .address_o(read_address_o), .lines_o(read_lines_o), .valid_o(read_valid_o), .ready_i(read_ready_i),
      .data_valid_i(beat_valid_i), .data_i(beat_i), .data_bad_i(beat_bad_i), .data_last_i(beat_last_i),
      .list_valid_i(list_valid), .list_address_i(list_address), .list_ready_o(list_ready), .list_done_o(list_done),
      .list_bad_o(list_bad), .list_line_o(list_line),
      .job_o(job), .job_valid_o(job_valid), .job_ready_i(job_ready)
  );

  sluice_pkg::piece_t piece;
  sluice_pkg::checked_t checked;
  logic piece_valid, piece_ready, checked_valid, checked_ready, expand_idle, check_idle, split_idle, track_idle;
  logic abandon_split, abandon;

  // A request is in the table two cycles later. Those jobs that ask the table before that are told of it directly.
  logic cancel1_q, cancel2_q, cancel_now;
  always_ff @(posedge clk_i) begin
    if (!run_ni) {cancel1_q, cancel2_q} <= 2'b00;
    else {cancel1_q, cancel2_q} <= {cancel, cancel1_q};
  end
  assign cancel_now = cancel1_q || cancel2_q;

  // The last piece of the stopped job may be on its way already; then the next job must not be touched.
  assign abandon = abandon_split && !(checked_valid && checked.piece.last);

  sluice_expand u_expand (
      .clk_i, .rst_ni(run_ni), .job_i(job), .job_valid_i(job_valid), .job_ready_o(job_ready), .abandon_i(abandon),
      .idle_o(expand_idle), .list_valid_o(list_valid), .list_address_o(list_address), .list_ready_i(list_ready),
      .list_done_i(list_done), .list_bad_i(list_bad), .list_line_i(list_line),
      .piece_o(piece), .piece_valid_o(piece_valid), .piece_ready_i(piece_ready)
  );

  sluice_check #(
      .DATA_WIDTH(DATA_WIDTH),
      .ADDR_WIDTH(ADDR_WIDTH)
  ) u_check (
      .clk_i, .rst_ni(run_ni), .window_base_i(setup.window_base), .window_limit_i(setup.window_limit),
      .cancel_i(cancel_now), .cancel_slot_i(cancel_slot), .cancel_generation_i(cancel_generation),
      .table_ask_o(table_ask), .table_generation_o(table_generation), .table_hit_i(table_hit), .idle_o(check_idle),
      .piece_i(piece), .valid_i(piece_valid), .ready_o(piece_ready),
      .checked_o(checked), .valid_o(checked_valid), .ready_i(checked_ready)
  );

  sluice_cancel #(
      .NUM_SLOTS(NUM_SLOTS)
  ) u_cancel (
      .clk_i, .rst_ni(run_ni), .start_i(start), .swept_o(cancel_swept), .ready_o(cancel_ready),
      .cancel_i(cancel), .cancel_slot_i(cancel_slot), .cancel_generation_i(cancel_generation),
      .query_i(table_ask), .query_last_i(piece.last), .query_slot_i(piece.slot), .query_generation_i(piece.generation),
      .generation_i(table_generation), .hit_o(table_hit)
  );

  sluice_pkg::entry_t entry;
  logic entry_valid, room, quiet, error_hit;
  sluice_split #(
      .DATA_WIDTH(DATA_WIDTH)
  ) u_split (
      .clk_i, .rst_ni(run_ni), .checked_i(checked), .checked_valid_i(checked_valid), .checked_ready_o(checked_ready),
      .abandon_o(abandon_split), .idle_o(split_idle),
      .cancel_i(cancel_now), .cancel_slot_i(cancel_slot), .cancel_generation_i(cancel_generation),
      .abort_i(abort), .quarantine_i(quarantine), .error_hit_i(error_hit), .room_i(room), .quiet_i(quiet),
      .burst_o, .burst_valid_o, .burst_ready_i, .entry_o(entry), .entry_valid_o(entry_valid),
      .skipped_o, .skipped_bytes_o
  );

  assign burst_bytes_o   = burst_o.bytes;
  assign burst_is_read_o = burst_o.is_read;

  // A queue has either reads or writes under way.
  sluice_pkg::answer_t answer;
  logic answer_valid;
  assign answer_valid = write_answer_i || verify_answer_valid_i;
  always_comb begin
    answer = verify_answer_i;
    if (write_answer_i) begin
      answer.cause      = write_cause_i;
      answer.good_bytes = '0;
    end
  end

  sluice_track #(
      .MAX_OUTSTANDING(MAX_OUTSTANDING),
      .WAIT_FOR_ACKS  (WAIT_FOR_ACKS)
  ) u_track (
      .clk_i, .rst_ni(run_ni), .quarantine_i(quarantine), .entry_i(entry), .entry_valid_i(entry_valid),
      .room_o(room), .quiet_o(quiet), .answer_i(answer), .answer_valid_i(answer_valid), .error_hit_o(error_hit),
      .done_o, .done_valid_o, .done_ready_i, .idle_o(track_idle)
  );

  sluice_watch u_watch (
      .clk_i, .rst_ni(run_ni), .tick_i,
      .waiting_i(!quiet || fetch_waiting || unanswered_i || (burst_valid_o && bus_stuck_i)),
      .progress_i(answer_valid || verify_beat_i || beat_valid_i || written_i || (burst_valid_o && burst_ready_i)),
      .quarantine_o(quarantine)
  );

  always_ff @(posedge clk_i) begin
    if (!rst_ni) idle_o <= 1'b1;
    else idle_o <= fetch_idle && expand_idle && check_idle && split_idle && track_idle && !unanswered_i;
  end

  logic done_event;
  assign done_event = done_valid_o && done_ready_i;
  always_comb begin
    events_o.job        = done_event;
    events_o.cancelled  = done_event && done_o.outcome == sluice_ring_pkg::OutcomeCancelled;
    events_o.failed     = done_event && done_o.outcome == sluice_ring_pkg::OutcomeFailed;
    events_o.stall_rate = limited_i;
    events_o.stall_bus  = burst_valid_o && !burst_ready_i && !limited_i;
    events_o.stall_ring = done_valid_o && ring_full_i;
  end
endmodule
