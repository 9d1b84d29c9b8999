"""The sealing figures of data/sealing_model.json, by sector size; every figure's source stands there beside it."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sealyard.lotus.tasks import BY_NAME

GIB: Final = 1 << 30
DAY_SEC: Final = 86400
SECTOR_BYTES: Final = {"2KiB": 2 << 10, "8MiB": 8 << 20, "512MiB": 512 << 20, "32GiB": 32 << 30, "64GiB": 64 << 30}
SECTOR_SIZES: Final = tuple(SECTOR_BYTES)


@functools.cache
def model() -> dict[str, Any]:
    """Return the whole data file."""
    loaded: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "sealing_model.json").read_text("utf-8"))
    return loaded


@dataclass(frozen=True, slots=True)
class Figures:
    """What one sector of a size costs; bytes and seconds."""

    sector_size: str
    token: str
    sector_bytes: int
    peak_bytes: int
    moved_bytes: int
    pc1_bytes: int
    parents_bytes: int
    pc2_bytes: int
    pc2_recommended_bytes: int
    c2_bytes: int
    c2_recommended_bytes: int
    seconds: Mapping[str, float]
    c1_output_bytes: int
    task_memory_bytes: Mapping[str, int]

    def task_bytes(self, task: str) -> int:
        """Return the memory that one task of this name needs."""
        return self.task_memory_bytes[BY_NAME[task].needs_as or task]

    @property
    def small(self) -> bool:
        """True where memory and scratch never limit: the 2 KiB and 8 MiB sectors of a devnet."""
        return self.pc1_bytes == 0

    def gpu_seconds(self, task: str, name: str | None) -> float:
        """Seconds of one PC2 or C2 on a GPU of this name; an unknown model gets the bench box's figure."""
        if self.sector_size in ("32GiB", "64GiB") and name:
            for known, row in model()["gpu_seconds_32gib"].items():
                if known.replace(" ", "").lower() in name.replace(" ", "").lower():
                    return float(row[task]) * (2.0 if self.sector_size == "64GiB" else 1.0)
        return float(self.seconds[task])


@functools.lru_cache(maxsize=64)
def _figures(sector_size: str, measured: tuple[tuple[str, float], ...]) -> Figures:
    data = model()
    size = data["sector_sizes"][sector_size]
    memory = data["memory_gib"][sector_size]
    seconds = {k: float(v) for k, v in data["stage_seconds"][sector_size].items() if k != "source"}
    for task, value in measured:
        seconds[task] = value
        if task == "PC1":
            seconds["PC1_single_core"] = max(value, seconds["PC1_single_core"])
    return Figures(
        sector_size=sector_size,
        token=size["token"],
        sector_bytes=size["bytes"],
        peak_bytes=size["peak_bytes"],
        moved_bytes=size["moved_bytes"],
        pc1_bytes=memory["PC1"] * GIB,
        parents_bytes=memory["parent_cache"] * GIB,
        pc2_bytes=memory["PC2"] * GIB,
        pc2_recommended_bytes=memory["PC2_recommended"] * GIB,
        c2_bytes=memory["C2"] * GIB,
        c2_recommended_bytes=memory["C2_recommended"] * GIB,
        seconds=seconds,
        c1_output_bytes=data["bytes_c1_to_c2"]["value"],
        task_memory_bytes={task: memory[task] * GIB for task in ("PC1", "PC2", "C2", "RU")},
    )


def figures(sector_size: str, measured_sec: Mapping[str, float] | None = None) -> Figures:
    """Return the figures of a sector size; the operator's measured seconds (AP, PC1, PC2, C2) win over the table."""
    return _figures(sector_size, tuple(sorted((measured_sec or {}).items())))
