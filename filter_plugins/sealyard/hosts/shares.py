"""Filters of the storage roles: systemd mount units, and what a server writes into the directories it exports."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from sealyard.stacks import Stack

PLAIN = frozenset(string.ascii_letters + string.digits + ":_.")
GUARD = "/usr/local/lib/sealyard/nfs_transport.py"
UNITS = "/etc/systemd/system"
LATE = "nfs-exports-again.service"


def mount_unit(path: str) -> str:
    """Return the name that systemd demands of the unit of a mount point, such as `mnt-store.mount` for /mnt/store."""
    parts = [part for part in path.split("/") if part]
    return f"{'-'.join(_escaped(part, index == 0) for index, part in enumerate(parts)) or '-'}.mount"


def _escaped(part: str, first: bool) -> str:
    text = "".join(c if c in PLAIN else "".join(f"\\x{byte:02x}" for byte in c.encode()) for c in part)
    return f"\\x2e{text[1:]}" if first and text.startswith(".") else text


def nfs_options(mount: Mapping[str, Any], version: str, rdma_port: int) -> str:
    """Return the mount's options: hard, for with soft an outage leaves files of zeros that a close() reported in vain.

    `retry` is in minutes; the mount goes on trying for a server that boots later.
    """
    carried = f"proto=rdma,port={rdma_port}" if mount["transport"] == "rdma" else "proto=tcp"
    access = "ro" if mount["read_only"] else "rw"
    return f"{access},vers={version},{carried},hard,noatime,nodev,nosuid,_netdev,nofail,retry=100000"


def nfs_mount_files(
    mounts: Sequence[Mapping[str, Any]], version: str, rdma_port: int, template: str
) -> list[dict[str, Any]]:
    """Return the units of a host's mounts as the option `files` of module file_set."""
    return [
        {
            "path": _unit_path(mount["path"]),
            "template": template,
            "values": {
                "source": mount["source"],
                "server": mount["server"],
                "address": f"[{mount['address']}]" if ":" in mount["address"] else mount["address"],
                "path": mount["path"],
                "carrier": {"rdma": "RDMA", "tcp": "TCP"}[mount["transport"]],
                "options": nfs_options(mount, version, rdma_port),
            },
        }
        for mount in mounts
    ]


def nfs_mount_units(mounts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the units of a host's mounts as the option `units` of module unit_set."""
    return [{"name": mount_unit(mount["path"]), "files": [_unit_path(mount["path"])]} for mount in mounts]


def _unit_path(path: str) -> str:
    return f"{UNITS}/{mount_unit(path)}"


def nfs_guard(mounts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the command that proves how the mounts are carried."""
    return ["/usr/bin/python3", GUARD, *(f"{mount['path']}={mount['transport']}" for mount in mounts)]


def nfs_exports(host_plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the host's exports as the option `exports` of module nfs_server."""
    return [{key: export[key] for key in ("path", "networks", "sync")} for export in host_plan.get("exports", [])]


def _units_that_hold(paths: Sequence[str]) -> list[str]:
    """Return the units that may mount what holds `paths`: one of each path and of each directory above it."""
    places = {str(place) for path in paths for place in (PurePosixPath(path), *PurePosixPath(path).parents)}
    return [mount_unit(place) for place in sorted(places - {"/"})]


def nfs_disk_files(host_plan: Mapping[str, Any], templates: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return what makes nfsd wait for the data disks at boot, and look again at one that comes later, for `file_set`.

    A client that asks for a share whose disk is not mounted yet, as while XFS reads its log after a loss of power, is
    told that it is gone, and nfsd remembers that for 30 minutes (exports(5), option mp). `templates` are those of the
    units `late`, `server` and `mount`.
    """
    mounts = _units_that_hold([export["path"] for export in host_plan.get("exports", [])])
    values = {"mount_units": mounts, "late_unit": LATE}
    places = [("late", LATE), ("server", "nfs-server.service.d/90-sealyard.conf")]
    places += [("mount", f"{unit}.d/90-sealyard-nfs.conf") for unit in mounts]
    return [{"path": f"{UNITS}/{place}", "template": templates[kind], "values": values} for kind, place in places]


def nfs_users(
    hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]], server: str
) -> dict[str, list[str] | dict[str, list[str]]]:
    """Return who has mounted what of a server, as options `mounted_by` and `asked` of module nfs_leftovers.

    `hosts` that were not asked in this run (module nfs_leftovers, side client) count as unknown.
    """
    own = _addresses(hostvars[server])
    mounted_by: dict[str, list[str]] = {}
    asked: list[str] = []
    for host in hosts:
        said = (hostvars[host].get("nfs_rdma_client_leftovers") or {}).get("mounted")
        if said is None:
            continue
        asked += _addresses(hostvars[host])
        for source in said:
            address, _, path = source.partition(":/")
            if address in own:
                mounted_by.setdefault(f"/{path}", []).append(host)
    return {"mounted_by": mounted_by, "asked": sorted(asked)}


def _addresses(variables: Mapping[str, Any]) -> list[str]:
    names = ("sealing_rdma_address", "sealing_address", "ansible_host")
    return sorted({str(variables[name]).split("/", 1)[0] for name in names if variables.get(name)})


def host_plan_served_paths(host_plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the sector paths that lie on the host's exports: their server writes their identity.

    A root of another host is nobody here, so that it could not.
    """
    exports = {export["path"] for export in host_plan.get("exports", [])}
    return [path for path in host_plan.get("paths", []) if path["path"] in exports]


def host_plan_group_trees(host_plan: Mapping[str, Any], scratch_path: str, stack: Stack) -> list[dict[str, Any]]:
    """Return what the stack wants in the tree that a PC1 host exports, as `directories` of module file_set.

    The first entry refuses a scratch that is not mounted.
    """
    exports = [export["path"] for export in host_plan.get("exports", [])]
    trees = stack.group_trees(exports)
    if not trees:
        return []
    return [{"path": scratch_path, "mounted": True}, *({"path": path} for path in (*exports, *trees))]
