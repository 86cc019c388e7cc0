// SPDX-License-Identifier: Apache-2.0
// Promises 2, 3 and 4 in the book of a queue, for every order of entries, answers and a slow reader: a job's completion
// comes once, in order, only when all bursts before it are answered, and its count is the exact acknowledged prefix. One
// job is singled out by its number; the reference counts for it apart from the design. The watchdog may fire in any cycle:
// then what was not answered ends as failed with the prefix acknowledged before, and late answers change nothing but quiet.
module sluice_track_proof (
    input logic       clk,
    input logic       rst_n,
    input logic       entry_valid,
    input logic       is_burst,
    input logic       ends,
    input logic       cancelled,
    input logic [2:0] bytes,
    input logic       answer_valid,
    input logic       answer_bad,
    input logic       done_ready,
    input logic       quarantine
);
  (* anyconst *) logic [3:0] chosen;
  logic room, quiet, error_hit, done_valid, idle;
  sluice_pkg::entry_t entry;
  sluice_pkg::answer_t answer;
  sluice_ring_pkg::completion_t done;
  logic [3:0] entered, ended;  // jobs, modulo 16
  logic [2:0] under_way;       // bursts
  logic open;                  // the newest job has entries and no end

  always_comb begin
    entry             = '0;
    entry.is_burst    = is_burst;
    entry.ends        = ends;
    entry.cancelled   = cancelled && !is_burst && !quarantine;
    entry.cause       = (quarantine && !is_burst) ? 4'(sluice_ring_pkg::CauseTimeout) : 4'd0;
    entry.bytes       = {10'd0, bytes};
    entry.slot        = {12'd0, entered};
    answer            = '0;
    answer.cause      = answer_bad ? 4'd3 : 4'd0;
  end

  sluice_track #(
      .MAX_OUTSTANDING(4)
  ) dut (
      .clk_i(clk), .rst_ni(rst_n), .quarantine_i(quarantine), .entry_i(entry), .entry_valid_i(entry_valid), .room_o(room),
      .quiet_o(quiet), .answer_i(answer), .answer_valid_i(answer_valid), .error_hit_o(error_hit), .done_o(done),
      .done_valid_o(done_valid), .done_ready_i(done_ready), .idle_o(idle)
  );

  logic started = 1'b0;
  always @(posedge clk) started <= 1'b1;
  always @(*) begin
    if (!started) assume (!rst_n);
    else assume (rst_n);
    // What sluice_split and the bus do.
    if (entry_valid) assume (room && (is_burst || ends) && bytes != 3'd0);
    if (answer_valid) assume (under_way != 3'd0);
    // The watchdog fires for good, after two silent cycles at least; from then on sluice_split issues no burst.
    if (was_quarantined) assume (quarantine);
    if (answered_lately != 2'd0) assume (quarantine == was_quarantined);
    if (quarantine) assume (!(entry_valid && is_burst));
  end

  // The reference: which bursts under way belong to the chosen job, by their place in the order.
  logic [3:0] burst_job_0, burst_job_1, burst_job_2, burst_job_3, burst_job_4;
  logic [2:0] burst_bytes_0, burst_bytes_1, burst_bytes_2, burst_bytes_3, burst_bytes_4;
  logic [7:0] acknowledged;
  logic failed, finished, cut_short, timed_out, was_quarantined, chosen_under_way;
  logic [1:0] answered_lately;
  assign chosen_under_way = (under_way > 3'd0 && burst_job_0 == chosen) || (under_way > 3'd1 && burst_job_1 == chosen) ||
                            (under_way > 3'd2 && burst_job_2 == chosen) || (under_way > 3'd3 && burst_job_3 == chosen) ||
                            (under_way > 3'd4 && burst_job_4 == chosen);
  logic [2:0] at;
  assign at = under_way - {2'd0, answer_valid};
  always @(posedge clk) begin
    if (!rst_n) begin
      entered      <= 4'd0;
      ended        <= 4'd0;
      under_way    <= 3'd0;
      acknowledged <= 8'd0;
      failed       <= 1'b0;
      finished     <= 1'b0;
      cut_short    <= 1'b0;
      timed_out    <= 1'b0;
      was_quarantined <= 1'b0;
      answered_lately <= 2'd0;
    end else begin
      was_quarantined <= quarantine;
      answered_lately <= {answered_lately[0], answer_valid};
      if (quarantine && !was_quarantined && !finished && chosen_under_way) timed_out <= 1'b1;
      if (quarantine && entry_valid && ends && entered == chosen && !finished) timed_out <= 1'b1;
      if (entry_valid && ends) entered <= entered + 4'd1;
      if (done_valid && done_ready) ended <= ended + 4'd1;
      under_way <= under_way + {2'd0, entry_valid && is_burst} - {2'd0, answer_valid};
      if (answer_valid) begin
        {burst_job_0, burst_job_1, burst_job_2, burst_job_3} <= {burst_job_1, burst_job_2, burst_job_3, burst_job_4};
        {burst_bytes_0, burst_bytes_1, burst_bytes_2, burst_bytes_3} <= {burst_bytes_1, burst_bytes_2, burst_bytes_3,
                                                                        burst_bytes_4};
        if (burst_job_0 == chosen && !finished && !quarantine) begin
          if (answer_bad) failed <= 1'b1;
          else if (!failed) acknowledged <= acknowledged + {5'd0, burst_bytes_0};
        end
      end
      if (entry_valid && is_burst) begin
        case (at)
          3'd0: {burst_job_0, burst_bytes_0} <= {entered, bytes};
          3'd1: {burst_job_1, burst_bytes_1} <= {entered, bytes};
          3'd2: {burst_job_2, burst_bytes_2} <= {entered, bytes};
          3'd3: {burst_job_3, burst_bytes_3} <= {entered, bytes};
          default: {burst_job_4, burst_bytes_4} <= {entered, bytes};
        endcase
      end
      if (entry_valid && ends && entered == chosen && !finished) cut_short <= cancelled && !is_burst && !quarantine;
      if (done_valid && done_ready && ended == chosen) finished <= 1'b1;
    end
  end

  always @(posedge clk) begin
    if (started && rst_n) begin
      assert (under_way <= 3'd5);
      assert (quiet == (under_way == 3'd0));
      if (done_valid) begin
        assert (done.slot == {12'd0, ended});  // in order, none twice, none left out
        if (ended == chosen && !finished) begin
          // Promise 2: nothing of it is under way, unless the watchdog has given it up.
          assert (!chosen_under_way || timed_out);
          // Promise 4: the exact prefix. Promise 3: the right outcome.
          assert (done.bytes_zeroed == {40'd0, acknowledged});
          assert ((done.outcome == sluice_ring_pkg::OutcomeFailed) == (failed || timed_out));
          if (failed) assert (done.cause == 8'd3);
          else if (timed_out) assert (done.cause == sluice_ring_pkg::CauseTimeout);
          assert ((done.outcome == sluice_ring_pkg::OutcomeCancelled) == (cut_short && !failed && !timed_out));
        end
      end
      cover (done_valid && ended == 4'd1 && timed_out);
      cover (done_valid && ended == 4'd2 && failed);
    end
  end
endmodule
