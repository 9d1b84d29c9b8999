"""The fork's log: DEBUG lines of scheduler and paths by default, and some lines that bypass go-log."""

from __future__ import annotations

import os
import sys
import time

from .. import common
from ..common import log, set_log_level

LEVELS = ("DEBUG", "INFO", "WARN", "ERROR")
DEBUGGED = ("advmgr", "stores")


def set_up() -> None:
    """GOLOG_LOG_LEVEL, set to anything but debug, takes the DEBUG lines away."""
    wanted = os.environ.get("GOLOG_LOG_LEVEL")
    if wanted is None:
        for system in DEBUGGED:
            set_log_level(system, "debug")
        return
    level = wanted.split(",")[0].upper()
    if level == "DEBUG":
        set_log_level("*", "debug")
    elif level in LEVELS:
        common.hidden_levels.update(LEVELS[: LEVELS.index(level)])


def debug(system: str, message: str) -> None:
    log("DEBUG", system, message)


def raw(text: str) -> None:
    """A line of Go's own log package."""
    sys.stderr.write(time.strftime("%Y/%m/%d %H:%M:%S ") + text + "\n")
    sys.stderr.flush()
