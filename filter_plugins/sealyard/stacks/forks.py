"""The same plan for the two other stacks: the distributed-miner fork (lotus_distributed) and force-remote-worker.

The fork runs few processes with many PC1 each, held apart by core groups and counted by myscheduler.json
(liusdpc/lotus-v1.12.0; filguard/lotus-ops cores-optimization-instructions.md). force-remote-worker runs phases by
group_id from a config.toml (source 002; liyunpeng/netsecure).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sealyard.hardware.machine import Core, Machine
from sealyard.lotus.figures import Figures
from sealyard.planner.binding import Layout, Slot

COUNTER_PORT: Final = 1357
FETCH_SLACK_UNITS: Final = 16
"""Sector-size units of one sector in flight (14 cache + sealed + unsealed): left free for what is being fetched."""
KERNELS: Final = {"RTX 3090": 3}
"""NUM_KERNELS by GPU, 2 for all others (filguard/lotus-ops c2-optimization-instructions.md)."""
HANDLES: Final = 10
SWITCHES: Final = {"AP": "addpiece", "PC1": "precommit1", "PC2": "precommit2", "C2": "commit"}
MYSCHEDULER_KEYS: Final = (
    *("WorkerName", "AddPieceMax", "PreCommit1Max", "PreCommit2Max", "Commit2Max", "DiskHoldMax", "APDiskHoldMax"),
    *("ForceP1FromLocalAP", "ForceP2FromLocalP1", "ForceC2FromLocalP2", "IsPlanOffline", "AllowP2C2Parallel"),
    *("IgnoreOutOfSpace", "AutoPledgeDiff"),
)
"""All keys of myscheduler.json (contract lotus_distributed/files.json); one that is missing counts as 0 or false."""
MINER_SWITCHES: Final = {
    "winning": {"window-post": "false", "winning-post": "true", "p2p": "false"},
    "window": {"window-post": "true", "winning-post": "false", "p2p": "false"},
    "seal": {"window-post": "false", "winning-post": "false", "p2p": "true"},
    "deal": {"window-post": "false", "winning-post": "false", "p2p": "true"},
}
PHASES: Final = {"PC1": ["PreCommitPhase1"], "PC2": ["PreCommitPhase2", "CommitPhase1"], "C2": ["CommitPhase2"]}
COPY_LIMIT_MB_PER_SEC: Final = 500
POLL_SEC: Final = 60


# ---------------------------------------------------------------------------------------------------------------------
# lotus_distributed


def merge_processes(layout: Layout, machine: Machine, core_groups: bool) -> None:
    """Make one precommit process per PC2 GPU of a node, or per node, out of the PC1 bundles there; in place.

    `core_groups`: the processes are held apart by the fork's ranges of core groups.
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


def fork_environment(slot: Slot) -> dict[str, str]:
    """Return the variables that only the fork reads."""
    env: dict[str, str] = {}
    if slot.core_groups is not None:
        env["ENV_CPU_CORE_BEGIN_NUM"], env["ENV_CPU_CORE_END_NUM"] = map(str, slot.core_groups)
    if "C2" in slot.tasks:
        name = (slot.gpu.name if slot.gpu else None) or ""
        env["NUM_HANDLES"] = str(HANDLES)
        env["NUM_KERNELS"] = str(next((n for model, n in KERNELS.items() if model in name), 2))
    return env


def fork_flags(tasks: Sequence[str]) -> list[str]:
    """Return the worker's flags; booleans need the equals sign, a blank drops every later flag."""
    wanted = {flag: task in tasks for task, flag in SWITCHES.items()} | {"unseal": "PC1" in tasks}
    return [f"--{flag}={'true' if on else 'false'}" for flag, on in wanted.items()]


def myscheduler(name: str, worker: Mapping[str, Any], figures: Figures, smooth: bool) -> dict[str, Any]:
    """Return myscheduler.json of a worker: all 14 keys, for a missing one counts as 0 or false.

    `smooth`: its miner pledges one sector at a time. AutoPledgeDiff pledges nothing by itself; it gives the AddPiece to
    the worker with the smallest share of its AP and PC1 limits in use, where 0 counts its AddPieces only.
    """
    at_once = worker["concurrency"]
    scratch = worker["scratch"] or {}
    units = (scratch.get("bytes") or 0) // figures.sector_bytes
    local = {"PC1", "PC2"} <= set(worker["tasks"])
    return {
        "WorkerName": name,
        "AddPieceMax": at_once.get("AP", 0),
        "PreCommit1Max": at_once.get("PC1", 0),
        "PreCommit2Max": at_once.get("PC2", 0),
        "Commit2Max": at_once.get("C2", 0),
        "DiskHoldMax": max(0, units - FETCH_SLACK_UNITS),
        "APDiskHoldMax": scratch.get("sectors") or 0 if "AP" in at_once else 0,
        "ForceP1FromLocalAP": "PC1" in at_once,
        "ForceP2FromLocalP1": local,
        "ForceC2FromLocalP2": False,
        "IsPlanOffline": False,
        "AllowP2C2Parallel": False,
        "IgnoreOutOfSpace": False,
        "AutoPledgeDiff": int(smooth and "AP" in at_once),
    }


def miner_flags(role: str, counter_address: str | None, allocates: bool) -> list[str]:
    """Return `lotus-miner run` flags of the fork: who proves, and who hands out or asks for sector numbers."""
    flags = [f"--{name}={value}" for name, value in MINER_SWITCHES[role].items()]
    if allocates or role in ("seal", "deal"):
        kind = "alloce" if allocates else "get"
        flags += [f"--sctype={kind}", f"--sclisten={counter_address or ''}:{COUNTER_PORT}"]
    return flags


# ---------------------------------------------------------------------------------------------------------------------
# force_remote_worker


def force_environment(slot: Slot) -> dict[str, str]:
    """Return the variables that only force-remote-worker reads."""
    return {"FORCE_HUGE_PAGE": "1"} if slot.hugepages else {}


def force_config(
    worker: Mapping[str, Any], group_ids: Sequence[int], scratch_path: str, address: str | None, figures: Figures
) -> dict[str, Any]:
    """Return config.toml of one process, but for scheduler_url, which is the lotus-server's."""
    phases = [phase for task, names in PHASES.items() if task in worker["tasks"] for phase in names]
    entries = [
        {
            "num": max(worker["concurrency"].get(task, 1) for task in ("PC1", "PC2", "C2")),
            "supported_phase": phases,
            "wait_sec": POLL_SEC,
        }
    ]
    if "PC1" in worker["tasks"]:
        # What PC1 leaves on this host is copied and cleaned from here.
        entries.append({"num": 1, "supported_phase": ["CopyTask", "CleanTask"], "wait_sec": POLL_SEC})
    return {
        "local_dir": scratch_path,
        "copy_limit_mb_per_sec": COPY_LIMIT_MB_PER_SEC,
        "group_id": sorted(group_ids),
        "sector_size": figures.sector_bytes,
        "ip": address,
        "worker": entries,
    }


def group_shares(
    group: Sequence[str], pc1_hosts: Sequence[str], addresses: Mapping[str, str | None], path: str
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, list[dict[str, Any]]]]:
    """Return exports and mounts by host: the PC1 hosts of a group share their scratch with the others of it."""
    exports: dict[str, list[dict[str, Any]]] = {}
    mounts: dict[str, list[dict[str, Any]]] = {}
    for server in pc1_hosts:
        clients = sorted(host for host in group if host != server)
        if not clients:
            continue
        location = f"{path}/nfs/{addresses.get(server) or server}"
        exports[server] = [{"path": location, "clients": clients}]
        for client in clients:
            mounts.setdefault(client, []).append({"server": server, "source": location, "path": location})
    return exports, mounts
