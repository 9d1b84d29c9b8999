"""Files that are whole after a crash: written beside, on the disk, then renamed into place."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path


def text_of(path: Path) -> str:
    """Text of a small file without blanks around it, "" where there is none or the kernel gives none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def replace(
    path: Path, text: str, mode: int, owner: tuple[int, int] | None = None, changed_ns: int | None = None
) -> None:
    """Replace a file in one step, readable by nobody else until its mode is set; `owner` is user and group.

    `changed_ns` is the modification time it gets, nanoseconds since the epoch, where that is not now.
    It is on the disk when this returns, and so is its name: a power cut leaves the text of before or this one.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            if owner:
                os.fchown(out.fileno(), *owner)
            os.fchmod(out.fileno(), mode)
            if changed_ns is not None:
                os.utime(out.fileno(), ns=(changed_ns, changed_ns))
            os.fsync(out.fileno())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise
    sync([path.parent])


def point(path: Path, target: str) -> None:
    """Point a link at a target by a rename, so that it exists at every moment."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    beside.symlink_to(target)
    beside.rename(path)
    sync([path.parent])


def sync(paths: Iterable[Path]) -> None:
    """Have files and folders written to the disk; all of it at once would wait for NFS servers that are away."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        except OSError as error:
            # Some file systems cannot sync a folder.
            if error.errno != errno.EINVAL:
                raise
        finally:
            os.close(handle)
