"""Debian packages that are installed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

STATUS = Path("/var/lib/dpkg/status")


def installed(status: str) -> set[str]:
    """Names of the packages that the text of dpkg's status file calls installed."""
    names = set()
    for paragraph in status.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if line[:1].isalpha() and ": " in line)
        if fields.get("Status", "").endswith(" installed"):
            names.add(fields.get("Package", ""))
    return names


def missing(packages: Sequence[str], status: str) -> list[str]:
    """Those of the packages that the text of dpkg's status file does not call installed."""
    present = installed(status)
    return [name for name in packages if name not in present]
