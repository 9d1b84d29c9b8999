"""Programs of the network, and the error with which a change is refused."""

from __future__ import annotations

from collections.abc import Sequence

from .. import programs

APPLY_LIMIT_SEC = 60


class Refused(Exception):
    """The interface is not changed; the text says why and what to do."""


def run(command: Sequence[str], check: bool = False) -> str:
    """Standard output of a program, empty where it is missing or fails; Refused instead when `check` is set."""
    if not check:
        return programs.output(*command, timeout_sec=APPLY_LIMIT_SEC)
    try:
        return programs.run(*command, timeout_sec=APPLY_LIMIT_SEC)
    except programs.ProgramFailed as error:
        raise Refused(str(error)) from error
