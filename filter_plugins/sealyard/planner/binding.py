"""One host: its cores and GPUs given to the tasks it is asked to do.

Order matters: cores for the system first, then GPU workers on their GPU's node, then PC1 bundles inside one L3, then
what is left over. Nothing is given twice and no core is split between two owners.
"""

from __future__ import annotations

from sealyard.hardware.machine import Machine
from sealyard.lotus.figures import DAY_SEC, GIB, Figures
from sealyard.plan.layout import Layout, Slot
from sealyard.plan.supply import Supply
from sealyard.planner.bundles import make_bundles
from sealyard.planner.cores import Cores, reserve, reserve_unit, spread_rest
from sealyard.planner.engines import make_engines
from sealyard.planner.needs import (
    LAYERS_IN_MEMORY,
    PROVING,
    Wanted,
    counted,
    engine_bytes,
    engine_cores,
    hugepage_pc1,
    pc1_seconds,
    slot_seconds,
    system_bytes,
    usable_gpus,
    vram_fits,
)
from sealyard.planner.splits import Mode, Shape, capped, scratch_pc2_per_day
from sealyard.problem import Problem


def shape_of(machine: Machine, wanted: Wanted, figures: Figures) -> Shape:
    """Return what the host brings once the system's cores are taken, for choosing how to split it."""
    free = Cores(machine.cores)
    reserve(machine, wanted, free, Layout(), reserve_unit(wanted))
    sizes = [len(cores) for cores in free.free.values() if cores]
    unit = wanted.producers + 1 if wanted.producers is not None else (2 if any(n > 1 for n in sizes) else 1)
    memory = None
    if machine.memory_bytes is not None and not figures.small:
        memory = machine.memory_bytes - system_bytes(machine.memory_bytes)
    gpus = usable_gpus(machine, wanted.tasks, figures)
    return Shape(
        tasks=wanted.tasks,
        cores=free.total(),
        bundles=sum(n // unit for n in sizes),
        odd_cores=sum(n % unit for n in sizes),
        unit=unit,
        pc1_seconds=pc1_seconds(machine, figures, unit),
        memory_bytes=memory,
        scratch_bytes=wanted.scratch_bytes,
        gpu_names=tuple(gpu.name for gpu in gpus),
        c2_gpus=sum(vram_fits(gpu, "C2", figures) for gpu in gpus),
        engine_cores=engine_cores(machine),
        nodes=len(free.nodes()),
        hugepage_pc1=sum(hugepage_pc1(machine, wanted, figures).values()),
    )


def bind(machine: Machine, wanted: Wanted, mode: Mode, figures: Figures) -> Layout:
    """Return the host's layout for one way of splitting it; its errors' paths begin at the host."""
    layout = Layout()
    free = Cores(machine.cores)
    unit = (wanted.producers + 1) if wanted.producers is not None else 2
    reserve(machine, wanted, free, layout, reserve_unit(wanted))
    if sum(machine.hugepages.values()) >= GIB and not wanted.hugepages and not figures.small:
        layout.warnings.append(
            f"{sum(machine.hugepages.values()) / GIB:.0f} GiB lie in hugepages, which this stack does not use: no "
            "worker gets them (vm.nr_hugepages=0 makes them memory again)"
        )
    if not wanted.tasks:
        layout.idle = sorted((c for cores in free.free.values() for c in cores), key=lambda c: c.cpus)
        return layout
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
    for_pc1 = unit if with_pc1 else 0
    engines = make_engines(machine, wanted, mode, figures, free, layout, for_pc1) if mode.engines else []
    if with_pc1:
        make_bundles(machine, wanted, figures, free, layout, engines, mode.pc1_most)
    spread_rest(free, engines)
    layout.slots.extend(engines)
    layout.idle = sorted((c for cores in free.free.values() for c in cores), key=lambda c: c.cpus)
    _memory(machine, figures, layout)
    _rates(machine, wanted, figures, layout)
    return layout


def _one_worker(machine: Machine, wanted: Wanted, figures: Figures, free: Cores, layout: Layout) -> None:
    tasks = tuple(t for t in ("AP", "PC1", "PC2", "C2") if t in wanted.tasks or (t == "AP" and "PC1" in wanted.tasks))
    node = free.nodes()[0]
    gpu = next((g for g in machine.gpus), None) if set(PROVING) & wanted.tasks else None
    layout.warnings.append("one usable core for all tasks: a single worker does them one after another")
    layout.slots.append(Slot(tasks, free.take_spare(node, 1, 1), 0, gpu, node, why="the only core left by the system"))
    _memory(machine, figures, layout)


def _memory(machine: Machine, figures: Figures, layout: Layout) -> None:
    """Give each worker its memory: what its tasks need, and what is recommended where there is enough."""
    floor = GIB  # a worker process and its RPC buffers; inferred
    for slot in layout.slots:
        need = max(figures.pc1_bytes if "PC1" in slot.tasks else 0, engine_bytes(figures, slot.tasks))
        slot.memory_bytes = max(floor, need)
    if machine.memory_bytes is None or figures.small:
        return
    left = machine.memory_bytes - system_bytes(machine.memory_bytes) - sum(s.memory_bytes for s in layout.slots)
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
        each = f"{engine_bytes(figures, engines[0].tasks) / GIB:.0f} GiB {'do' if plural else 'does'}"
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
            pc1 += DAY_SEC / pc1_seconds(machine, figures, slot.producers + 1)
        per_day = {task: DAY_SEC / slot_seconds(figures, slot, task) for task in PROVING if task in slot.tasks}
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
        proving = counted(slot for slot in layout.slots if not {"AP", "PC1"} & set(slot.tasks))
        layout.bound_by["engines"] = f"{' and '.join(proving)}, bound by {layout.bound_by['engines']}"
    if pc2 + both_pc2 > most:
        layout.bound_by["PC2"] = f"scratch {(wanted.scratch_bytes or 0) / 1e12:.1f} TB"
    layout.supply = capped(Supply(pc1, pc2, c2, both_pc2, both_c2), most)
    if "PC1" in wanted.tasks and machine.sha_extensions is False and not figures.small:
        layout.warnings.append(
            f"{machine.cpu_model} has no SHA extensions: PC1 takes "
            f"{figures.seconds['PC1_no_sha'] / 3600:.0f} h instead of {figures.seconds['PC1'] / 3600:.0f} h"
        )
