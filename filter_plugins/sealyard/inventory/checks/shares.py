"""NFS: what hosts export, what they mount, and the addresses they do it over."""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from sealyard.problem import Problem
from sealyard.variables.inventory import Inventory, Plan, problem

SYSTEM_TREES = (
    *("/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc"),
    *("/root", "/run", "/sbin", "/sys", "/tmp", "/usr"),
)
"""No data disk is mounted in one of these."""
SYSTEM_DIRECTORIES = ("/", "/home", "/mnt", "/opt", "/srv", "/var")
"""A data disk may be mounted below one of these, not on it."""


def check_exports(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """An export is the mount point of a data disk, given once and not itself another host's."""
    for host in inventory.hostvars:
        mounted = {_path(one, "path"): str(one.get("server")) for one in _entries(inventory, host, "sealing_mounts")}
        seen: set[str] = set()
        for index, one in enumerate(_entries(inventory, host, "sealing_exports")):
            path, where = _path(one, "path"), f"sealing_exports[{index}].path"
            if not path:
                continue  # check_variables has said so
            disk = _system_disk(path, inventory, host)
            if disk is not None:
                text = f"lies on the system disk{disk}: others could fill it, and the host would stop"
                yield problem(host, where, path, text, "the mount point of a data disk, such as /sealer")
            elif path in seen:
                yield problem(host, where, path, "is exported twice by this host", "one entry for each directory")
            elif path in mounted:
                text = f"is itself mounted from {mounted[path]}, and NFS is not given on"
                yield problem(host, where, path, text, f"export it on {mounted[path]} alone, and mount it from there")
            seen.add(path)


def check_mounts(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """A mount needs a host that exports it and a place of its own."""
    exports = {
        host: [_path(one, "path") for one in _entries(inventory, host, "sealing_exports")]
        for host in inventory.hostvars
    }
    for host in inventory.hostvars:
        used: dict[str, str] = {}
        transports: dict[str, str] = {}
        default = inventory.text(host, "sealing_mount_transport", "rdma")
        for index, one in enumerate(_entries(inventory, host, "sealing_mounts")):
            path, server = _path(one, "path"), one.get("server")
            where = f"sealing_mounts[{index}]"
            if not path or not isinstance(server, str):
                continue  # check_variables has said so
            source = _path(one, "source") or path
            yield from _server_problem(host, where, server, source, exports)
            transport = str(one.get("transport") or default)
            if _is_system(path):
                yield problem(host, f"{where}.path", path, "belongs to the system", "a directory such as /sealer")
            elif path in used:
                text = f"is already {used[path]}, and one would hide the other"
                yield problem(host, f"{where}.path", path, text, "a directory of its own")
            elif transports.setdefault(server, transport) != transport:
                text = f"mounts {server} over RDMA and over TCP: the kernel would carry both over TCP"
                remedy = f"transport: {transports[server]} for all mounts of {server}"
                yield problem(host, f"{where}.transport", transport, text, remedy)
            elif one.get("read_only") is True and one.get("scratch") is True:
                text = "is read-only, and sectors are to be sealed there"
                yield problem(host, f"{where}.read_only", "true", text, "read_only: false, or scratch: false")
            used.setdefault(path, f"the mount of {server}:{source}")


def check_rdma_addresses(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """Exports are open to the RDMA network, so that the prefix matters; no two hosts have one address."""
    owner: dict[str, str] = {}
    for host in inventory.hostvars:
        text = inventory.text(host, "sealing_rdma_address")
        if not text:
            continue
        remedy = "sealing_rdma_address: with the host's address and its prefix, such as 10.40.0.21/24"
        wrong = _interface_problem(text)
        address = text.split("/")[0]
        if wrong:
            yield problem(host, "sealing_rdma_address", text, wrong, remedy)
        elif address in owner:
            yield problem(host, "sealing_rdma_address", text, f"is also the address of {owner[address]}", remedy)
        owner.setdefault(address, host)


def _entries(inventory: Inventory, host: str, name: str) -> list[Mapping[str, Any]]:
    found = inventory.value(host, name, ())
    return [one if isinstance(one, Mapping) else {} for one in found] if isinstance(found, list | tuple) else []


def _path(one: Mapping[str, Any], key: str) -> str:
    value = one.get(key)
    return (value.rstrip("/") or "/") if isinstance(value, str) and value else ""


def _is_system(path: str) -> bool:
    here = PurePosixPath(path)
    trees = {PurePosixPath(tree) for tree in SYSTEM_TREES}
    return not here.is_absolute() or path in SYSTEM_DIRECTORIES or not trees.isdisjoint({here, *here.parents})


def _system_disk(path: str, inventory: Inventory, host: str) -> str | None:
    """Return which system disk holds `path`, as a text to append ("" where only the path says so); None for no one."""
    if _is_system(path):
        return ""
    hardware = inventory.found.get(host) or inventory.value(host, "sealing_hardware")
    disks = hardware.get("disks") if isinstance(hardware, Mapping) else None
    here = PurePosixPath(path)
    holders = [
        (len(PurePosixPath(mount).parts), bool(disk.get("system")), str(disk.get("name")))
        for disk in disks or ()
        if isinstance(disk, Mapping)
        for mount in disk.get("mounts") or ()
        # What lies on / today may be a mount point after this run; the role looks again.
        if mount != "/" and PurePosixPath(mount) in (here, *here.parents)
    ]
    _, system, name = max(holders, default=(0, False, ""))
    return f" {name}" if system else None


def _server_problem(
    host: str, where: str, server: str, source: str, exports: Mapping[str, list[str]]
) -> Iterator[Problem]:
    if server not in exports:
        near = difflib.get_close_matches(server, exports, n=1, cutoff=0.6)
        remedy = f"server: {near[0]}" if near else "server: with the inventory name of the host that exports it"
        yield problem(host, f"{where}.server", server, "is no host of the inventory", remedy)
    elif server == host:
        yield problem(host, f"{where}.server", server, "is this host itself", f"leave it out: {source} is here")
    elif not exports[server]:
        text = "exports nothing"
        remedy = f"sealing_exports: [{{path: {source}}}] for {server}, or leave the mount out"
        yield problem(host, f"{where}.server", server, text, remedy)
    elif source not in exports[server]:
        text = f"is not exported by {server}, which exports {', '.join(exports[server])}"
        yield problem(host, f"{where}.source", source, text, f"source: {exports[server][0]}")


def _interface_problem(text: str) -> str | None:
    try:
        found = ipaddress.ip_interface(text)
    except ValueError:
        return "is no IP address with a prefix"
    if "/" not in text:
        return "has no prefix, and exports are open to the network that it tells"
    network = found.network
    if network.num_addresses > 2 and found.ip in (network.network_address, network.broadcast_address):
        return f"is not a host's address in {network}"
    return None
