"""Per worker of the plan: what it does, or why it got no work and what to change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sealyard import stacks
from sealyard.diagnosis.log_lines import (
    NONE_ALLOWED,
    QUOTA,
    path_refusals,
    refusal,
    refusals,
    worker_cure,
)
from sealyard.diagnosis.miner import Miner, Path, Worker, need_bytes, resource_refusals
from sealyard.diagnosis.queue import Waiting
from sealyard.lotus.tasks import TASKS, short_name
from sealyard.stacks import Stack

FED_BY = {"PC2": "PC1", "C2": "PC2"}
"""Tasks that exist only after another one."""


@dataclass(frozen=True)
class Host:
    """What a worker's host tells: whether ssh reaches it, its units' ActiveState, what their journals matched, and why
    a call to the miner with a worker's own token failed (by worker name)."""

    reached: bool = True
    units: Mapping[str, str] = field(default_factory=dict)
    log: Mapping[str, Sequence[str]] = field(default_factory=dict)
    tokens: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """`state` is working, idle or out; `reasons` are (what is so, what to change), the most decisive first."""

    worker: str
    tasks: str
    state: str
    reasons: Sequence[tuple[str, str]]


def verdicts(
    plan: Mapping[str, Any], miners: Mapping[str, Miner], hosts: Mapping[str, Host], names: Sequence[str]
) -> list[Verdict]:
    """One verdict for each worker that the plan puts on the hosts `names`."""
    return [
        _verdict(
            plan, host, worker, miners.get(f"{worker['miner']}/{worker['miner_role']}"), hosts.get(host, Host(False))
        )
        for host in sorted(names)
        for worker in plan["hosts"].get(host, {}).get("workers", [])
    ]


def _verdict(
    plan: Mapping[str, Any], host: str, planned: Mapping[str, Any], miner: Miner | None, evidence: Host
) -> Verdict:
    name = f"{host}/{planned['name']}"
    tasks = " ".join(planned["tasks"])
    key = f"{planned['miner']}/{planned['miner_role']}"
    if miner is None or miner.reason:
        says = miner.reason if miner else "it was not asked"
        remedy = f"start it: systemctl status lotus-miner-{planned['miner_role']} on {planned['miner']}"
        return Verdict(name, tasks, "out", [(f"its miner {key} does not answer: {says}", remedy)])
    entries = [worker for worker in miner.workers if worker.name == name]
    if not entries:
        return Verdict(name, tasks, "out", [_away(host, planned, key, evidence, listed=False)])
    # A worker that came back is listed twice for a while.
    entry = next((worker for worker in entries if worker.enabled), entries[0])
    if not entry.enabled:
        return Verdict(name, tasks, "out", [_away(host, planned, key, evidence, listed=True)])
    jobs = [job for owner in (entry.id, entry.name) for job in miner.jobs.get(owner, [])]
    reasons = list(_reasons(plan, host, planned, entry, miner))
    if jobs:
        return Verdict(name, tasks, "working", [(", ".join(jobs), ""), *reasons])
    return Verdict(
        name,
        tasks,
        "idle",
        reasons or [_nothing_in_the_way(planned, miner, stacks.get(plan["settings"]["stack"]))],
    )


def _away(host: str, planned: Mapping[str, Any], key: str, evidence: Host, listed: bool) -> tuple[str, str]:
    """Why the miner does not list a worker of the plan, or lists it as one that it has lost."""
    unit = f"lotus-worker@{planned['name']}.service"
    start = f"is registered at {key} and disabled" if listed else f"is not registered at {key}"
    if not evidence.reached:
        return f"{start}: its host {host} does not answer to ssh", "bring the host back; the worker starts by itself"
    state = evidence.units.get(unit, "not-found")
    if state == "not-found":
        return f"{start}: {host} has no {unit}", f"run playbooks/workers.yml --limit {host}"
    token = evidence.tokens.get(planned["name"], "")
    cure = worker_cure(["401"] if "refused the token" in token else evidence.log.get(unit, []))
    if state == "active" and token and "refused the token" not in token:
        return f"{start}: from {host} {token}", "look at the miner's address, and at the firewall between the two"
    if cure:
        return f"{start}: it {cure.says}", cure.do
    if state != "active":
        return (
            f"{start}: {unit} is {state}",
            f"systemctl start {unit} on {host}, or run playbooks/workers.yml --limit {host}",
        )
    if listed:
        return (
            f"{start}, though {unit} runs: the miner does not reach it",
            f"open port {planned['port']} of {host} towards {planned['miner']}; where it is open, restart {unit}",
        )
    return (
        f"{start}, though {unit} runs",
        f"read journalctl -u {unit} on {host}; it may have another miner or another --name than the plan's",
    )


def _reasons(
    plan: Mapping[str, Any], host: str, planned: Mapping[str, Any], entry: Worker, miner: Miner
) -> Iterator[tuple[str, str]]:
    """All that keeps work from a registered worker, the most decisive first."""
    if stacks.get(plan["settings"]["stack"]).is_planned_offline(entry.raw["Info"].get("Resources") or {}):
        cure = refusal("plans offline")
        yield cure.says, cure.do
        return
    wanted = set(planned["tasks"])
    missing = sorted(wanted - entry.tasks)
    if missing:
        what = "takes no task: it is drained" if not wanted & entry.tasks else f"does not take {' '.join(missing)}"
        yield what, f"run playbooks/drain.yml --limit {host} -e drain_state=active"
    if wanted == set(missing):
        return
    yield from _path_reasons(plan, host, planned, miner)
    waiting = [each for each in miner.waiting if each.task in wanted and each.task in entry.tasks]
    said = set()
    none = [task for task in planned["tasks"] if task in entry.tasks and not entry.limits.get(task, 1)]
    if none:
        cure = refusal(NONE_ALLOWED)
        # Its own log would call the same worker as full as the plan lets it be.
        said |= {cure.token, *(QUOTA[task] for task in none)}
        yield f"{cure.says} for {' '.join(none)}", cure.do
    for task in sorted({each.task for each in waiting}):
        for reason in resource_refusals(entry, task, plan["settings"]["sector_size"]):
            cure = refusal(reason)
            said.add(cure.token)
            yield f"{cure.says} for {task}", cure.do
    if waiting:
        others = {task.name for task in TASKS} - {each.task for each in waiting}
        for what, reason in refusals(miner.log).get(entry.id.replace("-", ""), []):
            cure = refusal(reason)
            if cure.token not in said and short_name(what) not in others:
                said.add(cure.token)
                yield cure.says, cure.do
    yield from _locality(planned, plan, host, miner, waiting)


def _path_reasons(
    plan: Mapping[str, Any], host: str, planned: Mapping[str, Any], miner: Miner
) -> Iterator[tuple[str, str]]:
    """What is wrong with the sealing paths of a worker, as far as its tasks need one."""
    size = plan["settings"]["sector_size"]
    said_by_log = path_refusals(miner.log)
    for planned_path in plan["hosts"][host]["paths"]:
        if planned["name"] not in planned_path["workers"] or not planned_path["can_seal"]:
            continue
        where, ident = planned_path["path"], planned_path["id"]
        path = miner.paths.get(ident)
        if path is None:
            yield (
                f"its path {where} is unknown to the miner",
                f"run playbooks/workers.yml --limit {host}, then restart lotus-worker@{planned['name']}",
            )
            continue
        yield from _group_reasons(planned, planned_path, path, host, miner)
        needing = [task for task in ("AP", "PC1") if task in planned["tasks"]]
        refused = [task for task in needing if ident not in miner.accepted.get(task, frozenset([ident]))]
        if not needing and "PC2" in planned["tasks"] and path.available_bytes < need_bytes("PC2", size):
            refused = ["PC2"]
        if refused:
            yield _why_refused(where, path, refused[-1], size, said_by_log.get(ident.lower(), ""), host, planned)


def _why_refused(
    where: str, path: Path, task: str, size: str, logged: str, host: str, planned: Mapping[str, Any]
) -> tuple[str, str]:
    need = need_bytes(task, size)
    restart = f"restart lotus-worker@{planned['name']} on {host}; if that does not help, look at the disk and the mount"
    if not path.can_seal:
        return (
            f"its path {where} is not one for sealing (CanSeal is false)",
            f"run playbooks/workers.yml --limit {host}",
        )
    if "heartbeat error" in logged or path.trouble:
        return f"its path {where} cannot be read: {path.trouble or logged}", restart
    if path.available_bytes < need:
        reserved = (
            f", {_size(path.reserved_bytes)} of the rest is promised to running tasks" if path.reserved_bytes else ""
        )
        return (
            f"its path {where} is out of space: {task} needs {_size(need)}, "
            f"{_size(path.available_bytes)} are free{reserved}",
            "let PC2 take what lies there, remove failed sectors (lotus-miner sectors list, sectors remove), "
            "or raise MaxStorage where the disk has more",
        )
    if "heartbeats" in logged:
        return f"its path {where} is stale: the miner {logged}", restart
    return (
        f"its path {where} is stale: the miner has not heard from it for 50 seconds, or sees it too full",
        "wait 20 seconds and run this again; then " + restart,
    )


def _group_reasons(
    planned: Mapping[str, Any], planned_path: Mapping[str, Any], path: Path, host: str, miner: Miner
) -> Iterator[tuple[str, str]]:
    """Groups and AllowTo that differ from the plan's, or that nobody at this miner answers to."""
    remedy = f"run playbooks/workers.yml --limit {host}, which writes the plan's into sectorstore.json"
    differs = False
    for key, has in (("groups", path.groups), ("allow_to", path.allow_to)):
        plan_has = frozenset(planned_path[key] or [])
        if has != plan_has:
            differs = True
            label = {"groups": "Groups", "allow_to": "AllowTo"}[key]
            yield f"its path {planned_path['path']} has {label} {_list(has)}, the plan says {_list(plan_has)}", remedy
    if differs:
        return
    others = [each for each in miner.paths.values() if each.can_seal and each.id != path.id]
    if "PC2" in planned["tasks"] and "PC1" not in planned["tasks"] and path.groups:
        givers = [each for each in others if not each.groups]
        if givers and all(each.allow_to and not each.allow_to & path.groups for each in givers):
            allowed = _list(frozenset().union(*(each.allow_to for each in givers)))
            yield (
                f"no PC1 path gives to its group {_list(path.groups)}: they allow {allowed}",
                "run playbooks/workers.yml, on all hosts: one of them has sectorstore.json of another plan",
            )
    if "PC1" in planned["tasks"] and path.allow_to and not any(each.groups & path.allow_to for each in [*others, path]):
        yield (
            f"what it seals waits for PC2: no path has a group of AllowTo {_list(path.allow_to)}",
            "start the PC2 workers of the group, or run playbooks/workers.yml on their hosts",
        )


def _locality(
    planned: Mapping[str, Any], plan: Mapping[str, Any], host: str, miner: Miner, waiting: Sequence[Waiting]
) -> Iterator[tuple[str, str]]:
    """Sectors that wait for PC2 but may not come to this worker."""
    own = {path["id"] for path in plan["hosts"][host]["paths"] if planned["name"] in path["workers"]}
    away = [
        each.sector
        for each in waiting
        if each.task == "PC2" and each.sector in miner.can_fetch and not own & miner.can_fetch[each.sector]
    ]
    if away and len(away) == sum(each.task == "PC2" for each in waiting):
        yield (
            f"the sectors that wait for PC2 ({_some(away)}) may not leave their group",
            "look at the PC2 workers of that group: they are the ones that must take them",
        )


def _nothing_in_the_way(planned: Mapping[str, Any], miner: Miner, stack: Stack) -> tuple[str, str]:
    """Why a healthy worker idles: nothing is queued for it, or the scheduler has not looked."""
    tasks = planned["tasks"]
    stuck = stack.scheduler_problem(miner.log)
    if stuck:
        return stuck
    queued = [each for each in miner.waiting if each.task in tasks]
    if queued:
        return (
            f"nothing keeps {_some([each.sector for each in queued])} from it: the scheduler has not looked since",
            "lotus-miner sealing sched-diag --force-sched on the miner's host",
        )
    first = tasks[0]
    if first in FED_BY:
        return (
            f"no {first} waits at its miner: sectors come to it from {FED_BY[first]}",
            f"nothing is wrong with it; look why {FED_BY[first]} gives nothing, or how far it is",
        )
    return f"no {first} waits at its miner", "pledge sectors: playbooks/pledge.yml"


def _size(count: int) -> str:
    """Bytes as people read them."""
    for unit, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"


def _list(values: frozenset[str]) -> str:
    return ", ".join(sorted(values)) or "none"


def _some(sectors: Sequence[int]) -> str:
    ordered = sorted(set(sectors))
    return ", ".join(map(str, ordered[:5])) + (f" and {len(ordered) - 5} more" if len(ordered) > 5 else "")
