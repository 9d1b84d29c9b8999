"""What is in force after a run that may have touched only some hosts."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

EACH: Final = "*"
SHAPE: Final[Mapping[str, Any]] = {
    "groups": {EACH: {"hosts": [str]}},
    "hosts": {EACH: {"workers": [{"name": str}], "group_id": int}},
    "miners": {EACH: {"instances": {EACH: {"sector_numbers": re.compile(r"\d+-\d+"), "flags": [str]}}}},
    "counter": {"host": str, "role": str},
    "capacity": {"sectors_per_day": float},
}
"""What a plan in force is read for. Null is nothing said, but in a list, for a name and for what has one."""
REMEDY: Final = "restore it from a backup, or remove it if no host holds sectors"


def misshapen(applied: Any) -> str:
    """Return where a plan in force is not as Sealyard writes it; "" for one that is.

    Sector numbers that are given out are read from it, so nothing of a damaged one is believed.
    """
    return _misshapen(applied, SHAPE, "")


def _misshapen(value: Any, shape: Any, where: str) -> str:
    here = where.removeprefix(".") or "its top"
    if isinstance(shape, re.Pattern):
        return "" if isinstance(value, str) and shape.fullmatch(value) else here
    if isinstance(shape, type):
        fits = isinstance(value, int | float if shape is float else shape) and not isinstance(value, bool)
        return "" if fits else here
    if isinstance(shape, list):
        if not isinstance(value, list):
            return here
        return next((bad for i, one in enumerate(value) if (bad := _misshapen(one, shape[0], f"{where}[{i}]"))), "")
    if not isinstance(value, Mapping):
        return here
    inside = dict.fromkeys(value, shape[EACH]) if EACH in shape else shape
    told = [key for key in inside if EACH in shape or value.get(key) is not None or key == "name"]
    return next((bad for key in told if (bad := _misshapen(value.get(key), inside[key], f"{where}.{key}"))), "")


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
