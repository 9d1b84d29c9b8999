"""config.toml of a daemon or a miner, with the keys that its stack's programs know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sealyard.errors import SealyardError
from sealyard.lotus.config import config_text
from sealyard.stacks import Stack


def lotus_config(config: Mapping[str, Any], component: str, stack: Stack) -> str:
    """Return the text of config.toml for settings {table: {key: value}}; SealyardError lists all that is wrong."""
    if component not in ("daemon", "miner"):
        raise SealyardError(f"lotus_config: component {component!r} is unknown; write 'daemon' or 'miner'")
    return config_text(config, component, stack.config_keys(component), stack.has_splitstore)
