"""What nfsd serves: lines of exports, and its clients."""

from __future__ import annotations

import re
from pathlib import Path

from .files import text_of


def export_path(line: str) -> str:
    """Path of a line of exports, which is quoted where it has blanks."""
    return line[1:].split('"', 1)[0] if line.startswith('"') else line.split()[0]


def export_lines(text: str) -> dict[str, str]:
    """Line by path of a file of exports."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return {export_path(line): line for line in lines}


def clients(folder: Path) -> list[str]:
    """Addresses of the clients that nfsd knows; `folder` is /proc/fs/nfsd/clients."""
    infos = [text_of(info) for info in folder.glob("*/info")]
    found = [re.search(r'^address: "\[?([^"\]]+?)\]?:\d+"', info, re.MULTILINE) for info in infos]
    return sorted({address[1].split("%")[0] for address in found if address})
