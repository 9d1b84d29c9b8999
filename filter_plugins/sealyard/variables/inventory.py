"""What every check reads: the inventory as plain data, and the groups of Sealyard."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sealyard.lotus.tasks import GROUPS as TASK_GROUPS
from sealyard.problem import Problem
from sealyard.variables.options import Options, Unreadable

ROLE_GROUPS = (
    "daemon_public",
    "daemon_private",
    "winning_miner",
    "window_miner",
    "seal_miner",
    "deal_miner",
    *TASK_GROUPS,
    "storage_server",
    "sector_counter",
)
PARENT_GROUPS = ("daemon", "miner", "worker", "gpu", "rdma")
MINER_GROUPS = ("winning_miner", "window_miner", "seal_miner", "deal_miner")
WORKER_GROUPS = tuple(TASK_GROUPS)
LOTUS_GROUPS = ("daemon_public", "daemon_private", *MINER_GROUPS, *WORKER_GROUPS)


PLACEHOLDER = re.compile(r"replace[-_ ]?(me|this|with)|change[-_ ]?me|<[^>]+>|\bTODO\b|^x{3,}$", re.IGNORECASE)
"""What an example file holds where the operator must write something."""


@dataclass(frozen=True)
class Inventory:
    """The inventory as plain data.

    `groups` name to hosts, `hostvars` host to variables, `roles` role to options, `cluster` the cluster-wide options,
    `found` host to the hardware that library/sealing_hardware.py has read there, where it has, `applied` the plan
    applied last, and `changes` what of it this run is there to change: `counter`, `stack`.
    """

    groups: Mapping[str, Sequence[str]]
    hostvars: Mapping[str, Mapping[str, Any]]
    roles: Mapping[str, Options]
    cluster: Options
    found: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    applied: Mapping[str, Any] = field(default_factory=dict)
    changes: Collection[str] = ()

    @cached_property
    def members(self) -> dict[str, frozenset[str]]:
        """The hosts of every group of the inventory."""
        return {group: frozenset(hosts) for group, hosts in self.groups.items()}

    def is_in(self, host: str, *groups: str) -> bool:
        """Tell whether `host` is in any of `groups`."""
        return any(host in self.members.get(group, ()) for group in groups)

    def hosts(self, *groups: str) -> list[str]:
        """Return the hosts of any of `groups`, each once, in inventory order."""
        return [host for host in self.hostvars if self.is_in(host, *groups)]

    def value(self, host: str, name: str, default: Any = None) -> Any:
        """Return a readable variable of `host`, else `default`."""
        found = self.hostvars[host].get(name)
        return default if found is None or isinstance(found, Unreadable) else found

    def text(self, host: str, name: str, default: str = "") -> str:
        """Return a variable of `host` if it is a text, else `default`."""
        found = self.value(host, name)
        return found if isinstance(found, str) else default

    def address(self, host: str) -> str:
        """Return the address at which other hosts reach `host`."""
        return self.text(host, "sealing_address") or self.text(host, "ansible_host") or host


Plan = Mapping[str, Any]
"""The plan of the inventory as it is written; empty where none is judged, as before the hardware is read."""

Check = Callable[[Inventory, Plan], Iterator[Problem]]


def problem(where: str, name: str, value: str, text: str, remedy: str) -> Problem:
    """Return one problem of a variable of a host (or of `groups`, `hosts`, `all`)."""
    return Problem(f"{where}/{name}", value, text, remedy)
