"""Command lines as urfave/cli v2 reads them, driven by the contract tables."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from .common import CommandError, Exit, parse_duration
from .stack import IS_FORK

TRUE = ("1", "t", "T", "TRUE", "true", "True")
FALSE = ("0", "f", "F", "FALSE", "false", "False")


class UsageError(CommandError):
    """A flag the program does not know or cannot read."""


@dataclass
class Call:
    """A parsed command line: command path, flag values by first name without dashes, flags given, positionals."""

    command: str = ""
    flags: dict[str, Any] = field(default_factory=dict)
    given: set[str] = field(default_factory=set)
    args: list[str] = field(default_factory=list)
    help: bool = False
    version: bool = False

    def text(self, name: str) -> str:
        value = self.flags.get(name)
        return "" if value is None else str(value)

    def on(self, name: str) -> bool:
        return bool(self.flags.get(name))

    def number(self, name: str) -> int:
        return int(self.flags.get(name) or 0)

    def many(self, name: str) -> list[str]:
        value = self.flags.get(name)
        return list(value) if isinstance(value, list) else []


def _convert(spec: Any, value: str, name: str) -> Any:
    if not spec["takes_value"]:
        if value in TRUE:
            return True
        if value in FALSE:
            return False
        raise UsageError(f'invalid boolean value "{value}" for -{name}: parse error')
    kind = str(spec.get("type", "string"))
    try:
        if kind in ("int", "int64", "uint", "uint64"):
            return int(value, 0)
        if kind.startswith("float"):
            return float(value)
        if kind == "duration":
            parse_duration(value)
    except ValueError:
        raise UsageError(f'invalid value "{value}" for flag -{name}: parse error') from None
    return value


def _is_list(spec: Any) -> bool:
    return bool(spec.get("repeatable")) or "slice" in str(spec.get("type", "")).lower()


def _parse_flags(specs: list[Any], argv: list[str], call: Call) -> list[str]:
    """Consume flags up to the first positional; return what is left."""
    by_name: dict[str, Any] = {}
    for spec in specs:
        primary = spec["names"][0].lstrip("-")
        for name in spec["names"]:
            by_name[name.lstrip("-")] = (primary, spec)
        default = None if spec.get("default_is_text") else spec.get("default")
        call.flags[primary] = ([default] if default else []) if _is_list(spec) else default
        for variable in spec.get("env") or []:
            value = os.environ.get(variable)
            # In the fork's urfave/cli a text variable that is set but empty counts (an empty LOTUS_MINER_PATH).
            if value or (value is not None and IS_FORK and spec["takes_value"]):
                converted = _convert(spec, value, primary)
                call.flags[primary] = value.split(",") if _is_list(spec) else converted
                call.given.add(primary)
                break
    seen_lists: set[str] = set()
    rest = list(argv)
    while rest:
        word = rest[0]
        if len(word) < 2 or word[0] != "-":
            return rest
        rest.pop(0)
        if word == "--":
            return rest
        name, equals, value = word.lstrip("-").partition("=") if word[:3] != "---" else ("", "", "")
        if name not in by_name:
            raise UsageError(f"flag provided but not defined: -{name}")
        primary, spec = by_name[name]
        if not spec["takes_value"]:
            result: Any = _convert(spec, value, name) if equals else True
        else:
            if not equals:
                if not rest:
                    raise UsageError(f"flag needs an argument: -{name}")
                value = rest.pop(0)
            result = _convert(spec, value, name)
        if _is_list(spec):
            if primary not in seen_lists:
                call.flags[primary] = []
                seen_lists.add(primary)
            call.flags[primary].extend([str(result)] if IS_FORK else str(result).split(","))
        else:
            call.flags[primary] = result
        call.given.add(primary)
    return rest


def parse(table: Any, argv: list[str]) -> Call:
    """Read a line without the program's name. UsageError as the real program, Exit(3) on an unknown command."""
    call = Call()
    rest = _parse_flags(table["global_flags"], argv, call)
    if call.flags.get("version"):
        call.version = True
        return call
    commands = table["commands"]
    aliases = {
        " ".join([*path.split()[:-1], alias]): path for path, c in commands.items() for alias in c.get("aliases", [])
    }
    path = ""
    while True:
        if call.flags.get("help"):
            call.help = True
            return call
        nested = not path or _is_group(commands, path)
        if not rest or not nested:
            break
        if rest[0] in ("help", "h"):
            call.help = True
            return call
        candidate = f"{path} {rest[0]}".strip()
        candidate = aliases.get(candidate, candidate)
        if candidate not in commands:
            if path and _acts(path):
                break
            raise Exit(3, f"No help topic for '{rest[0]}'")
        path = candidate
        call.command = path
        rest = _parse_flags(commands[path]["flags"], rest[1:], call)
    if not path or (_is_group(commands, path) and not _acts(path)):
        call.help = True
    call.args = rest
    return call


# Commands that have subcommands and still do something themselves.
_ACTING = {"daemon", "info", "sectors list", "sectors terminate", "storage list", "init", "wallet market"}


def _is_group(commands: Any, path: str) -> bool:
    return bool(commands[path].get("subcommands")) or any(p.startswith(f"{path} ") for p in commands)


def _acts(path: str) -> bool:
    return path in _ACTING


def help_text(program: str, table: Any, call: Call) -> str:
    """A short help: the names are the contract, the wording is ours."""
    commands = table["commands"]
    prefix = f"{call.command} " if call.command else ""
    depth = len(prefix.split())
    subs = sorted(
        p for p in commands if p.startswith(prefix) and len(p.split()) == depth + 1 and not commands[p].get("hidden")
    )
    flags = (commands[call.command]["flags"] if call.command else table["global_flags"]) or []
    lines = [
        "NAME:",
        f"   {program} {call.command}".rstrip(),
        "",
        "USAGE:",
        f"   {program} {prefix}[options] [arguments...]",
        "",
    ]
    if subs:
        lines += ["COMMANDS:"] + [f"   {p.split()[-1]}" for p in subs] + [""]
    lines += ["OPTIONS:"] + ["   " + ", ".join(f["names"]) for f in flags if not f.get("hidden")]
    return "\n".join(lines)
