"""An inventory's groups and variables made into the planner's input document."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from sealyard.planner.document import ROLES
from sealyard.planner.reader import input_schema
from sealyard.variables.options import cluster_options

NOT_BY_RULE: Final = {"group": "sealing_worker_group"}
"""Fields of the planner's input that are not variable `sealing_FIELD`."""

READ_APART: Final = ("hardware",)
"""Fields whose value is looked for in more places than the inventory."""


def variable_of(field: str) -> str:
    """Return the inventory's name of a field of the planner's settings or of a host."""
    return NOT_BY_RULE.get(field, f"sealing_{field}")


@functools.cache
def fields(part: str) -> dict[str, str]:
    """Return variable to field of `settings` or `host`: what the planner takes there and the cluster declares.

    A field of both is a host's, so that group_vars can give it to some hosts.
    """
    taken: dict[str, dict[str, Any]] = input_schema()["$defs"]
    mine = [field for field in taken[part]["properties"] if field not in READ_APART]
    if part == "settings":
        mine = [field for field in mine if field not in taken["host"]["properties"]]
    return {variable_of(field): field for field in mine if variable_of(field) in cluster_options()}


RDMA_SETTINGS: Final = ("rdma_dscp", "rdma_priority", "rdma_lossless")
"""What role rdma_nic sets on hosts as rdma_nic_*, and the switch has to know."""


class Variables(Protocol):
    """A host's variables by name; None where one is not set."""

    def get(self, name: str) -> Any:
        """Return the variable's value."""


def plan_input(
    roles: Mapping[str, Sequence[str]], variables: Mapping[str, Variables], topology_dirs: Sequence[Path] = ()
) -> dict[str, Any]:
    """Return the input document. `roles` is host to inventory groups; declared topologies are read from the folders.

    The hardware of a host is what the inventory declares, else what this run has read there, else what an earlier run
    of playbooks/hardware.yml has kept.
    """
    settings: dict[str, Any] = {}
    groups: Any = {}
    machines: dict[str, Any] = {}
    hosts: dict[str, Any] = {}
    for name in sorted(roles):
        own = variables[name]
        host: dict[str, Any] = {"roles": [r for r in roles[name] if r in ROLES]}
        if not host["roles"]:
            continue
        if not settings:
            settings = {
                key: own.get(variable) for variable, key in fields("settings").items() if own.get(variable) is not None
            }
            groups = own.get("sealing_groups") or {}
        for variable, key in fields("host").items():
            value = own.get(variable)
            if value is not None:
                host[key] = value
        if own.get("sealing_pledging") == "smooth":
            host["smooth_pledging"] = True
        cards = own.get("rdma_nic_interfaces")
        if isinstance(cards, Sequence) and not isinstance(cards, str):
            host["rdma_addresses"] = [str(card.get("address")) for card in cards if isinstance(card, Mapping)]
        for key in RDMA_SETTINGS:
            value = own.get(key.replace("rdma_", "rdma_nic_"))
            if value is not None and (cards or "rdma_address" in host):
                settings.setdefault(key, value)
        if "address" not in host and own.get("ansible_host") is not None:
            host["address"] = own.get("ansible_host")
        if any(role.endswith("_worker") for role in host["roles"]) or host.get("exports"):
            hardware = own.get("sealing_hardware")
            if hardware is None:
                hardware = (own.get("ansible_facts") or {}).get("sealing_hardware") or _kept(name, topology_dirs)
            if isinstance(hardware, Mapping) and isinstance(hardware.get("topology"), str):
                _read_topology(hardware["topology"], machines, topology_dirs)
            host["hardware"] = hardware
        hosts[name] = host
    return {"settings": settings, "groups": groups, "machines": machines, "hosts": hosts}


def _kept(host: str, folders: Sequence[Path]) -> dict[str, str] | None:
    name = f".hardware/{host}"
    return {"topology": name} if any((folder / f"{name}.json").is_file() for folder in folders) else None


def _read_topology(name: str, machines: dict[str, Any], folders: Sequence[Path]) -> None:
    if name in machines:
        return
    for folder in folders:
        for file in (folder / name, folder / f"{name}.json", folder / "topologies" / f"{name}.json"):
            if file.is_file():
                machines[name] = json.loads(file.read_text(encoding="utf-8"))
                return
