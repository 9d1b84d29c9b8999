"""The base image of a lab host: this machine's own release, made by mmdebstrap. No registry is asked."""

from __future__ import annotations

import hashlib
import platform
import re
import tempfile
from pathlib import Path

from lab.shell import LabError, run

PACKAGES = (
    # A machine that boots and that Ansible can reach.
    "systemd",
    "systemd-sysv",
    "dbus",
    "udev",
    "kmod",
    "openssh-server",
    "sudo",
    "python3",
    "python3-apt",
    "iproute2",
    "procps",
    "ca-certificates",
    "zstd",
    "nftables",
    # What Lotus is linked against; here so that ten hosts need not fetch them one by one.
    "libhwloc15",
    "ocl-icd-libopencl1",
)
# Containers share this machine's devices and kernel: these would act on the machine, not on the container.
MASKED = ("systemd-udevd.service", "systemd-udev-trigger.service", "systemd-modules-load.service")
HOOKS = (
    'rm -f "$1"/etc/machine-id && touch "$1"/etc/machine-id',
    'install -d -m 0700 "$1"/root/.ssh',
    f'for unit in {" ".join(MASKED)}; do ln -sf /dev/null "$1"/etc/systemd/system/"$unit"; done',
    # ten hosts asked at once by 50 forks; no reverse lookups on a network without names
    r'printf "UseDNS no\nMaxStartups 100\nMaxSessions 100\n" >"$1"/etc/ssh/sshd_config.d/lab.conf',
)


def name() -> str:
    """Reference of the image in podman's store; changes when its recipe changes."""
    recipe = "\n".join((*PACKAGES, *HOOKS, release()))
    return f"localhost/sealyard-host:{release()}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"


def exists() -> bool:
    """Whether podman has the image already."""
    return run(["podman", "image", "exists", name()], check=False).returncode == 0


def build() -> None:
    """Make the image (about 70 s); LabError when the release or its package sources cannot be told."""
    sources = apt_sources(Path("/etc/apt"), release())
    if not sources:
        raise LabError(
            f"no package source for {release()} in /etc/apt: the lab's hosts are made from this machine's own"
        )
    with tempfile.TemporaryDirectory(prefix="sealyard-image-") as folder:
        rootfs = Path(folder) / "rootfs.tar"
        command = ["mmdebstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
        command += [f"--customize-hook={hook}" for hook in HOOKS]
        run([*command, release(), str(rootfs), *sources])
        run(["podman", "import", "--change", "CMD /sbin/init", str(rootfs), name()])


def release() -> str:
    """Code name of this machine's release, such as bookworm."""
    return platform.freedesktop_os_release().get("VERSION_CODENAME", "")


def apt_sources(folder: Path, release: str) -> list[str]:
    """One-line package sources in apt's `folder` that belong to `release` (other vendors' are left out)."""
    lines: list[str] = []
    for path in sorted((*folder.glob("sources.list"), *folder.glob("sources.list.d/*.list"))):
        lines += [line.strip() for line in path.read_text().splitlines() if line.startswith("deb ")]
    for path in sorted(folder.glob("sources.list.d/*.sources")):
        for stanza in re.split(r"\n\s*\n", path.read_text()):
            lines += _one_line(stanza)
    own = (release, f"{release}-updates", f"{release}-security", f"{release}/updates")
    return [line for line in lines if any(word in own for word in line.split())]


def _one_line(stanza: str) -> list[str]:
    fields: dict[str, str] = {}
    last = ""
    for line in stanza.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        if line[0].isspace():
            fields[last] += " " + line.strip()
            continue
        last, _, value = line.partition(":")
        last = last.lower()
        fields[last] = value.strip()
    if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() == "no":
        return []
    signed = fields.get("signed-by", "")
    option = f"[signed-by={signed}] " if signed.startswith("/") else ""
    return [
        f"deb {option}{uri} {suite} {fields.get('components', '')}".strip()
        for uri in fields.get("uris", "").split()
        for suite in fields.get("suites", "").split()
    ]
