"""Upstream Lotus: one process per PC1 bundle, resource overrides, and groups on sector paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sealyard.hardware.core_units import judge_pc1
from sealyard.hardware.machine import Machine
from sealyard.lotus.figures import GIB, Figures, model
from sealyard.lotus.tasks import BY_NAME
from sealyard.plan.layout import Layout, Slot
from sealyard.problem import Problem
from sealyard.stacks.base import Stack
from sealyard.stacks.gpu import proofs_environment

AP_BYTES: Final = 256 << 20
"""AddPiece of a 32 GiB sector needs 0.2 GiB (lotus-docs hardware-requirements.md); Lotus's table says 4 GiB."""


class Lotus(Stack):
    """Lotus as released: the miner's scheduler counts what each worker process reports."""

    name = "lotus"
    scheduler_choice = "official"
    side_tasks = frozenset(("UNS", "RU"))
    shares_scratch = True

    def arrange(self, layout: Layout, machine: Machine) -> None:
        """Leave each bundle a process of its own: nothing else keeps multicore SDR in its L3."""

    def worker_environment(self, slot: Slot, host_has_gpu: bool, figures: Figures) -> dict[str, str]:
        """Return the environment of a worker process."""
        return proofs_environment(slot, host_has_gpu, figures.small)

    def worker_flags(self, tasks: Sequence[str]) -> list[str]:
        """Return the flags of `lotus-worker run` that switch exactly these tasks on."""
        return ["--no-default", *(f"--{BY_NAME[task].switch}" for task in tasks)]

    def worker_resources(self, slot: Slot, figures: Figures) -> dict[str, str]:
        """Return the overrides by which Lotus admits what the plan counts, and no more."""
        token = figures.token
        found: dict[str, str] = {}
        threads = sum(len(core.cpus) for core in slot.cores)
        for task in slot.tasks:
            found[f"{task}_{token}_MAX_CONCURRENT"] = "1"
        if "AP" in slot.tasks:
            # AddPiece mostly copies: it may run while PC1 holds every thread of the bundle.
            found[f"AP_{token}_MAX_PARALLELISM"] = "0"
            if not figures.small:
                found[f"AP_{token}_MIN_MEMORY"] = found[f"AP_{token}_MAX_MEMORY"] = str(AP_BYTES)
                found[f"AP_{token}_BASE_MIN_MEMORY"] = "0"
        if slot.gpu is not None and not figures.small:
            most = int(model()["gpu_worker"]["lotus_threads"])
            for task in slot.tasks:
                if BY_NAME[task].bound_by == "gpu" and threads < most:
                    found[f"{task}_{token}_MAX_PARALLELISM_GPU"] = str(threads)
        table = model()["lotus_memory_bytes"].get(figures.sector_size, {})
        for task in slot.tasks:
            row = table.get(BY_NAME[task].needs_as or task)
            if task != "AP" and row and row["max"] + row["base"] > slot.memory_bytes:
                found[f"{task}_{token}_MAX_MEMORY"] = str(max(GIB // 4, slot.memory_bytes - row["base"]))
                if row["min"] + row["base"] > slot.memory_bytes:
                    found[f"{task}_{token}_MIN_MEMORY"] = found[f"{task}_{token}_MAX_MEMORY"]
        return found

    def judge_binding(self, topology: Mapping[str, Any], workers: Sequence[Mapping[str, Any]]) -> list[Problem]:
        """Return a problem for each PC1 worker that would panic, run unpinned, or run on another's cores."""
        return judge_pc1(topology, workers)
