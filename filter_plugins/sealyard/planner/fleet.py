"""Which split each host of the fleet takes: chosen together, for the slowest stage of all is what counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sealyard.plan.supply import Supply
from sealyard.planner.splits import Mode
from sealyard.planner.throughput import Total, c2_cost, sealed

ROUNDS = 60
FEW_HOSTS = 40
"""Up to so many hosts with a choice, two at a time are tried: there one host counts for percents."""
MOST_PAIRS = 50_000


@dataclass(slots=True)
class Kind:
    """Hosts that are alike: how many, the splits they may take, and how many hosts have one already."""

    count: int
    modes: Sequence[tuple[Mode, Supply]]
    fixed: Mapping[Mode, int]


class Fleet:
    """The kinds of hosts with what each split adds to a total."""

    def __init__(self, kinds: Sequence[Kind], stages: frozenset[str]) -> None:
        self.kinds = kinds
        self.stages = stages
        self.costs = sorted({c2_cost(supply) for kind in kinds for _, supply in kind.modes if supply.both_pc2 > 1e-6})
        self.adds = [[self.of(supply) for _, supply in kind.modes] for kind in kinds]

    def of(self, supply: Supply) -> Total:
        """Return one host as a total."""
        both = [0.0] * len(self.costs)
        if supply.both_pc2 > 1e-6:
            both[self.costs.index(c2_cost(supply))] = supply.both_pc2
        return (supply.pc1, supply.pc2, supply.c2, *both)

    def total(self, counts: Sequence[Sequence[int]]) -> Total:
        """Return what all hosts bring together."""
        total = (0.0,) * (3 + len(self.costs))
        for adds, row in zip(self.adds, counts, strict=True):
            for add, number in zip(adds, row, strict=True):
                if number:
                    total = tuple(a + number * b for a, b in zip(total, add, strict=True))
        return total

    def moved(self, total: Total, kind: int, old: int, new: int, hosts: int = 1) -> Total:
        """Return the total where so many hosts of a kind take another split."""
        row = self.adds[kind]
        return tuple(t + hosts * (b - a) for t, a, b in zip(total, row[old], row[new], strict=True))

    def sealed(self, total: Total) -> float:
        """Return the sectors per day of a total."""
        return sealed(total, self.costs, self.stages)


def choose(kinds: Sequence[Kind], stages: frozenset[str]) -> list[list[int]]:
    """Return for each kind how many of its hosts take each of its modes (hosts with a fixed mode counted in)."""
    counts = [
        [kind.fixed.get(mode, 0) for mode, _ in kind.modes] if len(kind.modes) > 1 else [kind.count] for kind in kinds
    ]
    free = [kind.count - sum(row) for kind, row in zip(kinds, counts, strict=True)]
    if not any(free):
        return counts
    fleet = Fleet(kinds, stages)
    rounded = _rounded(kinds, free, _fractions(kinds, counts, free, stages))
    starts = [rounded]
    if sum(free) <= FEW_HOSTS:
        # One host counts for percents here: look from where every host does most of one stage, too.
        starts += [_all_alike(kinds, free, stage) for stage in (_at_home, _most_pc1, _most_c2)]
    best: tuple[float, list[list[int]]] | None = None
    for start in starts:
        tried = [[a + b for a, b in zip(row, more, strict=True)] for row, more in zip(counts, start, strict=True)]
        _improve(fleet, tried)
        while len(starts) > 1 and _improve_pair(fleet, tried):
            _improve(fleet, tried)
        value = fleet.sealed(fleet.total(tried))
        if best is None or value > best[0] * (1 + 1e-9):
            best = (value, tried)
    chosen = best[1] if best else counts
    _restore(fleet, chosen)
    return chosen


def _rounded(kinds: Sequence[Kind], free: Sequence[int], frequency: Sequence[Sequence[float]]) -> list[list[int]]:
    """Whole hosts per mode: the fractions, and the rest to the largest remainders."""
    found = []
    for kind, number, shares in zip(kinds, free, frequency, strict=True):
        wish = [share * number for share in shares]
        row = [int(w) for w in wish]
        order = sorted(range(len(kind.modes)), key=lambda i: (row[i] - wish[i], i))
        for i in order[: number - sum(row)]:
            row[i] += 1
        found.append(row)
    return found


def _all_alike(
    kinds: Sequence[Kind], free: Sequence[int], rank: Callable[[Mode, Supply], tuple[float, ...]]
) -> list[list[int]]:
    found = []
    for kind, number in zip(kinds, free, strict=True):
        best = max(range(len(kind.modes)), key=lambda i: (rank(*kind.modes[i]), -i))
        found.append([number if i == best else 0 for i in range(len(kind.modes))])
    return found


def _most_pc1(mode: Mode, supply: Supply) -> tuple[float, ...]:
    return (supply.pc1, supply.pc2 + supply.both_pc2)


def _most_c2(mode: Mode, supply: Supply) -> tuple[float, ...]:
    return (supply.c2 + supply.both_c2, supply.pc1)


def _improve_pair(fleet: Fleet, counts: list[list[int]]) -> bool:
    """Change the modes of two hosts at once where no single change helps; whether it did."""
    kinds = fleet.kinds
    moves = [
        (number, old, new)
        for number, kind in enumerate(kinds)
        for old, (mode, _) in enumerate(kind.modes)
        if counts[number][old] > kind.fixed.get(mode, 0)
        for new in range(len(kind.modes))
        if new != old
    ]
    if len(moves) ** 2 > MOST_PAIRS:
        return False
    movable = {(n, old): counts[n][old] - kinds[n].fixed.get(kinds[n].modes[old][0], 0) for n, old, _ in moves}
    total = fleet.total(counts)
    least = fleet.sealed(total) * (1 + 1e-9)
    best: tuple[float, tuple[int, int, int], tuple[int, int, int]] | None = None
    for index, first in enumerate(moves):
        number, old, new = first
        changed = fleet.moved(total, number, old, new)
        for second in moves[index:]:
            other, was, now = second
            if other == number and was == old and movable[number, old] < 2:
                continue
            value = fleet.sealed(fleet.moved(changed, other, was, now))
            if value > (best[0] if best else least):
                best = (value, first, second)
    if best is None:
        return False
    for number, old, new in best[1:]:
        counts[number][old] -= 1
        counts[number][new] += 1
    return True


def _restore(fleet: Fleet, counts: list[list[int]]) -> None:
    """Let hosts do all their tasks where that costs the fleet nothing: what stays on a host crosses no network."""
    total = fleet.total(counts)
    least = fleet.sealed(total) * (1 - 1e-9)
    for number, kind in enumerate(fleet.kinds):
        order = sorted(range(len(kind.modes)), key=lambda i: _at_home(*kind.modes[i]), reverse=True)
        for old in reversed(order):
            for new in order[: order.index(old)]:
                movable = counts[number][old] - kind.fixed.get(kind.modes[old][0], 0)
                low, high = 0, movable
                while low < high:
                    middle = (low + high + 1) // 2
                    moved = fleet.moved(total, number, old, new, middle)
                    low, high = (middle, high) if fleet.sealed(moved) >= least else (low, middle - 1)
                if low:
                    total = fleet.moved(total, number, old, new, low)
                    counts[number][old] -= low
                    counts[number][new] += low


def _at_home(mode: Mode, supply: Supply) -> tuple[int, float, float]:
    """Order of splits when throughput does not decide: all tasks done, then sectors that stay on the host."""
    pc2 = supply.pc2 + supply.both_pc2
    done = (mode.pc1_most != 0) + (mode.pc2 + mode.both > 0) + (mode.c2 + mode.both > 0)
    return (done, min(supply.pc1, pc2), pc2)


def _total(kinds: Sequence[Kind], counts: Sequence[Sequence[int]]) -> Supply:
    total = Supply()
    for kind, row in zip(kinds, counts, strict=True):
        for (_, supply), number in zip(kind.modes, row, strict=True):
            if number:
                total = total.plus(supply, number)
    return total


def _worth(supply: Supply, prices: tuple[float, float, float]) -> float:
    pc1, pc2, c2 = prices
    both = max(pc2 * supply.both_pc2, c2 * supply.both_c2)
    return pc1 * supply.pc1 + pc2 * supply.pc2 + c2 * supply.c2 + both


def _fractions(
    kinds: Sequence[Kind], counts: Sequence[Sequence[int]], free: Sequence[int], stages: frozenset[str]
) -> list[list[float]]:
    """The fraction of each kind's hosts in each mode, by prices that rise for the stage that lacks most."""
    chosen = [[0.0] * len(kind.modes) for kind in kinds]
    base = _total(kinds, counts)
    logs = {stage: 0.0 for stage in ("PC1", "PC2", "C2") if stage in stages}
    sums = dict.fromkeys(logs, 0.0)
    for turn in range(1, ROUNDS + 1):
        peak = max(logs.values(), default=0.0)
        weight = {stage: math.exp(value - peak) for stage, value in logs.items()}
        prices = (weight.get("PC1", 0.0), weight.get("PC2", 0.0), weight.get("C2", 0.0))
        got = dict(zip(("PC1", "PC2", "C2"), (base.pc1, base.pc2, base.c2), strict=True))
        _add_both(got, base, prices)
        for number, kind in enumerate(kinds):
            if not free[number]:
                continue
            best = max(range(len(kind.modes)), key=lambda i: (_worth(kind.modes[i][1], prices), -i))
            chosen[number][best] += 1
            supply = kind.modes[best][1]
            one = {"PC1": supply.pc1, "PC2": supply.pc2, "C2": supply.c2}
            _add_both(one, supply, prices)
            for stage in got:
                got[stage] += free[number] * one[stage]
        for stage in sums:
            sums[stage] += got[stage]
        mean = sum(sums.values()) / len(sums) or 1.0
        for stage in logs:
            logs[stage] = -8.0 * math.sqrt(turn / ROUNDS) * (sums[stage] / mean - 1) * 2
    return [[value / ROUNDS for value in row] for row in chosen]


def _add_both(got: dict[str, float], supply: Supply, prices: tuple[float, float, float]) -> None:
    if prices[1] * supply.both_pc2 >= prices[2] * supply.both_c2:
        got["PC2"] += supply.both_pc2
    else:
        got["C2"] += supply.both_c2


def _improve(fleet: Fleet, counts: list[list[int]]) -> None:
    """Change one host's mode at a time, while that makes the fleet faster."""
    total = fleet.total(counts)
    best = fleet.sealed(total)
    for _ in range(4 * sum(1 for kind in fleet.kinds if len(kind.modes) > 1) + 8):
        step: tuple[float, int, int, int] | None = None
        for number, kind in enumerate(fleet.kinds):
            for old, (mode, _) in enumerate(kind.modes):
                if counts[number][old] <= kind.fixed.get(mode, 0):
                    continue
                for new in range(len(kind.modes)):
                    if new == old:
                        continue
                    value = fleet.sealed(fleet.moved(total, number, old, new))
                    if value > (step[0] if step else best * (1 + 1e-9)):
                        step = (value, number, old, new)
        if step is None:
            break
        best, number, old, new = step
        counts[number][old] -= 1
        counts[number][new] += 1
        total = fleet.moved(total, number, old, new)
