#!/usr/bin/python3
"""Tell how NFS mounts are really carried; status 1 when one is not carried as asked.

    nfs_transport.py /sealer=rdma /data=tcp      every mount with the transport it must have
    nfs_transport.py                             every NFS mount of the host, for people

Mount options do not prove it: a mount with proto=rdma joins an older TCP connection to the same server without a
word. Only the xprt lines of mountstats say what carries it. Reading them asks the server nothing, so that a dead server
does not block this.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

MOUNTSTATS = Path("/proc/self/mountstats")


def transports(text: str) -> dict[str, list[str]]:
    """Return mount point to the transports of its connections, for the NFS mounts in the text of mountstats."""
    found: dict[str, list[str]] = {}
    here: list[str] | None = None
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["device"]:
            # device SERVER:/PATH mounted on /POINT with fstype nfs4 statvers=1.1
            here = None
            if len(words) >= 8 and words[7].startswith("nfs"):
                here = found[words[4].replace("\\040", " ")] = []
        elif words[:1] == ["xprt:"] and here is not None and len(words) > 1:
            here.append(words[1])
    return found


def verdict(path: str, wanted: str, found: Mapping[str, Sequence[str]]) -> str:
    """Return what is wrong with one mount, "" where it is carried as wanted."""
    carried = found.get(path)
    if carried is None:
        return f"{path} is no NFS mount: systemctl status for its mount unit"
    if not carried:
        return f"{path} has no connection to its server"
    if set(carried) != {wanted}:
        others = ", ".join(other for other, kinds in sorted(found.items()) if other != path and wanted not in kinds)
        also = f" Mounts that may hold the old connection: {others}." if others else ""
        return f"{path} is carried by {', '.join(sorted(set(carried)))} and not by {wanted}.{also}"
    return ""


def main(arguments: Sequence[str]) -> int:
    """Judge the mounts named on the command line, or list all."""
    found = transports(MOUNTSTATS.read_text(encoding="utf-8"))
    if not arguments:
        for path, carried in sorted(found.items()):
            print(path, " ".join(carried) or "-")
        return 0
    status = 0
    for argument in arguments:
        path, _, wanted = argument.rpartition("=")
        wrong = verdict(path, wanted, found)
        if wrong:
            print(wrong, file=sys.stderr)
            status = 1
        elif wanted != "rdma":
            print(f"WARNING: {path} goes over {wanted} and the CPU, because the inventory says so", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
