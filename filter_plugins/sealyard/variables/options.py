"""What a variable of the inventory may be: its name, type and choices.

The rules are the argument specs of the roles; that of role `sealing` declares the variables of the whole cluster.
"""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

Options = Mapping[str, Mapping[str, Any]]
"""Variable name to its option: type, choices, elements, options, required, no_log."""

PLAN_FACTS = ("sealing_plan", "sealing_cluster_plan", "sealing_host_plan", "sector_counter_move")
"""How the names begin that playbooks/plan.yml sets on hosts: results, not input. The last one is of the playbook."""

FORMER: Final = {
    "lotus_install_root": "sealing_install_root",
    "proof_parameters_dir": "sealing_parameters_dir",
    "proof_parameters_parents_dir": "sealing_parents_dir",
    "proof_parameters_trust": "sealing_trust_parameters",
    "sector_counter_state_dir": "sealing_counter_state_dir",
    "sector_counter_backup_dir": "sealing_counter_backup_dir",
    "base_user_uid": "sealing_user_uid",
    "base_user_gid": "sealing_user_gid",
    "base_nofile_minimum": "sealing_nofile_minimum",
    "base_config_dir": "sealing_config_dir",
}
"""Former names of variables that are the cluster's now: they still work, and are judged as what they are called now."""
RENAMED: Final = {
    "lotus_miner_group": "sealing_user_group",
    "sector_counter_group": "sealing_user_group",
}
"""Variables of roles that are the cluster's now; ROLE_X that is sealing_X is found without."""

SECRET_WORDS = ("token", "secret", "password", "wallet", "private", "vault_")


@dataclass(frozen=True)
class Unreadable:
    """Stands in for a variable whose template cannot be rendered."""

    reason: str


@dataclass(frozen=True)
class Finding:
    """A wrong value inside one variable: `where` is "" or a suffix such as `[0].path`."""

    where: str
    value: Any
    problem: str
    remedy: str


ROLES_DIR: Final = Path(__file__).resolve().parents[3] / "roles"
CLUSTER_ROLE: Final = "sealing"
GIVEN_BY_E: Final = ("sealing_allow_regroup",)
"""Booleans for one run: -e makes a text of them, and only the planner reads them."""


def cluster_options() -> Options:
    """Return the options of the cluster-wide variables."""
    options = role_options(ROLES_DIR)[CLUSTER_ROLE]
    return {name: {**option, "command_line": name in GIVEN_BY_E} for name, option in options.items()}


@functools.cache
def role_options(roles_dir: Path) -> dict[str, Options]:
    """Return every role's options by role name, from `roles_dir`/ROLE/meta/argument_specs.yml."""
    found: dict[str, Options] = {}
    for spec in sorted(roles_dir.glob("*/meta/argument_specs.yml")):
        loaded = yaml.safe_load(spec.read_text(encoding="utf-8")) or {}
        entry_points = loaded.get("argument_specs") or {}
        merged: dict[str, Mapping[str, Any]] = {}
        for entry_point in entry_points.values():
            merged.update(entry_point.get("options") or {})
        found[spec.parent.parent.name] = merged
    return found


def nearest(word: str, known: Sequence[str]) -> str | None:
    """Return the known word most like `word`, or None when nothing is near."""
    near = difflib.get_close_matches(word.lower().replace("-", "_"), known, n=1, cutoff=0.75)
    return near[0] if near else None


def shown(name: str, value: Any, option: Mapping[str, Any] | None = None) -> str:
    """Return `value` for a message: short, on one line, and never a secret."""
    if value is None or value == "":
        return "(empty)"
    if (option or {}).get("no_log") or any(word in name for word in SECRET_WORDS):
        return "(not shown)"
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def findings(name: str, value: Any, option: Mapping[str, Any], where: str = "") -> Iterator[Finding]:
    """Yield what is wrong with the type, choice or shape of one variable's value.

    None counts as not set. A text such as "false" is no bool: roles would take it for true.
    """
    if value is None or isinstance(value, Unreadable):
        return
    kind = option.get("type", "str")
    if option.get("command_line") and isinstance(value, str) and value.lower() in {"true", "false", "yes", "no"}:
        return
    if not _is(kind, value):
        yield Finding(where, value, f"is {_kind_of(value)}, not {_ARTICLE[kind]}", _typed_remedy(name, kind, value))
        return
    choices = option.get("choices")
    if choices and value not in choices:
        near = nearest(str(value), [str(choice) for choice in choices])
        one_of = ", ".join(str(choice) for choice in choices)
        yield Finding(where, value, f"is not one of {one_of}", f"{name}: {near}" if near else f"one of {one_of}")
    if isinstance(value, Mapping) and option.get("options"):
        yield from _nested(name, value, option["options"], where)
    if isinstance(value, list | tuple) and "elements" in option:
        element = {"type": option["elements"], "options": option.get("options")}
        for index, item in enumerate(value):
            yield from findings(name, item, element, f"{where}[{index}]")


def _nested(name: str, value: Mapping[str, Any], options: Options, where: str) -> Iterator[Finding]:
    for key, option in options.items():
        if key in value:
            yield from findings(name, value[key], option, f"{where}.{key}")
        if option.get("required") and value.get(key) in (None, ""):
            yield Finding(f"{where}.{key}", None, "is missing", f"add {key}: to {name}{where}")
    for key in value:
        if key not in options:
            near = nearest(str(key), list(options))
            known = ", ".join(options)
            yield Finding(f"{where}.{key}", value[key], "is not known", f"{near}:" if near else f"one of {known}")


_ARTICLE = {
    "str": "a text",
    "path": "a path",
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "list": "a list",
    "dict": "a dictionary",
}


def _is(kind: str, value: Any) -> bool:
    if kind == "bool":
        return isinstance(value, bool)
    if kind in ("int", "float"):
        return isinstance(value, int if kind == "int" else int | float) and not isinstance(value, bool)
    if kind == "list":
        return isinstance(value, list | tuple)
    if kind == "dict":
        return isinstance(value, Mapping)
    return kind not in ("str", "path") or isinstance(value, str)


def _kind_of(value: Any) -> str:
    if isinstance(value, str):
        return "a text"
    for kind in ("bool", "int", "float", "list", "dict"):
        if _is(kind, value):
            return _ARTICLE[kind]
    return type(value).__name__


def _typed_remedy(name: str, kind: str, value: Any) -> str:
    if kind == "bool":
        meant = "true" if str(value).lower() in {"true", "yes", "on", "1"} else "false"
        return f"{name}: {meant} (no quotes; on the command line -e '{{\"{name}\": {meant}}}')"
    if kind in ("int", "float") and isinstance(value, str):
        try:
            number = float(value) if kind == "float" else int(value)
        except ValueError:
            return f"{_ARTICLE[kind]} for {name}"
        return f"{name}: {number} (no quotes; on the command line -e '{{\"{name}\": {number}}}')"
    if kind in ("str", "path") and not isinstance(value, Mapping | list | tuple):
        return f'{name}: "{value}" (with quotes)'
    return f"{_ARTICLE[kind]} for {name}"
