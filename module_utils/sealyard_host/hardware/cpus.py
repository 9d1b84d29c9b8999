"""CPUs with core, socket, NUMA node, L3 and kind."""

from __future__ import annotations

import re

from .. import cpu_lists
from .tree import Entry, Tree

BASE = "sys/devices/system/cpu"


def read_cpus(tree: Tree, nodes: list[Entry]) -> list[Entry]:
    """Every present CPU with its place."""
    present = tree.cpus(BASE, "present")
    if not present:
        present = sorted(int(n[3:]) for n in tree.names(BASE) if re.fullmatch(r"cpu\d+", n))
    online = set(tree.cpus(BASE, "online")) if tree.read(BASE, "online") is not None else set(present)
    allowed = allowed_cpus(tree)
    node_of = {cpu: node["node"] for node in nodes for cpu in node["cpus"]}
    kinds = cpu_kinds(tree)
    core_of, socket_of = read_cores(tree, [cpu for cpu in present if cpu in online])
    l3_of = read_l3(tree, [cpu for cpu in present if cpu in online])
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


def read_cores(tree: Tree, online: list[int]) -> tuple[dict[int, int], dict[int, int | None]]:
    """Number of the core and of the socket by CPU. Siblings are read once per core, not once per CPU."""
    core_of: dict[int, int] = {}
    socket_of: dict[int, int | None] = {}
    cores = 0
    for cpu in online:
        if cpu in core_of:
            continue
        where = f"{BASE}/cpu{cpu}"
        siblings = tree.cpus(where, "topology/core_cpus_list") or tree.cpus(where, "topology/thread_siblings_list")
        if cpu in siblings:
            socket = tree.number(where, "topology/physical_package_id")
            for sibling in siblings:
                core_of[sibling] = cores
                # -1 is the kernel's word for unknown
                socket_of[sibling] = socket if socket is not None and socket >= 0 else None
            cores += 1
    return core_of, socket_of


def read_l3(tree: Tree, online: list[int]) -> dict[int, int]:
    """Number of the L3 by CPU, read once per L3."""
    l3_of: dict[int, int] = {}
    index_names: set[str] = set()
    groups = 0
    for cpu in online:
        if cpu in l3_of:
            continue
        sharers = l3_sharers(tree, f"{BASE}/cpu{cpu}", index_names)
        if cpu in sharers:
            l3_of.update(dict.fromkeys(sharers, groups))
            groups += 1
    return l3_of


def l3_sharers(tree: Tree, where: str, index_names: set[str]) -> list[int]:
    """CPUs that share this one's L3. `index_names` keeps which index was the L3 on CPUs before, to look there first."""
    order = sorted(index_names) + [
        n for n in tree.names(where, "cache") if n.startswith("index") and n not in index_names
    ]
    for name in reversed(order) if not index_names else order:
        if tree.number(where, "cache", name, "level") == 3:
            index_names.add(name)
            return tree.cpus(where, "cache", name, "shared_cpu_list")
    return []


def allowed_cpus(tree: Tree) -> set[int] | None:
    """CPUs this process may run on; None where the kernel does not say."""
    text = cpu_lists.allowed(tree.read("proc/self/status") or "")
    return set(cpu_lists.parse(text)) if text else None


def cpu_kinds(tree: Tree) -> dict[int, str]:
    """performance or efficiency per CPU on hybrid machines; empty on all others."""
    big = tree.cpus("sys/devices/cpu_core/cpus")
    small = tree.cpus("sys/devices/cpu_atom/cpus")
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
