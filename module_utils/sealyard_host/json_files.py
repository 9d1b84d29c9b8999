"""JSON files that two write: what each of them keeps."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


class NoObject(ValueError):
    """A file that is to be merged with holds no JSON object."""


def merged(before: str, wanted: str, to_set: Sequence[str], to_add: Sequence[str]) -> str:
    """The text `before` with the `to_set` keys as wanted, `to_add` lists with what they lack, missing keys added.

    The same object in another layout is no change: Lotus writes these files too. NoObject when it holds none.
    """
    found = _object(before)
    if found is None:
        raise NoObject
    told: dict[str, Any] = json.loads(wanted)
    result = {**told, **found, **{key: told[key] for key in to_set}}
    for key in to_add:
        present = found.get(key) or []
        missing = [item for item in told[key] if item not in present]
        if missing:
            result[key] = [*present, *missing]
    return before if result == found else json.dumps(result, indent=2) + "\n"


def kept(before: str, wanted: str, keys: Sequence[str]) -> str:
    """The wanted text with the values that `before` has at `keys`; a text that is no object gives none."""
    found = _object(before)
    result = {**json.loads(wanted), **{key: found[key] for key in keys if found and key in found}}
    return before if result == found else json.dumps(result, indent=2) + "\n"


def _object(text: str) -> Mapping[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
