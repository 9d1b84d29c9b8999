"""The adapter's names: each filter is used by a playbook, a role or a scenario, and each that is used is there."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.plugins.loader import filter_loader
from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.filters import FILTERS as OF_JINJA
from sealyard_filters import FILTERS

ROOT = Path(__file__).parents[2]
EXPRESSIONS = {"when", "until", "failed_when", "changed_when", "that"}
"""Keys whose texts are expressions without braces."""
BY_NAME = {"map", "select", "reject"}
"""Filters whose first argument may name another one, or a test."""
FILES = sorted(
    path
    for pattern in ("site.yml", "playbooks/*.yml", "roles/**/*.yml", "roles/**/*.j2", "molecule/**/*.yml")
    for path in ROOT.glob(pattern)
)


def texts(value: Any, bare: bool = False) -> Iterator[str]:
    """Yield every text of a YAML document as a template."""
    if isinstance(value, str):
        yield "{{ " + value + " }}" if bare else value
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from texts(one, key in EXPRESSIONS)
    elif isinstance(value, list):
        for one in value:
            yield from texts(one, bare)


@cache
def filters_used(path: Path) -> frozenset[str]:
    """Return the names of the filters in a file's templates."""
    text = path.read_text(encoding="utf-8")
    found: set[str] = set()
    for template in [text] if path.suffix == ".j2" else texts(yaml.safe_load(text)):
        try:
            tree = Environment(extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"]).parse(template)
        except TemplateSyntaxError:  # a text of another language, such as a program for a shell
            continue
        for each in tree.find_all(nodes.Filter):
            found.add(each.name)
            first = each.args[0] if each.args else None
            if each.name in BY_NAME and isinstance(first, nodes.Const) and first.value in FILTERS:
                found.add(first.value)
    return frozenset(found)


def test_each_filter_is_used() -> None:
    used = frozenset().union(*(filters_used(path) for path in FILES))
    assert sorted(set(FILTERS) - used) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_filter_that_is_used_is_there(path: Path) -> None:
    known = {*FILTERS, *OF_JINJA}
    assert [name for name in sorted(filters_used(path) - known) if filter_loader.get(name) is None] == []
