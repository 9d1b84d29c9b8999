"""RDMA devices and network devices."""

from __future__ import annotations

import re

from .pci import Pci
from .tree import Entry, Tree, natural


def read_rdma(tree: Tree, pci: Pci) -> list[Entry]:
    """RDMA devices with the state of each port and the rate of the fastest active one."""
    devices = []
    for name in sorted(tree.names("sys/class/infiniband"), key=natural):
        where = "sys/class/infiniband/" + name
        address = pci.of(tree.real(where, "device"))
        identity = pci.identity(address) if address else {"pci": None, "vendor": None, "device": None}
        states: dict[str, int | None] = {}
        rates: list[int] = [0]
        for port in sorted(tree.names(where, "ports"), key=natural):
            state = re.match(r"\d+", tree.read(where, "ports", port, "state") or "")
            states[port] = int(state.group()) if state else None
            rate = re.match(r"([\d.]+) Gb/sec", tree.read(where, "ports", port, "rate") or "")
            if rate and states[port] == 4:
                rates.append(round(float(rate.group(1)) * 10**9))
        netdevs = sorted(tree.names(where, "device/net"), key=natural)
        entry: Entry = {"name": name, "pci": identity["pci"]}
        entry.update(pci.home(address))
        entry.update({
            "netdev": netdevs[0] if netdevs else None,
            "vendor": identity["vendor"],
            "device": identity["device"],
            "port_state": states,
            "rate_bits_per_sec": max(rates) or None,
        })  # fmt: skip
        if len(netdevs) > 1:
            entry["netdevs"] = netdevs
        devices.append(entry)
    return devices


def read_net(tree: Tree, pci: Pci) -> list[Entry]:
    """Network devices of the PCI bus."""
    devices = []
    for name in sorted(tree.names("sys/class/net"), key=natural):
        where = "sys/class/net/" + name
        if not tree.exists(where, "device"):
            continue
        address = pci.of(tree.real(where, "device"))
        if address is None:
            continue
        entry: Entry = {"name": name, "pci": address}
        entry.update(pci.home(address))
        # `speed` of a link that is down is an error on some drivers and slow on others.
        speed = tree.number(where, "speed") if tree.read(where, "operstate") == "up" else None
        entry["speed_bits_per_sec"] = speed * 10**6 if speed and speed > 0 else None
        devices.append(entry)
    return devices
