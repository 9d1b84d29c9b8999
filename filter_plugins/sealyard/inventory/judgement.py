"""Everything an inventory can get wrong, found before any host is touched.

`check_inventory` is pure: it reads plain data and returns a list of problems, all of them at once, one per mistake.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sealyard.inventory.checks import fork, groups, hardware, lotus, network, rdma, secrets, shares, storage, variables
from sealyard.inventory.checks.inventory import Check, Inventory, problem
from sealyard.inventory.planner_input import variable_of
from sealyard.inventory.variables import Problem, shown

CHECKS: tuple[Check, ...] = (
    groups.check_group_names,
    groups.check_host_has_a_group,
    groups.check_same_names,
    groups.check_miners,
    groups.check_private_daemon,
    groups.check_worker_group,
    variables.check_readable,
    variables.check_variables,
    variables.check_sector_size,
    variables.check_actor,
    secrets.check_vault_values,
    secrets.check_wallet_keys,
    lotus.check_stack,
    fork.check_sector_counter,
    fork.check_scheduler,
    fork.check_counter_seed,
    fork.check_layout,
    fork.check_deal_libp2p,
    fork.check_generation,
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
)


def check_inventory(
    inventory: Inventory, plan: Mapping[str, Any] | None = None, also: Sequence[Problem] = ()
) -> list[Problem]:
    """Return every problem of an inventory and of its plan: one per variable, and the same mistake on many hosts once.

    `also` is what others have found in the same variables. An empty list means that the inventory may be applied.
    """
    if not inventory.hostvars:
        remedy = "give one with -i inventories/NAME, or add hosts to it"
        return [problem("inventory", "all", "(empty)", "has no hosts", remedy)]
    first: dict[str, Problem] = {}
    found = (one for check in CHECKS for one in check(inventory))
    for one in (*found, *fork.check_limits(inventory, plan or {}), *also):
        first.setdefault(one["path"], one)
    told = {_without_suffix(path) for path in first}
    for one in _plan_problems(inventory, plan or {}):
        host, _, name = _without_suffix(one["path"]).partition("/")
        everywhere = host == "all" and any(path.endswith(f"/{name}") for path in told)
        if not everywhere and f"{host}/{name}" not in told:
            first.setdefault(one["path"], one)
    return _merged(list(first.values()), list(inventory.hostvars))


def _without_suffix(path: str) -> str:
    """Return `host/variable` of a path that goes on into the variable, such as `pc1-a/sealing_stores[0].path`."""
    host, _, rest = path.partition("/")
    return f"{host}/{re.split(r'[.[]', rest, maxsplit=1)[0]}"


def _plan_problems(inventory: Inventory, plan: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the plan's errors by the inventory's names, and the moves it would make unasked."""
    for error in plan.get("errors") or ():
        where, name = _inventory_name(str(error.get("path")))
        value = shown(name, error.get("value"))
        yield problem(where, name, value, str(error.get("problem")), str(error.get("remedy")))
    if any(str(one.get("sealing_allow_regroup")).lower() in ("true", "yes") for one in inventory.hostvars.values()):
        return
    for move in plan.get("moves") or ():
        before, after, what = move.get("from"), move.get("to"), move.get("what", "group")
        text = f"would move the host to another {what}: the sectors it may hold could not go on there"
        back = (
            f"sealing_worker_group: {before}" if what == "group" else f"miner: {before} for its group in sealing_groups"
        )
        remedy = f"{back}; or drain the host, then run with -e sealing_allow_regroup=true"
        yield problem(str(move.get("host")), "sealing_worker_group", f"{before} -> {after}", text, remedy)


def _inventory_name(path: str) -> tuple[str, str]:
    """Return host and variable of a path in the planner's input, such as `hosts.pc1-a.stores[0]`."""
    part, _, rest = path.partition(".")
    if part == "settings":
        return "all", _variable_of(rest)
    if part == "hosts" and rest:
        host, _, field = rest.partition(".")
        return host, _variable_of(field) if field else "groups"
    if part == "groups" and rest:
        return "all", f"sealing_groups.{rest}"
    return "groups", path


def _variable_of(field: str) -> str:
    name = re.split(r"[.[]", field, maxsplit=1)[0]
    return variable_of(name) + field[len(name) :]


def _merged(problems: Sequence[Problem], hosts: Sequence[str]) -> list[Problem]:
    """Fold the same mistake of several hosts into one problem: a mistake in group_vars is one mistake."""
    by_mistake: dict[tuple[str, str, str, str], list[str]] = {}
    for one in problems:
        where, _, name = one["path"].partition("/")
        wheres = by_mistake.setdefault((name, one["value"], one["problem"], one["remedy"]), [])
        if where not in wheres:
            wheres.append(where)
    return [problem(_together(wheres, hosts), *mistake) for mistake, wheres in by_mistake.items()]


def _together(wheres: Sequence[str], hosts: Sequence[str]) -> str:
    if len(wheres) > 1 and set(wheres) == set(hosts):
        return "all"
    return ",".join(wheres[:4]) + (f" and {len(wheres) - 4} more" if len(wheres) > 4 else "")
