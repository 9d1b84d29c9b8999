"""The miner's task scheduler: who may take a task, who gets it, and what comes back."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from .common import CommandError, Json, log
from .index import MemIndex
from .paths import BITS
from .tasks import order, task_type

Selector = Callable[["Worker"], tuple[bool, bool]]
PRIORITY_DEFAULT = 1024
RET_WAIT = -1
NO_WORKER = "00000000-0000-0000-0000-000000000000"


class TaskError(CommandError):
    """A task failed or was given up; `code` 101 is a worker that restarted."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"storage call error {code}: {text}")
        self.code = code


@dataclass
class Job:
    call: str
    sector: Json
    task: str
    state: int
    start: float


@dataclass
class Worker:
    """One registered worker; `call` reaches its API."""

    id: str
    url: str
    call: Callable[[str, list[Json]], Json]
    info: Json
    tasks: set[str]
    paths: set[str]
    enabled: bool = True
    jobs: dict[str, Job] = field(default_factory=dict)
    used: list[str] = field(default_factory=list)

    def row(self, task: str) -> Json:
        rows = self.info["Resources"]["Resources"].get(task_type(task)) or {}
        return next(iter(rows.values()), None)

    def threads(self, task: str) -> int:
        row = self.row(task)
        cpus = int(self.info["Resources"]["CPUs"])
        if row is None:
            return 0
        wanted = int(row["MaxParallelism"])
        if self.gpu(task) and self.info["Resources"]["GPUs"] and row["MaxParallelismGPU"]:
            wanted = int(row["MaxParallelismGPU"])
        return (cpus * 92 // 100 or cpus) if wanted == -1 else wanted

    def gpu(self, task: str) -> float:
        row = self.row(task)
        return float(row["GPUUtilization"]) if row else 0.0

    def sum(self, key: str) -> int:
        return sum(int(r[key]) for r in map(self.row, self.used) if r)

    def fits(self, task: str) -> bool:
        """sched_resources.go: memory, virtual memory, threads, GPUs, and the cap on concurrent tasks before all."""
        row = self.row(task)
        if row is None:
            return True
        resources = self.info["Resources"]
        if row["MaxConcurrent"] and self.used.count(task) >= row["MaxConcurrent"]:
            return False
        if row["MinMemory"] + row["BaseMinMemory"] > resources["MemPhysical"] - self.sum("MinMemory"):
            return False
        virtual = max(self.sum("MaxMemory"), resources["MemUsed"] + resources["MemSwapUsed"])
        if row["MaxMemory"] + row["BaseMinMemory"] > resources["MemPhysical"] + resources["MemSwap"] - virtual:
            return False
        if sum(map(self.threads, self.used)) + self.threads(task) > resources["CPUs"]:
            return False
        gpus = len(resources["GPUs"])
        return not gpus or sum(map(self.gpu, self.used)) + self.gpu(task) <= gpus

    def utilization(self) -> float:
        resources = self.info["Resources"]
        cpu = sum(map(self.threads, self.used)) / max(1, int(resources["CPUs"]))
        memory = self.sum("MinMemory") / max(1, int(resources["MemPhysical"]))
        gpus = len(resources["GPUs"])
        gpu = sum(map(self.gpu, self.used)) / gpus if gpus else 0.0
        return max(cpu, memory, gpu)


@dataclass
class Request:
    id: str
    sector: Json
    task: str
    select: Selector
    prepare: list[str]
    arguments: Json
    done: threading.Event = field(default_factory=threading.Event)
    result: Json = None
    error: CommandError | None = None
    work_key: str = ""


class Scheduler:
    """Tasks wait until an event makes the scheduler look: a new task, a worker, a finished task, or force-sched."""

    def __init__(self, assigner: str, track: Callable[[str, str | None], None], hosts: dict[str, str]) -> None:
        self.assigner = assigner
        self.track = track
        self.hosts = hosts  # call to the host name of its worker; kept by the miner over restarts
        self.waiting: dict[str, Job] = {}
        self.lock = threading.RLock()
        self.workers: dict[str, Worker] = {}
        self.queue: list[Request] = []
        self.calls: dict[str, tuple[threading.Event, list[Json]]] = {}
        self.early: dict[str, tuple[Json, Json]] = {}

    # workers

    def add(self, worker: Worker) -> None:
        with self.lock:
            self.workers[worker.id] = worker
            self.wake("worker")

    def remove(self, ident: str) -> None:
        with self.lock:
            self.workers.pop(ident, None)

    # tasks

    def run(
        self,
        sector: Json,
        task: str,
        select: Selector,
        prepare: list[str] | None = None,
        arguments: Json = None,
        known_call: str | None = None,
    ) -> Json:
        """Place a task and wait for its result (TaskError). `known_call`: an earlier process started it."""
        key = f"{task}-{sector['Number']}"
        if known_call:
            self.waiting[known_call] = Job(known_call, sector, task, RET_WAIT, time.time())
            try:
                return self._await(known_call)
            finally:
                del self.waiting[known_call]
                self.hosts.pop(known_call, None)
                self.track(key, None)
        request = Request(str(uuid.uuid4()), sector, task, select, prepare or [], arguments, work_key=key)
        with self.lock:
            self.queue.append(request)
            self.wake("task")
        request.done.wait()
        if request.error:
            raise request.error
        return request.result

    def wake(self, event: str) -> None:
        """Something happened: `task` queued, `done` or `forced`, a `worker` came or changed, or is `lost`."""
        if event != "lost":
            self.look()

    def look(self) -> None:
        with self.lock:
            for request in sorted(self.queue, key=lambda r: order(r.task)):
                fit: list[tuple[bool, Worker]] = []
                for worker in self.workers.values():
                    if not worker.enabled or request.task not in worker.tasks or not worker.fits(request.task):
                        continue
                    ok, preferred = request.select(worker)
                    if ok:
                        fit.append((preferred, worker))
                if not fit:
                    continue
                if any(preferred for preferred, _ in fit):
                    fit = [f for f in fit if f[0]]
                best = min((w for _, w in fit), key=self._rank)
                best.used.append(request.task)
                job = Job(str(uuid.uuid4()), request.sector, request.task, 1, time.time())
                best.jobs[job.call] = job
                self.queue.remove(request)
                log(
                    "DEBUG",
                    "advmgr",
                    "SCHED ASSIGNED",
                    sector=str(request.sector["Number"]),
                    task=task_type(request.task),
                    worker=best.id,
                )
                threading.Thread(target=self._execute, args=(request, best, job), daemon=True).start()

    def _rank(self, worker: Worker) -> tuple[float, int]:
        load = len(worker.used)
        return (worker.utilization(), load) if self.assigner in ("", "utilization") else (float(load), 0)

    def _execute(self, request: Request, worker: Worker, job: Job) -> None:
        try:
            if request.prepare:
                self._call(worker, str(uuid.uuid4()), "FETCH", request.sector, {"kinds": request.prepare})
            job.state = 0
            self.hosts[job.call] = worker.info["Hostname"]
            self.track(request.work_key, job.call)
            request.result = self._call(worker, job.call, request.task, request.sector, request.arguments)
        except CommandError as error:
            request.error = error
        self.hosts.pop(job.call, None)
        self.track(request.work_key, None)
        with self.lock:
            worker.jobs.pop(job.call, None)
            if request.task in worker.used:
                worker.used.remove(request.task)
        request.done.set()
        self.wake("done")

    def _call(self, worker: Worker, call: str, task: str, sector: Json, arguments: Json) -> Json:
        self._slot(call)
        try:
            worker.call("StandIn.Run", [call, task, sector, arguments])
        except CommandError as error:
            self.calls.pop(call, None)
            raise TaskError(100, f"calling worker {worker.info['Hostname']}: {error}") from None
        return self._await(call)

    def _slot(self, call: str) -> tuple[threading.Event, list[Json]]:
        with self.lock:
            slot = self.calls.setdefault(call, (threading.Event(), []))
            if call in self.early:
                slot[1].append(self.early.pop(call))
                slot[0].set()
            return slot

    def _await(self, call: str) -> Json:
        event, results = self._slot(call)
        event.wait()
        self.calls.pop(call, None)
        result, error = results[0]
        if error:
            raise TaskError(int(error["Code"]), str(error["Message"]))
        return result

    def returned(self, call: str, result: Json, error: Json) -> None:
        with self.lock:
            slot = self.calls.get(call)
            if slot is None:
                self.early[call] = (result, error)
            elif not slot[1]:
                slot[1].append((result, error))
                slot[0].set()

    def abort(self, call: str) -> None:
        if call not in self.calls:
            raise CommandError("call not found")
        self.returned(call, None, {"Code": 0, "Message": "task aborted"})

    def remove_request(self, ident: str) -> None:
        with self.lock:
            for request in self.queue:
                if request.id == ident:
                    self.queue.remove(request)
                    request.error = CommandError("scheduling request removed")
                    request.done.set()
                    return
        raise CommandError("scheduling request not found")

    # views

    def stats(self) -> Json:
        with self.lock:
            out = {}
            for worker in self.workers.values():
                counts: dict[str, int] = {}
                for job in worker.jobs.values():
                    name = f"{task_type(job.task)}:StackedDrg2KiBV1_1"
                    counts[name] = counts.get(name, 0) + 1
                out[worker.id] = {
                    "Info": worker.info,
                    "Tasks": [task_type(t) for t in sorted(worker.tasks, key=order)],
                    "Enabled": worker.enabled,
                    "MemUsedMin": worker.sum("MinMemory"),
                    "MemUsedMax": worker.sum("MaxMemory"),
                    "GpuUsed": sum(map(worker.gpu, worker.used)),
                    "CpuUse": sum(map(worker.threads, worker.used)),
                    "TaskCounts": counts,
                }
            return out

    def jobs(self) -> Json:
        """Jobs by worker id. Those given out before the miner's restart stand under id zero and name their host."""
        from .common import rfc3339

        def entry(job: Job) -> Json:
            return {
                "ID": {"Sector": job.sector, "ID": job.call},
                "Sector": job.sector,
                "Task": task_type(job.task),
                "RunWait": job.state,
                "Start": rfc3339(job.start),
            }

        def in_order(jobs: dict[str, Job]) -> list[Job]:
            return sorted(jobs.values(), key=lambda job: job.start)

        with self.lock:
            out = {w.id: [entry(job) for job in in_order(w.jobs)] for w in self.workers.values() if w.jobs}
            if self.waiting:
                waiting = in_order(self.waiting)
                out[NO_WORKER] = [entry(job) | {"Hostname": self.hosts.get(job.call, "")} for job in waiting]
            return out

    def diag(self, force: bool) -> Json:
        if force:
            log("INFO", "advmgr", "forced scheduling")
            self.wake("forced")
        with self.lock:
            requests = [
                {"Sector": r.sector, "TaskType": task_type(r.task), "Priority": PRIORITY_DEFAULT, "SchedId": r.id}
                for r in self.queue
            ]
            windows = [w.id for w in self.workers.values() if w.enabled and not w.used for _ in range(2)]
            return {
                "CallToWork": {},
                "EarlyRet": None,
                "ReturnedWork": None,
                "SchedInfo": {"Requests": requests, "OpenWindows": windows},
                "Waiting": None,
            }


# selectors: (may take it, is preferred)


def allocate_on(index: MemIndex, kinds: list[str], sector_bytes: int, miner: int) -> Selector:
    """A worker with a path that can take new files: add piece and precommit 1 (no groups here)."""
    bits = sum(BITS[k] for k in kinds)

    def select(worker: Worker) -> tuple[bool, bool]:
        try:
            best = index.storage_best_alloc(bits, sector_bytes, "sealing", miner)
        except CommandError:
            return False, False
        return any(info["ID"] in worker.paths for info in best), False

    return select


def existing_on(index: MemIndex, sector: Json, kinds: list[str], sector_bytes: int, fetch: bool) -> Selector:
    """A worker with a path that holds the sector or, with `fetch`, a path of a group that may pull it (2-4)."""
    bits = sum(BITS[k] for k in kinds)

    def select(worker: Worker) -> tuple[bool, bool]:
        found = index.storage_find(sector, bits, sector_bytes, fetch)
        return any(info["ID"] in worker.paths for info in found), False

    return select


def anyone(_worker: Worker) -> tuple[bool, bool]:
    return True, False


def move_to(index: MemIndex, sector: Json, kinds: list[str], sector_bytes: int, remote: bool) -> Selector:
    """A worker with a CanStore path; where that path already holds the sector it is preferred."""
    bits = sum(BITS[k] for k in kinds)

    def select(worker: Worker) -> tuple[bool, bool]:
        try:
            best = index.storage_best_alloc(bits, sector_bytes, "storage", 0)
        except CommandError:
            return False, False
        held = index.holders(sector, bits)
        mine = [info["ID"] for info in best if info["ID"] in worker.paths]
        preferred = any(ident in held for ident in mine)
        return (bool(mine) and remote) or preferred, preferred

    return select
