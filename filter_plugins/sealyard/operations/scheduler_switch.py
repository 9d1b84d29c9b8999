"""Filters of playbooks/scheduler_switch.yml: may binaries run the chain, which numbers are used, what was kept."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sealyard.hosts.miners import plan_miner_processes
from sealyard.lotus.runs import members
from sealyard.operations.counter_move import GAP, SEALING_ROLES
from sealyard.stacks import Stack

NEWEST_NETWORK = (
    ((1, 12), 14),
    ((1, 14), 15),
    ((1, 16), 16),
    ((1, 18), 17),
    ((1, 20), 18),
    ((1, 22), 20),
    ((1, 24), 21),
    ((1, 26), 22),
    ((1, 28), 23),
    ((1, 30), 24),
    ((1, 32), 26),
    ((1, 34), 27),
    ((1, 36), 28),
)
"""Newest network version that a release of Lotus knows, by the first release that has it (its release notes). A release
runs every older one, too."""
RELEASE = re.compile(r"^(\d+)\.(\d+)")


def newest_network(version: str) -> int | None:
    """Newest network version of a Lotus release such as 1.12.0+2k+git.a9b8795f; None where it is not known."""
    found = RELEASE.match(version)
    if not found:
        return None
    release = (int(found[1]), int(found[2]))
    return max((network for first, network in NEWEST_NETWORK if first <= release), default=None)


def versions_network_problems(versions: Mapping[str, str], chain: int | None, newest: int = 0) -> list[str]:
    """Why the binaries {HOST: version} cannot run a chain at network version `chain`; `newest`: what they know."""
    if chain is None:
        return ["the private daemon does not tell the network version of the chain: start it (playbooks/chain.yml)"]
    problems = []
    for host, version in sorted(versions.items()):
        known = newest or newest_network(version)
        if known is None:
            problems.append(
                f"{host}: which network versions {version} knows is not known here: pass "
                "-e scheduler_switch_newest_network=N, from its release notes"
            )
        elif known < chain:
            problems.append(
                f"{host}: {version} knows network versions up to {known}, and the chain is at {chain}: it would "
                "refuse every block. Give binaries of the same network version; nothing was switched"
            )
    return problems


def counter_look_used_numbers(
    seen: Mapping[str, Mapping[str, Any]], allocated: Sequence[int] | None, noted: Sequence[int] = ()
) -> list[int]:
    """Numbers that may be in use, as runs (absent first).

    They are those of every miner's sectors, of the chain (`allocated`, runs of StateMinerAllocated), of an earlier look
    (`noted`, runs), and the last one of every counter's file, mark and copy. What is missing between two of them that
    are near was drawn and lost.
    """
    numbers = members(allocated) | members(noted)
    for place in seen.values():
        counter = place.get("counter") or {}
        for source in ("files", "retired", "remembered"):
            numbers |= {int(number) for number in (counter.get(source) or {}).values()}
        for answer in (place.get("lists") or {}).get("results") or []:
            numbers |= {int(number) for number in answer.get("result") or []}
    found: list[list[int]] = []
    for number in sorted({0, *numbers}):
        if found and number - found[-1][1] <= GAP:
            found[-1][1] = number
        else:
            found.append([number, number])
    runs: list[int] = []
    position = 0
    for first, last in found:
        runs += [first - position, last - first + 1]
        position = last + 1
    return runs


def number_runs_have_number(runs: Sequence[int], number: int) -> bool:
    """Whether a sector number is in a set of runs."""
    return int(number) in members(runs)


def counter_look_silent_sealers(seen: Mapping[str, Mapping[str, Any]], miners: Mapping[str, Any]) -> list[str]:
    """Sealing miners that have a repo and do not answer, so that their numbers are not known."""
    found = []
    for process in plan_miner_processes(miners):
        place = seen[process["host"]]
        repos = (place.get("counter") or {}).get("repos")
        answers = {a["item"]: a for a in (place.get("lists") or {}).get("results") or []}
        answered = (answers.get(process["role"]) or {}).get("reachable")
        if process["role"] in SEALING_ROLES and not answered and (repos is None or process["role"] in repos):
            found.append(process["key"])
    return found


def miner_roles_holding_calls(roles: Sequence[str], groups: Sequence[str]) -> list[dict[str, str]]:
    """Calls that tell what a host holds: [{role (name of a repo), method}]."""
    calls = [{"role": "daemon-private", "method": "WalletList"}] if "daemon_private" in groups else []
    return calls + [
        {"role": f"miner-{role}", "method": method} for role in roles for method in ("StorageLocal", "SectorsList")
    ]


def hosts_holdings(hostvars: Mapping[str, Any], hosts: Iterable[str], name: str) -> dict[str, list[str]]:
    """{"HOST REPO METHOD": sorted words} of the answers to `miner_roles_holding_calls`, registered under `name`."""
    found: dict[str, list[str]] = {}
    for host in hosts:
        for answer in (hostvars[host].get(name) or {}).get("results") or []:
            if answer.get("reachable"):
                item, result = answer["item"], answer.get("result") or []
                words = [*result.keys(), *result.values()] if isinstance(result, Mapping) else result
                found[f"{host} {item['role']} {item['method']}"] = sorted(str(word) for word in words)
    return found


def holdings_lost_problems(before: Mapping[str, Sequence[str]], after: Mapping[str, Sequence[str]]) -> list[str]:
    """What was there before and is not now, one line each."""
    problems = []
    for place, words in sorted(before.items()):
        gone = sorted(set(words) - set(after.get(place) or []))
        if gone:
            problems.append(f"{place}: {', '.join(gone[:20])} was there before the switch and is not now")
    return problems


def worker_stats_idle_problems(stats: Mapping[str, Any] | None, stack: Stack) -> list[str]:
    """Why the scheduler would give its workers nothing, [] when there is one for it; `stats` answers WorkerStats."""
    entries = [entry for entry in (stats or {}).values() if not _is_miner(entry)]
    if not entries:
        return ["the miner has no worker: run playbooks/workers.yml"]
    problems = []
    for entry in entries:
        name = entry["Info"]["Hostname"]
        resources = entry["Info"].get("Resources") or {}
        if not entry.get("Enabled", True):
            problems.append(f"{name} is switched off: journalctl -u 'lotus-worker@*' on its host")
        elif stack.is_planned_offline(resources):
            problems.append(
                f"{name} is planned offline: playbooks/drain.yml -e drain_state=active --limit {name.split('/')[0]}"
            )
        elif "TaskTypes" in entry and not entry["TaskTypes"]:
            problems.append(
                f"{name} takes no task: playbooks/drain.yml -e drain_state=active --limit {name.split('/')[0]}"
            )
    return problems


WAITS = ("", "Empty", "WaitDeals", "AddPiece", "Packing", "GetTicket")
"""States of a sector before its first PC1 can have ended."""


def sector_answers_show_work(answers: Sequence[Mapping[str, Any]] | None, number: int) -> bool:
    """Whether a worker has a task of the sector, or had one; `answers` are of WorkerJobs and SectorsStatus."""
    jobs, status = (answer.get("result") or {} for answer in (answers or [{}, {}]))
    at_work = [
        job
        for listed in jobs.values()
        for job in listed
        if int(job["Sector"]["Number"]) == int(number) and int(job["RunWait"]) <= 0
    ]
    return bool(at_work) or str(status.get("State") or "") not in (*WAITS, "PreCommit1")


def hosts_lotus_versions(hostvars: Mapping[str, Any], hosts: Iterable[str]) -> dict[str, str]:
    """Version {HOST: ...} that role lotus_install has brought to each host; hosts that have none yet are left out."""
    found = {}
    for host in hosts:
        for name in ("lotus_install_done", "lotus_install_state"):
            version = (hostvars[host].get(name) or {}).get("version")
            if version and host not in found:
                found[host] = str(version)
    return found


def _is_miner(entry: Mapping[str, Any]) -> bool:
    return str(entry["Info"]["Hostname"]).endswith("-miner") or bool(
        (entry["Info"].get("Resources") or {}).get("IsMiner")
    )
