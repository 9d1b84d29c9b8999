"""Files that hold the last sector number given out: read as the fork reads them, and never lost once written."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from .files import replace

FILE = "sectorid"
HIGHEST = "highest"
AUTHORITY = "authority"
"""Lies beside the second copy and names the one process HOST/ROLE that may give out numbers."""
WHOLE = re.compile(r"[1-9][0-9]*\n?")


def parse(text: str) -> int | None:
    """The number in a file's text; None where the fork would read none, or another one."""
    return int(text) if WHOLE.fullmatch(text) else None


def read(path: Path) -> int | None:
    """The number in a file; None where there is none, or no good one."""
    try:
        return parse(path.read_bytes().decode("ascii"))
    except (OSError, ValueError):
        return None


def write(path: Path, content: int | str) -> None:
    """Replace the file in one step, with the owner of its directory."""
    owner = path.parent.stat()
    replace(path, f"{content}\n", 0o644, (owner.st_uid, owner.st_gid) if os.geteuid() == 0 else None)


def stamp() -> str:
    """The time as it stands in the names of backups and of retired files."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
