"""Sectors per day by stage."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Supply:
    """Sectors per day: PC1, PC2-only and C2-only workers, and what workers doing both could do of either."""

    pc1: float = 0.0
    pc2: float = 0.0
    c2: float = 0.0
    both_pc2: float = 0.0
    both_c2: float = 0.0

    def plus(self, other: Supply, times: float = 1.0) -> Supply:
        """Return the sum of this and so many times the other."""
        return Supply(
            self.pc1 + times * other.pc1,
            self.pc2 + times * other.pc2,
            self.c2 + times * other.c2,
            self.both_pc2 + times * other.both_pc2,
            self.both_c2 + times * other.both_c2,
        )
