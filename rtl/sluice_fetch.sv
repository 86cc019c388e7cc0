// SPDX-License-Identifier: Apache-2.0
// Reads descriptors from the submission ring, in order, several reads ahead. Pointers count without wrapping at the
// ring size: only their low ring_log2 bits address the ring. A read error stops the queue (fault_o) until it is
// enabled again: which job was lost cannot be known, so software must treat all of them as failed.
module sluice_fetch #(
    parameter int unsigned DATA_WIDTH = 512,
    parameter int unsigned PREFETCH   = 16
) (
    input  logic        clk_i,
    input  logic        rst_ni,
    input  logic        enable_i,
    input  logic [3:0]  ring_log2_i,
    input  logic [63:0] sq_base_i,
    input  logic        start_i,
    input  logic [15:0] sq_tail_i,
    output logic [15:0] sq_head_o,
    output logic        fault_o,
    output logic        idle_o,

    output logic [63:0]           araddr_o,
    output logic [7:0]            arlen_o,
    output logic [2:0]            arsize_o,
    output logic                  arvalid_o,
    input  logic                  arready_i,
    input  logic [DATA_WIDTH-1:0] rdata_i,
    input  logic [1:0]            rresp_i,
    input  logic                  rlast_i,
    input  logic                  rvalid_i,
    output logic                  rready_o,

    output sluice_pkg::descriptor_t descriptor_o,
    output logic                    valid_o,
    input  logic                    ready_i
);
  localparam int unsigned DescriptorBits = sluice_pkg::DescriptorBytes * 8;
  localparam int unsigned ReadBits = (DATA_WIDTH < DescriptorBits) ? DATA_WIDTH : DescriptorBits;
  localparam int unsigned Beats = DescriptorBits / ReadBits;
  localparam int unsigned CreditW = $clog2(PREFETCH) + 1;

  logic [15:0] head_q, received_q, index, mask;
  logic [CreditW-1:0] held_q;  // reads under way and descriptors not taken yet
  logic fault_q, arvalid_q, take_ar, push, pop, may_read, last_good;
  logic [63:0] araddr_q;
  logic [DescriptorBits-1:0] assembled;
  logic unused_ready;

  assign mask     = (16'd1 << ring_log2_i) - 16'd1;
  assign index    = head_q & mask;
  assign may_read = enable_i && !start_i && !fault_q && head_q != sq_tail_i && held_q != CreditW'(PREFETCH);
  assign take_ar  = arvalid_q && arready_i;

  assign araddr_o  = araddr_q;
  assign arlen_o   = 8'(Beats - 1);
  assign arsize_o  = 3'($clog2(ReadBits / 8));
  assign arvalid_o = arvalid_q;
  assign rready_o  = 1'b1;  // a credit stands for every read
  assign sq_head_o = head_q;
  assign fault_o   = fault_q;
  assign idle_o    = held_q == '0 && !arvalid_q && !may_read;

  assign last_good = rvalid_i && rlast_i && rresp_i == 2'b00 && !fault_q;
  assign push      = last_good;
  assign pop       = valid_o && ready_i;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      head_q     <= '0;
      received_q <= '0;
      held_q     <= '0;
      fault_q    <= 1'b0;
      arvalid_q  <= 1'b0;
      araddr_q   <= '0;
    end else begin
      if (take_ar) arvalid_q <= 1'b0;
      if (may_read && (!arvalid_q || take_ar)) begin
        arvalid_q <= 1'b1;
        araddr_q  <= sq_base_i + {42'd0, index, 6'd0};
        head_q    <= head_q + 16'd1;
      end
      if (rvalid_i && rlast_i) received_q <= received_q + 16'd1;
      if (rvalid_i && rresp_i != 2'b00) fault_q <= 1'b1;
      held_q <= held_q + CreditW'(may_read && (!arvalid_q || take_ar)) - CreditW'(pop) -
                CreditW'(rvalid_i && rlast_i && !last_good);
      if (start_i) begin
        head_q     <= '0;
        received_q <= '0;
        fault_q    <= 1'b0;
      end
    end
  end

  // Put the beats of one descriptor together. A bus wider than a descriptor delivers it in the lanes of its address.
  if (Beats > 1) begin : g_narrow
    logic [DescriptorBits-ReadBits-1:0] earlier_q;
    always_ff @(posedge clk_i) begin
      if (rvalid_i) earlier_q <= (DescriptorBits - ReadBits)'({rdata_i, earlier_q} >> ReadBits);
    end
    assign assembled = {rdata_i, earlier_q};
  end else if (DATA_WIDTH > DescriptorBits) begin : g_wide
    localparam int unsigned LaneW = $clog2(DATA_WIDTH / DescriptorBits);
    logic [15:0] received_index;
    logic [LaneW-1:0] lane;
    assign received_index = received_q & mask;
    assign lane      = LaneW'((sq_base_i >> 6) + {48'd0, received_index});
    assign assembled = rdata_i[32'(lane)*DescriptorBits+:DescriptorBits];
  end else begin : g_same
    assign assembled = rdata_i;
  end

  sluice_fifo #(
      .WIDTH(DescriptorBits),
      .DEPTH(PREFETCH)
  ) u_fifo (
      .clk_i,
      .rst_ni,
      .push_i (push),
      .data_i (assembled),
      .ready_o(unused_ready),
      .valid_o,
      .data_o (descriptor_o),
      .pop_i  (pop)
  );
endmodule
