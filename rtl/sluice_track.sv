// SPDX-License-Identifier: Apache-2.0
// The book of one queue: every burst under way and every end of a job, in order. The bus answers the bursts of a queue
// in that order too. A job ends when its last entry is reached, and that is only after everything before it was
// answered: this wait is the promise that a finished job never writes again. After the watchdog has fired
// (quarantine_i) entries no longer wait, and late answers are only counted.
module sluice_track #(
    parameter int unsigned MAX_OUTSTANDING = 128,
    parameter bit          WAIT_FOR_ACKS   = 1'b1  // 0 breaks the promise: tests show that they notice
) (
    input  logic                     clk_i,
    input  logic                     rst_ni,
    input  logic                     quarantine_i,

    input  sluice_pkg::entry_t       entry_i,
    input  logic                     entry_valid_i,
    output logic                     room_o,
    output logic                     quiet_o,      // no burst is unanswered

    input  sluice_pkg::answer_t      answer_i,
    input  logic                     answer_valid_i,

    output logic                     error_hit_o,  // the job that entries come of has failed
    output sluice_ring_pkg::completion_t done_o,
    output logic                     done_valid_o,
    input  logic                     done_ready_i,
    output logic                     idle_o
);
  localparam int unsigned CountW = $clog2(MAX_OUTSTANDING) + 1;
  localparam logic [3:0] None = 4'(sluice_ring_pkg::CauseNone);

  sluice_pkg::entry_t head;
  sluice_pkg::answer_t answer;
  logic head_valid, answer_known, retire, answered, free, unused_answer_room;
  logic [CountW-1:0] unanswered_q, ends_q, ends_d, entries;
  logic no_ends_q, quiet_q, sends, end_comes, end_leaves;
  logic [CountW-1:0] unused_answers;

  sluice_fifo #(
      .WIDTH ($bits(head)),
      .DEPTH (MAX_OUTSTANDING),
      .BYPASS(1'b0)
  ) u_entries (
      .clk_i, .rst_ni,
      .push_i(entry_valid_i), .data_i(entry_i), .ready_o(room_o),
      .valid_o(head_valid), .data_o(head), .pop_i(retire), .count_o(entries)
  );
  sluice_fifo #(
      .WIDTH ($bits(answer)),
      .DEPTH (MAX_OUTSTANDING),
      .BYPASS(1'b0)
  ) u_answers (
      .clk_i, .rst_ni,
      .push_i(answer_valid_i && !quarantine_i), .data_i(answer_i), .ready_o(unused_answer_room),
      .valid_o(answer_known), .data_o(answer), .pop_i(retire && head.is_burst), .count_o(unused_answers)
  );

  assign answered = answer_known || quarantine_i || !WAIT_FOR_ACKS;
  assign free     = !done_valid_o || done_ready_i;
  assign retire   = head_valid && (!head.is_burst || answered) && (!head.ends || free);
  assign quiet_o  = quiet_q;
  assign idle_o   = entries == '0 && quiet_o && !done_valid_o;

  // What has come of the job so far. Only what lies before its first bad answer is a prefix.
  logic [sluice_pkg::LengthWidth-1:0] written_q, written_d, verified_q, verified_d, count_d;
  logic [3:0] cause_q, cause_d, final_cause;
  logic bad_read_q, bad_read_d, was_good_q;
  logic [sluice_pkg::BurstBytesWidth-1:0] amount;

  assign sends = entry_valid_i && entry_i.is_burst;
  always_comb begin
    cause_d     = 'x;
    bad_read_d  = 'x;
    amount      = 'x;
    written_d   = 'x;
    verified_d  = 'x;
    final_cause = 'x;
    count_d     = 'x;
    if (head_valid) begin
      cause_d    = cause_q;
      bad_read_d = bad_read_q;
      amount     = '0;
      if (head.is_burst && was_good_q) begin
        if (!answer_known) cause_d = WAIT_FOR_ACKS ? 4'(sluice_ring_pkg::CauseTimeout) : None;
        else cause_d = answer.cause;
        bad_read_d = head.is_read;
        if (answer_known) amount = (answer.cause == None) ? head.bytes : answer.good_bytes;
      end
      written_d   = written_q + (head.is_read ? '0 : sluice_pkg::LengthWidth'(amount));
      verified_d  = verified_q + (head.is_read ? sluice_pkg::LengthWidth'(amount) : '0);
      final_cause = (cause_d != None) ? cause_d : head.cause;
      count_d     = (head.verify_only || (cause_d != None && bad_read_d)) ? verified_d : written_d;
    end
  end

  assign error_hit_o = !was_good_q && no_ends_q;

  assign end_comes  = entry_valid_i && entry_i.ends;
  assign end_leaves = retire && head.ends;
  assign ends_d     = (end_comes == end_leaves) ? ends_q : ends_q + (end_comes ? CountW'(1) : {CountW{1'b1}});
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      unanswered_q <= '0;
      ends_q       <= '0;
      no_ends_q    <= 1'b1;
      written_q    <= '0;
      verified_q   <= '0;
      cause_q      <= None;
      bad_read_q   <= 1'b0;
      was_good_q   <= 1'b1;
      quiet_q      <= 1'b1;
      done_valid_o <= 1'b0;
    end else begin
      if (sends != answer_valid_i) unanswered_q <= unanswered_q + (sends ? CountW'(1) : {CountW{1'b1}});
      quiet_q      <= !sends && unanswered_q == CountW'(answer_valid_i);
      ends_q       <= ends_d;
      no_ends_q    <= ends_d == '0;
      if (retire) begin
        written_q  <= head.ends ? '0 : written_d;
        verified_q <= head.ends ? '0 : verified_d;
        cause_q    <= head.ends ? None : cause_d;
        bad_read_q <= head.ends ? 1'b0 : bad_read_d;
        was_good_q <= head.ends || cause_d == None;
      end
      if (retire && head.ends) done_valid_o <= 1'b1;
      else if (done_ready_i) done_valid_o <= 1'b0;
    end
  end

  always_ff @(posedge clk_i) begin
    if (retire && head.ends) begin
      done_o.phase        <= 1'b0;
      done_o.reserved     <= '0;
      done_o.bytes_zeroed <= 48'(count_d);
      done_o.slot         <= head.slot;
      done_o.generation   <= head.generation;
      done_o.cause        <= 8'(final_cause);
      if (final_cause != None) done_o.outcome <= sluice_ring_pkg::OutcomeFailed;
      else if (head.cancelled) done_o.outcome <= sluice_ring_pkg::OutcomeCancelled;
      else done_o.outcome <= sluice_ring_pkg::OutcomeZeroed;
    end
  end
endmodule
