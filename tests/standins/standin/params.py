"""Proof parameters: which files must lie in FIL_PROOFS_PARAMETER_CACHE before anything that proves can work."""

from __future__ import annotations

import os

from .common import TREE_SHAPES

DEFAULT_DIRECTORY = "/var/tmp/filecoin-proof-parameters"
STEMS = (
    "v28-stacked-proof-of-replication-merkletree-poseidon_hasher-",
    "v28-proof-of-spacetime-fallback-merkletree-poseidon_hasher-",
)


def directory() -> str:
    return os.environ.get("FIL_PROOFS_PARAMETER_CACHE") or DEFAULT_DIRECTORY


def missing(sector_bytes: int) -> str:
    """Empty when parameters of both proofs are there, else what is missing."""
    shape = TREE_SHAPES.get(sector_bytes, "8-0-0")
    try:
        names = os.listdir(directory())
    except OSError:
        return f"open {directory()}: no such file or directory"
    for stem in STEMS:
        if not any(n.startswith(stem + shape) and n.endswith(".params") for n in names):
            return f"parameter file {stem}{shape}*.params is missing in {directory()}"
    return ""


def write(path: str, sector_bytes: int = 2048) -> None:
    """Small files of the names the programs look for."""
    os.makedirs(path, exist_ok=True)
    for stem in STEMS:
        for suffix in ("params", "vk"):
            with open(os.path.join(path, f"{stem}{TREE_SHAPES[sector_bytes]}-standin.{suffix}"), "wb") as stream:
                stream.write(b"stand-in parameters\n")
