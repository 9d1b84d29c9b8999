"""RDMA cards: that they are there, have an RDMA device and an address, and one MTU in each network."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from sealyard.problem import Problem
from sealyard.variables.inventory import Inventory, Plan, problem

DEFAULT_MTU = 9000

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface


def check_rdma_cards(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """Every host of group rdma has a card, the card has an RDMA device, and an address that nobody else has."""
    owner = {
        inventory.text(host, "sealing_rdma_address").split("/")[0]: host
        for host in inventory.hostvars
        if inventory.value(host, "rdma_nic_interfaces") is None
    }
    for host in inventory.hosts("rdma"):
        cards = _cards(inventory, host)
        if not cards:
            remedy = "sealing_rdma_address: with its address there and the prefix, such as 10.40.0.21/24"
            text = "is not set, and the host is in group rdma"
            yield problem(host, "sealing_rdma_address", "(empty)", text, remedy)
        networks: dict[str, str] = {}
        for index, (name, address) in enumerate(cards):
            where = f"rdma_nic_interfaces[{index}]"
            yield from _card_problem(inventory, host, where, name)
            here = _interface(address)
            own = inventory.value(host, "rdma_nic_interfaces") is not None
            if not own:
                continue  # check_rdma_addresses has looked at it
            if here is None:
                text = "is no IP address with a prefix"
                yield problem(host, f"{where}.address", address, text, "address: 10.40.0.21/24")
                continue
            other = owner.setdefault(str(here.ip), host)
            network = str(here.network)
            if other != host:
                text, remedy = f"is also the address of {other}", "address: one of its own"
                yield problem(host, f"{where}.address", address, text, remedy)
            elif network in networks:
                text = f"lies in the network of {networks[network]}: packets would leave by either card"
                yield problem(host, f"{where}.address", address, text, "an address in a network of its own")
            networks.setdefault(network, name or "another card")


def check_rdma_mtu(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """In a network with two MTUs connections are made and large packets are lost."""
    first: dict[str, tuple[str, Any]] = {}
    for host in inventory.hosts("rdma"):
        mtu = inventory.value(host, "rdma_nic_mtu", DEFAULT_MTU)
        networks = {str(here.network) for _, address in _cards(inventory, host) if (here := _interface(address))}
        for network in sorted(networks):
            other, its = first.setdefault(network, (host, mtu))
            if its != mtu:
                text = f"is not the MTU of {other} in the same network {network}, which is {its}"
                yield problem(
                    host, "rdma_nic_mtu", str(mtu), text, f"rdma_nic_mtu: {its}, or one for all in group rdma"
                )
                break


def _cards(inventory: Inventory, host: str) -> list[tuple[str, str]]:
    """Return name (empty for the only one) and address of each card."""
    given = inventory.value(host, "rdma_nic_interfaces")
    if isinstance(given, list | tuple):
        return [(str(one.get("name") or ""), str(one.get("address"))) for one in given if isinstance(one, Mapping)]
    address = inventory.text(host, "sealing_rdma_address")
    return [("", address)] if address else []


def _card_problem(inventory: Inventory, host: str, where: str, name: str) -> Iterator[Problem]:
    hardware = inventory.found.get(host) or _written_out(inventory.value(host, "sealing_hardware"))
    if not hardware:
        return
    netdevs = [str(one.get("name")) for one in hardware.get("net") or ()]
    with_rdma = sorted({str(one.get("netdev")) for one in hardware.get("rdma") or () if one.get("netdev")})
    soft = inventory.value(host, "rdma_nic_soft") is True
    there = ", ".join(with_rdma) or "none"
    if name and name not in netdevs and name not in with_rdma:
        text = f"is no network interface of this host, which has {', '.join(netdevs) or 'none'}"
        yield problem(host, f"{where}.name", name, text, f"name: one with an RDMA device: {there}")
    elif name and not soft and name not in with_rdma:
        text = f"has no RDMA device; these have one: {there}"
        yield problem(host, f"{where}.name", name, text, "name: one of those, or rdma_nic_soft: true in a lab")
    elif not name and len(with_rdma) != 1:
        text = f"is one address, and the host has {len(with_rdma)} cards with an RDMA device: {there}"
        remedy = "rdma_nic_interfaces: [{name: INTERFACE, address: ADDRESS/PREFIX}]"
        yield problem(host, "sealing_rdma_address", inventory.text(host, "sealing_rdma_address"), text, remedy)


def _written_out(declared: Any) -> Mapping[str, Any]:
    """Return declared hardware that names its cards; the short form makes names up."""
    named = isinstance(declared, Mapping) and isinstance(declared.get("net"), list | tuple) and declared["net"]
    return declared if named else {}


def _interface(address: str) -> Interface | None:
    try:
        return ipaddress.ip_interface(address) if "/" in address else None
    except ValueError:
        return None
