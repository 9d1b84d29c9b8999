"""Writes the sysfs and /proc tree a topology file would have on a real machine, for the facts module to read back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def cpu_list(cpus: Iterable[int]) -> str:
    """Numbers as the kernel writes them: `0-3,64`."""
    runs: list[list[int]] = []
    for cpu in sorted(cpus):
        if runs and cpu == runs[-1][1] + 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(f"{a}-{b}" if a != b else str(a) for a, b in runs)


def write(root: Path, topology: dict[str, Any]) -> None:
    """The whole machine under `root`."""
    Writer(root).machine(topology)


class Writer:
    """Writes files below one root."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, path: str, text: object) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(f"{text}\n")

    def link(self, path: str, target: str) -> None:
        link = self.root / path
        link.parent.mkdir(parents=True, exist_ok=True)
        up = "../" * (len(Path(path).parts) - 1)
        link.symlink_to(up + target)

    def machine(self, topology: dict[str, Any]) -> None:
        self.cpus(topology["cpus"])
        self.nodes(topology)
        for kind in ("gpus", "accelerators", "display"):
            for device in topology[kind]:
                self.pci(device, topology, int(device["class"] + "00", 16))
        for rdma in topology["rdma"]:
            self.rdma(rdma, topology)
        for net in topology["net"]:
            directory = self.pci(net, topology, 0x020000)
            self.net(net["name"], directory)
        for number, nvme in enumerate(topology["nvme"]):
            self.nvme(number, nvme, topology)
        machine = topology["machine"]
        if machine["cpu_model"]:
            self.put("proc/cpuinfo", f"processor\t: 0\nmodel name\t: {machine['cpu_model']}\n\nprocessor\t: 1")
        if machine["product"]:
            self.put("sys/class/dmi/id/product_name", machine["product"])
        if machine["kernel"]:
            self.put("proc/sys/kernel/osrelease", machine["kernel"])
        if machine["arch"]:
            self.put("proc/sys/kernel/arch", machine["arch"])
        self.put(
            "proc/self/mountinfo",
            "22 1 0:20 / / rw - nfs4 server:/root rw\n30 22 0:30 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw",
        )

    def cpus(self, cpus: list[dict[str, Any]]) -> None:
        base = "sys/devices/system/cpu"
        groups: dict[tuple[str, int], list[int]] = defaultdict(list)
        for c in cpus:
            for key in ("core", "l3"):
                if c[key] is not None:
                    groups[key, c[key]].append(c["cpu"])
        self.put(f"{base}/present", cpu_list(c["cpu"] for c in cpus))
        self.put(f"{base}/online", cpu_list(c["cpu"] for c in cpus if c["online"]))
        allowed = cpu_list(c["cpu"] for c in cpus if c["online"] and c.get("allowed", True))
        self.put("proc/self/status", f"Name:\tpython3\nCpus_allowed:\tff\nCpus_allowed_list:\t{allowed}")
        for c in cpus:
            where = f"{base}/cpu{c['cpu']}"
            self.put(f"{where}/uevent", "")
            if not c["online"] or c["core"] is None:
                continue
            self.put(f"{where}/topology/physical_package_id", c["socket"])
            self.put(f"{where}/topology/core_id", c["core"] % 8)
            self.put(f"{where}/topology/thread_siblings_list", cpu_list(groups["core", c["core"]]))
            for index, level in enumerate((1, 1, 2)):
                self.put(f"{where}/cache/index{index}/level", level)
                self.put(f"{where}/cache/index{index}/shared_cpu_list", cpu_list(groups["core", c["core"]]))
            if c["l3"] is not None:
                self.put(f"{where}/cache/index3/level", 3)
                self.put(f"{where}/cache/index3/shared_cpu_list", cpu_list(groups["l3", c["l3"]]))

    def nodes(self, topology: dict[str, Any]) -> None:
        distances = topology.get("numa_distances")
        for index, node in enumerate(topology["numa"]):
            where = f"sys/devices/system/node/node{node['node']}"
            self.put(f"{where}/cpulist", cpu_list(node["cpus"]))
            if node["memory_bytes"] is not None:
                self.put(f"{where}/meminfo", f"Node {node['node']} MemTotal:       {node['memory_bytes'] // 1024} kB")
            if distances:
                self.put(f"{where}/distance", " ".join(str(d) for d in distances["matrix"][index]))

    def pci(self, device: dict[str, Any], topology: dict[str, Any], code: int) -> str:
        """Writes the PCI function and returns its directory; a second call adds nothing."""
        directory = f"sys/devices/pci0000:00/{device['pci']}"
        if (self.root / directory).exists():
            return directory
        self.put(f"{directory}/class", f"0x{code:06x}")
        self.put(f"{directory}/vendor", f"0x{device.get('vendor') or '8086'}")
        self.put(f"{directory}/device", f"0x{device.get('device') or '1533'}")
        node = device["numa_node"]
        self.put(f"{directory}/numa_node", -1 if node is None else node)
        near = device.get("near_nodes")
        if near:
            local = [cpu for n in topology["numa"] if n["node"] in near for cpu in n["cpus"]]
        else:
            local = [c["cpu"] for c in topology["cpus"] if c["online"]]
        self.put(f"{directory}/local_cpulist", cpu_list(local))
        for name in device.get("os_names", ()):
            self.put(f"{directory}/drm/{name}/uevent", "")
        self.link(f"sys/bus/pci/devices/{device['pci']}", directory)
        return directory

    def rdma(self, device: dict[str, Any], topology: dict[str, Any]) -> None:
        directory = self.pci(device, topology, 0x020700)
        where = f"{directory}/infiniband/{device['name']}"
        self.link(f"{where}/device", directory)
        for port, state in device.get("port_state", {}).items():
            name = {1: "DOWN", 2: "INIT", 4: "ACTIVE"}.get(state, "?")
            self.put(f"{where}/ports/{port}/state", f"{state}: {name}")
            self.put(f"{where}/ports/{port}/rate", "100 Gb/sec (4X EDR)")
        for netdev in device.get("netdevs") or [device["netdev"]]:
            if netdev:
                self.net(netdev, directory)
        self.link(f"sys/class/infiniband/{device['name']}", where)

    def net(self, name: str, directory: str) -> None:
        where = f"{directory}/net/{name}"
        if not (self.root / where).exists():
            self.put(f"{where}/operstate", "down")
            self.link(f"{where}/device", directory)
            self.link(f"sys/class/net/{name}", where)

    def nvme(self, number: int, drive: dict[str, Any], topology: dict[str, Any]) -> None:
        directory = self.pci(drive, topology, 0x010802)
        where = f"{directory}/nvme/nvme{number}/{drive['name']}"
        self.put(f"{where}/size", drive["bytes"] // 512)
        self.put(f"{where}/queue/rotational", 0)
        self.put(f"{where}/dev", f"259:{number}")
        self.link(f"sys/block/{drive['name']}", where)
