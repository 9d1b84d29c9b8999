"""What a miner must list of a host's workers, and what is wrong with what it lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sealyard.lotus.tasks import SWITCHED, short_name

TASK_LIMITS = ("AddPieceMax", "PreCommit1Max", "PreCommit2Max", "Commit2Max")
"""What a miner reports of a worker that has limits of its own."""
FIRST_GENERATION_KEY = "PreCommit1HoldMax"
"""What only workers of the first generation report, where the second has DiskHoldMax."""


def host_plan_registrations(host_plan: Mapping[str, Any], host_name: str) -> list[dict[str, Any]]:
    """What a miner must list for this host: [{name "HOST/WORKER", tasks [AP, …], miner, limits (fork)}]."""
    return [
        {
            "name": f"{host_name}/{worker['name']}",
            "tasks": list(worker["tasks"]),
            "miner": worker["miner"],
            "limits": {key: value for key, value in worker.get("myscheduler", {}).items() if key in TASK_LIMITS},
        }
        for worker in host_plan.get("workers", [])
    ]


def worker_stats_named(
    answers: Sequence[Mapping[str, Any]], sessions: Sequence[Mapping[str, Any]], host_name: str
) -> list[dict[str, Any]]:
    """The answers to WorkerStats with the plan's names, where the fork's first generation has that of the host alone.

    `sessions` are the answers of the host's workers to Session, of a loop over their names: by its session a miner
    knows a worker. [] on what names its workers itself.
    """
    names = {str(answer["result"]): f"{host_name}/{answer['item']}" for answer in sessions if answer.get("result")}

    def named(ident: str, entry: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**entry, "Info": {**entry["Info"], "Hostname": names[ident]}} if ident in names else entry

    return [
        {**answer, "result": {ident: named(ident, entry) for ident, entry in (answer.get("result") or {}).items()}}
        for answer in answers
    ]


def worker_problems(
    stats: Mapping[str, Any] | None, host_plan: Mapping[str, Any], host_name: str, names: Sequence[str]
) -> list[str]:
    """What is wrong with the workers `names` of a host in the answer to WorkerStats: one sentence each, [] when none.

    A worker that came back is listed twice for a while, so one good entry is enough.
    """
    problems = []
    for worker in host_plan_registrations(host_plan, host_name):
        short = worker["name"].split("/", 1)[1]
        if short not in names:
            continue
        listed = [
            entry for entry in (stats or {}).values() if (entry.get("Info") or {}).get("Hostname") == worker["name"]
        ]
        verdicts = [_verdict(worker, entry) for entry in listed]
        if "" in verdicts:
            continue
        if not verdicts:
            problems.append(
                f"{worker['name']} is not registered at {worker['miner']}: read journalctl -u lotus-worker@{short} on "
                f"{host_name}; a line with 401 means its token is not the miner's, run playbooks/workers.yml"
            )
        else:
            problems.append(f"{worker['name']} at {worker['miner']}: {verdicts[-1]}")
    return problems


def registration_problems(
    answers: Sequence[Mapping[str, Any]], host_plan: Mapping[str, Any], host_name: str
) -> list[str]:
    """`worker_problems` of every miner that answered; `answers` are the results of a loop over `worker_miners`."""
    problems: list[str] = []
    for answer in answers:
        if answer.get("reachable"):
            problems += worker_problems(answer.get("result"), host_plan, host_name, answer["item"]["workers"])
    return problems


def tasks_of(entry: Mapping[str, Any]) -> set[str]:
    """Tasks an entry of WorkerStats takes, in the plan's names; the fork lists them as text."""
    named = entry["TaskTypes"].split() if "TaskTypes" in entry else map(short_name, entry.get("Tasks") or [])
    return set(named) & {task.name for task in SWITCHED}


def _verdict(worker: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    if not entry.get("Enabled"):
        return "registered but disabled: the miner cannot reach it, open its port towards the miner"
    resources = (entry.get("Info") or {}).get("Resources") or {}
    wanted, has = set(worker["tasks"]), tasks_of(entry)
    if "TaskTypes" in entry:
        # The fork's PC1 workers unseal, too, whether the plan says it or not.
        has -= {"UNS"} - wanted
    if has == wanted:
        # Where the file is not read, the fork takes three AP, seven PC1, one PC2 and one C2 from every worker. The
        # first generation reads none and has no flag for AP: there the task's own switch decides.
        first = FIRST_GENERATION_KEY in resources
        reported = {key: resources[key] for key in worker["limits"] if key in resources}
        surplus = [
            key
            for key, value in reported.items()
            if bool(value) != bool(worker["limits"][key]) and not (first and key == "AddPieceMax")
        ]
        if surplus:
            other = ", ".join(f"{key} {reported[key]}" for key in surplus)
            return (
                f"reports {other}, which is not the plan's: its myscheduler.json is not read, run playbooks/workers.yml"
            )
        return ""
    if not has:
        return "takes no task: it is drained, playbooks/drain.yml -e drain_state=active puts it back to work"
    return (
        f"takes {' '.join(sorted(has))} instead of {' '.join(sorted(wanted))}: "
        "playbooks/drain.yml -e drain_state=active sets the plan's tasks"
    )
