"""The switch side of the RDMA network: ports, MTU, VLAN, PFC and ECN, in neutral terms and as lines for two systems.

Sources of the figures: NVIDIA's RoCE manuals for Onyx and Cumulus, and SN2700 data (32 ports of 100 Gbit/s).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sealyard.planner.document import Document
from sealyard.problem import Problem

SN2700_PORTS = 32
SWITCH_MTU_BYTES = 9216
"""Every port carries what hosts with MTU 9000 send, tags and headers of the switch included."""
TRAFFIC_CLASS_OF_PRIORITY = 3
CNP = {"dscp": 48, "priority": 6}
"""Notices of congestion, strictly before all else."""
ECN_KBYTES = {"min": 150, "max": 1500}
ROCE_DEFAULT = (26, 3)
"""DSCP and priority that `roce lossless` of both systems sets by itself."""
NAMELESS = "switch"
"""Name of the one switch that hosts hang on which name none."""


def switch_plan(doc: Document) -> dict[str, Any]:
    """What each switch must be set to: {NAME: {ports [{port, host, address}], …}}; {} where no host has an RDMA card.

    Ports are counted from 1 in the order of host names: a proposal for cabling. More cards than ports is an error.
    """
    cards: dict[str, list[tuple[str, str]]] = {}
    for host in sorted(doc.hosts.values(), key=lambda each: each.name):
        for address in host.rdma_addresses:
            cards.setdefault(host.switch or NAMELESS, []).append((host.name, address))
    return {name: _switch(doc, name, found) for name, found in sorted(cards.items())}


def _switch(doc: Document, name: str, cards: Sequence[tuple[str, str]]) -> dict[str, Any]:
    settings = doc.settings
    if len(cards) > settings.switch_ports:
        doc.errors.append(_too_many(name, cards, settings.switch_ports))
    lossless = settings.rdma_lossless
    neutral = {
        "ports": [
            {"port": number, "host": host, "address": address} for number, (host, address) in enumerate(cards, 1)
        ],
        "ports_there": settings.switch_ports,
        "mtu_bytes": SWITCH_MTU_BYTES,
        "vlan": settings.rdma_vlan,
        "trust": "dscp",
        "dscp": settings.rdma_dscp,
        "priority": settings.rdma_priority,
        "pfc_priorities": [settings.rdma_priority] if lossless else [],
        "ecn": {
            "traffic_class": TRAFFIC_CLASS_OF_PRIORITY,
            "min_kbytes": ECN_KBYTES["min"],
            "max_kbytes": ECN_KBYTES["max"],
        },
        "cnp": dict(CNP),
        "global_pause": False,
    }
    last = min(len(cards), settings.switch_ports)
    return {**neutral, "nvue": nvue(neutral, last), "onyx": onyx(neutral, last)}


def _too_many(name: str, cards: Sequence[tuple[str, str]], ports: int) -> Problem:
    return Problem(
        path="settings.switch_ports",
        value=ports,
        problem=f"are the ports of switch {name}, and {len(cards)} RDMA cards hang on it",
        remedy="sealing_switch_ports: what the switch has, or sealing_switch of some hosts: another switch",
    )


def _by_hand(neutral: Mapping[str, Any]) -> list[str]:
    if (neutral["dscp"], neutral["priority"]) == ROCE_DEFAULT or not neutral["pfc_priorities"]:
        return []
    return [
        f"# roce lossless maps DSCP {ROCE_DEFAULT[0]} to priority {ROCE_DEFAULT[1]}; these hosts send DSCP "
        f"{neutral['dscp']} in priority {neutral['priority']}: change the map and PFC by hand"
    ]


def nvue(neutral: Mapping[str, Any], last: int) -> list[str]:
    """Lines for Cumulus Linux 5 (NVUE), in which RoCE is one setting for the whole switch."""
    ports = f"swp1-{last}" if last > 1 else "swp1"
    lines = [
        f"nv set qos roce mode {'lossless' if neutral['pfc_priorities'] else 'lossy'}",
        f"nv set interface {ports} link mtu {neutral['mtu_bytes']}",
    ]
    if neutral["vlan"] is not None:
        lines += [
            f"nv set bridge domain br_default vlan {neutral['vlan']}",
            f"nv set interface {ports} bridge domain br_default access {neutral['vlan']}",
        ]
    return [*lines, *_by_hand(neutral), "nv config apply", "nv show qos roce"]


def onyx(neutral: Mapping[str, Any], last: int) -> list[str]:
    """Lines for Onyx 3.8.2000 or later; the first one may take every port down for a moment."""
    ports = f"1/1-1/{last}" if last > 1 else "1/1"
    ecn = neutral["ecn"]
    lines = [
        f"roce {'lossless' if neutral['pfc_priorities'] else 'lossy'}",
        f"interface ethernet {ports} mtu {neutral['mtu_bytes']} force",
    ]
    if neutral["vlan"] is not None:
        lines += [
            f"vlan {neutral['vlan']}",
            "exit",
            f"interface ethernet {ports} switchport access vlan {neutral['vlan']}",
        ]
    lines.append(
        f"interface ethernet {ports} traffic-class {ecn['traffic_class']} congestion-control ecn "
        f"minimum-absolute {ecn['min_kbytes']} maximum-absolute {ecn['max_kbytes']}"
    )
    return [*lines, *_by_hand(neutral), "configuration write", "show roce"]
