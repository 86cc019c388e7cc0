// SPDX-License-Identifier: Apache-2.0
// AXI4-Lite slave: turns the five channels into one register bus. A write takes address and data together; reads
// and writes never wait for each other. write_error_i in the cycle of write_o becomes SLVERR.
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

    output logic        write_o,
    output logic [11:0] write_address_o,
    output logic [31:0] write_data_o,
    input  logic        write_error_i,
    output logic        read_o,
    output logic [11:0] read_address_o,
    input  logic [31:0] read_data_i
);
  localparam logic [1:0] RespOkay = 2'b00;
  localparam logic [1:0] RespSlverr = 2'b10;

  logic take_write, take_read, partial;

  assign take_write = awvalid_i && wvalid_i && !bvalid_o;
  assign take_read  = arvalid_i && !rvalid_o;
  assign partial    = wstrb_i != 4'hF;

  assign awready_o       = take_write;
  assign wready_o        = take_write;
  assign arready_o       = take_read;
  assign write_o         = take_write && !partial;
  assign write_address_o = awaddr_i;
  assign write_data_o    = wdata_i;
  assign read_o          = take_read;
  assign read_address_o  = araddr_i;
  assign rresp_o         = RespOkay;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      bvalid_o <= 1'b0;
      bresp_o  <= RespOkay;
      rvalid_o <= 1'b0;
      rdata_o  <= '0;
    end else begin
      if (take_write) begin
        bvalid_o <= 1'b1;
        bresp_o  <= (partial || write_error_i) ? RespSlverr : RespOkay;
      end else if (bready_i) begin
        bvalid_o <= 1'b0;
      end
      if (take_read) begin
        rvalid_o <= 1'b1;
        rdata_o  <= read_data_i;
      end else if (rready_i) begin
        rvalid_o <= 1'b0;
      end
    end
  end
endmodule
