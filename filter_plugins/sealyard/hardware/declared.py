"""Declared hardware: the facts schema and the inventory's short form, checked and made one.

`normalise` takes what stands in `sealing_hardware` of one host and returns the facts schema,
which library/sealing_hardware.py reads from a machine:

    cpus            [{cpu, core, socket, node, l3: int or None, online: bool, allowed: bool}], by CPU number
    numa            [{node: int, memory_bytes: int or None, cpus: [int]}], by node number
    gpus            [{pci, vendor, device, class, name, numa_node, memory_bytes, uuid, ...}], by PCI address
    rdma            [{name, pci, numa_node, netdev, vendor, device, port_state, rate_bits_per_sec, ...}]
    nvme            [{name, pci, numa_node, bytes, system, ...}]; `system` true carries the operating system
    net             [{name, pci, numa_node, ...}]
    accelerators, display, disks, numa_distances, machine, notes, name: as given

Cores and L3 caches are numbered machine-wide from 0. What nobody said is None: nothing here is guessed.
"""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Mapping
from typing import Any

from sealyard.hardware.devices import short_devices
from sealyard.hardware.facts import Facts
from sealyard.hardware.problems import HardwareError, fault
from sealyard.hardware.short_form import expand, read_memory, unknown_keys

__all__ = ["HardwareError", "normalise"]


def normalise(
    declared: Mapping[str, object], *, topologies: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """Return declared hardware in the facts schema (see the module's head).

    `declared` is a whole topology (it has `cpus`), or the short form (`cpu: EPYC 7542 x1`, `memory: 1TiB`,
    `gpus: [RTX 3080]`, `scratch: 8x 2TB NVMe`, `nic: ConnectX-5 100G`, `smt: false`, `nps: 4`), or `topology: NAME` of
    `topologies` with any of the short form's other keys on top.

    Short forms are cached: treat the result as read-only. Raises HardwareError with every problem found.
    """
    if not isinstance(declared, Mapping):
        raise HardwareError(
            [
                fault(
                    "",
                    declared,
                    "hardware must be a mapping",
                    "`cpu: EPYC 7542 x1` and `memory: 1TiB` under sealing_hardware",
                )
            ]
        )
    if not declared:
        raise HardwareError([fault("", {}, "the host declares no hardware at all", "at least `cpu` and `memory`")])
    if "cpus" in declared:
        return Facts(declared).normalised()
    if "topology" in declared:
        return _on_topology(declared, topologies or {})
    try:
        key = json.dumps(declared, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError):
        return expand(declared)
    return _expand_cached(key)


@functools.lru_cache(maxsize=4096)
def _expand_cached(key: str) -> dict[str, Any]:
    return expand(json.loads(key))


def _on_topology(declared: Mapping[str, object], topologies: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    name = declared["topology"]
    if not isinstance(name, str) or name not in topologies:
        near = difflib.get_close_matches(str(name), topologies, n=1)
        remedy = f"`topology: {near[0]}`" if near else "the name of a topology file that is there, or the short form"
        raise HardwareError([fault("topology", name, "no topology of that name", remedy)])
    base = Facts(topologies[name]).normalised()
    extra = {k: v for k, v in declared.items() if k != "topology"}
    problems = unknown_keys(extra)
    for key in ("cpu", "smt", "nps"):
        if key in extra:
            problems.append(fault(key, extra[key], "a topology has its CPUs already", f"no `{key}` beside `topology`"))
    nodes = [n["node"] for n in base["numa"] if n["cpus"]]
    parts = short_devices(extra, nodes, problems)
    if "memory" in extra:
        memory = read_memory(extra["memory"], problems)
        for entry in base["numa"]:
            entry["memory_bytes"] = memory // len(nodes) if entry["node"] in nodes and nodes else 0
    if problems:
        raise HardwareError(problems)
    return base | {k: v for k, v in parts.items() if v is not None} | {k: extra[k] for k in ("name",) if k in extra}
