"""The facts schema: hardware as library/sealing_hardware.py reads it from a machine, checked entry by entry."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from sealyard.hardware.catalogue import gpu_memory_bytes
from sealyard.hardware.problems import HardwareError, fault
from sealyard.hardware.quantities import LARGEST_BYTES, SMALLEST_NODE_BYTES, is_count, pci_key
from sealyard.problem import Problem

LISTS: Final = ("cpus", "numa", "gpus", "rdma", "nvme", "net", "accelerators", "display")


class Facts:
    """One machine as declared. `normalised()` is the checked copy, or raises every problem found."""

    def __init__(self, declared: Mapping[str, object]) -> None:
        self.declared = declared
        self.problems: list[Problem] = []
        self.nodes: set[int] = set()
        self.unsure: set[str] = set()
        """Lists with an entry that could not be read: what others say of such an entry is no second mistake."""
        self.misplaced: set[int] = set()
        """Cores whose threads do not agree where they are."""
        self.node_of: dict[int, Any] = {}
        self.owner: dict[int, int] = {}

    def bad(self, path: str, value: object, problem: str, remedy: str) -> None:
        self.problems.append(fault(path, value, problem, remedy))

    def normalised(self) -> dict[str, Any]:
        out: dict[str, Any] = dict(self.declared)
        if "cpu" in out or "memory" in out:
            self.bad(
                "cpus",
                "...",
                "both the short form and a topology are given",
                "either `cpu` and `memory`, or `cpus` and `numa`",
            )
        lists = {key: self.entries(key) for key in LISTS}
        out["cpus"] = self.cpus(lists["cpus"])
        self.nodes = {c["node"] for c in out["cpus"] if type(c["node"]) is int}
        out["numa"] = self.numa(lists["numa"], out["cpus"])
        self.nodes |= {n["node"] for n in out["numa"]}
        out["gpus"] = self.devices("gpus", lists["gpus"], identity="pci")
        out["rdma"] = self.devices("rdma", lists["rdma"], identity="name")
        for key in ("nvme", "net", "accelerators", "display"):
            out[key] = self.devices(key, lists[key], identity="name" if key in ("nvme", "net") else "pci")
        self.distances(out.get("numa_distances"))
        machine = out.get("machine")
        if not isinstance(machine, Mapping | None) or not all(
            isinstance((machine or {}).get(key), str | None) for key in ("arch", "cpu_model", "product", "kernel")
        ):
            self.bad(
                "machine",
                machine,
                "machine is a mapping of texts",
                "{arch, cpu_model, product, kernel}, each text or null",
            )
        if self.problems:
            raise HardwareError(self.problems)
        for gpu in out["gpus"]:
            if (memory := gpu_memory_bytes(gpu)) is not None:
                gpu["memory_bytes"] = memory
        return out

    def entries(self, key: str) -> list[tuple[str, Mapping[str, Any]]]:
        """(path, entry) of a list of objects; anything else in it is a problem."""
        value = self.declared.get(key)
        if value is None:
            return []
        if not isinstance(value, list | tuple):
            self.unsure.add(key)
            self.bad(key, value, "must be a list", f"a list of objects as in tests/topologies, or no `{key}` at all")
            return []
        good = []
        for index, entry in enumerate(value):
            if isinstance(entry, Mapping):
                good.append((f"{key}[{index}]", entry))
            else:
                self.unsure.add(key)
                self.bad(f"{key}[{index}]", entry, "must be an object", f"an object as in tests/topologies, `{key}`")
        return good

    def count(self, path: str, entry: Mapping[str, Any], key: str, *, null: bool) -> int | None:
        """A whole number of 0 or more; None where null is allowed and given, or after a problem."""
        value = entry.get(key)
        if type(value) is int and value >= 0:
            return value
        if value is None and null:
            return None
        if value is None:
            problem = "is missing"
        elif isinstance(value, str):
            problem = "is text where a number is needed"
        elif isinstance(value, int | float) and value < 0:
            problem = "is negative"
        else:
            problem = "is not a whole number"
        self.bad(
            f"{path}.{key}", value, f"{key} {problem}", "a whole number of 0 or more" + (", or null" if null else "")
        )
        return None

    def cpus(self, entries: list[tuple[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
        out: list[dict[str, Any]] = []
        seen: dict[int, str] = {}
        places: dict[int, tuple[str, object, object, object]] = {}
        numa = self.declared.get("numa")
        entries_of_numa = numa if isinstance(numa, list | tuple) else ()
        nodes = {n["node"] for n in entries_of_numa if isinstance(n, Mapping) and is_count(n.get("node"))}
        failed = False
        for path, entry in entries:
            get = entry.get
            number, core, socket, node, l3 = get("cpu"), get("core"), get("socket"), get("node"), get("l3")
            readable = is_count(number) and all(v is None or is_count(v) for v in (core, socket, node, l3))
            if not readable:
                number = self.count(path, entry, "cpu", null=False)
                core, socket, node, l3 = (
                    self.count(path, entry, k, null=True) for k in ("core", "socket", "node", "l3")
                )
            online, allowed = get("online", True), get("allowed", True)
            for key, value in (("online", online), ("allowed", allowed)):
                if type(value) is not bool:
                    self.bad(f"{path}.{key}", value, f"{key} is true or false", f"`{key}: true` or `{key}: false`")
                    failed = True
            if number is None:
                failed = True
                self.unsure.add("cpus")
                continue
            if number in seen:
                self.unsure.add("cpus")
                self.bad(f"{path}.cpu", number, f"CPU {number} is already {seen[number]}", "each CPU number once")
                continue
            seen[number] = path
            if core is not None and readable and (not nodes or node is None or node in nodes):
                self.same_core(core, places.setdefault(core, (path, socket, node, l3)), (path, socket, node, l3))
            place = {"cpu": number, "core": core, "socket": socket, "node": node, "l3": l3}
            out.append(dict(entry) | place | {"online": online, "allowed": allowed})
        if not failed and not self.problems and not any(c["online"] and c["allowed"] for c in out):
            problem = "the host has no CPU that is online and allowed"
            self.bad("cpus", len(out), problem, "the host's CPUs, or no declared hardware")
        return sorted(out, key=lambda c: c["cpu"])

    def same_core(self, core: int, first: tuple[object, ...], here: tuple[object, ...]) -> None:
        """Whether two threads of a core, each (path, socket, node, L3), are in one place."""
        if first[1:] != here[1:]:
            self.misplaced.add(core)
            problem = f"core {core} has a thread in another socket, node or L3 ({first[0]})"
            self.bad(f"{here[0]}.core", core, problem, "cores numbered over the whole machine from 0, not per socket")

    def numa(self, entries: list[tuple[str, Mapping[str, Any]]], cpus: list[dict[str, Any]]) -> list[dict[str, Any]]:
        out: list[dict[str, Any]] = []
        self.node_of = {c["cpu"]: c["node"] for c in cpus if c["core"] is None or c["core"] not in self.misplaced}
        all_cpus = {c["cpu"] for c in cpus}
        there = {entry["node"] for _, entry in entries if is_count(entry.get("node"))}
        for path, entry in entries:
            node = self.count(path, entry, "node", null=False)
            memory = self.node_memory(path, entry)
            members = self.members(path, entry)
            if node is None:
                self.unsure.add("numa")
                continue
            if any(n["node"] == node for n in out):
                self.unsure.add("numa")
                self.bad(f"{path}.node", node, f"NUMA node {node} is there twice", "each node once")
                continue
            for cpu in members if cpus else ():
                self.place(f"{path}.cpus", cpu, node, all_cpus, there)
            out.append(dict(entry) | {"node": node, "memory_bytes": memory, "cpus": sorted(members)})
        if entries and "numa" not in self.unsure:
            known = {n["node"] for n in out}
            for node in sorted({n for n in self.node_of.values() if n is not None} - known):
                first = next(cpu for cpu, home in self.node_of.items() if home == node)
                problem = f"CPU {first} is on NUMA node {node}, which numa does not have"
                self.bad("cpus", first, problem, f"an entry for node {node} under numa")
        return sorted(out, key=lambda n: n["node"])

    def node_memory(self, path: str, entry: Mapping[str, Any]) -> int | None:
        memory = self.count(path, entry, "memory_bytes", null=True)
        if memory is not None and 0 < memory < SMALLEST_NODE_BYTES:
            self.bad(
                f"{path}.memory_bytes",
                memory,
                "less than 1 MiB on a node: not bytes",
                "the node's memory in bytes, such as 137438953472 for 128 GiB",
            )
        elif memory is not None and memory > LARGEST_BYTES:
            self.bad(f"{path}.memory_bytes", memory, "more memory than any node has", "the node's memory in bytes")
        self.hugepages(f"{path}.hugepages", entry.get("hugepages"), memory)
        return memory

    def members(self, path: str, entry: Mapping[str, Any]) -> list[int]:
        """The CPU numbers that a node names."""
        listed = entry.get("cpus", [])
        if isinstance(listed, list | tuple) and all(is_count(cpu) for cpu in listed):
            return list(listed)
        remedy = "a list such as [0, 1, 2, 3]; [] for a memory-only node"
        self.bad(f"{path}.cpus", listed, "a node's CPUs are a list of CPU numbers", remedy)
        return []

    def place(self, path: str, cpu: int, node: int, all_cpus: set[int], there: set[int]) -> None:
        """Whether a CPU that a node names is there, on no other node, and says so itself."""
        if cpu not in all_cpus:
            if "cpus" not in self.unsure:
                problem = f"node {node} names CPU {cpu}, which is not in cpus"
                self.bad(path, cpu, problem, "only CPUs that cpus lists")
        elif self.owner.setdefault(cpu, node) != node:
            self.bad(path, cpu, f"CPU {cpu} is on nodes {self.owner[cpu]} and {node}", "each CPU on one node")
        elif self.node_of.get(cpu) in there and self.node_of[cpu] != node:
            problem = f"node {node} names CPU {cpu}, whose own node is {self.node_of[cpu]}"
            self.bad(path, cpu, problem, "the same node in both places")

    def hugepages(self, path: str, value: object, memory: int | None) -> None:
        """A node's hugepages: [{size_bytes, total}], together no more than its memory."""
        pages = value if value is not None else []
        if not isinstance(pages, list | tuple) or not all(
            isinstance(p, Mapping)
            and is_count(p.get("size_bytes"))
            and (p.get("total") is None or is_count(p["total"]))
            for p in pages
        ):
            self.bad(path, value, "not a list of hugepages by size", "such as [{size_bytes: 1073741824, total: 64}]")
        elif memory is not None and sum(p["size_bytes"] * (p.get("total") or 0) for p in pages) > memory:
            self.bad(path, value, "more hugepages than the node has memory", "the node's own number of hugepages")

    def devices(self, key: str, entries: list[tuple[str, Mapping[str, Any]]], *, identity: str) -> list[dict[str, Any]]:
        out: list[dict[str, Any]] = []
        seen: dict[object, str] = {}
        uuids: dict[object, str] = {}
        for path, entry in entries:
            item = dict(entry)
            ident: object = entry.get(identity)
            if identity == "pci":
                ident = pci_key(entry.get("pci"))
                if ident is None:
                    self.bad(f"{path}.pci", entry.get("pci"), "not a PCI address", "one such as `0000:3b:00.0`")
            elif not isinstance(ident, str) or not ident:
                self.bad(f"{path}.name", ident, "the device has no name", "the kernel's name, such as `mlx5_0`")
                ident = None
            if ident is not None and ident in seen:
                self.bad(
                    f"{path}.{identity}",
                    entry.get(identity),
                    f"the device is already {seen[ident]}",
                    "each device once",
                )
            elif ident is not None:
                seen[ident] = path
            for text in ("pci", "name", "vendor", "device", "class", "netdev", "uuid", "model"):
                if text in entry and not isinstance(entry[text], str | None):
                    self.bad(f"{path}.{text}", entry[text], f"{text} is text", f"`{text}` in quotes, or null")
            if not isinstance(entry.get("system"), bool | None):
                self.bad(
                    f"{path}.system", entry["system"], "system is true or false", "`true` for the system's own disk"
                )
            uuid = entry.get("uuid")
            if isinstance(uuid, str):
                if uuid in uuids:
                    self.bad(
                        f"{path}.uuid",
                        uuid,
                        f"the UUID is already {uuids[uuid]}'s",
                        "each GPU's own UUID (nvidia-smi -L)",
                    )
                uuids.setdefault(uuid, path)
            item["numa_node"] = self.home(path, entry)
            for amount in ("bytes", "memory_bytes"):
                if entry.get(amount) is not None:
                    size = self.count(path, entry, amount, null=True)
                    if size == 0 and amount == "memory_bytes":
                        self.bad(
                            f"{path}.{amount}",
                            0,
                            "a device without memory",
                            "its memory in bytes, or null where it is not known",
                        )
            out.append(item)
        order: Callable[[dict[str, Any]], Any] = (
            (lambda d: pci_key(d.get("pci")) or (0, 0, 0, 0))
            if identity == "pci"
            else (lambda d: _natural(str(d.get("name"))))
        )
        return sorted(out, key=order)

    def home(self, path: str, entry: Mapping[str, Any]) -> int | None:
        node = self.count(path, entry, "numa_node", null=True)
        if node is not None and node not in self.nodes and not self.unsure & {"cpus", "numa"}:
            there = ", ".join(str(n) for n in sorted(self.nodes)) or "none"
            self.bad(
                f"{path}.numa_node",
                node,
                f"NUMA node {node} is not there",
                f"one of the machine's nodes ({there}), or null where it is not known",
            )
            return None
        near = entry.get("near_nodes")
        if near is not None and (not isinstance(near, list) or not all(is_count(n) and n in self.nodes for n in near)):
            self.bad(f"{path}.near_nodes", near, "near_nodes is a list of the machine's nodes", "such as [0, 1]")
        return node

    def distances(self, value: object) -> None:
        if value is None:
            return
        nodes = value.get("nodes") if isinstance(value, Mapping) else None
        matrix = value.get("matrix") if isinstance(value, Mapping) else None
        square = (
            isinstance(nodes, list)
            and isinstance(matrix, list)
            and len(matrix) == len(nodes)
            and all(
                isinstance(row, list) and len(row) == len(nodes) and all(is_count(d) for d in row) for row in matrix
            )
        )
        if not square:
            self.bad(
                "numa_distances",
                "...",
                "not a square matrix of distances",
                "{nodes: [...], matrix: [[...]]} as the kernel states it",
            )


def _natural(name: str) -> list[tuple[int, str]]:
    """nvme10n1 after nvme9n1."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
