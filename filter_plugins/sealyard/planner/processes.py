"""Slots of a layout made into the worker processes of any host of that kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sealyard.hardware.cpu_list import format_cpus
from sealyard.lotus.figures import Figures
from sealyard.lotus.tasks import BY_NAME, SIDE_TASKS
from sealyard.plan.layout import Layout, Slot
from sealyard.plan.types import Owner, Scratch, WorkerPlan
from sealyard.planner.document import Host
from sealyard.stacks import Stack

HOLDERS = ("PC1", "PC2", "UNS", "RU")
"""Tasks whose workers write sectors to the scratch."""


@dataclass(frozen=True, slots=True)
class Process:
    """A worker process as hosts that are alike share it; `scratch_sectors` and bytes as in the plan."""

    name: str
    tasks: tuple[str, ...]
    cpus: str
    bundles: tuple[str, ...]
    producers: int
    numa_node: int | None
    gpus: tuple[str, ...]
    memory_bytes: int
    concurrency: Mapping[str, int]
    holds_sectors: bool
    scratch_bytes: int | None
    scratch_sectors: int | None
    port: int
    why: str
    environment: Mapping[str, str]
    flags: tuple[str, ...]
    resources: Mapping[str, str]


def make_processes(
    stack: Stack, layout: Layout, figures: Figures, scratch_bytes: int | None, has_gpu: bool, first_port: int
) -> list[Process]:
    """Return the layout's slots as processes, each with a name and a port of its own."""
    numbers: dict[str, int] = {}
    found: list[Process] = []
    pc1 = sum("PC1" in slot.tasks for slot in layout.slots)
    holders = sum(_holds(slot) for slot in layout.slots)
    each = None if scratch_bytes is None else scratch_bytes // max(1, holders)
    for index, slot in enumerate(layout.slots):
        kind = _kind(slot)
        number = numbers.get(kind, 0)
        numbers[kind] = number + 1
        bundles = slot.bundles or ([slot.cores] if "PC1" in slot.tasks else [])
        alone = "PC1" in slot.tasks and pc1 > 1 and not slot.bundles
        found.append(
            Process(
                name=f"{kind}-{number}",
                tasks=slot.tasks,
                cpus=slot.cpus,
                bundles=tuple(format_cpus(cpu for core in bundle for cpu in core.cpus) for bundle in bundles),
                producers=slot.producers,
                numa_node=slot.node,
                gpus=(slot.gpu.pci,) if slot.gpu else (),
                memory_bytes=slot.memory_bytes,
                concurrency={**dict.fromkeys(slot.tasks, 1), **({"PC1": len(slot.bundles)} if slot.bundles else {})},
                holds_sectors=_holds(slot),
                scratch_bytes=each,
                scratch_sectors=None if each is None else each // figures.peak_bytes,
                port=first_port + index,
                why=f"PC1 {number + 1} of {pc1}: {slot.why}" if alone else slot.why,
                environment=stack.worker_environment(slot, has_gpu, figures),
                flags=tuple(stack.worker_flags(slot.tasks)),
                resources=stack.worker_resources(slot, figures),
            )
        )
    return found


def place_process(process: Process, host: Host, group: str | None, miner: Owner | None) -> WorkerPlan:
    """Return the worker that a process is on one host: its group, its miner, its own GPUs' UUIDs."""
    environment = process.environment
    uuids = tuple(host.gpu_uuids[pci] for pci in process.gpus if pci in host.gpu_uuids)
    if uuids and "CUDA_VISIBLE_DEVICES" in environment:
        environment = {**environment, "CUDA_VISIBLE_DEVICES": ",".join(uuids)}
    scratch = None
    if process.holds_sectors:
        scratch = Scratch(host.scratch_path, process.scratch_bytes, process.scratch_sectors)
    return WorkerPlan(
        name=process.name,
        group=group if "PC1" in process.tasks or "PC2" in process.tasks else None,
        miner=miner[0] if miner else None,
        miner_role=miner[1] if miner else None,
        tasks=process.tasks,
        cpus=process.cpus,
        bundles=process.bundles,
        producers=process.producers,
        numa_node=process.numa_node,
        gpus=process.gpus,
        gpu_uuids=uuids,
        memory_bytes=process.memory_bytes,
        concurrency=process.concurrency,
        scratch=scratch,
        port=process.port,
        why=process.why,
        environment=environment,
        flags=process.flags,
        resources=process.resources,
    )


def _holds(slot: Slot) -> bool:
    return any(task in slot.tasks for task in HOLDERS)


def _kind(slot: Slot) -> str:
    """Return what a worker's name begins with."""
    asked_by = BY_NAME[slot.tasks[0]].group
    if slot.tasks[0] in SIDE_TASKS and asked_by:
        return asked_by.removesuffix("_worker")
    proving = [task for task in ("PC2", "C2") if task in slot.tasks]
    if "PC1" in slot.tasks:
        return "all" if len(proving) == 2 else "-".join(["pc1", *(task.lower() for task in proving)])
    return "-".join(task.lower() for task in proving)
