"""What a stack is: the questions that planner, roles and diagnosis ask instead of comparing names.

A subclass answers them for one generation of one software that seals. The answers here are those of a stack that keeps
no limits in files, numbers its sectors by ranges, and shares nothing inside a group by itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from sealyard.hardware.machine import Machine
from sealyard.lotus.figures import Figures
from sealyard.plan.layout import Layout, Slot
from sealyard.plan.types import PathPlan, WorkerPlan
from sealyard.problem import Problem


@dataclass(frozen=True, slots=True)
class GroupShare:
    """A directory that `server` exports to `clients`, which mount it at the same place."""

    server: str
    clients: tuple[str, ...]
    path: str


@dataclass(frozen=True, slots=True)
class WorkerPlace:
    """What a stack may look at beside the worker whose files it writes down."""

    host: str
    address: str | None
    scratch_path: str
    figures: Figures
    pledges_smoothly: bool
    """Whether the worker's miner pledges one sector at a time."""
    group_ids: tuple[int, ...]
    """Numbers of the groups that the worker serves."""


class Stack(ABC):
    """One generation of one software that seals."""

    name: ClassVar[str]
    generation: ClassVar[int] = 1

    # Rules of planning
    side_tasks: ClassVar[frozenset[str]] = frozenset()
    """Tasks beside the way of a new sector that its workers know: UNS, RU."""
    unseals_with_pc1: ClassVar[bool] = False
    """Whether every PC1 worker unseals, too."""
    uniform_bundles: ClassVar[bool] = False
    """Whether the PC1 bundles of a host must be alike, because one process runs several."""
    uses_hugepages: ClassVar[bool] = False
    """Whether PC1 can keep its layers in hugepages."""
    one_group_per_miner: ClassVar[bool] = False
    """Whether hosts that share a miner cannot be kept apart, and so are one group."""
    shares_scratch: ClassVar[bool] = False
    """Whether several hosts may seal on one mounted path with one ID."""
    refuses_shared_scratch: ClassVar[str] = ""
    """Why a host's scratch may not be another's, where that is so."""
    numbers_groups: ClassVar[bool] = False
    """Whether groups have numbers in its files."""
    counter_port: ClassVar[int | None] = None
    """Port of the process that gives out sector numbers to all others; None where each has a range of its own."""
    installable: ClassVar[bool] = True
    """Whether playbooks can install it; what cannot be is planned only."""

    # From a layout to processes

    @abstractmethod
    def arrange(self, layout: Layout, machine: Machine) -> None:
        """Make the slots of a layout into the processes that this stack runs; in place."""

    @abstractmethod
    def worker_environment(self, slot: Slot, host_has_gpu: bool, figures: Figures) -> dict[str, str]:
        """Return the environment of a worker process."""

    @abstractmethod
    def worker_flags(self, tasks: Sequence[str]) -> list[str]:
        """Return the flags of a worker process that does exactly these tasks."""

    def worker_resources(self, slot: Slot, figures: Figures) -> dict[str, str]:
        """Return the variables that override what the scheduler counts for a task."""
        return {}

    def judge_binding(self, topology: Mapping[str, Any], workers: Sequence[Mapping[str, Any]]) -> list[Problem]:
        """Return a problem for each worker whose threads would not stay where the plan binds them."""
        return []

    # What a host gets

    def complete_worker(self, worker: WorkerPlan, place: WorkerPlace) -> WorkerPlan:
        """Return the worker with the files of its own that this stack reads."""
        return worker

    def worker_paths(
        self, actor: str, host: str, scratch_path: str, paths: Sequence[PathPlan], workers: Sequence[WorkerPlan]
    ) -> list[PathPlan]:
        """Return the host's paths as this stack needs them."""
        return list(paths)

    def group_shares(
        self, group: Sequence[str], pc1_hosts: Sequence[str], addresses: Mapping[str, str | None], scratch_path: str
    ) -> list[GroupShare]:
        """Return what hosts of a group must share for this stack, beyond what the inventory says."""
        return []

    # Miners

    def miner_flags(self, role: str, counter: str | None, allocates: bool) -> list[str] | None:
        """Return the flags of a miner process; None where settings say all of it.

        `counter` is HOST:PORT of the process that gives out sector numbers, `allocates`: this is that one.
        """
        return None
