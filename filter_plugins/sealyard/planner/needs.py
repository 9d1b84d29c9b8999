"""What tasks need of a machine: cores, memory, a GPU, and how long they take on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sealyard.hardware.machine import Gpu, Machine
from sealyard.lotus.figures import DAY_SEC, Figures, model
from sealyard.lotus.tasks import BY_NAME
from sealyard.plan.layout import Slot
from sealyard.planner.splits import scratch_slots

PROVING: Final = ("PC2", "C2")
LAYERS_IN_MEMORY: Final = 2
"""Layers that PC1 holds at a time (rust-fil-proofs, storage-proofs-porep/src/stacked/vanilla/create_label/multi.rs)."""


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


def engine_cores(machine: Machine) -> int:
    """Cores of a GPU worker: Lotus counts 6 threads for PC2 and C2 on a GPU."""
    return int(-(-model()["gpu_worker"]["lotus_threads"] // machine.threads_per_core))


def vram_fits(gpu: Gpu, task: str, figures: Figures) -> bool:
    least = int(model()["vram_min_bytes"][BY_NAME[task].needs_as or task])
    return figures.small or gpu.memory_bytes is None or gpu.memory_bytes >= least


def usable_gpus(machine: Machine, tasks: Collection[str], figures: Figures) -> list[Gpu]:
    """GPUs with memory for one of the host's proving tasks; those that can do C2 first, then the faster."""
    proving = [task for task in PROVING if task in tasks]
    able = [gpu for gpu in machine.gpus if any(vram_fits(gpu, task, figures) for task in proving)]

    def order(gpu: Gpu) -> tuple[bool, float, int]:
        seconds = sum(figures.gpu_seconds(task, gpu.name) for task in proving)
        return not vram_fits(gpu, "C2", figures), seconds, machine.gpus.index(gpu)

    return sorted(able, key=order)


def system_bytes(memory_bytes: int) -> int:
    data = model()["system"]
    return min(int(data["memory_bytes"]), memory_bytes // int(data["memory_share"]))


def memory_with_usable(usable_bytes: int) -> int:
    """Return the memory of a machine that has so much beside the system: `system_bytes` turned round."""
    data = model()["system"]
    most, share = int(data["memory_bytes"]), int(data["memory_share"])
    return usable_bytes + most if usable_bytes >= most * (share - 1) else usable_bytes * share // (share - 1)


def hugepage_pc1(machine: Machine, wanted: Wanted, figures: Figures) -> dict[int | None, int]:
    """PC1 by node whose layers fit its hugepages; the parent cache and the process stay in ordinary memory."""
    if not wanted.hugepages or figures.small:
        return {}
    layers = LAYERS_IN_MEMORY * figures.sector_bytes
    return {node: machine.hugepages.get(node, 0) // layers for node in machine.nodes}


def pc1_seconds(machine: Machine, figures: Figures, unit: int) -> float:
    seconds = figures.seconds["PC1"] if unit > 1 else figures.seconds["PC1_single_core"]
    return max(seconds, figures.seconds["PC1_no_sha"]) if machine.sha_extensions is False else seconds


def pc1_limits(
    machine: Machine, wanted: Wanted, figures: Figures, engines: Sequence[Slot]
) -> tuple[int | None, int | None]:
    """PC1 slots that memory and scratch allow; None where nothing is known or nothing binds."""
    by_memory = None
    if machine.memory_bytes is not None and not figures.small:
        engine = sum(engine_bytes(figures, slot.tasks) for slot in engines)
        left = machine.memory_bytes - system_bytes(machine.memory_bytes) - engine
        with_parents = (left - figures.parents_bytes) // figures.pc1_bytes
        by_memory = max(int(with_parents), min(1, max(0, int(left // figures.pc1_bytes))))
        by_memory = max(by_memory, sum(hugepage_pc1(machine, wanted, figures).values()))
    by_scratch = None
    if wanted.scratch_bytes is not None and not figures.small:
        seconds = pc1_seconds(machine, figures, 2)
        by_scratch = scratch_slots(figures, wanted.scratch_bytes, seconds, pc2_per_day(figures, engines))
    return by_memory, by_scratch


def pc2_per_day(figures: Figures, slots: Iterable[Slot]) -> float:
    return sum(DAY_SEC / slot_seconds(figures, slot, "PC2") for slot in slots if "PC2" in slot.tasks)


def slot_seconds(figures: Figures, slot: Slot, task: str) -> float:
    if slot.gpu is not None:
        need = int(model()["gpu_worker"]["lotus_threads"])
        threads = sum(len(core.cpus) for core in slot.cores)
        return figures.gpu_seconds(task, slot.gpu.name) * (1.0 if figures.small else max(1.0, need / threads))
    return figures.seconds[f"{task}_cpu_core_seconds"] / len(slot.cores)


def counted(slots: Iterable[Slot]) -> list[str]:
    """Return what these workers are, as "7 PC2/C2"."""
    return [f"{number} {tasks}" for tasks, number in Counter("/".join(slot.tasks) for slot in slots).items()]


def engine_bytes(figures: Figures, tasks: Sequence[str]) -> int:
    return max(figures.c2_bytes if "C2" in tasks else 0, figures.pc2_bytes if "PC2" in tasks else 0)
