"""A change of interfaces that takes itself back unless it is confirmed in time, at a boot too."""

from __future__ import annotations

import json
import shlex
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..files import replace, sync
from . import owners
from .card import Found, addresses
from .commands import APPLY_LIMIT_SEC, Refused, run
from .owners import Wanted

KEPT = Path("/var/lib/sealyard/network-rollback")
"""Files of before, and the script that puts them back; gone once confirmed."""
ROLLBACK_UNIT = "sealyard-network-rollback"
UNITS = Path("/etc/systemd/system")
BOOT_UNIT = "sealyard-network-rollback-at-boot.service"
"""Does what the timer would have done, because a timer of systemd-run is gone after a boot."""


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
        commands = owners.apply_commands(before.owner, before.name)
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
    sync([*KEPT.iterdir(), KEPT, KEPT.parent, unit, unit.parent, link.parent])
    command = ["systemd-run", "--quiet", f"--unit={ROLLBACK_UNIT}", f"--on-active={rollback_sec}s"]
    run([*command, "--timer-property=AccuracySec=1s", "/bin/bash", str(script)], check=True)


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
    sync([path for path in (*(file.parent for file in boot_files()), KEPT.parent) if path.exists()])


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
    files = {pair[0].name: owners.network_file(pair[1].owner, pair[0], pair[1].mac) for pair in todo}
    former = [path for wanted, found in todo for path in owners.former_files(found.owner, wanted, found.mac).values()]
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
            replace(path, text, mode)
            for command in owners.apply_commands(found.owner, wanted.name):
                run(command, check=True)
        for wanted, _ in todo:
            wait_settled(wanted)
    except Refused:
        run(["systemctl", "stop", f"{ROLLBACK_UNIT}.timer"])
        run(["bash", "-c", (KEPT / "restore").read_text()])
        raise
