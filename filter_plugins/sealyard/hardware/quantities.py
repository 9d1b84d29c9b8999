"""How sizes, counts and PCI addresses are written."""

from __future__ import annotations

import re
from typing import Final

# Below this a node's memory is surely written in GiB or MiB; 0 is a node without memory.
SMALLEST_NODE_BYTES: Final = 1 << 20
LARGEST_BYTES: Final = 1 << 60


_UNITS: Final[dict[str, int]] = {"b": 1} | {
    prefix + suffix: base**power
    for power, prefix in enumerate("kmgtp", start=1)
    for suffix, base in (("b", 1000), ("ib", 1024))
}
SIZE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgtp]?i?b)", re.IGNORECASE)


def parse_bytes(value: object) -> int | None:
    """`1TiB`, `7.68 TB` or a whole number of bytes → bytes; None for anything else. TiB is 2^40, TB is 10^12."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if value > 0 else None
    if isinstance(value, str) and (match := SIZE.fullmatch(value.strip())):
        number, unit = match.groups()
        amount = round(float(number) * _UNITS[unit.lower()])
        return amount if 0 < amount < LARGEST_BYTES else None
    return None


_COUNT_FIRST: Final = re.compile(r"(\d+)\s*[x×*]\s+(.+)|(\d+)[x×](.+)", re.IGNORECASE)
_COUNT_LAST: Final = re.compile(r"(.+?)\s+[x×]\s*(\d+)", re.IGNORECASE)


def counted(text: str) -> tuple[int, str]:
    """`8x 2TB NVMe` and `EPYC 7542 x2` → (8, "2TB NVMe"), (2, "EPYC 7542"); no count is 1."""
    text = text.strip()
    if match := _COUNT_FIRST.fullmatch(text):
        count, rest = (match[1], match[2]) if match[1] else (match[3], match[4])
        return int(count), rest.strip()
    if match := _COUNT_LAST.fullmatch(text):
        return int(match[2]), match[1].strip()
    return 1, text


_PCI: Final = re.compile(r"(?:([0-9a-f]{1,8}):)?([0-9a-f]{1,2}):([0-9a-f]{1,2})\.([0-7])", re.IGNORECASE)


def pci_key(text: object) -> tuple[int, int, int, int] | None:
    """(domain, bus, device, function) of a PCI address, so that 00000000:3B:00.0 and 0000:3b:00.0 are one."""
    match = _PCI.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        return None
    return int(match[1] or "0", 16), int(match[2], 16), int(match[3], 16), int(match[4], 16)


def is_count(value: object) -> bool:
    """Whether it is a whole number of 0 or more; true and false are none."""
    return type(value) is int and value >= 0
