"""NUMA nodes with their memory, CPUs and hugepages."""

from __future__ import annotations

import re

from .tree import Entry, Tree, natural


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
                "cpus": tree.cpus(where, "cpulist")}  # fmt: skip
        if pages:
            node["hugepages"] = pages
        nodes.append(node)
        row = tree.read(where, "distance")
        matrix.append([int(d) for d in row.split()] if row and re.fullmatch(r"[\d\s]+", row) else [])
    if not nodes or any(len(row) != len(nodes) for row in matrix):
        return nodes, None
    return nodes, {"nodes": numbers, "matrix": matrix}


def uma_node(tree: Tree) -> list[Entry]:
    """The one node of a kernel built without NUMA: all CPUs, all memory."""
    total = re.search(r"MemTotal:\s*(\d+) kB", tree.read("proc/meminfo") or "")
    online = tree.cpus("sys/devices/system/cpu/online")
    if not online:
        return []
    return [{"node": 0, "memory_bytes": int(total.group(1)) * 1024 if total else None, "cpus": online}]
