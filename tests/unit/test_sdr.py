"""sdr_core_units against what the real sealing code printed ("Core units: ..."), and the judge of plans."""

from __future__ import annotations

from typing import Any

import pytest
from sealyard.hardware.core_units import judge_pc1, sdr_core_units
from sealyard.hardware.cpu_list import parse_cpus


def topology(
    packages: int, l3_per_package: int | None, cores_per_l3: int, threads: int = 2, interleaved: bool = False
) -> dict[str, Any]:
    """A machine whose CPU numbers go core by core, threads of the second row last (AMD), or alternate over packages."""
    l3s = packages * (l3_per_package or 1)
    cores = l3s * cores_per_l3
    cpus = []
    for thread in range(threads):
        for core in range(cores):
            l3 = core // cores_per_l3
            socket = l3 // (l3_per_package or 1)
            number = core
            if interleaved:
                within = core - socket * (cores // packages)
                number = within * packages + socket
            cpus.append(
                {
                    "cpu": thread * cores + number,
                    "core": core,
                    "socket": socket,
                    "node": socket,
                    "l3": l3 if l3_per_package else None,
                    "online": True,
                }
            )
    return {"cpus": cpus}


def runs(*starts: int, size: int) -> list[list[int]]:
    return [list(range(start, start + size)) for start in starts]


EPYC = (2, 4, 4)
SINGLE = (2, 4, 4, 1)

TABLE = [
    pytest.param(EPYC, None, 3, runs(*range(0, 32, 4), size=4), id="2 packages, 4 L3 each, 4 cores, all, 3"),
    pytest.param(EPYC, None, 1, runs(*range(0, 32, 4), size=2) + runs(*range(2, 32, 4), size=2), id="the same, all, 1"),
    pytest.param(SINGLE, "0-15", 3, runs(0, 4, 8, 12, size=4), id="1 thread per core, 0-15, 3"),
    pytest.param(SINGLE, "16-31", 3, [], id="1 thread per core, 16-31, 3"),
    pytest.param(SINGLE, "16-23", 3, [], id="1 thread per core, 16-23, 3"),
    pytest.param(SINGLE, "0-3,16-19", 3, [[0, 1, 2, 3]], id="1 thread per core, 0-3,16-19, 3"),
    pytest.param(SINGLE, "0-6", 3, "panic", id="1 thread per core, 0-6, 3"),
    pytest.param(
        (2, 1, 18), None, 3, runs(0, 18, 4, 22, 8, 26, 12, 30, size=4), id="2 packages, 1 L3, 18 cores, all, 3"
    ),
    pytest.param((1, 4, 8), None, 3, runs(0, 8, 16, 24, 4, 12, 20, 28, size=4), id="1 package, 4 L3, 8 cores, all, 3"),
    pytest.param((2, 8, 3), None, 1, runs(*range(0, 48, 3), size=2), id="2 packages, 8 L3 each, 3 cores, all, 1"),
    pytest.param((1, 8, 2), None, 3, [], id="1 package, 8 L3, 2 cores, all, 3"),
    pytest.param((1, 8, 2), None, 1, runs(*range(0, 16, 2), size=2), id="1 package, 8 L3, 2 cores, all, 1"),
    pytest.param((1, 1, 8, 1), "2-5", 3, [[2, 3]], id="1 package, 1 L3, 8 cores, 2-5, 3"),
    pytest.param((1, 2, 8, 1), "4-11", 1, [[4, 5], [6, 7]], id="1 package, 2 L3, 8 cores, 4-11, 1"),
    pytest.param((1, None, 8), None, 3, runs(0, 4, size=4), id="1 package, 8 cores, no L3 information, all, 3"),
]


@pytest.mark.parametrize(("shape", "visible", "producers", "expected"), TABLE)
def test_units_are_those_the_real_code_printed(
    shape: tuple[Any, ...], visible: str | None, producers: int, expected: list[list[int]] | str
) -> None:
    cpus = parse_cpus(visible) if visible else None
    seen = sdr_core_units(topology(*shape), cpus, None, producers)
    if expected == "panic":
        assert seen.panics and not seen.units
    else:
        assert not seen.panics
        assert [list(unit) for unit in seen.units] == expected


def test_taskset_to_one_of_two_cores_leaves_a_unit_of_one_core() -> None:
    assert sdr_core_units(topology(1, 1, 2, 1), None, [1], 1).units == ((1,),)


def test_affinity_alone_takes_wrong_cores_where_numbers_alternate_between_sockets() -> None:
    machine = topology(2, 1, 4, 1, interleaved=True)
    own = [0, 2, 4, 6]  # the four cores of package 0
    seen = sdr_core_units(machine, None, own, 3)
    used = {cpu for unit in seen.cpus for cpu in unit}
    assert not used <= set(own)


def worker(name: str, cpus: str, producers: int = 1, pc1: int = 1) -> dict[str, Any]:
    return {
        "name": name,
        "cpus": cpus,
        "tasks": ["AP", "PC1"],
        "producers": producers,
        "concurrency": {"AP": 1, "PC1": pc1},
    }


def test_one_process_per_bundle_is_clean() -> None:
    workers = [worker("pc1-0", "0-1,32-33"), worker("pc1-1", "2-3,34-35"), worker("pc1-2", "20-23,52-55", 3)]
    assert judge_pc1(topology(*EPYC), workers) == []


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        (worker("pc1-0", "0-6", 3), "panic"),
        (worker("pc1-0", "16-23", 3, pc1=2), "unpinned"),
        (worker("pc1-0", "0-7", 3, pc1=3), "unpinned"),
    ],
)
def test_what_would_panic_or_run_unpinned_beside_another_is_an_error(bad: dict[str, Any], word: str) -> None:
    errors = judge_pc1(topology(*SINGLE), [bad])
    assert any(word in error.problem for error in errors)
    assert all(error.path == "workers.pc1-0" and error.remedy for error in errors)


def test_a_pc1_on_another_workers_cores_is_an_error() -> None:
    machine = topology(2, 1, 4, 1, interleaved=True)
    workers = [worker("pc1-0", "0,2,4,6", 3), worker("pc1-1", "1,3,5,7", 3)]
    assert judge_pc1(machine, workers) == []
    errors = judge_pc1(machine, workers, cgroup_cpuset=False)
    assert any("belongs to pc1-1" in error.problem for error in errors)
