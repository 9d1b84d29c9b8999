"""What the distributed-miner fork does otherwise than Lotus; only in builds of the stack lotus_distributed."""
