"""Few processes with several PC1 each, for stacks whose one process runs all bundles of a node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sealyard.hardware.machine import Core, Machine
from sealyard.plan.layout import Layout, Slot


def merge_processes(layout: Layout, machine: Machine, core_groups: bool) -> None:
    """Make one precommit process per PC2 GPU of a node, or per node, out of the PC1 bundles there; in place.

    `core_groups`: the processes are held apart by ranges of core groups.
    """
    rank = {core: number for number, core in enumerate(machine.cores)}
    merged: list[Slot] = []
    pc1 = [slot for slot in layout.slots if "PC1" in slot.tasks]
    for node in sorted({slot.node for slot in pc1}, key=lambda n: (n is None, n or 0)):
        bundles = [slot for slot in pc1 if slot.node == node]
        engines: list[Slot | None] = [s for s in layout.slots if s.node == node and "PC2" in s.tasks and s not in pc1]
        engines = engines or [None]
        size = -(-len(bundles) // len(engines))
        for number, engine in enumerate(engines):
            own = bundles[number * size : (number + 1) * size]
            if own:
                merged.append(_process(own, engine, rank if core_groups else None, layout))
            elif engine is not None:
                merged.append(engine)
    taken = {core for slot in merged for core in slot.cores}
    rest = [s for s in layout.slots if s not in pc1 and not taken & set(s.cores)]
    layout.slots = merged + rest


def _process(bundles: Sequence[Slot], engine: Slot | None, rank: Mapping[Core, int] | None, layout: Layout) -> Slot:
    unit = bundles[0].producers + 1
    groups = None
    if rank is not None and unit > 1:
        first = [min(rank[core] for core in slot.cores) for slot in bundles]
        groups = (min(first) // unit, max(first) // unit + 1)
        if any(number % unit for number in first) or groups[1] - groups[0] != len(bundles):
            layout.warnings.append(
                f"core groups {groups[0]} to {groups[1]} hold cores of other workers: the fork may take them for PC1"
            )
    tasks = ("AP", "PC1", *(engine.tasks if engine else ()))
    cores = [core for slot in bundles for core in slot.cores] + (engine.cores if engine else [])
    return Slot(
        tasks,
        sorted(cores, key=lambda core: core.cpus),
        bundles[0].producers,
        engine.gpu if engine else None,
        bundles[0].node,
        sum(slot.memory_bytes for slot in bundles) + (engine.memory_bytes if engine else 0),
        f"{len(bundles)} PC1 of {unit} cores on node {bundles[0].node}" + (f"; {engine.why}" if engine else ""),
        [slot.cores for slot in bundles],
        groups,
        bundles[0].hugepages,
    )
