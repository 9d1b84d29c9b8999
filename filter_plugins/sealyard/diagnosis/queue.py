"""Tasks in a miner's queue that no worker of the plan takes: they wait for ever, and nothing calls it an error."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sealyard.lotus.tasks import BY_NAME, SIDE_TASKS, Task, short_name
from sealyard.stacks import Stack

SECTORS_SHOWN = 5


@dataclass(frozen=True)
class Waiting:
    """A task in the scheduler's queue."""

    task: str
    sector: int
    miner: int


@dataclass(frozen=True)
class Untaken:
    """A kind of task that waits for nobody: what is so, and what to change."""

    says: str
    do: str


def taken_tasks(plan: Mapping[str, Any], stack: Stack) -> dict[str, set[str]]:
    """Tasks that the workers of a plan take for each miner process HOST/ROLE."""
    found: dict[str, set[str]] = {}
    for host in plan["hosts"].values():
        for worker in host.get("workers", []):
            tasks = set(worker["tasks"])
            if "PC1" in tasks and stack.unseals_with_pc1:
                tasks.add("UNS")
            found.setdefault(f"{worker['miner']}/{worker['miner_role']}", set()).update(tasks)
    return found


def untaken_tasks(waiting: Sequence[Waiting], taken: Collection[str], stack: Stack) -> list[Untaken]:
    """What waits and is none of the tasks `taken`, one for each kind; what every worker does is left out."""
    sectors: dict[str, set[int]] = {}
    for each in waiting:
        task = BY_NAME.get(each.task)
        if task and task.switch and each.task not in taken:
            sectors.setdefault(each.task, set()).add(each.sector)
    return [
        Untaken(
            f"{name} ({BY_NAME[name].what}) of sector {_shown(numbers)} waits, and no worker of the plan takes it",
            _remedy(BY_NAME[name], stack),
        )
        for name, numbers in sorted(sectors.items())
    ]


def _remedy(task: Task, stack: Stack) -> str:
    """Which group of the inventory gives a task to hosts: its own, or that of the task it comes with."""
    giver = task if task.group else BY_NAME[task.comes_with[0]]
    if giver.name in SIDE_TASKS and giver.name not in stack.side_tasks:
        return f"workers of stack {stack.name} do not know it: remove the sector's request at its miner"
    return f"add a host to {giver.group} and run playbooks/workers.yml"


def _shown(numbers: Collection[int]) -> str:
    ordered = sorted(numbers)
    more = len(ordered) - SECTORS_SHOWN
    return ", ".join(map(str, ordered[:SECTORS_SHOWN])) + (f" and {more} more" if more > 0 else "")


def queue_of(diagnosis: Mapping[str, Any] | None) -> list[Waiting]:
    """The queue in an answer to SealingSchedDiag."""
    requests = ((diagnosis or {}).get("SchedInfo") or {}).get("Requests") or []
    return [
        Waiting(short_name(each["TaskType"]), int(each["Sector"]["Number"]), int(each["Sector"]["Miner"]))
        for each in requests
    ]
