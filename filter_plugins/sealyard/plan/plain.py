"""Typed values to plain ones at the edge, where JSON and Ansible begin."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from operator import attrgetter
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
_PLAIN: Final = frozenset(("str", "int", "float", "bool", "str | None", "int | None"))


@dataclass(frozen=True, slots=True)
class _Shape:
    """How values of one dataclass are read: a plan of 10,000 hosts holds 300,000 of them."""

    keys: tuple[str, ...]
    read: Callable[[Any], tuple[Any, ...]]
    nested: tuple[str, ...]
    """Keys of fields that may hold more than a text or a number."""
    left_out: tuple[str, ...]


@functools.cache
def _shape(kind: type) -> _Shape:
    names = tuple(attribute for attribute, _, _ in plain_keys(kind))
    return _Shape(
        keys=tuple(key for _, key, _ in plain_keys(kind)),
        read=attrgetter(*names) if len(names) > 1 else lambda value: tuple(getattr(value, name) for name in names),
        nested=tuple(
            key for (_, key, _), one in zip(plain_keys(kind), fields(kind), strict=True) if one.type not in _PLAIN
        ),
        left_out=tuple(key for _, key, optional in plain_keys(kind) if optional),
    )


def to_plain(value: Any) -> Any:
    """Return dataclasses as dictionaries and tuples as lists, all the way down.

    What stands in several places of the value is converted once and stands in several places of the result.
    """
    return value if type(value) in _ATOMS else _convert(value, {})


def _convert(value: Any, done: dict[int, Any]) -> Any:
    known = done.get(id(value))
    if known is not None:
        return known
    kind: Any = type(value)
    found: Any
    if kind is tuple or kind is list:
        found = [one if type(one) in _ATOMS else _convert(one, done) for one in value]
    elif kind in _KEYS or is_dataclass(kind):
        shape = _shape(kind)
        found = dict(zip(shape.keys, shape.read(value), strict=True))
        for key in shape.left_out:
            if found[key] is None:
                del found[key]
        for key in shape.nested:
            own = found.get(key)
            if own is not None:
                found[key] = done.get(id(own)) or _convert(own, done)
    elif isinstance(value, Mapping):
        found = {key: own if type(own) in _ATOMS else _convert(own, done) for key, own in value.items()}
    else:
        return value
    done[id(value)] = found
    return found
