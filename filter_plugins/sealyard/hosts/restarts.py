"""Who restarts when: hosts of one group take turns, groups go side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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


def unlisted_workers(answers: Sequence[Mapping[str, Any]], sessions: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return which restarted workers their miners do not have again, a sentence each.

    `answers` are those to WorkerStats of a loop over `worker_miners`, `sessions` those of the workers to Session, of a
    loop over their names. A miner goes on listing the worker of before for a while, as good as new: the session tells
    the two apart.
    """
    return [
        f"{answer['item']['key']} does not list {worker['item']} since its restart: read journalctl -u "
        f"lotus-worker@{worker['item']}"
        for answer in answers
        for worker in sessions
        if worker["item"] in answer["item"]["workers"] and str(worker.get("result")) not in (answer.get("result") or {})
    ]
