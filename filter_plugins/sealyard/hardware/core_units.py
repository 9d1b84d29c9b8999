"""Which cores multicore SDR binds a PC1 to, and what that makes of a plan.

Watched with storage-proofs-porep 19.1.0 on synthetic topologies (storage-proofs-porep/src/stacked/vanilla/cores.rs):
units are formed once per process from the cores hwloc shows it; a core stays in its unit only if its hwloc index is set
in the process's affinity mask of OS CPU numbers, two numberings that agree on some machines only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sealyard.hardware.cpu_list import parse_cpus
from sealyard.problem import Problem


@dataclass(frozen=True, slots=True)
class CoreUnits:
    """What one process gets. `units` hold hwloc core indexes, `cpus` the OS CPUs of each unit's first threads.

    `panics`: the first PC1 ends the process, because the visible cores do not divide evenly over their L3s.
    """

    units: tuple[tuple[int, ...], ...]
    cpus: tuple[tuple[int, ...], ...]
    panics: bool = False


@dataclass(frozen=True, slots=True)
class _SeenCore:
    first_cpu: int
    l3: object
    node: object
    socket: object


def _visible_cores(topology: Mapping[str, Any], visible: Collection[int] | None) -> list[_SeenCore]:
    """Cores in hwloc's order: by package, then node, then L3, each by its lowest visible CPU."""
    members: dict[object, list[Mapping[str, Any]]] = defaultdict(list)
    for cpu in topology["cpus"]:
        if cpu.get("online") is not True or cpu.get("allowed") is False:
            continue
        if visible is None or cpu["cpu"] in visible:
            members[cpu["core"] if cpu.get("core") is not None else f"cpu{cpu['cpu']}"].append(cpu)
    lowest: dict[tuple[str, object], int] = {}
    for cpus in members.values():
        for cpu in cpus:
            for level in ("socket", "node", "l3"):
                key = (level, cpu.get(level))
                lowest[key] = min(lowest.get(key, cpu["cpu"]), cpu["cpu"])

    def order(cpus: Sequence[Mapping[str, Any]]) -> tuple[int, ...]:
        places = tuple(lowest[level, cpus[0].get(level)] for level in ("socket", "node", "l3"))
        return (*places, min(cpu["cpu"] for cpu in cpus))

    ordered = sorted(members.values(), key=order)
    return [
        _SeenCore(min(c["cpu"] for c in cpus), cpus[0].get("l3"), cpus[0].get("node"), cpus[0].get("socket"))
        for cpus in ordered
    ]


def _groups(cores: Sequence[_SeenCore]) -> int | None:
    """Objects at the first level above the cores that are fewer than the cores."""
    levels: list[list[object]] = [[c.l3 for c in cores], [c.node for c in cores], [c.socket for c in cores], [0]]
    counts = [len(set(level)) for level in levels if None not in level]
    fewer = [count for count in counts if count < len(cores)]
    return max(fewer) if fewer else None


def sdr_core_units(
    topology: Mapping[str, Any],
    visible_cpus: Collection[int] | None,
    affinity: Collection[int] | None,
    producers: int,
) -> CoreUnits:
    """Return the core units of one process with FIL_PROOFS_USE_MULTICORE_SDR=1.

    `visible_cpus` is its cgroup cpuset (None: the whole machine), `affinity` its affinity mask (None: all visible).
    """
    cores = _visible_cores(topology, visible_cpus)
    mask = {c["cpu"] for c in topology["cpus"] if visible_cpus is None or c["cpu"] in visible_cpus}
    if affinity is not None:
        mask &= set(affinity)
    groups = _groups(cores)
    if groups is None:
        return CoreUnits((), ())
    if len(cores) % groups:
        return CoreUnits((), (), panics=True)
    group_size, unit_size = len(cores) // groups, producers + 1
    units = []
    for number in range(groups * (group_size // unit_size)):
        turn = number // groups
        members = [(j + number * group_size) % len(cores) + turn * unit_size for j in range(unit_size)]
        kept = tuple(index for index in members if index in mask)
        if kept:
            units.append(kept)
    return CoreUnits(tuple(units), tuple(tuple(cores[i].first_cpu for i in unit) for unit in units))


def judge_pc1(
    topology: Mapping[str, Any], workers: Sequence[Mapping[str, Any]], *, cgroup_cpuset: bool = True
) -> list[Problem]:
    """Return one error for each PC1 worker that would panic, run unpinned beside another, or on another's cores.

    `workers` are a plan's workers of one host; paths begin at the host. Without `cgroup_cpuset` each process sees the
    whole machine and has its `cpus` as an affinity mask only (CPUAffinity=, taskset).
    """
    errors: list[Problem] = []
    by_number = {cpu["cpu"]: cpu for cpu in topology["cpus"]}
    owner = {cpu: w["name"] for w in workers for cpu in parse_cpus(w["cpus"])}
    taken: dict[int, str] = {}
    for worker in workers:
        if "PC1" not in worker["tasks"] or not worker["producers"]:
            continue
        path = f"workers.{worker['name']}"
        cpus = parse_cpus(worker["cpus"])
        own = {"cpus": [by_number[cpu] for cpu in cpus if cpu in by_number]}
        seen = sdr_core_units(own if cgroup_cpuset else topology, None, cpus, worker["producers"])
        at_once = worker["concurrency"]["PC1"]
        if seen.panics:
            errors.append(
                _error(
                    path,
                    worker,
                    "its first PC1 would panic: its cores do not divide evenly over their L3 caches",
                    "give it cores of one L3 (another sealing_sdr_producers)",
                )
            )
        elif at_once > 1 and len(seen.units) < at_once:
            errors.append(
                _error(
                    path,
                    worker,
                    f"{at_once} PC1 at once but {len(seen.units)} core units: "
                    f"{at_once - len(seen.units)} would run unpinned beside another",
                    "one worker process per PC1 bundle",
                )
            )
        for cpu in (c for unit in seen.cpus for c in unit):
            other = taken.get(cpu) or owner.get(cpu)
            if other is None or other != worker["name"]:
                errors.append(
                    _error(
                        path,
                        worker,
                        f"its PC1 would run on CPU {cpu}, which {'belongs to ' + other if other else 'is not its own'}",
                        "bind it with a cgroup cpuset of its own bundle",
                    )
                )
            taken[cpu] = worker["name"]
    return errors


def _error(path: str, worker: Mapping[str, Any], problem: str, remedy: str) -> Problem:
    return Problem(path=path, value=worker["cpus"], problem=problem, remedy=remedy)
