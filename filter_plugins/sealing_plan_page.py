"""Filters that show a plan: as a page, beside the plan applied last, and run beside Lotus's default scheduler."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError

sys.path.insert(0, str(Path(__file__).resolve().parent))

from sealplan.diff import diff, text
from sealplan.hardware import HardwareError, normalise
from sealplan.html import render


def _plain(value: Any) -> Any:
    """Strip Ansible's types."""
    return json.loads(json.dumps(value, default=str))


def sealing_plan_page(plan: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    """Return plan.html for a plan and the planner's input it was made from."""
    document = _plain(document)
    machines = document.get("machines") or {}
    hardware = {
        name: _machine(host["hardware"], machines)
        for name, host in (document.get("hosts") or {}).items()
        if host.get("hardware")
    }
    # Without the changes that plan.yml prints: once applied they are gone, and a second run would write the page again.
    return render(_plain(plan), hardware)


def _machine(declared: Any, machines: Mapping[str, Any]) -> Any:
    """The hardware itself, where the input only names it."""
    if isinstance(declared, str):
        return machines.get(declared, {})
    if isinstance(declared, Mapping) and "topology" in declared:
        with contextlib.suppress(HardwareError):  # the plan says what is wrong with it
            return normalise(declared, topologies=machines)
    return declared


def sealing_plan_changes(plan: Mapping[str, Any], document: Mapping[str, Any]) -> list[str]:
    """Return what the plan changes against the one applied last (`current` of the planner's input), a line each."""
    return text(diff(_plain(document.get("current")), _plain(plan)))


def sealing_simulation(
    plan: Mapping[str, Any], document: Mapping[str, Any], options: Mapping[str, Any] | None = None
) -> list[str]:
    """Return the simulation's tables as lines.

    `options`: `pledge` {sectors, every_sec} for a second table at that load; `days` (4);
    `default_tasks` {HOST: [PC1, PC2]} where the default scheduler's worker had less than its groups allow.
    """
    try:
        from sealplan.simulate import Load, notes, saturating, simulate, table
    except ImportError as error:
        raise AnsibleFilterError(f"{error}: install requirements.txt into the Python that runs Ansible") from error
    plan, document, given = _plain(plan), _plain(document), _plain(options or {})
    if plan.get("errors"):
        raise AnsibleFilterError("the plan has errors, see playbooks/plan.yml: there is nothing to simulate")
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


class FilterModule:
    """Filters that show a plan."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "sealing_plan_page": sealing_plan_page,
            "sealing_plan_changes": sealing_plan_changes,
            "sealing_simulation": sealing_simulation,
        }
