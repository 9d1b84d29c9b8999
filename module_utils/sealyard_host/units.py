"""What `systemctl show` prints."""

from __future__ import annotations


def properties(text: str) -> dict[str, str]:
    """One block of KEY=VALUE as a mapping."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def by_name(text: str) -> dict[str, dict[str, str]]:
    """Properties by unit name, of several units whose Id was asked for."""
    blocks = [properties(block) for block in text.strip().split("\n\n")]
    return {block["Id"]: block for block in blocks if "Id" in block}
