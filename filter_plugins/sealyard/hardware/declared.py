"""Declared hardware: the schema of tests/topologies and the inventory's short form, checked and made one.

`normalise` takes what stands in `sealing_hardware` of one host and returns the topologies schema:

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
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

DATA: Final = Path(__file__).parent / "data"
CPU_TABLE: Final = "a model of filter_plugins/sealyard/hardware/data/cpus.yml"
GPU_TABLE: Final = "a model of filter_plugins/sealyard/hardware/data/gpus.yml"

LISTS: Final = ("cpus", "numa", "gpus", "rdma", "nvme", "net", "accelerators", "display")
SHORT_KEYS: Final = (
    "topology",
    "cpu",
    "memory",
    "gpus",
    "scratch",
    "nic",
    "smt",
    "nps",
    "system_disk",
    "name",
    "notes",
)

# Below this a node's memory is surely written in GiB or MiB; 0 is a node without memory.
SMALLEST_NODE_BYTES: Final = 1 << 20
LARGEST_BYTES: Final = 1 << 60
MOST_GPUS: Final = 64

Problem = dict[str, object]


class HardwareError(Exception):
    """Declared hardware that cannot be used. `problems` has every fault: {path, value, problem, remedy}."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems: list[Problem] = list(problems)
        super().__init__("; ".join(f"{p['path']}: {p['problem']} (write {p['remedy']})" for p in self.problems))


@dataclass(frozen=True, slots=True)
class CpuModel:
    """One row of data/cpus.yml; all counts are per socket."""

    name: str
    cores: int
    threads_per_core: int
    l3_groups: int
    nodes_per_socket: tuple[int, ...]
    max_sockets: int
    sha_extensions: bool


@dataclass(frozen=True, slots=True)
class GpuModel:
    """One row of data/gpus.yml."""

    name: str
    vendor: str
    memory_bytes: int
    cuda_cores: int
    pci_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NicModel:
    """One RDMA-capable card of data/gpus.yml."""

    name: str
    vendor: str
    device: str
    driver: str
    max_gbit: int


def _read(name: str) -> Any:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load((DATA / name).read_text(encoding="utf-8"), Loader=loader)


@functools.cache
def cpu_models() -> dict[str, CpuModel]:
    """Known CPU models by `model_key`."""
    return {
        model_key(row["name"]): CpuModel(
            row["name"], row["cores"], row["threads_per_core"], row["l3_groups"], tuple(row["nodes_per_socket"]),
            row["max_sockets"], row["sha_extensions"],
        )
        for row in _read("cpus.yml")["models"]
    }  # fmt: skip


@functools.cache
def gpu_models() -> dict[str, GpuModel]:
    """Known GPU models by `model_key`."""
    return {
        model_key(row["name"]): GpuModel(
            row["name"], row["vendor"], row["memory_gib"] << 30, row["cuda_cores"], tuple(row["pci_ids"])
        )
        for row in _read("gpus.yml")["models"]
    }


@functools.cache
def _gpu_by_pci_id() -> dict[str, GpuModel]:
    return {pci_id: model for model in gpu_models().values() for pci_id in model.pci_ids}


@functools.cache
def nic_models() -> dict[str, NicModel]:
    """Known RDMA cards by `model_key`."""
    return {
        model_key(row["name"]): NicModel(row["name"], row["vendor"], row["device"], row["driver"], row["max_gbit"])
        for row in _read("gpus.yml")["nics"]
    }


_NOISE: Final = re.compile(
    r"\(r\)|\(tm\)|\b(amd|intel|nvidia|geforce|mellanox|nvlink|tesla|processor|cpu|ryzen(?= threadripper))\b|"
    r"\b\d+-core\b|\b0\b|@.*$",
    re.IGNORECASE,
)


@functools.cache
def model_key(name: str) -> str:
    """A model's name without vendor, signs, clock and spaces: `AMD EPYC 7542 32-Core Processor` → `epyc7542`."""
    return re.sub(r"[^a-z0-9+]", "", _NOISE.sub(" ", name.lower()))


def find_cpu(name: str) -> CpuModel | None:
    """The CPU model of that name; the family may be left out (`7542`, `Gold 6148`), a P names the one-socket part."""
    models = cpu_models()
    key = model_key(name)
    if not key:
        return None
    if key in models:
        return models[key]
    if key.startswith("epyc") and key.endswith("p") and key[:-1] in models:
        base = models[key[:-1]]
        return CpuModel(f"{base.name}P", base.cores, base.threads_per_core, base.l3_groups, base.nodes_per_socket, 1,
                        base.sha_extensions)  # fmt: skip
    if re.fullmatch(r"\d{4}p", key):
        return find_cpu(f"EPYC {key.upper()}")
    tails = [model for known, model in models.items() if known.endswith(key) and len(key) >= 4]
    return tails[0] if len(tails) == 1 else None


def find_gpu(name: str) -> GpuModel | None:
    """The GPU model of that name, or None; `NVIDIA GeForce RTX 3080` and `RTX3080` are one."""
    models = gpu_models()
    key = model_key(name)
    if key in models:
        return models[key]
    # nvidia-smi's own names of the data-centre cards: "A100-SXM4-40GB", "Tesla V100-PCIE-16GB", "H100 80GB HBM3"
    bare = re.sub(r"sxm\d?|pcie", "", key)
    if bare in models:
        return models[bare]
    return models.get(re.sub(r"80gbhbm\w*", "sxm", key))


def gpu_memory_bytes(gpu: Mapping[str, object]) -> int | None:
    """VRAM of one GPU entry: as stated, else by its name, else by its PCI id where that id means one size."""
    stated = gpu.get("memory_bytes")
    if isinstance(stated, int) and not isinstance(stated, bool):
        return stated
    name = gpu.get("name")
    model = find_gpu(name) if isinstance(name, str) else None
    model = model or _gpu_by_pci_id().get(f"{gpu.get('vendor')}:{gpu.get('device')}")
    return model.memory_bytes if model else None


def has_sha_extensions(hardware: Mapping[str, Any]) -> bool | None:
    """Whether the CPU has the SHA instructions PC1 lives on; None where the model is not known."""
    machine = hardware.get("machine") or {}
    name = machine.get("cpu_model")
    model = find_cpu(name) if isinstance(name, str) else None
    return model.sha_extensions if model else None


def scratch_bytes(hardware: Mapping[str, Any]) -> int | None:
    """Bytes of the NVMe drives that may carry /sealer: all but the system's; None where there is none."""
    free = [int(d["bytes"]) for d in hardware.get("nvme", ()) if d.get("bytes") and d.get("system") is not True]
    return sum(free) if free else None


# ---------------------------------------------------------------------------------------------------------------------
# Quantities

_UNITS: Final[dict[str, int]] = {"b": 1} | {
    prefix + suffix: base**power
    for power, prefix in enumerate("kmgtp", start=1)
    for suffix, base in (("b", 1000), ("ib", 1024))
}
_SIZE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgtp]?i?b)", re.IGNORECASE)


def parse_bytes(value: object) -> int | None:
    """`1TiB`, `7.68 TB` or a whole number of bytes → bytes; None for anything else. TiB is 2^40, TB is 10^12."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if value > 0 else None
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        number, unit = match.groups()
        amount = round(float(number) * _UNITS[unit.lower()])
        return amount if 0 < amount < LARGEST_BYTES else None
    return None


_COUNT_FIRST: Final = re.compile(r"(\d+)\s*[x×*]\s+(.+)|(\d+)[x×](.+)", re.IGNORECASE)
_COUNT_LAST: Final = re.compile(r"(.+?)\s+[x×]\s*(\d+)", re.IGNORECASE)


def _counted(text: str) -> tuple[int, str]:
    """`8x 2TB NVMe` and `EPYC 7542 x2` → (8, "2TB NVMe"), (2, "EPYC 7542"); no count is 1."""
    text = text.strip()
    if match := _COUNT_FIRST.fullmatch(text):
        count, rest = (match[1], match[2]) if match[1] else (match[3], match[4])
        return int(count), rest.strip()
    if match := _COUNT_LAST.fullmatch(text):
        return int(match[2]), match[1].strip()
    return 1, text


# ---------------------------------------------------------------------------------------------------------------------
# Entry


def normalise(
    declared: Mapping[str, object], *, topologies: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """Return declared hardware in the topologies schema (see the module's head).

    `declared` is a whole topology (it has `cpus`), or the short form (`cpu: EPYC 7542 x1`, `memory: 1TiB`,
    `gpus: [RTX 3080]`, `scratch: 8x 2TB NVMe`, `nic: ConnectX-5 100G`, `smt: false`, `nps: 4`), or `topology: NAME` of
    `topologies` with any of the short form's other keys on top.

    Short forms are cached: treat the result as read-only. Raises HardwareError with every problem found.
    """
    if not isinstance(declared, Mapping):
        raise HardwareError([_problem("", declared, "hardware must be a mapping",
                                      "`cpu: EPYC 7542 x1` and `memory: 1TiB` under sealing_hardware")])  # fmt: skip
    if not declared:
        raise HardwareError([_problem("", {}, "the host declares no hardware at all", "at least `cpu` and `memory`")])
    if "cpus" in declared:
        return _Checker(declared).topology()
    if "topology" in declared:
        return _on_topology(declared, topologies or {})
    try:
        key = json.dumps(declared, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError):
        return _expand(declared)
    return _expand_cached(key)


@functools.lru_cache(maxsize=4096)
def _expand_cached(key: str) -> dict[str, Any]:
    return _expand(json.loads(key))


def _problem(path: str, value: object, problem: str, remedy: str) -> Problem:
    shown = value if isinstance(value, str | int | bool | type(None)) else repr(value)
    if isinstance(shown, str) and len(shown) > 80:
        shown = shown[:77] + "..."
    return {"path": path, "value": shown, "problem": problem, "remedy": remedy}


def _on_topology(declared: Mapping[str, object], topologies: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    name = declared["topology"]
    if not isinstance(name, str) or name not in topologies:
        near = difflib.get_close_matches(str(name), topologies, n=1)
        remedy = f"`topology: {near[0]}`" if near else "the name of a topology file that is there, or the short form"
        raise HardwareError([_problem("topology", name, "no topology of that name", remedy)])
    base = _Checker(topologies[name]).topology()
    extra = {k: v for k, v in declared.items() if k != "topology"}
    problems = _unknown_keys(extra)
    for key in ("cpu", "smt", "nps"):
        if key in extra:
            problems.append(
                _problem(key, extra[key], "a topology has its CPUs already", f"no `{key}` beside `topology`")
            )
    nodes = [n["node"] for n in base["numa"] if n["cpus"]]
    parts = _devices(extra, nodes, problems)
    if "memory" in extra:
        memory = _memory(extra["memory"], problems)
        for entry in base["numa"]:
            entry["memory_bytes"] = memory // len(nodes) if entry["node"] in nodes and nodes else 0
    if problems:
        raise HardwareError(problems)
    return base | {k: v for k, v in parts.items() if v is not None} | {k: extra[k] for k in ("name",) if k in extra}


def _unknown_keys(declared: Mapping[str, object]) -> list[Problem]:
    problems = []
    for key in declared:
        if key not in SHORT_KEYS:
            near = difflib.get_close_matches(str(key), SHORT_KEYS, n=1)
            problems.append(_problem(str(key), declared[key], "no such key in the hardware's short form",
                                     f"`{near[0]}`" if near else f"one of {', '.join(SHORT_KEYS)}"))  # fmt: skip
    return problems


def _expand(declared: Mapping[str, object]) -> dict[str, Any]:
    problems = _unknown_keys(declared)
    model, sockets, nps, threads = _cpu(declared, problems)
    memory = _memory(declared.get("memory"), problems)
    nodes = list(range(sockets * nps))
    parts = _devices(declared, nodes, problems)
    if problems or model is None:
        raise HardwareError(problems)

    total = model.cores * sockets
    cores_per_l3 = model.cores // model.l3_groups
    cores_per_node = model.cores // nps
    cpus = [
        {
            "cpu": thread * total + core,
            "core": core,
            "socket": core // model.cores,
            "node": min(core // cores_per_node, len(nodes) - 1),
            "l3": core // cores_per_l3,
            "online": True,
            "allowed": True,
        }
        for thread in range(threads)
        for core in range(total)
    ]
    numa = [
        {"node": node, "memory_bytes": memory // len(nodes), "cpus": [c["cpu"] for c in cpus if c["node"] == node]}
        for node in nodes
    ]
    result: dict[str, Any] = {
        "name": declared.get("name"),
        "notes": list(_strings(declared.get("notes"))),
        "machine": {"arch": "x86_64", "cpu_model": model.name, "product": None, "kernel": None},
        "cpus": cpus,
        "numa": numa,
    }
    return result | {key: parts.get(key) or [] for key in LISTS if key not in ("cpus", "numa")}


def _nearest(word: str, known: Iterable[str], cutoff: float) -> str | None:
    """The known word most like `word`; of equals the one that begins alike: 7541 is nearer to 7542 than to 9754."""
    near = difflib.get_close_matches(word, list(known), n=8, cutoff=cutoff)
    alike = {k: (difflib.SequenceMatcher(None, word, k).ratio(), _common_start(word, k)) for k in near}
    return max(alike, key=lambda k: (*alike[k], k)) if alike else None


def _common_start(a: str, b: str) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _strings(value: object) -> Iterable[str]:
    if isinstance(value, str):
        return [value]
    return [str(v) for v in value] if isinstance(value, list) else []


def _cpu(declared: Mapping[str, object], problems: list[Problem]) -> tuple[CpuModel | None, int, int, int]:
    """(model, sockets, NUMA nodes per socket, threads per core) of the short form."""
    text = declared.get("cpu")
    if not isinstance(text, str):
        problems.append(_problem("cpu", text, "the host declares no CPU" if text is None else "a CPU is named as text",
                                 "a model and its sockets, such as `EPYC 7542 x1`"))  # fmt: skip
        return None, 1, 1, 1
    sockets, name = _counted(text)
    model = find_cpu(name)
    if model is None:
        near = _nearest(model_key(name), cpu_models(), 0.75)
        hint = f"`{cpu_models()[near].name}`" if near else CPU_TABLE
        problems.append(_problem("cpu", text, f"{name!r} is not in the table of CPU models",
                                 f"{hint}, or the machine's own topology (sealing_hardware facts)"))  # fmt: skip
        return None, 1, 1, 1
    if not 1 <= sockets <= model.max_sockets:
        problems.append(_problem("cpu", text, f"{model.name} has 1 to {model.max_sockets} sockets, not {sockets}",
                                 f"`{model.name} x{model.max_sockets}`"))  # fmt: skip
        sockets = 1
    nps = declared.get("nps", model.nodes_per_socket[0])
    if isinstance(nps, bool) or not isinstance(nps, int) or nps not in model.nodes_per_socket:
        choices = "` or `nps: ".join(str(n) for n in model.nodes_per_socket)
        problems.append(
            _problem("nps", nps, f"{model.name} cannot have that many NUMA nodes per socket", f"`nps: {choices}`")
        )
        nps = model.nodes_per_socket[0]
    smt = declared.get("smt", True)
    if not isinstance(smt, bool):
        problems.append(_problem("smt", smt, "SMT is on or off", "`smt: true` or `smt: false`"))
        smt = True
    return model, sockets, nps, model.threads_per_core if smt else 1


def _memory(value: object, problems: list[Problem]) -> int:
    memory = parse_bytes(value)
    if memory is not None and memory >= SMALLEST_NODE_BYTES:
        return memory
    if value is None:
        problem = "the host declares no memory"
    elif isinstance(value, int | float) and not isinstance(value, bool) and value < 0:
        problem = "memory cannot be negative"
    elif memory is not None:
        problem = "less than 1 MiB: the unit is missing"
    else:
        problem = "not a size"
    problems.append(_problem("memory", value, problem, "a size with its unit, such as `1TiB` or `512GiB`"))
    return SMALLEST_NODE_BYTES


def _items(value: object) -> list[object]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _devices(declared: Mapping[str, object], nodes: list[int], problems: list[Problem]) -> dict[str, Any]:
    """gpus, rdma, net and nvme of the short form; None for those the declaration does not name."""
    rdma, net = _nics(_items(declared.get("nic")), nodes, problems)
    return {
        "gpus": _gpus(_items(declared["gpus"]), nodes, problems) if "gpus" in declared else None,
        "rdma": rdma if "nic" in declared else None,
        "net": net if "nic" in declared else None,
        "nvme": _drives(declared, nodes, problems) if "scratch" in declared or "system_disk" in declared else None,
    }


def _home(item: object, path: str, nodes: list[int], problems: list[Problem]) -> tuple[str, int | None, str | None]:
    """(text, NUMA node, PCI address) of one device: `RTX 3080`, `RTX 3080 @1` or {name, numa_node, pci}."""
    only = nodes[0] if len(nodes) == 1 else None
    if isinstance(item, str):
        text, at, where = item.partition("@")
        if not at:
            return text.strip(), only, None
        node: object = int(where) if where.strip().isdigit() else where
        pci = None
    elif isinstance(item, Mapping) and isinstance(item.get("name"), str):
        text, node, pci = item["name"], item.get("numa_node", only), item.get("pci")
        if pci is not None and pci_key(pci) is None:
            problems.append(_problem(f"{path}.pci", pci, "not a PCI address", "one such as `0000:3b:00.0`"))
            pci = None
    else:
        problems.append(_problem(path, item, "a device is named as text or as {name, numa_node}", "such as `RTX 3080`"))
        return "", None, None
    if node is not None and (isinstance(node, bool) or not isinstance(node, int) or node not in nodes):
        problems.append(_problem(f"{path}.numa_node", node, "the machine has no such NUMA node",
                                 f"one of {', '.join(str(n) for n in nodes)}"))  # fmt: skip
        node = None
    return text.strip(), node, pci


def _gpus(items: list[object], nodes: list[int], problems: list[Problem]) -> list[dict[str, Any]]:
    """GPUs without a PCI address get made-up ones in the order they are written in, which is nvidia-smi's."""
    addressed = [isinstance(item, Mapping) and item.get("pci") is not None for item in items]
    if any(addressed) and not all(addressed):
        # CUDA counts by address: one that is made up could come before or after a real one.
        bare = addressed.index(False)
        problems.append(
            _problem(f"gpus[{bare}]", items[bare], "a GPU without PCI address beside one that has its own",
                     "`pci` with every GPU, or with none and all in the order of nvidia-smi -L")
        )  # fmt: skip
        return []
    gpus: list[dict[str, Any]] = []
    for index, item in enumerate(items):
        path = f"gpus[{index}]"
        text, node, pci = _home(item, path, nodes, problems)
        if not text:
            continue
        count, name = _counted(text)
        model = find_gpu(name)
        stated = parse_bytes(item.get("memory")) if isinstance(item, Mapping) else None
        if model is None and stated is None:
            near = _nearest(model_key(name), gpu_models(), 0.7)
            hint = f"`{gpu_models()[near].name}`" if near else GPU_TABLE
            problems.append(_problem(path, text, f"{name!r} is not in the table of GPU models",
                                     f"{hint}, or {{name: {name}, memory: 24GiB}}"))  # fmt: skip
            continue
        if not 1 <= count <= MOST_GPUS - len(gpus) or (pci and count > 1):
            problems.append(_problem(path, text, "a host has 1 to 64 GPUs, one PCI address each", f"`8x {name}`"))
            continue
        for _ in range(count):
            gpus.append(
                {
                    "pci": pci or f"0000:{0x41 + len(gpus):02x}:00.0",
                    "vendor": model.vendor if model else None,
                    "device": None,
                    "class": "0302",
                    "name": model.name if model else name,
                    "numa_node": node,
                    "memory_bytes": stated or (model.memory_bytes if model else None),
                    "uuid": item.get("uuid") if isinstance(item, Mapping) else None,
                }
            )
    return gpus


_NIC_RATE: Final = re.compile(r"\s*\b(\d+)\s*(?:g|gb|gbe|gbit|gbps|gb/s|gbit/s)\b", re.IGNORECASE)


def _nics(
    items: list[object], nodes: list[int], problems: list[Problem]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    rdma: list[dict[str, Any]] = []
    net: list[dict[str, Any]] = []
    for index, item in enumerate(items):
        path = "nic" if len(items) == 1 else f"nic[{index}]"
        text, node, pci = _home(item, path, nodes, problems)
        if not text:
            continue
        count, name = _counted(text)
        rate = _NIC_RATE.search(name)
        model_name = _NIC_RATE.sub("", name).strip() if rate else name
        model = nic_models().get(model_key(model_name))
        if (model_name and model is None) or (not model_name and rate is None) or not 1 <= count <= 16:
            problems.append(_problem(path, text, "not a network card of the table",
                                     "one such as `ConnectX-5 100G` (RDMA) or `2x 10GbE`"))  # fmt: skip
            continue
        gbit = int(rate[1]) if rate else model.max_gbit if model else 0
        if model and gbit > model.max_gbit:
            problems.append(_problem(path, text, f"{model.name} carries at most {model.max_gbit} Gbit/s",
                                     f"`{model.name} {model.max_gbit}G`"))  # fmt: skip
            continue
        for _ in range(count):
            number = len(net)
            address = pci or f"0000:{0xA1 + number:02x}:00.0"
            netdev = f"eth{number}"
            bits = gbit * 10**9
            net.append({"name": netdev, "pci": address, "numa_node": node, "speed_bits_per_sec": bits})
            if model:
                rdma.append(
                    {
                        "name": f"{model.driver}_{len(rdma)}",
                        "pci": address,
                        "numa_node": node,
                        "netdev": netdev,
                        "vendor": model.vendor,
                        "device": model.device,
                        "port_state": {"1": 4},
                        "rate_bits_per_sec": bits,
                    }
                )
    return rdma, net


def _drives(declared: Mapping[str, object], nodes: list[int], problems: list[Problem]) -> list[dict[str, Any]]:
    """NVMe drives of `scratch`, and of `system_disk` where that is one too."""
    drives: list[dict[str, Any]] = []
    for key, system in (("system_disk", True), ("scratch", False)):
        items = _items(declared.get(key))
        for index, item in enumerate(items):
            path = key if len(items) == 1 else f"{key}[{index}]"
            if isinstance(item, Mapping | str):
                text, node, _ = _home(item, path, nodes, problems)
            else:
                problems.append(_problem(path, item, "drives are named as text", "such as `8x 2TB NVMe`"))
                continue
            count, rest = _counted(text)
            size_text, _, kind = rest.partition(" ") if " " in rest else (rest, "", "nvme")
            if (match := _SIZE.match(rest)) is not None:
                size_text, kind = match[0], rest[match.end() :].strip() or "nvme"
            size = parse_bytes(size_text)
            kind = kind.strip().lower()
            if size is None or kind not in ("nvme", "ssd", "hdd") or not 1 <= count <= 64 or size < SMALLEST_NODE_BYTES:
                problems.append(
                    _problem(path, item, "not a set of drives", "count, size and kind, such as `8x 2TB NVMe`")
                )
                continue
            if kind != "nvme":
                if not system:
                    problems.append(_problem(path, item, f"{kind.upper()} is too slow for PC1 (500 GB a sector)",
                                             "NVMe drives, such as `8x 2TB NVMe`"))  # fmt: skip
                continue
            for _ in range(count):
                drives.append({"name": f"nvme{len(drives)}n1", "pci": f"0000:{0x01 + len(drives):02x}:00.0",
                               "numa_node": node, "bytes": size, "system": system})  # fmt: skip
    return drives


# ---------------------------------------------------------------------------------------------------------------------
# The topologies schema, checked


_PCI: Final = re.compile(r"(?:([0-9a-f]{1,8}):)?([0-9a-f]{1,2}):([0-9a-f]{1,2})\.([0-7])", re.IGNORECASE)


def pci_key(text: object) -> tuple[int, int, int, int] | None:
    """(domain, bus, device, function) of a PCI address, so that 00000000:3B:00.0 and 0000:3b:00.0 are one."""
    match = _PCI.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        return None
    return int(match[1] or "0", 16), int(match[2], 16), int(match[3], 16), int(match[4], 16)


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


class _Checker:
    """Checks one topology and keeps every problem; `topology()` returns the normalised copy."""

    def __init__(self, declared: Mapping[str, object]) -> None:
        self.declared = declared
        self.problems: list[Problem] = []
        self.nodes: set[int] = set()
        self.unsure: set[str] = set()
        """Lists with an entry that could not be read: what others say of such an entry is no second mistake."""
        self.misplaced: set[int] = set()

    def bad(self, path: str, value: object, problem: str, remedy: str) -> None:
        self.problems.append(_problem(path, value, problem, remedy))

    def topology(self) -> dict[str, Any]:
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
        nodes = {n["node"] for n in entries_of_numa if isinstance(n, Mapping) and _is_count(n.get("node"))}
        failed = False
        for path, entry in entries:
            get = entry.get
            number, core, socket, node, l3 = get("cpu"), get("core"), get("socket"), get("node"), get("l3")
            readable = _is_count(number) and all(v is None or _is_count(v) for v in (core, socket, node, l3))
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
                here = (path, socket, node, l3)
                first = places.setdefault(core, here)
                if first[1:] != here[1:]:
                    self.misplaced.add(core)
                    self.bad(f"{path}.core", core,
                             f"core {core} has a thread in another socket, node or L3 ({first[0]})",
                             "cores numbered over the whole machine from 0, not per socket")  # fmt: skip
            out.append(dict(entry) | {"cpu": number, "core": core, "socket": socket, "node": node, "l3": l3,
                                      "online": online, "allowed": allowed})  # fmt: skip
        if not failed and not self.problems and not any(c["online"] and c["allowed"] for c in out):
            self.bad(
                "cpus",
                len(out),
                "the host has no CPU that is online and allowed",
                "the host's CPUs, or no declared hardware",
            )
        return sorted(out, key=lambda c: c["cpu"])

    def numa(self, entries: list[tuple[str, Mapping[str, Any]]], cpus: list[dict[str, Any]]) -> list[dict[str, Any]]:
        out: list[dict[str, Any]] = []
        node_of = {c["cpu"]: c["node"] for c in cpus if c["core"] is None or c["core"] not in self.misplaced}
        all_cpus = {c["cpu"] for c in cpus}
        owner: dict[int, int] = {}
        there = {entry["node"] for _, entry in entries if _is_count(entry.get("node"))}
        for path, entry in entries:
            node = self.count(path, entry, "node", null=False)
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
            members = entry.get("cpus", [])
            if not isinstance(members, list | tuple) or not all(_is_count(c) for c in members):
                self.bad(
                    f"{path}.cpus",
                    members,
                    "a node's CPUs are a list of CPU numbers",
                    "a list such as [0, 1, 2, 3]; [] for a memory-only node",
                )
                members = []
            if node is None:
                self.unsure.add("numa")
                continue
            if any(n["node"] == node for n in out):
                self.unsure.add("numa")
                self.bad(f"{path}.node", node, f"NUMA node {node} is there twice", "each node once")
                continue
            for cpu in members if cpus else ():
                if cpu not in all_cpus:
                    if "cpus" in self.unsure:
                        continue
                    self.bad(
                        f"{path}.cpus",
                        cpu,
                        f"node {node} names CPU {cpu}, which is not in cpus",
                        "only CPUs that cpus lists",
                    )
                elif owner.setdefault(cpu, node) != node:
                    self.bad(
                        f"{path}.cpus", cpu, f"CPU {cpu} is on nodes {owner[cpu]} and {node}", "each CPU on one node"
                    )
                elif node_of.get(cpu) in there and node_of[cpu] != node:
                    self.bad(
                        f"{path}.cpus",
                        cpu,
                        f"node {node} names CPU {cpu}, whose own node is {node_of[cpu]}",
                        "the same node in both places",
                    )
            out.append(dict(entry) | {"node": node, "memory_bytes": memory, "cpus": sorted(members)})
        if entries and "numa" not in self.unsure:
            known = {n["node"] for n in out}
            for node in sorted({n for n in node_of.values() if n is not None} - known):
                first = next(cpu for cpu, home in node_of.items() if home == node)
                self.bad(
                    "cpus",
                    first,
                    f"CPU {first} is on NUMA node {node}, which numa does not have",
                    f"an entry for node {node} under numa",
                )
        return sorted(out, key=lambda n: n["node"])

    def hugepages(self, path: str, value: object, memory: int | None) -> None:
        """A node's hugepages: [{size_bytes, total}], together no more than its memory."""
        pages = value if value is not None else []
        if not isinstance(pages, list | tuple) or not all(
            isinstance(p, Mapping)
            and _is_count(p.get("size_bytes"))
            and (p.get("total") is None or _is_count(p["total"]))
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
        if near is not None and (not isinstance(near, list) or not all(_is_count(n) and n in self.nodes for n in near)):
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
                isinstance(row, list) and len(row) == len(nodes) and all(_is_count(d) for d in row) for row in matrix
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
