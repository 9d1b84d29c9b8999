"""One machine drawn to scale: sockets, NUMA nodes, L3s, cores by worker, memory, GPUs, network cards, scratch."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from sealyard.hardware.cpu_list import parse_cpus
from sealyard.hardware.machine import scratch_bytes
from sealyard.pages.svg import Part, frame, rect, stack, svg, text, titled, wrap
from sealyard.plan.words import GIB, bytes_text, memory_text, plural

CELL: Final = 14
"""Pixels of one physical core, the gap included."""
BYTES_PER_PIXEL_MEMORY: Final = 8 * GIB
BYTES_PER_PIXEL_SCRATCH: Final = 100 * 10**9
BYTES_PER_PIXEL_VRAM: Final = 2 * GIB


@dataclass(slots=True)
class _Use:
    """Who uses which CPU, GPU and memory of a host."""

    worker_of_cpu: dict[int, int]
    reserved: set[int]
    workers: Sequence[Mapping[str, Any]]
    bundle_of_cpu: dict[int, int]
    """Which bundle of its worker a CPU is in, for workers that run several PC1."""

    def kind(self, index: int) -> str:
        """CSS classes of a worker: its tasks, and one of three shades so that neighbours are told apart."""
        worker = self.workers[index]
        same = [i for i, w in enumerate(self.workers) if w["tasks"] == worker["tasks"]]
        return f"{_task_class(worker['tasks'])} s{same.index(index) % 3}"


def _task_class(tasks: Sequence[str]) -> str:
    if "PC1" in tasks:
        return "t-all" if "PC2" in tasks or "C2" in tasks else "t-pc1"
    if "PC2" in tasks:
        return "t-both" if "C2" in tasks else "t-pc2"
    return "t-pc1" if "UNS" in tasks else "t-c2"


def draw_machine(slice_: Mapping[str, Any], hw: Mapping[str, Any]) -> str:
    """Return the figure of one machine: `slice_` is the host's part of the plan, `hw` its normalised hardware."""
    workers = slice_["workers"]
    use = _Use(
        worker_of_cpu={cpu: i for i, w in enumerate(workers) for cpu in parse_cpus(w["cpus"])},
        reserved=set(parse_cpus(slice_["reserved_cpus"])),
        workers=workers,
        bundle_of_cpu={cpu: i for w in workers for i, b in enumerate(w["bundles"]) for cpu in parse_cpus(b)},
    )
    kinds = {i: use.kind(i) for i in range(len(workers))}
    cpus = [c for c in hw["cpus"] if c["online"]]
    nodes_of_socket: dict[object, set[object]] = defaultdict(set)
    sockets_of_node: dict[object, set[object]] = defaultdict(set)
    for c in cpus:
        nodes_of_socket[c["socket"]].add(c["node"])
        sockets_of_node[c["node"]].add(c["socket"])
    # Some machines have several sockets in a node: then the node is the outer box.
    node_outside = any(len(s) > 1 for s in sockets_of_node.values())
    many = len(nodes_of_socket) > 1 or any(len(n) > 1 for n in nodes_of_socket.values())
    view = _View(slice_, hw, use, kinds, cpus)
    boxes = _nodes_of_sockets(view) if node_outside else _sockets_of_nodes(view)
    extra = [_devices(hw, None, use, kinds, 480, label="node not known")] if many else []
    drawing = stack([wrap(boxes, 700), *extra, *_left_out(hw), _scratch(slice_, hw, kinds)], gap=8)
    model = (hw.get("machine") or {}).get("cpu_model") or "CPU model not known"
    image = svg(drawing.width + 2, drawing.height + 2, f"{model}: cores by worker", drawing.svg, margin=1)
    return f"<figure>{image}<figcaption>{escape(_caption(model, hw, cpus))}</figcaption></figure>"


@dataclass(frozen=True, slots=True)
class _View:
    """What every box of a drawing needs."""

    slice_: Mapping[str, Any]
    hw: Mapping[str, Any]
    use: _Use
    kinds: Mapping[int, str]
    cpus: Sequence[Mapping[str, Any]]
    """Those that are online."""

    def cores(self, mine: Sequence[Mapping[str, Any]], limit: float) -> Part:
        return _cores(mine, self.cpus, self.use, self.kinds, limit)

    def with_memory(self, body: Part, node: object, mine: Sequence[Mapping[str, Any]], limit: float) -> Part:
        """The box of a node: its cores, its memory, its devices."""
        memory = next((n for n in self.hw["numa"] if n["node"] == node), None)
        bar = _memory(memory, self.slice_, mine, self.kinds)
        return stack([body, bar, _devices(self.hw, node, self.use, self.kinds, limit)])


def _by(key: str, cpus: Sequence[Mapping[str, Any]]) -> list[tuple[object, list[Mapping[str, Any]]]]:
    """CPUs by socket or node, those without one last."""
    values = sorted({c[key] for c in cpus}, key=lambda v: (v is None, v or 0))
    return [(value, [c for c in cpus if c[key] == value]) for value in values]


def _named(kind: str, number: object) -> str:
    return f"{kind} {number}" if number is not None else f"{kind} not known"


def _sockets_of_nodes(view: _View) -> list[Part]:
    sockets = []
    for socket, inside in _by("socket", view.cpus):
        nodes = _by("node", inside)
        alone = len(nodes) == 1
        boxes = []
        for node, mine in nodes:
            body = view.with_memory(view.cores(mine, 300 if alone else 150), node, mine, 300 if alone else 176)
            boxes.append(body if alone else frame(body, _named("node", node), "node"))
        label = _named("socket", socket)
        if alone and nodes[0][0] is not None:
            label += f" · node {nodes[0][0]}"
        sockets.append(frame(wrap(boxes, 1e9 if len(boxes) <= 2 else 380), label, "socket"))
    return sockets


def _nodes_of_sockets(view: _View) -> list[Part]:
    nodes = []
    for node, inside in _by("node", view.cpus):
        sockets = _by("socket", inside)
        limit = 300 if len(sockets) == 1 else 150
        boxes = [frame(view.cores(mine, limit), _named("socket", socket), "node") for socket, mine in sockets]
        body = wrap(boxes, 1e9 if len(boxes) <= 2 else 520)
        nodes.append(frame(view.with_memory(body, node, inside, 480), _named("node", node), "socket"))
    return nodes


def _left_out(hw: Mapping[str, Any]) -> list[Part]:
    notes = []
    empty = [n for n in hw["numa"] if not n["cpus"] and n.get("memory_bytes")]
    if empty:
        total = sum(n["memory_bytes"] for n in empty)
        notes.append(_note(f"{plural(len(empty), 'memory-only node')}, {memory_text(total)}: not used for sealing"))
    offline = sum(not c["online"] for c in hw["cpus"])
    if offline:
        notes.append(_note(f"{plural(offline, 'CPU')} offline"))
    return notes


def _caption(model: str, hw: Mapping[str, Any], cpus: Sequence[Mapping[str, Any]]) -> str:
    threads = len(cpus) / max(1, len({c["core"] for c in cpus}))
    count = len({c["core"] for c in cpus if c["core"] is not None})
    total = sum(n["memory_bytes"] or 0 for n in hw["numa"])
    each = f"{threads:g} thread{'' if threads == 1 else 's'} each"
    return f"{model} · {plural(count, 'core')}, {each} · {memory_text(total)}"


def _note(words: str) -> Part:
    return Part(len(words) * 5.8, 12, text(0, 10, words, "dim"))


def _cores(
    mine: Sequence[Mapping[str, Any]],
    all_cpus: Sequence[Mapping[str, Any]],
    use: _Use,
    kinds: Mapping[int, str],
    limit: float,
) -> Part:
    """The cores of a box, in their L3s."""
    caches: dict[object, list[Mapping[str, Any]]] = defaultdict(list)
    for c in mine:
        caches[c["l3"]].append(c)
    boxes = []
    for l3 in sorted(caches, key=lambda v: (v is None, v or 0)):
        threads: dict[object, list[Mapping[str, Any]]] = defaultdict(list)
        for c in caches[l3]:
            threads[c["core"] if c["core"] is not None else f"cpu{c['cpu']}"].append(c)
        count = len(threads)
        columns = count if count <= 4 else 4 if count <= 8 else 8 if limit < 200 else 10
        cells = []
        for position, siblings in enumerate(sorted(threads.values(), key=lambda s: int(s[0]["cpu"]))):
            x, y = position % columns * CELL, position // columns * CELL
            cells.append(_core(x, y, siblings, use, kinds))
        body = Part(columns * CELL - 2, -(-count // columns) * CELL - 2, "".join(cells))
        if l3 is None:
            boxes.append(frame(body, "no L3 information", "l3"))
        else:
            wider = len({c["node"] for c in all_cpus if c["l3"] == l3}) > 1
            title = f"L3 {l3}" + (", shared with another NUMA node" if wider else "")
            boxes.append(frame(body, f"L3 {l3}{'*' if wider else ''}", "l3", title))
    return wrap(boxes, limit, gap=4)


def _core(x: float, y: float, siblings: Sequence[Mapping[str, Any]], use: _Use, kinds: Mapping[int, str]) -> str:
    numbers = [int(c["cpu"]) for c in siblings]
    owner = next((use.worker_of_cpu[n] for n in numbers if n in use.worker_of_cpu), None)
    cpus = ",".join(str(n) for n in numbers)
    side = CELL - 2
    if owner is not None:
        worker = use.workers[owner]
        kind, number, begin = kinds[owner], worker["name"].rpartition("-")[2], worker["cpus"]
        bundle = next((use.bundle_of_cpu[n] for n in numbers if n in use.bundle_of_cpu), None)
        if bundle is not None and len(worker["bundles"]) > 1:
            kind, number, begin = f"{kind.split()[0]} s{bundle % 3}", str(bundle), worker["bundles"][bundle]
        first = parse_cpus(begin)[0] in numbers and "PC1" in worker["tasks"]
        mark = text(x + side / 2, y + 9, number, "num") if first and len(number) < 3 else ""
        return titled(f"{worker['name']} · CPU {cpus}", rect(x, y, side, side, kind, 2) + mark)
    if any(n in use.reserved for n in numbers):
        kind, words = "kept", "kept for the system"
    elif not any(c.get("allowed", True) for c in siblings):
        kind, words = "barred", "not allowed"
    else:
        kind, words = "idle", "idle"
    return titled(f"{words} · CPU {cpus}", rect(x, y, side, side, kind, 2))


def _memory(
    node: Mapping[str, Any] | None,
    slice_: Mapping[str, Any],
    cpus: Sequence[Mapping[str, Any]],
    kinds: Mapping[int, str],
) -> Part:
    """The node's memory as a bar, with what each worker is given."""
    if not node or not node.get("memory_bytes"):
        return Part(0, 0, "")
    total = float(node["memory_bytes"])
    wide = total / BYTES_PER_PIXEL_MEMORY
    here = {c["cpu"] for c in cpus}
    x, given, bars = 0.0, 0.0, []
    for i, worker in enumerate(slice_["workers"]):
        own = parse_cpus(worker["cpus"])
        part = sum(c in here for c in own) / max(1, len(own))
        amount = float(worker["memory_bytes"]) * part
        if not amount:
            continue
        step = amount / BYTES_PER_PIXEL_MEMORY
        bars.append(rect(x, 1, max(0.3, min(step, max(0.0, wide - x)) - 0.6), 9, kinds[i]))
        x += step
        given += amount
    words = f"{memory_text(given) if given else 0} of {memory_text(total)}"
    bar = rect(0, 0.5, wide, 10, "bar") + "".join(bars) + text(wide + 6, 9.5, words, "dim")
    body = titled(f"memory: {words} given to workers", bar)
    return Part(wide + 6 + len(words) * 5.6, 12, body)


def _devices(
    hw: Mapping[str, Any], node: object, use: _Use, kinds: Mapping[int, str], limit: float, label: str = ""
) -> Part:
    """GPUs and network cards of a node."""
    parts = []
    for gpu in hw["gpus"]:
        if gpu["numa_node"] != node:
            continue
        owners = [i for i, w in enumerate(use.workers) if gpu["pci"] in w["gpus"]]
        name = _gpu_name(gpu)
        vram = gpu.get("memory_bytes")
        wide = max(82.0, len(name) * 5.7 + 16, (vram or 0) / BYTES_PER_PIXEL_VRAM + 14)
        who = ", ".join(use.workers[i]["name"] for i in owners) or "idle"
        bar = rect(7, 20, vram / BYTES_PER_PIXEL_VRAM, 5, "vram") if vram else ""
        fill = kinds[owners[0]] if owners else "idle"
        title = f"{gpu.get('name') or name} at {gpu['pci']}: {who}" + (f", {memory_text(float(vram))}" if vram else "")
        body = rect(0, 0, wide, 30, fill, 4) + text(7, 14, name, "on" if owners else "dev") + bar
        parts.append(Part(wide, 30, titled(title, body)))
    rdma_pci = {r["pci"] for r in hw["rdma"]}
    for nic in [*hw["rdma"], *(n for n in hw["net"] if n["pci"] not in rdma_pci)]:
        if nic["numa_node"] != node:
            continue
        bits = nic.get("rate_bits_per_sec") or nic.get("speed_bits_per_sec")
        name = nic["name"] + (f" {bits / 10**9:g}G" if bits else "")
        wide = len(name) * 5.8 + 26
        title = f"{'RDMA device' if nic['pci'] in rdma_pci else 'network card'} {nic['name']} at {nic['pci']}"
        body = rect(0, 0, wide, 30, "nic", 15) + text(13, 19, name, "dev")
        parts.append(Part(wide, 30, titled(title, body)))
    if not parts:
        return Part(0, 0, "")
    strip = wrap(parts, limit)
    return stack([_note(label), strip], gap=3) if label else strip


def _gpu_name(gpu: Mapping[str, Any]) -> str:
    name = str(gpu.get("name") or f"{gpu.get('vendor')}:{gpu.get('device')}")
    return re.sub(r"^(NVIDIA|AMD)\s+|GeForce\s+", "", name)


def _scratch(slice_: Mapping[str, Any], hw: Mapping[str, Any], kinds: Mapping[int, str]) -> Part:
    given = [
        (i, w["scratch"]) for i, w in enumerate(slice_["workers"]) if w.get("scratch") and w["scratch"].get("bytes")
    ]
    total = scratch_bytes(hw) or sum(s["bytes"] for _, s in given)
    if not given or total < BYTES_PER_PIXEL_SCRATCH:
        return Part(0, 0, "")
    wide = total / BYTES_PER_PIXEL_SCRATCH
    x, bars = 0.0, []
    for i, scratch in given:
        step = scratch["bytes"] / BYTES_PER_PIXEL_SCRATCH
        bars.append(rect(x, 1, max(0.3, min(step, max(0.0, wide - x)) - 0.6), 9, kinds[i]))
        x += step
    sectors = sum(s.get("sectors") or 0 for _, s in given)
    words = f"scratch {given[0][1].get('path') or ''} {bytes_text(total)}, room for {plural(sectors, 'sector')}"
    body = titled(words, rect(0, 0.5, wide, 10, "bar") + "".join(bars))
    if wide > 420:
        return stack([Part(wide, 11, body), _note(words)], gap=3)
    return Part(wide + 6 + len(words) * 5.7, 12, body + text(wide + 6, 9.5, words, "dim"))
