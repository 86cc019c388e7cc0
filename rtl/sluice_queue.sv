// SPDX-License-Identifier: Apache-2.0
// One queue, from descriptor to completion: fetch -> check -> split -> track -> complete, with its cancel table.
module sluice_queue #(
    parameter int unsigned DATA_WIDTH      = 512,
    parameter int unsigned NUM_SLOTS       = 256,
    parameter int unsigned MAX_JOBS        = 16,
    parameter int unsigned MAX_OUTSTANDING = 128,
    parameter bit          WAIT_FOR_ACKS   = 1'b1
) (
    input  logic                      clk_i,
    input  logic                      rst_ni,

    input  sluice_pkg::queue_config_t config_i,
    input  logic                      start_i,
    input  logic [15:0]               sq_tail_i,
    input  logic [15:0]               cq_head_i,
    input  logic                      cancel_i,
    input  logic [15:0]               cancel_slot_i,
    input  logic [31:0]               cancel_generation_i,
    output logic [15:0]               sq_head_o,
    output logic [15:0]               cq_tail_o,
    output logic                      idle_o,
    output logic                      fetch_fault_o,
    output logic                      completion_fault_o,
    output logic                      written_o,
    output logic                      job_done_o,
    output logic                      job_cancelled_o,

    output logic [63:0]               araddr_o,
    output logic [7:0]                arlen_o,
    output logic [2:0]                arsize_o,
    output logic                      arvalid_o,
    input  logic                      arready_i,
    input  logic [DATA_WIDTH-1:0]     rdata_i,
    input  logic [1:0]                rresp_i,
    input  logic                      rlast_i,
    input  logic                      rvalid_i,
    output logic                      rready_o,

    output sluice_pkg::burst_t        data_o,
    output logic                      data_valid_o,
    input  logic                      data_ready_i,
    input  logic                      data_response_i,
    output sluice_pkg::burst_t        completion_o,
    output logic                      completion_valid_o,
    input  logic                      completion_ready_i,
    input  logic                      completion_response_i,
    input  logic [1:0]                response_code_i
);
  localparam int unsigned TagW = $clog2(MAX_JOBS);

  sluice_pkg::descriptor_t descriptor;
  sluice_pkg::job_t job;
  sluice_pkg::completion_t done;
  logic job_valid, job_ready, open, open_ready, close, close_cancelled, cancel_hit, error_hit;
  logic burst_valid, issue, issue_ready, done_valid, done_ready;
  logic fetch_idle, split_idle, track_idle, complete_idle;
  logic [TagW-1:0] open_tag, close_tag, running_tag;
  logic [15:0] running_slot;
  logic [31:0] running_generation;

  assign idle_o          = fetch_idle && !job_valid && split_idle && track_idle && complete_idle;
  assign job_done_o      = done_valid && done_ready;
  assign job_cancelled_o = job_done_o && done.outcome == sluice_pkg::OutcomeCancelled;

  sluice_fetch #(
      .DATA_WIDTH(DATA_WIDTH)
  ) u_fetch (
      .clk_i, .rst_ni,
      .enable_i(config_i.enable), .ring_log2_i(config_i.ring_log2), .sq_base_i(config_i.sq_base),
      .start_i, .sq_tail_i, .sq_head_o,
      .fault_o(fetch_fault_o), .idle_o(fetch_idle),
      .araddr_o, .arlen_o, .arsize_o, .arvalid_o, .arready_i,
      .rdata_i, .rresp_i, .rlast_i, .rvalid_i, .rready_o,
      .descriptor_o(descriptor), .valid_o(job_valid), .ready_i(job_ready)
  );

  sluice_check #(
      .NUM_SLOTS(NUM_SLOTS)
  ) u_check (
      .window_base_i(config_i.window_base), .window_limit_i(config_i.window_limit),
      .descriptor_i(descriptor), .job_o(job)
  );

  sluice_cancel #(
      .NUM_SLOTS(NUM_SLOTS)
  ) u_cancel (
      .clk_i, .rst_ni,
      .cancel_i, .cancel_slot_i, .cancel_generation_i,
      .clear_i(job_done_o), .clear_slot_i(done.slot),
      .query_slot_i(running_slot), .query_generation_i(running_generation), .hit_o(cancel_hit)
  );

  sluice_split #(
      .DATA_WIDTH(DATA_WIDTH),
      .TAG_WIDTH (TagW)
  ) u_split (
      .clk_i, .rst_ni,
      .job_i(job), .job_valid_i(job_valid), .job_ready_o(job_ready), .idle_o(split_idle),
      .open_o(open), .open_ready_i(open_ready), .open_tag_i(open_tag),
      .close_o(close), .close_tag_o(close_tag), .close_cancelled_o(close_cancelled),
      .slot_o(running_slot), .generation_o(running_generation), .tag_o(running_tag),
      .cancel_hit_i(cancel_hit), .error_hit_i(error_hit),
      .burst_o(data_o), .burst_valid_o(burst_valid), .burst_ready_i(issue)
  );

  // A burst leaves when both the bus and the book of bursts under way take it.
  assign data_valid_o = burst_valid && issue_ready;
  assign issue        = data_valid_o && data_ready_i;

  sluice_track #(
      .MAX_JOBS       (MAX_JOBS),
      .MAX_OUTSTANDING(MAX_OUTSTANDING),
      .WAIT_FOR_ACKS  (WAIT_FOR_ACKS)
  ) u_track (
      .clk_i, .rst_ni,
      .open_i(open), .open_ready_o(open_ready), .open_tag_o(open_tag),
      .open_slot_i(job.slot), .open_generation_i(job.generation), .open_cause_i(job.cause),
      .issue_i(issue), .issue_ready_o(issue_ready), .issue_tag_i(running_tag), .issue_bytes_i(data_o.bytes),
      .close_i(close), .close_tag_i(close_tag), .close_cancelled_i(close_cancelled),
      .response_i(data_response_i), .response_code_i,
      .query_tag_i(running_tag), .error_hit_o(error_hit),
      .done_valid_o(done_valid), .done_o(done), .done_ready_i(done_ready),
      .idle_o(track_idle)
  );

  sluice_complete u_complete (
      .clk_i, .rst_ni,
      .ring_log2_i(config_i.ring_log2), .cq_base_i(config_i.cq_base), .start_i, .cq_head_i, .cq_tail_o,
      .fault_o(completion_fault_o), .idle_o(complete_idle),
      .done_i(done), .done_valid_i(done_valid), .done_ready_o(done_ready),
      .write_o(completion_o), .write_valid_o(completion_valid_o), .write_ready_i(completion_ready_i),
      .response_i(completion_response_i), .response_bad_i(response_code_i[1]), .written_o
  );
endmodule
