"""Filters of roles lotus_miner and sector_counter: sector numbers, duties of the fork."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sealyard.errors import SealyardError

Runs = Sequence[int]
"""A set of numbers as Lotus writes it in JSON: lengths of runs, absent first: [2, 3] is {2, 3, 4}."""


def members(runs: Runs | None) -> set[int]:
    """Numbers in a set of runs."""
    found: set[int] = set()
    position = 0
    for index, length in enumerate(runs or []):
        if index % 2:
            found.update(range(position, position + length))
        position += length
    return found


def run_of(numbers: str) -> list[int]:
    """Runs of "START-END", both included; ValueError when that is no range."""
    first, _, last = numbers.partition("-")
    start, end = int(first), int(last or first)
    if start < 0 or end < start:
        raise ValueError(f"'{numbers}' is no range START-END")
    return [start, end - start + 1]


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


# ---------------------------------------------------------------------------------------------------------------------
# The distributed-miner fork

DUTY_LINES = {
    "window": (r"This miner will do windowPoSt", r"will be disabled? windowPoSt"),
    "winning": (r"This miner will (mining|minning) block", r"will be disabled? (mining|minning) block"),
    "p2p": (r"Bootstrapping libp2p network with full node", r"will be disabled? p2p"),
}
"""What the log says of a duty that is on, and of one that is off; older binaries spell it otherwise
(contract lotus_distributed/files.json, roles.switches and roles.grep)."""
DUTY_FLAGS = {"window": "--window-post", "winning": "--winning-post", "p2p": "--p2p"}
COUNTER_LINE = r"sctype is : (\S+) , sclisten is: (\S+)"
COUNTER_SERVES = r"grpc server Listing on"
COUNTER_NUMBER = r"currn sectorid:\s+\d+"
LOG_PATTERNS = [*(line for pair in DUTY_LINES.values() for line in pair), COUNTER_LINE, COUNTER_SERVES, COUNTER_NUMBER]


def duty_patterns(fork: bool = True) -> list[str]:
    """Regular expressions of the log lines that tell what a miner does; the upstream one has none."""
    return LOG_PATTERNS if fork else []


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


def flag_values(flags: Sequence[str]) -> dict[str, str]:
    """Flags of the form --NAME=VALUE as a mapping."""
    return {name: value for name, _, value in (flag.partition("=") for flag in flags)}


def counter_listen(flags: Sequence[str]) -> str:
    """HOST:PORT on which a process with these flags serves sector numbers, "" when it serves none."""
    values = flag_values(flags)
    return values.get("--sclisten", "") if values.get("--sctype") == "alloce" else ""


def counter_authorities(miners: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Processes HOST/ROLE that a plan has give out sector numbers; [] where the stack has none."""
    return [
        process["key"]
        for process in plan_miner_processes(miners)
        if counter_listen(miners[process["host"]]["instances"][process["role"]].get("flags") or [])
    ]


def counter_authority(miners: Mapping[str, Mapping[str, Any]]) -> str:
    """The process HOST/ROLE that the plan has give out sector numbers, "" where the stack has none."""
    return next(iter(counter_authorities(miners)), "")


def counter_second_authorities(answers: Sequence[Mapping[str, Any]], authority: str) -> list[str]:
    """Processes that hold a sector counter and are not the plan's authority, each with the remedy.

    `answers` are of module sector_authority in a loop over some of `plan_miner_processes`, one role each; `authority`
    is "" where the plan's miners count on their own.
    """
    to = authority or "the miners themselves"
    remedy = (
        "playbooks/sector_counter_move.yml, which moves it, or put the former host back into group sector_counter"
        if authority
        else "playbooks/scheduler_switch.yml, which carries the numbers over, or write sealing_stack: lotus_distributed"
    )
    return [
        f"{answer['item']['key']} holds the sector counter, at {answer['files'][answer['item']['role']]}, and the "
        f"inventory gives it to {to}: numbers would be given twice. Run {remedy}. Nothing was changed"
        for answer in answers
        if answer["item"]["key"] != authority and answer["item"]["role"] in (answer.get("files") or {})
    ]


def duty_problems(found: Mapping[str, Any], flags: Sequence[str], role: str, host: str) -> list[str]:
    """What a running miner does that the plan's flags do not say; `found` is the answer of module unit_log.

    Its command line and its log are both looked at: a flag behind a blank is on the command line and does nothing. A
    log that no longer holds the start proves nothing either way.
    """
    name = f"{host}: the {role} miner"
    again = "run playbooks/miners.yml, which restarts it with the plan's flags"
    command = [str(word) for word in found.get("command") or []]
    if "run" not in command:
        return [f"{name} does not run: journalctl -u lotus-miner-{role} -n 40"]
    words = command[command.index("run") + 1 :]
    problems = [
        f"{name} runs with '{word}', and ignores every flag behind it: {again}" for word in words if word[:1] != "-"
    ]
    problems += [f"{name} runs without {flag}: {again}" for flag in flags if flag not in words]
    lines = [str(line) for line in found.get("lines") or []]
    if not found.get("complete"):
        return problems
    values = flag_values(flags)
    for duty, (on, off) in DUTY_LINES.items():
        wanted = values.get(DUTY_FLAGS[duty], "true") == "true"
        says = [bool(re.search(on, line)) for line in lines if re.search(on, line) or re.search(off, line)]
        if not says:
            problems.append(
                f"{name} does not say in its log whether it does {duty}: its log level hides it, or it did not start"
            )
        elif says[-1] != wanted:
            problems.append(f"{name} says in its log that {duty} is {'on' if says[-1] else 'off'}: {again}")
    counts = [match.group(1, 2) for line in lines if (match := re.search(COUNTER_LINE, line))]
    wanted_counter = [(values["--sctype"], values["--sclisten"])] if "--sctype" in values else []
    if counts[-1:] != wanted_counter:
        said = " ".join(counts[-1]) if counts else "numbers of its own"
        problems.append(
            f"{name} takes its sector numbers from {said}, the plan says {values.get('--sclisten', 'nowhere')}: {again}"
        )
    if values.get("--sctype") == "alloce" and not any(re.search(COUNTER_NUMBER, line) for line in lines):
        problems.append(f"{name} serves no sector numbers: its sectorid file cannot be read, {again}")
    return problems


def all_duty_problems(answers: Sequence[Mapping[str, Any]], miner: Mapping[str, Any], host: str) -> list[str]:
    """`duty_problems` of every process of a host; `answers` are of a loop of module unit_log over its roles."""
    return [
        problem
        for answer in answers
        for problem in duty_problems(answer, miner["instances"][answer["item"]]["flags"], answer["item"], host)
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
