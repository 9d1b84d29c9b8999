#!/usr/bin/python
"""Export directories over NFS, and bring the running nfsd to what its configuration says without stopping clients."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sealyard_host.files import replace
from ansible.module_utils.sealyard_host.mounts import Mounted, visible
from ansible.module_utils.sealyard_host.nfs import export_lines
from ansible.module_utils.sealyard_host.programs import run

DOCUMENTATION = r"""
module: nfs_server
short_description: Exports, and the running nfsd
description:
  - Writes one file of exports, each of a directory that is mounted from a data disk. A directory of the system disk, as
    an unmounted mount point is one, is refused. What was exported before stays until module nfs_leftovers retires it.
  - Reads C(/proc/fs/nfsd) and repairs what can be repaired while clients work (the RDMA listener, the threads). What
    needs a restart is done where no client is connected, or with O(allow_restart).
options:
  host: {type: str, required: true, description: 'Inventory name of the host, for messages.'}
  exports:
    description: Directories to export.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {type: path, required: true, description: The directory.}
      networks: {type: list, elements: str, required: true, description: 'Who may mount it, in CIDR.'}
      sync: {type: bool, default: true, description: Answer a write only when it is on the disk.}
  squash: {type: str, default: root_squash, description: 'How users are mapped, in the words of exports(5).'}
  file: {type: path, default: /etc/exports.d/sealyard.exports, description: The file of exports.}
  rdma_port: {type: int, default: 20049, description: Port of the RDMA listener.}
  threads: {type: int, required: true, description: Threads of nfsd.}
  lease_sec: {type: int, required: true, description: Lease and grace time of NFSv4 in seconds.}
  tcp_address:
    description: The one address on which TCP may listen; empty for every address.
    type: str
    default: ''
  versions: {type: list, elements: str, required: true, description: 'NFS versions to serve, such as 4.2.'}
  allow_restart: {type: bool, default: false, description: Restart nfsd although clients are connected.}
author: [Sealyard]
"""

EXAMPLES = r"""
- name: Export the scratch to the RDMA network
  nfs_server:
    host: "{{ inventory_hostname }}"
    exports: [{path: /sealer, networks: [10.40.0.0/24]}]
    threads: 64
    lease_sec: 45
    versions: ["4.1", "4.2"]
    tcp_address: 127.0.0.1
"""

RETURN = r"""
steps: {description: 'What was done, or would be in check mode', type: list, elements: str, returned: always}
"""

PROC = Path("/proc/fs/nfsd")
ETAB = Path("/var/lib/nfs/etab")
MODULE_PROBE = ["modprobe", "rpcrdma"]
LISTEN = "0A"
NFS_PORT = 2049


class Refused(Exception):
    """Nothing was changed that clients feel; the text names host, path and remedy."""


@dataclass(frozen=True)
class Running:
    """What nfsd does now; `threads` 0 where it does not run."""

    threads: int
    ports: tuple[str, ...]
    versions: tuple[str, ...]
    lease_sec: int
    grace_sec: int
    tcp_addresses: tuple[str, ...]
    clients: int


def mount_of(path: str, mounts: Sequence[Mounted]) -> Mounted:
    """Return the mount that holds `path`."""
    inside = [m for m in mounts if path == m.path or path.startswith(m.path.rstrip("/") + "/")]
    return max(inside, key=lambda m: len(m.path))


def disks_under(device: str, root: Path = Path("/sys")) -> set[str]:
    """Return the names of the disks below a block device `MAJOR:MINOR`, through RAID, LVM and partitions."""
    block = root / "dev/block" / device
    if not block.exists():
        return set()
    real = Path(os.path.realpath(block))
    slaves = sorted((real / "slaves").iterdir()) if (real / "slaves").is_dir() else []
    if slaves:
        return {disk for slave in slaves for disk in disks_under((slave / "dev").read_text().strip(), root)}
    return {real.parent.name if (real / "partition").exists() else real.name}


def judge(exports: Sequence[Mapping[str, Any]], mounts: Sequence[Mounted], root: Path = Path("/sys")) -> list[str]:
    """Return one sentence for each export that must not be made."""
    system = {
        disk for path in ("/", "/usr", "/var", "/boot") for disk in disks_under(mount_of(path, mounts).device, root)
    }
    found = []
    for export in exports:
        path = export["path"]
        holder = mount_of(path, mounts)
        if holder.path == "/":
            found.append(f"{path} is not mounted, so that it lies on the system disk; mount its data disk there")
        elif disks_under(holder.device, root) & system:
            disk = ", ".join(sorted(disks_under(holder.device, root) & system))
            found.append(f"{path} lies on the system disk {disk}; export a directory of a data disk")
        elif holder.kind.startswith("nfs"):
            found.append(f"{path} is itself mounted from {holder.source}; export it there alone")
        elif not export["networks"]:
            found.append(f"{path} would be open to nobody; give this host a sealing_rdma_address")
    return found


def render(exports: Sequence[Mapping[str, Any]], mounts: Sequence[Mounted], squash: str) -> str:
    """Return the file of exports: each entry refuses itself while its data disk is not mounted (mp)."""
    lines = ["# Written by Sealyard, role nfs_rdma_server."]
    for export in sorted(exports, key=lambda one: str(one["path"])):
        holder = mount_of(export["path"], mounts).path
        guard = "mp" if holder == export["path"] else f"mp={holder}"
        words = f"rw,{'sync' if export['sync'] else 'async'},no_subtree_check,{squash},{guard}"
        path = f'"{export["path"]}"' if " " in export["path"] else export["path"]
        lines.append(" ".join([path, *(f"{network}({words})" for network in sorted(export["networks"]))]))
    return "\n".join(lines) + "\n"


def left_over(before: str, text: str) -> list[str]:
    """Return the lines that are not wanted any more; module nfs_leftovers retires them once nobody uses them."""
    wanted = export_lines(text)
    return [line for path, line in export_lines(before).items() if path not in wanted]


def exported(etab: str) -> set[tuple[str, str, bool]]:
    """Return (path, network, sync) of every line of etab, which says what the kernel is told."""
    found = set()
    for line in etab.splitlines():
        path, _, rest = line.partition("\t")
        network, _, words = rest.partition("(")
        if network:
            found.add((path, network, "async" not in words.rstrip(")").split(",")))
    return found


def wanted_exports(exports: Sequence[Mapping[str, Any]]) -> set[tuple[str, str, bool]]:
    """Return the exports in the form of `exported`."""
    return {(one["path"], network, bool(one["sync"])) for one in exports for network in one["networks"]}


def tcp_listeners(table: str, six: bool) -> list[str]:
    """Return the addresses on which /proc/net/tcp or tcp6 says that NFS listens: "127.0.0.1", "0.0.0.0", "::" …"""
    found = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 4 or fields[3] != LISTEN:
            continue
        address, _, port = fields[1].partition(":")
        if int(port, 16) == NFS_PORT:
            found.append(_address(address, six))
    return found


def _address(digits: str, six: bool) -> str:
    if six:
        return "::" if not digits.strip("0") else f"ipv6 {digits}"
    return ".".join(str(int(digits[at : at + 2], 16)) for at in (6, 4, 2, 0))


def read_running(proc: Path = PROC, net: Path = Path("/proc/net")) -> Running:
    """Return what nfsd does; all empty where it was never started."""

    def text(name: str) -> str:
        try:
            return (proc / name).read_text(encoding="utf-8").strip()
        except OSError:
            return ""

    addresses = [
        address
        for name in ("tcp", "tcp6")
        if (net / name).exists()
        for address in tcp_listeners((net / name).read_text(), name == "tcp6")
    ]
    clients = proc / "clients"
    return Running(
        threads=int(text("threads") or 0),
        ports=tuple(line for line in text("portlist").splitlines() if line),
        versions=tuple(word[1:] for word in text("versions").split() if word.startswith("+")),
        lease_sec=int(text("nfsv4leasetime") or 0),
        grace_sec=int(text("nfsv4gracetime") or 0),
        tcp_addresses=tuple(addresses),
        clients=len(list(clients.iterdir())) if clients.is_dir() else 0,
    )


def restart_reasons(running: Running, options: Mapping[str, Any]) -> list[str]:
    """Return what only a restart brings: versions, lease and the address of TCP."""
    found = []
    serves = sorted(version for version in running.versions if "." in version or version in ("2", "3"))
    if serves != sorted(options["versions"]):
        found.append(
            f"it serves NFS {', '.join(serves) or 'nothing'} and should serve {', '.join(options['versions'])}"
        )
    if {running.lease_sec, running.grace_sec} != {options["lease_sec"]}:
        found.append(f"its lease is {running.lease_sec} s and its grace {running.grace_sec} s, both should be "
                     f"{options['lease_sec']} s")  # fmt: skip
    open_to = [address for address in running.tcp_addresses if address != options["tcp_address"]]
    if options["tcp_address"] and open_to:
        found.append(f"TCP listens on {', '.join(open_to)}, so that a client could fall back to it")
    if not options["tcp_address"] and not {"0.0.0.0", "::"} & set(running.tcp_addresses):
        found.append("TCP is not open, and the inventory wants it for some client")
    return found


def reconcile(options: Mapping[str, Any], check: bool) -> list[str]:
    """Start, repair or restart nfsd; returns the steps. Refused where clients would feel it and nobody agreed."""
    running, steps = read_running(), list[str]()
    listener = f"rdma {options['rdma_port']}"
    if not running.threads:
        steps.append("start nfsd")
        if not check:
            run("systemctl", "start", "nfs-server.service")
        return steps
    reasons = restart_reasons(running, options)
    if reasons and running.clients and not options["allow_restart"]:
        told = "; ".join(reasons)
        text = (
            f"{options['host']}: nfsd needs a restart and {running.clients} clients are connected: {told}. A restart "
            "stalls them for some seconds. Choose when: -e nfs_rdma_server_allow_restart=true"
        )
        if not check:
            raise Refused(text)
        return [text]
    if reasons:
        steps.append(f"restart nfsd: {'; '.join(reasons)}")
        if not check:
            run("systemctl", "restart", "nfs-server.service")
        return steps
    if listener not in running.ports:
        steps.append(f"make nfsd listen on {listener}")
        if not check:
            # Started without the module, nfsd runs on TCP alone and says so only in the journal.
            run(*MODULE_PROBE)
            _write(PROC / "portlist", f"{listener}\n")
    if running.threads != options["threads"]:
        steps.append(f"{options['threads']} threads for nfsd in place of {running.threads}")
        if not check:
            _write(PROC / "threads", f"{options['threads']}\n")
    return steps


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Refused(
            f"{path} does not take {text.strip()!r}: {error.strerror}; see journalctl -u nfs-server"
        ) from error


def export(options: Mapping[str, Any], check: bool) -> tuple[list[str], dict[str, str] | None]:
    """Write the file of exports and make the kernel follow it; returns steps and the file's difference."""
    mounts = visible(Path("/proc/self/mountinfo").read_text(encoding="utf-8"))
    wrong = judge(options["exports"], mounts)
    if wrong and not check:
        raise Refused("\n".join(f"{options['host']}: {text}" for text in wrong))
    if wrong:
        return [f"export nothing yet: {text}" for text in wrong], None
    file, text = Path(options["file"]), render(options["exports"], mounts, options["squash"])
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    text += "".join(f"{line}\n" for line in left_over(before, text))
    known = exported(ETAB.read_text(encoding="utf-8")) if ETAB.exists() else set()
    stale = not wanted_exports(options["exports"]) <= known
    steps = [f"write {file}"] if before != text else []
    if before != text and not check:
        file.parent.mkdir(parents=True, exist_ok=True)
        replace(file, text, 0o644)
    if before != text or stale:
        steps.append("exportfs -r")
        if not check:
            run("exportfs", "-r")
    shown = {"before_header": str(file), "before": before, "after_header": str(file), "after": text}
    return steps, shown if before != text else None


def prove(options: Mapping[str, Any]) -> None:
    """Refused unless nfsd listens on RDMA and the kernel was told of every export."""
    running = read_running()
    if f"rdma {options['rdma_port']}" not in running.ports:
        raise Refused(
            f"{options['host']}: nfsd does not listen on RDMA, it would serve TCP alone ({', '.join(running.ports)}). "
            "Look for 'Unable to request RDMA services' in journalctl -u nfs-server"
        )
    lacking = wanted_exports(options["exports"]) - exported(ETAB.read_text(encoding="utf-8"))
    if lacking:
        told = ", ".join(sorted(path for path, _, _ in lacking))
        raise Refused(f"{options['host']}: {told} is not exported; exportfs -v, and journalctl -u nfs-server")


def main() -> None:
    """Module entry."""
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str", "required": True},
            "exports": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"type": "path", "required": True},
                    "networks": {"type": "list", "elements": "str", "required": True},
                    "sync": {"type": "bool", "default": True},
                },
            },
            "squash": {"type": "str", "default": "root_squash"},
            "file": {"type": "path", "default": "/etc/exports.d/sealyard.exports"},
            "rdma_port": {"type": "int", "default": 20049},
            "threads": {"type": "int", "required": True},
            "lease_sec": {"type": "int", "required": True},
            "tcp_address": {"type": "str", "default": ""},
            "versions": {"type": "list", "elements": "str", "required": True},
            "allow_restart": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    options = module.params
    try:
        steps, shown = export(options, module.check_mode)
        steps += reconcile(options, module.check_mode)
        if not module.check_mode:
            prove(options)
    except (Refused, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(steps), steps=steps, diff=shown or {})


if __name__ == "__main__":
    main()
