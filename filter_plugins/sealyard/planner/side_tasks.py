"""Tasks beside the way of a new sector: unsealing and snap updates, given their share of a host before the rest.

A host of `unseal_worker` or `snap_worker` gets cores, memory and a GPU for them first; what is left is split between
PC1, PC2 and C2 as on any other host. A host that does nothing else gives them all it has.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from sealyard.hardware.machine import Core, Gpu, Machine
from sealyard.lotus.figures import DAY_SEC, Figures
from sealyard.lotus.tasks import BY_NAME, with_companions
from sealyard.plan.layout import Slot
from sealyard.planner.needs import Wanted, engine_cores, system_bytes, vram_fits
from sealyard.problem import Problem

MAIN: Final = frozenset(("PC1", "PC2", "C2"))
GPU_TASKS: Final = frozenset(("PC2", "C2"))
UNSEAL_CORES: Final = 2
"""One hasher and one producer, as the smallest PC1: unsealing computes the same layers."""


@dataclass(slots=True)
class Carved:
    """What the side tasks take, and the machine that is left. `slots` are theirs."""

    machine: Machine
    slots: list[Slot] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def take_cores(self, node: int | None, number: int, keep: int) -> list[Core]:
        """Take cores of one L3 where there are so many, else of one node; never the last `keep` of the machine."""
        number = min(number, len(self.machine.cores) - keep)
        if number < 1:
            return []
        there = [core for core in self.machine.cores if node is None or core.node == node] or list(self.machine.cores)
        by_domain: dict[object, list[Core]] = {}
        for core in there:
            by_domain.setdefault(core.domain, []).append(core)
        fitting = [cores for cores in by_domain.values() if len(cores) >= number]
        # The system's cores come from the NIC's node, so that one is asked last.
        nic = self.machine.nic_node
        fitting.sort(key=lambda cores: (cores[0].node == nic, -len(cores), cores[0].cpus))
        got = (fitting[0] if fitting else there)[-number:]
        self.machine = replace(self.machine, cores=tuple(core for core in self.machine.cores if core not in set(got)))
        return got

    def take_memory(self, node: int | None, number_bytes: int) -> None:
        """Take memory of the machine, on that node as far as there is any."""
        nodes = dict(self.machine.node_memory)
        own = nodes.get(node) if node is not None else None
        if node is not None and own is not None:
            nodes[node] = max(0, own - number_bytes)
        whole = self.machine.memory_bytes
        left = None if whole is None else whole - number_bytes
        self.machine = replace(self.machine, memory_bytes=left, node_memory=nodes)


def carve(machine: Machine, wanted: Wanted, figures: Figures) -> Carved:
    """Return the side tasks' slots and the machine without what they take; problems' paths begin at the host."""
    carved = Carved(machine)
    alone = not wanted.tasks & MAIN
    if "RU" in wanted.tasks:
        _snap(carved, wanted, figures, alone)
    if "UNS" in wanted.tasks:
        _unseal(carved, wanted, figures, alone and "RU" not in wanted.tasks)
    return carved


def per_day(slot: Slot, figures: Figures) -> float:
    """Return how many sectors a day a slot of side tasks unseals, or updates and proves."""
    return DAY_SEC / sum(figures.seconds[task] for task in slot.tasks if task in figures.seconds)


def _unseal(carved: Carved, wanted: Wanted, figures: Figures, alone: bool) -> None:
    unit = wanted.producers + 1 if wanted.producers is not None else UNSEAL_CORES
    keep = wanted.reserved_cores + len(wanted.tasks & MAIN)
    while alone or not any("UNS" in slot.tasks for slot in carved.slots):
        need = figures.task_bytes("UNS")
        have = carved.machine.memory_bytes
        lacks = "memory" if have is not None and have - system_bytes(have) < need else ""
        got = [] if lacks else carved.take_cores(None, unit, keep)
        if not got:
            if not any("UNS" in slot.tasks for slot in carved.slots):
                carved.problems.append(_lacking("UNS", lacks or "cores"))
            return
        carved.take_memory(got[0].node, need)
        why = f"unsealing on {len(got)} core{'s' if len(got) > 1 else ''} of node {got[0].node}"
        slot = Slot(("UNS",), got, len(got) - 1, node=got[0].node, memory_bytes=max(1 << 30, need), why=why)
        carved.slots.append(slot)


def _snap(carved: Carved, wanted: Wanted, figures: Figures, alone: bool) -> None:
    tasks = with_companions(("RU",))
    need = max(figures.task_bytes(task) for task in tasks)
    able = [gpu for gpu in carved.machine.gpus if all(vram_fits(gpu, task, figures) for task in tasks)]
    shares = bool(wanted.tasks & GPU_TASKS)
    if carved.machine.gpus and not able:
        carved.problems.append(_lacking("RU", "a GPU with enough memory"))
        return
    if shares and len(carved.machine.gpus) == 1:
        problem = "has one GPU, and snap updates would wait behind its PC2 and C2, or they behind those"
        remedy = "take the host out of snap_worker or out of pc2_worker and c2_worker, or give it a second GPU"
        carved.problems.append(Problem("roles", "snap_worker", problem, remedy))
        return
    gpus: list[Gpu | None] = list(able if not shares else able[-1:]) or [None]
    keep = wanted.reserved_cores + len(wanted.tasks & MAIN)
    for number, gpu in enumerate(gpus):
        have = carved.machine.memory_bytes
        lacks = "memory" if have is not None and have - system_bytes(have) < need else ""
        node = gpu.nodes[0] if gpu and gpu.nodes else None
        got = [] if lacks else carved.take_cores(node, _snap_cores(carved.machine, gpu, figures, alone), keep)
        if not got:
            if not number:
                carved.problems.append(_lacking("RU", lacks or "cores"))
            return
        if gpu is None and not figures.small:
            carved.warnings.append("snap updates without a usable GPU: proving on CPU cores is several times slower")
        carved.take_memory(got[0].node, need)
        carved.machine = replace(carved.machine, gpus=tuple(g for g in carved.machine.gpus if g != gpu))
        why = f"snap updates on GPU {gpu.pci}" if gpu else f"snap updates on {len(got)} cores of node {got[0].node}"
        slot = Slot(tasks, got, 0, gpu, got[0].node, memory_bytes=max(1 << 30, need), why=why)
        carved.slots.append(slot)


def _snap_cores(machine: Machine, gpu: Gpu | None, figures: Figures, alone: bool) -> int:
    if gpu is not None:
        return engine_cores(machine)
    return 1 if figures.small else max(1, len(machine.cores) // (1 if alone else 2))


def _lacking(task: str, what: str) -> Problem:
    group = str(BY_NAME[task].group)
    problem = f"the host lacks {what} to do {task} beside the system and its other tasks"
    return Problem("roles", group, problem, f"take the host out of {group}, or give it more")
