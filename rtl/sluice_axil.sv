// SPDX-License-Identifier: Apache-2.0
// AXI4-Lite slave: turns the five channels into one register bus. A write takes address and data together; reads and
// writes never wait for each other. The register side sees a write one cycle after its handshake (check_o) and may refuse
// it (write_error_i, which becomes SLVERR). From the next cycle on it is there to be done (write_o), until write_wait_i is
// low. Read data comes one cycle after read_o.
module sluice_axil (
    input  logic        clk_i,
    input  logic        rst_ni,
    input  logic [11:0] awaddr_i,
    input  logic        awvalid_i,
    output logic        awready_o,
    input  logic [31:0] wdata_i,
    input  logic [3:0]  wstrb_i,
    input  logic        wvalid_i,
    output logic        wready_o,
    output logic [1:0]  bresp_o,
    output logic        bvalid_o,
    input  logic        bready_i,
    input  logic [11:0] araddr_i,
    input  logic        arvalid_i,
    output logic        arready_o,
    output logic [31:0] rdata_o,
    output logic [1:0]  rresp_o,
    output logic        rvalid_o,
    input  logic        rready_i,

    output logic        check_o,
    output logic        write_o,
    output logic [11:0] write_address_o,
    output logic [31:0] write_data_o,
    input  logic        write_wait_i,
    input  logic        write_error_i,
    output logic        refused_o,       // one cycle
    output logic        read_o,
    output logic [11:0] read_address_o,
    input  logic [31:0] read_data_i
);
  localparam logic [1:0] RespOkay = 2'b00;
  localparam logic [1:0] RespSlverr = 2'b10;

  logic take_write, take_read, pending_q, partial_q, checked_q, bad_q, done, reading_q;
  logic [11:0] write_address_q, read_address_q;
  logic [31:0] write_data_q;

  assign take_write = awvalid_i && wvalid_i && !pending_q && !bvalid_o;
  assign awready_o  = take_write;
  assign wready_o   = take_write;

  assign check_o         = pending_q && !checked_q;
  assign write_o         = checked_q && !bad_q;
  assign write_address_o = write_address_q;
  assign write_data_o    = write_data_q;
  assign done            = checked_q && (bad_q || !write_wait_i);
  assign refused_o       = checked_q && bad_q;

  assign take_read      = arvalid_i && !reading_q && !rvalid_o;
  assign arready_o      = take_read;
  assign read_o         = reading_q;
  assign read_address_o = read_address_q;
  assign rresp_o        = RespOkay;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      pending_q <= 1'b0;
      partial_q <= 1'b0;
      checked_q <= 1'b0;
      bad_q     <= 1'b0;
      bvalid_o  <= 1'b0;
      bresp_o   <= RespOkay;
      reading_q <= 1'b0;
      rvalid_o  <= 1'b0;
    end else begin
      if (take_write) begin
        pending_q <= 1'b1;
        partial_q <= wstrb_i != 4'hF || awaddr_i[1:0] != 2'b00;
      end else if (done) begin
        pending_q <= 1'b0;
      end
      checked_q <= pending_q && !done;
      if (check_o) bad_q <= partial_q || write_error_i;
      if (done) begin
        bvalid_o <= 1'b1;
        bresp_o  <= refused_o ? RespSlverr : RespOkay;
      end else if (bready_i) begin
        bvalid_o <= 1'b0;
      end
      reading_q <= take_read;
      if (reading_q) rvalid_o <= 1'b1;
      else if (rready_i) rvalid_o <= 1'b0;
    end
  end

  always_ff @(posedge clk_i) begin
    if (take_write) begin
      write_address_q <= awaddr_i;
      write_data_q    <= wdata_i;
    end
    if (take_read) read_address_q <= araddr_i;
    if (reading_q) rdata_o <= read_data_i;
  end
endmodule
