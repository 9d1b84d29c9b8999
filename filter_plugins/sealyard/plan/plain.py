"""Typed values to plain ones at the edge, where JSON and Ansible begin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, fields, is_dataclass
from typing import Any


def optional() -> Any:
    """Return a field that is None where there is nothing to say, and then is left out."""
    return field(default=None, metadata={"optional": True})


_KEYS: dict[type, tuple[tuple[str, str, bool], ...]] = {}


def plain_keys(kind: type) -> tuple[tuple[str, str, bool], ...]:
    """Return (attribute, plain name, whether None is left out) of each field of a dataclass; asked once per class."""
    found = _KEYS.get(kind)
    if found is None:
        found = _KEYS[kind] = tuple(
            (one.name, one.metadata.get("key") or one.name, bool(one.metadata.get("optional"))) for one in fields(kind)
        )
    return found


def to_plain(value: Any) -> Any:
    """Return dataclasses as dictionaries and tuples as lists, all the way down."""
    kind = type(value)
    if kind is str or kind is int or value is None or kind is bool or kind is float:
        return value
    if kind is tuple or kind is list:
        return [to_plain(one) for one in value]
    if is_dataclass(value):
        found = {}
        for attribute, key, left_out in plain_keys(kind):
            own = getattr(value, attribute)
            if own is not None or not left_out:
                found[key] = to_plain(own)
        return found
    if isinstance(value, Mapping):
        return {key: to_plain(own) for key, own in value.items()}
    return value
