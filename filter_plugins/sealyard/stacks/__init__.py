"""What the same plan means to each software that seals. `get` is asked; nobody compares names.

Adding a stack adds a module or folder here, and its class to `STACKS`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any, Final

from sealyard.errors import SealyardError
from sealyard.stacks.base import GroupShare, Stack, WorkerPlace
from sealyard.stacks.force_remote_worker import ForceRemoteWorker
from sealyard.stacks.lotus import Lotus
from sealyard.stacks.lotus_distributed import FirstGeneration, SecondGeneration

__all__ = ["GroupShare", "Stack", "WorkerPlace", "facts", "get", "names", "newest", "register"]

STACKS: Final[dict[str, dict[int, Stack]]] = {}
"""By name and generation; the highest generation is the default."""


def register(stack: Stack) -> None:
    """Make a stack known under its name and generation."""
    STACKS.setdefault(stack.name, {})[stack.generation] = stack


for _stack in (Lotus(), FirstGeneration(), SecondGeneration(), ForceRemoteWorker()):
    register(_stack)


def newest() -> list[Stack]:
    """Return the newest generation of each stack."""
    return [generations[max(generations)] for generations in STACKS.values()]


def names(wanted: Callable[[Stack], bool] = lambda _stack: True) -> tuple[str, ...]:
    """Return the choices of sealing_stack, or those of which something is true."""
    return tuple(stack.name for stack in newest() if wanted(stack))


def facts(name: str, generation: int | str | None = None) -> dict[str, Any]:
    """Return what roles and playbooks ask about a stack: its facts, and which stacks could be written instead."""
    return {
        **get(name, generation).facts(),
        "choices": " or ".join(f"{s.name} ({s.scheduler.removeprefix('the ')})" for s in newest() if s.installable),
        "counting_stacks": " or ".join(names(lambda stack: stack.counter_port is not None)),
    }


def get(name: str, generation: int | str | None = None) -> Stack:
    """Return a stack; without a generation the newest one. Raises SealyardError for one that is not there."""
    generations = STACKS.get(str(name))
    if generations is None:
        near = difflib.get_close_matches(str(name), STACKS, n=1, cutoff=0.5)
        raise SealyardError(f"sealing_stack is {name}: write {near[0] if near else 'one of ' + ', '.join(STACKS)}")
    # A stack of one generation does not care what the inventory says of another's.
    wanted = int(str(generation)) if str(generation).isdecimal() else 0
    return generations.get(wanted) or generations[max(generations)]
