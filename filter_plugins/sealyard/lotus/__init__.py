"""What is true of Lotus whatever the stack: figures of a sector, keys of config.toml, sets of numbers."""
