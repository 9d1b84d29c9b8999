"""The planner's input as typed values: settings of the cluster, and each host as the planner sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sealyard.lotus.tasks import GROUPS as TASK_GROUPS
from sealyard.problem import Problem

MINER_ROLES: Final = {"winning_miner": "winning", "window_miner": "window", "seal_miner": "seal", "deal_miner": "deal"}
ROLES: Final = (*TASK_GROUPS, *MINER_ROLES, "daemon_public", "daemon_private", "sector_counter", "storage_server")


@dataclass(frozen=True, slots=True)
class Export:
    """A directory that a host gives to others; `sync` false loses acknowledged data when the server crashes."""

    path: str
    sync: bool = True


@dataclass(frozen=True, slots=True)
class Mount:
    """An export of `server` at `path`; `scratch` says that sectors are sealed there."""

    server: str
    source: str
    path: str
    transport: str
    read_only: bool
    scratch: bool


@dataclass(slots=True)
class Host:
    """One host as the planner sees it."""

    name: str
    tasks: frozenset[str]
    miner_roles: tuple[str, ...]
    roles: frozenset[str]
    hardware: Mapping[str, Any] | None
    hardware_key: bytes
    gpu_uuids: Mapping[str, str]
    group: str | None
    rack: str | None
    switch: str | None
    reserved_cores: int
    sdr_producers: int | None
    scratch_path: str
    scratch_bytes: int | None
    scratch_declared: bool
    measured_sec: Mapping[str, float]
    stores: tuple[tuple[str, str], ...]
    worker_port: int
    address: str | None
    rdma_address: str | None
    rdma_addresses: tuple[str, ...]
    """One for each RDMA card."""
    mount_transport: str
    exports: tuple[Export, ...]
    mounts: tuple[Mount, ...]
    smooth_pledging: bool
    """Whether this sealing miner pledges one sector at a time."""


@dataclass(slots=True)
class Settings:
    """Cluster-wide settings."""

    stack: str = "lotus"
    miner_layout: str = "split"
    """single: the first seal miner by name proves, makes blocks and seals; all other miner processes are retired."""
    network: str = "mainnet"
    sector_size: str = "32GiB"
    actor: str = "f01000"
    deal_share: float = 0.0
    allow_regroup: bool = False
    sector_number_start: int = 0
    sectors_per_miner: int = 10_000_000
    switch_ports: int = 32
    rdma_vlan: int | None = None
    rdma_dscp: int = 26
    rdma_priority: int = 3
    rdma_lossless: bool = True


@dataclass(slots=True)
class Document:
    """The whole input."""

    settings: Settings
    hosts: dict[str, Host]
    groups: dict[str, str | None]
    """Declared group to the miner it names."""
    current: Mapping[str, Any]
    errors: list[Problem] = field(default_factory=list)
