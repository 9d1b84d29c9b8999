"""Programs that are run: what they print, or why they failed in their own words."""

from __future__ import annotations

import shlex
import subprocess
from typing import Any


class ProgramFailed(OSError):
    """A program is missing, hangs or ended badly; the text has the command and its words."""


def run(*command: str, timeout_sec: float | None = None, **how: Any) -> str:
    """Standard output of a program; ProgramFailed unless it ends well. `how` goes to subprocess as it is."""
    line = shlex.join(command)
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, timeout=timeout_sec, **how
        )
    except FileNotFoundError as error:
        raise ProgramFailed(f"{command[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise ProgramFailed(f"{line}: no answer within {timeout_sec:.0f} s") from error
    if done.returncode:
        words = (done.stderr or done.stdout).strip() or f"status {done.returncode}"
        raise ProgramFailed(f"{line}: {words}")
    return str(done.stdout)


def output(*command: str, timeout_sec: float = 60) -> str:
    """Standard output of a program that one can do without; "" when it is missing, hangs or fails."""
    try:
        return run(*command, timeout_sec=timeout_sec)
    except OSError:
        return ""


def last_words(text: str, otherwise: str = "it said nothing") -> str:
    """The last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip(" -\t")]
    return lines[-1] if lines else otherwise
