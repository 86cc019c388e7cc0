// SPDX-License-Identifier: Apache-2.0
// The engine as the simulator drives it: every input goes through a register, as if the memory and the host behind the
// ports were clocked by ap_clk too. What is given before an edge is on the engine's pins in the cycle after it, and one
// evaluation a cycle does. Verilator needs the pins as ports of its top module, so they stand here as in rtl/scrub.sv: a pin
// that only one of the two has stops Verilator (PINMISSING, PINNOTFOUND).
module scrub_pins #(
    parameter int unsigned DATA_WIDTH = 512,
    parameter int unsigned ADDR_WIDTH = 64,
    parameter int unsigned NUM_QUEUES = 4,
    parameter int unsigned NUM_SLOTS = 256,
    parameter int unsigned PREFETCH = 128,
    parameter int unsigned MAX_OUTSTANDING = 128,
    parameter int unsigned NUM_MASTERS = 2,
    parameter bit          ID_PER_QUEUE = 1'b1,
    parameter bit          WAIT_FOR_ACKS = 1'b1,
    localparam int unsigned QUEUE_W = (NUM_QUEUES > 1) ? $clog2(NUM_QUEUES) : 1,
    localparam int unsigned ID_WIDTH = QUEUE_W + 1
) (
    input  logic ap_clk,
    input  logic ap_rst_n,
    input  logic [11:0] s_axi_control_awaddr,
    input  logic s_axi_control_awvalid,
    input  logic [31:0] s_axi_control_wdata,
    input  logic [3:0] s_axi_control_wstrb,
    input  logic s_axi_control_wvalid,
    input  logic s_axi_control_bready,
    input  logic [11:0] s_axi_control_araddr,
    input  logic s_axi_control_arvalid,
    input  logic s_axi_control_rready,
    input  logic m00_axi_awready,
    input  logic m00_axi_wready,
    input  logic [ID_WIDTH-1:0] m00_axi_bid,
    input  logic [1:0] m00_axi_bresp,
    input  logic m00_axi_bvalid,
    input  logic m00_axi_arready,
    input  logic [ID_WIDTH-1:0] m00_axi_rid,
    input  logic [DATA_WIDTH-1:0] m00_axi_rdata,
    input  logic [1:0] m00_axi_rresp,
    input  logic m00_axi_rlast,
    input  logic m00_axi_rvalid,
    input  logic m01_axi_awready,
    input  logic m01_axi_wready,
    input  logic [ID_WIDTH-1:0] m01_axi_bid,
    input  logic [1:0] m01_axi_bresp,
    input  logic m01_axi_bvalid,
    input  logic m01_axi_arready,
    input  logic [ID_WIDTH-1:0] m01_axi_rid,
    input  logic [DATA_WIDTH-1:0] m01_axi_rdata,
    input  logic [1:0] m01_axi_rresp,
    input  logic m01_axi_rlast,
    input  logic m01_axi_rvalid,
    output logic interrupt,
    output logic s_axi_control_awready,
    output logic s_axi_control_wready,
    output logic [1:0] s_axi_control_bresp,
    output logic s_axi_control_bvalid,
    output logic s_axi_control_arready,
    output logic [31:0] s_axi_control_rdata,
    output logic [1:0] s_axi_control_rresp,
    output logic s_axi_control_rvalid,
    output logic [ID_WIDTH-1:0] m00_axi_awid,
    output logic [ADDR_WIDTH-1:0] m00_axi_awaddr,
    output logic [7:0] m00_axi_awlen,
    output logic [2:0] m00_axi_awsize,
    output logic [1:0] m00_axi_awburst,
    output logic m00_axi_awvalid,
    output logic [DATA_WIDTH-1:0] m00_axi_wdata,
    output logic [DATA_WIDTH/8-1:0] m00_axi_wstrb,
    output logic m00_axi_wlast,
    output logic m00_axi_wvalid,
    output logic m00_axi_bready,
    output logic [ID_WIDTH-1:0] m00_axi_arid,
    output logic [ADDR_WIDTH-1:0] m00_axi_araddr,
    output logic [7:0] m00_axi_arlen,
    output logic [2:0] m00_axi_arsize,
    output logic [1:0] m00_axi_arburst,
    output logic m00_axi_arvalid,
    output logic m00_axi_rready,
    output logic [ID_WIDTH-1:0] m01_axi_awid,
    output logic [ADDR_WIDTH-1:0] m01_axi_awaddr,
    output logic [7:0] m01_axi_awlen,
    output logic [2:0] m01_axi_awsize,
    output logic [1:0] m01_axi_awburst,
    output logic m01_axi_awvalid,
    output logic [DATA_WIDTH-1:0] m01_axi_wdata,
    output logic [DATA_WIDTH/8-1:0] m01_axi_wstrb,
    output logic m01_axi_wlast,
    output logic m01_axi_wvalid,
    output logic m01_axi_bready,
    output logic [ID_WIDTH-1:0] m01_axi_arid,
    output logic [ADDR_WIDTH-1:0] m01_axi_araddr,
    output logic [7:0] m01_axi_arlen,
    output logic [2:0] m01_axi_arsize,
    output logic [1:0] m01_axi_arburst,
    output logic m01_axi_arvalid,
    output logic m01_axi_rready
);
  logic ap_rst_n_q;
  logic [11:0] s_axi_control_awaddr_q;
  logic s_axi_control_awvalid_q;
  logic [31:0] s_axi_control_wdata_q;
  logic [3:0] s_axi_control_wstrb_q;
  logic s_axi_control_wvalid_q;
  logic s_axi_control_bready_q;
  logic [11:0] s_axi_control_araddr_q;
  logic s_axi_control_arvalid_q;
  logic s_axi_control_rready_q;
  logic m00_axi_awready_q;
  logic m00_axi_wready_q;
  logic [ID_WIDTH-1:0] m00_axi_bid_q;
  logic [1:0] m00_axi_bresp_q;
  logic m00_axi_bvalid_q;
  logic m00_axi_arready_q;
  logic [ID_WIDTH-1:0] m00_axi_rid_q;
  logic [DATA_WIDTH-1:0] m00_axi_rdata_q;
  logic [1:0] m00_axi_rresp_q;
  logic m00_axi_rlast_q;
  logic m00_axi_rvalid_q;
  logic m01_axi_awready_q;
  logic m01_axi_wready_q;
  logic [ID_WIDTH-1:0] m01_axi_bid_q;
  logic [1:0] m01_axi_bresp_q;
  logic m01_axi_bvalid_q;
  logic m01_axi_arready_q;
  logic [ID_WIDTH-1:0] m01_axi_rid_q;
  logic [DATA_WIDTH-1:0] m01_axi_rdata_q;
  logic [1:0] m01_axi_rresp_q;
  logic m01_axi_rlast_q;
  logic m01_axi_rvalid_q;
  always_ff @(posedge ap_clk) begin
    ap_rst_n_q <= ap_rst_n;
    s_axi_control_awaddr_q <= s_axi_control_awaddr;
    s_axi_control_awvalid_q <= s_axi_control_awvalid;
    s_axi_control_wdata_q <= s_axi_control_wdata;
    s_axi_control_wstrb_q <= s_axi_control_wstrb;
    s_axi_control_wvalid_q <= s_axi_control_wvalid;
    s_axi_control_bready_q <= s_axi_control_bready;
    s_axi_control_araddr_q <= s_axi_control_araddr;
    s_axi_control_arvalid_q <= s_axi_control_arvalid;
    s_axi_control_rready_q <= s_axi_control_rready;
    m00_axi_awready_q <= m00_axi_awready;
    m00_axi_wready_q <= m00_axi_wready;
    m00_axi_bid_q <= m00_axi_bid;
    m00_axi_bresp_q <= m00_axi_bresp;
    m00_axi_bvalid_q <= m00_axi_bvalid;
    m00_axi_arready_q <= m00_axi_arready;
    m00_axi_rid_q <= m00_axi_rid;
    if (m00_axi_rvalid) m00_axi_rdata_q <= m00_axi_rdata;
    m00_axi_rresp_q <= m00_axi_rresp;
    m00_axi_rlast_q <= m00_axi_rlast;
    m00_axi_rvalid_q <= m00_axi_rvalid;
    m01_axi_awready_q <= m01_axi_awready;
    m01_axi_wready_q <= m01_axi_wready;
    m01_axi_bid_q <= m01_axi_bid;
    m01_axi_bresp_q <= m01_axi_bresp;
    m01_axi_bvalid_q <= m01_axi_bvalid;
    m01_axi_arready_q <= m01_axi_arready;
    m01_axi_rid_q <= m01_axi_rid;
    if (m01_axi_rvalid) m01_axi_rdata_q <= m01_axi_rdata;
    m01_axi_rresp_q <= m01_axi_rresp;
    m01_axi_rlast_q <= m01_axi_rlast;
    m01_axi_rvalid_q <= m01_axi_rvalid;
  end

  scrub #(
      .DATA_WIDTH(DATA_WIDTH),
      .ADDR_WIDTH(ADDR_WIDTH),
      .NUM_QUEUES(NUM_QUEUES),
      .NUM_SLOTS(NUM_SLOTS),
      .PREFETCH(PREFETCH),
      .MAX_OUTSTANDING(MAX_OUTSTANDING),
      .NUM_MASTERS(NUM_MASTERS),
      .ID_PER_QUEUE(ID_PER_QUEUE),
      .WAIT_FOR_ACKS(WAIT_FOR_ACKS)
  ) u_scrub (
      .ap_clk,
      .ap_rst_n(ap_rst_n_q), .s_axi_control_awaddr(s_axi_control_awaddr_q),
      .s_axi_control_awvalid(s_axi_control_awvalid_q), .s_axi_control_wdata(s_axi_control_wdata_q),
      .s_axi_control_wstrb(s_axi_control_wstrb_q), .s_axi_control_wvalid(s_axi_control_wvalid_q),
      .s_axi_control_bready(s_axi_control_bready_q), .s_axi_control_araddr(s_axi_control_araddr_q),
      .s_axi_control_arvalid(s_axi_control_arvalid_q), .s_axi_control_rready(s_axi_control_rready_q),
      .m00_axi_awready(m00_axi_awready_q), .m00_axi_wready(m00_axi_wready_q), .m00_axi_bid(m00_axi_bid_q),
      .m00_axi_bresp(m00_axi_bresp_q), .m00_axi_bvalid(m00_axi_bvalid_q), .m00_axi_arready(m00_axi_arready_q),
      .m00_axi_rid(m00_axi_rid_q), .m00_axi_rdata(m00_axi_rdata_q), .m00_axi_rresp(m00_axi_rresp_q),
      .m00_axi_rlast(m00_axi_rlast_q), .m00_axi_rvalid(m00_axi_rvalid_q), .m01_axi_awready(m01_axi_awready_q),
      .m01_axi_wready(m01_axi_wready_q), .m01_axi_bid(m01_axi_bid_q), .m01_axi_bresp(m01_axi_bresp_q),
      .m01_axi_bvalid(m01_axi_bvalid_q), .m01_axi_arready(m01_axi_arready_q), .m01_axi_rid(m01_axi_rid_q),
      .m01_axi_rdata(m01_axi_rdata_q), .m01_axi_rresp(m01_axi_rresp_q), .m01_axi_rlast(m01_axi_rlast_q),
      .m01_axi_rvalid(m01_axi_rvalid_q), .interrupt, .s_axi_control_awready, .s_axi_control_wready,
      .s_axi_control_bresp, .s_axi_control_bvalid, .s_axi_control_arready, .s_axi_control_rdata, .s_axi_control_rresp,
      .s_axi_control_rvalid, .m00_axi_awid, .m00_axi_awaddr, .m00_axi_awlen, .m00_axi_awsize, .m00_axi_awburst,
      .m00_axi_awvalid, .m00_axi_wdata, .m00_axi_wstrb, .m00_axi_wlast, .m00_axi_wvalid, .m00_axi_bready,
      .m00_axi_arid, .m00_axi_araddr, .m00_axi_arlen, .m00_axi_arsize, .m00_axi_arburst, .m00_axi_arvalid,
      .m00_axi_rready, .m01_axi_awid, .m01_axi_awaddr, .m01_axi_awlen, .m01_axi_awsize, .m01_axi_awburst,
      .m01_axi_awvalid, .m01_axi_wdata, .m01_axi_wstrb, .m01_axi_wlast, .m01_axi_wvalid, .m01_axi_bready,
      .m01_axi_arid, .m01_axi_araddr, .m01_axi_arlen, .m01_axi_arsize, .m01_axi_arburst, .m01_axi_arvalid,
      .m01_axi_rready
  );
endmodule
