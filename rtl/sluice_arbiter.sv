// SPDX-License-Identifier: Apache-2.0
// Chooses whose burst goes next. The highest level with a burst wins; among its queues bytes are shared by weight
// (credit of weight * 4 KiB a round, round robin); a queue over its byte rate waits (a token bucket that may be overdrawn
// by one burst). No queue starves: one that was passed over STARVE_AFTER times in a row goes before every level.
module sluice_arbiter #(
    parameter int unsigned NUM_QUEUES   = 4,
    parameter int unsigned STARVE_AFTER = 63
) (
    input  logic                     clk_i,
    input  logic                     rst_ni,
    input  logic [NUM_QUEUES-1:0]    valid_i,
    input  logic [NUM_QUEUES-1:0]    is_read_i,
    input  logic [NUM_QUEUES*13-1:0] bytes_i,
    input  logic [NUM_QUEUES*2-1:0]  level_i,
    input  logic [NUM_QUEUES*8-1:0]  weight_i,
    input  logic [NUM_QUEUES*24-1:0] rate_i,    // bytes in 1024 cycles, 0: no limit
    input  logic                     write_room_i,
    input  logic [NUM_QUEUES-1:0]    read_room_i,
    output logic [NUM_QUEUES-1:0]    grant_o,   // one at most
    output logic [NUM_QUEUES-1:0]    limited_o  // held back by its rate
);
  localparam int unsigned CreditW = 16;  // signed, in 64 bytes
  localparam int unsigned TokenW = 26;   // signed, in 1/1024 byte
  localparam int unsigned AgeW = $clog2(STARVE_AFTER + 1);

  logic [NUM_QUEUES-1:0] within_rate, has_credit, starving_q, request, chosen_level, candidates, above_last;
  logic [NUM_QUEUES-1:0] above_last_q;
  logic [4:1] level_used;
  logic any_credit, any_grant, refill;

  assign limited_o = valid_i & ~within_rate;

  // Who may go at all, then who goes first.
  for (genvar q = 0; q < NUM_QUEUES; q++) begin : g_request
    assign request[q] = valid_i[q] && within_rate[q] && (is_read_i[q] ? read_room_i[q] : write_room_i);
  end
  always_comb begin
    level_used = '0;
    if (request != '0) begin
      for (int unsigned q = 0; q < NUM_QUEUES; q++) begin
        for (int unsigned level = 1; level < 5; level++) begin
          if (request[q] && (starving_q[q] ? level == 4 : 32'(level_i[q*2+:2]) == level)) level_used[level] = 1'b1;
        end
      end
    end
    for (int unsigned q = 0; q < NUM_QUEUES; q++) begin
      if (level_used[4]) chosen_level[q] = starving_q[q];
      else if (level_used[3]) chosen_level[q] = level_i[q*2+:2] == 2'd3;
      else if (level_used[2]) chosen_level[q] = level_i[q*2+:2] == 2'd2;
      else if (level_used[1]) chosen_level[q] = level_i[q*2+:2] == 2'd1;
      else chosen_level[q] = 1'b1;
    end
  end
  assign any_credit = (request & chosen_level & has_credit) != '0;
  assign candidates = request & chosen_level & (any_credit ? has_credit : {NUM_QUEUES{1'b1}});
  assign above_last = candidates & above_last_q;
  assign grant_o    = (above_last != '0) ? above_last & (~above_last + NUM_QUEUES'(1))
                                         : candidates & (~candidates + NUM_QUEUES'(1));
  assign any_grant  = candidates != '0;
  assign refill     = any_grant && !any_credit;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) above_last_q <= '0;
    else if (any_grant) above_last_q <= ~(grant_o | (grant_o - NUM_QUEUES'(1)));
  end

  for (genvar q = 0; q < NUM_QUEUES; q++) begin : g_queue
    logic signed [CreditW-1:0] credit_q, credit_base, share;
    logic signed [TokenW-1:0] tokens_q, tokens_spent;
    logic unlimited_q;
    logic [AgeW-1:0] age_q;
    logic [6:0] units;

    assign has_credit[q]  = !credit_q[CreditW-1];
    assign share          = {2'b00, (weight_i[q*8+:8] == 8'd0) ? 8'd1 : weight_i[q*8+:8], 6'd0};
    assign units          = bytes_i[q*13+6+:7] + 7'(bytes_i[q*13+:6] != 6'd0);
    assign within_rate[q] = unlimited_q || !tokens_q[TokenW-1];
    always_comb begin
      credit_base = credit_q;
      if (refill) credit_base = credit_q[CreditW-1] ? credit_q + share : share;
      // Never more than 4 KiB in hand.
      tokens_spent = '0;
      if (!unlimited_q) begin
        tokens_spent = tokens_q;
        if (tokens_q[TokenW-1] || tokens_q[TokenW-2:22] == '0) begin
          tokens_spent = tokens_q + $signed({2'b00, rate_i[q*24+:24]});
        end
        if (grant_o[q]) tokens_spent = tokens_spent - $signed({3'b000, bytes_i[q*13+:13], 10'd0});
      end
    end

    always_ff @(posedge clk_i) begin
      if (!rst_ni) begin
        credit_q      <= '0;
        tokens_q      <= '0;
        unlimited_q   <= 1'b1;
        age_q         <= '0;
        starving_q[q] <= 1'b0;
      end else begin
        if (refill || grant_o[q]) credit_q <= grant_o[q] ? credit_base - $signed({9'd0, units}) : credit_base;
        unlimited_q <= rate_i[q*24+:24] == 24'd0;
        tokens_q    <= tokens_spent;
        if (!request[q] || grant_o[q]) begin
          // Waiting for the rate or for room is not being passed over, but does not make young again either.
          if (grant_o[q] || !valid_i[q]) begin
            age_q         <= '0;
            starving_q[q] <= 1'b0;
          end
        end else if (any_grant && !starving_q[q]) begin
          age_q         <= age_q + AgeW'(1);
          starving_q[q] <= age_q == AgeW'(STARVE_AFTER - 1);
        end
      end
    end
  end
endmodule
