"""The ways in which a host's GPUs and memory can be split between its tasks, and what each brings.

A host that does PC1 and PC2, or PC2 and C2, can be set up in several ways. Which is best depends on what the rest of
the fleet lacks: fleet.py chooses.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from sealyard.lotus.figures import DAY_SEC, Figures
from sealyard.plan.supply import Supply
from sealyard.planner.throughput import throughput

CPU_SHARES = (0.12, 0.25, 0.4, 0.55, 0.7, 0.85)
PC1_CUTS = 6
"""Ways to give up PC1 slots for scratch that are looked at."""
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
