"""Secrets: where they are, what they hold, and where they must not be."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sealyard.problem import Problem
from sealyard.variables.inventory import PLACEHOLDER, Inventory, Plan, problem
from sealyard.variables.options import Unreadable

FORBIDDEN_ENVIRONMENT = {
    "LOTUS_MINER_NO_SLASHFILTER": "it removes the guard against mining two blocks in one round",
    "BELLPERSON_GPUS_PER_LOCK": "it takes the lock off a shared GPU",
    "FULLNODE_API_INFO": "it holds a token; the roles pass tokens themselves",
    "MINER_API_INFO": "it holds a token; the roles pass tokens themselves",
}


def check_vault_values(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """A secret that is empty or still the example's placeholder would be found out only at the daemon."""
    for host, variables in inventory.hostvars.items():
        for name, value in variables.items():
            if not name.startswith("vault_") or isinstance(value, Unreadable):
                continue
            remedy = f"{name}: with the real value, in the encrypted group_vars/all/vault.yml"
            texts = [str(item or "") for item in value] if isinstance(value, list) else [str(value or "")]
            if not texts or not all(text.strip() for text in texts):
                yield problem(host, name, "(empty)", "is empty", remedy)
            elif any(PLACEHOLDER.search(text) for text in texts):
                yield problem(host, name, "(placeholder)", "still holds the placeholder of vault.yml.example", remedy)


def check_wallet_keys(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """Keys are only on private daemons, and are what `lotus wallet export` prints."""
    name = "lotus_daemon_wallet_keys"
    vault = [key for variables in inventory.hostvars.values() for key in variables if key.startswith("vault_")]
    for host in inventory.hostvars:
        keys = inventory.value(host, name)
        if not isinstance(keys, list) or not keys:
            continue
        if inventory.is_in(host, "daemon_public"):
            text = "puts a wallet on the public daemon, which must have none"
            yield problem(host, name, "(not shown)", text, f"{name}: in group_vars/daemon_private only")
        elif any(not _is_wallet_export(key) and not PLACEHOLDER.search(str(key)) and str(key).strip() for key in keys):
            remedy = f"{vault[0] if vault else name}: with the hexadecimal text that lotus wallet export ADDRESS prints"
            yield problem(host, name, "(not shown)", "holds a text that is no exported key", remedy)


def _is_wallet_export(text: Any) -> bool:
    try:
        key = json.loads(bytes.fromhex(str(text).strip()))
    except ValueError:
        return False
    return isinstance(key, Mapping) and {"Type", "PrivateKey"} <= key.keys()


def check_environment(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """Environment variables that take a guard away, or that would put a token where others can read it."""
    for host, variables in inventory.hostvars.items():
        for name, value in variables.items():
            if not (name.endswith("_environment") and isinstance(value, Mapping)):
                continue
            for key, setting in value.items():
                if key in FORBIDDEN_ENVIRONMENT and not (key == "BELLPERSON_GPUS_PER_LOCK" and str(setting) != "0"):
                    yield problem(
                        host, f"{name}.{key}", "(not shown)", FORBIDDEN_ENVIRONMENT[key], f"remove {key} from {name}"
                    )
