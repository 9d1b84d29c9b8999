"""Every problem of an inventory and of its plan, and the text that an operator reads."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sealyard.hosts.miners import counter_authorities, counter_authority
from sealyard.inventory.checks.fork import FORK, generation
from sealyard.inventory.checks.inventory import Inventory, problem
from sealyard.inventory.judgement import check_inventory
from sealyard.inventory.variables import Problem, shown
from sealyard.lotus.config import entry_for, flatten, known_keys, problems_of
from sealyard.planner.pledging import TooMuch, pledge_pace

CONFIGS = {
    "lotus_daemon_config": "daemon",
    "lotus_miner_config": "miner",
    "winning_miner_config": "miner",
    "window_miner_config": "miner",
    "seal_miner_config": "miner",
    "deal_miner_config": "miner",
}


def inventory_problems(
    inventory: Inventory,
    plan: Mapping[str, Any] | None,
    applied: Mapping[str, Any] | None,
    counter_moves: bool = False,
    stack_switches: bool = False,
) -> list[Problem]:
    """Return every problem of the inventory and of its plan.

    `applied` is the plan applied last: against it the plan's moves are judged. `counter_moves`: the sector counter may
    be elsewhere than then; `stack_switches`: another stack may run.
    """
    further = [*_config_problems(inventory), *_pledging_problems(inventory, plan)]
    if not counter_moves and plan is not None and applied is not None:
        further += _counter_problems(plan, applied)
    if not stack_switches and plan is not None and applied is not None:
        further += _stack_problems(inventory, plan, applied)
    return check_inventory(inventory, plan, further)


def _counter_problems(plan: Mapping[str, Any], applied: Mapping[str, Any]) -> Iterator[Problem]:
    """The sector counter would start on another host while the one of the plan in force runs."""
    # A host that left the inventory stays in the plan in force, because its sector numbers stay taken.
    old = counter_authorities(applied.get("miners") or {})
    new = counter_authority(plan.get("miners") or {})
    if new and old and new not in old:
        text = f"gives out the sector numbers in this inventory, and {old[0]} does so now: two would give out the same"
        remedy = f"sector_counter: {old[0].partition('/')[0]}, or move it with playbooks/sector_counter_move.yml"
        yield problem("groups", "sector_counter", new, text, remedy)


def _stack_problems(inventory: Inventory, plan: Mapping[str, Any], applied: Mapping[str, Any]) -> Iterator[Problem]:
    """Miners of one stack would start beside workers of the other, and count sector numbers from another place."""
    new, old = (str((each.get("settings") or {}).get("stack") or "") for each in (plan, applied))
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


def preflight_text(problems: Sequence[Problem]) -> str:
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
