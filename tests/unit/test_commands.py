"""bin/test and bin/lab say what they can do on a machine that has nothing, and leave it as it is."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What would install or ask for rights.
FORBIDDEN = ("apt-get", "dpkg-query", "sudo", "python3", "pip", "unshare", "mkdir", "id")


def run_bare(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """A command where every program that could change the machine fails and leaves a file that says who called it."""
    for name in FORBIDDEN:
        stub = folder / name
        stub.write_text(f'#!/bin/sh\necho {name} "$@" >>{folder}/called\nexit 77\n')
        stub.chmod(0o755)
    path = f"{folder}:{os.defpath}"
    return subprocess.run(command, env={"PATH": path}, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("test", ["--help"]),
        ("test", ["-h"]),
        ("test", ["unit", "--help"]),
        ("lab", []),
        ("lab", ["help"]),
        ("lab", ["--help"]),
        ("lab", ["-h"]),
    ],
)
def test_help_is_printed_before_anything_is_installed(tmp_path: Path, name: str, words: list[str]) -> None:
    done = run_bare(tmp_path, str(ROOT / "bin" / name), *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (ROOT / "bin" / f"{name}.txt").read_text(encoding="utf-8")
    assert f"bin/{name} " in done.stdout
    assert not (tmp_path / "called").exists()


def test_whatever_is_no_help_asks_for_rights_first(tmp_path: Path) -> None:
    """That the stubs above do see what the commands call."""
    assert run_bare(tmp_path, str(ROOT / "bin/lab"), "status").returncode != 0
    assert (tmp_path / "called").read_text(encoding="utf-8").startswith("id -u\n")
