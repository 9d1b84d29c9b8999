"""What is mounted, as /proc/self/mountinfo tells."""

from __future__ import annotations

from dataclasses import dataclass

SYSTEM = ("/", "/boot", "/boot/efi", "/usr", "/var", "/home")
"""Mount points of the running system."""


@dataclass(frozen=True)
class Mounted:
    """One mount: its point, MAJOR:MINOR of its device, file system, source, and the file system's own options."""

    path: str
    device: str
    kind: str
    source: str
    options: tuple[str, ...] = ()


def parse(mountinfo: str) -> list[Mounted]:
    """All mounts in the order of the kernel."""
    found = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields, tail = left.split(), right.split()
        if len(fields) >= 5 and len(tail) >= 2:
            options = tuple(tail[2].split(",")) if len(tail) > 2 else ()
            found.append(Mounted(fields[4].replace("\\040", " "), fields[2], tail[0], tail[1], options))
    return found


def visible(mountinfo: str) -> list[Mounted]:
    """The mounts that can be seen: of several at one path the last one covers the others."""
    return list({mount.path: mount for mount in parse(mountinfo)}.values())


def of_nfs(mountinfo: str) -> list[Mounted]:
    """The mounts of an NFS server."""
    return [mount for mount in parse(mountinfo) if mount.kind in ("nfs", "nfs4")]
