"""GPUs, network cards and drives of the short form, made into entries of the facts schema."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from sealyard.hardware.catalogue import find_gpu, gpu_models, model_key, nearest, nic_models
from sealyard.hardware.problems import fault
from sealyard.hardware.quantities import SIZE, SMALLEST_NODE_BYTES, counted, parse_bytes, pci_key
from sealyard.problem import Problem

GPU_TABLE: Final = "a model of filter_plugins/sealyard/hardware/data/gpus.yml"
MOST_GPUS: Final = 64


def short_devices(declared: Mapping[str, object], nodes: list[int], problems: list[Problem]) -> dict[str, Any]:
    """gpus, rdma, net and nvme of the short form; None for those the declaration does not name."""
    rdma, net = _nics(_items(declared.get("nic")), nodes, problems)
    return {
        "gpus": _gpus(_items(declared["gpus"]), nodes, problems) if "gpus" in declared else None,
        "rdma": rdma if "nic" in declared else None,
        "net": net if "nic" in declared else None,
        "nvme": _drives(declared, nodes, problems) if "scratch" in declared or "system_disk" in declared else None,
    }


def _items(value: object) -> list[object]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


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
            problems.append(fault(f"{path}.pci", pci, "not a PCI address", "one such as `0000:3b:00.0`"))
            pci = None
    else:
        problems.append(fault(path, item, "a device is named as text or as {name, numa_node}", "such as `RTX 3080`"))
        return "", None, None
    if node is not None and (isinstance(node, bool) or not isinstance(node, int) or node not in nodes):
        problems.append(
            fault(
                f"{path}.numa_node",
                node,
                "the machine has no such NUMA node",
                f"one of {', '.join(str(n) for n in nodes)}",
            )
        )
        node = None
    return text.strip(), node, pci


def _gpus(items: list[object], nodes: list[int], problems: list[Problem]) -> list[dict[str, Any]]:
    """GPUs without a PCI address get made-up ones in the order they are written in, which is nvidia-smi's."""
    addressed = [isinstance(item, Mapping) and item.get("pci") is not None for item in items]
    if any(addressed) and not all(addressed):
        # CUDA counts by address: one that is made up could come before or after a real one.
        bare = addressed.index(False)
        problems.append(
            fault(
                f"gpus[{bare}]",
                items[bare],
                "a GPU without PCI address beside one that has its own",
                "`pci` with every GPU, or with none and all in the order of nvidia-smi -L",
            )
        )
        return []
    gpus: list[dict[str, Any]] = []
    for index, item in enumerate(items):
        path = f"gpus[{index}]"
        text, node, pci = _home(item, path, nodes, problems)
        if not text:
            continue
        count, name = counted(text)
        model = find_gpu(name)
        stated = parse_bytes(item.get("memory")) if isinstance(item, Mapping) else None
        if model is None and stated is None:
            near = nearest(model_key(name), gpu_models(), 0.7)
            hint = f"`{gpu_models()[near].name}`" if near else GPU_TABLE
            problems.append(
                fault(
                    path,
                    text,
                    f"{name!r} is not in the table of GPU models",
                    f"{hint}, or {{name: {name}, memory: 24GiB}}",
                )
            )
            continue
        if not 1 <= count <= MOST_GPUS - len(gpus) or (pci and count > 1):
            problems.append(fault(path, text, "a host has 1 to 64 GPUs, one PCI address each", f"`8x {name}`"))
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
        count, name = counted(text)
        rate = _NIC_RATE.search(name)
        model_name = _NIC_RATE.sub("", name).strip() if rate else name
        model = nic_models().get(model_key(model_name))
        if (model_name and model is None) or (not model_name and rate is None) or not 1 <= count <= 16:
            problems.append(
                fault(
                    path, text, "not a network card of the table", "one such as `ConnectX-5 100G` (RDMA) or `2x 10GbE`"
                )
            )
            continue
        gbit = int(rate[1]) if rate else model.max_gbit if model else 0
        if model and gbit > model.max_gbit:
            problems.append(
                fault(
                    path,
                    text,
                    f"{model.name} carries at most {model.max_gbit} Gbit/s",
                    f"`{model.name} {model.max_gbit}G`",
                )
            )
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
                problems.append(fault(path, item, "drives are named as text", "such as `8x 2TB NVMe`"))
                continue
            count, rest = counted(text)
            size_text, _, kind = rest.partition(" ") if " " in rest else (rest, "", "nvme")
            if (match := SIZE.match(rest)) is not None:
                size_text, kind = match[0], rest[match.end() :].strip() or "nvme"
            size = parse_bytes(size_text)
            kind = kind.strip().lower()
            if size is None or kind not in ("nvme", "ssd", "hdd") or not 1 <= count <= 64 or size < SMALLEST_NODE_BYTES:
                problems.append(fault(path, item, "not a set of drives", "count, size and kind, such as `8x 2TB NVMe`"))
                continue
            if kind != "nvme":
                if not system:
                    problems.append(
                        fault(
                            path,
                            item,
                            f"{kind.upper()} is too slow for PC1 (500 GB a sector)",
                            "NVMe drives, such as `8x 2TB NVMe`",
                        )
                    )
                continue
            for _ in range(count):
                drives.append(
                    {
                        "name": f"nvme{len(drives)}n1",
                        "pci": f"0000:{0x01 + len(drives):02x}:00.0",
                        "numa_node": node,
                        "bytes": size,
                        "system": system,
                    }
                )
    return drives
