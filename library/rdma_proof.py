#!/usr/bin/python
"""Prove that an RDMA card is one: active, RoCE v2, largest packets, and a path that carries them to its peers."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sealyard_host.programs import output
from ansible.module_utils.sealyard_host.rdma_devices import active_mtu, gid_of, gid_types, largest_payload

DOCUMENTATION = r"""
module: rdma_proof
short_description: Prove that an RDMA card works as one
description:
  - Looks at the link, the GID that holds the address, and the RDMA MTU, then sends packets of full size to each peer,
    with the instruction not to cut them up. Nothing is changed.
options:
  interface: {type: str, required: true, description: Network interface.}
  address: {type: str, required: true, description: Its address with prefix.}
  mtu: {type: int, default: 9000, description: Its MTU in bytes.}
  peers: {type: dict, default: {}, description: Names of other hosts to their addresses in this network.}
  wait_sec: {type: int, default: 30, description: How long a peer may take to answer.}
author: [Sealyard]
"""

EXAMPLES = r"""
- name: Prove the card
  rdma_proof:
    interface: enp65s0np0
    address: 10.40.0.21/24
    peers: {pc2-1: 10.40.0.41}
"""

RETURN = r"""
device: {description: The RDMA device., type: str, returned: success}
active_mtu: {description: Its MTU in bytes., type: int, returned: success}
peers: {description: The peers that packets of full size reach., type: list, elements: str, returned: success}
"""

ICMP_HEADER_BYTES = {4: 28, 6: 48}


def link_problem(links: Sequence[Mapping[str, Any]], interface: str) -> str:
    """What is wrong with the entry of `rdma -j link show` for the interface, empty when nothing is."""
    for link in links:
        if link.get("netdev") == interface:
            if link.get("state") == "ACTIVE" and link.get("physical_state", "LINK_UP") == "LINK_UP":
                return ""
            return f"its RDMA link is {link.get('state')}, {link.get('physical_state')}: look at cable and switch port"
    return "it has no RDMA device: rdma link show"


def gid_problem(gids: Mapping[str, str], address: str) -> str:
    """Whether a GID of type RoCE v2 holds the address; `gids` maps GIDs in sysfs to their types joined by commas."""
    types = gids.get(gid_of(address), "")
    if "RoCE v2" in types:
        return ""
    return f"no GID of type RoCE v2 holds {address} (types of it: {types or 'none'}): cma_roce_mode, driver, firmware"


def read_gids(device: str) -> dict[str, str]:
    """GIDs of the first port and their types."""
    types = gid_types(Path("/sys/class/infiniband") / device / "ports/1")
    return {gid: ",".join(each) for gid, each in types.items()}


def ping_command(interface: str, address: str, data_bytes: int, wait_sec: int) -> list[str]:
    """The ping that ends at the first answer and whose packets are not cut up."""
    return ["ping", "-q", "-c", "1", "-w", str(wait_sec), "-M", "do", "-s", str(data_bytes), "-I", interface, address]


def path_problem(peer: str, address: str, mtu: int, small: bool, full: bool) -> str:
    """What two pings say about the path to a peer."""
    if full:
        return ""
    if small:
        return f"packets of {mtu} bytes do not reach {peer} ({address}), small ones do: raise a switch port to MTU 9216"
    return f"{peer} ({address}) does not answer over this card: look at cable, VLAN and the card of {peer}"


def prove_paths(interface: str, peers: Mapping[str, str], mtu: int, wait_sec: int) -> list[str]:
    """Problems of the paths to all peers, pinged at once."""
    pings = {}
    for peer, address in peers.items():
        header = ICMP_HEADER_BYTES[6 if ":" in address else 4]
        for size in (56, mtu - header):
            command = ping_command(interface, address, size, wait_sec)
            pings[peer, size == 56] = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    answers = {key: process.wait() == 0 for key, process in pings.items()}
    told = [path_problem(peer, peers[peer], mtu, answers[peer, True], answers[peer, False]) for peer in peers]
    return [problem for problem in told if problem]


def main() -> None:
    """Module entry."""
    module = AnsibleModule(
        argument_spec={
            "interface": {"type": "str", "required": True},
            "address": {"type": "str", "required": True},
            "mtu": {"type": "int", "default": 9000},
            "peers": {"type": "dict", "default": {}},
            "wait_sec": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    given = module.params
    interface, address = given["interface"], given["address"].split("/")[0]
    try:
        links = json.loads(output("rdma", "-j", "link", "show") or "[]")
        problems = [link_problem(links, interface)]
        device = next((link["ifname"] for link in links if link.get("netdev") == interface), "")
        found = 0
        if device:
            found = active_mtu(output("ibv_devinfo", "-d", device))
            expected = largest_payload(given["mtu"])
            if found < expected:
                problems.append(f"its RDMA MTU is {found}, and {expected} is expected")
            if ":" not in address:
                problems.append(gid_problem(read_gids(device), address))
        problems += prove_paths(interface, given["peers"], given["mtu"], given["wait_sec"])
    except (OSError, ValueError) as error:
        problems, device, found = [str(error)], "", 0
    problems = [f"{interface}: {problem}" for problem in problems if problem]
    if problems:
        module.fail_json(msg="\n".join(problems))
    module.exit_json(changed=False, device=device, active_mtu=found, peers=sorted(given["peers"]))


if __name__ == "__main__":
    main()
