"""The disk image of the lab's virtual machines: this machine's own release with a stock kernel, NFS and RDMA tools."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lab import image
from lab.settings import LAB_DIR
from lab.shell import LabError, run

FOLDER = LAB_DIR / "vm"
"""Image, kernel and the key of its root login; they belong together, so they lie together."""
KEY = FOLDER / "id_ed25519"
DISK_BYTES = 6 << 30
PACKAGES = (
    *image.PACKAGES,
    "initramfs-tools",
    "linux-image-amd64",
    # What the roles install: three machines need not each fetch it.
    "systemd-timesyncd",
    "nfs-kernel-server",
    "nfs-common",
    "rdma-core",
    "ibverbs-providers",
    "ibverbs-utils",
    "rdmacm-utils",
    "perftest",
    "mstflint",
    "iputils-ping",
    "ethtool",
    "pciutils",
    "numactl",
    "mdadm",
    "xfsprogs",
    "nvme-cli",
    "fio",
    "network-manager",
    "netplan.io",
)


def mac(net: int, number: int) -> str:
    """Hardware address of machine `number` (from 1) on network 0 (this machine) or 1 (the other guests)."""
    return f"52:54:00:5e:{net:02x}:{number:02x}"


def _addresses(net: int) -> str:
    return " ".join(mac(net, number) for number in range(1, 10))


BEFORE = (
    # Only what finds the root disk: emulated, each megabyte of an initrd costs.
    'install -d "$1"/etc/initramfs-tools/conf.d',
    r'printf "MODULES=list\nCOMPRESS=lz4\n" >"$1"/etc/initramfs-tools/conf.d/lab',
    r'printf "virtio_pci\nvirtio_blk\next4\n" >"$1"/etc/initramfs-tools/modules',
)
HOOKS = (
    'rm -f "$1"/etc/machine-id "$1"/etc/hostname && touch "$1"/etc/machine-id',
    r'printf "UseDNS no\nMaxStartups 100\nMaxSessions 100\n" >"$1"/etc/ssh/sshd_config.d/lab.conf',
    # Cards are named by what they are for: their place on the bus differs between the machines.
    r'printf "[Match]\nMACAddress=%s\n[Link]\nName=mgmt\n" "'
    + _addresses(0)
    + '" >"$1"/etc/systemd/network/10-mgmt.link',
    r'printf "[Match]\nMACAddress=%s\n[Link]\nName=lan0\n" "'
    + _addresses(1)
    + '" >"$1"/etc/systemd/network/10-lan.link',
    # The card that this machine reaches the guest by; the one towards the other guests is left to the roles.
    r'printf "[Match]\nName=mgmt\n[Network]\nDHCP=ipv4\n" >"$1"/etc/systemd/network/10-mgmt.network',
    r'printf "[main]\n[keyfile]\nunmanaged-devices=interface-name:mgmt\n" >"$1"/etc/NetworkManager/conf.d/lab.conf',
    'rm -f "$1"/etc/resolv.conf; printf "nameserver 10.0.2.3\\n" >"$1"/etc/resolv.conf',
    "for unit in NetworkManager mdmonitor apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer "
    'NetworkManager-wait-online; do chroot "$1" systemctl disable "$unit" || true; done',
    'chroot "$1" systemctl enable systemd-networkd',
    # Nothing of a lab is served before a role says so.
    'chroot "$1" systemctl disable nfs-server nfs-kernel-server',
    'rm -rf "$1"/usr/share/doc/* "$1"/usr/share/man/* "$1"/usr/share/locale/*',
)


@dataclass(frozen=True)
class Image:
    """A root disk that is only read, and the kernel that boots it."""

    disk: Path
    kernel: Path
    initrd: Path


def ready() -> Image | None:
    """The image of today's recipe, None when it is still to be made."""
    folder = FOLDER / _fingerprint()
    found = Image(folder / "root.img", folder / "vmlinuz", folder / "initrd.img")
    return found if found.disk.exists() and KEY.exists() else None


def build() -> Image:
    """Make the image (about 3 minutes) in place of older ones; LabError when the release's packages cannot be had."""
    release = image.release()
    sources = image.apt_sources(Path("/etc/apt"), release)
    if not sources:
        raise LabError(
            f"no package source for {release} in /etc/apt: the lab's machines are made from this machine's own"
        )
    FOLDER.mkdir(parents=True, exist_ok=True)
    if not KEY.exists():
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "sealyard lab", "-f", str(KEY)])
    for old in FOLDER.glob("image-*"):
        shutil.rmtree(old)
    with tempfile.TemporaryDirectory(prefix="sealyard-vm-") as name:
        root, folder = Path(name) / "root", Path(name) / "image"
        root.mkdir()
        folder.mkdir()
        command = ["mmdebstrap", "--mode=root", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
        command += [f"--essential-hook={hook}" for hook in BEFORE]
        command += [f"--customize-hook={hook}" for hook in (*HOOKS, _login())]
        run([*command, release, str(root), *sources])
        for kind in ("vmlinuz", "initrd.img"):
            (kernel,) = (root / "boot").glob(f"{kind}-*")
            shutil.copy(kernel, folder / kind)
        run(
            [
                "mke2fs",
                "-q",
                "-t",
                "ext4",
                "-L",
                "root",
                "-d",
                str(root),
                str(folder / "root.img"),
                f"{DISK_BYTES >> 20}M",
            ]
        )
        made = FOLDER / _fingerprint()
        # Copied as it is, with its holes, and renamed: a half-made image is never taken for a whole one.
        run(["cp", "--recursive", "--sparse=always", str(folder), f"{made}.part"])
        Path(f"{made}.part").rename(made)
    found = ready()
    assert found
    return found


def _login() -> str:
    return f'install -D -m 0600 {KEY}.pub "$1"/root/.ssh/authorized_keys && chmod 0700 "$1"/root/.ssh'


def _fingerprint() -> str:
    recipe = "\n".join((*PACKAGES, *BEFORE, *HOOKS, image.release(), str(DISK_BYTES)))
    return f"image-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
