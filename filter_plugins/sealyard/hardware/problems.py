"""What is wrong with declared hardware, every fault of it at once."""

from __future__ import annotations

from collections.abc import Sequence

from sealyard.problem import Problem


class HardwareError(Exception):
    """Declared hardware that cannot be used. `problems` has every fault, its path told from there."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems: list[Problem] = list(problems)
        super().__init__("; ".join(f"{p.path}: {p.problem} (write {p.remedy})" for p in self.problems))


def fault(path: str, value: object, problem: str, remedy: str) -> Problem:
    """Return a problem whose value is short enough to be shown."""
    shown = value if isinstance(value, str | int | bool | type(None)) else repr(value)
    if isinstance(shown, str) and len(shown) > 80:
        shown = shown[:77] + "..."
    return Problem(path, shown, problem, remedy)
