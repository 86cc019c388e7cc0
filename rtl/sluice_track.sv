// SPDX-License-Identifier: Apache-2.0
// Follows every job from its first burst to its last write response and says what came of it. Responses come back in
// order, so a FIFO of the bursts under way tells whose each one is. A job ends when no more bursts of it will come
// (closed) and none is unanswered: this wait is the promise that a finished job never writes again.
module sluice_track #(
    parameter int unsigned MAX_JOBS        = 16,
    parameter int unsigned MAX_OUTSTANDING = 128,
    parameter bit          WAIT_FOR_ACKS   = 1'b1,  // 0 breaks the promise: tests show that they notice
    parameter int unsigned TAG_WIDTH       = $clog2(MAX_JOBS)
) (
    input  logic                                   clk_i,
    input  logic                                   rst_ni,

    input  logic                                   open_i,
    output logic                                   open_ready_o,
    output logic [TAG_WIDTH-1:0]                   open_tag_o,
    input  logic [15:0]                            open_slot_i,
    input  logic [31:0]                            open_generation_i,
    input  logic [7:0]                             open_cause_i,

    input  logic                                   issue_i,
    output logic                                   issue_ready_o,
    input  logic [TAG_WIDTH-1:0]                   issue_tag_i,
    input  logic [sluice_pkg::BurstBytesWidth-1:0] issue_bytes_i,

    input  logic                                   close_i,
    input  logic [TAG_WIDTH-1:0]                   close_tag_i,
    input  logic                                   close_cancelled_i,

    input  logic                                   response_i,
    input  logic [1:0]                             response_code_i,

    input  logic [TAG_WIDTH-1:0]                   query_tag_i,
    output logic                                   error_hit_o,

    output logic                                   done_valid_o,
    output sluice_pkg::completion_t                done_o,
    input  logic                                   done_ready_i,
    output logic                                   idle_o
);
  localparam int unsigned CountW = $clog2(MAX_OUTSTANDING) + 1;

  logic [TAG_WIDTH:0] head_q, tail_q;
  logic [TAG_WIDTH-1:0] head, acked_tag;
  logic [sluice_pkg::BurstBytesWidth-1:0] acked_bytes;
  logic burst_known, response_bad, retire;

  logic [MAX_JOBS-1:0] closed_q, cancelled_q;
  logic [7:0] cause_q[0:MAX_JOBS-1];
  logic [15:0] slot_q[0:MAX_JOBS-1];
  logic [31:0] generation_q[0:MAX_JOBS-1];
  logic [sluice_pkg::LengthWidth-1:0] acked_q[0:MAX_JOBS-1];
  logic [CountW-1:0] outstanding_q[0:MAX_JOBS-1];

  assign head         = head_q[TAG_WIDTH-1:0];
  assign open_tag_o   = tail_q[TAG_WIDTH-1:0];
  assign open_ready_o = (tail_q - head_q) != (TAG_WIDTH + 1)'(MAX_JOBS);
  assign idle_o       = head_q == tail_q;
  assign error_hit_o  = cause_q[query_tag_i] != sluice_pkg::CauseNone;
  assign response_bad = response_code_i[1];

  sluice_fifo #(
      .WIDTH(TAG_WIDTH + sluice_pkg::BurstBytesWidth),
      .DEPTH(MAX_OUTSTANDING)
  ) u_bursts (
      .clk_i,
      .rst_ni,
      .push_i (issue_i),
      .data_i ({issue_tag_i, issue_bytes_i}),
      .ready_o(issue_ready_o),
      .valid_o(burst_known),
      .data_o ({acked_tag, acked_bytes}),
      .pop_i  (response_i)
  );

  assign done_valid_o = !idle_o && closed_q[head] && (outstanding_q[head] == '0 || !WAIT_FOR_ACKS);
  assign retire       = done_valid_o && done_ready_i;
  always_comb begin
    done_o              = '0;
    done_o.bytes_zeroed = acked_q[head];
    done_o.slot         = slot_q[head];
    done_o.generation   = generation_q[head];
    done_o.cause        = cause_q[head];
    if (cause_q[head] != sluice_pkg::CauseNone) done_o.outcome = sluice_pkg::OutcomeFailed;
    else if (cancelled_q[head]) done_o.outcome = sluice_pkg::OutcomeCancelled;
    else done_o.outcome = sluice_pkg::OutcomeZeroed;
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      head_q      <= '0;
      tail_q      <= '0;
      closed_q    <= '0;
      cancelled_q <= '0;
      for (int unsigned i = 0; i < MAX_JOBS; i++) begin
        cause_q[i]       <= sluice_pkg::CauseNone;
        slot_q[i]        <= '0;
        generation_q[i]  <= '0;
        acked_q[i]       <= '0;
        outstanding_q[i] <= '0;
      end
    end else begin
      if (issue_i && !(response_i && burst_known && acked_tag == issue_tag_i)) begin
        outstanding_q[issue_tag_i] <= outstanding_q[issue_tag_i] + CountW'(1);
      end
      if (response_i && burst_known) begin
        if (!(issue_i && acked_tag == issue_tag_i)) outstanding_q[acked_tag] <= outstanding_q[acked_tag] - CountW'(1);
        // Only what lies before the first bad response is a prefix.
        if (cause_q[acked_tag] == sluice_pkg::CauseNone) begin
          if (response_bad) begin
            cause_q[acked_tag] <= response_code_i[0] ? sluice_pkg::CauseDecodeError : sluice_pkg::CauseSlaveError;
          end else begin
            acked_q[acked_tag] <= acked_q[acked_tag] + sluice_pkg::LengthWidth'(acked_bytes);
          end
        end
      end
      if (close_i) begin
        closed_q[close_tag_i]    <= 1'b1;
        cancelled_q[close_tag_i] <= close_cancelled_i;
      end
      if (retire) begin
        head_q         <= head_q + (TAG_WIDTH + 1)'(1);
        closed_q[head] <= 1'b0;
      end
      if (open_i) begin
        tail_q                    <= tail_q + (TAG_WIDTH + 1)'(1);
        slot_q[open_tag_o]        <= open_slot_i;
        generation_q[open_tag_o]  <= open_generation_i;
        cause_q[open_tag_o]       <= open_cause_i;
        acked_q[open_tag_o]       <= '0;
        outstanding_q[open_tag_o] <= '0;
        closed_q[open_tag_o]      <= open_cause_i != sluice_pkg::CauseNone;
        cancelled_q[open_tag_o]   <= 1'b0;
      end
    end
  end
endmodule
