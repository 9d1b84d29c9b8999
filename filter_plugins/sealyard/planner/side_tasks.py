"""Tasks beside the way of a new sector: unsealing and snap updates, given their share of a host before the rest.

A host of `unseal_worker` or `snap_worker` gets cores, memory and a GPU for them first; what is left is split between
PC1, PC2 and C2 as on any other host. A host that does nothing else gives them all it has.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from sealyard.hardware.machine import Core, Gpu, Machine
from sealyard.lotus.figures import DAY_SEC, GIB, Figures
from sealyard.lotus.tasks import BY_NAME, with_companions
from sealyard.plan.layout import Layout, Slot
from sealyard.planner.needs import (
    LAYERS_IN_MEMORY,
    Wanted,
    engine_cores,
    memory_with_usable,
    system_bytes,
    vram_fits,
)
from sealyard.problem import Problem

MAIN: Final = frozenset(("PC1", "PC2", "C2"))
GPU_TASKS: Final = frozenset(("PC2", "C2"))
UNSEAL_CORES: Final = 2
"""One hasher and one producer, as the smallest PC1: unsealing computes the same layers."""


@dataclass(slots=True)
class Carved:
    """What the side tasks take of the whole machine, and the machine that is left. `slots` are theirs."""

    whole: Machine
    machine: Machine
    slots: list[Slot] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    short: list[Problem] = field(default_factory=list)
    """Problems for want of cores or memory, which say nothing new where the other tasks lack them, too."""
    warnings: list[str] = field(default_factory=list)

    def take_cores(self, node: int | None, number: int, keep: int) -> list[Core]:
        """Take cores of one L3 where there are so many, else of one node; never the last `keep` of the machine."""
        number = min(number, len(self.machine.cores) - keep)
        if number < 1:
            return []
        there = [core for core in self.machine.cores if node is None or core.node == node] or list(self.machine.cores)
        by_domain: dict[object, list[Core]] = {}
        by_node: dict[object, list[Core]] = {}
        for core in there:
            by_domain.setdefault(core.domain, []).append(core)
            by_node.setdefault(core.node, []).append(core)
        fitting = [cores for cores in by_domain.values() if len(cores) >= number]
        # The system's cores come from the NIC's node, so that one is asked last.
        nic = self.machine.nic_node
        fitting.sort(key=lambda cores: (cores[0].node == nic, -len(cores), cores[0].cpus))
        got = (fitting[0] if fitting else max(by_node.values(), key=len))[-number:]
        taken = set(got)
        self.machine = replace(self.machine, cores=tuple(core for core in self.machine.cores if core not in taken))
        return got

    def lacks_memory(self, number_bytes: int) -> bool:
        """Whether the machine has less than that beside the system."""
        have = self.machine.memory_bytes
        return have is not None and have - system_bytes(have) < number_bytes

    def take_memory(self, node: int | None, number_bytes: int) -> int | None:
        """Take memory of the machine; return the node if it had it all, else None: such a worker is bound to none."""
        nodes = dict(self.machine.node_memory)
        own = nodes.get(node) if node is not None else None
        fits = own is None or own >= number_bytes or len(nodes) == 1
        left = number_bytes
        for one in sorted(nodes, key=lambda n: (n != node, -(nodes[n] or 0))):
            taken = min(left, nodes[one] or 0)
            if nodes[one] is not None:
                nodes[one] = (nodes[one] or 0) - taken
            left -= taken
        whole = self.machine.memory_bytes
        if whole is not None:
            whole = memory_with_usable(max(0, whole - system_bytes(whole) - number_bytes))
        self.machine = replace(self.machine, memory_bytes=whole, node_memory=nodes)
        return node if fits else None


def carve(machine: Machine, wanted: Wanted, figures: Figures) -> Carved:
    """Return the side tasks' slots and the machine without what they take; problems' paths begin at the host."""
    carved = Carved(machine, machine)
    alone = not wanted.tasks & MAIN
    if "RU" in wanted.tasks:
        _snap(carved, wanted, figures, alone)
    if "UNS" in wanted.tasks:
        _unseal(carved, wanted, figures, alone)
    return carved


def too_much(carved: Carved, layout: Layout, figures: Figures) -> Problem | None:
    """Return the problem that what the side tasks leave is too little for a layout of the other tasks."""
    groups = " and ".join(sorted({str(BY_NAME[slot.tasks[0]].group) for slot in carved.slots}))
    why = next((error.problem for error in layout.errors), "")
    have = carved.whole.memory_bytes
    if not why and have is not None and not figures.small:
        used = sum(slot.memory_bytes for slot in (*layout.slots, *carved.slots))
        used -= sum(LAYERS_IN_MEMORY * figures.sector_bytes for slot in layout.slots if slot.hugepages)
        if used > have - system_bytes(have):
            why = f"{used / GIB:.0f} GiB for all workers, of {(have - system_bytes(have)) / GIB:.0f} GiB"
    if not why:
        return None
    problem = f"too little of the host is left for its other tasks: {why}"
    return Problem("roles", groups, problem, f"take the host out of {groups}, or give it more")


def per_day(slot: Slot, figures: Figures) -> float:
    """Return how many sectors a day a slot of side tasks unseals, or updates and proves."""
    return DAY_SEC / sum(figures.seconds[task] for task in slot.tasks if task in figures.seconds)


def _unseal_cores(wanted: Wanted) -> int:
    return wanted.producers + 1 if wanted.producers is not None else UNSEAL_CORES


def _unseal(carved: Carved, wanted: Wanted, figures: Figures, alone: bool) -> None:
    keep = wanted.reserved_cores + len(wanted.tasks & MAIN)
    while alone or not any("UNS" in slot.tasks for slot in carved.slots):
        need = figures.task_bytes("UNS")
        lacks = "memory" if carved.lacks_memory(need) else ""
        got = [] if lacks else carved.take_cores(None, _unseal_cores(wanted), keep)
        if not got:
            if not any("UNS" in slot.tasks for slot in carved.slots):
                carved.short.append(_lacking("UNS", lacks or "cores"))
            return
        node = carved.take_memory(got[0].node, need)
        why = f"unsealing on {len(got)} core{'s' if len(got) > 1 else ''} of node {got[0].node}"
        slot = Slot(("UNS",), got, len(got) - 1, node=node, memory_bytes=max(1 << 30, need), why=why)
        carved.slots.append(slot)


def _snap(carved: Carved, wanted: Wanted, figures: Figures, alone: bool) -> None:
    tasks = with_companions(("RU",))
    need = max(figures.task_bytes(task) for task in tasks)
    gpus = _snap_gpus(carved, wanted, figures, alone)
    # What the same host unseals with, and a core for each of its other tasks, is not for a further snap worker.
    unseals = "UNS" in wanted.tasks
    keep = wanted.reserved_cores + len(wanted.tasks & MAIN) + (_unseal_cores(wanted) if unseals else 0)
    for number, gpu in enumerate(gpus):
        more = figures.task_bytes("UNS") if number and unseals else 0
        lacks = "memory" if carved.lacks_memory(need + more) else ""
        node = gpu.nodes[0] if gpu and gpu.nodes else None
        got = [] if lacks else carved.take_cores(node, _snap_cores(carved.machine, gpu, figures, alone), keep)
        if not got:
            if not number:
                carved.short.append(_lacking("RU", lacks or "cores"))
            return
        if gpu is None and not figures.small and not number:
            carved.warnings.append("snap updates without a usable GPU: proving on CPU cores is several times slower")
        bound = carved.take_memory(got[0].node, need)
        carved.machine = replace(carved.machine, gpus=tuple(g for g in carved.machine.gpus if g != gpu))
        why = f"snap updates on GPU {gpu.pci}" if gpu else f"snap updates on {len(got)} cores of node {got[0].node}"
        slot = Slot(tasks, got, 0, gpu, bound, memory_bytes=max(1 << 30, need), why=why)
        carved.slots.append(slot)


def _snap_gpus(carved: Carved, wanted: Wanted, figures: Figures, alone: bool) -> list[Gpu | None]:
    """Return the GPU of each snap worker, None for one on cores; empty where there is a problem."""
    gpus = carved.machine.gpus
    if not gpus:
        return [None] * (max(1, len({core.node for core in carved.machine.cores})) if alone else 1)
    able = [gpu for gpu in gpus if all(vram_fits(gpu, task, figures) for task in with_companions(("RU",)))]
    if not able:
        carved.problems.append(_lacking("RU", "a GPU with enough memory"))
        return []
    proofs = wanted.tasks & GPU_TASKS
    if not proofs:
        return list(able)
    for gpu in reversed(able):
        if all(any(one != gpu and vram_fits(one, task, figures) for one in gpus) for task in proofs):
            return [gpu]
    problem = (
        f"has one GPU{' with enough memory' if len(gpus) > 1 else ''}, and snap updates would wait behind its "
        "PC2 and C2, or they behind those"
    )
    remedy = "take the host out of snap_worker or out of pc2_worker and c2_worker, or give it a second GPU"
    carved.problems.append(Problem("roles", "snap_worker", problem, remedy))
    return []


def _snap_cores(machine: Machine, gpu: Gpu | None, figures: Figures, alone: bool) -> int:
    if gpu is not None:
        return engine_cores(machine)
    return 1 if figures.small else max(1, len(machine.cores) // (1 if alone else 2))


def _lacking(task: str, what: str) -> Problem:
    group = str(BY_NAME[task].group)
    problem = f"the host lacks {what} to do {task} beside the system and its other tasks"
    return Problem("roles", group, problem, f"take the host out of {group}, or give it more")
