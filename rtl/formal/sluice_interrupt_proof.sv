// SPDX-License-Identifier: Apache-2.0
// No completion is forgotten and none is announced twice: the cause comes when as many as MODERATION says were written
// since the last time, or so long after the first of them, whatever else happens and however long the queue rested. The
// other causes come once with each rising edge. A cause stays until it is cleared, and a new one beats the clearing.
module sluice_interrupt_proof (
    input logic       clk,
    input logic       rst_n,
    input logic [7:0]  count,
    input logic [23:0] cycles,
    input logic       written,
    input logic [3:0] written_count,
    input logic       fault,
    input logic       quarantine,
    input logic       drained,
    input logic [3:0] clear
);
  logic [3:0] cause;
  (* hierconn *) wire [8:0] \dut.pending_q ;
  (* hierconn *) wire [23:0] \dut.age_q ;
  (* hierconn *) wire \dut.fault_q ;
  (* hierconn *) wire \dut.quarantine_q ;

  sluice_interrupt dut (
      .clk_i(clk), .rst_ni(rst_n), .count_i(count), .cycles_i(cycles), .written_i(written),
      .written_count_i(written_count), .fault_i(fault), .quarantine_i(quarantine), .drained_i(drained), .clear_i(clear),
      .cause_o(cause)
  );

  logic started = 1'b0;
  always @(posedge clk) started <= 1'b1;
  always @(*) begin
    if (!started) assume (!rst_n);
    if (written) assume (written_count != 4'd0 && written_count <= 4'd8);
  end

  // The reference: completions that nobody was told of, up to 256, and since when.
  logic [8:0] unannounced;
  logic [23:0] waited;
  logic [8:0] enough;
  logic announces, fault_before, quarantine_before;
  logic [3:0] expected;
  assign enough    = (count == 8'd0) ? 9'd1 : {1'b0, count};
  assign announces = unannounced != 9'd0 && (unannounced >= enough || (cycles != 24'd0 && waited >= cycles));
  always @(posedge clk) begin
    if (!rst_n) begin
      unannounced       <= 9'd0;
      waited            <= 24'd0;
      fault_before      <= 1'b0;
      quarantine_before <= 1'b0;
      expected          <= 4'd0;
    end else begin
      if (announces) unannounced <= written ? {5'd0, written_count} : 9'd0;
      else if (written && unannounced < 9'd256) unannounced <= unannounced + {5'd0, written_count};
      waited            <= (announces || unannounced == 9'd0) ? 24'd0 : waited + 24'd1;
      fault_before      <= fault;
      quarantine_before <= quarantine;
      expected          <= {drained, quarantine && !quarantine_before, fault && !fault_before, announces} |
                           (expected & ~clear);
    end
  end

  always @(posedge clk) begin
    if (started && rst_n) begin
      assert (cause == expected);
      // What ties the design to the reference.
      assert (dut.pending_q == unannounced && unannounced < 9'd264);
      assert (dut.age_q == waited);
      assert (dut.fault_q == fault_before && dut.quarantine_q == quarantine_before);
    end
  end
endmodule
