"""Linux CPU lists such as "0-3,64-67", as the kernel, systemd's AllowedCPUs= and taskset read them."""

from __future__ import annotations

from collections.abc import Iterable


def format_cpus(cpus: Iterable[int]) -> str:
    """Return the shortest list: {0, 1, 2, 5} becomes "0-2,5"."""
    ordered = sorted(set(cpus))
    parts: list[str] = []
    start = 0
    for index, cpu in enumerate(ordered):
        if index + 1 < len(ordered) and ordered[index + 1] == cpu + 1:
            continue
        first = ordered[start]
        parts.append(str(first) if first == cpu else f"{first}-{cpu}")
        start = index + 1
    return ",".join(parts)


def parse_cpus(text: str) -> list[int]:
    """Return the CPU numbers of a list; ValueError names the part that is none."""
    cpus: list[int] = []
    for part in text.replace(" ", "").split(","):
        if not part:
            continue
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()) or (dash and int(last) < int(first)):
            raise ValueError(f"{part!r} is no CPU list")
        cpus.extend(range(int(first), int(last or first) + 1))
    return cpus
