"""What the same plan means to each software that seals."""
