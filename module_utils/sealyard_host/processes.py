"""What /proc says of processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")


def command_line(pid: int | str, proc: Path = PROC) -> list[str]:
    """Words of a process's command line; empty when there is no such process, or when it is a thread of the kernel."""
    try:
        raw = Path(proc, str(pid), "cmdline").read_bytes()
    except OSError:
        return []
    return [word.decode(errors="replace") for word in raw.split(b"\0") if word]


def command_lines(proc: Path = PROC) -> Iterator[list[str]]:
    """Command lines of all processes."""
    for place in proc.glob("[0-9]*"):
        yield command_line(place.name, proc)
