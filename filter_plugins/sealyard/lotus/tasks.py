"""The one table of tasks: what Lotus calls each, which group of the inventory asks for it, and what bounds it.

Types and switches are those of contract lotus resources.json (tasks, task_switches); what a task needs in memory and
seconds stands in data/sealing_model.json under its name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Task:
    """One kind of task. `bound_by` is what runs short first: cores, gpu, memory, scratch, or "" for nothing."""

    name: str
    lotus_type: str
    what: str
    switch: str | None
    """Name of the worker's switch, without dashes; None where every worker does the task."""
    group: str | None
    """Inventory group that asks for it; None where it comes with another task."""
    bound_by: str = ""
    comes_with: tuple[str, ...] = ()
    """Tasks whose workers do this one, too."""
    needs_as: str = ""
    """The task whose row of memory it shares, in Lotus's table of resources as in ours."""


WITH_RU: Final = ("RU",)

TASKS: Final = (
    Task("AP", "seal/v0/addpiece", "add piece", "addpiece", None, comes_with=("PC1",)),
    Task("PC1", "seal/v0/precommit/1", "precommit 1", "precommit1", "pc1_worker", "cores"),
    Task("PC2", "seal/v0/precommit/2", "precommit 2", "precommit2", "pc2_worker", "gpu"),
    Task("C1", "seal/v0/commit/1", "commit 1", None, None),
    Task("C2", "seal/v0/commit/2", "commit 2", "commit", "c2_worker", "gpu"),
    Task("FIN", "seal/v0/finalize", "finalize", None, None),
    Task("FUS", "seal/v0/finalizeunsealed", "finalize unsealed", None, None),
    Task("GET", "seal/v0/fetch", "fetch", None, None),
    Task("UNS", "seal/v0/unseal", "unseal", "unseal", "unseal_worker", "cores", needs_as="PC1"),
    Task("RU", "seal/v0/replicaupdate", "replica update", "replica-update", "snap_worker", "gpu"),
    Task("PR1", "seal/v0/provereplicaupdate/1", "prove update 1", None, None),
    Task("PR2", "seal/v0/provereplicaupdate/2", "prove update 2", "prove-replica-update2", None, "gpu", WITH_RU, "C2"),
    Task("GSK", "seal/v0/regensectorkey", "regenerate sector key", "regen-sector-key", None, "gpu", WITH_RU, "RU"),
    Task("FRU", "seal/v0/finalize/replicaupdate", "finalize replica update", None, None),
)

BY_NAME: Final = {task.name: task for task in TASKS}
BY_TYPE: Final = {task.lotus_type: task for task in TASKS}
GROUPS: Final = {task.group: task.name for task in TASKS if task.group}
"""Inventory group to the task that it asks for."""
SIDE_TASKS: Final = ("UNS", "RU")
"""Asked for by a group, and not on the way of a new sector."""
SWITCHED: Final = tuple(task for task in TASKS if task.switch)
"""Tasks that a worker can be given or not."""


def in_order(names: Collection[str]) -> tuple[str, ...]:
    """Return the tasks in the table's order."""
    return tuple(task.name for task in TASKS if task.name in names)


def with_companions(names: Iterable[str]) -> tuple[str, ...]:
    """Return the tasks and those that come with them, in the table's order."""
    wanted = set(names)
    return in_order(wanted | {task.name for task in TASKS if wanted & set(task.comes_with)})


def short_name(lotus_type: str) -> str:
    """Return the task's name for what Lotus calls it, such as PC1 for seal/v0/precommit/1; else the type itself."""
    task = BY_TYPE.get(lotus_type)
    return task.name if task else lotus_type
