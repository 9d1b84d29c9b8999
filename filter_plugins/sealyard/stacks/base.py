"""What a stack is: the questions that planner, roles and diagnosis ask instead of comparing names.

A subclass answers them for one generation of one software that seals. The answers here are those of a stack that keeps
no limits in files, numbers its sectors by ranges, and shares nothing inside a group by itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from sealyard.hardware.machine import Machine
from sealyard.lotus.config import UPSTREAM_KEYS, Entry, known_keys
from sealyard.lotus.figures import Figures
from sealyard.plan.layout import Layout, Slot
from sealyard.plan.types import Counter, PathPlan, WorkerPlan
from sealyard.problem import Problem
from sealyard.variables.inventory import Check


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

    # What an inventory says
    checks: ClassVar[tuple[Check, ...]] = ()
    """What only its inventories can get wrong."""
    scheduler_choice: ClassVar[str] = ""
    """The value of sealing_scheduler that means this stack; "" for none."""
    config_keys_file: ClassVar[Path] = UPSTREAM_KEYS
    """Keys of config.toml that its programs know."""

    # What roles and playbooks ask, as `facts`
    scheduler: ClassVar[str] = "the official scheduler"
    """Who gives out its tasks, as people call it."""
    duties_in_flags: ClassVar[bool] = False
    """Whether flags say what a miner does, and the settings have no word for it."""
    has_path_groups: ClassVar[bool] = True
    """Whether a sector path's file says where PC1 output may go."""
    limits_in_files: ClassVar[bool] = False
    """Whether a worker reads its limits, and whether it is out of work, from a file of its own."""
    names_workers_by_host: ClassVar[bool] = False
    """Whether a miner lists each worker by the name of its host, so that only its session tells which it is."""
    finds_sectors: ClassVar[bool] = False
    """Whether a miner finds what others finalized into a store when it is asked for it."""
    has_f3: ClassVar[bool] = True
    """Whether its miners know F3, which has to be kept to one of them."""
    has_quic: ClassVar[bool] = True
    has_splitstore: ClassVar[bool] = True
    has_wait_timeout: ClassVar[bool] = True
    """Whether `lotus wait-api` knows --timeout."""
    chooses_deal_sectors: ClassVar[bool] = True
    """Whether settings say into which sectors deals go."""
    disables_all: ClassVar[bool] = True
    """Whether `lotus-worker tasks disable` knows --all."""
    hangs_at_stop: ClassVar[bool] = False
    """Whether a miner that makes no blocks stays for ever when it is asked to stop."""
    miner_stop_timeout_sec: ClassVar[int] = 120
    start_patterns: ClassVar[tuple[str, ...]] = ()
    """Regular expressions of the lines in which a miner tells at its start what it does."""

    # What diagnosis asks
    idle_refusal: ClassVar[str] = ""
    """Why no miner can be asked for the cause of an idle worker, and where to look instead."""
    names_owner_of_paths: ClassVar[bool] = True
    """Whether StorageBestAlloc takes the actor, for which a path may be kept."""

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

    # Work

    def name_flags(self, name: str) -> list[str]:
        """Return the flags by which a worker is called `name`."""
        return [f"--name={name}"]

    def limit_flags(self, worker: Mapping[str, Any]) -> list[str]:
        """Return the flags that carry the limits of a worker of the plan."""
        return []

    def limits(self, worker: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Return what its file of limits says, with what the operator wants."""
        return {}

    def group_trees(self, exports: Sequence[str]) -> list[str]:
        """Return the directories that a host keeps in what it exports to its group."""
        return []

    def limits_path(self, worker: Mapping[str, Any], paths: Sequence[Mapping[str, Any]]) -> str | None:
        """Return where a worker of the plan reads its limits; None where it has no such file."""
        return None

    def is_planned_offline(self, resources: Mapping[str, Any]) -> bool:
        """Whether a worker that reports these resources is out of work by its own file."""
        return False

    def scheduler_problem(self, log: Sequence[str]) -> tuple[str, str] | None:
        """Return what keeps the miner's scheduler from giving out anything, and the remedy, by the lines of its log."""
        return None

    # Settings

    def config_keys(self, component: str) -> Mapping[str, Entry]:
        """Return the keys of config.toml of a `daemon` or `miner`, in the order in which they are written."""
        own = self.generation
        keys = known_keys(component, self.config_keys_file)
        return {key: entry for key, entry in keys.items() if entry.get("generation", own) == own}

    # Miners

    def miner_problems(
        self, found: Mapping[str, Any], host: str, role: str, flags: Sequence[str], counter: Counter | None
    ) -> list[str]:
        """Return what a running miner does that the plan does not say; `found` is the answer of module unit_log."""
        return []

    def miner_flags(self, role: str, counter: str | None, allocates: bool) -> list[str] | None:
        """Return the flags of a miner process; None where settings say all of it.

        `counter` is HOST:PORT of the process that gives out sector numbers, `allocates`: this is that one.
        """
        return None

    # Roles and playbooks

    def facts(self) -> dict[str, Any]:
        """Return what a role or a playbook may ask, as plain values."""
        return {
            "name": self.name,
            "generation": self.generation,
            "installable": self.installable,
            "scheduler": self.scheduler,
            "counts_with_counter": self.counter_port is not None,
            "reserves_numbers": self.counter_port is None and self.installable,
            "duties_in_flags": self.duties_in_flags,
            "limits_in_files": self.limits_in_files,
            "names_workers_by_host": self.names_workers_by_host,
            "finds_sectors": self.finds_sectors,
            "has_f3": self.has_f3,
            "has_quic": self.has_quic,
            "has_splitstore": self.has_splitstore,
            "has_wait_timeout": self.has_wait_timeout,
            "chooses_deal_sectors": self.chooses_deal_sectors,
            "disables_all": self.disables_all,
            "hangs_at_stop": self.hangs_at_stop,
            "miner_stop_timeout_sec": self.miner_stop_timeout_sec,
            "start_patterns": list(self.start_patterns),
            "idle_refusal": self.idle_refusal,
        }
