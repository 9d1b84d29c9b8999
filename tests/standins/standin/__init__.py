"""Test doubles of lotus, lotus-miner, lotus-worker and lotus-seed: same flags, files and refusals."""
