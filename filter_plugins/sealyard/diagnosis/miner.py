"""What a miner process tells of its workers, jobs, queue and paths; the same for Lotus 1.36 and the 1.12 fork."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sealyard.diagnosis.log_lines import QUOTA
from sealyard.diagnosis.queue import Waiting, queue_of
from sealyard.lotus.figures import SECTOR_BYTES
from sealyard.lotus.tasks import short_name
from sealyard.stacks import Stack

PROOFS_OF_A_SIZE = 5
"""Registered seal proofs repeat the five sector sizes in this order."""

NO_PATH = "no good path"
"""In the error of StorageBestAlloc when no path would be chosen."""

UNSEALED, SEALED, CACHE = 1, 2, 4
"""Bits of SectorFileType."""
NEEDED = {"AP": (UNSEALED, 10), "PC1": (SEALED | CACHE, 151), "PC2": (SEALED | CACHE, 151)}
"""Files a task makes on a sealing path, and their space in tenths of a sector (contract resources.json, space)."""


def need_bytes(task: str, sector_size: str) -> int:
    """Free space a path must have to be chosen for a task."""
    return SECTOR_BYTES[sector_size] * NEEDED[task][1] // 10


@dataclass(frozen=True)
class Worker:
    """One entry of WorkerStats. `running` counts tasks by short name; `limits` are the fork's Max figures by task."""

    id: str
    name: str
    enabled: bool
    tasks: frozenset[str]
    running: Mapping[str, int]
    limits: Mapping[str, int]
    raw: Mapping[str, Any]


@dataclass(frozen=True)
class Path:
    """A path the miner knows. `trouble` is why the miner could not ask for its space."""

    id: str
    can_seal: bool
    groups: frozenset[str]
    allow_to: frozenset[str]
    available_bytes: int
    reserved_bytes: int
    trouble: str = ""


@dataclass(frozen=True)
class Miner:
    """One miner process. `accepted` are the ids of paths that it would choose now, by task; `can_fetch` those that hold
    a waiting sector or may pull it, by sector. `log` is what its journal matched."""

    key: str
    reason: str = ""
    workers: Sequence[Worker] = ()
    waiting: Sequence[Waiting] = ()
    paths: Mapping[str, Path] = field(default_factory=dict)
    accepted: Mapping[str, frozenset[str]] = field(default_factory=dict)
    can_fetch: Mapping[int, frozenset[str]] = field(default_factory=dict)
    jobs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    log: Sequence[str] = ()


def first_calls(stack: Stack, sector_size: str, actor: str) -> list[dict[str, Any]]:
    """What to ask a miner first. All of them only read."""
    size = SECTOR_BYTES[sector_size]
    # Lotus 1.36 asks for the actor as well (paths may be kept for some), 1.12 does not know it.
    owner = [int(actor[2:])] if stack.names_owner_of_paths else []
    calls: list[dict[str, Any]] = [
        {"method": "WorkerStats", "params": []},
        {"method": "WorkerJobs", "params": []},
        {"method": "SealingSchedDiag", "params": [False]},
        {"method": "StorageList", "params": []},
    ]
    # Beside its answer this makes the miner write into its journal why it leaves the other paths out.
    for task in ("AP", "PC1"):
        calls.append({"method": "StorageBestAlloc", "params": [NEEDED[task][0], size, "sealing", *owner]})
    return calls


def next_calls(answer: Mapping[str, Any], sector_size: str) -> list[dict[str, Any]]:
    """What to ask after the answers to `first_calls`: each path, and who may take each sector that waits for PC2."""
    found = Answers(answer)
    calls: list[dict[str, Any]] = []
    for ident in sorted(found.result("StorageList") or {}):
        calls += [{"method": "StorageInfo", "params": [ident]}, {"method": "StorageStat", "params": [ident]}]
    for each in found.waiting():
        if each.task == "PC2":
            sector = {"Miner": each.miner, "Number": each.sector}
            bits = NEEDED["PC2"][0]
            calls.append({"method": "StorageFindSector", "params": [sector, bits, SECTOR_BYTES[sector_size], True]})
    return calls


class Answers:
    """Results of module lotus_rpc with the option `calls`."""

    def __init__(self, result: Mapping[str, Any]) -> None:
        self.reachable = bool(result.get("reachable"))
        self.reason = "" if self.reachable else str(result.get("reason") or result.get("msg") or "no answer")
        self.all: Sequence[Mapping[str, Any]] = result.get("answers") or []

    def result(self, method: str) -> Any:
        """Result of the first call of a method, None when it was refused or not made."""
        return next((each["result"] for each in self.all if each["method"] == method), None)

    def of(self, method: str) -> list[Mapping[str, Any]]:
        """Every call of a method."""
        return [each for each in self.all if each["method"] == method]

    def waiting(self) -> list[Waiting]:
        """The queue."""
        return queue_of(self.result("SealingSchedDiag"))


def _worker(ident: str, entry: Mapping[str, Any]) -> Worker:
    info = entry["Info"]
    if "TaskTypes" in entry:  # the fork: texts as its `sealing workers` prints them
        tasks = frozenset(str(entry["TaskTypes"]).split())
        keys = {"AP": "AddPieceMax", "PC1": "PreCommit1Max", "PC2": "PreCommit2Max", "C2": "Commit2Max"}
        reported = {task: int(info["Resources"].get(key) or 0) for task, key in keys.items()}
        # An official worker reports none, and the miner's externalWorker.json decides.
        running, limits = _counts(entry, "Running"), _counts(entry, "Capacity") or reported
    else:
        tasks = frozenset(short_name(task) for task in entry.get("Tasks") or [])
        running, limits = {}, {}
        for name, count in (entry.get("TaskCounts") or {}).items():
            task = short_name(str(name).partition(":")[0])
            running[task] = running.get(task, 0) + int(count)
    return Worker(ident, str(info["Hostname"]), bool(entry.get("Enabled")), tasks, running, limits, entry)


def _counts(entry: Mapping[str, Any], heading: str) -> dict[str, int]:
    """Counts after a heading such as "Running: PC1(2) AP(1) | Preparing: …"."""
    part = re.search(rf"{heading}:([^|]*)", str(entry.get("Tasks") or ""))
    return {task: int(count) for task, count in re.findall(r"(\w+)\W{1,2}(\d+)", part[1] if part else "")}


def _path(ident: str, infos: Mapping[str, Mapping[str, Any]], stats: Mapping[str, Mapping[str, Any]]) -> Path:
    info = infos[ident]["result"] if ident in infos else None
    stat = stats[ident]["result"] if ident in stats else None
    return Path(
        ident,
        bool((info or {}).get("CanSeal")),
        frozenset((info or {}).get("Groups") or []),
        frozenset((info or {}).get("AllowTo") or []),
        int((stat or {}).get("Available") or 0),
        int((stat or {}).get("Reserved") or 0),
        "" if stat else str((stats.get(ident) or {}).get("error") or "no answer"),
    )


def read(key: str, first: Mapping[str, Any], following: Mapping[str, Any], journal: str) -> Miner:
    """A miner from the answers to `first_calls` and `next_calls` and the lines of its journal."""
    found, more = Answers(first), Answers(following)
    if not found.reachable:
        return Miner(key, reason=found.reason, log=journal.splitlines())
    stats = found.result("WorkerStats") or {}
    if not isinstance(stats, Mapping):
        return Miner(key, reason="its answer to WorkerStats cannot be read")
    infos = {each["params"][0]: each for each in more.of("StorageInfo")}
    spaces = {each["params"][0]: each for each in more.of("StorageStat")}
    accepted = {
        task: frozenset(path["ID"] for path in each["result"] or [])
        for task, each in zip(("AP", "PC1"), found.of("StorageBestAlloc"), strict=False)
        # Where no path fits, Lotus answers so as an error; any other error says nothing of paths.
        if each["result"] or NO_PATH in each["error"]
    }
    can_fetch = {
        int(each["params"][0]["Number"]): frozenset(path["ID"] for path in each["result"] or [])
        for each in more.of("StorageFindSector")
    }
    jobs: dict[str, list[str]] = {}
    for ident, listed in (found.result("WorkerJobs") or {}).items():
        for job in listed:
            # Below -1 the job has come back (storiface WorkerJob); above 0 it is given out and not begun.
            if job["RunWait"] >= -1:
                owner = job.get("Hostname") or ident
                jobs.setdefault(owner, []).append(f"{short_name(job['Task'])} of sector {job['Sector']['Number']}")
    paths = {ident: _path(ident, infos, spaces) for ident in found.result("StorageList") or {}}
    workers = [_worker(ident, entry) for ident, entry in sorted(stats.items())]
    return Miner(key, "", workers, found.waiting(), paths, accepted, can_fetch, jobs, journal.splitlines())


def resource_refusals(worker: Worker, task: str, sector_size: str) -> list[str]:
    """Why Lotus 1.36's scheduler would not add `task` to a worker now, in the words of its log; [] when it would.

    The rules are those of contract resources.json, scheduler_checks. The fork looks only at counts, so do we there;
    a limit of 0 is no refusal but a setting.
    """
    if worker.limits:
        full = 0 < worker.limits.get(task, 1) <= worker.running.get(task, 0)
        return [f"not enough {QUOTA[task]}"] if full else []
    resources = worker.raw["Info"]["Resources"]
    row = _row(resources.get("Resources") or {}, task, sector_size)
    if row is None:
        return []
    if row["MaxConcurrent"] and worker.running.get(task, 0) >= int(row["MaxConcurrent"]):
        return ["at task limit"]
    if worker.raw["Info"].get("IgnoreResources"):
        return []
    reasons = []
    entry, base = worker.raw, int(row["BaseMinMemory"])
    if int(row["MinMemory"]) + base > int(resources["MemPhysical"]) - int(entry["MemUsedMin"]):
        reasons.append("not enough physical memory")
    used = max(int(entry["MemUsedMax"]), int(resources["MemUsed"]) + int(resources["MemSwapUsed"]))
    if int(row["MaxMemory"]) + base > int(resources["MemPhysical"]) + int(resources["MemSwap"]) - used:
        reasons.append("not enough virtual memory")
    gpus = len(resources.get("GPUs") or [])
    if int(entry["CpuUse"]) + _threads(row, int(resources["CPUs"]), gpus) > int(resources["CPUs"]):
        reasons.append("not enough threads")
    if gpus and float(entry["GpuUsed"] or 0) + float(row["GPUUtilization"]) > gpus:
        reasons.append("GPU(s) in use")
    return reasons


def _row(rows: Mapping[str, Any], task: str, sector_size: str) -> Mapping[str, Any] | None:
    of_task = next((value for name, value in rows.items() if short_name(name) == task), None) or {}
    index = list(SECTOR_BYTES).index(sector_size)
    return next((row for proof, row in of_task.items() if int(proof) % PROOFS_OF_A_SIZE == index), None)


def _threads(row: Mapping[str, Any], cpus: int, gpus: int) -> int:
    wanted = int(row["MaxParallelism"])
    if float(row["GPUUtilization"]) and gpus and int(row["MaxParallelismGPU"]):
        wanted = int(row["MaxParallelismGPU"])
    return (cpus * 92 // 100 or cpus) if wanted == -1 else wanted
