"""PC1: bundles of cores inside one L3, as many as memory and scratch allow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from sealyard.hardware.machine import Core, Domain, Machine
from sealyard.lotus.figures import GIB, Figures
from sealyard.plan.layout import Layout, Slot
from sealyard.planner.cores import Cores
from sealyard.planner.needs import Wanted, counted, engine_bytes, hugepage_pc1, pc1_limits, system_bytes
from sealyard.problem import Problem

LARGEST_BUNDLE: Final = 4
"""1 hasher + 3 producers: the default of FIL_PROOFS_MULTICORE_SDR_PRODUCERS; more producers have nothing to do."""


def make_bundles(
    machine: Machine,
    wanted: Wanted,
    figures: Figures,
    free: Cores,
    layout: Layout,
    engines: Sequence[Slot],
    most_pc1: int | None,
) -> None:
    by_memory, by_scratch = pc1_limits(machine, wanted, figures, engines)
    limits = [n for n in (by_memory, by_scratch, most_pc1) if n is not None]
    most = min(limits) if limits else 1 << 30
    if most == 0:
        layout.errors.append(_no_room(machine, wanted, figures, engines, "memory" if by_memory == 0 else "scratch"))
        most = 1
    sizes = {d: len(cores) for d, cores in free.free.items() if cores}
    unit, spanning = _unit(wanted, sizes, most, free)
    if unit == 0:
        layout.errors.append(
            Problem(
                path="sdr_producers",
                value=wanted.producers,
                problem=f"no L3 and no NUMA node has {(wanted.producers or 0) + 1} free cores for one PC1",
                remedy=f"sealing_sdr_producers: {max(0, max(sizes.values(), default=1) - 1)}",
            )
        )
        return
    if spanning:
        layout.warnings.append(f"no L3 has {unit} free cores: PC1 bundles of {unit} cores span L3 caches inside a node")
        _forget_l3(free)
        sizes = {d: len(cores) for d, cores in free.free.items() if cores}
    in_pages = hugepage_pc1(machine, wanted, figures)
    in_pages = in_pages if sum(in_pages.values()) == by_memory else {}
    counts = _bundle_counts(machine, in_pages or _node_slots(machine, figures, engines), sizes, unit, most, layout)
    fixed = wanted.producers is not None or wanted.uniform or spanning
    number = 0
    for domain in sorted(counts, key=lambda d: free.free[d][0].cpus):
        bundles = counts[domain]
        base, extra = (unit, 0) if fixed else divmod(sizes[domain], bundles)
        for i in range(bundles):
            size = min(base + (1 if i < extra else 0), max(unit, LARGEST_BUNDLE))
            got = free.take_from(domain, size)
            why = _bundle_why(got, domain, spanning)
            layout.slots.append(Slot(("AP", "PC1"), got, size - 1, node=domain[0], why=why, hugepages=bool(in_pages)))
            number += 1
    possible = sum(n // unit for n in sizes.values())
    if most_pc1 is not None and number == most_pc1:
        layout.bound_by["PC1"] = f"scratch {(wanted.scratch_bytes or 0) / 1e12:.1f} TB, shared with PC2"
        return
    layout.bound_by["PC1"] = _pc1_bound(number, possible, unit, by_memory, by_scratch, machine, wanted, figures)


def _no_room(machine: Machine, wanted: Wanted, figures: Figures, engines: Sequence[Slot], short: str) -> Problem:
    """Not one PC1 fits; `short` is memory or scratch."""
    have = machine.memory_bytes if short == "memory" else wanted.scratch_bytes
    need = figures.pc1_bytes if short == "memory" else figures.peak_bytes
    beside = ""
    if engines and short == "memory":
        taken = sum(engine_bytes(figures, slot.tasks) for slot in engines)
        beside = f" beside {' and '.join(counted(engines))} ({taken / GIB:.0f} GiB)"
    return Problem(
        path="hardware.memory" if short == "memory" else "scratch_bytes",
        value=have,
        problem=f"{short} for not one PC1 of a {figures.sector_size} sector ({need / GIB:.0f} GiB each){beside}",
        remedy=f"take the host out of {'one of its task groups' if beside else 'pc1_worker'}, or give it more {short}",
    )


def _forget_l3(free: Cores) -> None:
    """Make each node one domain; in place."""
    merged: dict[Domain, list[Core]] = defaultdict(list)
    for cores in list(free.free.values()):
        for core in cores:
            merged[(core.node, "node")].append(core)
    free.free = defaultdict(list, {d: sorted(c, key=lambda k: k.cpus) for d, c in merged.items()})


def _bundle_why(cores: Sequence[Core], domain: Domain, spanning: bool) -> str:
    where = f"node {domain[0]}" if spanning or domain[1] is None else f"L3 {domain[1]} of node {domain[0]}"
    if not cores[0].l3_known:
        where = f"node {domain[0]}, no L3 information"
    return f"{len(cores)} core{'s' if len(cores) > 1 else ''} of {where}" + (
        ": no L3 has that many" if spanning else ""
    )


def _unit(wanted: Wanted, sizes: dict[Domain, int], most: int, free: Cores) -> tuple[int, bool]:
    """The smallest bundle and whether it must span L3s; 0 where the forced size fits nowhere."""

    def count(unit: int, by_node: bool = False) -> int:
        if not by_node:
            return sum(n // unit for n in sizes.values())
        return sum(free.count(node) // unit for node in free.nodes())

    if wanted.producers is not None:
        unit = wanted.producers + 1
        if count(unit):
            return unit, False
        return (unit, True) if count(unit, by_node=True) else (0, False)
    if wanted.uniform:
        best = max(range(2, LARGEST_BUNDLE + 1), key=lambda u: (min(most, count(u)), u))
        if count(best):
            return best, False
    if count(2):
        return 2, False
    # One core per L3: a single-core PC1 takes twice as long, so a pair that spans L3s wins only where slots are few.
    pairs, singles = min(most, count(2, by_node=True)), min(most, count(1))
    return (2, True) if pairs * 2 > singles else (1, False)


def _bundle_counts(
    machine: Machine,
    node_slots: Mapping[int | None, int],
    sizes: dict[Domain, int],
    unit: int,
    most: int,
    layout: Layout,
) -> dict[Domain, int]:
    """Bundles per L3: spread where cores per bundle are most, on nodes that have the memory, then on the others.

    `node_slots`: PC1 that a node has memory for; a node that is not in it has enough.
    """
    counts: dict[Domain, int] = defaultdict(int)
    used: dict[int | None, int] = defaultdict(int)
    left = min(most, sum(n // unit for n in sizes.values()))
    spilled: dict[int | None, int] = defaultdict(int)
    for within_memory in (True, False):
        while left:
            open_domains = [
                d
                for d, n in sizes.items()
                if n // unit > counts[d] and (not within_memory or used[d[0]] < node_slots.get(d[0], 1 << 30))
            ]
            if not open_domains:
                break
            pick = min(open_domains, key=lambda d: (-(sizes[d] // (counts[d] + 1)), used[d[0]], str(d[0]), str(d[1])))
            counts[pick] += 1
            used[pick[0]] += 1
            left -= 1
            if not within_memory:
                spilled[pick[0]] += 1
    for node, number in sorted(spilled.items(), key=lambda item: str(item[0])):
        layout.warnings.append(
            f"{number} of {used[node]} PC1 on node {node} take memory of other nodes: node {node} has "
            f"{(machine.node_memory.get(node) or 0) / GIB:.0f} GiB"
            if node is not None
            else ""
        )
    return {d: n for d, n in counts.items() if n}


def _node_slots(machine: Machine, figures: Figures, engines: Sequence[Slot]) -> dict[int | None, int]:
    """PC1 whose memory fits each node, its share of the system's and the parent cache's taken off."""
    if figures.small or not machine.memory_bytes or not machine.node_memory:
        return {}
    engine: dict[int | None, int] = defaultdict(int)
    for slot in engines:
        engine[slot.node] += engine_bytes(figures, slot.tasks)
    shared = (system_bytes(machine.memory_bytes) + figures.parents_bytes) / machine.memory_bytes
    return {
        node: max(0, int((memory * (1 - shared) - engine[node]) // figures.pc1_bytes))
        for node, memory in machine.node_memory.items()
        if memory is not None
    }


def _pc1_bound(
    number: int,
    possible: int,
    unit: int,
    by_memory: int | None,
    by_scratch: int | None,
    machine: Machine,
    wanted: Wanted,
    figures: Figures,
) -> str:
    if by_memory is not None and number == by_memory and number <= (by_scratch or number) and number <= possible:
        return f"memory {(machine.memory_bytes or 0) / GIB:.0f} GiB / {figures.pc1_bytes / GIB:.0f} GiB"
    if by_scratch is not None and number == by_scratch and 0 < number <= possible:
        scratch = wanted.scratch_bytes or 0
        return f"scratch {scratch / 1e12:.1f} TB / {scratch / 1e12 / number:.2f} TB held per PC1"
    return f"cores: {possible} bundles of {unit}"
