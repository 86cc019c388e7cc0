// SPDX-License-Identifier: Apache-2.0
// The AXI4-Lite slave keeps the rules (ARM IHI 0022): answers wait until they are taken and do not change, there is one
// for each request and none without, every write is checked and, if it is not refused, reaches the registers once.
module sluice_axil_proof (
    input logic        clk,
    input logic        rst_n,
    input logic [11:0] awaddr,
    input logic        awvalid,
    input logic [31:0] wdata,
    input logic [3:0]  wstrb,
    input logic        wvalid,
    input logic        bready,
    input logic [11:0] araddr,
    input logic        arvalid,
    input logic        rready,
    input logic        write_wait,
    input logic        write_error,
    input logic [31:0] read_data
);
  logic awready, wready, bvalid, arready, rvalid, check, write, refused, read;
  logic [1:0] bresp, rresp;
  logic [31:0] rdata, write_data;
  logic [11:0] write_address, read_address;
  (* hierconn *) wire \dut.pending_q ;
  (* hierconn *) wire \dut.partial_q ;
  (* hierconn *) wire \dut.checked_q ;
  (* hierconn *) wire \dut.bad_q ;
  (* hierconn *) wire \dut.reading_q ;

  sluice_axil dut (
      .clk_i(clk), .rst_ni(rst_n), .awaddr_i(awaddr), .awvalid_i(awvalid), .awready_o(awready), .wdata_i(wdata),
      .wstrb_i(wstrb), .wvalid_i(wvalid), .wready_o(wready), .bresp_o(bresp), .bvalid_o(bvalid), .bready_i(bready),
      .araddr_i(araddr), .arvalid_i(arvalid), .arready_o(arready), .rdata_o(rdata), .rresp_o(rresp),
      .rvalid_o(rvalid), .rready_i(rready), .check_o(check), .write_o(write), .write_address_o(write_address),
      .write_data_o(write_data), .write_wait_i(write_wait), .write_error_i(write_error), .refused_o(refused),
      .read_o(read), .read_address_o(read_address), .read_data_i(read_data)
  );

  logic started = 1'b0;
  always @(posedge clk) started <= 1'b1;
  always @(*) if (!started) assume (!rst_n);

  logic [1:0] writes, reads;  // taken and not answered
  logic writing;              // a whole word was taken, and was neither refused nor has it reached the registers
  logic bad;                  // what was checked last is to be refused
  logic [31:0] last_data;
  always @(posedge clk) begin
    if (!rst_n) begin
      writes  <= 2'd0;
      reads   <= 2'd0;
      writing <= 1'b0;
      bad     <= 1'b0;
    end else begin
      writes <= writes + {1'b0, awvalid && awready} - {1'b0, bvalid && bready};
      reads  <= reads + {1'b0, arvalid && arready} - {1'b0, rvalid && rready};
      if (awvalid && awready) writing <= wstrb == 4'hF && awaddr[1:0] == 2'b00;
      else if ((check && write_error) || (write && !write_wait)) writing <= 1'b0;
      if (check) bad <= write_error || dut.partial_q;
    end
    if (awvalid && awready) last_data <= wdata;
  end

  always @(posedge clk) begin
    if (started && rst_n) begin
      assert (awready == wready);
      assert (writes <= 2'd1 && reads <= 2'd1);
      assert ({1'b0, dut.pending_q} + {1'b0, bvalid} == writes);
      assert ({1'b0, dut.reading_q} + {1'b0, rvalid} == reads);
      assert (write == (writing && dut.checked_q));
      if (check) assert (writing == !dut.partial_q && !write);
      if (dut.checked_q) assert (dut.pending_q && writing == !bad && dut.bad_q == bad);
      if (!dut.pending_q) assert (!writing);
      if (bvalid) assert (bresp == (bad ? 2'b10 : 2'b00));
      assert (!refused || (dut.checked_q && bad));
      if (write) assert (write_data == last_data);
      if ($past(started && rst_n) && $past(rst_n)) begin
        if ($past(bvalid && !bready)) assert (bvalid && $stable(bresp));
        if ($past(rvalid && !rready)) assert (rvalid && $stable(rdata) && $stable(rresp));
        if ($past(write && write_wait)) assert (write && $stable(write_address) && $stable(write_data));
      end
    end
  end
endmodule
