"""The clock, the hosts, their network cards and what is counted: the same for every column of the simulation."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mode
from typing import Any, Final

import simpy

from sealyard.hardware.declared import HardwareError, normalise
from sealyard.hardware.machine import scratch_bytes
from sealyard.lotus.figures import DAY_SEC, Figures

UNKNOWN_NIC_BITS_PER_SEC: Final = 10 * 10**9
LINE_SHARE: Final = 0.8
"""Share of a link's rate that copies reach: sealing_model.json, network."""
PRIORITY: Final = {"C2": 3, "PC2": 4, "PC1": 5, "AP": 9}
"""Lotus v1.36.2, storage/sealer/sealtasks/task.go: the lower runs first."""

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
class Machine:
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
class Sector:
    number: int
    begun: float
    ap: str = ""
    pc1: str = ""
    pc2: str = ""


@dataclass(slots=True)
class World:
    """The clock, the hosts and the counters of one run."""

    env: simpy.Environment
    fig: Figures
    load: Load
    machines: dict[str, Machine]
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

    def finish(self, sector: Sector) -> None:
        self.done.append(self.env.now)
        self.in_flight -= 1

    def pledge(self, begin: Callable[[Sector], None]) -> Process:
        while True:
            for _ in range(min(self.load.sectors, self.load.in_flight - self.in_flight)):
                self.in_flight += 1
                self.born += 1
                begin(Sector(self.born, self.env.now))
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


def machines_at_work(
    env: simpy.Environment, plan: Mapping[str, Any], document: Mapping[str, Any]
) -> dict[str, Machine]:
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
        found[name] = Machine(
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


def proving_seconds(fig: Figures, task: str, gpus: Sequence[str | None], cores: int) -> float:
    if gpus:
        return fig.gpu_seconds(task, gpus[0])
    return fig.seconds[f"{task}_cpu_core_seconds"] / max(1, cores)
