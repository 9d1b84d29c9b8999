"""Sectors per day: what each stage of each group can do, what binds, and how many bytes cross the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sealplan.binding import Layout
from sealplan.facts import DAY_SEC, figures
from sealplan.grouping import Group
from sealplan.model import Document


@dataclass(frozen=True, slots=True)
class Stage:
    """One proving worker: seconds of each of its tasks, which it does one after another."""

    seconds: Mapping[str, float]

    def per_day(self, task: str) -> float:
        """Sectors per day when it does nothing else."""
        return DAY_SEC / self.seconds[task] if task in self.seconds else 0.0


def host_capacity(layout: Layout) -> tuple[float, float, list[Stage]]:
    """Return PC1 and PC2 sectors per day of a layout, and its proving workers."""
    stages = [Stage(seconds) for seconds in layout.prove_seconds]
    pc2 = sum(stage.per_day("PC2") for stage in stages)
    if layout.pc2_scratch_per_day is not None:
        pc2 = min(pc2, layout.pc2_scratch_per_day)
    return layout.pc1_per_day, pc2, stages


def sectors_text(per_day: float) -> str:
    """Return a rate for people: "312" or "8.5" sectors per day."""
    return f"{per_day:.0f}" if per_day >= 100 else f"{per_day:.1f}"


def _miner_rate(
    groups: Sequence[Group], stages: Mapping[str, Sequence[Stage]], pool: Sequence[str], theta: float
) -> tuple[float, float]:
    """Sectors per day the groups deliver at a fraction of their PC1, and the C2 capacity then left for them."""
    arriving = 0.0
    c2 = sum(s.per_day("C2") for name in pool for s in stages[name])
    for group in groups:
        rate = min(theta * group.pc1, group.pc2)
        arriving += rate
        engines = [s for name in group.hosts for s in stages[name]]
        pure = sum(s.per_day("PC2") for s in engines if "C2" not in s.seconds)
        both = [s for s in engines if "PC2" in s.seconds and "C2" in s.seconds]
        c2 += sum(s.per_day("C2") for s in engines if "PC2" not in s.seconds)
        # Workers that do both give PC2 what the others leave, and the rest of the day to C2.
        needed = max(0.0, rate - pure)
        able = sum(s.per_day("PC2") for s in both)
        busy = min(1.0, needed / able) if able else 0.0
        c2 += (1 - busy) * sum(s.per_day("C2") for s in both)
    return arriving, c2


def miner_throughput(
    groups: Sequence[Group], stages: Mapping[str, Sequence[Stage]], pool: Sequence[str]
) -> tuple[float, float]:
    """Return the highest sectors per day that one miner's groups and C2 pool sustain, and the fraction of PC1 it takes."""
    arriving, c2 = _miner_rate(groups, stages, pool, 1.0)
    if c2 >= arriving:
        return arriving, 1.0
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        arriving, c2 = _miner_rate(groups, stages, pool, middle)
        low, high = (middle, high) if c2 >= arriving else (low, middle)
    return _miner_rate(groups, stages, pool, low)[0], low


def balance(
    groups: Sequence[Group],
    miner_of_group: Mapping[str, tuple[str, str]],
    stages: Mapping[str, Sequence[Stage]],
    miner_of_pool: Mapping[str, tuple[str, str]],
    doc: Document,
    profiles: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the plan's `capacity`; `notes` are warnings to be taken out of it."""
    fig = figures(doc.settings.sector_size)
    miners: dict[tuple[str, str] | None, list[Group]] = {}
    for group in groups:
        miners.setdefault(miner_of_group.get(group.name), []).append(group)
    total = 0.0
    notes: list[str] = []
    group_rows: dict[str, Any] = {}
    miner_rows: dict[str, Any] = {}
    crossing = c1_bytes = 0.0
    for owner, own in miners.items():
        pool = [name for name, miner in miner_of_pool.items() if miner == owner]
        rate, theta = miner_throughput(own, stages, pool)
        total += rate
        c2 = _miner_rate(own, stages, pool, theta)[1]
        if owner is not None:
            miner_rows[f"{owner[0]}/{owner[1]}"] = {"sectors_per_day": round(rate, 2), "c2_hosts": sorted(pool)}
        if rate and theta < 0.999 and owner is not None:
            notes.append(f"C2 binds miner {owner[0]}: {sectors_text(c2)} sectors per day of "
                         f"{sectors_text(sum(g.throughput for g in own))} that PC1 and PC2 could do")  # fmt: skip
        for group in own:
            sealed = min(theta * group.pc1, group.pc2)
            moved = _bytes_moved(group, profiles, sealed, fig.moved_bytes)
            crossing += moved
            c1_bytes += sealed * fig.c1_output_bytes
            binds = "C2" if theta < 0.999 else ("PC1" if group.pc1 <= group.pc2 else "PC2")
            group_rows[group.name] = {
                "sectors_per_day": round(sealed, 2),
                "pc1_sectors_per_day": round(group.pc1, 2),
                "pc2_sectors_per_day": round(group.pc2, 2),
                "bytes_per_day_between_hosts": round(moved),
                "bound_by": binds,
            }
    sums = {
        "PC1": sum(p.pc1 for p in profiles.values()),
        "PC2": sum(p.pc2 for p in profiles.values()),
        "C2": sum(s.per_day("C2") for each in stages.values() for s in each),
    }
    slots = {task: sum(task in w["tasks"] for p in profiles.values() for w in p.workers) for task in sums}
    host_rows = {}
    for name, profile in profiles.items():
        pc1_slots = sum("PC1" in w["tasks"] for w in profile.workers)
        row: dict[str, Any] = {"pc1_slots": pc1_slots, "pc1_sectors_per_day": round(profile.pc1, 2),
                               "pc2_sectors_per_day": round(profile.pc2, 2),
                               "c2_sectors_per_day": round(sum(s.per_day("C2") for s in profile.stages), 2)}  # fmt: skip
        if pc1_slots:
            row["bound_by"] = f"{pc1_slots} PC1, bound by {profile.layout.bound_by.get('PC1', 'the only core')}"
        host_rows[name] = row
    weakest = min((t for t in sums if slots[t]), key=lambda t: sums[t], default=None)
    missing = [t for t in sums if not slots[t]]
    if slots["PC1"] and "C2" in missing:
        notes.append("no host does C2: add one to c2_worker, or sectors stop at Committing")
    return {
        "sectors_per_day": round(total, 2),
        "bottleneck": missing[0] if missing and weakest else weakest,
        "stages": {t: {"workers": slots[t], "sectors_per_day": round(sums[t], 2)} for t in sums},
        "groups": dict(sorted(group_rows.items())),
        "miners": dict(sorted(miner_rows.items())),
        "hosts": host_rows,
        "bytes_per_day_between_hosts": round(crossing),
        "bytes_per_day_c1_to_c2": round(c1_bytes),
        "notes": notes,
    }


def _bytes_moved(group: Group, profiles: Mapping[str, Any], sealed: float, each: int) -> float:
    """Bytes per day from PC1 to PC2 hosts of a group: what a host cannot take to PC2 itself."""
    if not group.pc1 or len(group.hosts) < 2:
        return 0.0
    scale = sealed / group.pc1
    stays = sum(min(profiles[h].pc1 * scale, profiles[h].pc2) for h in group.hosts)
    return max(0.0, sealed - stays) * each
