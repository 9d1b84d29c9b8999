"""RDMA devices: which one an interface has, and how much of a frame it can fill."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

from .files import text_of

SYS = Path("/sys")
PAYLOADS_BYTES = (4096, 2048, 1024, 512, 256)
HEADERS_BYTES = 104
"""What RoCE v2 adds to a message: UDP/IPv6 and RDMA headers (IPv4 needs 20 fewer; the kernel counts with IPv6)."""


def device_of(netdev: str, sys_dir: Path = SYS) -> str:
    """The RDMA device of a network interface, "" where it has none (yet)."""
    for device in sorted((sys_dir / "class/infiniband").glob("*")):
        netdevs = {path.name for path in device.glob("device/net/*")} | {text_of(device / "parent")}
        netdevs |= {text_of(path) for path in device.glob("ports/*/gid_attrs/ndevs/0")}
        if netdev in netdevs:
            return device.name
    return ""


def largest_payload(mtu: int) -> int:
    """The RDMA MTU that a network MTU leaves room for: 9000 and 4200 leave 4096, 4096 leaves 2048, 1500 leaves 1024."""
    return next((size for size in PAYLOADS_BYTES if size + HEADERS_BYTES <= mtu), 0)


def active_mtu(text: str) -> int:
    """Active MTU in the output of ibv_devinfo, 0 when it tells none."""
    found = re.search(r"active_mtu:\s*(\d+)", text)
    return int(found[1]) if found else 0


def gid_of(address: str) -> str:
    """An IP address as sysfs writes it among the GIDs."""
    found = ipaddress.ip_address(address)
    return (found if found.version == 6 else ipaddress.IPv6Address(f"::ffff:{found}")).exploded


def gid_types(port: Path) -> dict[str, list[str]]:
    """Types by GID of a port, such as RoCE v2; an empty place of the table has none."""
    found: dict[str, list[str]] = {}
    for path in sorted((port / "gids").glob("*"), key=lambda one: int(one.name)):
        kind = text_of(port / "gid_attrs/types" / path.name)
        if kind:
            found.setdefault(text_of(path), []).append(kind)
    return found
