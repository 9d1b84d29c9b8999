"""What a new plan changes against the plan applied last: moves first, then what a run would restart, then the rest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sealyard.plan.words import names_text, natural, plural, rate_text

RESTARTS: Final = (
    "tasks", "cpus", "bundles", "producers", "numa_node", "gpus", "memory_bytes", "concurrency", "port", "environment",
    "flags", "resources", "miner", "group",
)  # fmt: skip
"""Keys of a worker that stand in its unit or environment: a change restarts it, and a running PC1 begins anew."""

TOLD: Final = ("tasks", "group", "miner")
"""Keys whose old and new value are worth reading; of the others the name is enough."""

Plan = Mapping[str, Any]


def diff(applied: Plan | None, plan: Plan) -> dict[str, Any]:
    """Compare the plan applied last with the new one.

    Returns {first: bool, moves: [...] as in the plan, groups: {added, removed}, hosts: {added, removed,
    workers: {HOST: {added: [name], removed: [name], changed: {name: {key: [old, new]}}}}}, miners: [...],
    capacity: {sectors_per_day: [old, new], bottleneck: [old, new]}}. `first` is true where nothing was applied yet.
    """
    old = applied or {}
    old_hosts, new_hosts = _working(old), _working(plan)
    workers = {}
    for host in sorted(set(old_hosts) & set(new_hosts), key=natural):
        change = _workers(old_hosts[host], new_hosts[host])
        if any(change.values()):
            workers[host] = change
    old_capacity, new_capacity = old.get("capacity") or {}, plan.get("capacity") or {}
    return {
        "first": not applied,
        "moves": list(plan.get("moves") or ()),
        "groups": _sets(old.get("groups") or {}, plan.get("groups") or {}),
        "hosts": {**_sets(old_hosts, new_hosts), "workers": workers},
        "miners": _miners(old.get("miners") or {}, plan.get("miners") or {}),
        "capacity": {
            key: [old_capacity.get(key), new_capacity.get(key)]
            for key in ("sectors_per_day", "bottleneck")
            if old_capacity.get(key) != new_capacity.get(key)
        },
    }


def _working(plan: Plan) -> dict[str, Any]:
    return {name: slice_ for name, slice_ in (plan.get("hosts") or {}).items() if slice_.get("workers")}


def _sets(old: Iterable[str], new: Iterable[str]) -> dict[str, list[str]]:
    before, after = set(old), set(new)
    return {"added": sorted(after - before, key=natural), "removed": sorted(before - after, key=natural)}


def _workers(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    before = {w["name"]: w for w in old["workers"]}
    after = {w["name"]: w for w in new["workers"]}
    changed = {}
    for name in sorted(set(before) & set(after), key=natural):
        keys = {
            k: [before[name].get(k), after[name].get(k)] for k in RESTARTS if before[name].get(k) != after[name].get(k)
        }
        if keys:
            changed[name] = keys
    return {**_sets(before, after), "changed": changed}


def _miners(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Miners that come, go, or change what must never change unseen: roles and sector numbers."""
    found = []
    for name in sorted(set(old) | set(new), key=natural):
        was, now = old.get(name) or {}, new.get(name) or {}
        for key in ("roles", "sector_numbers", "peer_id_owner", "f3"):
            if was.get(key) != now.get(key):
                found.append({"host": name, "key": key, "from": was.get(key), "to": now.get(key)})
    return found


def text(change: Mapping[str, Any]) -> list[str]:
    """The lines for people, moves first; one line where many hosts change alike. Empty where nothing changes."""
    lines = []
    for move in change["moves"]:
        held = ": it may hold sectors, drain it first" if move.get("may_hold_sectors") else ""
        lines.append(f"MOVE {move['host']}: {move.get('what', 'group')} {move['from']} -> {move['to']}{held}")
    if change["first"]:
        return [*lines, "nothing was applied yet: everything is new"]
    hosts, groups = change["hosts"], change["groups"]
    for words, names in (
        ("gone", hosts["removed"]),
        ("new", hosts["added"]),
    ):
        if names:
            lines.append(f"{plural(len(names), 'worker host')} {words}: {names_text(names)}")
    for words, names in (("no longer there", groups["removed"]), ("new", groups["added"])):
        if names:
            lines.append(f"{plural(len(names), 'group')} {words}: {names_text(names)}")
    alike: dict[str, list[str]] = defaultdict(list)
    for host, workers in hosts["workers"].items():
        alike[_host_text(workers)].append(host)
    lines += [f"{names_text(names)}: {words}" for words, names in alike.items()]
    for miner in change["miners"]:
        lines.append(f"miner {miner['host']}: {miner['key']} {_shown(miner['from'])} -> {_shown(miner['to'])}")
    per_day = change["capacity"].get("sectors_per_day")
    if per_day:
        lines.append(f"sectors per day: {' -> '.join('-' if v is None else rate_text(float(v)) for v in per_day)}")
    bottleneck = change["capacity"].get("bottleneck")
    if bottleneck:
        lines.append(f"bound by: {' -> '.join(_shown(v) for v in bottleneck)}")
    return lines


def _host_text(workers: Mapping[str, Any]) -> str:
    parts = []
    if workers["removed"]:
        parts.append(f"stops {names_text(workers['removed'])}")
    if workers["added"]:
        parts.append(f"starts {names_text(workers['added'])}")
    alike: dict[str, list[str]] = defaultdict(list)
    for name, keys in workers["changed"].items():
        told = [f"{key} {_shown(old)} -> {_shown(new)}" for key, (old, new) in keys.items() if key in TOLD]
        rest = [key for key in keys if key not in TOLD]
        alike[", ".join([*told, *rest])].append(name)
    parts += [f"restarts {names_text(names)} ({words})" for words, names in alike.items()]
    return "; ".join(parts)


def _shown(value: object) -> str:
    if value is None or value == []:
        return "-"
    return " ".join(str(v) for v in value) if isinstance(value, list) else str(value)
