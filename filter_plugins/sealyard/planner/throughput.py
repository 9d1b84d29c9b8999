"""Sectors per day that pass every stage, where some workers do PC2 and C2 in turn."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sealyard.plan.supply import Supply

Total = tuple[float, ...]
"""What hosts bring together: PC1, PC2 and C2 per day, and PC2 of those that do both, one for each cost in C2."""


def c2_cost(supply: Supply) -> float:
    """Return how many C2 a worker that does both gives up for one PC2."""
    return round(supply.both_c2 / supply.both_pc2, 6) if supply.both_pc2 > 1e-6 else 0.0


def sealed(total: Total, costs: Sequence[float], stages: frozenset[str]) -> float:
    """Return the sectors per day of a total that pass all `stages`.

    `costs` rise: workers that do both do PC2 while it is what lacks, first those that give up the least C2 for it.
    """
    pc1, pc2, c2, *both = total
    if both:
        for cost, per_day in zip(costs, both, strict=True):
            c2 += cost * per_day
        if "PC2" not in stages or "C2" not in stages:
            pc2 += sum(both)
        else:
            for cost, per_day in zip(costs, both, strict=True):
                part = (c2 - pc2) / (1 + cost)
                if part < per_day:
                    if part > 0:
                        pc2 += part
                        c2 -= cost * part
                    break
                pc2 += per_day
                c2 -= cost * per_day
    least = pc1 if "PC1" in stages else math.inf
    if "PC2" in stages and pc2 < least:
        least = pc2
    if "C2" in stages and c2 < least:
        least = c2
    return least if stages else 0.0


def throughput(supply: Supply, stages: frozenset[str]) -> float:
    """Return the sectors per day that pass all `stages`; workers doing both split their day where it helps most."""
    return sealed((supply.pc1, supply.pc2, supply.c2, supply.both_pc2), (c2_cost(supply),), stages)
