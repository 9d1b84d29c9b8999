"""The models that data/ knows: CPUs with their caches and nodes, GPUs with their memory, RDMA cards with their rate."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

DATA: Final = Path(__file__).parent / "data"


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
    """One row of data/nics.yml: a card that speaks RDMA."""

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
        for row in _read("nics.yml")["models"]
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


def nearest(word: str, known: Iterable[str], cutoff: float) -> str | None:
    """The known word most like `word`; of equals the one that begins alike: 7541 is nearer to 7542 than to 9754."""
    near = difflib.get_close_matches(word, list(known), n=8, cutoff=cutoff)
    alike = {k: (difflib.SequenceMatcher(None, word, k).ratio(), _common_start(word, k)) for k in near}
    return max(alike, key=lambda k: (*alike[k], k)) if alike else None


def _common_start(a: str, b: str) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
