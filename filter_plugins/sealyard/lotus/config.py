"""config.toml: typed settings to the text of config.toml, refusing what Lotus would silently ignore."""

from __future__ import annotations

import difflib
import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from sealyard.errors import SealyardError

UPSTREAM_KEYS = Path(__file__).parent / "data" / "config_keys.json"
"""From node/config/types.go of Lotus v1.36.2."""
ENABLE_KEYS = ("Subsystems.EnableMining", "Subsystems.EnableSealing", "Subsystems.EnableSectorStorage")
# The daemon refuses a file without this line (node/config/load.go); true is its compiled default.
SPLITSTORE = "Chainstore.EnableSplitstore"
GO_DURATION = re.compile(r"0|-?(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+")
FIL = re.compile(r"\d+(\.\d+)? ?(FIL|attoFIL)?", re.IGNORECASE)
PEER_ID = re.compile(r"(12D3KooW|Qm|16Uiu2)[1-9A-HJ-NP-Za-km-z]{30,}")
HOST_PORT = re.compile(r"(\[[0-9a-fA-F:]+\]|[^:/\s]+):\d{1,5}")
BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")

Entry = Mapping[str, Any]
Checks = dict[str, tuple[Callable[[Any], bool], str]]


@cache
def known_keys(component: str, file: Path = UPSTREAM_KEYS) -> Mapping[str, Entry]:
    """Keys of 'daemon' or 'miner' as dotted TOML paths, in the order in which they are written."""
    table: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    keys: Mapping[str, Entry] = table[component]
    return keys


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_private_multiaddr(value: str) -> bool:
    parts = value.split("/")
    if len(parts) < 5 or parts[0] or parts[1] not in ("ip4", "ip6") or parts[3] != "tcp" or not parts[4].isdigit():
        return False
    try:
        return not ipaddress.ip_address(parts[2]).is_unspecified
    except ValueError:
        return False


TYPES: Checks = {
    "bool": (lambda v: isinstance(v, bool), "true or false, without quotes"),
    "int": (_is_int, "a whole number, without quotes"),
    "uint": (lambda v: _is_int(v) and v >= 0, "a whole number from 0 up, without quotes"),
    "string": (lambda v: isinstance(v, str), "text in quotes"),
    "duration": (
        lambda v: isinstance(v, str) and bool(GO_DURATION.fullmatch(v)),
        "a Go duration such as '30s' or '1h30m'",
    ),
    "fil": (lambda v: isinstance(v, str) and bool(FIL.fullmatch(v)), "an amount such as '0.05 FIL'"),
    "[]string": (lambda v: isinstance(v, list) and all(isinstance(i, str) for i in v), "a list of texts"),
}
TYPES["uint64"] = TYPES["uint"]
FORMATS: Checks = {
    "api_multiaddr": (
        _is_private_multiaddr,
        "the host's own address, such as /ip4/10.0.0.1/tcp/1234/http, never 0.0.0.0",
    ),
    "api_host_port": (
        lambda v: bool(HOST_PORT.fullmatch(v)) and not v.startswith(("0.0.0.0:", "[::]:")),
        "HOST:PORT with the host's own address, such as 10.0.0.1:2345",
    ),
    "multiaddr": (lambda v: v.startswith("/"), "a multiaddr such as /ip4/10.0.0.1/tcp/1347"),
    "p2p_multiaddr": (
        lambda v: v.startswith("/") and bool(re.search(r"/p2p/[^/]+$", v)),
        "a multiaddr that ends in the peer, such as /ip4/10.0.0.1/tcp/1347/p2p/12D3KooW…",
    ),
    "peer_id": (lambda v: bool(PEER_ID.fullmatch(v)), "a bare peer id such as 12D3KooW…, without /ip4 or /p2p"),
}


def flatten(config: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted path, value) for every leaf of a nested mapping; a None leaf means 'leave the default'."""
    for key, value in config.items():
        full = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping):
            yield from flatten(value, full)
        elif value is not None:
            yield full, value


def entry_for(path: str, keys: Mapping[str, Entry]) -> Entry | None:
    """The table's entry for a dotted path, where NAME.* stands for any one further word."""
    return keys.get(path) or keys.get(path.rpartition(".")[0] + ".*")


def _shown(path: str, value: Any) -> str:
    return "(hidden)" if path.endswith("Password") else json.dumps(value, ensure_ascii=False, default=str)


def problems_of(path: str, value: Any, entry: Entry) -> Iterator[str]:
    """Yield what to write instead of VALUE; nothing when Lotus takes it."""
    accepts, remedy = TYPES[entry["type"]]
    if not accepts(value):
        yield remedy
        return
    if "enum" in entry and value not in entry["enum"]:
        yield "one of " + ", ".join(repr(word) for word in entry["enum"])
    if "min" in entry and value < entry["min"]:
        yield f"{entry['min']} or more"
    if "format" in entry:
        accepts, remedy = FORMATS[entry["format"]]
        # An empty text leaves the setting unset, which every formatted key allows.
        if any(item and not accepts(item) for item in (value if isinstance(value, list) else [value])):
            yield remedy


def check(settings: Mapping[str, Any], component: str, keys: Mapping[str, Entry]) -> list[str]:
    """One line per problem of flat settings: the path, the value, and what to write instead."""
    lines = []
    for path, value in settings.items():
        entry = entry_for(path, keys)
        if entry is None:
            near = difflib.get_close_matches(path, keys, n=1, cutoff=0.6)
            hint = f"write {near[0]}" if near else "remove it"
            lines.append(f"{path}: lotus {component} has no such key and would ignore it; {hint}")
            continue
        lines += [f"{path} = {_shown(path, value)}: write {remedy}" for remedy in problems_of(path, value, entry)]
    enabled = {settings.get(key, True) is True for key in ENABLE_KEYS}
    if component == "miner" and len(enabled) > 1:
        lines.append(
            f"{', '.join(ENABLE_KEYS)}: lotus-miner starts only with all three true or all three false; write true"
        )
    return lines


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(_literal(item) for item in value) + "]"
    if isinstance(value, str):
        # TOML basic strings escape like JSON, and in addition forbid a bare DEL.
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value)


def _key(name: str) -> str:
    return name if BARE_KEY.fullmatch(name) else json.dumps(name)


def to_toml(settings: Mapping[str, Any], keys: Iterable[str]) -> str:
    """Text of config.toml for checked flat settings; the same settings give the same bytes in any order."""
    order = {key: place for place, key in enumerate(keys)}

    def place(path: str) -> tuple[int, str]:
        return order.get(path, order.get(path.rpartition(".")[0] + ".*", -1)), path

    tables: dict[str, list[str]] = {}
    for path in sorted(settings, key=place):
        table, _, name = path.rpartition(".")
        tables.setdefault(table, []).append(f"{_key(name)} = {_literal(settings[path])}")
    return "\n".join(f"[{table}]\n" + "".join(f"{line}\n" for line in lines) for table, lines in tables.items())


def config_text(
    config: Mapping[str, Any], component: str, keys: Mapping[str, Entry], has_splitstore: bool = True
) -> str:
    """Turn nested settings ({table: {key: value}}) of a 'daemon' or 'miner' into the text of its config.toml.

    Only what is set is written; the rest stays at the compiled defaults. SealyardError lists every unknown key,
    wrong type and value out of range at once. `keys` are those that the programs know.
    """
    if not isinstance(config, Mapping):
        raise SealyardError(f"lotus_config: {component} settings are no mapping; write {{table: {{key: value}}}}")
    settings = dict(flatten(config))
    if component == "daemon" and has_splitstore:
        settings.setdefault(SPLITSTORE, True)
    lines = check(settings, component, keys)
    if lines:
        raise SealyardError(f"settings for the config.toml of lotus {component}:\n" + "\n".join(lines))
    return to_toml(settings, keys)
