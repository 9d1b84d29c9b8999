"""The distributed-miner fork with myScheduler, in its two generations.

It runs few processes with many PC1 each, held apart by core groups and counted by limits of its own
(liusdpc/lotus-v1.12.0; filguard/lotus-ops cores-optimization-instructions.md).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from sealyard.hardware.machine import Machine
from sealyard.lotus.figures import Figures
from sealyard.lotus.tasks import BY_NAME
from sealyard.plan.layout import Layout, Slot
from sealyard.plan.paths import empty_path, path_id
from sealyard.plan.types import Counter, PathPlan, WorkerPlan
from sealyard.stacks.base import Stack, WorkerPlace
from sealyard.stacks.gpu import proofs_environment
from sealyard.stacks.lotus_distributed.checks import CHECKS
from sealyard.stacks.lotus_distributed.duties import PATTERNS, SWITCHES, duty_problems
from sealyard.stacks.lotus_distributed.myscheduler import limit_flags, limits_file, with_limits
from sealyard.stacks.processes import merge_processes

KERNELS: Final = {"RTX 3090": 3}
"""NUM_KERNELS by GPU, 2 for all others (filguard/lotus-ops c2-optimization-instructions.md)."""
HANDLES: Final = 10
SWITCHED: Final = ("AP", "PC1", "PC2", "C2")
NO_ROUND: Final = re.compile(r"SCHED [1-9]\d* queued; 0 open windows")


class Fork(Stack):
    """What both generations of the fork have in common."""

    name = "lotus_distributed"
    side_tasks = frozenset(("UNS",))
    unseals_with_pc1 = True
    uniform_bundles = True
    one_group_per_miner = True
    refuses_shared_scratch = "is another host's scratch, and lotus_distributed keeps each worker's path apart"
    counter_port = 1357
    scheduler = "myScheduler"
    scheduler_choice = "myscheduler"
    checks = CHECKS
    config_keys_file = Path(__file__).parent / "config_keys.json"
    duties_in_flags = True
    has_path_groups = False
    finds_sectors = True
    has_f3 = False
    has_quic = False
    has_splitstore = False
    has_wait_timeout = False
    chooses_deal_sectors = False
    disables_all = False
    hangs_at_stop = True
    miner_stop_timeout_sec = 20
    start_patterns = PATTERNS
    names_owner_of_paths = False

    def arrange(self, layout: Layout, machine: Machine) -> None:
        """Run all PC1 of a node, or of a PC2 GPU's node, in one process, held apart by core groups."""
        merge_processes(layout, machine, core_groups=True)

    def worker_environment(self, slot: Slot, host_has_gpu: bool, figures: Figures) -> dict[str, str]:
        """Return the environment of a worker process, with the variables that only the fork reads."""
        env = proofs_environment(slot, host_has_gpu, figures.small)
        if slot.core_groups is not None:
            env["ENV_CPU_CORE_BEGIN_NUM"], env["ENV_CPU_CORE_END_NUM"] = map(str, slot.core_groups)
        if "C2" in slot.tasks:
            name = (slot.gpu.name if slot.gpu else None) or ""
            env["NUM_HANDLES"] = str(HANDLES)
            env["NUM_KERNELS"] = str(next((n for model, n in KERNELS.items() if model in name), 2))
        return env

    def worker_flags(self, tasks: Sequence[str]) -> list[str]:
        """Return the worker's flags; booleans need the equals sign, a blank drops every later flag."""
        wanted = {str(BY_NAME[task].switch): task in tasks for task in SWITCHED}
        wanted["unseal"] = "PC1" in tasks or "UNS" in tasks
        return [f"--{flag}={'true' if on else 'false'}" for flag, on in wanted.items()]

    def complete_worker(self, worker: WorkerPlan, place: WorkerPlace) -> WorkerPlan:
        """Return the worker with its limits."""
        return replace(worker, myscheduler=limits_file(worker, place))

    def worker_paths(
        self, actor: str, host: str, scratch_path: str, paths: Sequence[PathPlan], workers: Sequence[WorkerPlan]
    ) -> list[PathPlan]:
        """Return a path for each worker, an empty one for who seals nothing: its file lies in a path's root."""
        own = [path for path in paths if path.can_seal]
        found = [
            replace(
                path,
                path=f"{path.path}/{worker}",
                id=path_id(actor, host, path.path, worker),
                groups=None,
                allow_to=None,
                workers=(worker,),
            )
            for path in own
            for worker in path.workers
        ]
        found += [path for path in paths if not path.can_seal]
        sealing = {worker for path in own for worker in path.workers}
        found += [empty_path(actor, host, scratch_path, w.name) for w in workers if w.name not in sealing]
        return found

    def miner_flags(self, role: str, counter: str | None, allocates: bool) -> list[str] | None:
        """Return `lotus-miner run` flags: who proves, and who hands out or asks for sector numbers."""
        flags = [f"--{name}={value}" for name, value in SWITCHES[role].items()]
        if allocates or role in ("seal", "deal"):
            flags += [
                f"--sctype={'alloce' if allocates else 'get'}",
                f"--sclisten={counter or f':{self.counter_port}'}",
            ]
        return flags

    def miner_problems(
        self, found: Mapping[str, Any], host: str, role: str, flags: Sequence[str], counter: Counter | None
    ) -> list[str]:
        """Return what its command line and its log say that the plan does not."""
        return duty_problems(found, host, role, flags, counter)

    def name_flags(self, name: str) -> list[str]:
        """Return no flag: the name stands in myscheduler.json."""
        return []

    def is_planned_offline(self, resources: Mapping[str, Any]) -> bool:
        """Whether a worker that reports these resources is out of work by its own file."""
        return bool(resources.get("IsPlanOffline"))

    def scheduler_problem(self, log: Sequence[str]) -> tuple[str, str] | None:
        """Return why nothing is given out: without its own scheduler the fork has none."""
        if log and NO_ROUND.search(log[-1]):
            return "the scheduler gives out nothing at all", "set AllowMyScheduler to true and restart the miner"
        return None


class FirstGeneration(Fork):
    """Limits in flags and in config.toml."""

    generation = 1
    names_workers_by_host = True

    def limit_flags(self, worker: Mapping[str, Any]) -> list[str]:
        """Return the flags that carry the limits, as there is no myscheduler.json."""
        return limit_flags(worker)


class SecondGeneration(Fork):
    """Limits in myscheduler.json, read at every look."""

    generation = 2
    limits_in_files = True

    def limits(self, worker: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Return myscheduler.json with what the operator wants."""
        return with_limits(worker["myscheduler"], wanted)

    def limits_path(self, worker: Mapping[str, Any], paths: Sequence[Mapping[str, Any]]) -> str | None:
        """Return where a worker reads its limits: in the root of the one path that is no store."""
        root = next(path["path"] for path in paths if worker["name"] in path["workers"] and not path["can_store"])
        return f"{root}/myscheduler.json"
