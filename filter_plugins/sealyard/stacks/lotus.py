"""What a layout means to upstream Lotus: flags, environment, resource overrides and sealing paths."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, Final

from sealyard.lotus.figures import GIB, Figures, model
from sealyard.planner.binding import Slot

TASK_FLAG: Final = {"AP": "--addpiece", "PC1": "--precommit1", "PC2": "--precommit2", "C2": "--commit"}
NAMESPACE: Final = uuid.UUID("6f1d3c1e-2f3b-5b62-9c55-0d6e7a1b4c11")
NVIDIA: Final = "10de"
AP_BYTES: Final = 256 << 20
"""AddPiece of a 32 GiB sector needs 0.2 GiB (lotus-docs hardware-requirements.md); Lotus's table says 4 GiB."""


def path_id(actor: str, *parts: str) -> str:
    """Return the storage path's ID: the same for the same actor, host and path, for ever."""
    return str(uuid.uuid5(NAMESPACE, "/".join((actor, *parts))))


def lotus_flags(tasks: Sequence[str]) -> list[str]:
    """Return the flags of `lotus-worker run` that switch exactly these tasks on."""
    return ["--no-default", *(TASK_FLAG[task] for task in tasks)]


def environment(slot: Slot, host_has_gpu: bool, small_sectors: bool) -> dict[str, str]:
    """Return the worker's environment: core units, GPU visibility.

    PC2 of a devnet's `small_sectors` stays on the CPU: it takes milliseconds, and a GPU that is missing would end it.
    """
    env: dict[str, str] = {}
    if "PC1" in slot.tasks:
        env["FIL_PROOFS_USE_MULTICORE_SDR"] = "1" if slot.producers else "0"
        if slot.producers:
            env["FIL_PROOFS_MULTICORE_SDR_PRODUCERS"] = str(slot.producers)
    if slot.gpu is None:
        if host_has_gpu:
            env["CUDA_VISIBLE_DEVICES"] = ""
        return env
    if slot.gpu.vendor == NVIDIA or slot.gpu.vendor is None:
        env["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        env["CUDA_VISIBLE_DEVICES"] = str(slot.gpu.index)
    else:
        env["GPU_DEVICE_ORDINAL"] = str(slot.gpu.index)
        env["FIL_PROOFS_GPU_FRAMEWORK"] = "opencl"
    if "PC2" in slot.tasks and not small_sectors:
        env["FIL_PROOFS_USE_GPU_COLUMN_BUILDER"] = "1"
        env["FIL_PROOFS_USE_GPU_TREE_BUILDER"] = "1"
    return env


def resources(slot: Slot, figures: Figures) -> dict[str, str]:
    """Return the resource overrides of the worker process, so that Lotus admits what the plan counts, and no more."""
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
            if task in ("PC2", "C2") and threads < most:
                found[f"{task}_{token}_MAX_PARALLELISM_GPU"] = str(threads)
    table = model()["lotus_memory_bytes"].get(figures.sector_size, {})
    for task in slot.tasks:
        row = table.get(task)
        if task != "AP" and row and row["max"] + row["base"] > slot.memory_bytes:
            found[f"{task}_{token}_MAX_MEMORY"] = str(max(GIB // 4, slot.memory_bytes - row["base"]))
            if row["min"] + row["base"] > slot.memory_bytes:
                found[f"{task}_{token}_MIN_MEMORY"] = found[f"{task}_{token}_MAX_MEMORY"]
    return found


def sealing_path(
    actor: str, host: str, path: str, max_storage_bytes: int, group: str | None, workers: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Return the host's sealing path: AllowTo names where PC1 output may go, Groups whose output PC2 takes."""
    tasks = {task for worker in workers for task in worker["tasks"]}
    return {
        "path": path,
        "id": path_id(actor, host, path),
        "can_seal": True,
        "can_store": False,
        "weight": 10,
        "max_storage_bytes": max_storage_bytes,
        "groups": [group] if "PC2" in tasks and group else None,
        "allow_to": [group] if "PC1" in tasks and group else None,
        "workers": [w["name"] for w in workers if {"PC1", "PC2"} & set(w["tasks"])],
    }


def store_path(actor: str, name: str, path: str, workers: Sequence[str]) -> dict[str, Any]:
    """Return a long-term store; its ID is the store's, the same on every host that mounts it."""
    return {
        "path": path,
        "id": path_id(actor, "store", name),
        "can_seal": False,
        "can_store": True,
        "weight": 10,
        "max_storage_bytes": 0,
        "groups": None,
        "allow_to": None,
        "workers": list(workers),
    }


def settings_path(actor: str, host: str, path: str, worker: str) -> dict[str, Any]:
    """Return a path that holds no sector: the fork reads myscheduler.json from the root of a path and nowhere else."""
    return {
        "path": f"{path}/{worker}",
        "id": path_id(actor, host, path, worker),
        "can_seal": False,
        "can_store": False,
        "weight": 10,
        "max_storage_bytes": 0,
        "groups": None,
        "allow_to": None,
        "workers": [worker],
    }
