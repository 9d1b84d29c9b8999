"""The files of a machine, its own or captured ones."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from .. import cpu_lists

Entry = dict[str, Any]


class Tree:
    """A file system tree with /sys and /proc, this machine's own or a captured one."""

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")

    def exists(self, *parts: str) -> bool:
        """Whether there is such a file or folder."""
        return Path("/".join((self.root, *parts))).exists()

    def read(self, *parts: str, limit: int = 1 << 20) -> str | None:
        """The stripped text of a file; None where there is none or the kernel refuses."""
        try:
            handle = os.open("/".join((self.root, *parts)), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            chunks = []
            while limit > 0:
                chunk = os.read(handle, min(limit, 65536))
                if not chunk:
                    break
                chunks.append(chunk)
                limit -= len(chunk)
        except OSError:
            return None
        finally:
            os.close(handle)
        return b"".join(chunks).decode("utf-8", "replace").strip("\0 \t\r\n")

    def number(self, *parts: str) -> int | None:
        """The number in a file; None where there is none."""
        text = self.read(*parts)
        try:
            return int(text, 0) if text else None
        except ValueError:
            return None

    def cpus(self, *parts: str) -> list[int]:
        """The list of CPUs in a file; empty where there is none."""
        try:
            return cpu_lists.parse(self.read(*parts) or "")
        except ValueError:
            return []

    def names(self, *parts: str) -> list[str]:
        """What is in a folder, in order; empty where there is none."""
        try:
            with os.scandir("/".join((self.root, *parts))) as entries:
                return sorted(entry.name for entry in entries)
        except OSError:
            return []

    def real(self, *parts: str) -> str:
        """The path without links."""
        return os.path.realpath("/".join((self.root, *parts)))


def natural(name: str) -> list[tuple[int, str]]:
    """A sort key that puts nvme10n1 behind nvme9n1."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
