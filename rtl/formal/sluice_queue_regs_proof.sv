// SPDX-License-Identifier: Apache-2.0
// What the registers of a queue promise, for every order of accesses: a locked window does not change until a reset, and an
// enabled queue keeps its set-up; the doorbell never runs more than a ring ahead of the descriptors that have arrived; an
// engine reset leaves the queue disabled, unlocked and with its pointers at zero.
module sluice_queue_regs_proof (
    input logic        clk,
    input logic        rst_n,
    input logic        clear,
    input logic        abort_all,
    input logic        check,
    input logic [6:0]  address,
    input logic [31:0] data,
    input logic        read,
    input logic [6:0]  read_address,
    input logic        arrives,
    input logic        cancel_ready,
    input logic [15:0] cq_tail,
    input logic [15:0] cq_used,
    input logic        idle,
    input logic        fetch_fault,
    input logic        completion_fault,
    input logic        quarantine,
    input logic [3:0]  cause
);
  logic write_wait, write_error, start, abort, cancel, drained;
  logic [31:0] read_data, cancel_generation;
  logic [15:0] sq_tail, freed, cancel_slot;
  logic [3:0] cause_clear;
  sluice_pkg::queue_config_t setup;
  (* hierconn *) wire \dut.locked_q ;

  // A write is done from the cycle after its check on, as sluice_axil does it.
  logic write, wrote, held;
  logic [6:0] address_before;
  logic [31:0] data_before;
  logic [15:0] sq_head;

  sluice_queue_regs #(
      .NUM_SLOTS(16)
  ) dut (
      .clk_i(clk), .rst_ni(rst_n), .clear_i(clear), .check_i(check), .write_i(write), .write_address_i(address),
      .write_data_i(data), .write_wait_o(write_wait), .write_error_o(write_error), .read_i(read),
      .read_address_i(read_address), .read_data_o(read_data), .config_o(setup), .start_o(start), .abort_o(abort),
      .sq_tail_o(sq_tail), .freed_o(freed), .cancel_o(cancel), .cancel_slot_o(cancel_slot),
      .cancel_generation_o(cancel_generation), .cancel_ready_i(cancel_ready), .abort_all_i(abort_all),
      .sq_head_i(sq_head), .cq_tail_i(cq_tail), .cq_used_i(cq_used), .idle_i(idle), .fetch_fault_i(fetch_fault),
      .completion_fault_i(completion_fault), .quarantine_i(quarantine), .drained_o(drained),
      .cause_clear_o(cause_clear), .cause_i(cause)
  );

  logic started = 1'b0;
  logic aborted;
  always @(posedge clk) started <= 1'b1;
  always @(*) begin
    if (!started) assume (!rst_n);
    else assume (rst_n);
    if (write || wrote) assume (!check);  // a write is answered before the next is taken
    if (held) assume (address == address_before && data == data_before);
    if (arrives) assume (sq_head != sq_tail && !start);
    // sluice_regs clears at the end of a reset, which has aborted the queues in the cycles before; no write is done then.
    if (clear) assume (aborted && !write && !check);
  end

  logic locked;
  logic [15:0] size;
  logic [63:0] window_base, window_limit, sq_base, cq_base;
  logic [3:0] ring_log2;
  logic was_locked, was_enabled;
  assign size = 16'd1 << setup.ring_log2;
  always @(posedge clk) begin
    if (!rst_n) begin
      write       <= 1'b0;
      wrote       <= 1'b0;
      held        <= 1'b0;
      sq_head     <= 16'd0;
      locked      <= 1'b0;
      was_locked  <= 1'b0;
      was_enabled <= 1'b0;
      aborted     <= 1'b0;
    end else begin
      write   <= (check && !write_error) || (write && write_wait);
      wrote   <= write;
      held    <= check || (write && write_wait);
      aborted <= abort_all;
      if (start || clear) sq_head <= 16'd0;
      else if (arrives) sq_head <= sq_head + 16'd1;
      if (clear) locked <= 1'b0;
      else if (write && address == sluice_ring_pkg::QueueLock && data[0]) locked <= 1'b1;
      was_locked  <= locked;
      was_enabled <= setup.enable;
    end
    address_before <= address;
    data_before    <= data;
    {window_base, window_limit} <= {setup.window_base, setup.window_limit};
    {sq_base, cq_base, ring_log2} <= {setup.sq_base, setup.cq_base, setup.ring_log2};
  end

  always @(posedge clk) begin
    if (started && rst_n) begin
      assert (dut.locked_q == locked);
      if (was_locked) assert (setup.window_base == window_base && setup.window_limit == window_limit);
      if (was_enabled) begin
        assert (setup.window_base == window_base && setup.window_limit == window_limit);
        assert (setup.sq_base == sq_base && setup.cq_base == cq_base && setup.ring_log2 == ring_log2);
      end
      assert (setup.ring_log2 <= 4'd4);
      if (setup.enable) assert (setup.ring_log2 != 4'd0);
      // While start is shown the pointers of the life before are being forgotten.
      if (setup.enable && !start) assert (sq_tail - sq_head <= size);
      if (start) assert (wrote && sq_tail == 16'd0);
      assert (setup.sq_base[11:0] == 12'd0 && setup.cq_base[11:0] == 12'd0);
      if (aborted) assert (!setup.enable);
    end
  end
endmodule
