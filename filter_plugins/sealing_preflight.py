"""Filters of playbooks/preflight.yml: Ansible's types in, problems and their text out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from jinja2 import TemplateError

sys.path.insert(0, str(Path(__file__).resolve().parent))

from sealing_plan import sealing_plan, sealing_plan_input
from sealplan.inventory_checks import check_inventory
from sealplan.inventory_variables import PLAN_FACTS, Problem, Unreadable, cluster_options, role_options

ROLES_DIR = Path(__file__).resolve().parent.parent / "roles"


def sealing_preflight(
    groups: Mapping[str, Sequence[str]],
    hostvars: Mapping[str, Mapping[str, Any]],
    inventory_dir: str = "",
    applied: str = "",
    plan: Mapping[str, Any] | None = None,
) -> list[Problem]:
    """Return every problem of the inventory and of its plan, which is made here unless it is given.

    `applied` is the path of the plan applied last: against it the plan's moves are judged.
    """
    roles, cluster = role_options(ROLES_DIR), cluster_options()
    plain = {str(host): _variables(hostvars[host], (*roles, "sealing", "vault")) for host in groups.get("all", ())}
    members = {str(group): [str(host) for host in hosts] for group, hosts in groups.items()}
    unreadable = any(isinstance(value, Unreadable) for own in plain.values() for value in own.values())
    if plan is None and plain and not unreadable:
        plan = sealing_plan(sealing_plan_input(groups, hostvars, inventory_dir, applied))
    return check_inventory(members, plain, roles, cluster, plan)


def sealing_preflight_text(problems: Sequence[Problem]) -> str:
    """Return the problems as the text that an operator reads."""
    count = len(problems)
    lines = [f"{count} {'error' if count == 1 else 'errors'} in the inventory"]
    for number, problem in enumerate(problems, start=1):
        lines += [
            "",
            f"{number}. {problem['path']}: {problem['value']}",
            f"   {problem['problem']}",
            f"   write: {problem['remedy']}",
        ]
    return "\n".join(lines)


def _variables(variables: Mapping[str, Any], prefixes: Sequence[str]) -> dict[str, Any]:
    """Return the variables that are ours, rendered; one that cannot be rendered becomes Unreadable."""
    ours = (*(f"{prefix}_" for prefix in prefixes), "ansible_host")
    return {
        str(name): _rendered(variables, name) for name in variables if name.startswith(ours) and name not in PLAN_FACTS
    }


def _rendered(variables: Mapping[str, Any], name: str) -> Any:
    try:
        return _plain(variables[name])
    except (AnsibleError, TemplateError) as error:
        first_line = str(error).strip().splitlines()[0]
        return Unreadable(first_line.removeprefix("A captured exception marker was tripped: "))


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
