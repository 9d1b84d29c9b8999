"""Sets of numbers as Lotus writes them in JSON: lengths of runs, absent first: [2, 3] is {2, 3, 4}."""

from __future__ import annotations

from collections.abc import Sequence

Runs = Sequence[int]


def members(runs: Runs | None) -> set[int]:
    """Numbers in a set of runs."""
    found: set[int] = set()
    position = 0
    for index, length in enumerate(runs or []):
        if index % 2:
            found.update(range(position, position + length))
        position += length
    return found


def run_of(numbers: str) -> list[int]:
    """Runs of "START-END", both included; ValueError when that is no range."""
    first, _, last = numbers.partition("-")
    start, end = int(first), int(last or first)
    if start < 0 or end < start:
        raise ValueError(f"'{numbers}' is no range START-END")
    return [start, end - start + 1]


def top_of(runs: Runs | None) -> int:
    """Highest number in a set of runs, 0 for none; the set may hold millions."""
    numbers = [int(length) for length in runs or []]
    while numbers and (len(numbers) % 2 or not numbers[-1]):
        numbers.pop()
    return sum(numbers) - 1 if numbers else 0
