"""force-remote-worker: phases by group_id out of a config.toml (source 002; liyunpeng/netsecure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sealyard.hardware.machine import Machine
from sealyard.lotus.figures import Figures
from sealyard.plan.layout import Layout, Slot
from sealyard.plan.types import WorkerPlan
from sealyard.stacks.base import GroupShare, Stack, WorkerPlace
from sealyard.stacks.gpu import proofs_environment
from sealyard.stacks.processes import merge_processes

PHASES: Final = {"PC1": ["PreCommitPhase1"], "PC2": ["PreCommitPhase2", "CommitPhase1"], "C2": ["CommitPhase2"]}
COPY_LIMIT_MB_PER_SEC: Final = 500
POLL_SEC: Final = 60


class ForceRemoteWorker(Stack):
    """Workers that fetch phases of their groups from a table; planned only, no playbook installs it."""

    name = "force_remote_worker"
    uniform_bundles = True
    uses_hugepages = True
    numbers_groups = True
    installable = False
    scheduler = "lotus-server"
    finds_sectors = True
    idle_refusal = (
        f"sealing_stack is {name}: its workers fetch their tasks from a table of lotus-server, and no miner "
        "can be asked why one has none. Look there: a row with result_status 2 stops its whole group (set it to 1 to "
        "have it done again), and at the limit of unfinished sectors nothing new is made. A worker whose "
        'force-remote-worker.log says "didn\'t aquire task" is well and found no row of its phases and its group_id.'
    )

    def arrange(self, layout: Layout, machine: Machine) -> None:
        """Run all PC1 of a node, or of a PC2 GPU's node, in one process."""
        merge_processes(layout, machine, core_groups=False)

    def worker_environment(self, slot: Slot, host_has_gpu: bool, figures: Figures) -> dict[str, str]:
        """Return the environment of a process."""
        env = proofs_environment(slot, host_has_gpu, figures.small)
        return {**env, "FORCE_HUGE_PAGE": "1"} if slot.hugepages else env

    def worker_flags(self, tasks: Sequence[str]) -> list[str]:
        """Return no flags: config.toml says all."""
        return []

    def complete_worker(self, worker: WorkerPlan, place: WorkerPlace) -> WorkerPlan:
        """Return the worker with its config.toml."""
        return replace(worker, config=_config(worker, place))

    def group_trees(self, exports: Sequence[str]) -> list[str]:
        """Return the directories in which PC1 hosts give their sectors to the group."""
        return [f"{path}/{name}" for path in exports for name in ("cache", "sealed")]

    def group_shares(
        self, group: Sequence[str], pc1_hosts: Sequence[str], addresses: Mapping[str, str | None], scratch_path: str
    ) -> list[GroupShare]:
        """Return the shares by which PC1 hosts give their scratch to the others of the group."""
        found = []
        for server in pc1_hosts:
            clients = tuple(sorted(host for host in group if host != server))
            if clients:
                found.append(GroupShare(server, clients, f"{scratch_path}/nfs/{addresses.get(server) or server}"))
        return found


def _config(worker: WorkerPlan, place: WorkerPlace) -> dict[str, Any]:
    """Return config.toml of one process, but for scheduler_url, which is the lotus-server's."""
    phases = [phase for task, names in PHASES.items() if task in worker.tasks for phase in names]
    entries = [
        {
            "num": max(worker.concurrency.get(task, 1) for task in PHASES),
            "supported_phase": phases,
            "wait_sec": POLL_SEC,
        }
    ]
    if "PC1" in worker.tasks:
        # What PC1 leaves on this host is copied and cleaned from here.
        entries.append({"num": 1, "supported_phase": ["CopyTask", "CleanTask"], "wait_sec": POLL_SEC})
    return {
        "local_dir": place.scratch_path,
        "copy_limit_mb_per_sec": COPY_LIMIT_MB_PER_SEC,
        "group_id": sorted(place.group_ids),
        "sector_size": place.figures.sector_bytes,
        "ip": place.address,
        "worker": entries,
    }
