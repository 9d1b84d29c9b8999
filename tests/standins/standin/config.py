"""config.toml against the contract's key table; an unknown key is a violation, the real programs swallow it."""

from __future__ import annotations

import os
import re
from typing import Any

from . import contract
from .common import CommandError, Json, parse_duration, violation

# What the 2 KiB build reads besides the contract: upgrade heights, bundles, and the switch of a build without a beacon.
PATTERNS = (
    r"LOTUS_\w+_HEIGHT|LOTUS_BUILTIN_ACTORS_V\d+_BUNDLE|LOTUS_FVM_DEBUG_BUNDLE_V\d+|LOTUS_GENESIS_NETWORK_VERSION"
    r"|LOTUS_F3_ENABLED|LOTUS_MOCK_BEACON|LOTUS_DISABLE_F3_SUBSYSTEM"
)
OWNED = r"LOTUS_\w+|(AP|DC|PC1|PC2|C1|C2|FIN|FUS|GET|UNS|RU|PR1|PR2|GSK|FRU|DL|WDP|WNP)_\w+"


def check_environment() -> None:
    """A variable with a Lotus name that no Lotus program reads does nothing there, and nobody says so."""
    for name in sorted(os.environ):
        if re.fullmatch(OWNED, name) and not re.fullmatch(PATTERNS, name) and name not in contract.environment():
            violation("unknown-environment-variable", name)


def flatten(table: Json, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


class Config:
    """Settings by dotted key: environment over file over compiled default."""

    daemon_needs_file = True

    def __init__(self, path: str, role: str) -> None:
        import tomllib

        self.keys = contract.config_keys(role)
        self.role = role
        self.values: dict[str, Any] = {}
        if not os.path.exists(path):
            if role == "daemon" and self.daemon_needs_file:
                raise CommandError(f"error reading config: open {path}: no such file or directory")
            return
        with open(path, encoding="utf-8") as stream:
            text = stream.read()
        if (
            role == "daemon"
            and self.daemon_needs_file
            and not re.search(r"^\s*EnableSplitstore\s*=", text, re.MULTILINE)
        ):
            raise CommandError(
                "error reading config: Config does not contain explicit set of EnableSplitstore field, refusing "
                "to load "
                "the config file"
            )
        try:
            self.values = flatten(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise CommandError(f"error reading config: toml: {error}") from None
        lowered = {k.lower(): k for k in self.keys}
        for key in list(self.values):
            if key.startswith("Logging.SubsystemLevels."):
                continue
            known = lowered.get(key.lower())  # the TOML library matches names without case
            if known is None:
                violation("unknown-config-key", f"{path}: {key}")
                continue
            self.values[known] = self._typed(known, self.values.pop(key))
        for key, spec in self.keys.items():
            variable = spec.get("env")
            if variable and variable in os.environ:
                self.values[key] = self._from_environment(key, spec, os.environ[variable])

    def _typed(self, key: str, value: Any) -> Any:
        spec = self.keys[key]
        kind = spec["type"]
        if kind in ("string", "Duration", "types.FIL"):
            fits = isinstance(value, str)
        elif kind == "[]string":
            fits = isinstance(value, list) and all(isinstance(item, str) for item in value)
        elif kind == "bool":
            fits = isinstance(value, bool)
        else:
            fits = isinstance(value, (str, int)) and not isinstance(value, bool)
        if not fits:
            raise CommandError(
                f"error reading config: toml: incompatible types: TOML value has type {type(value).__name__}; "
                f"destination has type {kind} ({key})"
            )
        if kind == "Duration":
            try:
                parse_duration(value)
            except ValueError as error:
                raise CommandError(f"error reading config: {error}") from None
        return value

    def _from_environment(self, key: str, spec: Any, text: str) -> Any:
        kind = spec["type"]
        try:
            if kind == "bool":
                if text not in ("1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"):
                    raise ValueError(text)
                return text[0] in "1tT"
            if kind in ("int", "int64", "uint", "uint64"):
                return int(text)
            if kind == "[]string":
                return [t for t in text.split(",") if t]
            if kind == "Duration":
                parse_duration(text)
                if not text:
                    raise ValueError(text)
        except ValueError:
            name = spec["env"]
            raise CommandError(
                f"processing env vars overrides: envconfig.Process: assigning {name} to {key}: "
                f"converting '{text}' to type {kind}"
            ) from None
        return text

    def get(self, key: str) -> Any:
        if key in self.values:
            return self.values[key]
        return self.keys[key].get("default")

    def text(self, key: str) -> str:
        return str(self.get(key) or "")

    def on(self, key: str) -> bool:
        return bool(self.get(key))

    def number(self, key: str) -> int:
        return int(self.get(key) or 0)

    def many(self, key: str) -> list[str]:
        return [str(v) for v in self.get(key) or []]

    def seconds(self, key: str) -> float:
        return parse_duration(self.text(key))
