"""PC2 and C2: one worker per GPU, or per NUMA node where there is no GPU."""

from __future__ import annotations

from collections import defaultdict

from sealyard.hardware.machine import Gpu, Machine
from sealyard.lotus.figures import GIB, Figures
from sealyard.plan.layout import Layout, Slot
from sealyard.planner.cores import Cores
from sealyard.planner.needs import Wanted, engine_bytes, engine_cores, system_bytes, usable_gpus
from sealyard.planner.splits import Mode


def make_engines(
    machine: Machine, wanted: Wanted, mode: Mode, figures: Figures, free: Cores, layout: Layout, unit: int
) -> list[Slot]:
    usable = usable_gpus(machine, wanted.tasks, figures)
    for gpu in machine.gpus:
        if gpu not in usable:
            layout.warnings.append(
                f"GPU {gpu.pci} ({gpu.name}) stays unused: {(gpu.memory_bytes or 0) / GIB:.0f} GiB of "
                "memory are too few"
            )
    kinds = mode.kinds()
    if not usable:
        return _cpu_engines(mode, free, layout, unit)
    for_pc1 = min(2, unit)
    gpus = usable[: min(len(kinds), max(1, free.total() - for_pc1))]
    layout.bound_by["engines"] = f"{len(gpus)} GPU{'s' if len(gpus) > 1 else ''}"
    if len(gpus) < len(usable):
        why = _why_unused(machine, wanted, mode, figures, len(gpus) < len(kinds))
        layout.warnings.append(f"{len(usable) - len(gpus)} of {len(usable)} GPUs stay unused: {why}")
        layout.bound_by["engines"] = f"{len(gpus)} of {len(usable)} GPUs: {why}"
    tasks = {gpu.pci: kind for gpu, kind in zip(gpus, kinds, strict=False)}
    wish = engine_cores(machine)
    base, extra = divmod(max(len(gpus), min(wish * len(gpus), free.total() - for_pc1)), len(gpus))
    wishes = {gpu.pci: base + (index < extra) for index, gpu in enumerate(gpus)}
    need = base
    # A GPU near several nodes goes to the one with the most cores left; GPUs without a node go last, to what is free.
    homes: dict[str, int | None] = {}
    load: dict[int | None, int] = defaultdict(int)
    for gpu in sorted(gpus, key=lambda g: (not g.nodes, len(g.nodes), g.pci)):
        near: list[int | None] = [n for n in gpu.nodes if free.count(n)]
        near = near or [n for n in free.nodes() if free.count(n)]
        home = min(near, key=lambda n: (load[n] - free.count(n) / need, n is None, n or 0))
        homes[gpu.pci] = home
        load[home] += 1
    engines: dict[str, Slot] = {}
    stranded: list[Gpu] = []
    for node in sorted({*homes.values()}, key=lambda n: (n is None, n or 0)):
        here = [g for g in gpus if homes[g.pci] == node]
        for number, gpu in enumerate(here):
            each = max(1, min(wishes[gpu.pci], free.count(node) // (len(here) - number)))
            got = free.take_spare(node, each, unit if for_pc1 else 1)
            if not got:
                stranded.append(gpu)
                continue
            engines[gpu.pci] = Slot(tasks[gpu.pci], got, gpu=gpu, node=node, why=_gpu_why(gpu, node))
    for gpu in stranded:
        others = sorted(
            free.nodes(),
            key=lambda n: (machine.distances.get((homes[gpu.pci] or 0, n or 0), 99), -free.count(n), n or 0),
        )
        if not others:
            layout.warnings.append(f"GPU {gpu.pci} stays unused: no core is left for it")
            continue
        got = free.take_spare(others[0], min(wishes[gpu.pci], free.count(others[0])), unit if for_pc1 else 1)
        why = f"GPU {gpu.pci} is near node {homes[gpu.pci]}, whose cores are all taken: cores of node {others[0]}"
        layout.warnings.append(why)
        engines[gpu.pci] = Slot(tasks[gpu.pci], got, gpu=gpu, node=others[0], why=why)
    return [engines[g.pci] for g in gpus if g.pci in engines]


def _why_unused(machine: Machine, wanted: Wanted, mode: Mode, figures: Figures, cores: bool) -> str:
    if cores:
        return "the host lacks cores for them"
    least = min(need for task, need in (("PC2", figures.pc2_bytes), ("C2", figures.c2_bytes)) if task in wanted.tasks)
    used = sum(engine_bytes(figures, kind) for kind in mode.kinds())
    if machine.memory_bytes is not None and used + least > machine.memory_bytes - system_bytes(machine.memory_bytes):
        return "the host lacks memory for them"
    return "PC1 makes more of their cores and memory" if "PC1" in wanted.tasks else "the host lacks memory for them"


def _gpu_why(gpu: Gpu, node: int | None) -> str:
    name = f"GPU {gpu.pci}" + (f" ({gpu.name})" if gpu.name else "")
    if not gpu.nodes:
        return f"{name}: its NUMA node is not known, cores of node {node}"
    return f"{name} with cores of its own node {node}"


def _cpu_engines(mode: Mode, free: Cores, layout: Layout, unit: int) -> list[Slot]:
    """Without a GPU: one worker per NUMA node with its share of the node's cores; `unit` cores stay for PC1."""
    kinds = mode.kinds()
    tasks = "/".join(kinds[0])
    layout.warnings.append(f"{tasks} without a usable GPU: proving on CPU cores is several times slower")
    layout.bound_by["engines"] = "cores, for want of a GPU"
    share = (mode.cpu_share or 1.0) if unit else 1.0
    slots: list[Slot] = []
    for node in sorted(free.nodes(), key=lambda n: (-free.count(n), n is None, n or 0)):
        left_for_pc1 = min(free.total() - 1, max(unit, 0))
        spare = min(free.count(node), free.total() - left_for_pc1)
        number = min(spare, max(1, round(free.count(node) * share)))
        if number < 1 or len(slots) >= len(kinds):
            continue
        if unit > 1 and len(slots) == 0 and free.count(node) - number < unit <= free.count(node) - 1:
            number = free.count(node) - unit  # where the first node is all there is, PC1 keeps a whole bundle
        got = free.take_spare(node, number, max(unit, 1))
        slots.append(Slot(kinds[len(slots)], got, node=node, why=f"no GPU: {len(got)} cores of node {node}"))
    return slots
