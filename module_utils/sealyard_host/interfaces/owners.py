"""Whoever configures the interfaces of a host: systemd-networkd, netplan, NetworkManager or ifupdown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

OWNERS = ("netplan", "networkmanager", "networkd")


@dataclass(frozen=True)
class Wanted:
    """One card as it should be."""

    name: str
    address: str
    mtu: int


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
