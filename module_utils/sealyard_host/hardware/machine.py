"""The whole machine in the schema of tests/topologies."""

from __future__ import annotations

import os
import re

from . import nvidia
from .cpus import read_cpus
from .disks import read_disks
from .display import read_display
from .network import read_net, read_rdma
from .nodes import read_nodes, uma_node
from .pci import Pci
from .tree import Entry, Tree


def read_hardware(root: str = "/", nvidia_smi: str = "nvidia-smi", nvidia_smi_timeout_sec: int = 30) -> Entry:
    """The machine under `root` in the schema of tests/topologies. Raises nothing: what cannot be read is null."""
    tree = Tree(root)
    notes: list[str] = []
    has_nvidia = nvidia.on_the_bus(tree)
    process = nvidia.start(tree, nvidia_smi) if has_nvidia else None

    nodes, distances = read_nodes(tree)
    if not nodes:
        nodes = uma_node(tree)
    pci = Pci(tree, nodes)
    cpus = read_cpus(tree, nodes)
    rdma, net, disks = read_rdma(tree, pci), read_net(tree, pci), read_disks(tree, pci, notes)
    gpus, accelerators, display = read_display(tree, pci)
    smi = nvidia.said(tree, process, nvidia_smi_timeout_sec, notes) if has_nvidia else None
    nvidia.add(tree, gpus, smi, notes)
    if has_nvidia and any(g["memory_bytes"] is None for g in gpus if g["vendor"] == "10de"):
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


def read_machine(tree: Tree) -> Entry:
    """Architecture, model and kernel."""
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
    """1 or 2; None where no hierarchy is mounted."""
    if tree.exists("sys/fs/cgroup/cgroup.controllers"):
        return 2
    mountinfo = tree.read("proc/self/mountinfo") or ""
    if " - cgroup2 " in mountinfo and " - cgroup " not in mountinfo:
        return 2
    return 1 if " - cgroup " in mountinfo else None
