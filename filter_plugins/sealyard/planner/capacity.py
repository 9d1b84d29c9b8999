"""Sectors per day: what each group can do, what binds it, and how many bytes cross the network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sealyard.lotus.figures import Figures
from sealyard.lotus.tasks import SIDE_TASKS
from sealyard.plan.supply import Supply
from sealyard.plan.types import Capacity, GroupCapacity, HostCapacity, MinerCapacity, Owner, StageCapacity
from sealyard.plan.words import rate_text
from sealyard.planner.grouping import Group
from sealyard.planner.throughput import c2_cost


@dataclass(frozen=True, slots=True)
class HostReport:
    """A host's part of the capacity: what it brings, its PC1 slots, and what bounds them in words."""

    supply: Supply
    workers: Mapping[str, int]
    bound_by: Mapping[str, str]
    left_out: tuple[str, ...]
    beside: Mapping[str, float] = field(default_factory=dict)
    """Sectors per day of the tasks beside the way of a new sector: UNS, RU."""


def pc2_shares(supplies: Iterable[Supply]) -> dict[float, float]:
    """Return the share of the day that workers doing both can give PC2 when C2 is to keep up, by their cost in C2."""
    pc1 = pc2 = c2 = 0.0
    both: dict[float, float] = {}
    for supply in supplies:
        pc1, pc2, c2 = pc1 + supply.pc1, pc2 + supply.pc2, c2 + supply.c2 + supply.both_c2
        if supply.both_pc2 > 1e-6:
            both[c2_cost(supply)] = both.get(c2_cost(supply), 0.0) + supply.both_pc2
    shares = {}
    for cost, per_day in sorted(both.items()):
        # PC2 grows until it meets C2, and C2 is not given up below what PC1 makes anyway.
        part = min(per_day, max(0.0, (c2 - pc2) / (1 + cost), (c2 - pc1) / cost if cost else per_day))
        shares[cost] = part / per_day
        pc2, c2 = pc2 + part, c2 - cost * part
    return shares


def miner_throughput(
    supplies: Mapping[str, Supply], c2: float, flexible: Sequence[tuple[str, Supply]]
) -> tuple[float, dict[str, float]]:
    """Return the sectors per day that one miner's groups sustain, in all and by group.

    `supplies` is by group, `c2` the miner's C2 pool, `flexible` group and supply of each host that does both.
    Workers that do PC2 and C2 serve C2 first, as Lotus does; PC2 gets the rest of their day, first where it costs the
    least C2.
    """
    rates = {name: min(s.pc1, s.pc2) for name, s in supplies.items()}
    done = sum(rates.values())
    c2 += sum(s.c2 + s.both_c2 for s in supplies.values())
    if c2 <= done:
        scale = c2 / done if done else 0.0
        return c2 if done else 0.0, {name: rate * scale for name, rate in rates.items()}
    by_cost: dict[float, list[tuple[str, float]]] = {}
    for name, host in flexible:
        if host.both_pc2 > 1e-6:
            by_cost.setdefault(c2_cost(host), []).append((name, host.both_pc2))
    for cost, workers in sorted(by_cost.items()):
        able: dict[str, float] = {}
        for name, pc2 in workers:
            able[name] = able.get(name, 0.0) + pc2
        wish = {name: min(supplies[name].pc1 - rates[name], pc2) for name, pc2 in able.items()}
        wanted = sum(wish.values())
        if wanted <= 0:
            continue
        more = min(wanted, (c2 - done) / (1 + cost))
        for name in wish:
            rates[name] += wish[name] * more / wanted
        done += more
        c2 -= cost * more
    return done, rates


def sum_supplies(hosts: Sequence[str], reports: Mapping[str, HostReport]) -> Supply:
    """Return what these hosts bring together."""
    total = Supply()
    for name in hosts:
        total = total.plus(reports[name].supply)
    return total


def balance(
    groups: Sequence[Group],
    miner_of_group: Mapping[str, Owner],
    miner_of_pool: Mapping[str, Owner],
    reports: Mapping[str, HostReport],
    fig: Figures,
) -> tuple[Capacity, list[str]]:
    """Return the plan's `capacity`, and warnings."""
    supplies = {group.name: sum_supplies(group.hosts, reports) for group in groups}
    by_miner: dict[Owner | None, list[Group]] = {}
    for group in groups:
        by_miner.setdefault(miner_of_group.get(group.name), []).append(group)
    pools: dict[Owner, list[str]] = {}
    for name, serves in miner_of_pool.items():
        pools.setdefault(serves, []).append(name)
    notes: list[str] = []
    group_rows: dict[str, GroupCapacity] = {}
    miner_rows: dict[str, MinerCapacity] = {}
    total = crossing = 0.0
    for owner, own in by_miner.items():
        pool = pools.get(owner, []) if owner is not None else []
        rate, rates = miner_throughput(
            {group.name: supplies[group.name] for group in own},
            sum(reports[name].supply.c2 for name in pool),
            [(group.name, reports[name].supply) for group in own for name in sorted(group.hosts)],
        )
        total += rate
        able = sum(_able(supplies[group.name]) for group in own)
        if owner is not None:
            miner_rows[f"{owner[0]}/{owner[1]}"] = MinerCapacity(round(rate, 2), tuple(sorted(pool)))
            if rate < able * 0.999:
                notes.append(
                    f"C2 binds miner {owner[0]}: {rate_text(rate)} sectors per day of {rate_text(able)} "
                    "that PC1 and PC2 could do"
                )
        for group in own:
            supply, sealed = supplies[group.name], rates[group.name]
            moved = _bytes_moved(group, reports, sealed, supply.pc1, fig.moved_bytes)
            crossing += moved
            group_rows[group.name] = _group_row(supply, sealed, moved)
    fleet = sum_supplies(list(reports), reports)
    stages = {"PC1": fleet.pc1, "PC2": fleet.pc2 + fleet.both_pc2, "C2": fleet.c2 + fleet.both_c2}
    workers = {task: sum(report.workers.get(task, 0) for report in reports.values()) for task in stages}
    if workers["PC1"] and not workers["C2"]:
        notes.append("no host does C2: add one to c2_worker, or sectors stop at Committing")
    capacity = Capacity(
        sectors_per_day=round(total, 2),
        bottleneck=_bottleneck(total, stages, workers),
        stages={task: StageCapacity(workers[task], round(stages[task], 2)) for task in stages} | _beside(reports),
        groups=dict(sorted(group_rows.items())),
        miners=dict(sorted(miner_rows.items())),
        hosts={name: _host_row(report) for name, report in sorted(reports.items())},
        bytes_per_day_between_hosts=round(crossing),
        bytes_per_day_c1_to_c2=round(total * fig.c1_output_bytes),
    )
    return capacity, notes


def _group_row(supply: Supply, sealed: float, moved: float) -> GroupCapacity:
    pc2 = supply.pc2 + supply.both_pc2
    return GroupCapacity(
        sectors_per_day=round(sealed, 2),
        pc1_sectors_per_day=round(supply.pc1, 2),
        pc2_sectors_per_day=round(pc2, 2),
        bytes_per_day_between_hosts=round(moved),
        bound_by="C2" if sealed < _able(supply) * 0.999 else "PC1" if supply.pc1 <= pc2 else "PC2",
    )


def _able(supply: Supply) -> float:
    return min(supply.pc1, supply.pc2 + supply.both_pc2)


def _beside(reports: Mapping[str, HostReport]) -> dict[str, StageCapacity]:
    """What does other tasks than those of a new sector; only tasks that somebody does."""
    found = {}
    for task in SIDE_TASKS:
        workers = sum(report.workers.get(task, 0) for report in reports.values())
        if workers:
            found[task] = StageCapacity(workers, round(sum(r.beside.get(task, 0.0) for r in reports.values()), 2))
    return found


def _bottleneck(total: float, stages: Mapping[str, float], workers: Mapping[str, int]) -> str | None:
    """The stage that the fleet lacks; where workers share PC2 and C2 it is the two of them that bind."""
    if not any(workers.values()):
        return None
    missing = [task for task in stages if not workers[task]]
    if missing:
        return missing[0]
    least = min(stages, key=lambda task: stages[task])
    return least if stages[least] <= total * 1.01 or least != "PC1" else "C2"


def _host_row(report: HostReport) -> HostCapacity:
    supply = report.supply
    slots = report.workers.get("PC1", 0)
    limits = [f"{slots} PC1, bound by {report.bound_by.get('PC1', 'the only core')}"] if slots else []
    if "engines" in report.bound_by:
        limits.append(report.bound_by["engines"])
    if "PC2" in report.bound_by:
        limits.append(f"PC2 bound by {report.bound_by['PC2']}")
    return HostCapacity(
        pc1_slots=slots,
        pc1_sectors_per_day=round(supply.pc1, 2),
        pc2_sectors_per_day=round(supply.pc2 + supply.both_pc2, 2),
        c2_sectors_per_day=round(supply.c2 + supply.both_c2, 2),
        left_out=report.left_out,
        bound_by="; ".join(limits) or None,
    )


def _bytes_moved(group: Group, reports: Mapping[str, HostReport], sealed: float, pc1: float, each: int) -> float:
    """Bytes per day from PC1 to PC2 hosts of a group: what a host cannot take to PC2 itself."""
    if not pc1 or len(group.hosts) < 2:
        return 0.0
    scale = sealed / pc1
    stays = 0.0
    for name in group.hosts:
        supply = reports[name].supply
        stays += min(supply.pc1 * scale, supply.pc2 + supply.both_pc2)
    return max(0.0, sealed - stays) * each
