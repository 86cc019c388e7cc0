// SPDX-License-Identifier: Apache-2.0
// What SQ_HEAD promises: it counts the descriptors that have arrived whole and in order, each of them becomes a job, and
// none behind one that could not be read or after the watchdog. Software may use their places in the ring again, and knows
// of all the others that they were never taken.
module sluice_fetch_proof (
    input logic         clk,
    input logic         rst_n,
    input logic         enable,
    input logic [15:0]  sq_tail,
    input logic         quarantine,
    input logic         ready,
    input logic         data_valid,
    input logic [511:0] data,
    input logic         data_bad,
    input logic         list_valid,
    input logic         job_ready
);
  logic [15:0] sq_head;
  logic fault, idle, waiting, valid, data_last, list_ready, list_done, list_bad, job_valid;
  logic [63:0] address;
  logic [4:0] lines;
  logic [511:0] list_line;
  sluice_pkg::job_t job;
  (* hierconn *) wire [4:0] \dut.jobs_waiting ;
  (* hierconn *) wire \dut.push ;

  sluice_fetch #(
      .NUM_SLOTS(16),
      .PREFETCH (16)
  ) dut (
      .clk_i(clk), .rst_ni(rst_n), .enable_i(enable && !quarantine), .ring_log2_i(4'd2), .sq_base_i(64'd0),
      .start_i(1'b0), .sq_tail_i(sq_tail), .quarantine_i(quarantine), .sq_head_o(sq_head), .fault_o(fault),
      .idle_o(idle), .waiting_o(waiting), .address_o(address), .lines_o(lines), .valid_o(valid), .ready_i(ready),
      .data_valid_i(data_valid), .data_i(data), .data_bad_i(data_bad), .data_last_i(data_last),
      .list_valid_i(list_valid), .list_address_i(64'd0), .list_ready_o(list_ready), .list_done_o(list_done),
      .list_bad_o(list_bad), .list_line_o(list_line), .job_o(job), .job_valid_o(job_valid), .job_ready_i(job_ready)
  );

  // Reads under way, oldest first: how many lines are left, and of what.
  logic [4:0] left_0, left_1, left_2;
  logic list_0, list_1, list_2;
  logic [1:0] reads;
  logic takes, ends;
  logic [15:0] arrived, taken, asked;
  logic broken, was_quarantined;

  assign takes     = valid && ready;
  assign data_last = left_0 == 5'd1;
  assign ends      = data_valid && data_last;

  logic started = 1'b0;
  always @(posedge clk) started <= 1'b1;
  always @(*) begin
    if (!started) assume (!rst_n);
    else assume (rst_n);
    if (reads == 2'd3) assume (!ready);
    if (reads == 2'd0) assume (!data_valid);
    if (was_quarantined) assume (quarantine);
    // The doorbell is checked against SQ_HEAD, and never goes back.
    assume (sq_tail - sq_head <= 16'd4 && sq_tail >= asked);
  end

  always @(posedge clk) begin
    if (!rst_n) begin
      reads           <= 2'd0;
      arrived         <= 16'd0;
      taken           <= 16'd0;
      asked           <= 16'd0;
      broken          <= 1'b0;
      was_quarantined <= 1'b0;
    end else begin
      was_quarantined <= quarantine;
      reads <= reads + {1'b0, takes} - {1'b0, ends};
      if (takes && !list_valid) asked <= asked + {11'd0, lines};
      if (data_valid) left_0 <= left_0 - 5'd1;
      if (ends) {left_0, list_0, left_1, list_1} <= {left_1, list_1, left_2, list_2};
      if (takes) begin
        case (reads - {1'b0, ends})
          2'd0: {left_0, list_0} <= {lines, list_valid};
          2'd1: {left_1, list_1} <= {lines, list_valid};
          default: {left_2, list_2} <= {lines, list_valid};
        endcase
      end
      if (data_valid && !list_0) begin
        if (data_bad) broken <= 1'b1;
        else if (!broken && !quarantine) arrived <= arrived + 16'd1;
      end
      if (job_valid && job_ready) taken <= taken + 16'd1;
    end
  end

  always @(posedge clk) begin
    if (started && rst_n) begin
      assert (sq_head == arrived);
      assert (fault == broken);
      // Each that counts is a job; none is lost for want of room.
      assert (taken + {11'd0, dut.jobs_waiting} == sq_head);
      assert (asked - sq_head <= 16'd4 || broken || quarantine);
      if (valid && !list_valid) assert (lines != 5'd0 && lines <= 5'd4);
    end
  end
endmodule
