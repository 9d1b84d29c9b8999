"""The simulation's tables, as playbooks/simulate.yml prints them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sealyard.errors import SealyardError
from sealyard.simulate.simulate import Load, notes, saturating, simulate, table


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
