"""Running programs of this machine, and failing with words an operator can act on."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class LabError(Exception):
    """Something the lab needs is missing or failed; the text says what and what to do."""


def run(
    command: Sequence[str],
    *,
    text_in: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    check: bool = True,
    timeout_sec: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program and keep its output; LabError with its last lines when it fails and `check` is set."""
    try:
        done = subprocess.run(
            list(command),
            input=text_in,
            stdin=subprocess.DEVNULL if text_in is None else None,
            env=None if env is None else dict(env),
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_sec,
        )
    except FileNotFoundError as missing:
        raise LabError(f"{command[0]} is not installed") from missing
    except subprocess.TimeoutExpired as late:
        raise LabError(f"no answer within {timeout_sec:.0f} s from: {' '.join(command)}") from late
    if check and done.returncode != 0:
        last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-15:])
        raise LabError(f"exit status {done.returncode} from: {' '.join(command)}\n{last}")
    return done


def out(command: Sequence[str]) -> str:
    """Standard output of a program that must succeed, without the newline at its end."""
    return run(command).stdout.strip()
