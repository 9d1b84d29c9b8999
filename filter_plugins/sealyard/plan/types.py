"""What a plan is made of. Everything is built once and never changed; `to_plain` makes the document of it.

plan.schema.json describes the same document to readers in other languages; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sealyard.plan.plain import optional
from sealyard.problem import Problem

SCHEMA: Final = "sealyard/plan/1"

Owner = tuple[str, str]
"""Inventory host and role (seal or deal) of a sealing miner."""


@dataclass(frozen=True, slots=True)
class Scratch:
    """A worker's share of its host's scratch; None: nobody knows how large that is."""

    path: str
    bytes: int | None
    sectors: int | None


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """One worker process: what it does, for whom, on what, and how it is started."""

    name: str
    group: str | None
    """Where its sectors stay from AP to PC2; None for one that seals for all groups of its miner."""
    miner: str | None
    miner_role: str | None
    tasks: tuple[str, ...]
    cpus: str
    bundles: tuple[str, ...]
    producers: int
    numa_node: int | None
    gpus: tuple[str, ...]
    gpu_uuids: tuple[str, ...]
    memory_bytes: int
    concurrency: Mapping[str, int]
    scratch: Scratch | None
    port: int
    why: str
    environment: Mapping[str, str]
    flags: tuple[str, ...]
    resources: Mapping[str, str]
    myscheduler: Mapping[str, Any] | None = optional()
    """The file of limits, on the stack that has one."""
    config: Mapping[str, Any] | None = optional()
    """The process's config.toml, on the stack that has one."""

    def does(self, *tasks: str) -> bool:
        """Whether it does one of these tasks."""
        return not set(tasks).isdisjoint(self.tasks)


@dataclass(frozen=True, slots=True)
class PathPlan:
    """One sector path: `workers` open it; its ID is the same for ever."""

    path: str
    id: str
    can_seal: bool
    can_store: bool
    weight: int
    max_storage_bytes: int
    groups: tuple[str, ...] | None
    """Whose PC1 output PC2 takes here."""
    allow_to: tuple[str, ...] | None
    """Where PC1 output of this path may go."""
    workers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """A directory that a host gives to others over NFS."""

    path: str
    clients: tuple[str, ...]
    networks: tuple[str, ...]
    transports: tuple[str, ...]
    sync: bool


@dataclass(frozen=True, slots=True)
class MountPlan:
    """An export of `server` at `path`."""

    server: str
    address: str | None
    source: str
    path: str
    transport: str
    read_only: bool
    scratch: bool


@dataclass(frozen=True, slots=True)
class HostPlan:
    """Everything that one host gets."""

    reserved_cpus: str
    workers: tuple[WorkerPlan, ...]
    paths: tuple[PathPlan, ...]
    exports: tuple[ExportPlan, ...]
    mounts: tuple[MountPlan, ...]
    nfs_threads: int | None = optional()
    link_bits_per_sec: int | None = optional()
    group_id: int | None = optional()
    """Number of its group, on the stack that has numbers for groups."""


@dataclass(frozen=True, slots=True)
class WorkerHostPlan(HostPlan):
    """A host that seals: how it is split between its tasks, and what is left of it."""

    idle_cpus: str = ""
    group: str | None = None
    split: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """Hosts inside which a sector stays from AP to PC2, and the miner they serve."""

    hosts: tuple[str, ...]
    miner: str | None
    miner_role: str | None


@dataclass(frozen=True, slots=True)
class InstancePlan:
    """One miner process."""

    groups: tuple[str, ...]
    sector_numbers: str | None
    reserve: Mapping[str, str]
    """Ranges of other processes that it must not give out, by the name of the reservation."""
    flags: tuple[str, ...] | None = optional()
    duties: tuple[str, ...] | None = optional()
    """What it proves besides sealing."""


@dataclass(frozen=True, slots=True)
class MinerPlan:
    """The miner processes of one host."""

    roles: tuple[str, ...]
    groups: tuple[str, ...]
    sector_numbers: str | None
    reserve: Mapping[str, str]
    instances: Mapping[str, InstancePlan]
    peer_id_owner: bool
    f3: bool
    paths: tuple[PathPlan, ...]


@dataclass(frozen=True, slots=True)
class Counter:
    """The one process that gives out sector numbers to all others, where the stack has one."""

    host: str
    role: str
    address: str | None
    port: int

    @property
    def process(self) -> str:
        """Return HOST/ROLE."""
        return f"{self.host}/{self.role}"

    @property
    def listen(self) -> str:
        """Return HOST:PORT."""
        return f"{self.address or ''}:{self.port}"


@dataclass(frozen=True, slots=True)
class Move:
    """A host that would leave its group, or whose group would change its miner."""

    host: str
    source: str = field(metadata={"key": "from"})
    target: str = field(metadata={"key": "to"})
    what: str
    may_hold_sectors: bool


@dataclass(frozen=True, slots=True)
class StageCapacity:
    """What all workers of one task could do."""

    workers: int
    sectors_per_day: float


@dataclass(frozen=True, slots=True)
class GroupCapacity:
    """What a group seals, and which stage binds it."""

    sectors_per_day: float
    pc1_sectors_per_day: float
    pc2_sectors_per_day: float
    bytes_per_day_between_hosts: int
    bound_by: str


@dataclass(frozen=True, slots=True)
class MinerCapacity:
    """What reaches one miner."""

    sectors_per_day: float
    c2_hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HostCapacity:
    """What a host brings, and what limits it in words."""

    pc1_slots: int
    pc1_sectors_per_day: float
    pc2_sectors_per_day: float
    c2_sectors_per_day: float
    left_out: tuple[str, ...]
    bound_by: str | None = optional()


@dataclass(frozen=True, slots=True)
class Capacity:
    """Sectors per day of the whole cluster and of its parts."""

    sectors_per_day: float
    bottleneck: str | None
    stages: Mapping[str, StageCapacity]
    groups: Mapping[str, GroupCapacity]
    miners: Mapping[str, MinerCapacity]
    hosts: Mapping[str, HostCapacity]
    bytes_per_day_between_hosts: int
    bytes_per_day_c1_to_c2: int


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """The settings that a plan was made with."""

    stack: str
    network: str
    sector_size: str
    actor: str
    deal_share: float
    allow_regroup: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """Who does what, where and why."""

    schema: str
    settings: PlanSettings
    groups: Mapping[str, GroupPlan]
    miners: Mapping[str, MinerPlan]
    counter: Counter | None
    hosts: Mapping[str, HostPlan]
    switches: Mapping[str, Any]
    capacity: Capacity
    warnings: tuple[str, ...]
    errors: tuple[Problem, ...]
    moves: tuple[Move, ...]
