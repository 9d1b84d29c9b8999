"""Filters of playbooks/sector_counter_move.yml: who gives out numbers, what is known of them, what is to be done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sealyard.hosts.miners import plan_counter_listen, plan_counter_process, plan_miner_processes

SEALING_ROLES = ("seal", "deal")
GAP = 64
"""Numbers left out where the last ones given out can only be guessed from copies: a skipped number costs nothing."""
LOST = "sector_counter_move_old_host_lost=true"


@dataclass(frozen=True)
class Process:
    """One miner process as it was seen; None for what could not be asked.

    `file` and `retired` are numbers of its counter, 0 for a damaged one; `sectors` is its answer to SectorsList.
    """

    key: str
    host: str
    role: str
    reachable: bool
    file: int | None
    retired: int | None
    repo: bool
    sectors: Sequence[int] | None

    @property
    def seals(self) -> bool:
        """It numbers sectors."""
        return self.role in SEALING_ROLES


def _processes(seen: Mapping[str, Mapping[str, Any]], miners: Mapping[str, Any]) -> list[Process]:
    found = []
    for each in plan_miner_processes(miners):
        host, role = each["host"], each["role"]
        place = seen[host].get("counter") or {}
        lists = {answer["item"]: answer for answer in (seen[host].get("lists") or {}).get("results") or []}
        answer = lists.get(role) or {}
        found.append(
            Process(
                key=each["key"],
                host=host,
                role=role,
                reachable="files" in place,
                file=(place.get("files") or {}).get(role),
                retired=(place.get("retired") or {}).get(role),
                repo=role in (place.get("repos") or []),
                sectors=[int(n) for n in answer.get("result") or []] if answer.get("reachable") else None,
            )
        )
    return found


def hosts_counter_look(hostvars: Mapping[str, Any], hosts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What tasks/look.yml of role sector_counter found: {HOST: {counter, lists}}, {} where nothing was."""
    return {
        host: {
            "counter": dict(hostvars[host].get("sector_counter_seen") or {}),
            "lists": dict(hostvars[host].get("sector_counter_lists") or {}),
        }
        for host in hosts
    }


def counter_look_move(
    seen: Mapping[str, Mapping[str, Any]],
    plan: Mapping[str, Any],
    chain: Mapping[str, Any],
    lost: bool = False,
    above: int = 0,
) -> dict[str, Any]:
    """What moves the authority to the process the plan names; what stands in the way is in `problems`.

    `seen` is of `hosts_counter_look`, `plan` the cluster's part of the plan, `chain` the answer to StateMinerSectors,
    `lost`: hosts that cannot be reached are gone for good, `above`: a number the operator says no sector is above.
    Returns {authority, from [HOST/ROLE], needed, highest, where, start, accounted [HOST/ROLE], stop {HOST: [ROLE]},
    retire {HOST: [ROLE]}, unreachable [HOST], problems []}; the new authority counts on from `start`.
    """
    new_key = plan_counter_process(plan)
    processes = _processes(seen, plan["miners"])
    new = next(p for p in processes if p.key == new_key)
    unreachable = sorted({p.host for p in processes if not p.reachable})
    named = sorted({str(name) for host in seen.values() if (name := (host.get("counter") or {}).get("named"))})
    holders = [p for p in processes if p.file is not None and p.key != new_key]
    numbers = _numbers(seen, processes, chain)
    where = max(numbers, key=lambda name: numbers[name], default="nothing")
    highest = max([*numbers.values(), above, 0])
    elsewhere = [name for name in named if name != new_key]
    needed = bool(holders or elsewhere or new.file is None)
    known = any(p.file is not None or p.retired is not None for p in processes) or bool(named)
    guessed = [p for p in holders if p.file == 0] or [p for p in processes if p.seals and not p.reachable]
    accounted = _accounted(processes, new_key)
    stop = [*holders, *([new] if needed else [])]
    facts = {
        "authority": new_key,
        "from": sorted({p.key for p in holders} | set(elsewhere)),
        "needed": needed,
        "highest": highest,
        "where": where,
        "start": highest + (GAP if guessed else 0),
        "accounted": accounted,
        "stopped": [p.key for p in stop],
        "stop": _by_host(stop),
        "retire": _by_host(holders),
        "unreachable": unreachable,
        "serving": [
            host
            for host, place in seen.items()
            if (place.get("counter") or {}).get("serving") and host not in {p.host for p in [*holders, new]}
        ],
        "silent": [p.key for p in processes if p.reachable and p.repo and p.sectors is None and p.key not in accounted],
    }
    problems = _in_the_way(new, facts, processes, known, lost)
    if not chain.get("reachable"):
        problems.append(
            f"the chain does not tell the highest sector: the daemon that {new.host} uses does not answer. Start it "
            "(playbooks/chain.yml), then run again"
        )
    if lost and unreachable and not above:
        problems += _not_enough(seen[new.host].get("counter") or {}, unreachable, processes)
    return {**facts, "problems": problems}


def _accounted(processes: Sequence[Process], new_key: str) -> list[str]:
    """Silent processes whose numbers are known all the same: gone with their host, told by a file, or never sealing."""
    counted = any((process.file or process.retired or 0) > 0 for process in processes)
    return [
        p.key
        for p in processes
        if p.sectors is None
        and (
            not p.reachable
            or p.file is not None
            or p.retired is not None
            or (p.key == new_key and (not p.seals or counted))
        )
    ]


def _by_host(processes: Sequence[Process]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for process in processes:
        found.setdefault(process.host, []).append(process.role)
    return found


def _numbers(
    seen: Mapping[str, Mapping[str, Any]], processes: Sequence[Process], chain: Mapping[str, Any]
) -> dict[str, int]:
    """Everything that knows a number, by a name that the operator can look up."""
    found: dict[str, int] = {}
    for process in processes:
        if process.file is not None:
            found[f"the file of {process.key}"] = process.file
        if process.retired is not None:
            found[f"the retired file of {process.key}"] = process.retired
        if process.sectors:
            found[f"the sectors of {process.key}"] = max(process.sectors)
    for host, place in seen.items():
        for path, number in ((place.get("counter") or {}).get("remembered") or {}).items():
            found[f"{path} on {host}"] = int(number)
    sectors = [int(sector["SectorNumber"]) for sector in chain.get("result") or []]
    if sectors:
        found["the chain"] = max(sectors)
    return found


def _in_the_way(
    new: Process, facts: Mapping[str, Any], processes: Sequence[Process], known: bool, lost: bool
) -> list[str]:
    problems = []
    unreachable = facts["unreachable"]
    hosts = {p.host for p in processes}
    gone = [name for name in facts["from"] if name.partition("/")[0] not in hosts]
    if new.host in unreachable:
        return [f"{new.host} shall give out the sector numbers and cannot be reached: start it, or name another host"]
    if not new.repo:
        problems.append(
            f"{new.host}: the {new.role} miner has no repo yet. Put the former host back into group sector_counter, "
            "run site.yml, which makes the miner, then change the group and run this again"
        )
    if not known:
        problems.append("no host has a sector counter, so there is nothing to move: site.yml makes the first one")
    if (unreachable or gone) and not lost:
        names = ", ".join([*unreachable, *gone])
        problems.append(
            f"{names} cannot be reached and may give out sector numbers. Start it, or, when it is lost for good and "
            f"switched off: -e {LOST}"
        )
    if lost and not unreachable and not gone:
        problems.append(f"every miner host answers, so none is lost: leave out {LOST}")
    foreign = facts["serving"]
    if foreign:
        problems.append(
            f"{', '.join(foreign)} runs a miner that gives out sector numbers and has no file that is known: stop it"
        )
    if facts["silent"]:
        problems.append(
            f"{', '.join(facts['silent'])} cannot be asked for its sectors: systemctl start lotus-miner-ROLE there, "
            "then run again"
        )
    return problems


def _not_enough(new: Mapping[str, Any], unreachable: Sequence[str], processes: Sequence[Process]) -> list[str]:
    """Without the host that counted, the copy must be there wherever a sealing miner went with it."""
    copies = [path for path, number in (new.get("remembered") or {}).items() if number and path.endswith("/sectorid")]
    away = [p.key for p in processes if p.host in unreachable and p.seals]
    if not away or copies:
        return []
    return [
        f"the sectors of {', '.join(away)} went with {', '.join(unreachable)}, and no copy of the counter can be read "
        "here. Mount the first store, which has it, or pass -e sector_counter_move_above=N, a number that no sector of "
        "the actor is above"
    ]


def counter_move_steps(move: Mapping[str, Any]) -> str:
    """What will be done, as the operator reads it."""
    if not move["needed"]:
        return f"{move['authority']} gives out the sector numbers already; what is unfinished is finished"
    stops = [f"{host}/{role}" for host, roles in sorted(move["stop"].items()) for role in roles]
    return "\n".join(
        [
            f"The sector counter moves from {', '.join(move['from']) or 'nowhere'} to {move['authority']}.",
            f"Highest number known: {move['highest']}, from {move['where']}. It counts on above {move['start']}.",
            f"1. The timers that pledge stop; {', '.join(stops)} stop.",
            "2. The old file is renamed to sectorid.retired.TIME and kept.",
            f"3. {move['authority']} starts with the number; then the others start again and ask it.",
            "4. Numbers and ports are looked at, and the timers run again.",
        ]
    )


def counter_look_problems(
    seen: Mapping[str, Mapping[str, Any]], plan: Mapping[str, Any], start: int, lost: Sequence[str] = ()
) -> list[str]:
    """What is wrong after the move; [] when one process counts, above all, and no number was given out twice."""
    new_key = plan_counter_process(plan)
    processes = [p for p in _processes(seen, plan["miners"]) if p.host not in lost]
    problems = [
        f"{p.key} still holds a sector counter: run this playbook again"
        for p in processes
        if p.file and p.key != new_key
    ]
    new = next(p for p in processes if p.key == new_key)
    if (new.file or 0) < start:
        problems.append(f"{new_key} counts at {new.file}, below {start}: numbers would be given twice. Stop it now")
    listen = plan_counter_listen(plan)
    serving = {host: (place.get("counter") or {}).get("serving") or [] for host, place in seen.items()}
    for host, addresses in sorted(serving.items()):
        if addresses != ([listen] if host == new.host else []) and host not in lost:
            said = ", ".join(addresses) or "nowhere"
            problems.append(f"{host} gives out sector numbers on {said}, the plan says {listen} on {new.host} alone")
    owners: dict[int, list[str]] = {}
    for process in processes:
        for number in process.sectors or []:
            owners.setdefault(number, []).append(process.key)
        if process.seals and process.sectors is None:
            problems.append(f"{process.key} cannot be asked for its sectors: journalctl -u lotus-miner-{process.role}")
    twice = [f"{number} ({', '.join(keys)})" for number, keys in sorted(owners.items()) if len(keys) > 1]
    if twice:
        problems.append(f"numbers that two miners have: {'; '.join(twice[:20])}")
    above = [f"{number} of {keys[0]}" for number, keys in sorted(owners.items()) if number > (new.file or 0)]
    if above:
        problems.append(f"sectors above the counter, which is at {new.file}: {', '.join(above[:20])}")
    return problems
