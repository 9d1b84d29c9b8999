"""What a host will run before any stack has a word: slots of cores, GPU and memory for tasks."""

from __future__ import annotations

from dataclasses import dataclass, field

from sealyard.hardware.cpu_list import format_cpus
from sealyard.hardware.machine import Core, Gpu
from sealyard.plan.supply import Supply
from sealyard.problem import Problem


@dataclass(slots=True)
class Slot:
    """One worker process to be."""

    tasks: tuple[str, ...]
    cores: list[Core]
    producers: int = 0
    gpu: Gpu | None = None
    node: int | None = None
    memory_bytes: int = 0
    why: str = ""
    bundles: list[list[Core]] = field(default_factory=list)
    """PC1 bundles of a process that runs several; empty: the cores are the one bundle."""
    core_groups: tuple[int, int] | None = None
    """Half-open range of core groups, on the fork."""
    hugepages: bool = False
    """The layers of its PC1 lie in hugepages, not in ordinary memory."""

    @property
    def cpus(self) -> str:
        return format_cpus(cpu for core in self.cores for cpu in core.cpus)


@dataclass(slots=True)
class Layout:
    """What a host will run, what that brings, and what limits it in words."""

    reserved: list[Core] = field(default_factory=list)
    slots: list[Slot] = field(default_factory=list)
    idle: list[Core] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    errors: list[Problem] = field(default_factory=list)
    bound_by: dict[str, str] = field(default_factory=dict)
    supply: Supply = field(default_factory=Supply)
