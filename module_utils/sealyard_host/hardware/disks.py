"""Disks with their size, their place and what is on them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from .. import mounts
from .pci import ADDRESS, Pci
from .tree import Entry, Tree, natural

SWAP = "[SWAP]"


@dataclass
class Blocks:
    """Block devices of the kernel, md and dm devices among them, and what lies on what."""

    names: list[str]
    parts_of: dict[str, list[str]] = field(default_factory=dict)
    slaves: dict[str, list[str]] = field(default_factory=dict)
    numbers: dict[str, str] = field(default_factory=dict)
    """Device by MAJOR:MINOR."""
    labels: dict[str, str] = field(default_factory=dict)
    """Device by its name below /dev."""

    def at(self, path: str) -> str | None:
        """The device at a path below /dev."""
        return self.labels.get(path.removeprefix("/dev/")) if path.startswith("/dev/") else None

    def disks_under(self, device: str, seen: Iterable[str] = ()) -> set[str]:
        """The disks that a device lies on in the end."""
        whole = next((name for name, parts in self.parts_of.items() if device in parts), device)
        below = self.slaves.get(whole, [])
        if not below or device in seen:
            return {whole}
        return set().union(*(self.disks_under(each, [*seen, device]) for each in below))


def read_blocks(tree: Tree) -> Blocks:
    """All block devices that can hold something for long."""
    found = Blocks([n for n in tree.names("sys/block") if not re.match(r"(loop|ram|zram|sr|fd|nbd)\d", n)])
    for name in found.names:
        below = [part for part in tree.names("sys/block", name) if part.startswith(name)]
        parts = [part for part in below if tree.read("sys/block", name, part, "partition")]
        found.parts_of[name] = sorted(parts, key=natural)
        found.slaves[name] = tree.names("sys/block", name, "slaves")
        dm_name = tree.read("sys/block", name, "dm/name")
        if dm_name:
            found.labels["mapper/" + dm_name] = name
        for device in [name, *parts]:
            found.labels[device] = device
            sub = "" if device == name else "/" + device
            number = tree.read(f"sys/block/{name}{sub}/dev")
            if number:
                found.numbers[number] = device
    return found


def read_mounts(tree: Tree, blocks: Blocks, notes: list[str]) -> tuple[dict[str, list[str]], set[str], bool]:
    """Mount points by disk, the disks of the running system, and whether the one under / could be told."""
    points: dict[str, list[str]] = {}
    system: set[str] = set()
    root_known = False
    for source, point, fstype in mounted(tree, blocks):
        if source is None:
            # Nothing of this machine's disks is under a root that comes over the network or lives in memory.
            root_known = root_known or (point == "/" and fstype in ("nfs", "nfs4", "tmpfs", "ramfs", "rootfs"))
            continue
        for disk in blocks.disks_under(source):
            if point not in points.setdefault(disk, []):
                points[disk].append(point)
            if point in (*mounts.SYSTEM, SWAP):
                system.add(disk)
        root_known = root_known or point == "/"
    if not root_known:
        notes.append("the disk under / could not be told: no disk is called free of the system")
    return points, system, root_known


def read_disks(tree: Tree, pci: Pci, notes: list[str]) -> list[Entry]:
    """Disks with what is on them. md and dm devices are holders, not disks of their own."""
    blocks = read_blocks(tree)
    points, system, root_known = read_mounts(tree, blocks, notes)
    disks = []
    for name in sorted(blocks.names, key=natural):
        real = tree.real("sys/block", name)
        if "/virtual/block/" in real or blocks.slaves[name] or not tree.number("sys/block", name, "size"):
            continue
        address = pci.of(real) or nvme_address(tree, name)
        number = tree.read("sys/block", name, "dev")
        udev = tree.read(f"run/udev/data/b{number}") if number else None
        fs = re.search(r"^E:ID_FS_TYPE=(.+)$", udev or "", re.MULTILINE)
        rotational = tree.number("sys/block", name, "queue/rotational")
        entry: Entry = {"name": name, "pci": address}
        entry.update(pci.home(address))
        entry.update({
            # the kernel counts 512-byte units whatever the drive's own sector is
            "bytes": (tree.number("sys/block", name, "size") or 0) * 512,
            "rotational": None if rotational is None else rotational == 1,
            "partitions": blocks.parts_of[name],
            "holders": holders(tree, name, blocks.parts_of[name]),
            "mounts": sorted(points.get(name, [])),
            "filesystem": fs.group(1) if fs else None,
            "system": True if name in system else False if root_known else None,
        })  # fmt: skip
        disks.append(entry)
    return disks


def holders(tree: Tree, name: str, parts: list[str]) -> list[str]:
    """The md and dm devices on a disk or on its partitions."""
    found = set(tree.names("sys/block", name, "holders"))
    return sorted(found.union(*(tree.names("sys/block", name, part, "holders") for part in parts)), key=natural)


def mounted(tree: Tree, blocks: Blocks) -> list[tuple[str | None, str, str]]:
    """(block device or None, mount point or [SWAP], file system) of everything mounted."""
    found: list[tuple[str | None, str, str]] = []
    for mount in mounts.parse(tree.read("proc/self/mountinfo") or ""):
        found.append((blocks.numbers.get(mount.device) or blocks.at(mount.source), mount.path, mount.kind))
    for line in (tree.read("proc/swaps") or "").splitlines()[1:]:
        found.append((blocks.at((line.split() or [""])[0]), SWAP, "swap"))
    return found


def nvme_address(tree: Tree, name: str) -> str | None:
    """The PCI address of a namespace that hangs under an NVMe subsystem (native multipath)."""
    if not name.startswith("nvme"):
        return None
    subsystem = Path(tree.real("sys/block", name)).parent
    for controller in sorted(path.name for path in subsystem.glob("nvme*") if re.fullmatch(r"nvme\d+", path.name)):
        address = tree.read("sys/class/nvme", controller, "address")
        if address and ADDRESS.match(address):
            return address
    return None
