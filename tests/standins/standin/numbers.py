"""Sector numbers: ranges as humans write them, as RLE+ JSON, and which number comes next."""

from __future__ import annotations

import re

from .common import CommandError

Ranges = list[tuple[int, int]]


def normal(ranges: Ranges) -> Ranges:
    out: Ranges = []
    for start, end in sorted(ranges):
        if out and start <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(out[-1][1], end))
        else:
            out.append((start, end))
    return out


def of_numbers(numbers: set[int]) -> Ranges:
    return normal([(n, n) for n in numbers])


def parse(text: str) -> Ranges:
    """`0-9,20` as ranges; CommandError as lib/strle/human.go: ascending, not adjacent."""
    out: Ranges = []
    last = 0
    for index, part in enumerate(text.split(",")):
        sides = part.split("-")
        if len(sides) > 2 or not all(re.fullmatch(r"\d+", s) for s in sides):
            raise CommandError(
                f"parsing ranges: parsing left side of run {index}: "
                f'strconv.ParseUint: parsing "{sides[0]}": invalid syntax'
            )
        start, end = int(sides[0]), int(sides[-1])
        if start <= last and last > 0:
            raise CommandError(f"parsing ranges: run {index} start({start}) was equal to last run end({last})")
        if start > end:
            raise CommandError(f"parsing ranges: run start({start}) can't be greater than run end({end}) (run {index})")
        out.append((start, end))
        last = end + 1
    return out


def human(ranges: Ranges) -> str:
    return ",".join(str(s) if s == e else f"{s}-{e}" for s, e in normal(ranges))


def to_rle(ranges: Ranges) -> list[int]:
    out: list[int] = []
    position = 0
    for start, end in normal(ranges):
        out += [start - position, end - start + 1]
        position = end + 1
    return out or [0]


def from_rle(runs: list[int]) -> Ranges:
    out: Ranges = []
    position = 0
    for index, run in enumerate(runs):
        if index % 2 and run:
            out.append((position, position + run - 1))
        position += run
    return out


def count(ranges: Ranges) -> int:
    return sum(e - s + 1 for s, e in normal(ranges))


def overlap(one: Ranges, other: Ranges) -> bool:
    return any(a <= d and c <= b for a, b in one for c, d in other)


def first_free(used: Ranges) -> int:
    ranges = normal(used)
    return ranges[0][1] + 1 if ranges and ranges[0][0] == 0 else 0
