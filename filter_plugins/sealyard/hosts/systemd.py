"""How a value is written into a unit of systemd, so that it is read as what it is (systemd.syntax, systemd.service)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from sealyard.errors import SealyardError

BARE = re.compile(r"[^\s\"'\\;]+")
"""Words that systemd takes as they are; all others stand in double quotes."""


def systemd_quoted(value: Any, place: str = "line") -> str:
    """`value` for a unit; a list becomes its words.

    `place` says what systemd does there: "line" for settings that take the rest of the line as it stands (Description=,
    User=, Where=, names of units), "word" for those that split it (RequiresMountsFor=), "environment" for a NAME=VALUE
    of Environment=, "command" for Exec lines, where a dollar sign is a variable too. Percent signs are specifiers
    everywhere. SealyardError for what no unit can hold.
    """
    if not isinstance(value, str) and isinstance(value, Iterable):
        return " ".join(systemd_quoted(each, place) for each in value)
    text = str(value)
    if re.search(r"[\n\r\0]", text):
        raise SealyardError(f"{text!r} has a line break, which no setting of a unit can hold; write it on one line")
    text = text.replace("%", "%%")
    if place == "line":
        return text
    if place == "command":
        text = text.replace("$", "$$")
    if BARE.fullmatch(text) and place != "environment":
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
