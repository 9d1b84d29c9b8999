"""What NVIDIA's driver knows of GPUs."""

from __future__ import annotations

import re
import shutil
import subprocess

from .pci import number
from .tree import Entry, Tree

QUERY = "index,uuid,name,memory.total,pci.bus_id"


def on_the_bus(tree: Tree) -> bool:
    """Whether there is an NVIDIA GPU to ask for."""
    devices = "sys/bus/pci/devices"
    displays = [a for a in tree.names(devices) if (tree.read(devices, a, "class") or "").startswith("0x03")]
    return any(tree.read(devices, address, "vendor") == "0x10de" for address in displays)


def start(tree: Tree, program: str) -> subprocess.Popen[str] | None:
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


def said(tree: Tree, process: subprocess.Popen[str] | None, timeout_sec: int, notes: list[str]) -> str | None:
    """What nvidia-smi printed; None where it failed, which goes to the notes."""
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


def add(tree: Tree, gpus: list[Entry], smi_text: str | None, notes: list[str]) -> None:
    """What NVIDIA's driver knows: model and UUID from /proc, memory and index from nvidia-smi."""
    by_address = {number(g["pci"]): g for g in gpus if g["vendor"] == "10de"}
    for name in tree.names("proc/driver/nvidia/gpus"):
        gpu = by_address.get(number(name))
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
        gpu = by_address.get(number(address))
        if gpu is None:
            notes.append(f"nvidia-smi names a GPU at {address} that the PCI bus does not show")
            continue
        gpu["name"] = name or gpu["name"]
        gpu["uuid"] = uuid if uuid.startswith(("GPU-", "MIG-")) else gpu["uuid"]
        gpu["index"] = int(index) if index.isdigit() else None
        # nvidia-smi states MiB
        gpu["memory_bytes"] = int(memory) << 20 if memory.isdigit() else gpu["memory_bytes"]
