"""Declared hardware against what the machine itself has said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from sealyard.hardware.declared import HardwareError, normalise
from sealyard.hardware.quantities import pci_key
from sealyard.problem import Problem
from sealyard.variables.inventory import Inventory, Plan, problem

MEMORY_TOLERANCE = 0.1
"""A machine shows less memory than was bought: firmware and the kernel keep some."""


def check_declared_hardware(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """A plan for hardware that is not there would bind workers to cores and GPUs of another machine."""
    for host, found in inventory.found.items():
        declared = inventory.value(host, "sealing_hardware")
        if not isinstance(declared, Mapping) or "topology" in declared:
            continue
        try:
            ours, there = normalise(declared), normalise(found)
        except HardwareError:
            continue  # the plan says what is wrong with it
        said, seen = _counts(ours), _counts(there)
        for name, value in said.items():
            if not _same(name, value, seen[name]):
                text = f"is not what the machine has: {seen[name]}"
                remedy = f"sealing_hardware of {host} as the machine is, or mend the machine"
                yield problem(host, f"sealing_hardware.{name}", str(value), text, remedy)
        if said["numa"] == seen["numa"]:
            yield from _misplaced_gpus(host, _gpu_nodes(ours), _gpu_nodes(there))


def _misplaced_gpus(host: str, ours: list[int | None], there: list[int | None]) -> Iterator[Problem]:
    """CUDA counts GPUs in the order of their addresses: declared in another, a worker would get one of another node."""
    both = list(zip(ours, there, strict=False))
    if len(ours) == len(there) and any(a != b for a, b in both if a is not None and b is not None):
        said, seen = (", ".join("?" if node is None else str(node) for node in nodes) for nodes in (ours, there))
        text = f"are the NUMA nodes of its GPUs, but in the order of nvidia-smi -L they are {seen}"
        yield problem(host, "sealing_hardware.gpus", said, text, f"the GPUs of {host} in that order")


def _gpu_nodes(hardware: Mapping[str, Any]) -> list[int | None]:
    """The NUMA node of each GPU in PCI order; made-up addresses keep the order in which GPUs are declared."""
    return [gpu["numa_node"] for gpu in sorted(hardware["gpus"], key=lambda gpu: pci_key(gpu["pci"]) or ())]


def _counts(hardware: Mapping[str, Any]) -> dict[str, Any]:
    cpus = [cpu for cpu in hardware["cpus"] if cpu["online"]]
    models = Counter(gpu.get("name") or gpu.get("device") for gpu in hardware["gpus"])
    return {
        "cpus": len(cpus),
        "cores": len({cpu["core"] for cpu in cpus}),
        "l3": len({cpu["l3"] for cpu in cpus} - {None}),
        "numa": len([node for node in hardware["numa"] if node["cpus"]]),
        "memory": sum(node["memory_bytes"] or 0 for node in hardware["numa"]),
        "gpus": ", ".join(f"{count}x {model}" for model, count in sorted(models.items(), key=str)) or "none",
    }


def _same(name: str, declared: Any, found: Any) -> bool:
    if name == "memory":
        return not declared or not found or abs(declared - found) <= MEMORY_TOLERANCE * declared
    if name == "l3":
        return not declared or not found or bool(declared == found)
    if name == "gpus":
        return _words(declared) == _words(found)
    return bool(declared == found)


def _words(gpus: str) -> str:
    """Return GPU models without the maker's words, which nvidia-smi puts before and some inventories leave out."""
    for word in ("nvidia", "geforce", "tesla", "amd", "radeon", "instinct"):
        gpus = gpus.lower().replace(f"{word} ", "")
    return gpus
