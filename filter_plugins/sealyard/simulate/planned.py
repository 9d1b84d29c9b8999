"""The plan's column: sectors stay in their group."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import simpy

from sealyard.hardware.cpu_list import parse_cpus
from sealyard.lotus.figures import Figures
from sealyard.simulate.world import PRIORITY, Machine, Process, Sector, World, proving_seconds


class Planned:
    """Sectors stay in their group; every PC1 worker is one slot; GPUs take C2 before PC2."""

    def __init__(self, world: World, plan: Mapping[str, Any]) -> None:
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
                    seconds = {t: proving_seconds(world.fig, t, gpu, _cores(w["cpus"])) for t in tasks}
                    self.engines[name].append((simpy.PriorityResource(env), seconds, tasks))
                if "PC2" in tasks and w["group"] and name not in self.pc2_hosts[w["group"]]:
                    self.pc2_hosts[w["group"]].append(name)
                if "C2" in tasks and w["miner"] and name not in self.c2_hosts[w["miner"]]:
                    self.c2_hosts[w["miner"]].append(name)
        self.given_pc1: dict[str, int] = defaultdict(int)
        self.given: dict[tuple[str, str], int] = defaultdict(int)
        self.pc1_seconds = {n: _pc1_seconds(world.fig, plan["hosts"][n]["workers"]) for n in world.machines}
        self.pc1 = {n: simpy.Resource(env, capacity=s) for n, s in self.slots.items() if s}

    def begin(self, sector: Sector) -> None:
        able = [n for n in self.pc1 if self.group_of.get(n) and self.pc2_hosts[self.group_of[n]]]
        if able:
            host = min(able, key=lambda n: (self.given_pc1[n] / self.slots[n], n))
            self.given_pc1[host] += 1
            self.world.env.process(self.life(sector, host))

    def life(self, sector: Sector, host: str) -> Process:
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


# Lotus's default


def _pc1_seconds(fig: Figures, workers: Sequence[Mapping[str, Any]]) -> float:
    single = [not w["producers"] for w in workers if "PC1" in w["tasks"]]
    return fig.seconds["PC1_single_core"] if single and all(single) else fig.seconds["PC1"]


def _gpu_names(machine: Machine, worker: Mapping[str, Any]) -> tuple[str | None, ...]:
    return machine.gpus[:1] if worker["gpus"] else ()


def _cores(cpus: str) -> int:
    # SMT siblings are listed with their core
    return max(1, len(parse_cpus(cpus)) // 2)
