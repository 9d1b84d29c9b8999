#!/usr/bin/python
"""Ansible module: what the sealing planner needs to know of a machine, read from sysfs, /proc and nvidia-smi."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.module_utils.basic import AnsibleModule

if TYPE_CHECKING:
    from collections.abc import Iterable

DOCUMENTATION = r"""
module: sealing_hardware
short_description: Read CPUs, caches, NUMA nodes, GPUs, RDMA devices and disks of a sealing host
description:
  - Reads C(/sys), C(/proc) and C(nvidia-smi) on the target with the Python standard library alone.
  - The result has the schema of the topology files under C(tests/topologies), so that it can stand in
    C(sealing_hardware) of an inventory as it is.
  - What the kernel does not say is null. Nothing is guessed and nothing is changed.
options:
  root:
    description:
      - Root of a captured file system tree to read instead of the machine itself.
      - The tree holds C(sys) and C(proc); the output of C(nvidia-smi) may lie beside them as C(nvidia-smi.csv).
    type: path
    default: /
  nvidia_smi:
    description: The C(nvidia-smi) program. It is only called where an NVIDIA GPU is on the PCI bus and O(root) is C(/).
    type: str
    default: nvidia-smi
  nvidia_smi_timeout_sec:
    description: How long C(nvidia-smi) may take. Without persistence mode it wakes the driver, which takes seconds.
    type: int
    default: 30
author:
  - Sealyard
attributes:
  check_mode:
    description: Reads only; runs the same in check mode.
    support: full
"""

EXAMPLES = r"""
- name: Read the machine
  sealing_hardware:
  register: found

- name: Show the cores of each L3
  ansible.builtin.debug:
    msg: "{{ found.hardware.cpus | selectattr('online') | groupby('l3') }}"

- name: Read a tree that was captured elsewhere
  sealing_hardware:
    root: /srv/captured/pc1-07
"""

RETURN = r"""
hardware:
  description: The machine in the schema of tests/topologies.
  returned: always
  type: dict
  contains:
    machine:
      description: C(arch), C(cpu_model), C(product) and C(kernel), each text or null.
      type: dict
      returned: always
    cpus:
      description:
        - One entry per present CPU, by number. C(core) and C(l3) are numbered over the whole machine from 0;
          C(socket) and C(node) are the kernel's numbers.
        - C(allowed) is false where the module's own cpuset leaves the CPU out. C(kind) is there on machines with
          two kinds of cores.
      type: list
      elements: dict
      returned: always
      sample: [{cpu: 0, core: 0, socket: 0, node: 0, l3: 0, online: true, allowed: true}]
    numa:
      description: One entry per NUMA node with its memory, CPUs (none on memory-only nodes) and hugepages per size.
      type: list
      elements: dict
      returned: always
      sample:
        - {node: 0, memory_bytes: 137438953472, cpus: [0, 1], hugepages: [{size_bytes: 2097152, total: 0}]}
    numa_distances:
      description: The kernel's distances, 10 is local; null where it states none.
      type: dict
      returned: always
    gpus:
      description:
        - GPUs by PCI address. C(index), C(uuid) and C(memory_bytes) need the vendor's driver and are null without it.
      type: list
      elements: dict
      returned: always
      sample:
        - {pci: "0000:3b:00.0", vendor: "10de", device: "2206", class: "0300", name: NVIDIA GeForce RTX 3080,
           numa_node: 0, index: 0, uuid: GPU-7b3c, memory_bytes: 10737418240}
    rdma:
      description:
        - RDMA devices with the state of each port (4 is active), the rate of the fastest active one and the network
          device.
      type: list
      elements: dict
      returned: always
      sample:
        - {name: mlx5_0, pci: "0000:43:00.0", numa_node: 1, netdev: ens1, port_state: {"1": 4},
           rate_bits_per_sec: 100000000000}
    nvme:
      description:
        - NVMe namespaces with their size; C(system) is true where the running system lies on it, null where that is
          not known.
      type: list
      elements: dict
      returned: always
    net:
      description: Network devices on the PCI bus.
      type: list
      elements: dict
      returned: always
    disks:
      description:
        - Every disk with size, C(rotational), NUMA node, partitions, holders (md, dm), mount points, file system and
          C(system).
      type: list
      elements: dict
      returned: always
    accelerators:
      description: Processing devices that are no GPUs.
      type: list
      elements: dict
      returned: always
    display:
      description: Display functions that are no GPUs.
      type: list
      elements: dict
      returned: always
    cgroup_version:
      description: 1 or 2; null where no cgroup hierarchy is mounted.
      type: int
      returned: always
    notes:
      description: What could not be read, in words.
      type: list
      elements: str
      returned: always
ansible_facts:
  description: The same as the fact C(sealing_hardware).
  returned: always
  type: dict
"""

if TYPE_CHECKING:
    Entry = dict[str, Any]

PCI_ADDRESS = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$")
GPU_VENDORS = ("10de", "1002", "8086")
# Display functions of these vendors' server boards that no work can run on (PCI ID repository):
# Intel 0be0-0be2 and AMD ES1000 515e are console chips.
CONSOLE_CHIPS = frozenset({"1002:515e", "1002:4752", "1002:5159", "8086:0be0", "8086:0be1", "8086:0be2"})
SYSTEM_MOUNTS = ("/", "/boot", "/boot/efi", "/usr", "/var", "/home")
QUERY = "index,uuid,name,memory.total,pci.bus_id"


class Tree:
    """A file system tree with /sys and /proc, this machine's own or a captured one."""

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")

    def exists(self, *parts: str) -> bool:
        return Path("/".join((self.root, *parts))).exists()

    def read(self, *parts: str, limit: int = 1 << 20) -> str | None:
        """The stripped text of a file; None where there is none or the kernel refuses."""
        try:
            handle = os.open("/".join((self.root, *parts)), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            chunks = []
            while limit > 0:
                chunk = os.read(handle, min(limit, 65536))
                if not chunk:
                    break
                chunks.append(chunk)
                limit -= len(chunk)
        except OSError:
            return None
        finally:
            os.close(handle)
        return b"".join(chunks).decode("utf-8", "replace").strip("\0 \t\r\n")

    def number(self, *parts: str) -> int | None:
        text = self.read(*parts)
        try:
            return int(text, 0) if text else None
        except ValueError:
            return None

    def names(self, *parts: str) -> list[str]:
        try:
            with os.scandir("/".join((self.root, *parts))) as entries:
                return sorted(entry.name for entry in entries)
        except OSError:
            return []

    def real(self, *parts: str) -> str:
        return os.path.realpath("/".join((self.root, *parts)))


def cpu_list(text: str | None) -> list[int]:
    """A kernel list such as `0-3,64-67` as numbers; empty where it is none."""
    cpus: list[int] = []
    for part in (text or "").split(","):
        first, _, last = part.strip().partition("-")
        if first.isdigit() and (not last or last.isdigit()):
            cpus.extend(range(int(first), int(last or first) + 1))
    return cpus


def natural(name: str) -> list[tuple[int, str]]:
    """A sort key that puts nvme10n1 behind nvme9n1."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def read_nodes(tree: Tree) -> tuple[list[Entry], Entry | None]:
    """NUMA nodes and the distances between them."""
    base = "sys/devices/system/node"
    numbers = sorted(int(n[4:]) for n in tree.names(base) if re.fullmatch(r"node\d+", n))
    nodes: list[Entry] = []
    matrix: list[list[int]] = []
    for number in numbers:
        where = f"{base}/node{number}"
        found = re.search(r"MemTotal:\s*(\d+) kB", tree.read(where, "meminfo") or "")
        pages = []
        for name in sorted(tree.names(where, "hugepages"), key=natural):
            size = re.fullmatch(r"hugepages-(\d+)kB", name)
            if size:
                pages.append({
                    "size_bytes": int(size.group(1)) * 1024,
                    "total": tree.number(where, "hugepages", name, "nr_hugepages"),
                })  # fmt: skip
        node: Entry = {"node": number, "memory_bytes": int(found.group(1)) * 1024 if found else None,
                "cpus": cpu_list(tree.read(where, "cpulist"))}  # fmt: skip
        if pages:
            node["hugepages"] = pages
        nodes.append(node)
        row = tree.read(where, "distance")
        matrix.append([int(d) for d in row.split()] if row and re.fullmatch(r"[\d\s]+", row) else [])
    if not nodes or any(len(row) != len(nodes) for row in matrix):
        return nodes, None
    return nodes, {"nodes": numbers, "matrix": matrix}


def read_cpus(tree: Tree, nodes: list[Entry]) -> list[Entry]:
    """Every present CPU with its place. Siblings and L3 groups are read once per group, not once per CPU."""
    base = "sys/devices/system/cpu"
    present = cpu_list(tree.read(base, "present"))
    if not present:
        present = sorted(int(n[3:]) for n in tree.names(base) if re.fullmatch(r"cpu\d+", n))
    online_text = tree.read(base, "online")
    online = set(cpu_list(online_text)) if online_text is not None else set(present)
    allowed = allowed_cpus(tree)
    node_of = {cpu: node["node"] for node in nodes for cpu in node["cpus"]}
    kinds = cpu_kinds(tree)

    core_of: dict[int, int] = {}
    socket_of: dict[int, int | None] = {}
    l3_of: dict[int, int] = {}
    without_l3: set[str] = set()
    cores = groups = 0
    for cpu in present:
        if cpu not in online:
            continue
        where = f"{base}/cpu{cpu}"
        if cpu not in core_of:
            siblings = cpu_list(
                tree.read(where, "topology/core_cpus_list") or tree.read(where, "topology/thread_siblings_list")
            )
            if cpu in siblings:
                socket = tree.number(where, "topology/physical_package_id")
                for sibling in siblings:
                    core_of[sibling] = cores
                    # -1 is the kernel's word for unknown
                    socket_of[sibling] = socket if socket is not None and socket >= 0 else None
                cores += 1
        if cpu not in l3_of:
            sharers = l3_sharers(tree, where, without_l3)
            if cpu in sharers:
                for sharer in sharers:
                    l3_of[sharer] = groups
                groups += 1

    cpus = []
    for cpu in present:
        up = cpu in online
        entry = {
            "cpu": cpu,
            "core": core_of.get(cpu) if up else None,
            "socket": socket_of.get(cpu) if up else None,
            "node": node_of.get(cpu) if up else None,
            "l3": l3_of.get(cpu) if up else None,
            "online": up,
            "allowed": up and (allowed is None or cpu in allowed),
        }
        if cpu in kinds:
            entry["kind"] = kinds[cpu]
        cpus.append(entry)
    return cpus


def l3_sharers(tree: Tree, where: str, index_names: set[str]) -> list[int]:
    """CPUs that share this one's L3. `index_names` keeps which index was the L3 on CPUs before, to look there first."""
    order = sorted(index_names) + [
        n for n in tree.names(where, "cache") if n.startswith("index") and n not in index_names
    ]
    for name in reversed(order) if not index_names else order:
        if tree.number(where, "cache", name, "level") == 3:
            index_names.add(name)
            return cpu_list(tree.read(where, "cache", name, "shared_cpu_list"))
    return []


def allowed_cpus(tree: Tree) -> set[int] | None:
    """CPUs this process may run on; None where the kernel does not say."""
    match = re.search(r"^Cpus_allowed_list:\s*(\S+)", tree.read("proc/self/status") or "", re.MULTILINE)
    return set(cpu_list(match.group(1))) if match else None


def cpu_kinds(tree: Tree) -> dict[int, str]:
    """performance or efficiency per CPU on hybrid machines; empty on all others."""
    big = cpu_list(tree.read("sys/devices/cpu_core/cpus"))
    small = cpu_list(tree.read("sys/devices/cpu_atom/cpus"))
    if big and small:
        return dict([(c, "performance") for c in big] + [(c, "efficiency") for c in small])
    capacity = {}
    # Arm states the relative speed of each core; equal numbers are one kind of core.
    if tree.read("sys/devices/system/cpu/cpu0/cpu_capacity") is not None:
        for name in tree.names("sys/devices/system/cpu"):
            if re.fullmatch(r"cpu\d+", name):
                value = tree.number("sys/devices/system/cpu", name, "cpu_capacity")
                if value is not None:
                    capacity[int(name[3:])] = value
    if len(set(capacity.values())) < 2:
        return {}
    best = max(capacity.values())
    return {cpu: "performance" if value == best else "efficiency" for cpu, value in capacity.items()}


class Pci:
    """Devices of the PCI bus and the NUMA node each is on."""

    def __init__(self, tree: Tree, nodes: list[Entry]) -> None:
        self.tree = tree
        self.nodes = nodes
        self.with_cpus = [n for n in nodes if n["cpus"]]

    def addresses(self) -> list[str]:
        return [name for name in self.tree.names("sys/bus/pci/devices") if PCI_ADDRESS.match(name)]

    def of(self, real_path: str) -> str | None:
        """The PCI device that a device's real path lies under."""
        for part in reversed(real_path.split("/")):
            if PCI_ADDRESS.match(part):
                return part
        return None

    def identity(self, address: str) -> Entry:
        where = "sys/bus/pci/devices/" + address
        code = self.tree.number(where, "class")
        vendor, device = self.tree.number(where, "vendor"), self.tree.number(where, "device")
        return {
            "pci": address,
            "vendor": None if vendor is None else f"{vendor:04x}",
            "device": None if device is None else f"{device:04x}",
            "class": None if code is None else "%04x" % (code >> 8),
        }

    def home(self, address: str | None) -> Entry:
        """numa_node, and near_nodes where the kernel leaves the choice between some of the nodes."""
        if len(self.nodes) == 1:
            return {"numa_node": self.nodes[0]["node"]}
        if address is None:
            return {"numa_node": None}
        where = "sys/bus/pci/devices/" + address
        node = self.tree.number(where, "numa_node")
        if node is not None and any(n["node"] == node for n in self.nodes):
            return {"numa_node": node}
        local = set(cpu_list(self.tree.read(where, "local_cpulist")))
        near = [n["node"] for n in self.with_cpus if local & set(n["cpus"])]
        if len(near) == 1:
            return {"numa_node": near[0]}
        if near and len(near) < len(self.with_cpus):
            return {"numa_node": None, "near_nodes": near}
        return {"numa_node": None}


def read_display(tree: Tree, pci: Pci) -> tuple[list[Entry], list[Entry], list[Entry]]:
    """GPUs, other processing accelerators, other display functions."""
    gpus: list[Entry] = []
    accelerators: list[Entry] = []
    display: list[Entry] = []
    for address in pci.addresses():
        code = tree.read("sys/bus/pci/devices", address, "class") or ""
        if code[:4] not in ("0x03", "0x12"):
            continue
        entry = pci.identity(address)
        entry["name"] = None
        entry.update(pci.home(address))
        is_display = code[:4] == "0x03"
        console = f"{entry['vendor']}:{entry['device']}" in CONSOLE_CHIPS
        if not (entry["vendor"] in GPU_VENDORS and not console if is_display else entry["vendor"] == "1002"):
            (display if is_display else accelerators).append(entry)
            continue
        where = "sys/bus/pci/devices/" + address
        entry.update({"index": None, "uuid": None, "memory_bytes": tree.number(where, "mem_info_vram_total")})
        os_names = tree.names(where, "drm")
        if os_names:
            entry["os_names"] = [n for n in os_names if n.startswith(("card", "renderD"))]
        gpus.append(entry)
    return gpus, accelerators, display


def add_nvidia(tree: Tree, gpus: list[Entry], smi_text: str | None, notes: list[str]) -> None:
    """What NVIDIA's driver knows: model and UUID from /proc, memory and index from nvidia-smi."""
    by_address = {pci_number(g["pci"]): g for g in gpus if g["vendor"] == "10de"}
    for name in tree.names("proc/driver/nvidia/gpus"):
        gpu = by_address.get(pci_number(name))
        if gpu is None:
            continue
        text = tree.read("proc/driver/nvidia/gpus", name, "information") or ""
        fields = dict(re.findall(r"^([^:\n]+?):[ \t]+(.+?)[ \t]*$", text, re.MULTILINE))
        gpu["name"] = fields.get("Model") or gpu["name"]
        uuid = fields.get("GPU UUID", "")
        # The driver shows question marks until the GPU has been woken once.
        gpu["uuid"] = uuid if uuid and "?" not in uuid else gpu["uuid"]
    for line in (smi_text or "").splitlines():
        columns = [c.strip() for c in line.split(",")]
        if len(columns) != 5:
            continue
        index, uuid, name, memory, address = columns
        gpu = by_address.get(pci_number(address))
        if gpu is None:
            notes.append(f"nvidia-smi names a GPU at {address} that the PCI bus does not show")
            continue
        gpu["name"] = name or gpu["name"]
        gpu["uuid"] = uuid if uuid.startswith(("GPU-", "MIG-")) else gpu["uuid"]
        gpu["index"] = int(index) if index.isdigit() else None
        # nvidia-smi states MiB
        gpu["memory_bytes"] = int(memory) << 20 if memory.isdigit() else gpu["memory_bytes"]


def pci_number(text: str) -> tuple[int, ...] | None:
    """00000000:3B:00.0 and 0000:3b:00.0 are one device."""
    try:
        return tuple(int(part, 16) for part in re.split(r"[:.]", text.strip()))
    except ValueError:
        return None


def read_rdma(tree: Tree, pci: Pci) -> list[Entry]:
    devices = []
    for name in sorted(tree.names("sys/class/infiniband"), key=natural):
        where = "sys/class/infiniband/" + name
        address = pci.of(tree.real(where, "device"))
        identity = pci.identity(address) if address else {"pci": None, "vendor": None, "device": None}
        states: dict[str, int | None] = {}
        rates: list[int] = [0]
        for port in sorted(tree.names(where, "ports"), key=natural):
            state = re.match(r"\d+", tree.read(where, "ports", port, "state") or "")
            states[port] = int(state.group()) if state else None
            rate = re.match(r"([\d.]+) Gb/sec", tree.read(where, "ports", port, "rate") or "")
            if rate and states[port] == 4:
                rates.append(round(float(rate.group(1)) * 10**9))
        netdevs = sorted(tree.names(where, "device/net"), key=natural)
        entry: Entry = {"name": name, "pci": identity["pci"]}
        entry.update(pci.home(address))
        entry.update({
            "netdev": netdevs[0] if netdevs else None,
            "vendor": identity["vendor"],
            "device": identity["device"],
            "port_state": states,
            "rate_bits_per_sec": max(rates) or None,
        })  # fmt: skip
        if len(netdevs) > 1:
            entry["netdevs"] = netdevs
        devices.append(entry)
    return devices


def read_net(tree: Tree, pci: Pci) -> list[Entry]:
    devices = []
    for name in sorted(tree.names("sys/class/net"), key=natural):
        where = "sys/class/net/" + name
        if not tree.exists(where, "device"):
            continue
        address = pci.of(tree.real(where, "device"))
        if address is None:
            continue
        entry: Entry = {"name": name, "pci": address}
        entry.update(pci.home(address))
        # `speed` of a link that is down is an error on some drivers and slow on others.
        speed = tree.number(where, "speed") if tree.read(where, "operstate") == "up" else None
        entry["speed_bits_per_sec"] = speed * 10**6 if speed and speed > 0 else None
        devices.append(entry)
    return devices


def read_disks(tree: Tree, pci: Pci, notes: list[str]) -> list[Entry]:
    """Disks with what is on them. md and dm devices are holders, not disks of their own."""
    names = [n for n in tree.names("sys/block") if not re.match(r"(loop|ram|zram|sr|fd|nbd)\d", n)]
    numbers: dict[str, str] = {}
    parts_of: dict[str, list[str]] = {}
    slaves: dict[str, list[str]] = {}
    labels: dict[str, str] = {}
    for name in names:
        parts_of[name] = sorted(
            (
                p
                for p in tree.names("sys/block", name)
                if p.startswith(name) and tree.read("sys/block", name, p, "partition")
            ),
            key=natural,
        )
        slaves[name] = tree.names("sys/block", name, "slaves")
        dm_name = tree.read("sys/block", name, "dm/name")
        if dm_name:
            labels["mapper/" + dm_name] = name
        for device in [name] + parts_of[name]:
            labels[device] = device
            sub = "" if device == name else "/" + device
            number = tree.read(f"sys/block/{name}{sub}/dev")
            if number:
                numbers[number] = device
    disk_of_part = {part: name for name in names for part in parts_of[name]}

    def disks_under(device: str, seen: Iterable[str] = ()) -> set[str]:
        whole = disk_of_part.get(device, device)
        below = slaves.get(whole, [])
        if not below or device in seen:
            return {whole}
        return set().union(*(disks_under(b, [*list(seen), device]) for b in below))

    mounts: dict[str, list[str]] = {}
    system: set[str] = set()
    root_known = False
    for source, point, fstype in mounted(tree, numbers, labels):
        if source is None:
            # Nothing of this machine's disks is under a root that comes over the network or lives in memory.
            root_known = root_known or (point == "/" and fstype in ("nfs", "nfs4", "tmpfs", "ramfs", "rootfs"))
            continue
        for disk in disks_under(source):
            if point not in mounts.setdefault(disk, []):
                mounts[disk].append(point)
            if point in SYSTEM_MOUNTS or point == "[SWAP]":
                system.add(disk)
        root_known = root_known or point == "/"
    if not root_known:
        notes.append("the disk under / could not be told: no disk is called free of the system")

    disks = []
    for name in sorted(names, key=natural):
        real = tree.real("sys/block", name)
        if "/virtual/block/" in real or slaves[name] or not tree.number("sys/block", name, "size"):
            continue
        address = pci.of(real) or nvme_address(tree, name)
        holders = set(tree.names("sys/block", name, "holders"))
        for part in parts_of[name]:
            holders.update(tree.names("sys/block", name, part, "holders"))
        number = tree.read("sys/block", name, "dev")
        udev = tree.read(f"run/udev/data/b{number}") if number else None
        fs = re.search(r"^E:ID_FS_TYPE=(.+)$", udev or "", re.MULTILINE)
        rotational = tree.number("sys/block", name, "queue/rotational")
        entry: Entry = {"name": name, "pci": address}
        entry.update(pci.home(address))
        entry.update({
            # the kernel counts 512-byte units whatever the drive's own sector is
            "bytes": (tree.number("sys/block", name, "size") or 0) * 512,
            "rotational": None if rotational is None else rotational == 1,
            "partitions": parts_of[name],
            "holders": sorted(holders, key=natural),
            "mounts": sorted(mounts.get(name, [])),
            "filesystem": fs.group(1) if fs else None,
            "system": True if name in system else False if root_known else None,
        })  # fmt: skip
        disks.append(entry)
    return disks


def nvme_address(tree: Tree, name: str) -> str | None:
    """The PCI address of a namespace that hangs under an NVMe subsystem (native multipath)."""
    if not name.startswith("nvme"):
        return None
    subsystem = Path(tree.real("sys/block", name)).parent
    for controller in sorted(path.name for path in subsystem.glob("nvme*") if re.fullmatch(r"nvme\d+", path.name)):
        address = tree.read("sys/class/nvme", controller, "address")
        if address and PCI_ADDRESS.match(address):
            return address
    return None


def mounted(tree: Tree, numbers: dict[str, str], labels: dict[str, str]) -> list[tuple[str | None, str, str]]:
    """(block device or None, mount point or [SWAP], file system) of everything mounted."""
    found: list[tuple[str | None, str, str]] = []
    for line in (tree.read("proc/self/mountinfo") or "").splitlines():
        left, _, right = line.partition(" - ")
        fields, kind = left.split(), right.split()
        if len(fields) < 5 or len(kind) < 2:
            continue
        source = kind[1][5:] if kind[1].startswith("/dev/") else None
        device = numbers.get(fields[2]) or (labels.get(source) if source else None)
        found.append((device, fields[4].replace("\\040", " "), kind[0]))
    for line in (tree.read("proc/swaps") or "").splitlines()[1:]:
        source = line.split()[0] if line.split() else ""
        found.append((labels.get(source[5:]) if source.startswith("/dev/") else None, "[SWAP]", "swap"))
    return found


def read_machine(tree: Tree) -> Entry:
    # The whole of /proc/cpuinfo takes long on many CPUs: the kernel measures each one's clock.
    info = tree.read("proc/cpuinfo", limit=8192) or ""
    fields = dict(re.findall(r"^([^:\n\t]+?)[ \t]*:[ \t]*(.+?)[ \t]*$", info, re.MULTILINE))
    own = tree.root == ""
    return {
        "arch": os.uname().machine if own else tree.read("proc/sys/kernel/arch"),
        "cpu_model": fields.get("model name") or fields.get("cpu"),
        "product": tree.read("sys/class/dmi/id/product_name") or tree.read("proc/device-tree/model"),
        "kernel": tree.read("proc/sys/kernel/osrelease"),
    }


def cgroup_version(tree: Tree) -> int | None:
    if tree.exists("sys/fs/cgroup/cgroup.controllers"):
        return 2
    mounts = tree.read("proc/self/mountinfo") or ""
    if " - cgroup2 " in mounts and " - cgroup " not in mounts:
        return 2
    return 1 if " - cgroup " in mounts else None


def start_nvidia_smi(tree: Tree, program: str) -> subprocess.Popen[str] | None:
    """Started before the rest is read, so that waking the driver and reading sysfs overlap."""
    path = shutil.which(program)
    if tree.root or path is None:
        return None
    try:
        return subprocess.Popen(
            [path, "--query-gpu=" + QUERY, "--format=csv,noheader,nounits"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True,
        )  # fmt: skip
    except OSError:
        return None


def nvidia_smi_text(
    tree: Tree, process: subprocess.Popen[str] | None, timeout_sec: int, notes: list[str]
) -> str | None:
    if tree.root:
        return tree.read("nvidia-smi.csv")
    if process is None:
        return None
    try:
        text = process.communicate(timeout=timeout_sec)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        notes.append(f"nvidia-smi did not answer within {timeout_sec} s: GPU memory and index are unknown")
        return None
    if process.returncode != 0:
        first = text.strip().splitlines()
        notes.append(f"nvidia-smi failed: {first[0] if first else process.returncode}")
        return None
    return text


def read_hardware(root: str = "/", nvidia_smi: str = "nvidia-smi", nvidia_smi_timeout_sec: int = 30) -> Entry:
    """The machine under `root` in the schema of tests/topologies. Raises nothing: what cannot be read is null."""
    tree = Tree(root)
    notes: list[str] = []
    nvidia = "0x10de" in {
        tree.read("sys/bus/pci/devices", a, "vendor")
        for a in tree.names("sys/bus/pci/devices")
        if (tree.read("sys/bus/pci/devices", a, "class") or "").startswith("0x03")
    }
    process = start_nvidia_smi(tree, nvidia_smi) if nvidia else None

    nodes, distances = read_nodes(tree)
    if not nodes:
        nodes = uma_node(tree)
    pci = Pci(tree, nodes)
    cpus = read_cpus(tree, nodes)
    rdma, net, disks = read_rdma(tree, pci), read_net(tree, pci), read_disks(tree, pci, notes)
    gpus, accelerators, display = read_display(tree, pci)
    smi = nvidia_smi_text(tree, process, nvidia_smi_timeout_sec, notes) if nvidia else None
    add_nvidia(tree, gpus, smi, notes)
    if nvidia and any(g["memory_bytes"] is None for g in gpus if g["vendor"] == "10de"):
        notes.append("NVIDIA GPUs without a working driver: model, UUID and memory are unknown")
    if cpus and all(c["l3"] is None for c in cpus):
        notes.append("the kernel gives no L3 information")
    nvme = [
        {k: d[k] for k in ("name", "pci", "numa_node", "bytes", "system")}
        for d in disks
        if d["name"].startswith("nvme")
    ]
    return {
        "machine": read_machine(tree),
        "cpus": cpus,
        "numa": nodes,
        "numa_distances": distances,
        "gpus": gpus,
        "rdma": rdma,
        "nvme": nvme,
        "net": net,
        "disks": disks,
        "accelerators": accelerators,
        "display": display,
        "cgroup_version": cgroup_version(tree),
        "notes": notes,
    }


def uma_node(tree: Tree) -> list[Entry]:
    """The one node of a kernel built without NUMA: all CPUs, all memory."""
    total = re.search(r"MemTotal:\s*(\d+) kB", tree.read("proc/meminfo") or "")
    online = cpu_list(tree.read("sys/devices/system/cpu/online"))
    if not online:
        return []
    return [{"node": 0, "memory_bytes": int(total.group(1)) * 1024 if total else None, "cpus": online}]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "default": "/"},
            "nvidia_smi": {"type": "str", "default": "nvidia-smi"},
            "nvidia_smi_timeout_sec": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    root = module.params["root"]
    if not Path(root, "sys/devices/system/cpu").is_dir():
        module.fail_json(msg=f"no sys/devices/system/cpu under {root}: point root at a tree that holds sys and proc")
    hardware = read_hardware(root, module.params["nvidia_smi"], module.params["nvidia_smi_timeout_sec"])
    module.exit_json(changed=False, hardware=hardware, ansible_facts={"sealing_hardware": hardware})


if __name__ == "__main__":
    main()
