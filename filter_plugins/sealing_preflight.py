"""Filters of playbooks/preflight.yml: Ansible's types in, problems and their text out."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from jinja2 import TemplateError

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lotus_config import entry_for, flatten, known_keys, problems_of
from lotus_miner import counter_authorities, counter_authority
from sealing_plan import read_json, sealing_plan, sealing_plan_input
from sealplan.checks.fork import FORK, generation
from sealplan.checks.inventory import Inventory, problem
from sealplan.inventory_checks import check_inventory
from sealplan.inventory_variables import (
    PLAN_FACTS,
    Problem,
    Unreadable,
    cluster_options,
    role_options,
    shown,
)
from sealplan.pledging import TooMuch, pledge_pace

ROLES_DIR = Path(__file__).resolve().parent.parent / "roles"
CONFIGS = {
    "lotus_daemon_config": "daemon",
    "lotus_miner_config": "miner",
    "winning_miner_config": "miner",
    "window_miner_config": "miner",
    "seal_miner_config": "miner",
    "deal_miner_config": "miner",
}


def sealing_preflight(
    groups: Mapping[str, Sequence[str]],
    hostvars: Mapping[str, Mapping[str, Any]],
    inventory_dir: str = "",
    applied: str = "",
    plan: Mapping[str, Any] | None = None,
    counter_moves: bool = False,
    stack_switches: bool = False,
) -> list[Problem]:
    """Return every problem of the inventory and of its plan, which is made here unless it is given.

    `applied` is the path of the plan applied last: against it the plan's moves are judged. `counter_moves`: the sector
    counter may be elsewhere than then; `stack_switches`: another stack may run.
    """
    roles = role_options(ROLES_DIR)
    hosts = [str(host) for host in groups.get("all", ())]
    inventory = Inventory(
        groups={str(group): [str(host) for host in members] for group, members in groups.items()},
        hostvars={host: _variables(hostvars[host], (*roles, "sealing", "vault")) for host in hosts},
        roles=roles,
        cluster=cluster_options(),
        found={host: hardware for host in hosts if (hardware := _hardware(hostvars[host]))},
    )
    unreadable = any(isinstance(value, Unreadable) for own in inventory.hostvars.values() for value in own.values())
    if plan is None and hosts and not unreadable:
        plan = sealing_plan(sealing_plan_input(groups, hostvars, inventory_dir, applied))
    further = [*_config_problems(inventory), *_pledging_problems(inventory, plan)]
    if not counter_moves and plan is not None and applied:
        further += _counter_problems(plan, read_json(applied))
    if not stack_switches and plan is not None and applied:
        further += _stack_problems(inventory, plan, read_json(applied))
    return check_inventory(inventory, plan, further)


def _counter_problems(plan: Mapping[str, Any], applied: Mapping[str, Any] | None) -> Iterator[Problem]:
    """The sector counter would start on another host while the one of the plan in force runs."""
    # A host that left the inventory stays in the plan in force, because its sector numbers stay taken.
    old = counter_authorities((applied or {}).get("miners") or {})
    new = counter_authority(plan.get("miners") or {})
    if new and old and new not in old:
        text = f"gives out the sector numbers in this inventory, and {old[0]} does so now: two would give out the same"
        remedy = f"sector_counter: {old[0].partition('/')[0]}, or move it with playbooks/sector_counter_move.yml"
        yield problem("groups", "sector_counter", new, text, remedy)


def _stack_problems(
    inventory: Inventory, plan: Mapping[str, Any], applied: Mapping[str, Any] | None
) -> Iterator[Problem]:
    """Miners of one stack would start beside workers of the other, and count sector numbers from another place."""
    new, old = (str((each.get("settings") or {}).get("stack") or "") for each in (plan, applied or {}))
    if new and old and new != old:
        host = next(iter(inventory.hosts("winning_miner") or inventory.hostvars))
        text = f"is another stack than {old}, which runs: its sectors, numbers and workers would be left behind"
        remedy = f"sealing_stack: {old}, or switch with playbooks/scheduler_switch.yml"
        yield problem(host, "sealing_stack", new, text, remedy)


def _pledging_problems(inventory: Inventory, plan: Mapping[str, Any] | None) -> Iterator[Problem]:
    """A timer that would pledge faster than the plan seals."""
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


def sealing_preflight_text(problems: Sequence[Problem]) -> str:
    """Return the problems as the text that an operator reads."""
    count = len(problems)
    lines = [f"{count} {'error' if count == 1 else 'errors'} in the inventory"]
    for number, one in enumerate(problems, start=1):
        lines += ["", f"{number}. {one['path']}: {one['value']}", f"   {one['problem']}", f"   write: {one['remedy']}"]
    return "\n".join(lines)


def _config_problems(inventory: Inventory) -> Iterator[Problem]:
    """Yield the settings for config.toml that Lotus does not know, or not with such a value."""
    for host, variables in inventory.hostvars.items():
        for name, component in CONFIGS.items():
            settings = variables.get(name)
            if not isinstance(settings, Mapping):
                continue
            stack = inventory.text(host, "sealing_stack", "lotus")
            # The third stack has no config.toml of ours; its settings are judged as upstream's.
            keys = known_keys(component, FORK if stack == FORK else "lotus", generation(inventory, host))
            for path, value in flatten(settings):
                entry = entry_for(path, keys)
                if entry is None:
                    near = difflib.get_close_matches(path, keys, n=1, cutoff=0.6)
                    text = f"is no key of lotus {component}, which would ignore it"
                    remedy = f"{near[0]}, or remove it" if near else "remove it"
                    yield problem(host, f"{name}.{path}", shown(path, value), text, remedy)
                    continue
                for remedy in problems_of(path, value, entry):
                    yield problem(host, f"{name}.{path}", shown(path, value), "is refused by Lotus", remedy)


def _variables(variables: Mapping[str, Any], prefixes: Sequence[str]) -> dict[str, Any]:
    """Return the variables that are ours, rendered; one that cannot be rendered becomes Unreadable."""
    ours = (*(f"{prefix}_" for prefix in prefixes), "ansible_host")
    wanted = [name for name in variables if name.startswith(ours) and not name.startswith(PLAN_FACTS)]
    return {str(name): _rendered(variables, name) for name in wanted}


def _rendered(variables: Mapping[str, Any], name: str) -> Any:
    try:
        return _plain(variables[name])
    except (AnsibleError, TemplateError) as error:
        first_line = str(error).strip().splitlines()[0]
        return Unreadable(first_line.removeprefix("A captured exception marker was tripped: "))


def _hardware(variables: Mapping[str, Any]) -> Any:
    """Return what library/sealing_hardware.py has read on a host, where it has been run."""
    facts = variables.get("ansible_facts")
    return _plain(facts.get("sealing_hardware")) if isinstance(facts, Mapping) else None


def _plain(value: Any) -> Any:
    """Return `value` without Ansible's tags and lazy containers."""
    if isinstance(value, Mapping):
        return {str(key): _plain(value[key]) for key in value}
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Sequence):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value)  # a value under !vault is decrypted here


class FilterModule:
    """The filters by the names that playbooks use."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return them."""
        return {"sealing_preflight": sealing_preflight, "sealing_preflight_text": sealing_preflight_text}
