// SPDX-License-Identifier: Apache-2.0
// One grant at most, only to a queue that asks and may; a higher level goes first unless somebody starves; and nobody
// waits for ever: a queue that asks all the time gets its turn within STARVE_AFTER + queues grants.
module sluice_arbiter_proof (
    input logic        clk,
    input logic        rst_n,
    input logic [2:0]  valid,
    input logic [2:0]  is_read,
    input logic [38:0] bytes,
    input logic        write_room,
    input logic [2:0]  read_room
);
  localparam int unsigned StarveAfter = 7;
  (* anyconst *) logic [5:0] level;
  (* anyconst *) logic [23:0] weight;
  logic [2:0] grant, limited, may;
  (* hierconn *) wire [2:0] \dut.starving_q ;
  (* hierconn *) wire [2:0] \dut.above_last_q ;

  sluice_arbiter #(
      .NUM_QUEUES  (3),
      .STARVE_AFTER(StarveAfter)
  ) dut (
      .clk_i(clk), .rst_ni(rst_n), .valid_i(valid), .is_read_i(is_read), .bytes_i(bytes), .level_i(level),
      .weight_i(weight), .rate_i(72'd0), .write_room_i(write_room), .read_room_i(read_room), .grant_o(grant),
      .limited_o(limited)
  );
  assign may = valid & (is_read & read_room | ~is_read & {3{write_room}});

  logic started = 1'b0;
  always @(posedge clk) started <= 1'b1;
  always @(*) begin
    if (!started) assume (!rst_n);
    else assume (rst_n);
    assume (bytes[12:0] <= 13'd4096 && bytes[25:13] <= 13'd4096 && bytes[38:26] <= 13'd4096);
  end

  // How often queue 0 was passed over while it asked without a break.
  logic [4:0] passed;
  always @(posedge clk) begin
    if (!rst_n || !may[0] || grant[0]) passed <= 5'd0;
    else if (grant != 3'd0) passed <= passed + 5'd1;
  end

  always @(posedge clk) begin
    if (started && rst_n) begin
      assert (grant == 3'd0 || grant == 3'd1 || grant == 3'd2 || grant == 3'd4);
      assert ((grant & ~may) == 3'd0);
      assert ((may != 3'd0) == (grant != 3'd0));
      if (grant[1] && may[0] && (dut.starving_q & may) == 3'd0) assert (level[1:0] <= level[3:2]);
      assert (passed < 5'(StarveAfter + 3));
    end
  end
endmodule
