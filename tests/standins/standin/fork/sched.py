"""myScheduler: it looks only when a task arrives or a worker is lost, and only at counts, paths and switches."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from ..common import CommandError, Json, env_ms, heartbeat_sec, log, sector_name
from ..paths import BITS
from ..sched import Job, Request, Scheduler, Worker
from ..tasks import order, task_type
from .limits import Limits, read_external, refusal
from .logs import debug

PRIORITY = {"FIN": 900, "C2": 800, "C1": 700, "PC2": 600, "PC1": 500, "AP": 400}
TIER = {"FIN": -2, "GET": -1}


@dataclass
class Load:
    """Tasks given to a worker: assigned (preparing, or waiting for a running slot) and running."""

    assigned: list[str] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    ended: threading.Condition = field(default_factory=threading.Condition)
    epoch: int = 0  # goes up when the worker is lost: what waited goes back to the queue

    def count(self, task: str) -> int:
        return self.assigned.count(task) + self.running.count(task)


class Dropped(CommandError):
    """The worker went away before a task assigned to it began."""


class ForkScheduler(Scheduler):
    """`index` answers where files are, `official` gives the limits of workers that report none."""

    def __init__(
        self,
        track: Callable[[str, str | None], None],
        hosts: dict[str, str],
        holders: Callable[[Json, int], dict[str, int]],
        sealing_ids: Callable[[], set[str]],
        allow: bool,
        official: Callable[[], Limits],
        delays: bool,
    ) -> None:
        super().__init__("", track, hosts)
        self.holders = holders
        self.sealing_ids = sealing_ids
        self.allow = allow
        self.official = official
        self.delays = delays
        self.loads: dict[str, Load] = {}
        self.wanted = threading.Event()
        self.last_lost = 0.0

    def start(self) -> None:
        threading.Thread(target=self._loop, daemon=True).start()

    def _loop(self) -> None:
        time.sleep(env_ms("STANDIN_INIT_WAIT_MS", 3000))
        while True:
            self.wanted.clear()
            self._round()
            self.wanted.wait()

    def wake(self, event: str) -> None:
        """Neither a finished task nor a worker that connects or recovers starts a round."""
        if event == "worker" and any(not worker.enabled for worker in list(self.workers.values())):
            event = "lost"  # switched off by `lotus-worker set --enabled=false`: its session check fails
        if event == "lost":
            now = time.monotonic()
            self._drop_disabled()
            if now - self.last_lost < heartbeat_sec():
                return
            self.last_lost = now
        if event in ("task", "forced", "lost"):
            self.wanted.set()

    # workers

    def load(self, ident: str) -> Load:
        with self.lock:
            return self.loads.setdefault(ident, Load())

    def remove(self, ident: str) -> None:
        super().remove(ident)
        log("WARN", "advmgr", f"Worker closing {ident}")
        self._close(ident)
        self.wake("lost")

    def _close(self, ident: str) -> None:
        load = self.load(ident)
        with load.ended:
            load.epoch += 1
            load.ended.notify_all()

    def _drop_disabled(self) -> None:
        """What waits on a lost worker goes back to the queue."""
        with self.lock:
            lost = [w.id for w in self.workers.values() if not w.enabled and self.load(w.id).assigned]
        for ident in lost:
            self._close(ident)

    def info(self, worker: Worker) -> Json | None:
        """The worker's own report of this moment; None when it does not answer in time."""
        try:
            return worker.call("Info", [])
        except CommandError:
            return None

    def limits(self, info: Json) -> Limits:
        reported = Limits.of(info["Resources"])
        return self.official() if reported.external() else reported

    # rounds

    def _round(self) -> None:
        delay_sec = int((read_external() or {}).get("AllowDelay", 0)) if self.delays else 0
        if delay_sec:
            debug("advmgr", f"trySchedMine SCHED delay {delay_sec} seconds")
            time.sleep(delay_sec)
        with self.lock:
            queue = sorted(self.queue, key=lambda r: (TIER.get(r.task, 0), -PRIORITY.get(r.task, 0)))
            workers = list(self.workers.values())
        if not self.allow:
            debug("advmgr", f"SCHED {len(queue)} queued; 0 open windows")
            return
        debug("advmgr", f"trySchedMine SCHED {len(queue)} queued; {len(workers)} workers")
        for request in queue:
            self._place(request, workers)

    def _place(self, request: Request, workers: list[Worker]) -> None:
        best: tuple[Worker, Limits] | None = None
        for worker in workers:
            if not worker.enabled:
                debug("advmgr", f"trySchedMine skipping disabled worker {worker.info['Hostname']}")
                continue
            found = self._candidate(request, worker)
            if found and (best is None or self._better(request.task, (worker, found), best)):
                best = worker, found
        name = sector_name(request.sector["Miner"], request.sector["Number"])
        if best is None:
            debug("advmgr", f"trySchedMine didn't find any good workers for sector {name} taskType {request.task}")
            return
        worker = best[0]
        with self.lock:
            if request not in self.queue:
                return  # removed by hand meanwhile
            self.queue.remove(request)
            load = self.load(worker.id)
            load.assigned.append(request.task)
            epoch = load.epoch
        log(
            "INFO",
            "advmgr",
            f"trySchedMine has successfully scheduled for sector {name} taskType {task_type(request.task)} "
            f"to worker {worker.id.replace('-', '')}",
        )
        job = Job(str(uuid.uuid4()), request.sector, request.task, 0, time.time())
        threading.Thread(target=self._run, args=(request, worker, job, load, epoch), daemon=True).start()

    def _candidate(self, request: Request, worker: Worker) -> Limits | None:
        if request.task not in worker.tasks:
            return None
        try:
            if not request.select(worker)[0]:
                return None
        except CommandError as error:
            log("ERROR", "advmgr", f"trySchedMine task.sel.Ok(worker: {worker.info['Hostname']}) error: {error}")
            return None
        return self._accepts(request, worker, self.load(worker.id).assigned, "schedAcceptable")

    def _accepts(self, request: Request, worker: Worker, load: list[str], caller: str) -> Limits | None:
        info = self.info(worker)
        if info is None:
            return None  # refused without a line, as the real one does
        limits = self.limits(info)
        reason = "" if worker.enabled else "Maybe it's offline."
        reason = reason or refusal(request.task, limits, load, lambda kind: self._local(request.sector, kind, worker))
        if not reason:
            return limits
        if limits.tight() and "constraints" in reason:
            text = f"not enough DiskHold quota, {limits.DiskUsed} in use, DiskHoldMax is {limits.DiskHoldMax}"
            debug("advmgr", f"{text},it is forced into disk constraints mode")
        name = sector_name(request.sector["Miner"], request.sector["Number"])
        where = f"{worker.id.replace('-', '')}@{info['Hostname']}"
        task = task_type(request.task)
        debug("advmgr", f"sector {name} sched: not scheduling on worker {where} for {task} from {caller}; {reason}")
        return None

    def _local(self, sector: Json, kind: str, worker: Worker) -> bool:
        held = self.holders(sector, BITS[kind])
        return any(ident in worker.paths for ident in self.sealing_ids() & set(held))

    def _better(self, task: str, one: tuple[Worker, Limits], other: tuple[Worker, Limits]) -> bool:
        """Fewest tasks of the kind; AP by load where both ask for it, C2 rather where fewer task types are on."""
        a, b = self.load(one[0].id), self.load(other[0].id)
        if task == "AP" and one[1].AutoPledgeDiff and other[1].AutoPledgeDiff:
            return _share(a, one[1]) < _share(b, other[1])
        counted = "C2" if task == "C1" else task
        if task == "C2" and len(one[0].tasks) != len(other[0].tasks):
            return len(one[0].tasks) < len(other[0].tasks)
        return a.count(counted) < b.count(counted)

    # running

    def _run(self, request: Request, worker: Worker, job: Job, load: Load, epoch: int) -> None:
        began = False
        try:
            if request.prepare:
                self._call(worker, str(uuid.uuid4()), "FETCH", request.sector, {"kinds": request.prepare})
            self._wait_slot(request, worker, load, epoch)
            began = True
            job.start = time.time()
            with self.lock:
                worker.jobs[job.call] = job
                self.hosts[job.call] = worker.info["Hostname"]
            self.track(request.work_key, job.call)
            request.result = self._call(worker, job.call, request.task, request.sector, request.arguments)
        except Dropped:
            with self.lock:
                load.assigned.remove(request.task)
                self.queue.append(request)
            self.wake("task")
            return
        except CommandError as error:
            request.error = error
        self.hosts.pop(job.call, None)
        self.track(request.work_key, None)
        with self.lock:
            worker.jobs.pop(job.call, None)
        with load.ended:
            (load.running if began else load.assigned).remove(request.task)
            load.ended.notify_all()
        request.done.set()

    def _wait_slot(self, request: Request, worker: Worker, load: Load, epoch: int) -> None:
        """An assigned task is looked at again only when another task of that worker ends."""
        with load.ended:
            while True:
                if load.epoch != epoch:
                    raise Dropped("worker closed")
                if self._accepts(request, worker, load.running, "withResources"):
                    load.assigned.remove(request.task)
                    load.running.append(request.task)
                    return
                debug("advmgr", f"withResourcesMe didn't find any good withResources on worker {worker.id}")
                load.ended.wait()

    # views

    def stats(self) -> Json:
        with self.lock:
            workers = list(self.workers.values())
        out = {}
        for worker in workers:
            info = self.info(worker) or worker.info
            load, resources = self.load(worker.id), info["Resources"]
            limits = self.limits(info)
            kinds = ("AP", "PC1", "PC2", "C2")
            # Text as `sealing workers` prints it.
            parts = [
                "Running: " + _counts(load.running),
                "Preparing: " + _counts(load.assigned),
                "Capacity: " + " ".join(f"{kind}({limits.maximum(kind)})" for kind in kinds),
                f"DiskUsed: {limits.DiskUsed} APDiskUsed: {limits.APDiskUsed}",
            ]
            out[worker.id] = {
                "Info": info,
                "Enabled": worker.enabled,
                "MemUsedMin": 0,
                "MemUsedMax": 0,
                "GpuUsed": bool({"PC2", "C2"} & set(load.running)) and bool(resources["GPUs"]),
                "CpuUse": len(load.running),
                "TaskTypes": " ".join(sorted(worker.tasks, key=order)),
                "Tasks": " | ".join(parts),
            }
        return out


def _share(load: Load, limits: Limits) -> float:
    return (load.count("AP") + load.count("PC1")) / max(1, limits.AddPieceMax + limits.PreCommit1Max)


def _counts(tasks: list[str]) -> str:
    return " ".join(f"{task}({tasks.count(task)})" for task in sorted(set(tasks), key=order))
