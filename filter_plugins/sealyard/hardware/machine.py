"""What binding needs of a machine: its usable physical cores by NUMA node and L3, its GPUs, its NIC's node.

Input is the facts schema (see declared.py). Offline and not-allowed CPUs, memory-only nodes and devices without
a node are what they are: left out, left out, None. Memory set aside as hugepages is no ordinary memory any more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sealyard.hardware.catalogue import gpu_memory_bytes, has_sha_extensions
from sealyard.hardware.quantities import pci_key

Domain = tuple[int | None, int | str | None]
"""(NUMA node, L3): a PC1 bundle lies inside one. Without L3 information the node, else the socket, takes its place."""

ACTIVE_PORT = 4
NVIDIA = "10de"
SEALING_VENDORS = (NVIDIA, "1002")
"""NVIDIA and AMD: what CUDA and OpenCL proving run on."""


@dataclass(frozen=True, slots=True)
class Core:
    """One physical core with those of its threads that may be used."""

    cpus: tuple[int, ...]
    node: int | None
    domain: Domain
    socket: int | None
    l3_known: bool


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU; `nodes` are the NUMA nodes it is near, empty where nobody says."""

    pci: str
    name: str | None
    vendor: str | None
    memory_bytes: int | None
    nodes: tuple[int, ...]
    index: int
    """Number among the GPUs of its vendor in PCI order, as CUDA_DEVICE_ORDER=PCI_BUS_ID counts.

    A GPU of unknown vendor is used through CUDA, so it is counted as NVIDIA's.
    """


@dataclass(frozen=True, slots=True)
class Machine:
    """A host's hardware, as far as placing work on it goes."""

    cores: tuple[Core, ...]
    nodes: tuple[int, ...]
    node_memory: Mapping[int, int | None]
    """Ordinary memory: without the hugepages."""
    hugepages: Mapping[int, int]
    """Bytes of each node's hugepages, where there are any."""
    memory_bytes: int | None
    gpus: tuple[Gpu, ...]
    nic_node: int | None
    scratch_bytes: int | None
    sha_extensions: bool | None
    cpu_model: str | None
    nic_bits_per_sec: int | None
    threads_per_core: int
    distances: Mapping[tuple[int, int], int] = field(default_factory=dict)


def scratch_bytes(hardware: Mapping[str, Any]) -> int | None:
    """Bytes of the NVMe drives that may carry /sealer: all but the system's; None where there is none."""
    free = [int(d["bytes"]) for d in hardware.get("nvme", ()) if d.get("bytes") and d.get("system") is not True]
    return sum(free) if free else None


def _active(device: Mapping[str, Any]) -> bool:
    state = device.get("port_state")
    if isinstance(state, Mapping):
        return ACTIVE_PORT in state.values() or "active" in {str(v).lower() for v in state.values()}
    return state is None or state == ACTIVE_PORT or "active" in str(state).lower()


def _nic_node(hardware: Mapping[str, Any]) -> int | None:
    rdma = list(hardware.get("rdma") or ())
    ranked = [d for d in rdma if _active(d)] + rdma + list(hardware.get("net") or ())
    return next((d["numa_node"] for d in ranked if d.get("numa_node") is not None), None)


def _hugepage_bytes(node: Mapping[str, Any]) -> int:
    return sum(int(pages["size_bytes"]) * int(pages.get("total") or 0) for pages in node.get("hugepages") or ())


def _without(memory: int | None, taken: int) -> int | None:
    return None if memory is None else max(0, memory - taken)


def _gpus(hardware: Mapping[str, Any], nodes: tuple[int, ...]) -> tuple[Gpu, ...]:
    counted: dict[str, int] = defaultdict(int)
    found = []
    for gpu in sorted(hardware.get("gpus") or (), key=lambda gpu: pci_key(gpu["pci"]) or ()):
        runtime = gpu.get("vendor") or NVIDIA
        index = counted[runtime]
        counted[runtime] += 1
        if runtime not in SEALING_VENDORS:
            continue
        near = [gpu["numa_node"]] if gpu.get("numa_node") is not None else list(gpu.get("near_nodes") or ())
        here = tuple(node for node in near if node in nodes)
        found.append(Gpu(gpu["pci"], gpu.get("name"), gpu.get("vendor") or None, gpu_memory_bytes(gpu), here, index))
    return tuple(found)


def read_machine(hardware: Mapping[str, Any]) -> Machine:
    """Return the machine of a hardware dict that `normalise` has passed."""
    threads: dict[object, list[int]] = defaultdict(list)
    place: dict[object, Mapping[str, Any]] = {}
    for cpu in hardware["cpus"]:
        if cpu.get("online") is not True or cpu.get("allowed") is False:
            continue
        key: object = cpu["core"] if cpu.get("core") is not None else f"cpu{cpu['cpu']}"
        threads[key].append(cpu["cpu"])
        place.setdefault(key, cpu)
    numa = {n["node"]: n for n in hardware.get("numa") or ()}
    cores = []
    for key, cpus in threads.items():
        at = place[key]
        node = at.get("node") if at.get("node") in numa else None
        l3, socket = at.get("l3"), at.get("socket")
        inside: int | str | None = l3 if l3 is not None else (None if node is not None else f"socket{socket}")
        cores.append(Core(tuple(sorted(cpus)), node, (node, inside), socket, l3 is not None))
    cores.sort(key=lambda core: core.cpus)

    nodes = tuple(sorted({core.node for core in cores if core.node is not None}))
    hugepages = {n: _hugepage_bytes(numa[n]) for n in nodes if _hugepage_bytes(numa[n])}
    node_memory = {n: _without(numa[n].get("memory_bytes"), hugepages.get(n, 0)) for n in nodes}
    known = [m for m in node_memory.values() if m is not None]
    memory = sum(known) if known and len(known) == len(node_memory) else hardware.get("memory_bytes")

    rates = [d["rate_bits_per_sec"] for d in hardware.get("rdma") or () if d.get("rate_bits_per_sec")]
    distance = hardware.get("numa_distances") or {}
    order = distance.get("nodes") or []
    matrix = distance.get("matrix") or []
    distances = {(a, b): row[j] for a, row in zip(order, matrix, strict=False) for j, b in enumerate(order)}
    return Machine(
        cores=tuple(cores),
        nodes=nodes,
        node_memory=node_memory,
        hugepages=hugepages,
        memory_bytes=memory,
        gpus=_gpus(hardware, nodes),
        nic_node=_nic_node(hardware),
        scratch_bytes=scratch_bytes(hardware),
        sha_extensions=has_sha_extensions(hardware),
        cpu_model=(hardware.get("machine") or {}).get("cpu_model"),
        nic_bits_per_sec=max(rates) if rates else None,
        threads_per_core=max((len(c.cpus) for c in cores), default=1),
        distances=distances,
    )
