"""The plan run for some days beside the same hosts under Lotus's default scheduler without groups (simpy).

All columns get the same sectors at the same times, the same seconds per task and the same network cards. What differs
is who decides: the plan's bundles and groups, or the miner's scheduler with one worker per host and no groups:

- `default v1.36`: v1.36.2 as its code does it. `sched.go`: two windows per worker, a task stays in the window it was
  put in. `sched_assigner_utilization.go`: the least used worker first. `sched_resources.go`: what fits. `manager.go`:
  PC1 may run anywhere and fetches the unsealed sector, PC2 fetches PC1's output from wherever that ran; neither
  prefers the worker that has the data.
- `default 2020`: the same, but PC1 asks for 128 GiB (source 001, `lotus-worker run -h`) and a burst fills one worker's
  window before it looks at the next. That is what source 001 saw (28 PC1 on 4 workers, 8 of 15 idle); the filling rule
  is inferred from its listing.

A host carries as many PC1 at full speed as the planner would give it if it did nothing else; the default may start
more, which then share that speed. Where no worker has C2, the miner's own worker does it. Nothing is random: equal
workers take turns, and the same input gives the same table.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mode
from typing import Any, Final

import simpy

from sealyard.hardware.declared import HardwareError, normalise
from sealyard.hardware.machine import scratch_bytes
from sealyard.lotus.figures import DAY_SEC, Figures, figures, model
from sealyard.plan.words import bytes_text, rate_text
from sealyard.planner.planner import plan as make_plan

UNKNOWN_NIC_BITS_PER_SEC: Final = 10 * 10**9
LINE_SHARE: Final = 0.8
"""Share of a link's rate that copies reach (facts/sealing-model.yml, network)."""
WINDOWS_PER_WORKER: Final = 2
"""Lotus v1.36.2, storage/sealer/sched.go: SchedWindows."""
FETCHES_AT_ONCE: Final = 5
"""Lotus v1.36.2, ParallelFetchLimit of a worker."""
PRIORITY: Final = {"C2": 3, "PC2": 4, "PC1": 5, "AP": 9}
"""Lotus v1.36.2, storage/sealer/sealtasks/task.go: the lower runs first."""
PC1_BYTES_2020: Final = 128 << 30
"""Source 001: `enable precommit1 (32G sectors: 1 core, 128GiB Memory)`."""
GPU_THREADS: Final = 6
"""Lotus v1.36.2, resources.go: MaxParallelismGPU of PC2 and C2."""
CPU_SHARE: Final = 0.92
"""Lotus v1.36.2, resources.go: MaxParallelism -1."""

COLUMNS: Final = ("plan", "default v1.36", "default 2020")
NOTES: Final = {
    "default v1.36": "Lotus v1.36.2 without groups, by its code: each task goes to the least used worker, so no host "
    "stays idle, but PC2 fetches PC1's output (481 GB and what PC1 fetched) from wherever that ran.",
    "default 2020": "the default scheduler that source 001 ran: one worker is filled before the next (inferred from "
    "its listing: 28 PC1 on 4 workers, 8 of 15 hosts idle), and PC1 asks for 128 GiB; as many bytes.",
}
"""What a column stands for: both are Lotus's default scheduler, of two times."""

Process = Generator[simpy.Event, Any, None]


@dataclass(frozen=True, slots=True)
class Load:
    """What the operator pledges: `sectors` every `every_sec` seconds, never more than `in_flight` at once."""

    sectors: int
    in_flight: int
    every_sec: float = 3600.0
    days: float = 4.0
    warm_up_days: float = 1.0


@dataclass(frozen=True, slots=True)
class Result:
    """One column of the table."""

    name: str
    sectors_per_day: float
    pc1_slots: int
    pc1_idle: float
    hosts: int
    hosts_idle: int
    """How many hosts ran nothing at the moment, the most frequent number."""
    bytes_per_sector: float
    bytes_per_day: float
    bytes_between_groups_per_day: float
    first_sector_sec: float | None


@dataclass(slots=True)
class _Machine:
    """A host as both sides see it."""

    name: str
    tasks: frozenset[str]
    threads: int
    memory_bytes: int
    gpus: tuple[str | None, ...]
    scratch_bytes: float
    sends: simpy.Resource
    receives: simpy.Resource
    bits_per_sec: float
    pc1_full_speed: int = 0
    running: int = 0
    running_pc1: int = 0
    held: int = 0


@dataclass(slots=True)
class _Sector:
    number: int
    begun: float
    ap: str = ""
    pc1: str = ""
    pc2: str = ""


@dataclass(slots=True)
class _World:
    """The clock, the hosts and the counters of one run."""

    env: simpy.Environment
    fig: Figures
    load: Load
    machines: dict[str, _Machine]
    in_flight: int = 0
    born: int = 0
    done: list[float] = field(default_factory=list)
    moved: list[tuple[float, float, bool]] = field(default_factory=list)
    group_of: dict[str, str] = field(default_factory=dict)
    samples: list[tuple[int, int]] = field(default_factory=list)

    def copy(self, source: str, target: str, amount: float) -> Process:
        """Bytes from one host to another. A card carries its streams one after another: together they take as long."""
        if source == target:
            return
        a, b = self.machines[source], self.machines[target]
        with a.sends.request() as out:
            yield out
            with b.receives.request() as into:
                yield into
                yield self.env.timeout(amount * 8 / (min(a.bits_per_sec, b.bits_per_sec) * LINE_SHARE))
        self.note_moved(source, target, amount)

    def note_moved(self, source: str, target: str, amount: float) -> None:
        """Count bytes that crossed the network; between groups only what belongs inside one, not C1's output."""
        inside = self.group_of.get(source) == self.group_of.get(target) or amount == self.fig.c1_output_bytes
        self.moved.append((self.env.now, amount, not inside))

    def work(self, host: str, task: str, seconds: float) -> Process:
        machine = self.machines[host]
        machine.running += 1
        if task == "PC1":
            machine.running_pc1 += 1
            seconds *= max(1.0, machine.running_pc1 / max(1, machine.pc1_full_speed))
        yield self.env.timeout(seconds)
        machine.running -= 1
        machine.running_pc1 -= task == "PC1"

    def finish(self, sector: _Sector) -> None:
        self.done.append(self.env.now)
        self.in_flight -= 1

    def pledge(self, begin: Callable[[_Sector], None]) -> Process:
        while True:
            for _ in range(min(self.load.sectors, self.load.in_flight - self.in_flight)):
                self.in_flight += 1
                self.born += 1
                begin(_Sector(self.born, self.env.now))
            yield self.env.timeout(self.load.every_sec)

    def sample(self) -> Process:
        yield self.env.timeout(self.load.warm_up_days * DAY_SEC)
        while True:
            idle = sum(not m.running for m in self.machines.values())
            running = sum(m.running_pc1 for m in self.machines.values())
            self.samples.append((idle, running))
            yield self.env.timeout(300)

    def result(self, name: str, slots: int) -> Result:
        begin = self.load.warm_up_days * DAY_SEC
        days = self.load.days - self.load.warm_up_days
        sealed = sum(t >= begin for t in self.done)
        moved = sum(amount for t, amount, _ in self.moved if t >= begin)
        crossed = sum(amount for t, amount, between in self.moved if t >= begin and between)
        pc1 = sum(r for _, r in self.samples) / max(1, len(self.samples))
        return Result(
            name=name,
            sectors_per_day=sealed / days,
            pc1_slots=slots,
            pc1_idle=max(0.0, slots - pc1),
            hosts=len(self.machines),
            hosts_idle=mode(i for i, _ in self.samples) if self.samples else 0,
            bytes_per_sector=moved / sealed if sealed else 0.0,
            bytes_per_day=moved / days,
            bytes_between_groups_per_day=crossed / days,
            first_sector_sec=self.done[0] if self.done else None,
        )


# ---------------------------------------------------------------------------------------------------------------------
# The plan


class _Planned:
    """Sectors stay in their group; every PC1 worker is one slot; GPUs take C2 before PC2."""

    def __init__(self, world: _World, plan: Mapping[str, Any]) -> None:
        self.world = world
        env = world.env
        self.slots: dict[str, int] = {}
        self.engines: dict[str, list[tuple[simpy.PriorityResource, Mapping[str, float], frozenset[str]]]] = defaultdict(
            list
        )
        self.group_of: dict[str, str] = {}
        self.held: dict[str, simpy.Container] = {}
        self.miner_of: dict[str, str] = {g: str(v["miner"]) for g, v in plan["groups"].items()}
        self.c2_hosts: dict[str, list[str]] = defaultdict(list)
        self.pc2_hosts: dict[str, list[str]] = defaultdict(list)
        for name, machine in world.machines.items():
            workers = plan["hosts"][name]["workers"]
            self.slots[name] = sum(w["concurrency"].get("PC1", 0) for w in workers)
            room = sum((w.get("scratch") or {}).get("sectors") or 0 for w in workers)
            unlimited = any(w.get("scratch") and w["scratch"].get("sectors") is None for w in workers)
            self.held[name] = simpy.Container(env, init=10**6 if unlimited or not room else room)
            for w in workers:
                if w["group"]:
                    self.group_of[name] = w["group"]
                tasks = frozenset(t for t in w["tasks"] if t in ("PC2", "C2"))
                if tasks:
                    gpu = _gpu_names(machine, w)
                    seconds = {t: _seconds(world.fig, t, gpu, _cpu_count(w["cpus"])) for t in tasks}
                    self.engines[name].append((simpy.PriorityResource(env), seconds, tasks))
                if "PC2" in tasks and w["group"] and name not in self.pc2_hosts[w["group"]]:
                    self.pc2_hosts[w["group"]].append(name)
                if "C2" in tasks and w["miner"] and name not in self.c2_hosts[w["miner"]]:
                    self.c2_hosts[w["miner"]].append(name)
        self.given_pc1: dict[str, int] = defaultdict(int)
        self.given: dict[tuple[str, str], int] = defaultdict(int)
        self.pc1_seconds = {n: _pc1_seconds(world.fig, plan["hosts"][n]["workers"]) for n in world.machines}
        self.pc1 = {n: simpy.Resource(env, capacity=s) for n, s in self.slots.items() if s}

    def begin(self, sector: _Sector) -> None:
        able = [n for n in self.pc1 if self.group_of.get(n) and self.pc2_hosts[self.group_of[n]]]
        if able:
            host = min(able, key=lambda n: (self.given_pc1[n] / self.slots[n], n))
            self.given_pc1[host] += 1
            self.world.env.process(self.life(sector, host))

    def life(self, sector: _Sector, host: str) -> Process:
        world, fig = self.world, self.world.fig
        group = self.group_of[host]
        with self.pc1[host].request() as slot:
            yield slot
            yield self.held[host].get(1)
            yield from world.work(host, "AP", fig.seconds["AP"])
            yield from world.work(host, "PC1", self.pc1_seconds[host])
        sector.pc1 = host
        self.given_pc1[host] -= 1
        pc2 = self.least(self.pc2_hosts[group], "PC2", prefer=host)
        if pc2 != host:
            yield self.held[pc2].get(1)
            yield from world.copy(host, pc2, fig.moved_bytes)
            yield self.held[host].put(1)
        yield from self.prove(pc2, "PC2")
        yield world.env.timeout(fig.seconds["wait_seed"])
        c2_hosts = self.c2_hosts[self.miner_of[group]]
        if not c2_hosts:
            return
        c2 = self.least(c2_hosts, "C2", prefer=pc2)
        yield from world.copy(pc2, c2, fig.c1_output_bytes)
        yield from self.prove(c2, "C2")
        yield world.env.timeout(fig.seconds["finalize"])
        yield self.held[pc2].put(1)
        world.finish(sector)

    def least(self, hosts: Sequence[str], task: str, prefer: str) -> str:
        """The host with the fewest tasks per engine, the sector's own where that is no worse."""

        def load(name: str) -> float:
            engines = sum(task in e[2] for e in self.engines[name])
            return (self.given[name, "PC2"] + self.given[name, "C2"]) / engines

        host = min(hosts, key=lambda n: (load(n), n != prefer, n))
        self.given[host, task] += 1
        return host

    def prove(self, host: str, task: str) -> Process:
        able = [e for e in self.engines[host] if task in e[2]]
        resource, seconds, _ = min(able, key=lambda e: e[0].count + len(e[0].queue))
        with resource.request(priority=PRIORITY[task]) as turn:
            yield turn
            yield from self.world.work(host, task, seconds[task])
        self.given[host, task] -= 1


# ---------------------------------------------------------------------------------------------------------------------
# Lotus's default


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

    def fits(self, need: _Need, machine: _Machine) -> bool:
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

    def share(self, machine: _Machine) -> float:
        return max(
            self.threads / machine.threads, self.memory / machine.memory_bytes, self.virtual / machine.memory_bytes
        )


@dataclass(slots=True)
class _Task:
    kind: str
    sector: _Sector
    done: simpy.Event


@dataclass(slots=True)
class _Window:
    worker: _Worker
    given: _Used = field(default_factory=_Used)
    todo: list[_Task] = field(default_factory=list)


@dataclass(slots=True)
class _Worker:
    machine: _Machine
    needs: Mapping[str, _Need]
    active: _Used = field(default_factory=_Used)
    preparing: _Used = field(default_factory=_Used)
    windows: list[_Window] = field(default_factory=list)
    turn: int = 0
    waiting: list[tuple[_Need, simpy.Event]] = field(default_factory=list)


class _Default:
    """One worker per host, all tasks of its roles, no groups, no order but the scheduler's."""

    def __init__(self, world: _World, tasks: Mapping[str, frozenset[str]], producers: int, packed: bool) -> None:
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

    def begin(self, sector: _Sector) -> None:
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

    def life(self, sector: _Sector) -> Process:
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

    def ask(self, kind: str, sector: _Sector) -> simpy.Event:
        task = _Task(kind, sector, self.world.env.event())
        self.queue.append(task)
        self.queue.sort(key=lambda t: (PRIORITY[t.kind], t.sector.number))
        self.wake()
        return task.done

    def room(self, task: _Task, machine: _Machine) -> bool:
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

    def reserve(self, task: _Task, machine: _Machine) -> None:
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
            seconds = _seconds(fig, task.kind, worker.machine.gpus and (gpu,), max(1, need.threads // 2))
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


def _needs(fig: Figures, machine: _Machine, producers: int, year_2020: bool) -> dict[str, _Need]:
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


# ---------------------------------------------------------------------------------------------------------------------
# What both need


def _seconds(fig: Figures, task: str, gpus: Sequence[str | None], cores: int) -> float:
    if gpus:
        return fig.gpu_seconds(task, gpus[0])
    return fig.seconds[f"{task}_cpu_core_seconds"] / max(1, cores)


def _pc1_seconds(fig: Figures, workers: Sequence[Mapping[str, Any]]) -> float:
    single = [not w["producers"] for w in workers if "PC1" in w["tasks"]]
    return fig.seconds["PC1_single_core"] if single and all(single) else fig.seconds["PC1"]


def _gpu_names(machine: _Machine, worker: Mapping[str, Any]) -> tuple[str | None, ...]:
    return machine.gpus[:1] if worker["gpus"] else ()


def _cpu_count(cpus: str) -> int:
    count = 0
    for part in filter(None, cpus.split(",")):
        first, _, last = part.partition("-")
        count += int(last or first) - int(first) + 1
    # SMT siblings are listed with their core
    return max(1, count // 2)


def _machines(env: simpy.Environment, plan: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, _Machine]:
    """The hosts that have work in the plan."""
    shared = document.get("machines") or {}
    settings = document.get("settings") or {}
    found = {}
    for name, slice_ in sorted(plan["hosts"].items()):
        if not slice_["workers"]:
            continue
        host = document["hosts"][name]
        declared = host.get("hardware")
        try:
            hw = normalise(shared[declared] if isinstance(declared, str) else declared, topologies=shared)
        except HardwareError:
            continue
        rates = [n.get("rate_bits_per_sec") or n.get("speed_bits_per_sec") or 0 for n in (*hw["rdma"], *hw["net"])]
        room = host.get("scratch_bytes") or settings.get("scratch_bytes") or scratch_bytes(hw)
        found[name] = _Machine(
            name=name,
            tasks=frozenset(t for w in slice_["workers"] for t in w["tasks"]),
            threads=sum(c["online"] and c["allowed"] for c in hw["cpus"]),
            memory_bytes=sum(n["memory_bytes"] or 0 for n in hw["numa"]),
            gpus=tuple(g.get("name") for g in hw["gpus"]),
            scratch_bytes=float(room) if room else math.inf,
            sends=simpy.Resource(env, capacity=1),
            receives=simpy.Resource(env, capacity=1),
            bits_per_sec=float(max(rates, default=0) or UNKNOWN_NIC_BITS_PER_SEC),
        )
    return found


def saturating(plan: Mapping[str, Any], every_sec: float = 3600.0) -> Load:
    """A load that keeps every stage of the plan busy between two pledges."""
    fig = figures(plan["settings"]["sector_size"])
    seconds = sum(fig.seconds[k] for k in ("AP", "PC1", "PC1", "PC2", "wait_seed", "C2", "finalize")) + 2 * every_sec
    rate = max([float(s["sectors_per_day"]) for s in plan["capacity"]["stages"].values()] + [1.0])
    sectors = math.ceil(rate / DAY_SEC * seconds)
    return Load(sectors, sectors, every_sec)


def simulate(
    plan: Mapping[str, Any],
    document: Mapping[str, Any],
    load: Load | None = None,
    default_tasks: Mapping[str, Sequence[str]] | None = None,
    names: Sequence[str] | None = None,
) -> list[Result]:
    """Return the columns of `names`: the plan and, without `names`, both defaults, first that of the stack's time.

    `document` is the planner's input. `default_tasks` names the tasks a host's worker had under the default scheduler,
    where that is not everything its inventory groups allow. Without `load` all are saturated.
    """
    fig = figures(plan["settings"]["sector_size"], (document.get("settings") or {}).get("measured_sec"))
    load = load or saturating(plan)
    slots = sum(w["concurrency"].get("PC1", 0) for h in plan["hosts"].values() for w in h["workers"])
    full_speed = _full_speed(document)
    columns = []
    for name in names or columns_of(plan):
        env = simpy.Environment()
        world = _World(env, fig, load, _machines(env, plan, document))
        world.group_of = {h: g for g, v in plan["groups"].items() for h in v["hosts"]}
        for machine in world.machines.values():
            machine.pc1_full_speed = full_speed.get(machine.name, 0)
        if name == COLUMNS[0]:
            begin = _Planned(world, plan).begin
        else:
            tasks = {n: frozenset((default_tasks or {}).get(n) or m.tasks) for n, m in world.machines.items()}
            tasks = {n: t | {"AP"} if "PC1" in t else t for n, t in tasks.items()}
            begin = _Default(world, tasks, max(_producers(plan), default=3), packed=name == COLUMNS[2]).begin
        env.process(world.pledge(begin))
        env.process(world.sample())
        env.run(until=load.days * DAY_SEC)
        columns.append(world.result(name, slots))
    return columns


def columns_of(plan: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the columns in the order to show: both forks are of 2020 to 2022, before the default changed."""
    return COLUMNS if plan["settings"]["stack"] == "lotus" else (COLUMNS[0], COLUMNS[2], COLUMNS[1])


def notes(results: Sequence[Result]) -> list[str]:
    """Return a line for each column that needs one."""
    return [f"{result.name}: {NOTES[result.name]}" for result in results if result.name in NOTES]


def _full_speed(document: Mapping[str, Any]) -> dict[str, int]:
    """PC1 per host that the planner would bind if the host did nothing else."""
    hosts = {
        n: h | {"roles": ["pc1_worker"]} for n, h in document["hosts"].items() if "pc1_worker" in h.get("roles", ())
    }
    alone = make_plan({k: v for k, v in document.items() if k not in ("current", "groups")} | {"hosts": hosts})
    return {n: sum(w["concurrency"].get("PC1", 0) for w in h["workers"]) for n, h in alone["hosts"].items()}


def _producers(plan: Mapping[str, Any]) -> Iterable[int]:
    return (w["producers"] for h in plan["hosts"].values() for w in h["workers"] if "PC1" in w["tasks"])


def table(results: Sequence[Result], load: Load | None = None) -> str:
    """The results side by side, for people."""
    rows: list[tuple[str, Callable[[Result], str]]] = [
        ("sectors per day", lambda r: rate_text(r.sectors_per_day)),
        ("idle PC1 slots", lambda r: f"{r.pc1_idle:.0f} of {r.pc1_slots}"),
        ("idle hosts, mostly", lambda r: f"{r.hosts_idle} of {r.hosts}"),
        ("between hosts per sector", lambda r: bytes_text(r.bytes_per_sector)),
        ("between hosts per day", lambda r: bytes_text(r.bytes_per_day)),
        ("of it between groups", lambda r: bytes_text(r.bytes_between_groups_per_day)),
        ("first sector sealed after", lambda r: _duration(r.first_sector_sec)),
    ]
    width = max(len(label) for label, _ in rows)
    lines = [" " * width + "".join(f"  {r.name:>16}" for r in results)]
    lines += [f"{label:<{width}}" + "".join(f"  {cell(r):>16}" for r in results) for label, cell in rows]
    if load:
        lines.append(
            f"All get the same sectors: {load.sectors:,} every {_duration(load.every_sec)}, at most {load.in_flight:,} "
            f"in flight, for {load.days:g} days; the first {load.warm_up_days:g} is not counted."
        )
    return "\n".join(lines) + "\n"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "never"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
