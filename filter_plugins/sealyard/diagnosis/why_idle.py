"""Filters of playbooks/why_idle.yml: what to ask, and a verdict on each worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sealyard import stacks
from sealyard.diagnosis.log_lines import MINER_PATTERN, WORKER_PATTERN, lines_by_unit
from sealyard.diagnosis.miner import Miner, first_calls, next_calls, read
from sealyard.diagnosis.queue import taken_tasks, untaken_tasks
from sealyard.diagnosis.verdict import Host, Verdict, verdicts
from sealyard.hosts.registration import worker_stats_named

SIGNS = {"working": "works", "idle": "IDLE", "out": "OUT "}


def plan_serving_miners(plan: Mapping[str, Any], hosts: Sequence[str]) -> list[dict[str, str]]:
    """Miner processes that the workers of `hosts` serve, each once: [{key "HOST/ROLE", host, role}]."""
    found = {
        (worker["miner"], worker["miner_role"])
        for host in hosts
        for worker in plan["hosts"].get(host, {}).get("workers", [])
    }
    return [{"key": f"{host}/{role}", "host": host, "role": role} for host, role in sorted(found)]


def plan_settings_idle_calls(
    settings: Mapping[str, Any], first: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Calls for module lotus_rpc: the first ones, or those that follow from the answers to the first."""
    if first is None:
        return first_calls(stacks.get(settings["stack"]), settings["sector_size"], settings["actor"])
    return next_calls(first, settings["sector_size"])


def idle_journal_pattern(whose: str) -> str:
    """Regular expression for journalctl --grep, of a "miner" or a "worker"."""
    return {"miner": MINER_PATTERN, "worker": WORKER_PATTERN}[whose]


def idle_answers_absent_workers(
    first: Sequence[Mapping[str, Any]], host_plan: Mapping[str, Any], host: str
) -> list[str]:
    """Names of a host's workers that no miner lists as one it reaches, out of the answers to the first calls."""
    listed = {
        entry["Info"]["Hostname"]
        for answer in first
        for each in answer.get("answers") or []
        if each["method"] == "WorkerStats"
        for entry in (each["result"] or {}).values()
        if entry["Enabled"]
    }
    if not any(answer.get("reachable") for answer in first):
        return []
    return [worker["name"] for worker in host_plan["workers"] if f"{host}/{worker['name']}" not in listed]


def _host(variables: Mapping[str, Any]) -> Host:
    """A host from what its two commands printed; one without results was not reached."""
    units, journal = variables.get("why_idle_units") or {}, variables.get("why_idle_journal") or {}
    if "stdout" not in units:
        return Host(reached=False)
    states: dict[str, str] = {}
    for block in str(units["stdout"]).split("\n\n"):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if values.get("Id"):
            states[values["Id"]] = (
                "not-found" if values.get("LoadState") == "not-found" else values.get("ActiveState", "")
            )
    tokens = {
        str(result["item"]): str(result.get("reason") or result.get("msg") or "")
        for result in (variables.get("why_idle_tokens") or {}).get("results") or []
        if not result.get("reachable")
    }
    return Host(True, states, lines_by_unit(str(journal.get("stdout") or "")), tokens)


def _with_names(
    first: Sequence[Mapping[str, Any]], hostvars: Mapping[str, Mapping[str, Any]], hosts: Sequence[str]
) -> list[dict[str, Any]]:
    """The first answers with the plan's names, where the fork's first generation has only those of the hosts."""
    named = []
    for one in first:
        answers = [dict(each) for each in one.get("answers") or []]
        for index, each in enumerate(answers):
            for host in hosts if each["method"] == "WorkerStats" else []:
                sessions = (hostvars[host].get("sealing_worker_identities") or {}).get("results") or []
                (answers[index],) = worker_stats_named([answers[index]], sessions, host)
        named.append({**one, "answers": answers} if answers else dict(one))
    return named


def _miners(
    first: Sequence[Mapping[str, Any]], following: Sequence[Mapping[str, Any]], journals: Sequence[Mapping[str, Any]]
) -> dict[str, Miner]:
    found = {}
    for one, two, journal in zip(first, following, journals, strict=True):
        key = one["item"]["key"]
        answer = dict(one)
        if one.get("unreachable"):
            answer["reason"] = f"host {one['item']['host']} does not answer to ssh"
        found[key] = read(key, answer, two, str(journal.get("stdout") or ""))
    return found


def plan_idle_report(
    plan: Mapping[str, Any],
    hostvars: Mapping[str, Mapping[str, Any]],
    hosts: Sequence[str],
    first: Sequence[Mapping[str, Any]],
    following: Sequence[Mapping[str, Any]],
    journals: Sequence[Mapping[str, Any]],
) -> list[str]:
    """Lines for the operator: a verdict on each worker of `hosts`, the ones without work first.

    `first`, `following` and `journals` are results of loops over `plan_serving_miners`.
    """
    miners = _miners(_with_names(first, hostvars, hosts), following, journals)
    evidence = {host: _host(hostvars[host]) for host in hosts}
    found = verdicts(plan, miners, evidence, hosts)
    lines: list[str] = []
    for state in ("out", "idle", "working"):
        for verdict in found:
            if verdict.state == state:
                lines += _shown(verdict)
    return [_summary(found, miners), *lines, *_untaken(plan, miners), *_strangers(plan, miners), *_blind(miners)]


def _shown(verdict: Verdict) -> list[str]:
    lines = []
    for index, (what, remedy) in enumerate(verdict.reasons):
        start = f"{SIGNS[verdict.state]} {verdict.worker} ({verdict.tasks}): " if not index else "      also: "
        lines.append(start + what)
        if remedy:
            lines.append(f"      -> {remedy}")
    return lines


def _summary(found: Sequence[Verdict], miners: Mapping[str, Miner]) -> str:
    count = {state: sum(verdict.state == state for verdict in found) for state in SIGNS}
    waiting: dict[str, int] = {}
    for miner in miners.values():
        for each in miner.waiting:
            waiting[each.task] = waiting.get(each.task, 0) + 1
    queue = ", ".join(f"{number} {task}" for task, number in sorted(waiting.items())) or "nothing"
    return (
        f"{len(found)} workers of the plan: {count['working']} work, {count['idle']} idle, {count['out']} out of reach "
        f"or switched off. In the queue: {queue}."
    )


def _untaken(plan: Mapping[str, Any], miners: Mapping[str, Miner]) -> list[str]:
    """Tasks that wait at a miner and that no worker of the plan takes."""
    stack = stacks.get(plan["settings"]["stack"])
    taken = taken_tasks(plan, stack)
    lines = []
    for miner in miners.values():
        for each in untaken_tasks(miner.waiting, taken.get(miner.key, ()), stack):
            lines += [f"      {miner.key}: {each.says}", f"      -> {each.do}"]
    return lines


def _strangers(plan: Mapping[str, Any], miners: Mapping[str, Miner]) -> list[str]:
    """Workers that a miner lists and no plan knows; the miner itself is listed as one, without sealing tasks."""
    known = {f"{host}/{worker['name']}" for host, part in plan["hosts"].items() for worker in part.get("workers", [])}
    return [
        f"      {worker.name} works for {miner.key} and is not in the plan: it may take what the plan meant for others"
        for miner in miners.values()
        for worker in miner.workers
        if worker.name not in known and worker.tasks & {"AP", "PC1", "PC2", "C2"}
    ]


def _blind(miners: Mapping[str, Miner]) -> list[str]:
    """Miners that wrote no line of their scheduler though tasks wait."""
    return [
        f"      {miner.key} wrote no line of its scheduler into its journal: with GOLOG_LOG_LEVEL set it does not"
        for miner in miners.values()
        if miner.waiting and not miner.log
    ]
