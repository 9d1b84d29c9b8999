"""Writes docs/variables.md from the roles' argument specs: `python3 -m lab.docs`, in the virtual environment."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/variables.md"
CLUSTER = "sealing"
"""The role that declares the variables of the whole cluster; it comes first."""
HEAD = """\
# Variables

Made from `roles/*/meta/argument_specs.yml` by `.venv/bin/python -m lab.docs`. Change it there, not here.

Variables of the whole cluster begin with `sealing_`. Most stand in `group_vars/all`; those of one host stand in its
`host_vars`. All others have the name of their role in front. Preflight refuses a name that begins like one of these
and is neither one nor a former name that still works, and a value of another type.

An empty default means that nothing is set; the description says what holds then. `name[].key` is a key of each entry
of a list. Text in `{{ }}` is worked out from other variables on each host.
"""


def page(roles_dir: Path) -> str:
    """Return the page for all roles: the cluster's variables first, then role by role."""
    specs = {
        path.parent.parent.name: yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]
        for path in sorted(roles_dir.glob("*/meta/argument_specs.yml"))
    }
    order = sorted(specs, key=lambda role: (role != CLUSTER, role))
    return "\n".join([HEAD, *(line for role in order for line in _section(role, specs[role]))])


def _section(role: str, entry_points: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield a role's lines. Its entry points share their options, so each is told once."""
    options: dict[str, Mapping[str, Any]] = {}
    for entry_point in entry_points.values():
        options |= entry_point.get("options") or {}
    if options:
        title = next(iter(entry_points.values()))["short_description"]
        yield from (f"## {role}", "", f"{_words(title)}.", "", "| variable | type | default | what it is |")
        yield "|---|---|---|---|"
        for name, option in options.items():
            yield from _rows(name, option)
        yield ""


def _rows(name: str, option: Mapping[str, Any]) -> Iterator[str]:
    kind = option.get("type", "str")
    if option.get("elements"):
        kind += f" of {option['elements']}"
    if option.get("choices"):
        kind += ": " + ", ".join(f"`{choice}`" for choice in option["choices"])
    default = "required" if option.get("required") else _code(option["default"]) if "default" in option else ""
    yield f"| `{name}` | {kind} | {default} | {_words(option.get('description', ''))} |"
    inside = "[]" if kind.startswith("list") else ""
    for key, below in (option.get("options") or {}).items():
        yield from _rows(f"{name}{inside}.{key}", below)


def _code(value: Any) -> str:
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
    return f"`{_cell(text)}`"


def _words(description: Any) -> str:
    """Return a description, a text or a list of them, with Ansible's C(…) as code."""
    text = " ".join(description) if isinstance(description, list) else str(description)
    return re.sub(r"\b[CIOV]\(([^)]*)\)", r"`\1`", _cell(text))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


if __name__ == "__main__":
    PAGE.write_text(page(ROOT / "roles"), encoding="utf-8")
