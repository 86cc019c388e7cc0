// SPDX-License-Identifier: Apache-2.0
// A cancel request reaches the job that it names and no other. One slot and one generation are singled out: a request for
// it that came before the job asked for the last time is there whenever the job asks, two cycles later at the latest;
// neither the end of another job in the slot nor a request for a past generation takes it away, only one for another
// generation that is still to come. And no job is cancelled for which nobody asked.
module sluice_cancel_proof (
    input logic        clk,
    input logic        rst_n,
    input logic        start,
    input logic        cancel,
    input logic [15:0] cancel_slot,
    input logic [31:0] cancel_generation,
    input logic        query,
    input logic        query_last,
    input logic [15:0] query_slot,
    input logic [31:0] query_generation
);
  (* anyconst *) logic slot;
  (* anyconst *) logic [31:0] wanted;
  logic swept, ready, hit;
  logic [31:0] asking;  // the generation whose answer comes

  sluice_cancel #(
      .NUM_SLOTS(2)
  ) dut (
      .clk_i(clk), .rst_ni(rst_n), .start_i(start), .swept_o(swept), .ready_o(ready), .cancel_i(cancel),
      .cancel_slot_i(cancel_slot), .cancel_generation_i(cancel_generation), .query_i(query),
      .query_last_i(query_last), .query_slot_i(query_slot), .query_generation_i(query_generation),
      .generation_i(asking), .hit_o(hit)
  );

  logic started = 1'b0;
  logic after_cancel, after_query, has_asked, requested;
  logic [1:0] waiting;  // 3: the request for the wanted generation is in the table
  logic [15:0] last_cancel_slot;
  logic [31:0] last_asked, last_cancel_generation, distance, wanted_distance;
  logic [15:0] asking_slot;
  logic mine, past;

  always @(posedge clk) started <= 1'b1;
  always @(*) begin
    if (!started) assume (!rst_n);
    else assume (rst_n);
    // What sluice_queue_regs and the register bus do.
    if (cancel) assume (ready && cancel_slot < 16'd2 && !after_cancel && !start);
    if (after_cancel) assume (cancel_slot == last_cancel_slot && cancel_generation == last_cancel_generation && !start);
    // Nothing is fetched during the sweep; the generations of a slot go up.
    if (query) assume (swept && !start);
    if (query && has_asked && query_slot == {15'd0, slot}) begin
      assume (query_generation - last_asked != 32'd0 && query_generation - last_asked < 32'h4000_0000);
    end
    if (cancel && has_asked && cancel_slot == {15'd0, slot}) begin
      assume (cancel_generation - last_asked < 32'h4000_0000 || last_asked - cancel_generation < 32'h4000_0000);
    end
  end

  assign mine     = cancel && cancel_slot == {15'd0, slot};
  assign distance = cancel_generation - last_asked;
  assign past     = has_asked && (distance == 32'd0 || distance[31]);
  assign wanted_distance = wanted - last_asked;
  always @(posedge clk) begin
    after_cancel <= cancel && rst_n;
    after_query  <= query && rst_n;
    asking       <= query_generation;
    asking_slot  <= query_slot;
    if (cancel) begin
      last_cancel_slot       <= cancel_slot;
      last_cancel_generation <= cancel_generation;
    end
    if (!rst_n || start) begin
      has_asked <= 1'b0;
      requested <= 1'b0;
      waiting   <= 2'd0;
    end else begin
      if (query && query_last && query_slot == {15'd0, slot}) begin
        has_asked  <= 1'b1;
        last_asked <= query_generation;
      end
      if (mine && cancel_generation == wanted) requested <= 1'b1;
      if (mine && !past) waiting <= (cancel_generation == wanted) ? 2'd1 : 2'd0;
      else if (waiting != 2'd0 && waiting != 2'd3) waiting <= waiting + 2'd1;
    end
  end

  always @(posedge clk) begin
    if (started && rst_n && after_query && asking_slot == {15'd0, slot} && asking == wanted) begin
      if ($past(waiting) >= 2'd2) assert (hit);
      if (hit) assert (requested);
    end
  end
endmodule
