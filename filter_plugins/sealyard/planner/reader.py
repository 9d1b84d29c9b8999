"""Reads typed values out of the input document by its schema, and tells of everything that is wrong at once."""

from __future__ import annotations

import difflib
import functools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sealyard.problem import Problem

MEASURED: Final = ("AP", "PC1", "PC2", "C2")


@functools.cache
def input_schema() -> dict[str, Any]:
    """Return the JSON Schema of the input document."""
    loaded: dict[str, Any] = json.loads((Path(__file__).parent / "input.schema.json").read_text("utf-8"))
    return loaded


@functools.cache
def _schema_keys(kind: str) -> tuple[str, ...]:
    """Return the keys of one part of the input: "document", or a name under the schema's $defs."""
    part = input_schema() if kind == "document" else input_schema()["$defs"][kind]
    return tuple(part["properties"])


class Reader:
    """Reads typed values out of a mapping and notes each one that is wrong."""

    def __init__(self, errors: list[Problem]) -> None:
        self.errors = errors
        self.told: set[tuple[str, str]] = set()

    def bad(self, path: str, value: object, problem: str, remedy: str) -> None:
        """Note a problem, once: what stands in the settings or in a shared machine is read for every host."""
        if (path, problem) not in self.told:
            self.told.add((path, problem))
            self.errors.append(Problem(path=path, value=_shown(value), problem=problem, remedy=remedy))

    def known(self, source: Mapping[str, Any], path: str, kind: str) -> None:
        """Note every key that the input's schema does not have; its value is not shown, it may be a secret."""
        names = _schema_keys(kind)
        for key in source:
            if key not in names:
                near = difflib.get_close_matches(str(key), names, n=1, cutoff=0.6)
                remedy = near[0] if near else f"one of {', '.join(names)}"
                self.bad(f"{path}.{key}" if path else str(key), None, "is not known here", remedy)

    def whole(self, source: Mapping[str, Any], key: str, path: str, default: int | None, least: int = 0) -> int | None:
        value = source.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            self.bad(
                f"{path}.{key}", value, "is not a whole number", f"a whole number of at least {least}, without quotes"
            )
            return default
        if value < least:
            self.bad(f"{path}.{key}", value, f"is below {least}", f"a whole number of at least {least}")
            return default
        return value

    def text(self, source: Mapping[str, Any], key: str, path: str, default: str | None) -> str | None:
        value = source.get(key)
        if value is None:
            return default
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str) or not value:
            self.bad(f"{path}.{key}", value, "is not a text", "a text")
            return default
        return str(value)

    def choice(self, source: Mapping[str, Any], key: str, path: str, choices: Sequence[str], default: str) -> str:
        value = source.get(key)
        if value is None:
            return default
        if value not in choices:
            near = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.5)
            self.bad(f"{path}.{key}", value, f"is not one of {', '.join(choices)}", near[0] if near else choices[0])
            return default
        return str(value)

    def mapping(self, source: Mapping[str, Any], key: str, path: str) -> Mapping[str, Any]:
        value = source.get(key)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self.bad(f"{path}.{key}" if path else key, value, "is not a dictionary", "a dictionary")
            return {}
        return value

    def flag(self, source: Mapping[str, Any], key: str, path: str, default: bool) -> bool:
        value = source.get(key)
        if value is None or isinstance(value, bool):
            return default if value is None else value
        if str(value).lower() in ("true", "yes", "1", "false", "no", "0"):
            return str(value).lower() in ("true", "yes", "1")
        self.bad(f"{path}.{key}", value, "is not true or false", "true or false")
        return False

    def share(self, source: Mapping[str, Any], key: str, path: str, default: float) -> float:
        value = source.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            self.bad(f"{path}.{key}", value, "is not a number from 0 to 1", "such as 0.25")
            return default
        return float(value)

    def by_schema(self, part: str, source: Mapping[str, Any], key: str, path: str) -> Any:
        """Return a plain value as the schema's `part` describes it: its type, choices, least value and default."""
        rule = input_schema()["$defs"][part]["properties"][key]
        default = rule.get("default")
        if "enum" in rule:
            return self.choice(source, key, path, [one for one in rule["enum"] if one is not None], default)
        kinds = set(rule["type"]) - {"null"}
        if kinds == {"boolean"}:
            return self.flag(source, key, path, bool(default))
        if kinds == {"integer"}:
            return self.whole(source, key, path, default, rule.get("minimum", 0))
        if kinds == {"number"}:
            return self.share(source, key, path, float(default or 0))
        return self.text(source, key, path, default)

    def measured(self, source: Mapping[str, Any], path: str) -> dict[str, float]:
        found = {}
        for task, value in self.mapping(source, "measured_sec", path).items():
            if task not in MEASURED:
                self.bad(f"{path}.measured_sec.{task}", value, "is no stage", "one of " + ", ".join(MEASURED))
            elif isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
                self.bad(
                    f"{path}.measured_sec.{task}",
                    value,
                    "is not a positive number of seconds",
                    "seconds, such as 10800",
                )
            else:
                found[str(task)] = float(value)
        return found

    def stores(self, source: Mapping[str, Any], path: str) -> tuple[tuple[str, str], ...]:
        value = source.get("stores") or ()
        if not isinstance(value, Sequence) or isinstance(value, str):
            self.bad(f"{path}.stores", value, "is not a list", "[{name: store, path: /mnt/store}]")
            return ()
        found = []
        for index, store in enumerate(value):
            where = f"{path}.stores[{index}]"
            if (
                not isinstance(store, Mapping)
                or not (isinstance(store.get("name"), str) and store["name"])
                or not (isinstance(store.get("path"), str) and store["path"].startswith("/"))
            ):
                self.bad(where, store, "needs a name and an absolute path", "{name: store, path: /mnt/store}")
            else:
                found.append((str(store["name"]), str(store["path"])))
        return tuple(found)

    def entries(self, source: Mapping[str, Any], key: str, path: str, required: str) -> list[Mapping[str, Any]]:
        """Return the dictionaries of a list that have the text `required`, and tell of the others."""
        value = source.get(key) or ()
        if not isinstance(value, Sequence) or isinstance(value, str):
            self.bad(f"{path}.{key}", value, "is not a list", f"[{{{required}: ...}}]")
            return []
        found = []
        for index, one in enumerate(value):
            if isinstance(one, Mapping) and isinstance(one.get(required), str) and one[required]:
                found.append(one)
            else:
                self.bad(f"{path}.{key}[{index}]", one, f"needs {required}", f"{{{required}: ...}}")
        return found


def _shown(value: object) -> object:
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 80 else text[:77] + "..."
