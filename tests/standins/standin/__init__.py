"""Test doubles of lotus, lotus-miner, lotus-worker and lotus-seed v1.36.2: same flags, files and refusals."""
