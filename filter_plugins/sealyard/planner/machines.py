"""Hardware of the input document, normalised; hosts of one model are read once."""

from __future__ import annotations

import difflib
import hashlib
import json
import marshal
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, Final

from sealyard.hardware.declared import HardwareError, normalise
from sealyard.planner.document import Host
from sealyard.planner.reader import Reader

NOT_THERE: Final = object()
"""A machine that is named and nowhere declared."""
IGNORED: Final = frozenset(("name", "source", "source_blob", "source_licence", "reader", "notes", "summary", "display"))
ROUND_FROM: Final = 16 << 30


def _alike(hardware: Mapping[str, Any]) -> dict[str, Any]:
    """Hardware without what tells two machines of one model apart: names, UUIDs, the last GiB of memory."""
    alike = {key: value for key, value in hardware.items() if key not in IGNORED}
    gpus, numa = hardware.get("gpus"), hardware.get("numa")
    if isinstance(gpus, list) and all(isinstance(gpu, Mapping) for gpu in gpus):
        alike["gpus"] = [
            {k: v for k, v in gpu.items() if k != "uuid"} if isinstance(gpu, dict) else gpu for gpu in gpus
        ]
    if isinstance(numa, list) and all(isinstance(node, dict) for node in numa):
        alike["numa"] = [
            {**node, "memory_bytes": memory >> 30 << 30}
            if type(memory := node.get("memory_bytes")) is int and memory >= ROUND_FROM
            else node
            for node in numa
        ]
    return alike


def hardware_key(hardware: Any) -> bytes:
    """A fingerprint: hosts with equal hardware share one layout."""
    try:
        data = marshal.dumps(hardware, 2)
    except ValueError:  # Ansible's tagged text and numbers
        data = json.dumps(hardware, default=str).encode()
    return hashlib.blake2b(data, digest_size=16).digest()


def _sorted_key(hardware: Any) -> bytes:
    """`hardware_key` whatever the order of keys, which is another in a file than in facts; four times as slow."""
    try:
        data = json.dumps(hardware, sort_keys=True, default=str)
    except TypeError:  # keys of several types
        return hardware_key(hardware)
    return hashlib.blake2b(data.encode(), digest_size=16).digest()


class Machines:
    """Normalised hardware by fingerprint, so that a fleet of one model is read once."""

    def __init__(self, machines: Mapping[str, Any], reader: Reader) -> None:
        self.machines = machines
        self.reader = reader
        self.seen: dict[bytes, Mapping[str, Any] | HardwareError] = {}
        self.keys: dict[int, bytes] = {}
        self.sorted: dict[bytes, bytes] = {}

    def resolved(self, declared: object, path: str) -> tuple[object, str]:
        """Return what a name or a lone `topology` stands for, and where that is written."""
        if isinstance(declared, str):
            if declared not in self.machines:
                near = difflib.get_close_matches(declared, self.machines, n=1, cutoff=0.3)
                self.reader.bad(path, declared, "is not in machines", near[0] if near else "a name under machines")
                return NOT_THERE, path
            path = f"machines.{declared}"
            declared = self.machines[declared]
        if isinstance(declared, Mapping) and set(declared) == {"topology"}:
            named = declared["topology"]
            declared = self.machines.get(named, declared) if isinstance(named, str) else declared
        return declared, path

    def read(self, declared: object, path: str) -> tuple[Mapping[str, Any] | None, bytes]:
        """Return hardware that `resolved` has found, normalised, and its fingerprint."""
        if declared is NOT_THERE:
            return None, b""
        if not isinstance(declared, Mapping):
            self.reader.bad(
                path,
                declared,
                "no hardware is known for this host" if declared is None else "is not a dictionary",
                "declare sealing_hardware, e.g. {cpu: EPYC 7542 x1, memory: 1TiB}, or run playbooks/hardware.yml",
            )
            return None, b""
        key = self.keys.get(id(declared))
        if key is None:
            alike = _alike(declared)
            as_written = hardware_key(alike)
            if as_written not in self.sorted:
                self.sorted[as_written] = _sorted_key(alike)
            key = self.keys[id(declared)] = self.sorted[as_written]
            declared = alike
        if key not in self.seen:
            try:
                self.seen[key] = normalise(declared, topologies=self.machines)
            except HardwareError as error:
                self.seen[key] = error
        known = self.seen[key]
        if not isinstance(known, HardwareError):
            return known, key
        for problem in known.problems:
            where = f"{path}.{problem.path}" if problem.path else path
            self.reader.bad(where, problem.value, problem.problem, problem.remedy)
        return None, key


def gpu_uuids(
    declared: object, known: Mapping[str, Any] | None, machines: Mapping[str, Any], path: str, reader: Reader
) -> dict[str, str]:
    """UUIDs by PCI address: each host has its own, so they are no part of the hardware that hosts share."""
    if not isinstance(declared, Mapping):
        return {}
    gpus = declared.get("gpus")
    if known is not None and "gpus" not in declared and "topology" in declared:
        gpus = machines[declared["topology"]].get("gpus")
    elif known is not None and "cpus" not in declared and isinstance(gpus, list | Mapping) and "uuid" in str(gpus):
        gpus = normalise(declared, topologies=machines)["gpus"]  # the short form has no addresses before
    found: dict[str, str] = {}
    for index, gpu in enumerate(gpus if isinstance(gpus, list) else ()):
        uuid = gpu.get("uuid") if isinstance(gpu, Mapping) else None
        if uuid is None or uuid == "":
            continue
        if not isinstance(uuid, str) or uuid in found.values():
            problem = "is another GPU's UUID, too" if isinstance(uuid, str) else "is not a text"
            reader.bad(f"{path}.gpus[{index}].uuid", uuid, problem, "each GPU's own UUID (nvidia-smi -L), or null")
        else:
            found[str(gpu.get("pci"))] = uuid
    return found


def drop_shared_uuids(hosts: Collection[Host]) -> None:
    """A UUID that two hosts name, from a machine they share, is at most one's: their GPUs go by number."""
    owners = Counter(uuid for host in hosts for uuid in host.gpu_uuids.values())
    for host in hosts:
        host.gpu_uuids = {pci: uuid for pci, uuid in host.gpu_uuids.items() if owners[uuid] == 1}
