"""What must change on a card, what that cuts, and what makes a card unusable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .. import programs
from .card import Found
from .commands import APPLY_LIMIT_SEC
from .owners import Wanted


@dataclass
class Report:
    """What is to be done to one card."""

    changes: list[str] = field(default_factory=list)
    cuts: list[str] = field(default_factory=list)


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
    remedy = "install linux-image-amd64 (Debian) or linux-modules-extra-$(uname -r) (Ubuntu), then reboot"
    try:
        programs.run("modprobe", "--dry-run", "--quiet", "rdma_rxe", timeout_sec=APPLY_LIMIT_SEC)
    except programs.ProgramFailed:
        return [f"this kernel has no soft RoCE (rdma_rxe): {remedy}"]
    return []
