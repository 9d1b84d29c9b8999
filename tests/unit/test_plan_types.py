"""The types of the plan and its JSON Schema say the same: every key, and which may be missing."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sealyard.plan import types as plan_types
from sealyard.plan.plain import plain_keys, to_plain

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "filter_plugins/sealyard/plan/plan.schema.json").read_text("utf-8"))
MERGED: dict[type, type] = {plan_types.HostPlan: plan_types.WorkerHostPlan}
"""The schema knows one kind of host: what only a host with workers has may be missing."""


def classes_in(hint: Any) -> Iterator[type]:
    """Dataclasses somewhere in a type hint."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        yield hint
    for inner in typing.get_args(hint):
        yield from classes_in(inner)


def objects_of(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Objects with named keys that lie at, or directly under, one value: list items, map values, alternatives."""
    if "properties" in schema:
        yield schema
        return
    for one in (schema.get("items"), schema.get("additionalProperties"), *schema.get("anyOf", ())):
        if isinstance(one, Mapping):
            yield from objects_of(one)


def compare(kind: type, schema: Mapping[str, Any], place: str, seen: list[str]) -> None:
    full = MERGED.get(kind, kind)
    hints = typing.get_type_hints(full)
    keys = {key: (attribute, optional) for attribute, key, optional in plain_keys(full)}
    assert set(schema["properties"]) == set(keys), place
    assert schema["additionalProperties"] is False, place
    own = {key for _, key, _ in plain_keys(kind)}
    assert set(schema["required"]) == {k for k, (_, optional) in keys.items() if not optional and k in own}, place
    seen.append(kind.__name__)
    for key, (attribute, _) in keys.items():
        inner = set(classes_in(hints[attribute]))
        if inner:
            (child,) = inner
            (below,) = objects_of(schema["properties"][key])
            compare(child, below, f"{place}.{key}", seen)


def test_types_and_schema_have_the_same_keys() -> None:
    seen: list[str] = []
    compare(plan_types.Plan, SCHEMA, "plan", seen)
    typed = {
        name
        for name, kind in vars(plan_types).items()
        if dataclasses.is_dataclass(kind) and kind.__module__ == plan_types.__name__
    }
    assert typed - set(seen) == {"WorkerHostPlan"}


def test_plain_leaves_out_what_is_optional_and_not_there() -> None:
    host = plan_types.HostPlan("", (), (), (), ())
    assert to_plain(host) == {"reserved_cpus": "", "workers": [], "paths": [], "exports": [], "mounts": []}
    move = plan_types.Move("h", "a", "b", "group", True)
    assert to_plain([move]) == [{"host": "h", "from": "a", "to": "b", "what": "group", "may_hold_sectors": True}]
    assert to_plain(types.MappingProxyType({"a": (1, 2)})) == {"a": [1, 2]}
