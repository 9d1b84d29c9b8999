"""The tables of tests/contracts: from the archive when built, from the checkout otherwise."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import cache
from typing import Any

FOLDER = os.path.join(os.path.dirname(__file__), "..", "..", "contracts")


def document(stack: str, name: str) -> Any:
    """`cli`, `config`, `files` or `resources` of a stack; each call gives a copy of its own."""
    with open(os.path.join(FOLDER, stack, f"{name}.json"), encoding="utf-8") as stream:
        return json.load(stream)


def version(stack: str) -> str:
    """The version whose contract this is."""
    with open(os.path.join(FOLDER, stack, "VERSION"), encoding="utf-8") as stream:
        return stream.read().strip()


def _checkout(name: str) -> Any:
    return document("lotus", name)


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


@cache
def environment() -> frozenset[str]:
    """Names of every environment variable that one of the programs reads."""
    archived = _archived("environment")
    return frozenset(archived if archived else environment_of(_checkout))


def environment_of(read: Callable[[str], Any]) -> list[str]:
    """The names from the contract documents: flags, config keys, variables of the code, resource overrides."""
    names: set[str] = set()
    commands = read("cli")
    for program in ("lotus", "lotus-miner", "lotus-worker", "lotus-seed"):
        table = commands[program]
        for flags in [table["global_flags"], *(c["flags"] for c in table["commands"].values())]:
            for flag in flags:
                names.update(flag.get("env") or [])
    for role in ("daemon", "miner"):
        for spec in read("config")[role].values():
            names.update(spec[key] for key in ("env", "env_effective") if spec.get(key))
    names.update(read("files")["env"]["variables"])
    overrides = read("resources")["env_override"]
    names.update(overrides["names_sized"])
    names.update(overrides["names_unsized"])
    return sorted(names)
