"""Workers taken out of work, and put back: by calls, or by the file that a worker reads its limits from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sealyard.hosts.registration import host_plan_registrations, tasks_of
from sealyard.lotus.tasks import BY_NAME, short_name
from sealyard.stacks import Stack


def worker_task_switches(
    answers: Sequence[Mapping[str, Any]],
    host_plan: Mapping[str, Any],
    host_name: str,
    state: str,
    stack: Stack,
) -> list[dict[str, str]]:
    """Calls that drain a host's workers or give them back the plan's tasks: [{worker, method, task}].

    `answers` are the answers to WorkerStats of a loop over `worker_miners`; `state` is "drained" or "active". Only what
    the miner does not list that way already is switched, and nothing the plan did not give the worker. Those that read
    their limits from files are drained by those.
    """
    if stack.limits_in_files:
        return []
    listed: dict[str, set[str]] = {}
    for answer in answers:
        for entry in (answer.get("result") or {}).values():
            if entry.get("Enabled"):
                listed.setdefault(str(entry["Info"]["Hostname"]), set()).update(tasks_of(entry))
    switches = []
    for worker in host_plan_registrations(host_plan, host_name):
        short = worker["name"].split("/", 1)[1]
        has = listed.get(worker["name"], set())
        for task in worker["tasks"]:
            takes = task in has
            if takes == (state == "drained"):
                method = "TaskDisable" if takes else "TaskEnable"
                switches.append({"worker": short, "method": method, "task": BY_NAME[task].lotus_type})
    return switches


def worker_drain_files(
    host_plan: Mapping[str, Any], state: str, user: str, group: str, stack: Stack
) -> list[dict[str, Any]]:
    """The workers' own files with IsPlanOffline as `state` wants it, as the option `files` of module file_set.

    Everything else in a file stays; [] on a stack without such files.
    """
    return [
        {
            "path": path,
            "content": json.dumps(worker["myscheduler"] | {"IsPlanOffline": state == "drained"}, indent=2) + "\n",
            "json_set": ["IsPlanOffline"],
            "owner": user,
            "group": group,
        }
        for worker in host_plan.get("workers", [])
        if (path := stack.limits_path(worker, host_plan.get("paths", [])))
    ]


def worker_jobs_running(
    jobs: Mapping[str, Any] | None, answers: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> list[str]:
    """Jobs in the answer to WorkerJobs that the named workers still have: "sector 5 PC1 on pc1-a/pc1-0".

    `answers` are the answers to WorkerStats: a running job carries no host name, only its worker's id. After a miner's
    restart a job goes on with RunWait -1, id zero and a host name; below -1 it has come back (storiface WorkerJob).
    """
    hosts = {worker: entry["Info"]["Hostname"] for each in answers for worker, entry in (each["result"] or {}).items()}
    found = []
    for worker, listed in (jobs or {}).items():
        for job in listed:
            host = job.get("Hostname") or hosts.get(worker)
            if host in names and job["RunWait"] >= -1:
                found.append(f"sector {job['Sector']['Number']} {short_name(job['Task'])} on {host}")
    return found
