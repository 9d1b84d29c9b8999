"""One RDMA card as it is and as it should be."""

from __future__ import annotations

import ipaddress
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import mounts, nfs
from ..cpu_lists import parse as cpu_list
from ..files import text_of
from ..rdma_devices import SYS, device_of
from .commands import Refused, run
from .owners import owner


@dataclass(frozen=True)
class Found:
    """One card as it is. `irq_cpus` are the CPUs for its interrupts, `uses` what would be cut with it."""

    name: str
    mac: str
    mtu: int
    up: bool
    addresses: tuple[str, ...]
    owner: str
    rdma: str
    driver: str
    firmware: str
    numa_node: int
    irq_cpus: tuple[int, ...]
    uses: tuple[str, ...] = ()


def irq_cpus(local: set[int], avoid: set[int], online: set[int]) -> tuple[int, ...]:
    """CPUs for a card's interrupts: of its own node and not of PC1; else any not of PC1; else those of its node."""
    for choice in ((local & online) - avoid, online - avoid, local & online):
        if choice:
            return tuple(sorted(choice))
    return ()


def version(text: str) -> tuple[int, ...]:
    """Firmware version as numbers, for comparison: "16.28.2006 (MT_0000000008)" is (16, 28, 2006)."""
    return tuple(int(number) for number in re.findall(r"\d+", text.split("(")[0]))


def pci_folder(name: str, sys: Path = SYS) -> Path:
    """Folder of the card itself; a virtio interface hangs one below it."""
    device = (sys / "class/net" / name / "device").resolve()
    return device if (device / "numa_node").exists() else device.parent


def only_card(sys: Path = SYS) -> str:
    """The one interface with an RDMA device; Refused where there are none or several."""
    names = [path.name for path in sorted((sys / "class/net").glob("*")) if device_of(path.name, sys)]
    if len(names) != 1:
        there = f"several cards with an RDMA device ({', '.join(names)})" if names else "no card with an RDMA device"
        raise Refused(
            f"there is {there}: name it in rdma_nic_interfaces, [{{name: enp65s0np0, address: 10.40.0.21/24}}]"
        )
    return names[0]


def addresses(entries: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Global IPv4 and IPv6 addresses with prefix of `ip -json address show dev NAME`."""
    return tuple(
        f"{info['local']}/{info['prefixlen']}"
        for entry in entries
        for info in entry.get("addr_info", ())
        if info.get("scope") == "global"
    )


def nfs_servers(mountinfo: str) -> dict[str, str]:
    """Mount point to server address of the NFS mounts in /proc/self/mountinfo."""
    found = {}
    for mount in mounts.of_nfs(mountinfo):
        address = next((word.removeprefix("addr=") for word in mount.options if word.startswith("addr=")), "")
        if address:
            found[mount.path] = address
    return found


def uses(name: str, own: Sequence[str]) -> tuple[str, ...]:
    """What goes over the interface now, in words."""
    found = []
    for place, server in nfs_servers(text_of(Path("/proc/self/mountinfo"))).items():
        routes = json.loads(run(["ip", "-json", "route", "get", server]) or "[]")
        if any(route.get("dev") == name for route in routes):
            found.append(f"{place} is mounted over it from {server}")
    networks = [ipaddress.ip_interface(address).network for address in own]
    for client in nfs.clients(Path("/proc/fs/nfsd/clients")):
        if any(ipaddress.ip_address(client) in network for network in networks):
            found.append(f"NFS client {client} is served over it")
    units = run(["systemctl", "list-units", "--plain", "--no-legend", "--state=running", "lotus-worker@*"])
    if units.strip():
        found.append(f"{len(units.splitlines())} workers run on the host")
    mine = {address.split("/")[0] for address in own}
    if any(f" {address}:" in run(["ss", "-Htn", "sport", "=", ":22"]) for address in mine):
        found.append("an ssh login comes over it, perhaps this one")
    return tuple(found)


def look(name: str, avoid: set[int]) -> Found:
    """One card as it is; Refused where there is no such interface."""
    folder = SYS / "class/net" / name
    if not folder.exists():
        there = ", ".join(path.name for path in sorted((SYS / "class/net").glob("*")) if (path / "device").exists())
        raise Refused(f"{name} is no network interface of this host, which has {there}: correct rdma_nic_interfaces")
    states = dict(
        line.split(":", 1) for line in run(["nmcli", "-t", "-f", "DEVICE,STATE", "device"]).splitlines() if ":" in line
    )
    netplan = [text_of(path) for place in ("etc", "run", "lib") for path in Path(f"/{place}/netplan").glob("*.yaml")]
    debian = [text_of(path) for path in (Path("/etc/network/interfaces"), *Path("/etc/network/interfaces.d").glob("*"))]
    networkd = run(["systemctl", "is-active", "systemd-networkd"]).strip() == "active"
    own = addresses(json.loads(run(["ip", "-json", "address", "show", "dev", name], check=True)))
    card, device = pci_folder(name), device_of(name)
    node = text_of(card / "numa_node")
    local = set(cpu_list(text_of(card / "local_cpulist")))
    driver = (card / "driver").resolve().name if (card / "driver").exists() else ""
    firmware = text_of(SYS / "class/infiniband" / device / "fw_ver") if device and "mlx" in driver else ""
    return Found(
        name=name,
        mac=text_of(folder / "address"),
        mtu=int(text_of(folder / "mtu")),
        up=bool(int(text_of(folder / "flags"), 16) & 1),
        addresses=own,
        owner=owner(name, netplan if shutil.which("netplan") else [], states, networkd, debian),
        rdma=device,
        driver=driver,
        firmware=firmware,
        numa_node=int(node) if node.lstrip("-").isdigit() else -1,
        irq_cpus=irq_cpus(local, avoid, set(cpu_list(text_of(SYS / "devices/system/cpu/online")))),
        uses=uses(name, own),
    )
