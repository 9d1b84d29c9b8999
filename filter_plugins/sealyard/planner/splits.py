"""How a host's GPUs and memory are split between its tasks, and which split each host of the fleet takes.

A host that does PC1 and PC2, or PC2 and C2, can be set up in several ways. Which is best depends on what the rest of
the fleet lacks, so the splits are chosen together: the slowest stage of the whole fleet is what counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sealyard.lotus.figures import DAY_SEC, Figures
from sealyard.plan.supply import Supply

CPU_SHARES = (0.12, 0.25, 0.4, 0.55, 0.7, 0.85)
PC1_CUTS = 6
"""Ways to give up PC1 slots for scratch that are looked at."""
ROUNDS = 60
FEW_HOSTS = 40
"""Up to so many hosts with a choice, two at a time are tried: there one host counts for percents."""
MOST_PAIRS = 50_000
FETCH_SEC = 480.0
"""PC1 output (481 GB) over 10 Gbit/s at the planning factor 0.8 of data/sealing_model.json."""


@dataclass(frozen=True, slots=True)
class Mode:
    """Proving workers by kind: PC2 only, C2 only, both in turn; without a GPU the share of each node's cores."""

    pc2: int = 0
    c2: int = 0
    both: int = 0
    cpu_share: float | None = None
    pc1_most: int | None = None
    """PC1 slots, where fewer than cores and memory allow leave scratch to PC2; 0: none, all is left to PC2 and C2."""

    @property
    def engines(self) -> int:
        return self.pc2 + self.c2 + self.both

    def does(self, tasks: Collection[str]) -> bool:
        """Whether every task asked for is done by one worker at least."""
        if "PC1" in tasks and self.pc1_most == 0:
            return False
        return ("PC2" not in tasks or self.pc2 + self.both > 0) and ("C2" not in tasks or self.c2 + self.both > 0)

    def kinds(self) -> list[tuple[str, ...]]:
        """Return the tasks of each proving worker; those that do both come first."""
        kinds: list[tuple[str, ...]] = [("PC2", "C2")] * self.both
        return kinds + [("PC2",)] * self.pc2 + [("C2",)] * self.c2


def capped(supply: Supply, pc2_per_day: float) -> Supply:
    """Return the supply where PC2 can be no more than this: workers doing both have the rest of their day for C2."""
    if supply.pc2 + supply.both_pc2 <= pc2_per_day:
        return supply
    pc2 = min(supply.pc2, pc2_per_day)
    part = (pc2_per_day - pc2) / supply.both_pc2 if supply.both_pc2 else 0.0
    c2 = supply.c2 + (1 - part) * supply.both_c2
    return Supply(supply.pc1, pc2, c2, part * supply.both_pc2, part * supply.both_c2)


def c2_cost(supply: Supply) -> float:
    """Return how many C2 a worker that does both gives up for one PC2."""
    return round(supply.both_c2 / supply.both_pc2, 6) if supply.both_pc2 > 1e-6 else 0.0


Total = tuple[float, ...]
"""What hosts bring together: PC1, PC2 and C2 per day, and PC2 of those that do both, one for each cost in C2."""


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


@dataclass(frozen=True, slots=True)
class Shape:
    """What a host brings, as far as splitting it goes: cores and bundles after the system's reserve; bytes; GPUs."""

    tasks: frozenset[str]
    cores: int
    bundles: int
    odd_cores: int
    unit: int
    pc1_seconds: float
    memory_bytes: int | None
    scratch_bytes: int | None
    gpu_names: tuple[str | None, ...]
    c2_gpus: int
    engine_cores: int
    nodes: int
    hugepage_pc1: int = 0


def possible_modes(shape: Shape, figures: Figures, whole: bool = False) -> list[tuple[Mode, Supply]]:
    """Return the splits that fit the host's memory; with `whole` those only that do every task it is asked for.

    Without it a host may leave out a task that the fleet has plenty of; which does what the fleet decides.
    """
    modes = _gpu_modes(shape, figures, whole) if shape.gpu_names else _cpu_modes(shape, figures, whole)
    found = [(mode, _supply(shape, mode, figures)) for mode in modes]
    if shape.scratch_bytes is not None and "PC1" in shape.tasks and not figures.small:
        found += [
            (cut, _supply(shape, cut, figures))
            for mode, supply in found
            for slots in _fewer_pc1(shape, mode, supply, figures)
            for cut in (replace(mode, pc1_most=slots),)
        ]
    if "PC1" in shape.tasks and not whole and not figures.small:
        none = [replace(m, pc1_most=0, cpu_share=1.0 if m.cpu_share else None) for m in modes if m.engines]
        found += [(mode, _supply(shape, mode, figures)) for mode in none]
    return found


def _fewer_pc1(shape: Shape, mode: Mode, supply: Supply, figures: Figures) -> Iterable[int]:
    """PC1 slots, fewer than there could be, that leave scratch to a PC2 which lacks it."""
    slots = round(supply.pc1 * shape.pc1_seconds / DAY_SEC)
    able = _supply(replace(shape, scratch_bytes=None), mode, figures)
    pc2 = able.pc2 + able.both_pc2
    if scratch_pc2_per_day(figures, shape.scratch_bytes, slots) >= pc2:
        return ()
    least = next((n for n in range(slots, 0, -1) if scratch_pc2_per_day(figures, shape.scratch_bytes, n) >= pc2), 1)
    return range(least, slots, max(1, (slots - least) // PC1_CUTS))


def worthwhile(found: Sequence[tuple[Mode, Supply]], tasks: Collection[str]) -> list[tuple[Mode, Supply]]:
    """Leave out the splits that are no better in any stage than another: they are no choice."""
    kept: list[tuple[Mode, Supply]] = []
    for mode, supply in sorted(found, key=lambda row: (_values(row[1]), row[0].does(tasks)), reverse=True):
        if not any(_covers(other, supply) for _, other in kept):
            kept.append((mode, supply))
    return kept


def _values(s: Supply) -> tuple[float, ...]:
    return (s.pc1, s.pc2 + s.both_pc2, s.c2 + s.both_c2, s.both_pc2, s.both_c2, s.pc2, s.c2)


def _covers(a: Supply, b: Supply) -> bool:
    """Whether workers of `a` can do all that those of `b` can; one that does both can do either alone."""
    return (
        a.pc1 >= b.pc1
        and a.pc2 + a.both_pc2 >= b.pc2 + b.both_pc2
        and a.c2 + a.both_c2 >= b.c2 + b.both_c2
        and throughput(a, frozenset(("PC2", "C2"))) >= throughput(b, frozenset(("PC2", "C2")))
    )


def _bytes(figures: Figures, mode: Mode) -> int:
    c2 = max(figures.c2_bytes, figures.pc2_bytes)
    return mode.pc2 * figures.pc2_bytes + mode.c2 * figures.c2_bytes + mode.both * c2


def _gpu_modes(shape: Shape, figures: Figures, whole: bool) -> list[Mode]:
    gpus = len(shape.gpu_names)
    with_pc1 = "PC1" in shape.tasks
    room = max(1, min(gpus, shape.cores - (min(shape.unit, 2) if with_pc1 else 0)))
    pc2s = range(room + 1) if "PC2" in shape.tasks else range(1)
    c2s = range(room + 1) if "C2" in shape.tasks else range(1)
    boths = range(room + 1) if {"PC2", "C2"} <= shape.tasks else range(1)
    modes = [
        Mode(pc2, c2, both)
        for both in boths
        for pc2 in pc2s
        for c2 in c2s
        if pc2 + c2 + both <= room and not (both and c2) and c2 + both <= shape.c2_gpus
    ]
    if not with_pc1:
        modes = [mode for mode in modes if mode.engines]
    if whole:
        modes = [mode for mode in modes if mode.does(shape.tasks)] or modes
    fitting = [mode for mode in modes if _fits(shape, figures, mode)]
    if not with_pc1:  # a GPU that has memory for one more worker does nothing better
        fitting = [mode for mode in fitting if not any(_more(other, mode) for other in fitting)]
    return fitting or [min(modes, key=lambda m: (not m.does(shape.tasks), _bytes(figures, m), m.engines))]


def _more(a: Mode, b: Mode) -> bool:
    return a != b and a.pc2 >= b.pc2 and a.c2 >= b.c2 and a.both >= b.both


def _fits(shape: Shape, figures: Figures, mode: Mode) -> bool:
    if shape.memory_bytes is None:
        return True
    pc1 = figures.pc1_bytes if "PC1" in shape.tasks and not shape.hugepage_pc1 else 0
    return _bytes(figures, mode) + pc1 <= shape.memory_bytes


def _cpu_modes(shape: Shape, figures: Figures, whole: bool) -> list[Mode]:
    tasks = shape.tasks & {"PC2", "C2"}
    each = _bytes(figures, Mode(both=1) if len(tasks) == 2 else Mode(pc2=1) if "PC2" in tasks else Mode(c2=1))
    most = shape.nodes
    if shape.memory_bytes is not None and each:
        most = max(1, min(most, (shape.memory_bytes - (figures.pc1_bytes if "PC1" in shape.tasks else 0)) // each))
    shares = CPU_SHARES if "PC1" in shape.tasks else (1.0,)
    if figures.small and "PC1" in shape.tasks:
        shares = (0.5,)

    def mode(share: float) -> Mode:
        if len(tasks) == 2:
            return Mode(both=most, cpu_share=share)
        return Mode(pc2=most, cpu_share=share) if "PC2" in tasks else Mode(c2=most, cpu_share=share)

    if "PC1" in shape.tasks and not whole and not figures.small:
        return [*(mode(share) for share in shares), Mode()]
    return [mode(share) for share in shares]


def pc1_supply(shape: Shape, figures: Figures) -> Supply:
    """Return what a host brings that does nothing but PC1."""
    return Supply(pc1=_supply(shape, Mode(), figures).pc1)


def _supply(shape: Shape, mode: Mode, figures: Figures) -> Supply:
    """Estimate what a split brings; the layout itself is made for the chosen one only."""
    with_pc1 = "PC1" in shape.tasks and mode.pc1_most != 0
    engine_cores = 0
    if shape.gpu_names:
        spare = shape.cores - (min(2, shape.unit) if with_pc1 else 0)
        engine_cores = max(1, min(mode.engines * shape.engine_cores, spare))
    elif mode.engines:
        share = (mode.cpu_share or 1.0) * min(1.0, mode.engines / max(1, shape.nodes))
        engine_cores = max(1, round(shape.cores * share))
    rates: dict[tuple[str, ...], list[float]] = {("PC2",): [0.0, 0.0], ("C2",): [0.0, 0.0], ("PC2", "C2"): [0.0, 0.0]}
    for index, kind in enumerate(mode.kinds()):
        for task in kind:
            if shape.gpu_names:
                seconds = figures.gpu_seconds(task, shape.gpu_names[index % len(shape.gpu_names)])
                seconds *= max(1.0, mode.engines * shape.engine_cores / engine_cores)
            else:
                seconds = figures.seconds[f"{task}_cpu_core_seconds"] * mode.engines / engine_cores
            rates[kind][task == "C2"] += DAY_SEC / seconds
    pc2, both_pc2 = rates[("PC2",)][0], rates[("PC2", "C2")][0]
    pc1 = 0.0
    slots = 0
    if with_pc1:
        slots = shape.bundles - max(0, math.ceil((engine_cores - shape.odd_cores) / max(1, shape.unit)))
        if shape.memory_bytes is not None and figures.pc1_bytes:
            left = shape.memory_bytes - _bytes(figures, mode)
            by_memory = max((left - figures.parents_bytes) // figures.pc1_bytes, min(1, left // figures.pc1_bytes))
            slots = min(slots, max(by_memory, shape.hugepage_pc1))
        slots = max(1, min(slots, scratch_slots(figures, shape.scratch_bytes, shape.pc1_seconds, pc2 + both_pc2)))
        slots = min(slots, mode.pc1_most or slots)
        pc1 = slots * DAY_SEC / shape.pc1_seconds
    most = scratch_pc2_per_day(figures, shape.scratch_bytes, slots)
    return capped(Supply(pc1, pc2, rates[("C2",)][1], both_pc2, rates[("PC2", "C2")][1]), most)


def _held_days(figures: Figures) -> tuple[float, float]:
    """Days a sector lies on the scratch between PC1 and the end of PC2, and from PC2 until it is finalized."""
    sec = figures.seconds
    return (FETCH_SEC + sec["PC2"]) / DAY_SEC, (sec["PC2"] + sec["wait_seed"] + sec["C2"] + sec["finalize"]) / DAY_SEC


def scratch_slots(figures: Figures, scratch_bytes: int | None, pc1_seconds: float, pc2_per_day: float) -> int:
    """PC1 slots that a scratch holds: each its own sector, its finished ones until PC2 has them, and, as far as PC2
    runs on the same host, those until they are finalized. Without a figure, as many as you like."""
    if scratch_bytes is None or figures.small:
        return 1 << 30
    room = scratch_bytes // figures.peak_bytes
    waiting, after = _held_days(figures)
    per_slot = DAY_SEC / pc1_seconds
    slots = room / (1 + per_slot * max(waiting, after))
    if slots * per_slot > pc2_per_day:
        slots = (room - pc2_per_day * after) / (1 + per_slot * waiting)
    return max(int(slots + 1e-9), 1 if room else 0)


def scratch_pc2_per_day(figures: Figures, scratch_bytes: int | None, pc1_slots: int) -> float:
    """Sectors per day whose PC2 output the scratch holds until they are finalized, beside the host's own PC1."""
    if scratch_bytes is None or figures.small:
        return float("inf")
    _, after = _held_days(figures)
    if pc1_slots:
        return max(0.0, scratch_bytes // figures.peak_bytes - pc1_slots) / after
    room = scratch_bytes / figures.peak_bytes
    return room / (after + FETCH_SEC / DAY_SEC) if room >= 1 else 0.0


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
