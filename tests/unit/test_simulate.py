"""sealyard.simulate: the plan beside Lotus's default scheduler, the sources' cases, and what must always hold."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from sealyard.planner.planner import plan
from sealyard.simulate.report import notes, table
from sealyard.simulate.simulate import COLUMNS, columns_of, saturating, simulate
from sealyard.simulate.world import Load, Result

from tests.unit.test_golden import document

PC1 = {"cpu": "EPYC 7542 x1", "memory": "1TiB", "scratch": "8x 2TB NVMe", "nic": "ConnectX-5 100G"}
PC2 = {"cpu": "EPYC 7402 x1", "memory": "512GiB", "gpus": ["2x RTX 3080"], "scratch": "8x 2TB NVMe", "nic": "2x 10GbE"}
SOURCE_TASKS = {f"worker-{n}": ["PC2"] for n in ("14", "15", "16")}


@cache
def fifteen(saturated: bool) -> dict[str, Result]:
    """Source 001: fifteen workers, PC2 on three of them, 28 sectors in PC1."""
    told = document("fifteen-workers")
    tasks = {n: SOURCE_TASKS.get(n, ["AP", "PC1"]) for n in told["hosts"] if n.startswith("worker-")}
    load = None if saturated else Load(28, 280, 14400.0)
    return {r.name: r for r in simulate(plan(told), told, load, tasks)}


def small(pc1: int = 2, nic: str = "ConnectX-5 100G") -> dict[str, Any]:
    hosts: dict[str, Any] = {"seal": {"roles": ["seal_miner"]}}
    for i in range(pc1):
        hosts[f"pc1-{i}"] = {"roles": ["pc1_worker"], "hardware": PC1 | {"nic": nic}}
    hosts["pc2-0"] = {"roles": ["pc2_worker"], "hardware": PC2 | {"nic": nic}}
    hosts["c2-0"] = {"roles": ["c2_worker"], "hardware": PC2 | {"gpus": ["3x RTX 3080"]}}
    return {"hosts": hosts}


@pytest.mark.parametrize("saturated", [True, False])
def test_source_001_eight_of_fifteen_idle(saturated: bool) -> None:
    columns = fifteen(saturated)
    assert (columns["default 2020"].hosts_idle, columns["default 2020"].hosts) == (8, 15)
    assert columns["plan"].hosts_idle < 8
    assert not saturated or columns["plan"].hosts_idle == 0


def test_source_000_five_hundred_gigabytes_per_sector() -> None:
    columns = fifteen(True)
    for name in COLUMNS[1:]:
        assert columns[name].bytes_per_sector == pytest.approx(500e9, rel=0.1)
        assert columns[name].bytes_between_groups_per_day > 0
    assert columns["plan"].bytes_per_sector < 150e9
    assert columns["plan"].sectors_per_day > 1.5 * columns["default v1.36"].sectors_per_day


@pytest.mark.parametrize("name", ["grouped", "rdma", "remote-worker", "distributed"])
def test_the_plan_sends_nothing_between_groups_and_reaches_what_it_promises(name: str) -> None:
    told = document(name)
    planned = plan(told)
    result = simulate(planned, told, names=COLUMNS[:1])[0]
    assert result.bytes_between_groups_per_day == 0
    assert result.sectors_per_day == pytest.approx(planned["capacity"]["sectors_per_day"], rel=0.15)


def test_the_stacks_own_default_stands_beside_the_plan_and_both_are_explained() -> None:
    told = document("fifteen-workers")
    columns = simulate(plan(told), told, Load(1, 1, 10_000.0))
    assert [column.name for column in columns] == ["plan", "default 2020", "default v1.36"]
    assert [line.partition(":")[0] for line in notes(columns)] == ["default 2020", "default v1.36"]
    assert columns_of(plan(small())) == COLUMNS


def test_the_same_input_gives_the_same_table() -> None:
    told = small()
    planned = plan(told)
    load = saturating(planned)
    assert table(simulate(planned, told), load) == table(simulate(planned, told), load)


def test_bytes_of_a_sector_are_the_models() -> None:
    told = small()
    result = simulate(plan(told), told, Load(1, 1, 100.0), names=COLUMNS[:1])[0]
    # sealed and cache after PC1 (481 GB) and C1's output (20 MB)
    assert result.bytes_per_sector == pytest.approx(481_036_337_120 + 20_000_000, rel=0.1)
    # AP, PC1, copy, PC2, WaitSeed, C2, finalize, one after another
    assert result.first_sector_sec is not None
    assert 180 + 10800 + 690 + 4500 + 870 + 300 < result.first_sector_sec < 5.5 * 3600


def test_a_slow_network_binds() -> None:
    slow = simulate(plan(small(4, "1x 1GbE")), small(4, "1x 1GbE"), names=COLUMNS[:1])[0]
    fast = simulate(plan(small(4)), small(4), names=COLUMNS[:1])[0]
    # 0.8 Gbit/s carries 18 sectors of 481 GB a day
    assert slow.sectors_per_day < 20 < fast.sectors_per_day


def test_no_load_no_sectors() -> None:
    told = small()
    result = simulate(plan(told), told, Load(0, 0))[0]
    assert (result.sectors_per_day, result.first_sector_sec, result.hosts_idle) == (0, None, 4)
    assert "never" in table([result])
