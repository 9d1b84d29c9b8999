"""Filters of roles lotus_miner and sector_counter: sector numbers, who gives them out, duties of a process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sealyard import stacks
from sealyard.errors import SealyardError
from sealyard.lotus.runs import Runs, run_of
from sealyard.plan.types import Counter
from sealyard.stacks import Stack


def miner_missing_reservations(
    miner: Mapping[str, Any], role: str, present: Mapping[str, Runs], host: str
) -> list[dict[str, Any]]:
    """Reservations the miner lacks: [{name, range "START-END", run}]; `present` answers SectorNumReservations.

    Raises SealyardError where a name is there with another range: numbers of it may be in use, so nobody but the
    operator can free it.
    """
    missing = []
    for name, numbers in sorted(miner["instances"][role]["reserve"].items()):
        run = run_of(numbers)
        if name not in present:
            missing.append({"name": name, "range": numbers, "run": run})
        elif list(present[name]) != run:
            raise SealyardError(
                f"{host}: the {role} miner reserves {_shown(present[name])} as '{name}', the plan says {numbers}. "
                f"When no sector of another miner lies in {_shown(present[name])}: "
                f"lotus-miner sectors numbers free {name}, then run again"
            )
    return missing


def _shown(runs: Runs) -> str:
    numbers = list(runs)
    return f"{numbers[0]}-{sum(numbers) - 1}" if len(numbers) == 2 else str(numbers)


def plan_miner_processes(miners: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """Every miner process of the plan: [{key "HOST/ROLE", host, role}]."""
    return [
        {"key": f"{host}/{role}", "host": host, "role": role}
        for host, miner in sorted(miners.items())
        for role in miner["instances"]
    ]


def sector_lists_silent_miners(answers: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Processes that did not answer SectorsList; `answers` are of a loop over `plan_miner_processes`."""
    return [dict(answer["item"]) for answer in answers if not answer.get("reachable")]


def sector_lists_silent_owners(
    answers: Sequence[Mapping[str, Any]], repos: Sequence[Mapping[str, Any]], accounted: Sequence[str] = ()
) -> list[str]:
    """Names of silent processes that may have numbered sectors: their repo is there, or their host cannot be asked.

    Those in `accounted` ("HOST/ROLE") are left out.
    """
    return [
        f"the {repo['item']['role']} miner on {repo['item']['host']}"
        for repo in repos
        if (repo.get("stat") or {"exists": True})["exists"] and repo["item"]["key"] not in accounted
    ]


def sector_lists_highest_number(answers: Sequence[Mapping[str, Any]]) -> int:
    """Highest number in the answers to SectorsList, 0 where there is none."""
    return max((int(number) for answer in answers for number in answer.get("result") or []), default=0)


def plan_counter(plan: Mapping[str, Any]) -> Counter | None:
    """The process that a plan, or the cluster's part of one, has give out sector numbers; None where none does."""
    counter = plan.get("counter")
    return Counter(**counter) if counter else None


def plan_counter_listen(plan: Mapping[str, Any], process: str = "") -> str:
    """HOST:PORT on which a plan has sector numbers given out, "" where nobody does, or another than `process`."""
    counter = plan_counter(plan)
    return counter.listen if counter and process in ("", counter.process) else ""


def plan_counter_process(plan: Mapping[str, Any]) -> str:
    """The process HOST/ROLE that a plan has give out sector numbers, "" where the stack has none."""
    counter = plan_counter(plan)
    return counter.process if counter else ""


def counter_second_authorities(answers: Sequence[Mapping[str, Any]], authority: str) -> list[str]:
    """Processes that hold a sector counter and are not the plan's authority, each with the remedy.

    `answers` are of module sector_authority in a loop over some of `plan_miner_processes`, one role each; `authority`
    is "" where the plan's miners count on their own.
    """
    to = authority or "the miners themselves"
    remedy = (
        "playbooks/sector_counter_move.yml, which moves it, or put the former host back into group sector_counter"
        if authority
        else "playbooks/scheduler_switch.yml, which carries the numbers over, or write sealing_stack: "
        + " or ".join(stacks.names(lambda stack: stack.counter_port is not None))
    )
    return [
        f"{answer['item']['key']} holds the sector counter, at {answer['files'][answer['item']['role']]}, and the "
        f"inventory gives it to {to}: numbers would be given twice. Run {remedy}. Nothing was changed"
        for answer in answers
        if answer["item"]["key"] != authority and answer["item"]["role"] in (answer.get("files") or {})
    ]


def miner_duty_problems(
    answers: Sequence[Mapping[str, Any]], plan: Mapping[str, Any], host: str, stack: Stack
) -> list[str]:
    """What the running miners of a host do that the plan does not say, where their logs tell it.

    `answers` are of a loop of module unit_log over their roles, `plan` is the cluster's part of it.
    """
    instances = plan["miners"][host]["instances"] if answers else {}
    counter = plan_counter(plan)
    return [
        problem
        for answer in answers
        for problem in stack.miner_problems(
            answer, host, answer["item"], instances[answer["item"]].get("flags") or [], counter
        )
    ]


def post_miner_problems(holds: Sequence[Any], role: str, host: str, genesis: bool) -> list[str]:
    """What a miner that only proves should not have: sectors of its own, and workers but itself.

    `holds` are its answers to SectorsList and WorkerStats, empty for a miner that seals; `genesis`: the process was
    made with the genesis of a devnet, whose sectors it has.
    """
    if not holds:
        return []
    sectors, workers = holds
    problems = []
    if sectors and not genesis:
        problems.append(
            f"{host}: the {role} miner has {len(sectors)} sectors of its own, so it was used to seal: give it a repo "
            "that never sealed, and let a seal miner run with the present one"
        )
    names = sorted(str(worker["Info"]["Hostname"]) for worker in (workers or {}).values())
    if len(names) > 1:
        problems.append(
            f"{host}: the {role} miner has workers besides itself ({', '.join(names)}): give them a seal miner"
        )
    return problems


def all_post_miner_problems(answers: Sequence[Mapping[str, Any]], host: str, network: str) -> list[str]:
    """`post_miner_problems` of every miner of a host that only proves; `answers` are of a loop of module lotus_rpc.

    One that does not answer is not judged: that it does not answer is said elsewhere.
    """
    found = []
    for answer in answers:
        if answer.get("reachable"):
            holds = [each["result"] or {} for each in answer["answers"]]
            genesis = network == "devnet" and answer["item"] == "winning"
            found += post_miner_problems(holds, answer["item"], host, genesis)
    return found
