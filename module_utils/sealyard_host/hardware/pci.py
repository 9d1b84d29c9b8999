"""PCI addresses, and the NUMA node of the device at each."""

from __future__ import annotations

import re

from .tree import Entry, Tree

ADDRESS = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$")


class Pci:
    """Devices of the PCI bus and the NUMA node each is on."""

    def __init__(self, tree: Tree, nodes: list[Entry]) -> None:
        self.tree = tree
        self.nodes = nodes
        self.with_cpus = [n for n in nodes if n["cpus"]]

    def addresses(self) -> list[str]:
        """All devices of the bus."""
        return [name for name in self.tree.names("sys/bus/pci/devices") if ADDRESS.match(name)]

    def of(self, real_path: str) -> str | None:
        """The PCI device that a device's real path lies under."""
        for part in reversed(real_path.split("/")):
            if ADDRESS.match(part):
                return part
        return None

    def identity(self, address: str) -> Entry:
        """Who made a device and what it is."""
        where = "sys/bus/pci/devices/" + address
        code = self.tree.number(where, "class")
        vendor, device = self.tree.number(where, "vendor"), self.tree.number(where, "device")
        return {
            "pci": address,
            "vendor": None if vendor is None else f"{vendor:04x}",
            "device": None if device is None else f"{device:04x}",
            "class": None if code is None else "%04x" % (code >> 8),
        }

    def home(self, address: str | None) -> Entry:
        """numa_node, and near_nodes where the kernel leaves the choice between some of the nodes."""
        if len(self.nodes) == 1:
            return {"numa_node": self.nodes[0]["node"]}
        if address is None:
            return {"numa_node": None}
        where = "sys/bus/pci/devices/" + address
        node = self.tree.number(where, "numa_node")
        if node is not None and any(n["node"] == node for n in self.nodes):
            return {"numa_node": node}
        local = set(self.tree.cpus(where, "local_cpulist"))
        near = [n["node"] for n in self.with_cpus if local & set(n["cpus"])]
        if len(near) == 1:
            return {"numa_node": near[0]}
        if near and len(near) < len(self.with_cpus):
            return {"numa_node": None, "near_nodes": near}
        return {"numa_node": None}


def number(text: str) -> tuple[int, ...] | None:
    """00000000:3B:00.0 and 0000:3b:00.0 are one device."""
    try:
        return tuple(int(part, 16) for part in re.split(r"[:.]", text.strip()))
    except ValueError:
        return None
