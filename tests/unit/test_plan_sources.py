"""The cases that the sources tell: idle workers, 30 processes on one host, 8 GPUs, 3 to 2, a thousand machines."""

from __future__ import annotations

from typing import Any

from sealyard import plan
from sealyard.hardware.cpu_list import parse_cpus

PRECOMMIT = {"cpu": "EPYC 7542 x1", "memory": "1TiB", "gpus": ["RTX 3080"], "scratch": "8x 2TB NVMe"}
COMMIT = {"cpu": "EPYC 7402 x1", "memory": "512GiB", "gpus": ["RTX 3080", "RTX 3080"]}


def fleet(hosts: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return {"settings": settings, "hosts": {"seal": {"roles": ["seal_miner"]}, **hosts}}


def precommit(number: int) -> dict[str, Any]:
    return {f"p{n}": {"roles": ["pc1_worker", "pc2_worker"], "hardware": PRECOMMIT} for n in range(number)}


def commit(number: int) -> dict[str, Any]:
    return {f"c{n}": {"roles": ["c2_worker"], "hardware": COMMIT} for n in range(number)}


def test_of_fifteen_workers_none_is_idle() -> None:
    """Source 001: 15 workers, of which the default scheduler left 8 without work."""
    hardware = {"cpu": "EPYC 7542 x1", "memory": "1TiB", "gpus": ["RTX 2080 Ti"], "scratch": "8x 2TB NVMe"}
    roles = ["pc1_worker", "pc2_worker", "c2_worker"]
    planned = plan(fleet({f"worker-{n:02d}": {"roles": roles, "hardware": hardware} for n in range(15)}))
    assert planned["errors"] == []
    busy = [name for name, slice_ in planned["hosts"].items() if slice_["workers"] and name != "seal"]
    assert len(busy) == 15
    assert all(row["sectors_per_day"] > 0 for row in planned["capacity"]["groups"].values())
    assert {host for group in planned["groups"].values() for host in group["hosts"]} == set(busy)


def test_the_two_tebibyte_host_of_thirty_processes_shares_no_core() -> None:
    """Source 004: 30 PC1 processes with producers=1 on 32 cores, all of them on core unit 0."""
    host = {"roles": ["pc1_worker"], "hardware": {"cpu": "EPYC 7302 x2", "memory": "2TiB"}}
    planned = plan(fleet({"pc1": host, **commit(1), "g": {"roles": ["pc2_worker"], "hardware": PRECOMMIT}}))
    workers = planned["hosts"]["pc1"]["workers"]
    assert len(workers) == 15 and {worker["producers"] for worker in workers} == {1}
    cpus = [cpu for worker in workers for cpu in parse_cpus(worker["cpus"])]
    assert len(cpus) == len(set(cpus)) == 60
    assert "cores" in planned["capacity"]["hosts"]["pc1"]["bound_by"]
    # 30 that share no core are to be had, each on one core: the operator may force that.
    forced = plan(fleet({"pc1": {**host, "sdr_producers": 0}, "g": {"roles": ["pc2_worker"], "hardware": PRECOMMIT}}))
    singles = forced["hosts"]["pc1"]["workers"]
    assert len(singles) == 30
    assert all(worker["environment"]["FIL_PROOFS_USE_MULTICORE_SDR"] == "0" for worker in singles)


def test_eight_gpus_are_eight_workers() -> None:
    """Source 004: the 8-GPU host runs 8 workers, each with its own CUDA_VISIBLE_DEVICES."""
    hardware = {"cpu": "EPYC 7402 x2", "memory": "2TiB", "gpus": ["RTX 3080"] * 8}
    for roles in (["c2_worker"], ["pc2_worker", "c2_worker"]):
        hosts = {"gpu": {"roles": roles, "hardware": hardware}, **precommit(9)}
        workers = plan(fleet(hosts))["hosts"]["gpu"]["workers"]
        assert len(workers) == 8
        assert len({worker["gpus"][0] for worker in workers}) == 8
        assert len({worker["environment"]["CUDA_VISIBLE_DEVICES"] for worker in workers}) == 8
        assert all(worker["concurrency"].get("C2", 1) == 1 for worker in workers)


def test_three_precommit_hosts_to_two_commit_hosts_is_balanced() -> None:
    """filguard/lotus-ops: EPYC 7542 + 3080 to 2 x 3080 at 3:2; at 3:1 C2 binds, at 3:2 it does not."""
    right = plan(fleet({**precommit(3), **commit(2)}))["capacity"]
    short = plan(fleet({**precommit(3), **commit(1)}))["capacity"]
    more = plan(fleet({**precommit(3), **commit(3)}))["capacity"]
    assert right["bottleneck"] != "C2" and short["bottleneck"] == "C2"
    assert short["sectors_per_day"] < 0.75 * right["sectors_per_day"]
    assert more["sectors_per_day"] == right["sectors_per_day"]
    assert right["bytes_per_day_between_hosts"] == 0
    assert 11 <= right["hosts"]["p0"]["pc1_slots"] <= 15  # the source runs 2 x 7


def test_a_thousand_machines_in_chance_groups_become_groups_that_seal() -> None:
    """Yangzhou: a thousand machines, groups made by chance; every group here has PC1 and PC2 in balance."""
    hosts: dict[str, Any] = {}
    for number in range(1000):
        rack = f"r{number % 25:02d}"
        if number % 10 < 5:
            hosts[f"y{number:04d}"] = {"roles": ["pc1_worker"], "hardware": {**PRECOMMIT, "gpus": []}, "rack": rack}
        elif number % 10 < 8:
            hosts[f"y{number:04d}"] = {
                "roles": ["pc2_worker"],
                "hardware": {**PRECOMMIT, "gpus": ["RTX 3080"] * 2},
                "rack": rack,
            }
        else:
            hosts[f"y{number:04d}"] = {
                "roles": ["c2_worker"],
                "hardware": {**COMMIT, "gpus": ["RTX 3090"] * 4, "memory": "1TiB"},
            }
    planned = plan(fleet(hosts))
    assert planned["errors"] == []
    rows = planned["capacity"]["groups"]
    assert all(row["pc1_sectors_per_day"] and row["pc2_sectors_per_day"] for row in rows.values())
    stages = planned["capacity"]["stages"]
    bound = min(stage["sectors_per_day"] for stage in stages.values())
    assert planned["capacity"]["sectors_per_day"] >= 0.99 * bound


def test_two_cores_stay_free_for_the_system_by_default() -> None:
    """Source 002: P2 and P3 fill every core and ssh becomes hard to use; two are left."""
    planned = plan(fleet(precommit(1)))
    reserved = parse_cpus(planned["hosts"]["p0"]["reserved_cpus"])
    assert len(reserved) == 4  # two cores with two threads each
    used = {cpu for worker in planned["hosts"]["p0"]["workers"] for cpu in parse_cpus(worker["cpus"])}
    assert not used & set(reserved)


def test_a_host_that_does_pc1_and_pc2_sends_nothing_over_the_network() -> None:
    """Source 000: about 500 GB per sector cross when PC1 and PC2 are apart."""
    together = plan(fleet({**precommit(2), **commit(1)}))["capacity"]
    apart = plan(fleet({
        "p": {"roles": ["pc1_worker"], "hardware": {**PRECOMMIT, "gpus": []}},
        "g": {"roles": ["pc2_worker"], "hardware": PRECOMMIT},
        **commit(1),
    }))["capacity"]  # fmt: skip
    assert together["bytes_per_day_between_hosts"] == 0
    per_sector = apart["bytes_per_day_between_hosts"] / apart["sectors_per_day"]
    assert 4.8e11 < per_sector < 4.9e11


def test_the_operators_own_figures_win() -> None:
    slow = plan(fleet({**precommit(1), **commit(1)}, measured_sec={"PC1": 21600}))["capacity"]
    usual = plan(fleet({**precommit(1), **commit(1)}))["capacity"]
    assert slow["stages"]["PC1"]["sectors_per_day"] < 0.6 * usual["stages"]["PC1"]["sectors_per_day"]


def test_without_sha_extensions_the_plan_warns_that_pc1_takes_days() -> None:
    host = {"roles": ["pc1_worker", "pc2_worker"], "hardware": {**PRECOMMIT, "cpu": "Xeon Gold 6148 x2"}}
    planned = plan(fleet({"intel": host, **commit(1)}))
    assert any("SHA extensions" in text for text in planned["warnings"])
    assert planned["capacity"]["hosts"]["intel"]["pc1_sectors_per_day"] < 12


def test_scratch_counts_every_sector_held() -> None:
    """A finished PC1 holds its space until PC2 has taken it, and where PC2 runs beside it until it is finalized."""
    small = {**PRECOMMIT, "scratch": "3x 2TB NVMe"}
    both = plan(fleet({"h": {"roles": ["pc1_worker", "pc2_worker"], "hardware": small, "group": "a"}}))
    row = both["capacity"]["hosts"]["h"]
    assert row["pc1_slots"] * 0.5e12 < 6e12 and "scratch" in row["bound_by"]
    assert row["pc1_slots"] < 6e12 // 0.555e12
