"""What the operator sees while the lab works: a moving line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

console = Console(highlight=False, soft_wrap=True)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Announce a step, and say how long it took once it is done."""
    begin = time.monotonic()
    if console.is_terminal:
        with console.status(title):
            yield
    else:
        print(f"lab: {title} ...", flush=True)
        yield
    console.print(f"lab: {title}: done in {time.monotonic() - begin:.0f} s")
