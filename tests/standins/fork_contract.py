"""The fork's documents in the form of the Lotus ones, so that one builder and one parser serve both stacks."""

from __future__ import annotations

from typing import Any

from standin import contract
from standin.stack import FORK, LOTUS

TASKS = ("AP", "PC1", "PC2", "C1", "C2", "FIN", "GET", "UNS", "WDP", "WNP")
# Worker flags of the second generation that the first had under another name, and what the official worker lacks.
HOLD_FLAG = {"names": ["--precommit1holdmax"], "takes_value": True, "default": 25, "type": "uint64"}
FIRST_GENERATION_KEYS = {"Storage.PreCommit1Max": 7, "Storage.PreCommit1HoldMax": 25}


def document(name: str, generation: int) -> Any:
    """`cli`, `config`, `files` or `resources` of a generation: 2, 1, or 0 for the official base version."""
    return {"cli": _cli, "config": _config, "files": _files, "resources": _resources}[name](generation)


def _cli(generation: int) -> Any:
    commands = contract.document(FORK, "cli")
    run = commands["lotus-worker"]["commands"]["run"]
    if generation == 0:
        run["flags"] = [flag for flag in run["flags"] if not flag.get("fork_only")]
    if generation == 1:
        run["flags"] = [HOLD_FLAG if flag["names"] == ["--diskholdmax"] else flag for flag in run["flags"]]
    return commands


def _config(generation: int) -> Any:
    keys = contract.document(FORK, "config")
    if generation == 1:
        for key, default in FIRST_GENERATION_KEYS.items():
            keys["miner"][key] = {"type": "uint64", "default": default}
    return keys


def _files(_generation: int) -> Any:
    base = contract.document(LOTUS, "files")["env"]["variables"]
    # What only later versions read: worker flags had no variables in 1.12.
    later = ("LOTUS_WORKER_", "LOTUS_DISABLE_F3", "F3_", "LOTUS_ETH_", "LOTUS_FVM_")
    known = {name for name in base if not name.startswith(later)} | {"LOTUS_WORKER_PATH"}
    fork = contract.document(FORK, "files")["env"]
    return {"env": {"variables": sorted(known | set(fork["read_by_fork"]))}}


def _resources(_generation: int) -> Any:
    """Task types and space of 1.12. It has no overrides by environment, and myScheduler looks at no figure of them."""
    resources = contract.document(LOTUS, "resources")
    resources["tasks"] = {short: spec for short, spec in resources["tasks"].items() if short in TASKS}
    resources["env_override"].update(names_sized=[], names_unsized=[])
    resources["space"]["finalized_multipliers_tenths"]["cache"] = 2
    return resources
