"""A stack that no software is behind: what a third party writes to add one, in one file."""

from __future__ import annotations

from collections.abc import Sequence

from sealyard.hardware.machine import Machine
from sealyard.lotus.figures import Figures
from sealyard.plan.layout import Layout, Slot
from sealyard.stacks import Stack


class Toy(Stack):
    """One process per slot, which is told its tasks in one flag and its cores in one variable."""

    name = "toy"
    side_tasks = frozenset(("UNS",))
    scheduler = "the toy box"

    def arrange(self, layout: Layout, machine: Machine) -> None:
        """Leave the slots as they are."""

    def worker_environment(self, slot: Slot, host_has_gpu: bool, figures: Figures) -> dict[str, str]:
        """Return the cores."""
        return {"TOY_CPUS": slot.cpus}

    def worker_flags(self, tasks: Sequence[str]) -> list[str]:
        """Return the tasks in one flag."""
        return [f"--toys={','.join(tasks)}"]
