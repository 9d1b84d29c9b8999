"""One host: its cores and GPUs given to the tasks it is asked to do.

Order matters: cores for the system first, then GPU workers on their GPU's node, then PC1 bundles inside one L3, then
what is left over. Nothing is given twice and no core is split between two owners.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sealyard.hardware.machine import Core, Domain, Gpu, Machine
from sealyard.lotus.figures import DAY_SEC, GIB, Figures, model
from sealyard.plan.layout import Layout, Slot
from sealyard.plan.supply import Supply
from sealyard.planner.splits import Mode, Shape, capped, scratch_pc2_per_day, scratch_slots
from sealyard.problem import Problem

LARGEST_BUNDLE = 4
"""1 hasher + 3 producers: the default of FIL_PROOFS_MULTICORE_SDR_PRODUCERS; more producers have nothing to do."""
PROVING = ("PC2", "C2")
LAYERS_IN_MEMORY = 2
"""Layers that PC1 holds at a time (sealing-model tasks.PC1.ram.actual_locked)."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a host is asked for. Bytes; `producers` None lets the planner choose; `uniform`: all bundles alike."""

    tasks: frozenset[str]
    reserved_cores: int
    producers: int | None
    scratch_bytes: int | None
    uniform: bool = False
    hugepages: bool = False
    """Whether this stack's PC1 can keep its layers in hugepages."""


class _Cores:
    """The cores of a machine that nobody has yet, by node and domain."""

    def __init__(self, cores: Iterable[Core]) -> None:
        self.free: dict[Domain, list[Core]] = defaultdict(list)
        for core in cores:
            self.free[core.domain].append(core)

    def domains(self, node: int | None) -> list[Domain]:
        found = [d for d, cores in self.free.items() if cores and d[0] == node]
        return sorted(found, key=lambda d: self.free[d][0].cpus)

    def nodes(self) -> list[int | None]:
        return sorted({d[0] for d, cores in self.free.items() if cores}, key=lambda n: (n is None, n or 0))

    def count(self, node: int | None) -> int:
        return sum(len(cores) for d, cores in self.free.items() if d[0] == node)

    def total(self) -> int:
        return sum(len(cores) for cores in self.free.values())

    def take_spare(self, node: int | None, number: int, unit: int) -> list[Core]:
        """Take cores where it costs the fewest bundles of `unit`: odd ones out first, then one L3 after another."""
        taken: list[Core] = []
        while len(taken) < number:
            domains = self.domains(node)
            if not domains:
                break
            spare = [d for d in domains if len(self.free[d]) % unit]
            pick = min(spare, key=lambda d: len(self.free[d]) % unit) if spare else domains[0]
            taken.append(self.free[pick].pop(0))
        return taken

    def take_from(self, domain: Domain, number: int) -> list[Core]:
        taken, self.free[domain] = self.free[domain][:number], self.free[domain][number:]
        return taken


def shape_of(machine: Machine, wanted: Wanted, figures: Figures) -> Shape:
    """Return what the host brings once the system's cores are taken, for choosing how to split it."""
    free = _Cores(machine.cores)
    _reserve(machine, wanted, free, Layout(), _reserve_unit(wanted))
    sizes = [len(cores) for cores in free.free.values() if cores]
    unit = wanted.producers + 1 if wanted.producers is not None else (2 if any(n > 1 for n in sizes) else 1)
    memory = None
    if machine.memory_bytes is not None and not figures.small:
        memory = machine.memory_bytes - _system_bytes(machine.memory_bytes)
    gpus = usable_gpus(machine, wanted.tasks, figures)
    return Shape(
        tasks=wanted.tasks,
        cores=free.total(),
        bundles=sum(n // unit for n in sizes),
        odd_cores=sum(n % unit for n in sizes),
        unit=unit,
        pc1_seconds=_pc1_seconds(machine, figures, unit),
        memory_bytes=memory,
        scratch_bytes=wanted.scratch_bytes,
        gpu_names=tuple(gpu.name for gpu in gpus),
        c2_gpus=sum(_vram_fits(gpu, "C2", figures) for gpu in gpus),
        engine_cores=_engine_cores(machine),
        nodes=len(free.nodes()),
        hugepage_pc1=sum(_hugepage_pc1(machine, wanted, figures).values()),
    )


def _reserve_unit(wanted: Wanted) -> int:
    if "PC1" not in wanted.tasks:
        return 1
    return wanted.producers + 1 if wanted.producers is not None else 2


def bind(machine: Machine, wanted: Wanted, mode: Mode, figures: Figures) -> Layout:
    """Return the host's layout for one way of splitting it; its errors' paths begin at the host."""
    layout = Layout()
    free = _Cores(machine.cores)
    unit = (wanted.producers + 1) if wanted.producers is not None else 2
    _reserve(machine, wanted, free, layout, _reserve_unit(wanted))
    if sum(machine.hugepages.values()) >= GIB and not wanted.hugepages and not figures.small:
        layout.warnings.append(
            f"{sum(machine.hugepages.values()) / GIB:.0f} GiB lie in hugepages, which this stack does not use: no "
            "worker gets them (vm.nr_hugepages=0 makes them memory again)"
        )
    if free.total() == 0:
        layout.errors.append(
            Problem(
                path="reserved_cores",
                value=wanted.reserved_cores,
                problem=f"all {len(machine.cores)} usable cores of the host are reserved for the system",
                remedy=f"sealing_reserved_cores: {max(0, len(machine.cores) - len(wanted.tasks))}",
            )
        )
        return layout
    if free.total() == 1 and len(wanted.tasks) > 1:
        _one_worker(machine, wanted, figures, free, layout)
        _rates(machine, wanted, figures, layout)
        return layout
    with_pc1 = "PC1" in wanted.tasks and mode.pc1_most != 0
    engines = _engines(machine, wanted, mode, figures, free, layout, unit if with_pc1 else 0) if mode.engines else []
    if with_pc1:
        _bundles(machine, wanted, figures, free, layout, engines, mode.pc1_most)
    _spread_rest(free, engines)
    layout.slots.extend(engines)
    layout.idle = sorted((c for cores in free.free.values() for c in cores), key=lambda c: c.cpus)
    _memory(machine, figures, layout)
    _rates(machine, wanted, figures, layout)
    return layout


# ---------------------------------------------------------------------------------------------------------------------
# Cores for the system


def _reserve(machine: Machine, wanted: Wanted, free: _Cores, layout: Layout, unit: int) -> None:
    nodes = free.nodes()
    first = machine.nic_node if machine.nic_node in nodes else (nodes[0] if nodes else None)
    for node in [first, *(n for n in nodes if n != first)]:
        missing = wanted.reserved_cores - len(layout.reserved)
        if missing <= 0:
            break
        if layout.reserved:
            layout.warnings.append(f"node {first} of the NIC has too few cores: {missing} more reserved on node {node}")
        layout.reserved.extend(free.take_spare(node, missing, max(unit, 1)))


# ---------------------------------------------------------------------------------------------------------------------
# PC2 and C2: one worker per GPU, or per NUMA node where there is no GPU


def _engine_cores(machine: Machine) -> int:
    """Cores of a GPU worker: Lotus counts 6 threads for PC2 and C2 on a GPU."""
    return int(-(-model()["gpu_worker"]["lotus_threads"] // machine.threads_per_core))


def _vram_fits(gpu: Gpu, task: str, figures: Figures) -> bool:
    return figures.small or gpu.memory_bytes is None or gpu.memory_bytes >= int(model()["vram_min_bytes"][task])


def usable_gpus(machine: Machine, tasks: Collection[str], figures: Figures) -> list[Gpu]:
    """GPUs with memory for one of the host's proving tasks; those that can do C2 first, then the faster."""
    proving = [task for task in PROVING if task in tasks]
    able = [gpu for gpu in machine.gpus if any(_vram_fits(gpu, task, figures) for task in proving)]

    def order(gpu: Gpu) -> tuple[bool, float, int]:
        seconds = sum(figures.gpu_seconds(task, gpu.name) for task in proving)
        return not _vram_fits(gpu, "C2", figures), seconds, machine.gpus.index(gpu)

    return sorted(able, key=order)


def _engines(
    machine: Machine, wanted: Wanted, mode: Mode, figures: Figures, free: _Cores, layout: Layout, unit: int
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
    wish = _engine_cores(machine)
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
    used = sum(_engine_bytes(figures, kind) for kind in mode.kinds())
    if machine.memory_bytes is not None and used + least > machine.memory_bytes - _system_bytes(machine.memory_bytes):
        return "the host lacks memory for them"
    return "PC1 makes more of their cores and memory" if "PC1" in wanted.tasks else "the host lacks memory for them"


def _gpu_why(gpu: Gpu, node: int | None) -> str:
    name = f"GPU {gpu.pci}" + (f" ({gpu.name})" if gpu.name else "")
    if not gpu.nodes:
        return f"{name}: its NUMA node is not known, cores of node {node}"
    return f"{name} with cores of its own node {node}"


def _cpu_engines(mode: Mode, free: _Cores, layout: Layout, unit: int) -> list[Slot]:
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


# ---------------------------------------------------------------------------------------------------------------------
# PC1: bundles of cores inside one L3


def _system_bytes(memory_bytes: int) -> int:
    data = model()["system"]
    return min(int(data["memory_bytes"]), memory_bytes // int(data["memory_share"]))


def _pc1_limits(
    machine: Machine, wanted: Wanted, figures: Figures, engines: Sequence[Slot]
) -> tuple[int | None, int | None]:
    """PC1 slots that memory and scratch allow; None where nothing is known or nothing binds."""
    by_memory = None
    if machine.memory_bytes is not None and not figures.small:
        engine = sum(_engine_bytes(figures, slot.tasks) for slot in engines)
        left = machine.memory_bytes - _system_bytes(machine.memory_bytes) - engine
        with_parents = (left - figures.parents_bytes) // figures.pc1_bytes
        by_memory = max(int(with_parents), min(1, max(0, int(left // figures.pc1_bytes))))
        by_memory = max(by_memory, sum(_hugepage_pc1(machine, wanted, figures).values()))
    by_scratch = None
    if wanted.scratch_bytes is not None and not figures.small:
        seconds = _pc1_seconds(machine, figures, 2)
        by_scratch = scratch_slots(figures, wanted.scratch_bytes, seconds, _pc2_per_day(figures, engines))
    return by_memory, by_scratch


def _hugepage_pc1(machine: Machine, wanted: Wanted, figures: Figures) -> dict[int | None, int]:
    """PC1 by node whose layers fit its hugepages; the parent cache and the process stay in ordinary memory."""
    if not wanted.hugepages or figures.small:
        return {}
    layers = LAYERS_IN_MEMORY * figures.sector_bytes
    return {node: machine.hugepages.get(node, 0) // layers for node in machine.nodes}


def _pc1_seconds(machine: Machine, figures: Figures, unit: int) -> float:
    seconds = figures.seconds["PC1"] if unit > 1 else figures.seconds["PC1_single_core"]
    return max(seconds, figures.seconds["PC1_no_sha"]) if machine.sha_extensions is False else seconds


def _pc2_per_day(figures: Figures, slots: Iterable[Slot]) -> float:
    return sum(DAY_SEC / _seconds(figures, slot, "PC2") for slot in slots if "PC2" in slot.tasks)


def _seconds(figures: Figures, slot: Slot, task: str) -> float:
    if slot.gpu is not None:
        need = int(model()["gpu_worker"]["lotus_threads"])
        threads = sum(len(core.cpus) for core in slot.cores)
        return figures.gpu_seconds(task, slot.gpu.name) * (1.0 if figures.small else max(1.0, need / threads))
    return figures.seconds[f"{task}_cpu_core_seconds"] / len(slot.cores)


def _counted(slots: Iterable[Slot]) -> list[str]:
    """Return what these workers are, as "7 PC2/C2"."""
    return [f"{number} {tasks}" for tasks, number in Counter("/".join(slot.tasks) for slot in slots).items()]


def _engine_bytes(figures: Figures, tasks: Sequence[str]) -> int:
    return max(figures.c2_bytes if "C2" in tasks else 0, figures.pc2_bytes if "PC2" in tasks else 0)


def _bundles(
    machine: Machine,
    wanted: Wanted,
    figures: Figures,
    free: _Cores,
    layout: Layout,
    engines: Sequence[Slot],
    most_pc1: int | None,
) -> None:
    by_memory, by_scratch = _pc1_limits(machine, wanted, figures, engines)
    limits = [n for n in (by_memory, by_scratch, most_pc1) if n is not None]
    most = min(limits) if limits else 1 << 30
    if most == 0:
        short = "memory" if by_memory == 0 else "scratch"
        have = machine.memory_bytes if short == "memory" else wanted.scratch_bytes
        need = figures.pc1_bytes if short == "memory" else figures.peak_bytes
        beside = ""
        if engines and short == "memory":
            taken = sum(_engine_bytes(figures, slot.tasks) for slot in engines)
            beside = f" beside {' and '.join(_counted(engines))} ({taken / GIB:.0f} GiB)"
        layout.errors.append(
            Problem(
                path="hardware.memory" if short == "memory" else "scratch_bytes",
                value=have,
                problem=f"{short} for not one PC1 of a {figures.sector_size} sector "
                f"({need / GIB:.0f} GiB each){beside}",
                remedy=f"take the host out of {'one of its task groups' if beside else 'pc1_worker'}, "
                f"or give it more {short}",
            )
        )
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
        merged: dict[Domain, list[Core]] = defaultdict(list)
        for cores in list(free.free.values()):
            for core in cores:
                merged[(core.node, "node")].append(core)
        free.free = defaultdict(list, {d: sorted(c, key=lambda k: k.cpus) for d, c in merged.items()})
        sizes = {d: len(cores) for d, cores in free.free.items() if cores}
    in_pages = _hugepage_pc1(machine, wanted, figures)
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
            where = f"node {domain[0]}" if spanning or domain[1] is None else f"L3 {domain[1]} of node {domain[0]}"
            if not got[0].l3_known:
                where = f"node {domain[0]}, no L3 information"
            why = f"{size} core{'s' if size > 1 else ''} of {where}"
            if spanning:
                why += ": no L3 has that many"
            layout.slots.append(Slot(("AP", "PC1"), got, size - 1, node=domain[0], why=why, hugepages=bool(in_pages)))
            number += 1
    possible = sum(n // unit for n in sizes.values())
    if most_pc1 is not None and number == most_pc1:
        layout.bound_by["PC1"] = f"scratch {(wanted.scratch_bytes or 0) / 1e12:.1f} TB, shared with PC2"
        return
    layout.bound_by["PC1"] = _pc1_bound(number, possible, unit, by_memory, by_scratch, machine, wanted, figures)


def _unit(wanted: Wanted, sizes: dict[Domain, int], most: int, free: _Cores) -> tuple[int, bool]:
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
        engine[slot.node] += _engine_bytes(figures, slot.tasks)
    shared = (_system_bytes(machine.memory_bytes) + figures.parents_bytes) / machine.memory_bytes
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
    if by_scratch is not None and number == by_scratch and number <= possible:
        scratch = wanted.scratch_bytes or 0
        return f"scratch {scratch / 1e12:.1f} TB / {scratch / 1e12 / number:.2f} TB held per PC1"
    return f"cores: {possible} bundles of {unit}"


# ---------------------------------------------------------------------------------------------------------------------
# The rest


def _one_worker(machine: Machine, wanted: Wanted, figures: Figures, free: _Cores, layout: Layout) -> None:
    tasks = tuple(t for t in ("AP", "PC1", "PC2", "C2") if t in wanted.tasks or (t == "AP" and "PC1" in wanted.tasks))
    node = free.nodes()[0]
    gpu = next((g for g in machine.gpus), None) if set(PROVING) & wanted.tasks else None
    layout.warnings.append("one usable core for all tasks: a single worker does them one after another")
    layout.slots.append(Slot(tasks, free.take_spare(node, 1, 1), 0, gpu, node, why="the only core left by the system"))
    _memory(machine, figures, layout)


def _spread_rest(free: _Cores, engines: Sequence[Slot]) -> None:
    """Cores that no bundle can use go to the GPU workers of their node, as far as those can use them."""
    most = int(model()["gpu_worker"]["most_cores"])
    for node in free.nodes():
        here = [slot for slot in engines if slot.node == node]
        while here and free.count(node):
            slot = min(here, key=lambda s: len(s.cores))
            if slot.gpu is not None and len(slot.cores) >= most:
                break
            slot.cores.extend(free.take_spare(node, 1, 1))
    for slot in engines:
        slot.cores.sort(key=lambda core: core.cpus)


def _memory(machine: Machine, figures: Figures, layout: Layout) -> None:
    """Give each worker its memory: what its tasks need, and what is recommended where there is enough."""
    floor = GIB  # a worker process and its RPC buffers; inferred
    for slot in layout.slots:
        need = max(figures.pc1_bytes if "PC1" in slot.tasks else 0, _engine_bytes(figures, slot.tasks))
        slot.memory_bytes = max(floor, need)
    if machine.memory_bytes is None or figures.small:
        return
    left = machine.memory_bytes - _system_bytes(machine.memory_bytes) - sum(s.memory_bytes for s in layout.slots)
    left += sum(LAYERS_IN_MEMORY * figures.sector_bytes for slot in layout.slots if slot.hugepages)
    engines = [s for s in layout.slots if "PC1" not in s.tasks]
    if any("PC1" in s.tasks for s in layout.slots):
        left -= figures.parents_bytes
    for slot in engines:
        wish = max(
            figures.c2_recommended_bytes if "C2" in slot.tasks else 0,
            figures.pc2_recommended_bytes if "PC2" in slot.tasks else 0,
        )
        more = max(0, min(wish - slot.memory_bytes, left // max(1, len(engines))))
        slot.memory_bytes += more
        own = machine.node_memory.get(slot.node) if slot.node is not None else None
        if own is not None and len(machine.node_memory) > 1 and slot.memory_bytes > own:
            slot.why += f"; its memory is more than the {own / GIB:.0f} GiB of node {slot.node} and spans nodes"
    if left + figures.parents_bytes < 0 and engines and not layout.errors:
        tasks = "/".join(engines[0].tasks)
        plural = len(engines) > 1
        each = f"{_engine_bytes(figures, engines[0].tasks) / GIB:.0f} GiB {'do' if plural else 'does'}"
        layout.errors.append(
            Problem(
                path="hardware.memory",
                value=machine.memory_bytes,
                problem=f"{len(engines)} {tasks} worker{'s' if plural else ''} of {each} "
                f"not fit {machine.memory_bytes / GIB:.0f} GiB",
                remedy="take the host out of one of its task groups, or give it more memory",
            )
        )


def _rates(machine: Machine, wanted: Wanted, figures: Figures, layout: Layout) -> None:
    """Fill in what the layout can do: sectors per day by stage, PC2 as far as the scratch holds what arrives."""
    pc1 = pc2 = c2 = both_pc2 = both_c2 = 0.0
    for slot in layout.slots:
        if "PC1" in slot.tasks:
            pc1 += DAY_SEC / _pc1_seconds(machine, figures, slot.producers + 1)
        per_day = {task: DAY_SEC / _seconds(figures, slot, task) for task in PROVING if task in slot.tasks}
        if len(per_day) == 2:
            both_pc2 += per_day["PC2"]
            both_c2 += per_day["C2"]
        else:
            pc2 += per_day.get("PC2", 0.0)
            c2 += per_day.get("C2", 0.0)
    slots = sum("PC1" in slot.tasks for slot in layout.slots)
    most = scratch_pc2_per_day(figures, wanted.scratch_bytes, slots)
    if most == 0 and pc2 + both_pc2 and not layout.errors:
        layout.errors.append(
            Problem(
                path="scratch_bytes",
                value=wanted.scratch_bytes,
                problem=f"scratch for not one sector beside PC1 ({figures.peak_bytes / 1e12:.2f} TB each)",
                remedy="take the host out of pc2_worker, or give it more scratch",
            )
        )
    if "engines" in layout.bound_by:
        proving = _counted(slot for slot in layout.slots if not {"AP", "PC1"} & set(slot.tasks))
        layout.bound_by["engines"] = f"{' and '.join(proving)}, bound by {layout.bound_by['engines']}"
    if pc2 + both_pc2 > most:
        layout.bound_by["PC2"] = f"scratch {(wanted.scratch_bytes or 0) / 1e12:.1f} TB"
    layout.supply = capped(Supply(pc1, pc2, c2, both_pc2, both_c2), most)
    if "PC1" in wanted.tasks and machine.sha_extensions is False and not figures.small:
        layout.warnings.append(
            f"{machine.cpu_model} has no SHA extensions: PC1 takes "
            f"{figures.seconds['PC1_no_sha'] / 3600:.0f} h instead of {figures.seconds['PC1'] / 3600:.0f} h"
        )
