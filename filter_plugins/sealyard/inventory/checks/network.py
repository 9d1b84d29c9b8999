"""Addresses and ports."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sealyard.problem import Problem
from sealyard.variables.inventory import LOTUS_GROUPS, WORKER_GROUPS, Inventory, Plan, problem
from sealyard.variables.options import shown

PRIVATE_NETWORKS = tuple(
    ipaddress.ip_network(block)
    for block in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "fc00::/7",
        "::1/128",
    )
)


@dataclass(frozen=True)
class Port:
    """A port that the process of one group opens on its host; `key` where the variable holds several."""

    group: str
    variable: str
    default: int
    key: str = ""

    @property
    def name(self) -> str:
        """The variable and the key."""
        return f"{self.variable}.{self.key}" if self.key else self.variable


PORTS = (
    Port("daemon_public", "lotus_daemon_api_ports", 1234, "public"),
    Port("daemon_private", "lotus_daemon_api_ports", 1235, "private"),
    Port("daemon_public", "lotus_daemon_libp2p_ports", 1347, "public"),
    Port("daemon_private", "lotus_daemon_libp2p_ports", 1348, "private"),
    Port("winning_miner", "winning_miner_port", 2345),
    Port("window_miner", "window_miner_port", 2346),
    Port("seal_miner", "seal_miner_port", 2347),
    Port("deal_miner", "deal_miner_port", 2348),
)
FIRST_WORKER_PORT = 3456
MOST_WORKERS = 256


def check_addresses(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """APIs give signing rights: they listen on one private address per host, never on all and never in public."""
    owner: dict[str, str] = {}
    hosts = inventory.hosts(*LOTUS_GROUPS)
    for host in hosts:
        address = inventory.address(host)
        name = "sealing_address" if inventory.text(host, "sealing_address") else "ansible_host"
        remedy = "sealing_address: with the host's address in the private network, such as 10.0.0.11"
        text = _address_problem(address, alone=len(hosts) == 1)
        if text:
            yield problem(host, name if inventory.text(host, name) else "sealing_address", address, text, remedy)
        elif address in owner:
            yield problem(
                host, name, address, f"is also the address of {owner[address]}", f"{name}: with an address of its own"
            )
        owner.setdefault(address, host)


def _address_problem(address: str, alone: bool) -> str | None:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "is not an IP address, and the APIs need one to listen on"
    if parsed.is_unspecified:
        return "would open the APIs on every network of the host"
    if parsed.is_loopback and not alone:
        return "is the loopback address, which no other host can reach"
    if not any(parsed in network for network in PRIVATE_NETWORKS):
        return "is a public address, and an API there gives signing rights to the world"
    return None


def check_ports(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """Two processes of a host cannot listen on one port."""
    for host in inventory.hostvars:
        owner: dict[int, str] = {}
        first = inventory.value(host, "sealing_worker_port", FIRST_WORKER_PORT)
        workers = range(first, first + MOST_WORKERS) if isinstance(first, int) else range(0)
        for port in PORTS:
            if not inventory.is_in(host, port.group):
                continue
            number = inventory.value(host, port.variable, port.default)
            if port.key and isinstance(number, Mapping):
                number = number.get(port.key)
            elif port.key:
                number = port.default
            remedy = f"{port.name}: {port.default}" if number != port.default else f"{port.name}: with a free port"
            if not isinstance(number, int) or isinstance(number, bool) or not 1024 <= number <= 65535:
                yield problem(host, port.name, shown("", number), "is no port from 1024 to 65535", remedy)
                continue
            if number in owner:
                yield problem(host, port.name, str(number), f"is also {owner[number]} of this host", remedy)
            elif number in workers and inventory.is_in(host, *WORKER_GROUPS):
                text = f"lies among the ports of the host's workers, {workers[0]} to {workers[-1]}"
                yield problem(host, port.name, str(number), text, remedy)
            owner.setdefault(number, port.name)
