"""The files of a sector, as each sealing task of the 2 KiB proofs leaves them."""

from __future__ import annotations

import contextlib
import os
import shutil

KINDS = ("unsealed", "sealed", "cache", "update", "update-cache", "piece")
DIRECTORIES = ("cache", "update-cache")
LAYERS = 2
TREE_FILES = {"sc-02-data-tree-d.dat": 4064}
TREE_C_R = {"sc-02-data-tree-c.dat": 4064, "sc-02-data-tree-r-last.dat": 1024, "p_aux": 64, "t_aux": 256}
SECTOR_BYTES = 2048


def pattern(seed: str, size_bytes: int) -> bytes:
    """Bytes that differ from sector to sector, so that a copy of the wrong sector is seen."""
    text = seed.encode() or b"\0"
    return (text * (size_bytes // len(text) + 1))[:size_bytes]


def write_bytes(path: str, data: bytes) -> None:
    with open(path, "wb") as stream:
        stream.write(data)


def write_unsealed(path: str) -> None:
    write_bytes(path, b"\0" * SECTOR_BYTES)


def write_precommit1(sealed: str, cache: str, name: str) -> None:
    if os.path.isdir(cache):
        shutil.rmtree(cache)
    os.makedirs(cache, mode=0o755)
    write_bytes(sealed, b"\0" * SECTOR_BYTES)
    for layer in range(1, LAYERS + 1):
        write_bytes(os.path.join(cache, f"sc-02-data-layer-{layer}.dat"), pattern(f"{name}/{layer}", SECTOR_BYTES))
    for file, size_bytes in TREE_FILES.items():
        write_bytes(os.path.join(cache, file), pattern(name, size_bytes))


def write_precommit2(sealed: str, cache: str, name: str, commitment: str) -> None:
    """FileNotFoundError when precommit 1 left no layers here."""
    with open(os.path.join(cache, f"sc-02-data-layer-{LAYERS}.dat"), "rb") as stream:
        stream.read(1)
    write_bytes(sealed, pattern(commitment, SECTOR_BYTES))
    for file, size_bytes in TREE_C_R.items():
        write_bytes(os.path.join(cache, file), pattern(f"{commitment}/{file}", size_bytes))


def clear_cache(cache: str) -> None:
    for file in os.listdir(cache):
        if "-layer-" in file or file in ("sc-02-data-tree-d.dat", "sc-02-data-tree-c.dat"):
            os.unlink(os.path.join(cache, file))


def write_finalized(root: str, name: str, commitment: str) -> None:
    """A sector as pre-seal leaves it: sealed and cleared cache."""
    for kind in ("sealed", "cache"):
        os.makedirs(os.path.join(root, kind), mode=0o775, exist_ok=True)
    sealed, cache = os.path.join(root, "sealed", name), os.path.join(root, "cache", name)
    write_precommit1(sealed, cache, name)
    write_precommit2(sealed, cache, name, commitment)
    clear_cache(cache)


def healthy(sealed: str, cache: str) -> bool:
    """What a window PoSt needs to read."""
    return os.path.isfile(sealed) and all(
        os.path.isfile(os.path.join(cache, f)) for f in ("p_aux", "t_aux", "sc-02-data-tree-r-last.dat")
    )


def remove(path: str) -> None:
    if os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            os.unlink(path)
