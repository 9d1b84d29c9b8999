"""One thing that is wrong with an input, and what to write instead."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Problem:
    """`path` names where the value stands, such as `hosts.pc1-a.reserved_cores`; `remedy`: what to write instead."""

    path: str
    value: Any
    problem: str
    remedy: str

    def below(self, place: str) -> Problem:
        """Return the problem of something that lies in `place`: its path was told from there."""
        return replace(self, path=f"{place}.{self.path}")
