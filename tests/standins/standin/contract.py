"""The tables of tests/contracts: from the archive when built, from the checkout otherwise."""

from __future__ import annotations

import json
import os
from functools import cache
from typing import Any

VERSION = "1.36.2"


def _checkout(name: str) -> Any:
    path = os.path.join(os.path.dirname(__file__), "..", "..", "contracts", f"lotus-{VERSION}.{name}.json")
    with open(path, encoding="utf-8") as stream:
        return json.load(stream)


def _archived(name: str) -> Any:
    loader = globals().get("__loader__")
    try:
        data = loader.get_data(os.path.join(os.path.dirname(__file__), f"{name}.json"))  # type: ignore[union-attr]
    except (OSError, AttributeError):
        return None
    return json.loads(data)


@cache
def cli(program: str) -> Any:
    """{global_flags: [...], commands: {path: {flags, subcommands, …}}} of one program."""
    archived = _archived("cli")
    return archived[program] if archived else _checkout("cli")[program]


@cache
def config_keys(role: str) -> Any:
    """{dotted key: {type, default, enum, env}} of `daemon` or `miner`."""
    archived = _archived("config")
    return archived[role] if archived else _checkout("config")[role]


@cache
def resources() -> Any:
    return _archived("resources") or _checkout("resources")
