"""Filters around the planner: inventory in, plan out. All decisions are in the package beside this file."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError, AnsibleFilterError
from jinja2 import TemplateError

sys.path.insert(0, str(Path(__file__).resolve().parent))

from sealplan.applied import merge_applied
from sealplan.explain import explain
from sealplan.inventory import plan_input
from sealplan.planner import plan


def _plain(value: Any) -> Any:
    """Strip Ansible's types from inventory values."""
    return json.loads(json.dumps(value, default=str))


def read_json(path: str) -> Any:
    file = Path(path)
    if not file.is_file():
        return None
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        remedy = "Restore it from a backup, or remove it if no host holds sectors"
        raise AnsibleFilterError(f"{path}: cannot be read as the plan applied last: {error}. {remedy}") from error


def sealing_plan_input(
    groups: Mapping[str, Iterable[str]],
    hostvars: Mapping[str, Mapping[str, Any]],
    inventory_dir: str = "",
    applied: str = "",
) -> dict[str, Any]:
    """Return the planner's input document for an inventory; `applied` is the path of the plan applied last."""
    try:
        names = sorted({str(host) for members in groups.values() for host in members})
        roles = {name: sorted(str(g) for g, members in groups.items() if name in members) for name in names}
        variables = {name: _HostVariables(hostvars[name]) for name in names}
        document = plan_input(roles, variables, [Path(inventory_dir), Path(__file__).resolve().parent.parent])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AnsibleFilterError(f"the inventory cannot be read for planning: {error}") from error
    document["current"] = read_json(applied) if applied else None
    return document


class _HostVariables:
    """A host's variables, each templated and made plain when it is asked for."""

    def __init__(self, variables: Mapping[str, Any]) -> None:
        self.variables = variables

    def get(self, name: str) -> Any:
        try:
            value = self.variables.get(name)
            return _plain(value) if value is not None else None
        except (AnsibleError, TemplateError):
            return None  # preflight tells which variable cannot be rendered, and why


def sealing_plan(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plan. What the inventory has wrong is in its `errors`."""
    if not isinstance(document, Mapping):
        kind = type(document).__name__
        raise AnsibleFilterError(f"sealing_plan wants the dictionary of sealing_plan_input, not {kind}")
    return plan(_plain(document))


def sealing_plan_text(plan_: Mapping[str, Any]) -> str:
    """Return the plan as a table."""
    return explain(plan_)


def sealing_plan_applied(plan_: Mapping[str, Any], hosts: Iterable[str], applied: str) -> dict[str, Any]:
    """Return the plan now in force: `plan_` for the hosts of this run, what was applied before for all others."""
    return merge_applied(read_json(applied), _plain(plan_), {str(host) for host in hosts})


class FilterModule:
    """Filters of the planner."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "sealing_plan_input": sealing_plan_input,
            "sealing_plan": sealing_plan,
            "sealing_plan_text": sealing_plan_text,
            "sealing_plan_applied": sealing_plan_applied,
        }
