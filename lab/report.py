"""What the operator sees while the lab works: a moving picture on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table

from lab.sealing import Record

console = Console(highlight=False, soft_wrap=True)
ORDER = ("AP", "PC1", "PC2", "C1", "C2", "FIN", "GET")


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


@contextmanager
def following() -> Iterator[Callable[[Record, str], None]]:
    """A function to call with the record and a line at every change."""
    begin = time.monotonic()
    if not console.is_terminal:
        yield lambda _record, line: print(f"lab: {time.monotonic() - begin:5.0f} s  {line}", flush=True)
        return
    with Live(console=console, refresh_per_second=4) as live:
        yield lambda record, _line: live.update(_progress(record, time.monotonic() - begin))


def _progress(record: Record, seconds: float) -> Table:
    view = Table(title=f"sealing, {seconds:.0f} s", title_justify="left")
    for column in ("sector", "state", "last task"):
        view.add_column(column)
    for number in record.alive():
        last = [task for task in record.tasks if task.sector == number][-1:]
        view.add_row(str(number), record.states[number], " ".join(f"{task.task} on {task.worker}" for task in last))
    return view


def table(record: Record) -> str:
    """Each sector, each task, the worker that did it, seconds, bytes from another host; aligned plain text."""
    rows = [("sector", "task", "worker", "seconds", "bytes from another host")]
    for number in record.alive():
        done = sorted((t for t in record.tasks if t.sector == number), key=lambda task: task.begin)
        for task in done:
            seconds = "under 1" if task.end is None else f"{task.end - task.begin:.1f}"
            rows.append((str(number), task.task, task.worker, seconds, str(task.fetched_bytes)))
        if not done:
            rows.append((str(number), "-", "sealed before this record began", "-", "-"))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])
