#!/usr/bin/python3
"""Settings of one RDMA card that a reboot or a driver reload forgets: RoCE v2, its class of service, its MTU,
lossless priority, CPUs of interrupts.

`rdma_nic_settings.py FILE [--check]` applies what FILE says, only where it differs, and prints one JSON object:
{"changed": [WORDS], "impossible": [WORDS]}. Run by rdma-nic@.service at every appearance of the card, and by Ansible.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sealyard_host import programs
from sealyard_host.rdma_devices import SYS, active_mtu, device_of, largest_payload

DEVICE_LIMIT_SEC = 30


@dataclass(frozen=True)
class Setting:
    """One setting: its name, what it is and shall be, and how it is set."""

    name: str
    found: str
    wanted: str
    apply: Callable[[], object]


def run(command: Sequence[str]) -> str:
    """Standard output of a program; OSError with its last words when it fails."""
    return programs.run(*command, timeout_sec=30)


def read(path: Path) -> str:
    """Text of a file without its end of line."""
    return path.read_text().strip()


def class_settings(device: str, wanted: dict[str, Any], sys_dir: Path = SYS) -> Iterator[Setting]:
    """GID type and traffic class of connections that rdma_cm makes, NFS among them."""
    folder = sys_dir / "kernel/config/rdma_cm" / device
    port = folder / "ports/1"
    for name, value in (("default_roce_mode", wanted["gid_type"]), ("default_roce_tos", str(wanted["tos"]))):
        yield Setting(name, read(port / name), value, partial(write, port / name, value))


def write(path: Path, text: str) -> None:
    """Write a setting of the kernel."""
    path.write_text(f"{text}\n")


def payload_settings(netdev: str, device: str, sys_dir: Path = SYS) -> Iterator[Setting]:
    """The RDMA MTU, as large as the interface's lets it be.

    A soft device that is made in the moment in which the interface gets its MTU keeps the one of before: only a
    change of the interface's MTU makes it look again.
    """
    path = sys_dir / "class/net" / netdev / "mtu"
    frame_bytes = int(read(path))
    fits = largest_payload(frame_bytes)
    found = active_mtu(run(["ibv_devinfo", "-d", device]))

    def look_again() -> None:
        if not (sys_dir / "class/infiniband" / device / "parent").exists():
            raise OSError(f"the RDMA MTU of {device} is {found} where the MTU {frame_bytes} of {netdev} allows {fits}")
        write(path, str(frame_bytes - 1))
        write(path, str(frame_bytes))

    yield Setting("RDMA MTU", str(min(found, fits)), str(fits), look_again)


def lossless_settings(netdev: str, dscp: int, priority: int) -> Iterator[Setting]:
    """Trust in DSCP, priority flow control on one priority, no global pause: the card's side of a lossless network."""
    entries = json.loads(run(["dcb", "-j", "app", "show", "dev", netdev]) or "{}").get("dscp_prio", [])
    here = [f"{one[0]}:{one[1]}" for one in entries if one[0] == dscp]
    command = ["dcb", "app", "replace", "dev", netdev, "dscp-prio", f"{dscp}:{priority}"]
    yield Setting("priority of its DSCP", " ".join(here), f"{dscp}:{priority}", partial(run, command))
    state = json.loads(run(["dcb", "-j", "pfc", "show", "dev", netdev]) or "{}").get("prio_pfc", [])
    on = [str(number) for number, enabled in enumerate(state) if enabled]
    command_pfc = ["dcb", "pfc", "set", "dev", netdev, "prio-pfc", "all:off", f"{priority}:on"]
    yield Setting("priorities with flow control", ",".join(on), str(priority), partial(run, command_pfc))
    pause = pauses(run(["ethtool", "-a", netdev]))
    yield Setting("global pause", pause, "off off", partial(run, ["ethtool", "-A", netdev, "rx", "off", "tx", "off"]))


def pauses(text: str) -> str:
    """RX and TX of `ethtool -a`, as in "off off"."""
    states = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return f"{states.get('RX', '').strip()} {states.get('TX', '').strip()}"


def interrupts(netdev: str, sys_dir: Path = SYS) -> list[int]:
    """Numbers of the card's interrupts; those of a virtio interface are its parent's."""
    device = (sys_dir / "class/net" / netdev / "device").resolve()
    for folder in (device / "msi_irqs", device.parent / "msi_irqs"):
        if folder.exists():
            return sorted(int(path.name) for path in folder.iterdir())
    return []


def interrupt_settings(netdev: str, cpus: Sequence[int], proc: Path, sys_dir: Path = SYS) -> Iterator[Setting]:
    """One CPU for each interrupt, round after round."""
    for index, number in enumerate(interrupts(netdev, sys_dir) if cpus else ()):
        path = proc / "irq" / str(number) / "smp_affinity_list"
        if path.exists():
            cpu = str(cpus[index % len(cpus)])
            yield Setting(f"CPU of interrupt {number}", read(path), cpu, partial(write, path, cpu))


def balancer_settings() -> Iterator[Setting]:
    """irqbalance stopped: it would move the interrupts again within ten seconds."""
    asked = programs.output("systemctl", "is-active", "irqbalance", timeout_sec=30)
    found = "running" if asked.strip() == "active" else "stopped"
    yield Setting("irqbalance", found, "stopped", partial(run, ["systemctl", "stop", "irqbalance"]))


def settings(wanted: dict[str, Any], device: str) -> Iterator[Iterator[Setting]]:
    """Everything that FILE asks for, in parts that do not depend on each other."""
    yield class_settings(device, wanted)
    yield payload_settings(wanted["netdev"], device)
    if wanted["lossless"]:
        yield lossless_settings(wanted["netdev"], wanted["dscp"], wanted["priority"])
    if wanted["irq_cpus"]:
        yield balancer_settings()
    yield interrupt_settings(wanted["netdev"], wanted["irq_cpus"], Path("/proc"))


def bring(found: Iterator[Setting], check: bool) -> dict[str, list[str]]:
    """Set what differs; what the kernel refuses is told, and does not keep the rest from being set."""
    said: dict[str, list[str]] = {"changed": [], "impossible": []}
    while True:
        try:
            one = next(found)
            if one.found == one.wanted:
                continue
            if not check:
                one.apply()
            said["changed"].append(f"{one.name}: {one.found or 'nothing'} becomes {one.wanted}")
        except StopIteration:
            return said
        except (OSError, ValueError) as error:
            said["impossible"].append(str(error))


def main(arguments: list[str]) -> int:
    """Apply FILE; 1 when something could not be set."""
    wanted = json.loads(Path(arguments[0]).read_text())
    check = "--check" in arguments[1:]
    limit = time.monotonic() + (0 if check else DEVICE_LIMIT_SEC)
    while not (device := device_of(wanted["netdev"])) and time.monotonic() < limit:
        time.sleep(0.2)
    if not device:
        print(json.dumps({"changed": [], "impossible": [f"{wanted['netdev']} has no RDMA device"]}))
        return 1
    folder = SYS / "kernel/config/rdma_cm" / device
    folder.mkdir(exist_ok=True)
    try:
        parts = [bring(part, check) for part in settings(wanted, device)]
    finally:
        # The folder is only a window on the device; left open, it would keep the driver from being unloaded.
        folder.rmdir()
    said = {word: [line for part in parts for line in part[word]] for word in ("changed", "impossible")}
    print(json.dumps(said))
    return 1 if said["impossible"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
