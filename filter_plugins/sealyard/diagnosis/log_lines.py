"""Lines of the journals of miners and workers that say why work is not given out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

MINER_PATTERN = (
    "not scheduling on worker|not (allocating|selecting) on|skipping disabled worker|check worker session|"
    "SCHED [1-9][0-9]* queued"
)
"""What journalctl looks for in a miner's journal (contract files.json, logs)."""

WORKER_PATTERN = (
    "401|Connecting to miner API|CONNECTION LOST|Registering worker failed|registered successfully|already locked|"
    "Redeclaring local storage failed|open file|address already in use|flag provided but not defined|"
    "[Pp]ermission denied|no such file"
)
"""What it looks for in a worker's."""

NOT_SCHEDULING = re.compile(
    r"not scheduling on worker (?P<id>[0-9a-f-]{32,36})(?:@\S+)? for (?P<what>\S+?)(?: from \S+)?; (?P<reason>.+?)\s*$"
)
PATH_REFUSED = re.compile(r"not (?:allocating|selecting) on (?P<id>[0-9a-fA-F-]{36}), (?P<reason>.+?)\s*$")
UNIT_OF_LINE = re.compile(r"\s(?P<unit>lotus-worker@[^\s\[]+\.service)\[\d+\]: (?P<text>.*)$")


@dataclass(frozen=True)
class Cure:
    """What a piece of a line means: `says` completes "NAME …", `do` is an order."""

    token: str
    says: str
    do: str


NONE_ALLOWED = "myscheduler.json allows none"
QUOTA = {"AP": "AddPiece quota", "PC1": "PreCommit1 quota", "PC2": "PreCommit2 quota", "C2": "Commit2 quota"}
"""What the fork's log calls its limits."""

REFUSALS = (
    Cure("at task limit", "is at its task limit", "it is as full as the plan lets it be"),
    Cure(
        "physical memory", "has not enough memory", "stop what else uses memory there, or give the worker fewer tasks"
    ),
    Cure(
        "virtual memory",
        "has not enough memory and swap for the task's peak",
        "stop what else uses memory there, or give the worker fewer tasks",
    ),
    Cure(
        "not enough threads", "has too few CPUs free", "let its tasks end; if none runs, the plan gave it too few cores"
    ),
    Cure("GPU(s) in use", "has its GPU in use", "let the running task end"),
    Cure("Maybe it's offline", "does not answer the miner", "restart it, and open its port towards the miner"),
    Cure("plans offline", "is drained (IsPlanOffline)", "put it back with playbooks/drain.yml -e drain_state=active"),
    Cure(
        NONE_ALLOWED,
        "is allowed none by its myscheduler.json",
        "run playbooks/workers.yml, which writes the plan's limits",
    ),
    Cure(
        "disk constraints mode",
        "holds more than DiskHoldMax and takes nothing new",
        "let PC2 and finalize empty it; remove what failed sectors left behind",
    ),
    Cure(
        "DiskHold quota",
        "has reached DiskHoldMax",
        "let PC2 and finalize empty it, or raise DiskHoldMax where scratch allows",
    ),
    Cure("APDiskHold quota", "has reached APDiskHoldMax", "let its pieces be sealed first"),
    Cure("AddPiece quota", "is at AddPieceMax", "it is as full as the plan lets it be"),
    Cure("PreCommit1 quota", "is at PreCommit1Max", "it is as full as the plan lets it be"),
    Cure("PreCommit2 quota", "is at PreCommit2Max", "it is as full as the plan lets it be"),
    Cure("Commit2 quota", "is at Commit2Max", "it is as full as the plan lets it be"),
    Cure(
        "AP from the local", "takes PC1 only of pieces it holds", "give it AP too, or set ForceP1FromLocalAP to false"
    ),
    Cure(
        "P1 from the local", "takes PC2 only of sectors it holds", "give it PC1 too, or set ForceP2FromLocalP1 to false"
    ),
    Cure(
        "P2 from the local", "takes C2 only of sectors it holds", "give it PC2 too, or set ForceC2FromLocalP2 to false"
    ),
    Cure("C2 running", "runs a C2 and takes no PC2 beside it", "set AllowP2C2Parallel, or let the C2 end"),
    Cure("P2 running", "runs a PC2 and takes no C2 beside it", "set AllowP2C2Parallel, or let the PC2 end"),
)
"""Reasons after "not scheduling on worker": Lotus 1.36 and the 1.12 fork (contract logs.not_scheduling). A longer token
stands before a shorter one that is part of it."""

WORKER_LINES = (
    Cure(
        "401", "has a wrong token: the miner answers 401", "run playbooks/workers.yml, which brings the miner's token"
    ),
    Cure(
        "Redeclaring local storage failed",
        "cannot open one of its paths, and works at none until it can",
        "mount or bring back that path: the line in its journal names it",
    ),
    Cure("already locked", "finds its repo locked by another process", "end the process that was started by hand"),
    Cure("address already in use", "finds its port taken", "end what listens there: ss -ltnp"),
    Cure("open file", "is refused for too few open files", "run playbooks/base.yml and playbooks/workers.yml"),
    Cure(
        "flag provided but not defined",
        "does not know one of its flags",
        "run playbooks/workers.yml: Lotus was exchanged",
    ),
    Cure("Registering worker failed", "is refused by the miner", "compare lotus-worker --version with the miner's"),
    Cure(
        "ermission denied",
        "may not read or write one of its files",
        "run playbooks/workers.yml, which sets their owner",
    ),
    Cure("no such file", "does not find one of its files", "run playbooks/chain.yml and playbooks/workers.yml"),
    Cure("CONNECTION LOST", "has lost the miner", "look at the miner and at the network between the two"),
    Cure(
        "Connecting to miner API", "does not reach the miner", "look at the miner, its address and the firewall between"
    ),
)


def refusal(reason: str) -> Cure:
    """The cure for a scheduler's reason; an unknown one is passed on in its own words."""
    for cure in sorted(REFUSALS, key=lambda each: -len(each.token)):
        if cure.token in reason:
            return cure
    return Cure("", f"is refused: {reason}", "read the miner's journal around this line")


def refusals(lines: Iterable[str]) -> dict[str, list[tuple[str, str]]]:
    """(what for, reason) by worker id without its dashes (the fork writes none), newest last, each once.

    The fork writes which task it was for, Lotus 1.36 which of its steps.
    """
    found: dict[str, dict[tuple[str, str], None]] = {}
    for line in lines:
        if match := NOT_SCHEDULING.search(line):
            of_worker = found.setdefault(match["id"].replace("-", ""), {})
            of_worker.pop((match["what"], match["reason"]), None)
            of_worker[match["what"], match["reason"]] = None
    return {worker: list(reasons) for worker, reasons in found.items()}


def path_refusals(lines: Iterable[str]) -> dict[str, str]:
    """The newest reason by path ID."""
    return {match["id"].lower(): match["reason"] for line in lines if (match := PATH_REFUSED.search(line))}


def lines_by_unit(journal: str) -> dict[str, list[str]]:
    """Texts of `journalctl --output=with-unit` by unit name, oldest first."""
    found: dict[str, list[str]] = {}
    for line in journal.splitlines():
        if match := UNIT_OF_LINE.search(line):
            found.setdefault(match["unit"], []).append(match["text"])
    return found


def worker_cure(lines: Iterable[str]) -> Cure | None:
    """What the newest telling line of a worker's journal means; None when it registered after that or said nothing."""
    for line in reversed(list(lines)):
        if "registered successfully" in line:
            return None
        for cure in WORKER_LINES:
            if cure.token in line:
                return cure
    return None
