// SPDX-License-Identifier: Apache-2.0
// The causes for which one queue interrupts. Completions are moderated: so many of them, or so long after the first.
module sluice_interrupt (
    input  logic        clk_i,
    input  logic        rst_ni,
    input  logic [7:0]  count_i,      // 0 counts as 1
    input  logic [23:0] cycles_i,     // 0: wait for the count
    input  logic        written_i,
    input  logic [3:0]  written_count_i,
    input  logic        fault_i,      // levels: the cause is their rising edge
    input  logic        quarantine_i,
    input  logic        drained_i,    // one cycle
    input  logic [3:0]  clear_i,
    output logic [3:0]  cause_o
);
  logic [8:0] pending_q;
  logic [23:0] age_q;
  logic fault_q, quarantine_q, due;

  assign due = pending_q != '0 && (pending_q >= 9'(count_i) || (cycles_i != '0 && age_q >= cycles_i));

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      pending_q    <= '0;
      age_q        <= '0;
      fault_q      <= 1'b0;
      quarantine_q <= 1'b0;
      cause_o      <= '0;
    end else begin
      fault_q      <= fault_i;
      quarantine_q <= quarantine_i;
      if (due) pending_q <= written_i ? 9'(written_count_i) : '0;
      else if (written_i && !pending_q[8]) pending_q <= pending_q + 9'(written_count_i);
      age_q   <= (due || pending_q == '0) ? '0 : age_q + 24'd1;
      cause_o <= (cause_o & ~clear_i) |
                 {drained_i, quarantine_i && !quarantine_q, fault_i && !fault_q, due};
    end
  end
endmodule
