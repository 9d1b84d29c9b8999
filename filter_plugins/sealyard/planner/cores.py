"""The cores of a machine that nobody has yet; the system takes its own first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from sealyard.hardware.machine import Core, Domain, Machine
from sealyard.lotus.figures import model
from sealyard.plan.layout import Layout, Slot
from sealyard.planner.needs import Wanted


class Cores:
    """The cores of a machine that nobody has yet, by node and domain."""

    def __init__(self, cores: Iterable[Core]) -> None:
        self.free: dict[Domain, list[Core]] = defaultdict(list)
        for core in cores:
            self.free[core.domain].append(core)

    def domains(self, node: int | None) -> list[Domain]:
        found = [d for d, cores in self.free.items() if cores and d[0] == node]
        return sorted(found, key=lambda d: self.free[d][0].cpus)

    def nodes(self) -> list[int | None]:
        return sorted({d[0] for d, cores in self.free.items() if cores}, key=lambda n: (n is None, n or 0))

    def count(self, node: int | None) -> int:
        return sum(len(cores) for d, cores in self.free.items() if d[0] == node)

    def total(self) -> int:
        return sum(len(cores) for cores in self.free.values())

    def take_spare(self, node: int | None, number: int, unit: int) -> list[Core]:
        """Take cores where it costs the fewest bundles of `unit`: odd ones out first, then one L3 after another."""
        taken: list[Core] = []
        while len(taken) < number:
            domains = self.domains(node)
            if not domains:
                break
            spare = [d for d in domains if len(self.free[d]) % unit]
            pick = min(spare, key=lambda d: len(self.free[d]) % unit) if spare else domains[0]
            taken.append(self.free[pick].pop(0))
        return taken

    def take_from(self, domain: Domain, number: int) -> list[Core]:
        taken, self.free[domain] = self.free[domain][:number], self.free[domain][number:]
        return taken


def reserve(machine: Machine, wanted: Wanted, free: Cores, layout: Layout, unit: int) -> None:
    nodes = free.nodes()
    first = machine.nic_node if machine.nic_node in nodes else (nodes[0] if nodes else None)
    for node in [first, *(n for n in nodes if n != first)]:
        missing = wanted.reserved_cores - len(layout.reserved)
        if missing <= 0:
            break
        if layout.reserved:
            layout.warnings.append(f"node {first} of the NIC has too few cores: {missing} more reserved on node {node}")
        layout.reserved.extend(free.take_spare(node, missing, max(unit, 1)))


def reserve_unit(wanted: Wanted) -> int:
    if "PC1" not in wanted.tasks:
        return 1
    return wanted.producers + 1 if wanted.producers is not None else 2


def spread_rest(free: Cores, engines: Sequence[Slot]) -> None:
    """Cores that no bundle can use go to the GPU workers of their node, as far as those can use them."""
    most = int(model()["gpu_worker"]["most_cores"])
    for node in free.nodes():
        here = [slot for slot in engines if slot.node == node]
        while here and free.count(node):
            slot = min(here, key=lambda s: len(s.cores))
            if slot.gpu is not None and len(slot.cores) >= most:
                break
            slot.cores.extend(free.take_spare(node, 1, 1))
    for slot in engines:
        slot.cores.sort(key=lambda core: core.cpus)
