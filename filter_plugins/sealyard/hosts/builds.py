"""Filter lotus_builds: folders of Lotus binaries on the controller to what a host needs to know of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sealyard.errors import SealyardError

BINARIES = ("lotus", "lotus-miner", "lotus-worker", "lotus-seed")


def folder_of_binaries(folder: Path) -> Path:
    """The folder itself or the first one below it that holds binaries; a release archive has one folder inside."""
    for place in (folder, *sorted(path for path in folder.rglob("*") if path.is_dir())):
        if any((place / name).is_file() for name in BINARIES):
            return place
    raise SealyardError(
        f"{folder} holds none of {', '.join(BINARIES)}; put the binaries there or correct lotus_install_builds"
    )


def digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def describe(folder: Path) -> dict[str, Any]:
    """Return {dir, id, binaries} of one build; `id` is 12 hexadecimal digits of its content.

    Two builds of one Lotus version differ in their id, so that a rebuild is installed and not taken for the old one.
    """
    place = folder_of_binaries(folder)
    present = [name for name in BINARIES if (place / name).is_file()]
    content = "".join(f"{name} {digest(place / name)}\n" for name in present)
    return {"dir": str(place), "id": hashlib.sha256(content.encode()).hexdigest()[:12], "binaries": present}


def lotus_builds(folders: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Describe the build in each folder, by its key (default, amd, intel, x86_64, aarch64)."""
    if not folders:
        raise SealyardError(
            "no Lotus binaries are given; set lotus_install_builds: {default: FOLDER}, or lotus_install_archives with "
            "url and sha256"
        )
    for key, folder in folders.items():
        if not Path(folder).is_dir():
            raise SealyardError(f"lotus_install_builds.{key}: there is no folder {folder} on this machine")
    return {key: describe(Path(folder)) for key, folder in folders.items()}
