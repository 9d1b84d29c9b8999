"""What only an inventory of the fork can get wrong: who gives out sector numbers, and where the limits are written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from sealyard.problem import Problem
from sealyard.stacks.lotus_distributed.myscheduler import KEYS as MYSCHEDULER_KEYS
from sealyard.variables.inventory import MINER_GROUPS, Inventory, Plan, problem
from sealyard.variables.options import nearest, shown

FORK: Final = "lotus_distributed"
FIRST_GENERATION_KEYS: Final = ("PreCommit1Max", "PreCommit1HoldMax")
MINER_CONFIGS: Final = ("lotus_miner_config", *(f"{group}_config" for group in MINER_GROUPS))


def _hosts(inventory: Inventory, *groups: str) -> list[str]:
    """Return the hosts of the fork, of any of `groups` where some are given."""
    hosts = inventory.hosts(*groups) if groups else list(inventory.hostvars)
    return [host for host in hosts if inventory.text(host, "sealing_stack") == FORK]


def generation(inventory: Inventory, host: str) -> int:
    """Return the generation of the fork on `host`, 2 where none is given."""
    return 1 if str(inventory.value(host, "sealing_fork_generation", 2)) == "1" else 2


def check_sector_counter(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """Exactly one process gives out sector numbers, and it is a miner."""
    if not _hosts(inventory):
        return
    counters = list(inventory.groups.get("sector_counter", ()))
    miners = inventory.hosts(*MINER_GROUPS)
    first = (inventory.hosts("winning_miner") or miners or ["a miner host"])[0]
    if not counters:
        text = "has no host: every miner would count sector numbers on its own, and give out the same ones"
        yield problem("groups", "sector_counter", "(empty)", text, f"one miner host, such as {first}")
    elif len(counters) > 1:
        text = "has more than one host: each would give out the same sector numbers"
        yield problem("groups", "sector_counter", ", ".join(counters), text, f"one miner host, such as {first}")
    elif counters[0] not in miners:
        text = "is no miner host, and the counter is part of a lotus-miner process"
        yield problem("groups", "sector_counter", counters[0], text, f"one miner host, such as {first}")


def check_scheduler_switched_off(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """The fork with AllowMyScheduler off schedules nothing at all."""
    for host in _hosts(inventory):
        for name in MINER_CONFIGS if generation(inventory, host) == 2 else ():
            tables = inventory.value(host, name, {})
            storage = tables.get("Storage") if isinstance(tables, Mapping) else None
            if isinstance(storage, Mapping) and storage.get("AllowMyScheduler") is False:
                text = "takes the scheduler from the fork, which has no other and gives out no task without it"
                remedy = (
                    "remove it; for the official scheduler: sealing_stack: lotus and playbooks/scheduler_switch.yml"
                )
                yield problem(host, f"{name}.Storage.AllowMyScheduler", "false", text, remedy)


def check_counter_seed(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """The seed counts as issued; what the plan says is taken must be below it."""
    for host in _hosts(inventory, "sector_counter"):
        seed, start = inventory.value(host, "sector_counter_seed"), inventory.value(host, "sealing_sector_number_start")
        if isinstance(seed, int) and isinstance(start, int) and 0 < seed < start - 1:
            text = f"is below {start - 1}, the last number that sealing_sector_number_start says is taken"
            yield problem(
                host, "sector_counter_seed", str(seed), text, f"sector_counter_seed: {start - 1}, or leave it out"
            )


def check_layout(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """One miner for everything is upstream Lotus's; the fork's flags only take duties away."""
    for host in _hosts(inventory):
        if inventory.text(host, "sealing_miner_layout") == "single":
            text = "is one official miner, and sealing_stack is lotus_distributed"
            yield problem(host, "sealing_miner_layout", "single", text, "split, or sealing_stack: lotus beside it")


def check_deal_libp2p(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """A deal miner is reached over libp2p."""
    for host in _hosts(inventory, "deal_miner"):
        for name in ("lotus_miner_config", "deal_miner_config"):
            tables = inventory.value(host, name, {})
            subsystems = tables.get("Subsystems") if isinstance(tables, Mapping) else None
            if isinstance(subsystems, Mapping) and subsystems.get("EnableMarkets") is False:
                text = "takes libp2p from the deal miner, and no client reaches it"
                yield problem(host, f"{name}.Subsystems.EnableMarkets", "false", text, "remove it")


def check_generation(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """Limits are written where the fork's generation reads them."""
    for host in _hosts(inventory):
        if generation(inventory, host) == 1:
            if inventory.value(host, "sealing_worker_limits"):
                value = shown("", inventory.value(host, "sealing_worker_limits"))
                text = "is for myscheduler.json, which the first generation of the fork does not read"
                remedy = "remove it, or sealing_fork_generation: 2"
                yield problem(host, "sealing_worker_limits", value, text, remedy)
            continue
        for name in MINER_CONFIGS:
            tables = inventory.value(host, name, {})
            storage = tables.get("Storage") if isinstance(tables, Mapping) else None
            for key in FIRST_GENERATION_KEYS:
                if isinstance(storage, Mapping) and key in storage:
                    text = "is of the first generation of the fork; the second reads limits from myscheduler.json alone"
                    remedy = "sealing_worker_limits on the workers, or sealing_fork_generation: 1"
                    yield problem(host, f"{name}.Storage.{key}", shown("", storage[key]), text, remedy)


def check_limits(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """Limits set by hand are limits the fork knows, and no PC1 more than the plan has memory and cores for."""
    for host in _hosts(inventory):
        limits = inventory.value(host, "sealing_worker_limits")
        if not isinstance(limits, Mapping) or generation(inventory, host) == 1:
            continue
        for key in limits:
            if key not in MYSCHEDULER_KEYS:
                near = nearest(str(key), MYSCHEDULER_KEYS)
                remedy = near or f"one of {', '.join(MYSCHEDULER_KEYS)}"
                text = "is no key of myscheduler.json, and the fork would ignore it"
                yield problem(host, f"sealing_worker_limits.{key}", shown("", limits[key]), text, remedy)
        wanted = limits.get("PreCommit1Max")
        workers = ((plan.get("hosts") or {}).get(host) or {}).get("workers") or []
        carried = [worker["concurrency"]["PC1"] for worker in workers if "PC1" in worker["concurrency"]]
        if isinstance(wanted, int) and carried and wanted > min(carried):
            text = f"is more PC1 at once than the {min(carried)} that the plan has memory and cores for in a worker"
            remedy = f"PreCommit1Max: {min(carried)} or less, or leave it out"
            yield problem(host, "sealing_worker_limits.PreCommit1Max", str(wanted), text, remedy)


CHECKS: Final = (
    check_sector_counter,
    check_scheduler_switched_off,
    check_counter_seed,
    check_layout,
    check_deal_libp2p,
    check_generation,
    check_limits,
)
