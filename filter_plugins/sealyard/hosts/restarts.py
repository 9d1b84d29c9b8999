"""Who restarts when: hosts of one group take turns, groups go side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def worker_restart_turns(plan: Mapping[str, Any], hosts: Iterable[str], at_once: int = 1) -> list[list[str]]:
    """Return the hosts that restart together, turn by turn: of each pool at most `at_once`."""
    pools: dict[tuple[str, ...], list[str]] = {}
    for host in sorted(hosts):
        pools.setdefault(restart_pool(plan["hosts"].get(host, {})), []).append(host)
    size = max(int(at_once), 1)
    longest = max((len(pool) for pool in pools.values()), default=0)
    return [
        sorted(host for pool in pools.values() for host in pool[start : start + size])
        for start in range(0, longest, size)
    ]


def restart_pool(host_plan: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what the host must not leave empty: its group, or what its tasks and miners are where it has none."""
    group = host_plan.get("group")
    if group:
        return ("group", str(group))
    workers = host_plan.get("workers", ())
    return ("miners", *sorted({f"{worker['miner']}/{worker['miner_role']}" for worker in workers}))


def waiting_for_restart(hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the hosts of this run on which module unit_set has put a restart off."""
    return [host for host in hosts if (hostvars[host].get("sealing_worker_run") or {}).get("deferred")]
