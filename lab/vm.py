"""Virtual machines with a stock kernel, for what containers cannot show: RDMA, NFS in the kernel, NUMA, cgroup v2.

`.venv/bin/python -m lab.vm up|down|status|ssh HOST [COMMAND]|reset HOST|link HOST on|off`
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab import vm_image
from lab.settings import LAB_DIR, ROOT
from lab.shell import LabError, run
from lab.vm_image import Image

FOLDER = LAB_DIR / "rdma"
"""Disks, sockets and the inventory of the running machines; `down` takes it away."""
INVENTORY = ROOT / "molecule/rdma/inventory"
RECEIVE_BUFFER = Path("/proc/sys/net/core/rmem_default")
WANTED_RECEIVE_BUFFER_BYTES = 8 << 20
"""The machines' LAN is a socket of each: the usual 208 KiB hold a dozen packets, and RDMA sends hundreds at once."""
BOOT_LIMIT_SEC = 600
PROBE_LIMIT_SEC = 40
GIB = 1 << 30
SSH_OPTIONS = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR")
USAGE = """\
.venv/bin/python -m lab.vm up           make and start the machines
.venv/bin/python -m lab.vm down         take them away
.venv/bin/python -m lab.vm status       which of them run
.venv/bin/python -m lab.vm ssh HOST ... log in to a machine, or run a command there
.venv/bin/python -m lab.vm reset HOST   pull the plug and let it boot again
.venv/bin/python -m lab.vm link HOST on|off   the cable of its lan0
"""


@dataclass(frozen=True)
class Machine:
    """One machine: its place in addresses, its size, and the NVMe disks beside its root disk."""

    name: str
    number: int
    memory_mb: int
    cpus: int
    numa_nodes: int = 1
    disks: tuple[int, ...] = ()

    @property
    def folder(self) -> Path:
        """Its disks and sockets."""
        return FOLDER / self.name


MACHINES = (
    Machine("storage-1", 1, 2048, 2, disks=(2 * GIB, 2 * GIB)),
    # lan0 hangs on the second node, as a card in a real two-socket server does on one of them.
    Machine("pc1-1", 2, 2048, 8, numa_nodes=2),
    Machine("pc2-1", 3, 1024, 2),
)


def machine(name: str) -> Machine:
    """The machine of that name; LabError when there is none."""
    for one in MACHINES:
        if one.name == name:
            return one
    raise LabError(f"no machine is called {name!r}: use one of {', '.join(one.name for one in MACHINES)}")


def missing() -> list[str]:
    """The programs that are not installed, in words."""
    programs = {"qemu-system-x86_64": "qemu-system-x86", "qemu-img": "qemu-utils", "mke2fs": "e2fsprogs"}
    programs["mmdebstrap"] = "mmdebstrap"
    return [
        f"the program {program}: apt-get install {package}"
        for program, package in programs.items()
        if not shutil.which(program)
    ]


def _widen_receive_buffer() -> None:
    """Until this machine's next boot; where that is not allowed the LAN loses packets and is slow."""
    try:
        if int(RECEIVE_BUFFER.read_text()) < WANTED_RECEIVE_BUFFER_BYTES:
            RECEIVE_BUFFER.write_text(f"{WANTED_RECEIVE_BUFFER_BYTES}\n")
            print(f"lab: net.core.rmem_default raised to {WANTED_RECEIVE_BUFFER_BYTES} until the next boot")
    except OSError as error:
        print(f"lab: net.core.rmem_default stays as it is: {error}")


def accelerator(image: Image) -> list[str]:
    """Options of qemu: KVM if a kernel really boots with it here (a /dev/kvm alone proves nothing), else emulation."""
    kept = vm_image.FOLDER / "accelerator"
    if kept.exists() and kept.stat().st_mtime > image.kernel.stat().st_mtime:
        kind = kept.read_text().strip()
    else:
        kind = "kvm" if _kvm_boots(image) else "tcg"
        kept.write_text(f"{kind}\n")
    if kind == "kvm":
        return ["-accel", "kvm", "-cpu", "host"]
    return ["-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max"]


def _kvm_boots(image: Image) -> bool:
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    command = [
        "qemu-system-x86_64",
        "-accel",
        "kvm",
        "-cpu",
        "host",
        "-m",
        "512",
        "-nographic",
        "-no-reboot",
        "-nodefaults",
    ]
    command += ["-serial", "stdio", "-kernel", str(image.kernel), "-initrd", str(image.initrd)]
    command += ["-append", "console=ttyS0 panic=-1 rdinit=/bin/false"]
    try:
        # /bin/false as the first program ends in a panic, which with panic=-1 and -no-reboot ends qemu.
        said = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=PROBE_LIMIT_SEC
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return False
    return b"Run /bin/false as init process" in said


def up() -> None:
    """Start what does not run, and wait until every machine answers over ssh."""
    lacks = missing()
    if lacks:
        raise LabError("this machine cannot run the lab's virtual machines. Missing:\n- " + "\n- ".join(lacks))
    image = vm_image.ready() or vm_image.build()
    running = {one.name: _pid(one) for one in MACHINES}
    ports = _ports()
    if not any(running.values()):
        down()
        ports = {one.name: _free_port() for one in MACHINES} | {"lan": _free_port(socket.SOCK_DGRAM)}
        FOLDER.mkdir(parents=True)
        (FOLDER / "ports.json").write_text(json.dumps(ports))
    write_inventory()
    _widen_receive_buffer()
    options = accelerator(image)
    for one in MACHINES:
        if not running[one.name]:
            _start(one, image, options, ports)
    with ThreadPoolExecutor(len(MACHINES)) as pool:
        list(pool.map(wait_booted, MACHINES))


def down() -> None:
    """End the machines and forget their disks; the image stays for the next `up`."""
    for one in MACHINES:
        if pid := _pid(one):
            os.kill(pid, signal.SIGKILL)
            while _pid(one):
                time.sleep(0.05)
    if FOLDER.exists():
        shutil.rmtree(FOLDER)


def _start(one: Machine, image: Image, accelerator_options: list[str], ports: dict[str, int]) -> None:
    one.folder.mkdir(exist_ok=True)
    root = one.folder / "root.qcow2"
    if not root.exists():
        run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(image.disk), str(root)])
    command = ["qemu-system-x86_64", "-name", one.name, *accelerator_options, "-m", str(one.memory_mb), *_cpus(one)]
    command += ["-nodefaults", "-display", "none", "-daemonize", "-pidfile", str(one.folder / "pid")]
    command += ["-kernel", str(image.kernel), "-initrd", str(image.initrd)]
    # Without the self-tests of the kernel's ciphers: an emulated processor was seen to hang in one for ever.
    append = "root=/dev/vda rw console=ttyS0 mitigations=off cryptomgr.notests net.ifnames=1 quiet"
    append += f" systemd.hostname={one.name}"
    command += ["-append", append, "-serial", f"file:{one.folder / 'console.log'}"]
    command += ["-qmp", f"unix:{one.folder / 'qmp'},server=on,wait=off"]
    # Named, because qemu would else put the first free card on the bus of the second node.
    command += ["-device", "virtio-rng-pci,bus=pci.0"]
    command += ["-drive", f"if=none,id=root,file={root},format=qcow2,cache=unsafe"]
    command += ["-device", "virtio-blk-pci,drive=root,bus=pci.0"]
    for index, size in enumerate(one.disks):
        disk = one.folder / f"nvme{index}.raw"
        if not disk.exists():
            disk.touch()
            os.truncate(disk, size)
        command += ["-drive", f"if=none,id=nvme{index},file={disk},format=raw,cache=writeback,discard=unmap"]
        command += ["-device", f"nvme,serial=lab{one.number}{index},drive=nvme{index},bus=pci.0"]
    ssh = f"user,id=mgmt,hostfwd=tcp:127.0.0.1:{ports[one.name]}-:22"
    lan = f"socket,id=lan,mcast=230.0.0.1:{ports['lan']},localaddr=127.0.0.1"
    bus = "pci.0"
    if one.numa_nodes > 1:
        command += ["-device", f"pxb,id=node1,bus_nr=128,numa_node={one.numa_nodes - 1}"]
        bus = "node1"
    command += [
        "-netdev",
        ssh,
        "-device",
        f"virtio-net-pci,netdev=mgmt,mac={vm_image.mac(0, one.number)},romfile=,bus=pci.0",
    ]
    command += [
        "-netdev",
        lan,
        "-device",
        f"virtio-net-pci,id=lan0,netdev=lan,mac={vm_image.mac(1, one.number)},romfile=,bus={bus}",
    ]
    run(command)


def _cpus(one: Machine) -> list[str]:
    if one.numa_nodes == 1:
        return ["-smp", str(one.cpus)]
    each, memory = one.cpus // one.numa_nodes, one.memory_mb // one.numa_nodes
    options = ["-smp", f"{one.cpus},sockets={one.numa_nodes},cores={each},threads=1"]
    for node in range(one.numa_nodes):
        options += ["-object", f"memory-backend-ram,id=memory{node},size={memory}M"]
        options += ["-numa", f"node,nodeid={node},cpus={node * each}-{node * each + each - 1},memdev=memory{node}"]
    return options


def _pid(one: Machine) -> int | None:
    try:
        pid = int((one.folder / "pid").read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return pid if one.name.encode() in command else None
    except (OSError, ValueError):
        return None


def _free_port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _ports() -> dict[str, int]:
    try:
        ports: dict[str, int] = json.loads((FOLDER / "ports.json").read_text())
        return ports
    except FileNotFoundError:
        return {}


def write_inventory() -> Path:
    """The scenario's inventory, with where ssh reaches each machine; before `up` there is no port yet."""
    copy = FOLDER / "inventory"
    for source in sorted(INVENTORY.rglob("*.yml")):
        target = copy / source.relative_to(INVENTORY)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source.read_text())
    ports = _ports()
    control = FOLDER / "control"
    control.mkdir(exist_ok=True)
    hosts = {
        one.name: {
            "ansible_host": "127.0.0.1",
            "ansible_port": ports.get(one.name, 22),
            # One login for all questions; emulated, each costs seconds. testinfra knows no other way to be told.
            "ansible_ssh_common_args": f"{' '.join(SSH_OPTIONS)} -o ControlPath={control / one.name}",
        }
        for one in MACHINES
    }
    common = {"ansible_user": "root", "ansible_ssh_private_key_file": str(vm_image.KEY)}
    (copy / "ssh.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts, "vars": common}}))
    return copy


def ssh_command(one: Machine, *command: str) -> list[str]:
    """An ssh login, or one command, on a machine."""
    options = [*SSH_OPTIONS, "-o", "ConnectTimeout=20", "-i", str(vm_image.KEY), "-p", str(_ports()[one.name])]
    return ["ssh", *options, "root@127.0.0.1", *command]


def wait_booted(one: Machine) -> None:
    """Until systemd has reached its target; LabError with the console's last lines when it does not."""
    limit = time.monotonic() + BOOT_LIMIT_SEC
    state = ""
    while time.monotonic() < limit:
        if not _pid(one):
            break
        try:
            done = run(ssh_command(one, "systemctl", "is-system-running"), check=False, timeout_sec=60)
            state = done.stdout.strip()
        except LabError:
            state = "silent"
        if state in ("running", "degraded"):
            return
        time.sleep(1)
    console = (one.folder / "console.log").read_text(errors="replace").splitlines()[-10:]
    raise LabError(f"{one.name} did not boot (systemd says {state!r}):\n" + "\n".join(console))


def monitor(one: Machine, command: str, **arguments: Any) -> None:
    """One command to qemu's control socket, such as system_reset."""
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(10)
        control.connect(str(one.folder / "qmp"))
        lines = control.makefile("rw")
        lines.readline()
        for name, given in (("qmp_capabilities", {}), (command, arguments)):
            lines.write(json.dumps({"execute": name, "arguments": given}) + "\n")
            lines.flush()
            while "return" not in (answer := json.loads(lines.readline())):
                if "error" in answer:
                    raise LabError(f"qemu refuses {name}: {answer['error'].get('desc')}")


def main(arguments: list[str]) -> int:
    """Run one verb; the exit status."""
    match arguments:
        case ["up"]:
            up()
            print(f"inventory: {FOLDER / 'inventory'}")
        case ["down"]:
            down()
        case ["status"]:
            for one in MACHINES:
                print(f"{one.name:12} {'running' if _pid(one) else 'absent'}")
            return 0 if all(_pid(one) for one in MACHINES) else 1
        case ["ssh", name, *command]:
            os.execvp("ssh", ssh_command(machine(name), *command))
        case ["reset", name]:
            monitor(machine(name), "system_reset")
            # Who asked over a connection of before would wait for an answer that never comes.
            (FOLDER / "control" / name).unlink(missing_ok=True)
        case ["link", name, "on" | "off" as state]:
            monitor(machine(name), "set_link", name="lan0", up=state == "on")
        case _:
            print(USAGE, end="")
            return 0 if arguments in ([], ["help"], ["--help"], ["-h"]) else 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except LabError as error:
        print(f"lab.vm: {error}", file=sys.stderr)
        sys.exit(1)
