#!/usr/bin/python
"""Address and MTU of RDMA cards, through whoever owns the interface, with a rollback that needs no controller."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: rdma_interface
short_description: Give RDMA cards their address and MTU, or take it back
description:
  - Writes one file of whoever owns the interface (systemd-networkd, netplan or NetworkManager) and has it applied.
  - An interface whose file, addresses and MTU are right is not touched.
  - Before a change a timer is started on the host that restores the files of before; O(state=confirmed) stops it. A
    controller that loses the host cannot confirm, so the host comes back by itself. A host that boots before it was
    confirmed takes the change back at that boot.
  - A change that cuts a link in use (NFS mounts over it, NFS clients of it, running workers, this very connection) is
    refused without O(allow_disruption).
options:
  state:
    description: V(read) changes nothing; V(present) writes and applies; V(confirmed) keeps what V(present) did.
    type: str
    choices: [read, present, confirmed]
    default: present
  interfaces:
    description: The cards.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {type: str, default: '', description: Network interface; empty for the only one with an RDMA device.}
      address: {type: str, required: true, description: Address with prefix.}
      mtu: {type: int, default: 9000, description: Largest packet in bytes.}
  soft:
    description: Soft RoCE (rdma_rxe) on any interface, for labs.
    type: bool
    default: false
  firmware_minimum:
    description: Oldest firmware that is not reported, such as V(16.28.2006).
    type: str
    default: ''
  avoid_cpus:
    description: CPU lists that interrupts of the cards stay away from.
    type: list
    elements: str
    default: []
  allow_disruption:
    description: Change links in use too.
    type: bool
    default: false
  rollback_sec:
    description: Seconds after which what is not confirmed is taken back.
    type: int
    default: 120
author: [Sealyard]
"""

EXAMPLES = r"""
- name: Give the card its address
  rdma_interface:
    interfaces: [{name: enp65s0np0, address: 10.40.0.21/24}]
"""

RETURN = r"""
found:
  description: The cards as they were, with owner, RDMA device, firmware, NUMA node and CPUs for its interrupts.
  type: list
  elements: dict
  returned: state is not confirmed
problems:
  description: What makes a card unusable, in words, all at once. Only O(state=read) returns with problems.
  type: list
  elements: str
  returned: state is not confirmed
changes:
  description: What was done, or would be done.
  type: list
  elements: str
  returned: state is not confirmed
unconfirmed:
  description: Whether a rollback is waiting to be confirmed.
  type: bool
  returned: always
"""

SYS = Path("/sys")
KEPT = Path("/var/lib/sealyard/network-rollback")
"""Files of before, and the script that puts them back; gone once confirmed."""
ROLLBACK_UNIT = "sealyard-network-rollback"
UNITS = Path("/etc/systemd/system")
BOOT_UNIT = "sealyard-network-rollback-at-boot.service"
"""Does what the timer would have done, because a timer of systemd-run is gone after a boot."""
APPLY_LIMIT_SEC = 60
OWNERS = ("netplan", "networkmanager", "networkd")


class Refused(Exception):
    """The interface is not changed; the text says why and what to do."""


@dataclass(frozen=True)
class Wanted:
    """One card as it should be."""

    name: str
    address: str
    mtu: int


@dataclass(frozen=True)
class Found:
    """One card as it is. `irq_cpus` are the CPUs for its interrupts, `uses` what would be cut with it."""

    name: str
    mac: str
    mtu: int
    up: bool
    addresses: tuple[str, ...]
    owner: str
    rdma: str
    driver: str
    firmware: str
    numa_node: int
    irq_cpus: tuple[int, ...]
    uses: tuple[str, ...] = ()


@dataclass
class Report:
    """What is to be done to one card."""

    changes: list[str] = field(default_factory=list)
    cuts: list[str] = field(default_factory=list)


def cpu_list(text: str) -> set[int]:
    """CPUs of a list such as "0-3,8"; empty for an empty one."""
    found: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


def irq_cpus(local: set[int], avoid: set[int], online: set[int]) -> tuple[int, ...]:
    """CPUs for a card's interrupts: of its own node and not of PC1; else any not of PC1; else those of its node."""
    for choice in ((local & online) - avoid, online - avoid, local & online):
        if choice:
            return tuple(sorted(choice))
    return ()


def version(text: str) -> tuple[int, ...]:
    """Firmware version as numbers, for comparison: "16.28.2006 (MT_0000000008)" is (16, 28, 2006)."""
    return tuple(int(number) for number in re.findall(r"\d+", text.split("(")[0]))


def owner(
    name: str, netplan: Sequence[str], networkmanager: Mapping[str, str], networkd: bool, ifupdown: Sequence[str]
) -> str:
    """Who configures the interface: one of OWNERS, "ifupdown", or "" for nobody.

    `netplan` and `ifupdown` are the texts of their files, `networkmanager` maps devices to their state.
    """
    if any(re.search(rf"^\s*(iface|auto|allow-hotplug)\s+{re.escape(name)}(\s|$)", text, re.M) for text in ifupdown):
        return "ifupdown"
    if any(text.strip() for text in netplan):
        return "netplan"
    state = networkmanager.get(name, "unmanaged")
    # What networkd has configured, NetworkManager shows as its own too, and leaves alone.
    if state not in ("unmanaged", "") and not (networkd and state == "connected (externally)"):
        return "networkmanager"
    return "networkd" if networkd else ""


def network_file(kind: str, wanted: Wanted, mac: str) -> tuple[Path, str, int]:
    """Path, text and mode of the owner's file for one card.

    The address outlives a cable that is pulled for a moment: without it the GID and every queue pair would go.
    """
    head = "# Written by Sealyard, role rdma_nic.\n"
    name, address, mtu = wanted.name, wanted.address, wanted.mtu
    if kind == "netplan":
        text = (
            f"{head}network:\n  version: 2\n  ethernets:\n    {name}:\n      match: {{macaddress: '{mac}'}}\n"
            f"      set-name: {name}\n      dhcp4: false\n      addresses: [{address}]\n      mtu: {mtu}\n"
            "      ignore-carrier: true\n"
        )
        return Path(f"/etc/netplan/90-sealyard-{name}.yaml"), text, 0o600
    if kind == "networkmanager":
        text = (
            f"{head}[connection]\nid=sealyard-{name}\ntype=ethernet\ninterface-name={name}\nautoconnect-priority=100\n\n"
            f"[ethernet]\nmtu={mtu}\n\n[ipv4]\nmethod=manual\naddress1={address}\nnever-default=true\n\n"
            "[ipv6]\nmethod=link-local\n"
        )
        return Path(f"/etc/NetworkManager/system-connections/sealyard-{name}.nmconnection"), text, 0o600
    text = (
        f"{head}[Match]\nName={name}\n\n[Link]\nMTUBytes={mtu}\n\n"
        f"[Network]\nAddress={address}\nDHCP=no\nIPv6AcceptRA=no\nIgnoreCarrierLoss=yes\n"
    )
    return Path(f"/etc/systemd/network/05-sealyard-{name}.network"), text, 0o644


def former_files(kind: str, wanted: Wanted, mac: str) -> dict[str, Path]:
    """Our files for those who owned the interface before, by owner: two owners would pull it to and fro."""
    files = {other: network_file(other, wanted, mac)[0] for other in OWNERS if other != kind}
    return {other: path for other, path in files.items() if path.exists()}


def apply_commands(kind: str, name: str) -> list[list[str]]:
    """The commands by which the owner takes up its files."""
    if kind == "netplan":
        return [["netplan", "apply"]]
    if kind == "networkmanager":
        return [["nmcli", "connection", "reload"], ["nmcli", "connection", "up", f"sealyard-{name}"]]
    return [["networkctl", "reload"], ["networkctl", "reconfigure", name]]


def compare(wanted: Wanted, found: Found, file_differs: bool, former: Sequence[str] = ()) -> Report:
    """What must change; `cuts` are the changes that interrupt traffic of a link which has traffic."""
    report = Report()
    if found.mtu != wanted.mtu:
        report.changes.append(f"{wanted.name}: MTU {found.mtu} becomes {wanted.mtu}")
    if wanted.address not in found.addresses:
        before = ", ".join(found.addresses) or "none"
        report.changes.append(f"{wanted.name}: address {before} becomes {wanted.address}")
    if not found.up:
        report.changes.append(f"{wanted.name}: goes up")
    if former:
        report.changes.append(f"{wanted.name}: {found.owner} takes it over from {', '.join(former)}")
    if file_differs:
        report.changes.append(f"{wanted.name}: {found.owner} is told so for every boot")
    if report.changes and found.addresses:
        report.cuts = list(found.uses)
    return report


def restore_script(saved: Mapping[Path, Path | None], wanted: Sequence[Wanted], found: Sequence[Found]) -> str:
    """The script that puts files (None: there was none), addresses and MTU back as they were."""
    lines = [
        "#!/bin/bash",
        "# Written by Sealyard, role rdma_nic: run unless the change is confirmed in time.",
        "set -u",
    ]
    for path, copy in saved.items():
        target = shlex.quote(str(path))
        lines.append(f"rm -f {target}" if copy is None else f"cp --preserve=all {shlex.quote(str(copy))} {target}")
        lines += [f"sync {target}"] if copy else []
    for before in found:
        name = shlex.quote(before.name)
        commands = apply_commands(before.owner, before.name)
        if before.owner == "networkmanager":
            # The connection made by us is gone; the device takes up what it had.
            commands = [["nmcli", "connection", "reload"], ["nmcli", "device", "connect", before.name]]
        if before.owner != "networkd":
            commands = [["networkctl", "reload"], *commands]
        lines += [f"{shlex.join(command)} || true" for command in commands]
        lines.append(f"ip link set dev {name} mtu {before.mtu} || true")
        lines += [
            f"ip address del {shlex.quote(one.address)} dev {name} 2>/dev/null || true"
            for one in wanted
            if one.name == before.name and one.address not in before.addresses
        ]
        lines += [f"ip address replace {shlex.quote(one)} dev {name} || true" for one in before.addresses]
        lines.append(f"ip link set dev {name} {'up' if before.up else 'down'} || true")
    lines.append(shlex.join(["rm", "-f", *map(str, boot_files())]))
    lines.append(f"rm -rf {shlex.quote(str(KEPT))}")
    folders = sorted({str(path.parent) for path in (*saved, *boot_files(), KEPT)})
    lines.append(f"sync {shlex.join(folders)} 2>/dev/null || true")
    return "\n".join(lines) + "\n"


def boot_files() -> list[Path]:
    """The unit that takes the change back at a boot, and the link that makes the boot start it."""
    return [UNITS / "multi-user.target.wants" / BOOT_UNIT, UNITS / BOOT_UNIT]


def boot_unit(names: Sequence[str]) -> str:
    """Text of that unit: after the owner of the interfaces, so that it is told too, and before anything is mounted."""
    escaped = [name.replace("-", r"\x2d") for name in names]
    devices = " ".join(f"sys-subsystem-net-devices-{name}.device" for name in escaped)
    return f"""# Written by Sealyard, role rdma_nic; gone once the change of the network is confirmed.
[Unit]
Description=Take back a change of the network that was never confirmed
ConditionPathExists={KEPT}/restore
Wants={devices}
After={devices} network.target systemd-networkd.service NetworkManager.service
Before=network-online.target remote-fs-pre.target

[Service]
Type=oneshot
ExecStart=/bin/bash {KEPT}/restore

[Install]
WantedBy=multi-user.target
"""


def run(command: Sequence[str], check: bool = False) -> str:
    """Standard output of a program, empty where it is not installed; Refused when it fails and `check` is set."""
    try:
        done = subprocess.run(list(command), capture_output=True, text=True, check=False, timeout=APPLY_LIMIT_SEC)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        if check:
            raise Refused(f"{shlex.join(command)}: {error}") from error
        return ""
    if check and done.returncode != 0:
        raise Refused(f"{shlex.join(command)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def read(path: Path) -> str:
    """Text of a file, empty where there is none or the kernel gives none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def rdma_device(name: str, sys: Path = SYS) -> str:
    """The RDMA device of a network interface, empty where it has none."""
    for device in sorted((sys / "class/infiniband").glob("*")):
        netdevs = {path.name for path in device.glob("device/net/*")} | {read(device / "parent")}
        netdevs |= {read(path) for path in device.glob("ports/*/gid_attrs/ndevs/0")}
        if name in netdevs:
            return device.name
    return ""


def pci_folder(name: str, sys: Path = SYS) -> Path:
    """Folder of the card itself; a virtio interface hangs one below it."""
    device = (sys / "class/net" / name / "device").resolve()
    return device if (device / "numa_node").exists() else device.parent


def only_card(sys: Path = SYS) -> str:
    """The one interface with an RDMA device; Refused where there are none or several."""
    names = [path.name for path in sorted((sys / "class/net").glob("*")) if rdma_device(path.name, sys)]
    if len(names) != 1:
        there = f"several cards with an RDMA device ({', '.join(names)})" if names else "no card with an RDMA device"
        raise Refused(
            f"there is {there}: name it in rdma_nic_interfaces, [{{name: enp65s0np0, address: 10.40.0.21/24}}]"
        )
    return names[0]


def addresses(entries: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Global IPv4 and IPv6 addresses with prefix of `ip -json address show dev NAME`."""
    return tuple(
        f"{info['local']}/{info['prefixlen']}"
        for entry in entries
        for info in entry.get("addr_info", ())
        if info.get("scope") == "global"
    )


def nfs_servers(mountinfo: str) -> dict[str, str]:
    """Mount point to server address of the NFS mounts in /proc/self/mountinfo."""
    found = {}
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        kind = right.split(" ", 1)[0]
        address = re.search(r"\baddr=([^,\s]+)", right)
        if kind.startswith("nfs") and kind != "nfsd" and address:
            found[left.split()[4]] = address[1]
    return found


def uses(name: str, own: Sequence[str]) -> tuple[str, ...]:
    """What goes over the interface now, in words."""
    found = []
    for place, server in nfs_servers(read(Path("/proc/self/mountinfo"))).items():
        routes = json.loads(run(["ip", "-json", "route", "get", server]) or "[]")
        if any(route.get("dev") == name for route in routes):
            found.append(f"{place} is mounted over it from {server}")
    networks = [ipaddress.ip_interface(address).network for address in own]
    for info in Path("/proc/fs/nfsd/clients").glob("*/info"):
        client = re.search(r'address: "\[?([^"\]]+?)\]?:\d+"', read(info))
        if client and any(ipaddress.ip_address(client[1].split("%")[0]) in network for network in networks):
            found.append(f"NFS client {client[1]} is served over it")
    units = run(["systemctl", "list-units", "--plain", "--no-legend", "--state=running", "lotus-worker@*"])
    if units.strip():
        found.append(f"{len(units.splitlines())} workers run on the host")
    mine = {address.split("/")[0] for address in own}
    if any(f" {address}:" in run(["ss", "-Htn", "sport", "=", ":22"]) for address in mine):
        found.append("an ssh login comes over it, perhaps this one")
    return tuple(found)


def look(name: str, avoid: set[int]) -> Found:
    """One card as it is; Refused where there is no such interface."""
    folder = SYS / "class/net" / name
    if not folder.exists():
        there = ", ".join(path.name for path in sorted((SYS / "class/net").glob("*")) if (path / "device").exists())
        raise Refused(f"{name} is no network interface of this host, which has {there}: correct rdma_nic_interfaces")
    states = dict(
        line.split(":", 1) for line in run(["nmcli", "-t", "-f", "DEVICE,STATE", "device"]).splitlines() if ":" in line
    )
    netplan = [read(path) for place in ("etc", "run", "lib") for path in Path(f"/{place}/netplan").glob("*.yaml")]
    debian = [read(path) for path in (Path("/etc/network/interfaces"), *Path("/etc/network/interfaces.d").glob("*"))]
    networkd = run(["systemctl", "is-active", "systemd-networkd"]).strip() == "active"
    own = addresses(json.loads(run(["ip", "-json", "address", "show", "dev", name], check=True)))
    card, device = pci_folder(name), rdma_device(name)
    node = read(card / "numa_node")
    local = cpu_list(read(card / "local_cpulist"))
    driver = (card / "driver").resolve().name if (card / "driver").exists() else ""
    firmware = read(SYS / "class/infiniband" / device / "fw_ver") if device and "mlx" in driver else ""
    return Found(
        name=name,
        mac=read(folder / "address"),
        mtu=int(read(folder / "mtu")),
        up=bool(int(read(folder / "flags"), 16) & 1),
        addresses=own,
        owner=owner(name, netplan if shutil.which("netplan") else [], states, networkd, debian),
        rdma=device,
        driver=driver,
        firmware=firmware,
        numa_node=int(node) if node.lstrip("-").isdigit() else -1,
        irq_cpus=irq_cpus(local, avoid, cpu_list(read(SYS / "devices/system/cpu/online"))),
        uses=uses(name, own),
    )


def problems_of(wanted: Wanted, found: Found, soft: bool) -> list[str]:
    """What makes the card unusable, in words."""
    told = []
    if not soft and not found.rdma:
        told.append(
            f"{found.name} has no RDMA device (driver {found.driver or 'unknown'}): name another card in "
            "rdma_nic_interfaces, load its driver (mlx5_ib), or in a lab set rdma_nic_soft: true"
        )
    settled = found.mtu == wanted.mtu and wanted.address in found.addresses and found.up
    if found.owner == "ifupdown" and not settled:
        told.append(
            f"{found.name} belongs to ifupdown, which cannot be changed and taken back safely: write address "
            f"{wanted.address} and mtu {wanted.mtu} into its stanza and run ifdown and ifup, or remove the stanza and "
            "have systemd-networkd run"
        )
    if not found.owner and not settled:
        told.append(
            f"nobody configures {found.name}: enable systemd-networkd, netplan or NetworkManager on this host "
            "(systemctl enable --now systemd-networkd)"
        )
    return told


def no_soft_roce() -> list[str]:
    """What is to be done where the kernel has no rdma_rxe, as the small kernels for cloud machines."""
    tried = subprocess.run(["modprobe", "--dry-run", "--quiet", "rdma_rxe"], check=False, timeout=APPLY_LIMIT_SEC)
    remedy = "install linux-image-amd64 (Debian) or linux-modules-extra-$(uname -r) (Ubuntu), then reboot"
    return [] if tried.returncode == 0 else [f"this kernel has no soft RoCE (rdma_rxe): {remedy}"]


def save_and_arm(files: Sequence[Path], wanted: Sequence[Wanted], found: Sequence[Found], rollback_sec: int) -> None:
    """Keep what is there and start the timer that puts it back."""
    shutil.rmtree(KEPT, ignore_errors=True)
    KEPT.mkdir(parents=True, mode=0o700)
    saved: dict[Path, Path | None] = {}
    for number, path in enumerate(files):
        saved[path] = KEPT / f"file-{number}" if path.exists() else None
        if path.exists():
            shutil.copy2(path, KEPT / f"file-{number}")
    script = KEPT / "restore"
    script.write_text(restore_script(saved, wanted, found), encoding="utf-8")
    script.chmod(0o700)
    link, unit = boot_files()
    link.parent.mkdir(parents=True, exist_ok=True)
    unit.write_text(boot_unit([one.name for one in wanted]), encoding="utf-8")
    link.unlink(missing_ok=True)
    link.symlink_to(unit)
    # Only the next boot reads them; they must have reached the disk before the network changes.
    keep([*KEPT.iterdir(), KEPT, KEPT.parent, unit, unit.parent, link.parent])
    command = ["systemd-run", "--quiet", f"--unit={ROLLBACK_UNIT}", f"--on-active={rollback_sec}s"]
    run([*command, "--timer-property=AccuracySec=1s", "/bin/bash", str(script)], check=True)


def keep(paths: Sequence[Path]) -> None:
    """Have files and folders written to the disk; all of it at once would wait for NFS servers that are away."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def disarm() -> None:
    """Stop the timer; Refused when it has already put everything back."""
    waiting = run(["systemctl", "is-active", f"{ROLLBACK_UNIT}.timer"]).strip() == "active"
    run(["systemctl", "stop", f"{ROLLBACK_UNIT}.timer"])
    if not waiting:
        raise Refused(
            "the change was not confirmed in time and the host has put its network back as it was: look why the "
            "controller could not reach it, or raise rdma_nic_rollback_sec"
        )
    for path in boot_files():
        path.unlink(missing_ok=True)
    shutil.rmtree(KEPT, ignore_errors=True)
    keep([path for path in (*(file.parent for file in boot_files()), KEPT.parent) if path.exists()])


def settled(wanted: Wanted) -> bool:
    """Whether the interface has its address and MTU now."""
    entries = json.loads(run(["ip", "-json", "address", "show", "dev", wanted.name]) or "[]")
    return wanted.address in addresses(entries) and all(entry.get("mtu") == wanted.mtu for entry in entries)


def wait_settled(wanted: Wanted, sleep: Callable[[float], None] = time.sleep) -> None:
    """Until the owner has done its work; Refused when it does not."""
    limit = time.monotonic() + APPLY_LIMIT_SEC
    while not settled(wanted):
        if time.monotonic() > limit:
            raise Refused(
                f"{wanted.name} did not get address {wanted.address} and MTU {wanted.mtu} within {APPLY_LIMIT_SEC} s; "
                f"everything is as before. Another file of its owner may name the interface too, or the card does not "
                f"carry that MTU: ip link set dev {wanted.name} mtu {wanted.mtu}"
            )
        sleep(0.5)


def change(todo: Sequence[tuple[Wanted, Found]], rollback_sec: int) -> None:
    """Write and apply, with everything put back at once when an owner refuses."""
    files = {pair[0].name: network_file(pair[1].owner, pair[0], pair[1].mac) for pair in todo}
    former = [path for wanted, found in todo for path in former_files(found.owner, wanted, found.mac).values()]
    save_and_arm(
        [*(path for path, _, _ in files.values()), *former],
        [one for one, _ in todo],
        [one for _, one in todo],
        rollback_sec,
    )
    try:
        for path in former:
            path.unlink()
        if any(path.parent.name == "network" for path in former):
            run(["networkctl", "reload"])
        for wanted, found in todo:
            path, text, mode = files[wanted.name]
            path.parent.mkdir(parents=True, exist_ok=True)
            beside = path.with_name(f".{path.name}.new")
            beside.touch(mode=mode)
            beside.chmod(mode)
            beside.write_text(text, encoding="utf-8")
            beside.replace(path)
            for command in apply_commands(found.owner, wanted.name):
                run(command, check=True)
        for wanted, _ in todo:
            wait_settled(wanted)
    except Refused:
        run(["systemctl", "stop", f"{ROLLBACK_UNIT}.timer"])
        run(["bash", "-c", (KEPT / "restore").read_text()])
        raise


def main() -> None:
    """Module entry."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["read", "present", "confirmed"], "default": "present"},
            "interfaces": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "default": ""},
                    "address": {"type": "str", "required": True},
                    "mtu": {"type": "int", "default": 9000},
                },
            },
            "soft": {"type": "bool", "default": False},
            "firmware_minimum": {"type": "str", "default": ""},
            "avoid_cpus": {"type": "list", "elements": "str", "default": []},
            "allow_disruption": {"type": "bool", "default": False},
            "rollback_sec": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**act(module.params, module.check_mode))
    except (Refused, OSError) as error:
        module.fail_json(msg=str(error))


def act(options: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """What the options ask; the module's result."""
    if options["state"] == "confirmed":
        if not check:
            disarm()
        return {"changed": False, "unconfirmed": False}
    avoid = set().union(*(cpu_list(text) for text in options["avoid_cpus"])) if options["avoid_cpus"] else set()
    found, problems, changes, cuts = [], no_soft_roce() if options["soft"] else [], [], []
    todo: list[tuple[Wanted, Found]] = []
    for item in options["interfaces"]:
        try:
            wanted = Wanted(item["name"] or only_card(), item["address"], item["mtu"])
            one = look(wanted.name, avoid)
        except Refused as refused:
            problems.append(str(refused))
            continue
        found.append(one)
        problems += problems_of(wanted, one, options["soft"])
        differs, former = False, list[str]()
        if one.owner in OWNERS:
            path, text, _ = network_file(one.owner, wanted, one.mac)
            differs, former = read(path) != text.strip(), list(former_files(one.owner, wanted, one.mac))
        report = compare(wanted, one, differs, former)
        changes += report.changes
        if report.changes and one.owner in OWNERS:
            todo.append((wanted, one))
            cuts += [f"{wanted.name}: {use}" for use in report.cuts]
    if cuts and not options["allow_disruption"]:
        problems.append(
            f"{'; '.join(changes)}. This would cut a link in use: {'; '.join(cuts)}. Drain the host "
            "(playbooks/drain.yml) and run again with -e rdma_nic_allow_disruption=true"
        )
    minimum = version(options["firmware_minimum"])
    result: dict[str, Any] = {
        "changed": False,
        "found": [asdict(one) for one in found],
        "problems": problems,
        "changes": changes,
        "old_firmware": [
            f"{one.name}: firmware {one.firmware} is older than {options['firmware_minimum']}"
            for one in found
            if minimum and one.firmware and version(one.firmware) < minimum
        ],
        "unconfirmed": False,
    }
    if options["state"] == "read":
        return result
    if problems:
        raise Refused("\n".join(problems))
    result["changed"] = bool(todo)
    if todo and not check:
        change(todo, options["rollback_sec"])
        result["unconfirmed"] = True
    return result


if __name__ == "__main__":
    main()
