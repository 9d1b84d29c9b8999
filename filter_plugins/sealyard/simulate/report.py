"""The simulation's tables, as playbooks/simulate.yml prints them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sealyard.errors import SealyardError
from sealyard.plan.words import bytes_text, rate_text
from sealyard.simulate.simulate import saturating, simulate
from sealyard.simulate.world import Load, Result

NOTES: Final = {
    "default v1.36": "Lotus v1.36.2 without groups, by its code: each task goes to the least used worker, so no host "
    "stays idle, but PC2 fetches PC1's output (481 GB and what PC1 fetched) from wherever that ran.",
    "default 2020": "the default scheduler that source 001 ran: one worker is filled before the next (inferred from "
    "its listing: 28 PC1 on 4 workers, 8 of 15 hosts idle), and PC1 asks for 128 GiB; as many bytes.",
}
"""What a column stands for: both are Lotus's default scheduler, of two times."""


def simulation_report(
    plan: Mapping[str, Any], document: Mapping[str, Any], options: Mapping[str, Any] | None = None
) -> list[str]:
    """Return the simulation's tables as lines.

    `options`: `pledge` {sectors, every_sec} for a second table at that load; `days` (4);
    `default_tasks` {HOST: [PC1, PC2]} where the default scheduler's worker had less than its groups allow.
    """
    given = options or {}
    if plan.get("errors"):
        raise SealyardError("the plan has errors, see playbooks/plan.yml: there is nothing to simulate")
    days = float(given.get("days") or 4)
    full = saturating(plan)
    loads = [("As many sectors as the cluster takes", Load(full.sectors, full.in_flight, full.every_sec, days))]
    pledge = given.get("pledge")
    if pledge:
        at_once = int(pledge["sectors"])
        load = Load(at_once, 10 * at_once, float(pledge.get("every_sec") or 3600), days)
        loads.append((f"{at_once} sectors at a time", load))
    lines = []
    for title, load in loads:
        columns = simulate(plan, document, load, given.get("default_tasks"))
        lines += [title, *table(columns, load).splitlines(), ""]
    return lines + notes(columns)


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


def notes(results: Sequence[Result]) -> list[str]:
    """Return a line for each column that needs one."""
    return [f"{result.name}: {NOTES[result.name]}" for result in results if result.name in NOTES]


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "never"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
