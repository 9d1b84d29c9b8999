"""What the plan of an inventory says of it, and against the plan that is in force."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sealyard.inventory.planner_input import variable_of
from sealyard.planner.pledging import TooMuch, pledge_pace
from sealyard.problem import Problem
from sealyard.variables.inventory import Inventory, Plan, problem
from sealyard.variables.options import shown


def check_errors(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """What the planner has found, by the inventory's names."""
    for error in plan.get("errors") or ():
        where, name = _inventory_name(str(error.get("path")))
        value = shown(name, error.get("value"))
        yield problem(where, name, value, str(error.get("problem")), str(error.get("remedy")))


def check_moves(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """A host that may hold sectors is not moved to another group or miner unasked."""
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


def check_stack_that_runs(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """Miners of one stack would start beside workers of the other, and count sector numbers from another place."""
    new, old = (str((each.get("settings") or {}).get("stack") or "") for each in (plan, inventory.applied))
    if new and old and new != old and "stack" not in inventory.changes:
        host = next(iter(inventory.hosts("winning_miner") or inventory.hostvars))
        text = f"is another stack than {old}, which runs: its sectors, numbers and workers would be left behind"
        remedy = f"sealing_stack: {old}, or switch with playbooks/scheduler_switch.yml"
        yield problem(host, "sealing_stack", new, text, remedy)


def check_pledging(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """A timer pledges no faster than the plan seals."""
    for host in inventory.hosts("seal_miner"):
        mode = inventory.value(host, "sealing_pledging")
        pace = [inventory.value(host, name, 0) for name in ("pledging_sectors", "pledging_interval_sec")]
        readable = all(isinstance(number, int) for number in pace)
        if mode not in ("batch", "smooth") or not readable or not plan or plan.get("errors"):
            continue
        try:
            pledge_pace(plan, host, "seal", mode, *pace)
        except TooMuch as error:
            yield problem(host, error.variable, error.value, error.problem, error.remedy)


def _inventory_name(path: str) -> tuple[str, str]:
    """Return host and variable of a path in the planner's input, such as `hosts.pc1-a.stores[0]`."""
    part, _, rest = path.partition(".")
    if part == "settings":
        return "all", _variable_of(rest)
    if part == "hosts" and rest:
        host, _, field = rest.partition(".")
        # A host's roles are the groups that it is in.
        return host, _variable_of(field) if field and field != "roles" else "groups"
    if part == "groups":
        return "all", f"sealing_groups.{rest}" if rest else "sealing_groups"
    return "groups", path


def _variable_of(field: str) -> str:
    name = re.split(r"[.[]", field, maxsplit=1)[0]
    return variable_of(name) + field[len(name) :]
