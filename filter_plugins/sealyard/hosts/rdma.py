"""Filters of the role rdma_nic: who its peers are, and what its settings file says."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping, Sequence
from typing import Any

ECT0 = 2
"""The two bits below a DSCP that say: mark congestion in place of dropping."""


def rdma_addresses(variables: Mapping[str, Any]) -> list[str]:
    """Addresses with prefix of a host's RDMA cards, from its variables."""
    interfaces = variables.get("rdma_nic_interfaces")
    if interfaces is not None:
        return [str(one["address"]) for one in interfaces]
    address = variables.get("sealing_rdma_address")
    return [str(address)] if address else []


def rdma_peers(
    addresses: Sequence[str], name: str, hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, str]]:
    """For each of the host's own addresses, its peers in that network: {own: {host: address without prefix}}."""
    peers: dict[str, dict[str, str]] = {}
    for own in addresses:
        network = ipaddress.ip_interface(own).network
        peers[own] = {
            host: str(found.ip)
            for host in hosts
            if host != name
            for found in map(ipaddress.ip_interface, rdma_addresses(hostvars[host]))
            if found.ip in network
        }
    return peers


def rdma_settings(
    found: Sequence[Mapping[str, Any]],
    config_dir: str,
    dscp: int,
    priority: int,
    lossless: bool,
    irq_affinity: bool,
) -> list[dict[str, str]]:
    """The files that rdma_nic_settings.py reads, one per card, in the form of the module file_set.

    Only mlx5 cards know lossless settings.
    """
    return [
        {
            "path": f"{config_dir}/rdma-nic/{card['name']}.json",
            "content": json.dumps(
                {
                    "netdev": card["name"],
                    "gid_type": "RoCE v2",
                    "tos": int(dscp) << 2 | ECT0,
                    "dscp": int(dscp),
                    "priority": int(priority),
                    "lossless": bool(lossless) and card["driver"] == "mlx5_core",
                    "irq_cpus": list(card["irq_cpus"]) if irq_affinity else [],
                },
                indent=2,
                sort_keys=True,
            )
            + "\n",
        }
        for card in found
    ]


def rdma_units(found: Sequence[Mapping[str, Any]], config_dir: str, soft: bool) -> list[dict[str, Any]]:
    """Units of a host's cards with the files each starts from, as the option `units` of module unit_set."""
    units: list[dict[str, Any]] = []
    for card in found:
        if soft:
            units.append(
                {"name": f"rdma-rxe@{card['name']}.service", "files": ["/etc/systemd/system/rdma-rxe@.service"]}
            )
        files = [
            "/etc/systemd/system/rdma-nic@.service",
            "/etc/modules-load.d/90-sealyard-rdma.conf",
            "/usr/local/lib/sealyard/rdma_nic_settings.py",
            f"{config_dir}/rdma-nic/{card['name']}.json",
        ]
        units.append({"name": f"rdma-nic@{card['name']}.service", "files": files})
    return units


def rdma_pc1_cpus(host_plan: Mapping[str, Any]) -> list[str]:
    """CPU lists of the host's workers that do PC1: nothing else may run there."""
    return [str(worker["cpus"]) for worker in host_plan.get("workers", ()) if "PC1" in worker["tasks"]]
