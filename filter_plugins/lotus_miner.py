"""Filters of role lotus_miner: sector-number reservations and the proofs of the open deadline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

Runs = Sequence[int]
"""A set of numbers as Lotus writes it in JSON: lengths of runs, absent first: [2, 3] is {2, 3, 4}."""


def members(runs: Runs | None) -> set[int]:
    """Numbers in a set of runs."""
    found: set[int] = set()
    position = 0
    for index, length in enumerate(runs or []):
        if index % 2:
            found.update(range(position, position + length))
        position += length
    return found


def run_of(numbers: str) -> list[int]:
    """Runs of "START-END", both included; ValueError when that is no range."""
    first, _, last = numbers.partition("-")
    start, end = int(first), int(last or first)
    if start < 0 or end < start:
        raise ValueError(f"'{numbers}' is no range START-END")
    return [start, end - start + 1]


def wanted_reservations(miner: Mapping[str, Any], role: str) -> dict[str, str]:
    """Ranges that the plan keeps from the process `role` of a miner host: {name: "START-END"}."""
    return dict(miner["instances"][role]["reserve"])


def missing_reservations(
    miner: Mapping[str, Any], role: str, present: Mapping[str, Runs], host: str
) -> list[dict[str, Any]]:
    """Reservations the miner lacks: [{name, range "START-END", run}]; `present` answers SectorNumReservations.

    Raises AnsibleFilterError where a name is there with another range: numbers of it may be in use, so nobody but the
    operator can free it.
    """
    missing = []
    for name, numbers in sorted(wanted_reservations(miner, role).items()):
        run = run_of(numbers)
        if name not in present:
            missing.append({"name": name, "range": numbers, "run": run})
        elif list(present[name]) != run:
            raise AnsibleFilterError(
                f"{host}: the {role} miner reserves {_shown(present[name])} as '{name}', the plan says {numbers}. "
                f"When no sector of another miner lies in {_shown(present[name])}: "
                f"lotus-miner sectors numbers free {name}, then run again"
            )
    return missing


def _shown(runs: Runs) -> str:
    numbers = list(runs)
    return f"{numbers[0]}-{sum(numbers) - 1}" if len(numbers) == 2 else str(numbers)


def unproven(
    deadline: Mapping[str, Any] | None,
    partitions: Sequence[Mapping[str, Any]] | None,
    deadlines: Sequence[Mapping[str, Any]] | None,
) -> str:
    """What the open deadline still waits for, as a sentence; "" when a restart costs no proof.

    The three are the answers to StateMinerProvingDeadline, StateMinerPartitions of its index and StateMinerDeadlines;
    one that is missing counts as a proof to wait for.
    """
    if deadline is None or deadlines is None:
        return "the chain cannot be asked for the open deadline"
    index = int(deadline["Index"])
    proven = members(deadlines[index].get("PostSubmissions"))
    open_partitions = [
        number
        for number, partition in enumerate(partitions or [])
        if members(partition.get("LiveSectors")) and number not in proven
    ]
    if not open_partitions:
        return ""
    names = ", ".join(str(number) for number in open_partitions)
    epochs = int(deadline["Close"]) - int(deadline["CurrentEpoch"])
    return f"deadline {index} closes in {epochs} epochs and partition {names} of it is not proven"


class FilterModule:
    """Ansible's view of this file."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "missing_reservations": missing_reservations,
            "unproven": unproven,
            "wanted_reservations": wanted_reservations,
        }
