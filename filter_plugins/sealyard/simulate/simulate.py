"""The plan run for some days beside the same hosts under Lotus's default scheduler without groups (simpy).

All columns get the same sectors at the same times, the same seconds per task and the same network cards. What differs
is who decides: the plan's bundles and groups, or the miner's scheduler with one worker per host and no groups:

- `default v1.36`: v1.36.2 as its code does it (default_scheduler.py).
- `default 2020`: the same, but PC1 asks for 128 GiB (source 001, `lotus-worker run -h`) and a burst fills one worker's
  window before it looks at the next. That is what source 001 saw (28 PC1 on 4 workers, 8 of 15 idle); the filling rule
  is inferred from its listing.

A host carries as many PC1 at full speed as the planner would give it if it did nothing else; the default may start
more, which then share that speed. Where no worker has C2, the miner's own worker does it. Nothing is random: equal
workers take turns, and the same input gives the same table.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import simpy

from sealyard.lotus.figures import DAY_SEC, figures
from sealyard.planner.planner import plan as make_plan
from sealyard.simulate.default_scheduler import DefaultScheduler
from sealyard.simulate.planned import Planned
from sealyard.simulate.world import Load, Result, World, machines_at_work

COLUMNS: Final = ("plan", "default v1.36", "default 2020")


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
        world = World(env, fig, load, machines_at_work(env, plan, document))
        world.group_of = {h: g for g, v in plan["groups"].items() for h in v["hosts"]}
        for machine in world.machines.values():
            machine.pc1_full_speed = full_speed.get(machine.name, 0)
        if name == COLUMNS[0]:
            begin = Planned(world, plan).begin
        else:
            tasks = {n: frozenset((default_tasks or {}).get(n) or m.tasks) for n, m in world.machines.items()}
            tasks = {n: t | {"AP"} if "PC1" in t else t for n, t in tasks.items()}
            begin = DefaultScheduler(world, tasks, max(_producers(plan), default=3), packed=name == COLUMNS[2]).begin
        env.process(world.pledge(begin))
        env.process(world.sample())
        env.run(until=load.days * DAY_SEC)
        columns.append(world.result(name, slots))
    return columns


def columns_of(plan: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the columns in the order to show: both forks are of 2020 to 2022, before the default changed."""
    return COLUMNS if plan["settings"]["stack"] == "lotus" else (COLUMNS[0], COLUMNS[2], COLUMNS[1])


def _full_speed(document: Mapping[str, Any]) -> dict[str, int]:
    """PC1 per host that the planner would bind if the host did nothing else."""
    hosts = {
        n: h | {"roles": ["pc1_worker"]} for n, h in document["hosts"].items() if "pc1_worker" in h.get("roles", ())
    }
    alone = make_plan({k: v for k, v in document.items() if k not in ("current", "groups")} | {"hosts": hosts})
    return {n: sum(w["concurrency"].get("PC1", 0) for w in h["workers"]) for n, h in alone["hosts"].items()}


def _producers(plan: Mapping[str, Any]) -> Iterable[int]:
    return (w["producers"] for h in plan["hosts"].values() for w in h["workers"] if "PC1" in w["tasks"])
