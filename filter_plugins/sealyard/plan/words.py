"""Numbers and names for people."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

GIB: Final = 1 << 30
LONGEST_NAMES: Final = 100


def bytes_text(number: float) -> str:
    """Decimal units with up to three figures: `481 GB`, `1.2 TB`."""
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if number < 999.5 or unit == "PB":
            return f"{number:.0f} {unit}" if number >= 99.5 or number == int(number) else f"{number:.1f} {unit}"
        number /= 1000
    return ""


def memory_text(number: float) -> str:
    """Binary units: `512 GiB`, `1.5 TiB`."""
    gib = number / GIB
    if gib >= 1024:
        return f"{gib / 1024:.3g} TiB"
    return f"{gib:.0f} GiB" if gib >= 10 else f"{gib:.1f} GiB"


def rate_text(per_day: float) -> str:
    """Sectors per day with up to three figures."""
    return f"{per_day:.0f}" if per_day >= 99.5 else f"{per_day:.1f}"


def names_text(names: Iterable[str]) -> str:
    """`pc1-1, pc1-2, pc1-3, seal` → `pc1-1 … pc1-3, seal`; runs of three or more numbers are drawn together."""
    runs: list[list[tuple[str, int, str]]] = []
    for name in sorted(names, key=natural):
        match = re.fullmatch(r"(.*?)(\d+)", name)
        item = (match[1], int(match[2]), name) if match else (name, -1, name)
        last = runs[-1][-1] if runs else None
        if last and item[1] > 0 and last[0] == item[0] and item[1] == last[1] + 1:
            runs[-1].append(item)
        else:
            runs.append([item])
    words = []
    for run in runs:
        words.extend([f"{run[0][2]} … {run[-1][2]}"] if len(run) > 2 else [item[2] for item in run])
    return ", ".join(words)


def hosts_text(names: Iterable[str]) -> str:
    """As `names_text`, but never longer than a line: `node-a, node-b and 40 more`."""
    every = sorted(names, key=natural)
    text = names_text(every)
    if len(text) <= LONGEST_NAMES:
        return text
    return f"{', '.join(every[:4])} and {len(every) - 4} more"


def natural(name: str) -> list[tuple[int, str]]:
    """A sort key that puts pc1-10 behind pc1-9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def plural(count: int, word: str) -> str:
    """`1 host`, `2 hosts`."""
    return f"{count:,} {word}" + ("" if count == 1 else "s")
