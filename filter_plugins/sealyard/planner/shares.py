"""Who exports what over NFS, to whom, and who mounts it where."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sealyard.hardware.machine import read_machine
from sealyard.plan.types import ExportPlan, MountPlan, WorkerPlan
from sealyard.planner.document import Document, Export, Host, Mount
from sealyard.planner.grouping import Group
from sealyard.problem import Problem
from sealyard.stacks import Stack

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


@dataclass(frozen=True, slots=True)
class Shares:
    """By host: what it exports and mounts, threads of its nfsd, and the speed of its RDMA link in bits per second."""

    exports: Mapping[str, Sequence[ExportPlan]]
    mounts: Mapping[str, Sequence[MountPlan]]
    threads: Mapping[str, int]
    links: Mapping[str, int]


def plan_shares(
    doc: Document,
    stack: Stack,
    groups: Sequence[Group],
    workers: Mapping[str, Sequence[WorkerPlan]],
    warnings: list[str],
) -> Shares:
    """Return who exports what to whom. What cannot work is added to the document's errors."""
    exports = {host.name: {export.path: export for export in host.exports} for host in doc.hosts.values()}
    mounts = {host.name: list(host.mounts) for host in doc.hosts.values()}
    _add_group_shares(doc, stack, groups, workers, exports, mounts)
    if stack.refuses_shared_scratch:
        _refuse_shared_scratch(doc, stack.refuses_shared_scratch)
    found_mounts: dict[str, list[MountPlan]] = {}
    for name, own in mounts.items():
        found_mounts[name] = [
            MountPlan(
                server=mount.server,
                address=_mount_address(doc.hosts[mount.server], mount.transport),
                source=mount.source,
                path=mount.path,
                transport=mount.transport,
                read_only=mount.read_only,
                scratch=mount.scratch,
            )
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
    found_exports = {
        name: [
            _export(doc, name, export, clients.get((name, export.path), {}), warnings) for export in offered.values()
        ]
        for name, offered in exports.items()
    }
    _judge_addresses(doc, mounts, exports)
    return Shares(
        exports=found_exports,
        mounts=found_mounts,
        threads={name: nfs_threads(doc.hosts[name].hardware) for name, offered in exports.items() if offered},
        links={name: link for name, host in doc.hosts.items() if (link := link_bits_per_sec(host))},
    )


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


def _export(doc: Document, name: str, export: Export, clients: Mapping[str, Mount], warnings: list[str]) -> ExportPlan:
    if not clients:
        warnings.append(f"{name}: exports {export.path}, which no host mounts")
    network = network_of(doc.hosts[name].rdma_address)
    networks = {str(network)} if network else set()
    for client, mount in clients.items():
        own = network_of(doc.hosts[client].rdma_address)
        address = doc.hosts[client].address
        if mount.transport == "tcp" and (network is None or own != network) and address:
            networks.add(f"{address}/{128 if ':' in address else 32}")
    return ExportPlan(
        path=export.path,
        clients=tuple(clients),
        networks=tuple(sorted(networks)),
        transports=tuple(sorted({mount.transport for mount in clients.values()})) or ("rdma",),
        sync=export.sync,
    )


def _add_group_shares(
    doc: Document,
    stack: Stack,
    groups: Sequence[Group],
    workers: Mapping[str, Sequence[WorkerPlan]],
    exports: dict[str, dict[str, Export]],
    mounts: dict[str, list[Mount]],
) -> None:
    """What the stack itself needs shared inside a group, at the same place on every host of it."""
    addresses = {host.name: host.address for host in doc.hosts.values()}
    for group in groups:
        if not group.hosts:
            continue
        servers = [host for host in group.hosts if any(worker.does("PC1") for worker in workers[host])]
        scratch = doc.hosts[group.hosts[0]].scratch_path
        for share in stack.group_shares(sorted(group.hosts), servers, addresses, scratch):
            exports[share.server].setdefault(share.path, Export(share.path))
            for client in share.clients:
                transport = doc.hosts[client].mount_transport
                mounts[client].append(Mount(share.server, share.path, share.path, transport, False, False))


def _refuse_shared_scratch(doc: Document, why: str) -> None:
    for host in doc.hosts.values():
        for index, mount in enumerate(host.mounts):
            if mount.scratch and host.tasks:
                place = f"hosts.{host.name}.mounts[{index}]"
                doc.errors.append(Problem(place, mount.path, why, "sealing_stack: lotus, or leave the mount out"))


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


def _address_error(host: Host, problem: str) -> Problem:
    missing = network_of(host.rdma_address) is None
    return Problem(
        path=f"hosts.{host.name}.rdma_address",
        value=host.rdma_address,
        problem=f"is no address with its prefix, {problem}" if missing else f"is in another network, {problem}",
        remedy="sealing_rdma_address: with the host's address in the RDMA network and its prefix, as 10.40.0.21/24",
    )
