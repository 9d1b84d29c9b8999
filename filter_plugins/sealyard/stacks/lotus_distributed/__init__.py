"""The distributed-miner fork with myScheduler."""

from sealyard.stacks.lotus_distributed.stack import FirstGeneration, SecondGeneration

__all__ = ["FirstGeneration", "SecondGeneration"]
