"""Typed values to plain ones at the edge, where JSON and Ansible begin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, fields, is_dataclass
from typing import Any, Final


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


_ATOMS: Final = frozenset((str, int, float, bool, type(None)))


def to_plain(value: Any) -> Any:
    """Return dataclasses as dictionaries and tuples as lists, all the way down.

    What stands in several places of the value is converted once and stands in several places of the result.
    """
    return value if type(value) in _ATOMS else _convert(value, {})


def _convert(value: Any, done: dict[int, Any]) -> Any:
    known = done.get(id(value))
    if known is not None:
        return known
    kind = type(value)
    found: Any
    if kind is tuple or kind is list:
        found = [one if type(one) in _ATOMS else _convert(one, done) for one in value]
    elif kind in _KEYS or is_dataclass(kind):
        found = {}
        for attribute, key, left_out in plain_keys(kind):
            own = getattr(value, attribute)
            if own is not None or not left_out:
                found[key] = own if type(own) in _ATOMS else done.get(id(own)) or _convert(own, done)
    elif isinstance(value, Mapping):
        found = {key: own if type(own) in _ATOMS else _convert(own, done) for key, own in value.items()}
    else:
        return value
    done[id(value)] = found
    return found
