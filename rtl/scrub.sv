// SPDX-License-Identifier: Apache-2.0
// The scrub engine, with the ports of a Vitis RTL kernel (protocol user_managed): one AXI4-Lite control slave, one AXI4
// master for rings and data, one level interrupt, active high.
module scrub #(
    parameter int unsigned DATA_WIDTH      = 512,
    parameter int unsigned NUM_SLOTS       = 256,
    parameter int unsigned MAX_JOBS        = 16,
    parameter int unsigned MAX_OUTSTANDING = 128,
    parameter bit          WAIT_FOR_ACKS   = 1'b1
) (
    input  logic                    ap_clk,
    input  logic                    ap_rst_n,
    output logic                    interrupt,

    input  logic [11:0]             s_axi_control_awaddr,
    input  logic                    s_axi_control_awvalid,
    output logic                    s_axi_control_awready,
    input  logic [31:0]             s_axi_control_wdata,
    input  logic [3:0]              s_axi_control_wstrb,
    input  logic                    s_axi_control_wvalid,
    output logic                    s_axi_control_wready,
    output logic [1:0]              s_axi_control_bresp,
    output logic                    s_axi_control_bvalid,
    input  logic                    s_axi_control_bready,
    input  logic [11:0]             s_axi_control_araddr,
    input  logic                    s_axi_control_arvalid,
    output logic                    s_axi_control_arready,
    output logic [31:0]             s_axi_control_rdata,
    output logic [1:0]              s_axi_control_rresp,
    output logic                    s_axi_control_rvalid,
    input  logic                    s_axi_control_rready,

    output logic [0:0]              m00_axi_awid,
    output logic [63:0]             m00_axi_awaddr,
    output logic [7:0]              m00_axi_awlen,
    output logic [2:0]              m00_axi_awsize,
    output logic [1:0]              m00_axi_awburst,
    output logic                    m00_axi_awvalid,
    input  logic                    m00_axi_awready,
    output logic [DATA_WIDTH-1:0]   m00_axi_wdata,
    output logic [DATA_WIDTH/8-1:0] m00_axi_wstrb,
    output logic                    m00_axi_wlast,
    output logic                    m00_axi_wvalid,
    input  logic                    m00_axi_wready,
    input  logic [0:0]              m00_axi_bid,
    input  logic [1:0]              m00_axi_bresp,
    input  logic                    m00_axi_bvalid,
    output logic                    m00_axi_bready,
    output logic [0:0]              m00_axi_arid,
    output logic [63:0]             m00_axi_araddr,
    output logic [7:0]              m00_axi_arlen,
    output logic [2:0]              m00_axi_arsize,
    output logic [1:0]              m00_axi_arburst,
    output logic                    m00_axi_arvalid,
    input  logic                    m00_axi_arready,
    input  logic [DATA_WIDTH-1:0]   m00_axi_rdata,
    input  logic [1:0]              m00_axi_rresp,
    input  logic                    m00_axi_rlast,
    input  logic                    m00_axi_rvalid,
    output logic                    m00_axi_rready
);
  localparam logic [1:0] BurstIncr = 2'b01;

  logic write, write_error, queue_write_error, read, enable, start, cancel, idle, in_queue_write, in_queue_read;
  logic fetch_fault, completion_fault, fault_q, written, data_beat, job_done, job_cancelled;
  logic [11:0] write_address, read_address;
  logic [31:0] write_data, read_data, engine_read_data, queue_read_data, cancel_generation;
  logic [15:0] sq_tail, sq_head, cq_head, cq_tail, cancel_slot;
  sluice_pkg::queue_config_t queue_setup, queue_config;
  sluice_pkg::burst_t data, completion;
  logic data_valid, data_ready, data_response, completion_valid, completion_ready, completion_response;
  logic [1:0] response_code;

  assign in_queue_write = write_address >= sluice_pkg::RegQueues &&
                          write_address < sluice_pkg::RegQueues + sluice_pkg::QueueStride;
  assign in_queue_read  = read_address >= sluice_pkg::RegQueues &&
                          read_address < sluice_pkg::RegQueues + sluice_pkg::QueueStride;
  assign write_error    = in_queue_write && queue_write_error;
  assign read_data      = in_queue_read ? queue_read_data : engine_read_data;

  always_comb begin
    queue_config        = queue_setup;
    queue_config.enable = queue_setup.enable && enable;
  end

  sluice_axil u_axil (
      .clk_i(ap_clk), .rst_ni(ap_rst_n),
      .awaddr_i(s_axi_control_awaddr), .awvalid_i(s_axi_control_awvalid), .awready_o(s_axi_control_awready),
      .wdata_i(s_axi_control_wdata), .wstrb_i(s_axi_control_wstrb), .wvalid_i(s_axi_control_wvalid),
      .wready_o(s_axi_control_wready), .bresp_o(s_axi_control_bresp), .bvalid_o(s_axi_control_bvalid),
      .bready_i(s_axi_control_bready), .araddr_i(s_axi_control_araddr), .arvalid_i(s_axi_control_arvalid),
      .arready_o(s_axi_control_arready), .rdata_o(s_axi_control_rdata), .rresp_o(s_axi_control_rresp),
      .rvalid_o(s_axi_control_rvalid), .rready_i(s_axi_control_rready),
      .write_o(write), .write_address_o(write_address), .write_data_o(write_data), .write_error_i(write_error),
      .read_o(read), .read_address_o(read_address), .read_data_i(read_data)
  );

  sluice_regs #(
      .DATA_WIDTH(DATA_WIDTH),
      .NUM_SLOTS (NUM_SLOTS)
  ) u_regs (
      .clk_i(ap_clk), .rst_ni(ap_rst_n),
      .write_i(write), .write_address_i(write_address), .write_data_i(write_data[1:0]),
      .read_i(read), .read_address_i(read_address), .read_data_o(engine_read_data),
      .enable_o(enable), .interrupt_o(interrupt), .idle_i(idle),
      .completion_event_i(written), .fault_event_i((fetch_fault || completion_fault) && !fault_q),
      .data_beat_i(data_beat), .job_done_i(job_done), .job_cancelled_i(job_cancelled)
  );

  always_ff @(posedge ap_clk) begin
    if (!ap_rst_n) fault_q <= 1'b0;
    else fault_q <= fetch_fault || completion_fault;
  end

  sluice_queue_regs #(
      .NUM_SLOTS(NUM_SLOTS)
  ) u_queue_regs (
      .clk_i(ap_clk), .rst_ni(ap_rst_n),
      .write_i(write && in_queue_write), .write_address_i(write_address[6:0]), .write_data_i(write_data),
      .write_error_o(queue_write_error), .read_address_i(read_address[6:0]), .read_data_o(queue_read_data),
      .config_o(queue_setup), .start_o(start), .sq_tail_o(sq_tail), .cq_head_o(cq_head),
      .cancel_o(cancel), .cancel_slot_o(cancel_slot), .cancel_generation_o(cancel_generation),
      .sq_head_i(sq_head), .cq_tail_i(cq_tail), .idle_i(idle),
      .fetch_fault_i(fetch_fault), .completion_fault_i(completion_fault)
  );

  sluice_queue #(
      .DATA_WIDTH     (DATA_WIDTH),
      .NUM_SLOTS      (NUM_SLOTS),
      .MAX_JOBS       (MAX_JOBS),
      .MAX_OUTSTANDING(MAX_OUTSTANDING),
      .WAIT_FOR_ACKS  (WAIT_FOR_ACKS)
  ) u_queue (
      .clk_i(ap_clk), .rst_ni(ap_rst_n),
      .config_i(queue_config), .start_i(start), .sq_tail_i(sq_tail), .cq_head_i(cq_head),
      .cancel_i(cancel), .cancel_slot_i(cancel_slot), .cancel_generation_i(cancel_generation),
      .sq_head_o(sq_head), .cq_tail_o(cq_tail), .idle_o(idle),
      .fetch_fault_o(fetch_fault), .completion_fault_o(completion_fault), .written_o(written),
      .job_done_o(job_done), .job_cancelled_o(job_cancelled),
      .araddr_o(m00_axi_araddr), .arlen_o(m00_axi_arlen), .arsize_o(m00_axi_arsize), .arvalid_o(m00_axi_arvalid),
      .arready_i(m00_axi_arready), .rdata_i(m00_axi_rdata), .rresp_i(m00_axi_rresp), .rlast_i(m00_axi_rlast),
      .rvalid_i(m00_axi_rvalid), .rready_o(m00_axi_rready),
      .data_o(data), .data_valid_o(data_valid), .data_ready_i(data_ready), .data_response_i(data_response),
      .completion_o(completion), .completion_valid_o(completion_valid), .completion_ready_i(completion_ready),
      .completion_response_i(completion_response), .response_code_i(response_code)
  );

  sluice_write #(
      .DATA_WIDTH(DATA_WIDTH)
  ) u_write (
      .clk_i(ap_clk), .rst_ni(ap_rst_n),
      .data_i(data), .data_valid_i(data_valid), .data_ready_o(data_ready), .data_response_o(data_response),
      .completion_i(completion), .completion_valid_i(completion_valid), .completion_ready_o(completion_ready),
      .completion_response_o(completion_response), .response_code_o(response_code), .data_beat_o(data_beat),
      .awid_o(m00_axi_awid), .awaddr_o(m00_axi_awaddr), .awlen_o(m00_axi_awlen), .awvalid_o(m00_axi_awvalid),
      .awready_i(m00_axi_awready), .wdata_o(m00_axi_wdata), .wstrb_o(m00_axi_wstrb), .wlast_o(m00_axi_wlast),
      .wvalid_o(m00_axi_wvalid), .wready_i(m00_axi_wready), .bid_i(m00_axi_bid), .bresp_i(m00_axi_bresp),
      .bvalid_i(m00_axi_bvalid), .bready_o(m00_axi_bready)
  );

  assign m00_axi_awsize  = 3'($clog2(DATA_WIDTH / 8));
  assign m00_axi_awburst = BurstIncr;
  assign m00_axi_arid    = 1'b0;
  assign m00_axi_arburst = BurstIncr;
endmodule
