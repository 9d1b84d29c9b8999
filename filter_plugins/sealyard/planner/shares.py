"""Who exports what over NFS, who mounts it where, and which sealing paths hosts share that way.

A mounted directory that holds a scratch path is one sealing path with one ID on every host that opens it, so that a
sector is where its PC2 runs and nothing is fetched (lotus StorageFindSector looks for local paths first).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from sealyard.hardware.machine import read_machine
from sealyard.planner.document import Document, Error, Export, Host, Mount
from sealyard.stacks.forks import group_shares
from sealyard.stacks.lotus import path_id, sealing_path, store_path

if TYPE_CHECKING:
    from sealyard.planner.grouping import Group

THREADS_PER_PORT: Final = 64
"""nfsd threads for one 100 Gbit/s port; more contend for the IOVA allocator (kernel bugzilla 219865)."""
FEWEST_THREADS: Final = 8
PORT_BITS_PER_SEC: Final = 100_000_000_000


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def scratch_mount(host: Host) -> Mount | None:
    """The mount that holds the host's scratch path, if another host serves it."""
    return next((m for m in host.mounts if m.scratch and m.path == host.scratch_path), None)


def mounted_scratch_bytes(doc: Document) -> dict[str, int | None]:
    """Scratch of each host that mounts its own: what the server has, shared out evenly among the PC1 hosts on it.

    PC2 hosts count nothing: what they hold is already counted where PC1 left it. None: nobody knows.
    """
    sharers: dict[tuple[str, str], list[str]] = {}
    for host in doc.hosts.values():
        mount = scratch_mount(host)
        if mount is not None and host.tasks:
            sharers.setdefault((mount.server, mount.source), []).append(host.name)
    found: dict[str, int | None] = {}
    for (server, source), names in sharers.items():
        owner = doc.hosts.get(server)
        have = owner.scratch_bytes if owner else None
        if have is None and owner is not None and owner.hardware is not None:
            have = read_machine(owner.hardware).scratch_bytes
        writers = [name for name in names if "PC1" in doc.hosts[name].tasks]
        own = int(owner is not None and "PC1" in owner.tasks and owner.scratch_path == source)
        for name in names:
            found[name] = None if have is None or name not in writers else have // (len(writers) + own)
    return found


def add_shares(doc: Document, groups: list[Group], hosts: dict[str, Any], warnings: list[str]) -> None:
    """Write exports, mounts and shared paths into the hosts' slices. What cannot work is added to the errors."""
    exports = {host.name: {export.path: export for export in host.exports} for host in doc.hosts.values()}
    mounts = {host.name: list(host.mounts) for host in doc.hosts.values()}
    if doc.settings.stack == "force_remote_worker":
        _add_group_shares(doc, groups, hosts, exports, mounts)
    if doc.settings.stack == "lotus_distributed":
        _refuse_shared_scratch(doc)
    for name, own in mounts.items():
        hosts[name]["mounts"] = [
            {
                "server": mount.server,
                "address": _mount_address(doc.hosts[mount.server], mount.transport),
                "source": mount.source,
                "path": mount.path,
                "transport": mount.transport,
                "read_only": mount.read_only,
                "scratch": mount.scratch,
            }
            for mount in own
            if mount.source in exports.get(mount.server, {}) and mount.server != name
        ]
        if any(mount.transport == "tcp" for mount in own):
            where = ", ".join(mount.path for mount in own if mount.transport == "tcp")
            warnings.append(f"{name}: {where} goes over TCP and the CPU, because the inventory says so")
    clients: dict[tuple[str, str], dict[str, Mount]] = {}
    for name, own in sorted(mounts.items()):
        for mount in own:
            if mount.server != name:
                clients.setdefault((mount.server, mount.source), {})[name] = mount
    for name, offered in exports.items():
        hosts[name]["exports"] = [
            _export(doc, name, export, clients.get((name, export.path), {}), warnings) for export in offered.values()
        ]
        if offered:
            hosts[name]["nfs_threads"] = nfs_threads(doc.hosts[name].hardware)
        if link := link_bits_per_sec(doc.hosts[name]):
            hosts[name]["link_bits_per_sec"] = link
    _judge_addresses(doc, mounts, exports)
    if doc.settings.stack == "lotus":
        _share_paths(doc, hosts)


def nfs_threads(hardware: Mapping[str, Any] | None) -> int:
    """Threads of nfsd: 64 for each 100 Gbit/s port, at most twice the cores, at least 8. Unknown hardware gets 64."""
    if hardware is None:
        return THREADS_PER_PORT
    machine = read_machine(hardware)
    rates = [device.get("rate_bits_per_sec") or 0 for device in hardware.get("rdma") or ()]
    ports = max(1, round(sum(rates) / PORT_BITS_PER_SEC))
    return max(FEWEST_THREADS, min(THREADS_PER_PORT * ports, 2 * len(machine.cores)))


def link_bits_per_sec(host: Host) -> int:
    """Speed that the host's RDMA card is built for, of several the slowest; 0 where nobody knows.

    What a card has agreed on with its switch may be less, and is then to be found out and not to be believed.
    """
    if network_of(host.rdma_address) is None or host.hardware is None:
        return 0
    return min(
        (int(rate) for card in host.hardware.get("rdma") or () if (rate := card.get("rate_bits_per_sec"))), default=0
    )


def network_of(address: str | None) -> Network | None:
    """The network of an address with its prefix, such as 10.40.0.21/24; None where it is none."""
    try:
        return ipaddress.ip_interface(address).network if address and "/" in address else None
    except ValueError:
        return None


def _address(interface: str | None) -> str | None:
    return interface.split("/")[0] if interface else None


def _mount_address(server: Host, transport: str) -> str | None:
    """Over RDMA the RDMA address; TCP takes it too where there is one, for it is the fast network."""
    address = _address(server.rdma_address)
    return address if address or transport == "rdma" else server.address


def _export(
    doc: Document, name: str, export: Export, clients: Mapping[str, Mount], warnings: list[str]
) -> dict[str, Any]:
    if not clients:
        warnings.append(f"{name}: exports {export.path}, which no host mounts")
    network = network_of(doc.hosts[name].rdma_address)
    networks = {str(network)} if network else set()
    for client, mount in clients.items():
        own = network_of(doc.hosts[client].rdma_address)
        address = doc.hosts[client].address
        if mount.transport == "tcp" and (network is None or own != network) and address:
            networks.add(f"{address}/{128 if ':' in address else 32}")
    return {
        "path": export.path,
        "clients": list(clients),
        "networks": sorted(networks),
        "transports": sorted({mount.transport for mount in clients.values()}) or ["rdma"],
        "sync": export.sync,
    }


def _add_group_shares(
    doc: Document,
    groups: list[Group],
    hosts: Mapping[str, Any],
    exports: dict[str, dict[str, Export]],
    mounts: dict[str, list[Mount]],
) -> None:
    """The tree of force_remote_worker: PC1's nfs/ADDRESS at the same place on every host of its group."""
    addresses = {host.name: host.address for host in doc.hosts.values()}
    for group in groups:
        servers = [h for h in group.hosts if any("PC1" in w["tasks"] for w in hosts[h]["workers"])]
        path = doc.hosts[group.hosts[0]].scratch_path if group.hosts else "/sealer"
        offered, wanted = group_shares(sorted(group.hosts), servers, addresses, path)
        for server, found in offered.items():
            for one in found:
                exports[server].setdefault(one["path"], Export(one["path"]))
        for client, found in wanted.items():
            transport = doc.hosts[client].mount_transport
            mounts[client] += [Mount(m["server"], m["source"], m["path"], transport, False, False) for m in found]


def _refuse_shared_scratch(doc: Document) -> None:
    for host in doc.hosts.values():
        for index, mount in enumerate(host.mounts):
            if mount.scratch and host.tasks:
                doc.errors.append(
                    {
                        "path": f"hosts.{host.name}.mounts[{index}]",
                        "value": mount.path,
                        "problem": "is another host's scratch, and lotus_distributed keeps each worker's path apart",
                        "remedy": "sealing_stack: lotus, or leave the mount out",
                    }
                )


def _judge_addresses(
    doc: Document, mounts: Mapping[str, list[Mount]], exports: Mapping[str, Mapping[str, Export]]
) -> None:
    """RDMA needs an address in one RDMA network at both ends; each host without one is one error."""
    told: set[str] = set()

    def tell(host: str, problem: str) -> None:
        if host not in told:
            told.add(host)
            doc.errors.append(_address_error(doc.hosts[host], problem))

    pairs = [
        (client, mount)
        for client, own in mounts.items()
        for mount in own
        if mount.transport == "rdma" and mount.source in exports.get(mount.server, {}) and mount.server != client
    ]
    for client, mount in pairs:
        if network_of(doc.hosts[mount.server].rdma_address) is None:
            tell(mount.server, f"and {mount.source} of this host is mounted over RDMA by {client}")
    for client, mount in pairs:
        mine, server = network_of(doc.hosts[client].rdma_address), network_of(doc.hosts[mount.server].rdma_address)
        if mine is None:
            tell(client, f"and this host mounts {mount.path} of {mount.server} over RDMA")
        elif server is not None and mine != server:
            tell(client, f"and {mount.server}, whose {mount.source} it mounts over RDMA, is in {server}")


def _address_error(host: Host, problem: str) -> Error:
    missing = network_of(host.rdma_address) is None
    return {
        "path": f"hosts.{host.name}.rdma_address",
        "value": host.rdma_address,
        "problem": f"is no address with its prefix, {problem}" if missing else f"is in another network, {problem}",
        "remedy": "sealing_rdma_address: with the host's address in the RDMA network and its prefix, as 10.40.0.21/24",
    }


# ---------------------------------------------------------------------------------------------------------------------
# Sealing paths that several hosts open


def _share_paths(doc: Document, hosts: dict[str, Any]) -> None:
    if not any(host.mounts for host in doc.hosts.values()):
        return
    actor = doc.settings.actor
    for name, slice_ in hosts.items():
        for mount in doc.hosts[name].mounts:
            if mount.scratch and mount.server in doc.hosts and mount.server != name:
                _open_mounted(actor, mount, slice_)
    openers: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for name, slice_ in hosts.items():
        for path in slice_["paths"]:
            if path["can_seal"]:
                openers.setdefault(path["id"], []).append((name, path))
    served = {path_id(actor, name, export.path): (name, export) for name in hosts for export in doc.hosts[name].exports}
    for id_, found in openers.items():
        if id_ in served and any(name != served[id_][0] for name, _ in found):
            _unite(doc, hosts, served[id_], found)
    for name in hosts:
        for export in doc.hosts[name].exports:
            _serve_stores(doc, hosts[name], name, export)


def _open_mounted(actor: str, mount: Mount, slice_: dict[str, Any]) -> None:
    """Let the host's sealing workers open the mounted path; it takes the place of a local one at the same path."""
    if not any({"PC1", "PC2"} & set(worker["tasks"]) for worker in slice_["workers"]):
        return
    path = sealing_path(actor, mount.server, mount.source, 0, slice_["group"], slice_["workers"])
    others = [one for one in slice_["paths"] if one["path"] != mount.path]
    slice_["paths"] = [{**path, "path": mount.path}, *others]


def _unite(
    doc: Document, hosts: dict[str, Any], served: tuple[str, Export], found: list[tuple[str, dict[str, Any]]]
) -> None:
    """One path has one sectorstore.json: whoever opens it agrees on it, and its server holds it too."""
    server, export = served
    groups = sorted({hosts[name]["group"] for name, _ in found if hosts[name]["group"]})
    if len(groups) > 1:
        doc.errors.append(
            {
                "path": f"hosts.{server}.exports",
                "value": export.path,
                "problem": f"is the scratch of groups {', '.join(groups)}: each would take the other's sectors",
                "remedy": f"sealing_worker_group: {groups[0]} on {', '.join(sorted(name for name, _ in found))}, "
                "or an export for each group",
            }
        )
    paths = [path for _, path in found]
    common = {
        key: sorted({group for path in paths for group in path[key] or ()}) or None for key in ("groups", "allow_to")
    }
    for path in paths:
        path.update(common, max_storage_bytes=0)
    if server not in {name for name, _ in found}:
        hosts[server]["paths"].append({**paths[0], "path": export.path, "workers": []})


def _serve_stores(doc: Document, slice_: dict[str, Any], server: str, export: Export) -> None:
    """An export that its clients hold for a long-term store carries that store's identity on the server."""
    for client in doc.hosts.values():
        for mount in client.mounts:
            for name, path in client.stores:
                known = {one["path"] for one in slice_["paths"]}
                if (mount.server, mount.source, mount.path) == (server, export.path, path) and export.path not in known:
                    slice_["paths"].append(store_path(doc.settings.actor, name, export.path, []))
