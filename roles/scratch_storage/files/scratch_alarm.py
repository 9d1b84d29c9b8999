#!/usr/bin/python3
"""Say what is wrong with the scratch: status 1 and one line for each thing, which fails the unit that runs this.

    scratch_alarm.py PATH [ARRAY DEVICES]

mdadm --monitor does not watch RAID 0, which has nothing to lose one disk with; the kernel calls such an array broken.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

HEALTHY = ("clean", "active", "active-idle", "write-pending")


def mounted(path: str, mounts: str) -> bool:
    """Tell whether the text of /proc/self/mounts has a file system at `path`."""
    return any(line.split()[1] == path and line.split()[2] != "autofs" for line in mounts.splitlines())


def array_trouble(array: str, devices: int, block: Path) -> list[str]:
    """Return what is wrong with the array whose directory in /sys/block is `block`."""
    if not (block / "md").is_dir():
        return [f"array {array} does not run: mdadm --assemble --scan, and look at dmesg for its disks"]
    state = (block / "md/array_state").read_text().strip()
    present = sum((entry / "block").exists() for entry in (block / "md").glob("rd*"))
    degraded = block / "md/degraded"
    found = []
    if state not in HEALTHY:
        found.append(
            f"array {array} is {state}: sectors on it are lost, look at dmesg and mdadm --detail /dev/md/{array}"
        )
    if present < devices:
        found.append(f"array {array} has {present} of {devices} disks")
    if degraded.exists() and degraded.read_text().strip() != "0":
        found.append(f"array {array} lacks {degraded.read_text().strip()} disks: mdadm --detail /dev/md/{array}")
    return found


def path_trouble(path: str) -> list[str]:
    """Return what is wrong with the file system at `path`."""
    if not mounted(path, Path("/proc/self/mounts").read_text(encoding="utf-8")):
        return [f"{path} is not mounted: systemctl status for its mount unit"]
    try:
        os.statvfs(path)
        os.listdir(path)  # noqa: PTH208 - a shut down XFS answers statvfs
    except OSError as error:
        return [f"{path} answers {error.strerror}: the file system has shut down, look at dmesg"]
    return []


def main(arguments: Sequence[str]) -> int:
    """Print what is wrong."""
    path, found = arguments[0], []
    if len(arguments) == 3:
        name = Path(os.path.realpath(f"/dev/md/{arguments[1]}")).name
        found += array_trouble(arguments[1], int(arguments[2]), Path("/sys/block") / name)
    found += path_trouble(path)
    for text in found:
        print(f"<2>scratch: {text}", flush=True)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
