"""What is in force after a run that may have touched only some hosts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any


def merge_applied(before: Mapping[str, Any] | None, plan: Mapping[str, Any], done: Collection[str]) -> dict[str, Any]:
    """Return the plan in force: new for the hosts in `done`, as it was `before` for all others."""
    merged = dict(plan)
    old_hosts = (before or {}).get("hosts") or {}
    old_groups = (before or {}).get("groups") or {}
    old_miners = (before or {}).get("miners") or {}
    merged["hosts"] = {
        name: slice_ if name in done else old_hosts[name]
        for name, slice_ in plan["hosts"].items()
        if name in done or name in old_hosts
    }
    member: dict[str, str] = {h: g for g, group in old_groups.items() for h in group["hosts"] if h in plan["hosts"]}
    for group, row in plan["groups"].items():
        member.update({host: group for host in row["hosts"] if host in done})
    groups = {}
    for name in sorted({*plan["groups"], *member.values()}):
        row = dict(plan["groups"].get(name) or old_groups.get(name) or {})
        row["hosts"] = sorted(host for host, group in member.items() if group == name)
        groups[name] = row
    merged["groups"] = groups
    # A miner's range of sector numbers is taken once it is planned, whether or not the run reached it.
    merged["miners"] = {**old_miners, **plan["miners"]}
    return merged


def counting_processes(applied: Mapping[str, Any]) -> list[str]:
    """Return the processes HOST/ROLE that give out sector numbers by the plan in force.

    A plan that an older Sealyard applied has no key `counter`, and says it in the flags of its miners.
    """
    if "counter" in applied:
        counter = applied["counter"]
        return [f"{counter['host']}/{counter['role']}"] if counter else []
    return [
        f"{host}/{role}"
        for host, miner in sorted((applied.get("miners") or {}).items())
        for role, instance in miner["instances"].items()
        if "--sctype=alloce" in (instance.get("flags") or [])
    ]
