"""Lotus's default scheduler without groups, of v1.36.2 and of 2020, with one worker per host.

`sched.go`: two windows per worker, a task stays in the window it was put in. `sched_assigner_utilization.go`: the least
used worker first. `sched_resources.go`: what fits. `manager.go`: PC1 may run anywhere and fetches the unsealed sector,
PC2 fetches PC1's output from wherever that ran; neither prefers the worker that has the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import simpy

from sealyard.lotus.figures import Figures, model
from sealyard.simulate.world import PRIORITY, Machine, Process, Sector, World, proving_seconds

WINDOWS_PER_WORKER: Final = 2
"""Lotus v1.36.2, storage/sealer/sched.go: SchedWindows."""
FETCHES_AT_ONCE: Final = 5
"""Lotus v1.36.2, ParallelFetchLimit of a worker."""
PC1_BYTES_2020: Final = 128 << 30
"""Source 001: `enable precommit1 (32G sectors: 1 core, 128GiB Memory)`."""
GPU_THREADS: Final = 6
"""Lotus v1.36.2, resources.go: MaxParallelismGPU of PC2 and C2."""
CPU_SHARE: Final = 0.92
"""Lotus v1.36.2, resources.go: MaxParallelism -1."""


@dataclass(slots=True)
class _Need:
    """A task's row of the resource table."""

    least: float
    most: float
    base: float
    threads: int
    gpus: int


@dataclass(slots=True)
class _Used:
    """Resources taken on a worker."""

    memory: float = 0.0
    virtual: float = 0.0
    threads: int = 0
    gpus: int = 0

    def fits(self, need: _Need, machine: Machine) -> bool:
        if self.memory + need.least + need.base > machine.memory_bytes:
            return False
        if self.virtual + need.most + need.base > machine.memory_bytes:
            return False
        if self.threads + need.threads > machine.threads:
            return False
        return not (need.gpus and machine.gpus and self.gpus + need.gpus > len(machine.gpus))

    def add(self, need: _Need, sign: int = 1) -> None:
        self.memory += sign * need.least
        self.virtual += sign * need.most
        self.threads += sign * need.threads
        self.gpus += sign * need.gpus

    def share(self, machine: Machine) -> float:
        return max(
            self.threads / machine.threads, self.memory / machine.memory_bytes, self.virtual / machine.memory_bytes
        )


@dataclass(slots=True)
class _Task:
    kind: str
    sector: Sector
    done: simpy.Event


@dataclass(slots=True)
class _Window:
    worker: _Worker
    given: _Used = field(default_factory=_Used)
    todo: list[_Task] = field(default_factory=list)


@dataclass(slots=True)
class _Worker:
    machine: Machine
    needs: Mapping[str, _Need]
    active: _Used = field(default_factory=_Used)
    preparing: _Used = field(default_factory=_Used)
    windows: list[_Window] = field(default_factory=list)
    turn: int = 0
    waiting: list[tuple[_Need, simpy.Event]] = field(default_factory=list)


class DefaultScheduler:
    """One worker per host, all tasks of its roles, no groups, no order but the scheduler's."""

    def __init__(self, world: World, tasks: Mapping[str, frozenset[str]], producers: int, packed: bool) -> None:
        self.world = world
        self.packed = packed
        self.turns = 0
        self.queue: list[_Task] = []
        self.workers = [_Worker(m, _needs(world.fig, m, producers, packed)) for _, m in sorted(world.machines.items())]
        self.built_in_c2 = not any("C2" in t for t in tasks.values())
        self.tasks = tasks
        self.open: list[_Window] = [_Window(w) for w in self.workers for _ in range(WINDOWS_PER_WORKER)]
        self.fetching = {n: simpy.Resource(world.env, capacity=FETCHES_AT_ONCE) for n in world.machines}
        self.woken = world.env.event()
        world.env.process(self.rounds())

    def begin(self, sector: Sector) -> None:
        self.world.env.process(self.life(sector))

    def wake(self) -> None:
        if not self.woken.triggered:
            self.woken.succeed()

    def rounds(self) -> Process:
        while True:
            yield self.woken
            # Everything that happens at this moment is looked at in one round, as Lotus gathers requests.
            yield self.world.env.timeout(0.5)
            self.woken = self.world.env.event()
            self.assign()
            for worker in self.workers:
                self.start(worker)

    def life(self, sector: Sector) -> Process:
        world, fig = self.world, self.world.fig
        for kind in ("AP", "PC1", "PC2"):
            yield self.ask(kind, sector)
        yield world.env.timeout(fig.seconds["wait_seed"])
        if self.built_in_c2:
            yield world.env.timeout(fig.seconds["C2"])
            world.note_moved(sector.pc2, "", float(fig.c1_output_bytes))
        else:
            yield self.ask("C2", sector)
        yield world.env.timeout(fig.seconds["finalize"])
        world.machines[sector.pc2].held -= 1
        world.finish(sector)
        self.wake()

    def ask(self, kind: str, sector: Sector) -> simpy.Event:
        task = _Task(kind, sector, self.world.env.event())
        self.queue.append(task)
        self.queue.sort(key=lambda t: (PRIORITY[t.kind], t.sector.number))
        self.wake()
        return task.done

    def room(self, task: _Task, machine: Machine) -> bool:
        """Whether the worker may take the task and its path has room for what the task writes."""
        if task.kind not in self.tasks[machine.name]:
            return False
        new = task.kind == "PC1" or (task.kind == "PC2" and machine.name != task.sector.pc1)
        return not new or (machine.held + 1) * self.world.fig.peak_bytes <= machine.scratch_bytes

    def assign(self) -> None:
        """Put each task into a window: of the least used worker, or (packed) of the first in line that has room."""
        busy = {id(w): w.active.share(w.machine) for w in self.workers}
        order = sorted(self.open, key=lambda window: (busy[id(window.worker)], window.worker.turn))
        full: set[str] = set()
        left = []
        for task in self.queue:
            if task.kind in full:
                left.append(task)
                continue
            able = (
                window for window in order
                if self.room(task, window.worker.machine)
                and window.given.fits(window.worker.needs[task.kind], window.worker.machine)
            )  # fmt: skip
            best = next(able, None) if self.packed else min(
                able, key=lambda w: (busy[id(w.worker)], w.worker.turn), default=None
            )  # fmt: skip
            if best is None:
                if task.kind != "PC2":  # a PC2 may still fit where its own PC1 ran
                    full.add(task.kind)
                left.append(task)
                continue
            worker = best.worker
            before = best.given.share(worker.machine)
            best.given.add(worker.needs[task.kind])
            busy[id(worker)] += best.given.share(worker.machine) - before
            best.todo.append(task)
            self.turns += 1
            worker.turn = self.turns
            self.reserve(task, worker.machine)
        self.queue = left
        for window in [w for w in self.open if w.todo]:
            self.open.remove(window)
            window.worker.windows.append(window)

    def reserve(self, task: _Task, machine: Machine) -> None:
        if task.kind == "PC1" or (task.kind == "PC2" and machine.name != task.sector.pc1):
            machine.held += 1

    def start(self, worker: _Worker) -> None:
        """Begin what fits, window by window; an emptied window is asked for anew."""
        for window in list(worker.windows):
            while window.todo:
                index = next((i for i, t in enumerate(window.todo)
                              if worker.preparing.fits(worker.needs[t.kind], worker.machine)), None)  # fmt: skip
                if index is None:
                    break
                task = window.todo.pop(index)
                worker.preparing.add(worker.needs[task.kind])
                self.world.env.process(self.run(task, worker))
            if window.todo:
                break
            worker.windows.remove(window)
            self.open.append(_Window(worker))
            self.wake()

    def run(self, task: _Task, worker: _Worker) -> Process:
        world, fig, sector = self.world, self.world.fig, task.sector
        host, need = worker.machine.name, worker.needs[task.kind]
        source, amount = {
            "AP": (host, 0.0),
            "PC1": (sector.ap, float(fig.sector_bytes)),
            "PC2": (sector.pc1, float(fig.moved_bytes)),
            "C2": (sector.pc2, float(fig.c1_output_bytes)),
        }[task.kind]
        if source != host:
            with self.fetching[host].request() as turn:
                yield turn
                yield from world.copy(source, host, amount)
            if task.kind == "PC2":
                world.machines[source].held -= 1
        if worker.waiting or not worker.active.fits(need, worker.machine):
            free = world.env.event()
            worker.waiting.append((need, free))
            yield free
        else:
            worker.active.add(need)
        worker.preparing.add(need, -1)
        self.wake()
        if task.kind == "PC1":
            seconds = fig.seconds["PC1"]
        elif task.kind == "AP":
            seconds = fig.seconds["AP"]
        else:
            gpu = worker.machine.gpus[0] if worker.machine.gpus else None
            seconds = proving_seconds(fig, task.kind, worker.machine.gpus and (gpu,), max(1, need.threads // 2))
        yield from world.work(host, task.kind, seconds)
        worker.active.add(need, -1)
        while worker.waiting and worker.active.fits(worker.waiting[0][0], worker.machine):
            next_need, free = worker.waiting.pop(0)
            worker.active.add(next_need)
            free.succeed()
        for kind, name in (("AP", "ap"), ("PC1", "pc1"), ("PC2", "pc2")):
            if task.kind == kind:
                setattr(sector, name, host)
        task.done.succeed()
        self.wake()


def _needs(fig: Figures, machine: Machine, producers: int, year_2020: bool) -> dict[str, _Need]:
    table = model()["lotus_memory_bytes"].get(fig.sector_size, {})
    many = max(1, int(machine.threads * CPU_SHARE))
    threads = {
        "AP": 1,
        "PC1": producers + 1,
        "PC2": min(GPU_THREADS, many) if machine.gpus else many,
        "C2": min(GPU_THREADS, many) if machine.gpus else many,
    }
    found = {}
    for kind in PRIORITY:
        row = table.get(kind, {"min": fig.sector_bytes, "max": fig.sector_bytes, "base": fig.sector_bytes})
        gpus = 1 if kind in ("PC2", "C2") else 0
        found[kind] = _Need(float(row["min"]), float(row["max"]), float(row["base"]), threads[kind], gpus)
    if year_2020 and fig.sector_size == "32GiB":
        found["PC1"] = _Need(PC1_BYTES_2020, PC1_BYTES_2020, 0.0, threads["PC1"], 0)
    return found
