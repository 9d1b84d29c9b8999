"""Everything an inventory can get wrong, found before any host is touched.

`check_inventory` is pure: it reads plain data and returns a list of problems, all of them at once, one per mistake.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sealyard.inventory.checks import (
    config,
    groups,
    hardware,
    lotus,
    network,
    rdma,
    secrets,
    shares,
    stack,
    storage,
    variables,
)
from sealyard.inventory.checks import plan as plan_checks
from sealyard.problem import Problem
from sealyard.variables.inventory import Check, Inventory, Plan, problem

CHECKS: tuple[Check, ...] = (
    groups.check_group_names,
    groups.check_host_has_a_group,
    groups.check_same_names,
    groups.check_miners,
    groups.check_private_daemon,
    groups.check_devnet,
    groups.check_worker_group,
    variables.check_readable,
    variables.check_variables,
    variables.check_sector_size,
    variables.check_actor,
    secrets.check_vault_values,
    secrets.check_wallet_keys,
    stack.check_stack,
    stack.check_scheduler,
    stack.check_by_stack,
    lotus.check_daemon_host,
    lotus.check_chain_start,
    lotus.check_settings,
    secrets.check_environment,
    lotus.check_install,
    network.check_addresses,
    network.check_ports,
    storage.check_stores,
    shares.check_exports,
    shares.check_mounts,
    shares.check_rdma_addresses,
    rdma.check_rdma_cards,
    rdma.check_rdma_mtu,
    hardware.check_declared_hardware,
    variables.check_cluster_values,
    config.check_config_keys,
    plan_checks.check_pledging,
    stack.check_counter_place,
    plan_checks.check_stack_that_runs,
    plan_checks.check_errors,
    plan_checks.check_moves,
)
ECHOES = (plan_checks.check_errors, plan_checks.check_moves)
"""They come upon a mistake by its effects, and say nothing of a variable in which its cause is found."""


def check_inventory(inventory: Inventory, plan: Plan | None = None) -> list[Problem]:
    """Return every problem of an inventory and of its plan: one per variable, and the same mistake on many hosts once.

    An empty list means that the inventory may be applied.
    """
    if not inventory.hostvars:
        remedy = "give one with -i inventories/NAME, or add hosts to it"
        return [problem("inventory", "all", "(empty)", "has no hosts", remedy)]
    first: dict[str, Problem] = {}
    for check in CHECKS:
        told = {_without_suffix(path) for path in first} if check in ECHOES else set()
        for one in check(inventory, plan or {}):
            host, _, name = _without_suffix(one.path).partition("/")
            everywhere = host == "all" and any(path.endswith(f"/{name}") for path in told)
            if not everywhere and f"{host}/{name}" not in told:
                first.setdefault(one.path, one)
    return _merged(list(first.values()), list(inventory.hostvars))


def _without_suffix(path: str) -> str:
    """Return `host/variable` of a path that goes on into the variable, such as `pc1-a/sealing_stores[0].path`."""
    host, _, rest = path.partition("/")
    return f"{host}/{re.split(r'[.[]', rest, maxsplit=1)[0]}"


def _merged(problems: Sequence[Problem], hosts: Sequence[str]) -> list[Problem]:
    """Fold the same mistake of several hosts into one problem: a mistake in group_vars is one mistake."""
    by_mistake: dict[tuple[str, str, str, str], list[str]] = {}
    for one in problems:
        where, _, name = one.path.partition("/")
        wheres = by_mistake.setdefault((name, one.value, one.problem, one.remedy), [])
        if where not in wheres:
            wheres.append(where)
    return [problem(_together(wheres, hosts), *mistake) for mistake, wheres in by_mistake.items()]


def _together(wheres: Sequence[str], hosts: Sequence[str]) -> str:
    if len(wheres) > 1 and set(wheres) == set(hosts):
        return "all"
    return ",".join(wheres[:4]) + (f" and {len(wheres) - 4} more" if len(wheres) > 4 else "")


def preflight_text(problems: Sequence[Problem]) -> str:
    """Return the problems as the text that an operator reads."""
    count = len(problems)
    lines = [f"{count} {'error' if count == 1 else 'errors'} in the inventory"]
    for number, one in enumerate(problems, start=1):
        lines += ["", f"{number}. {one.path}: {one.value}", f"   {one.problem}", f"   write: {one.remedy}"]
    return "\n".join(lines)
