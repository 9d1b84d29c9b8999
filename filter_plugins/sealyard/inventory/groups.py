"""The groups that playbooks name besides those that an operator puts hosts into."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from sealyard.variables.inventory import MINER_GROUPS, WORKER_GROUPS

PARENTS: Final = {"daemon": ("daemon_public", "daemon_private"), "miner": MINER_GROUPS, "worker": WORKER_GROUPS}
"""Each has one meaning, so an inventory need not write it, and one that forgets a child in it is completed."""


def groups_missing_parents(groups: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Return host to the parents that it is not in, though a child has it; the hosts in the inventory's order."""
    found: dict[str, list[str]] = {}
    for parent, children in PARENTS.items():
        present = {str(host) for host in groups.get(parent, ())}
        for host in dict.fromkeys(str(host) for child in children for host in groups.get(child, ())):
            if host not in present:
                found.setdefault(host, []).append(parent)
    return found
