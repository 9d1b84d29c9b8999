"""What config.toml may hold, from the table of Lotus's own keys."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping

from sealyard import stacks
from sealyard.inventory.checks.stack import stack_of
from sealyard.lotus.config import entry_for, flatten, problems_of
from sealyard.problem import Problem
from sealyard.variables.inventory import Inventory, Plan, problem
from sealyard.variables.options import shown

CONFIGS = {
    "lotus_daemon_config": "daemon",
    "lotus_miner_config": "miner",
    "winning_miner_config": "miner",
    "window_miner_config": "miner",
    "seal_miner_config": "miner",
    "deal_miner_config": "miner",
}


def check_config_keys(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """Settings for config.toml that Lotus knows, with values that it takes."""
    for host, variables in inventory.hostvars.items():
        for name, component in CONFIGS.items():
            settings = variables.get(name)
            if not isinstance(settings, Mapping):
                continue
            keys = (stack_of(inventory, host) or stacks.get("lotus")).config_keys(component)
            for path, value in flatten(settings):
                entry = entry_for(path, keys)
                if entry is None:
                    near = difflib.get_close_matches(path, keys, n=1, cutoff=0.6)
                    text = f"is no key of lotus {component}, which would ignore it"
                    remedy = f"{near[0]}, or remove it" if near else "remove it"
                    yield problem(host, f"{name}.{path}", shown(path, value), text, remedy)
                    continue
                for remedy in problems_of(path, value, entry):
                    yield problem(host, f"{name}.{path}", shown(path, value), "is refused by Lotus", remedy)
