"""CPU lists of the kernel and of systemd, such as 0-3,64-67."""

from __future__ import annotations

import re

PART = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


def parse(text: str) -> list[int]:
    """Numbers of a list in rising order, none for an empty one; ValueError when it is no such list."""
    cpus: set[int] = set()
    for part in text.strip().split(",") if text.strip() else ():
        found = PART.fullmatch(part.strip())
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if first > last:
            raise ValueError(f"{text.strip()!r} is no list of CPUs such as 0-3,64-67")
        cpus.update(range(first, last + 1))
    return sorted(cpus)


def allowed(status: str) -> str:
    """The list on which a process may run, in the text of its /proc/PID/status; "" where it does not say."""
    found = re.search(r"^Cpus_allowed_list:\s*(\S+)", status, re.MULTILINE)
    return found[1] if found else ""
