"""Every machine of tests/topologies, for every mix of tasks: nothing given twice, no core split, nothing remote."""

from __future__ import annotations

import copy
import functools
import itertools
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from sealyard import plan
from sealyard.hardware.cpu_list import format_cpus, parse_cpus

TOPOLOGIES = sorted(Path(__file__).parent.parent.joinpath("topologies").glob("*.json"))
TASKS = {"PC1": "pc1_worker", "PC2": "pc2_worker", "C2": "c2_worker"}
MIXES = [mix for size in (1, 2, 3) for mix in itertools.combinations(TASKS, size)]


@functools.cache
def machine(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return loaded


def plan_host(hardware: dict[str, Any], mix: tuple[str, ...], **settings: Any) -> dict[str, Any]:
    document = {
        "settings": {"sector_size": "32GiB", "scratch_bytes": 16 * 10**12, **settings},
        "hosts": {
            "host": {"roles": [TASKS[task] for task in mix], "hardware": hardware},
            "miner": {"roles": ["seal_miner"]},
        },
    }
    return plan(document)


class Judge:
    """What a binding must never be, read from the raw topology; shares no code with the planner."""

    def __init__(self, topology: dict[str, Any], reserved: str) -> None:
        self.cpus = {cpu["cpu"]: cpu for cpu in topology["cpus"]}
        self.gpus = {gpu["pci"]: gpu for gpu in topology["gpus"]}
        self.nodes = {node["node"] for node in topology["numa"]}
        self.reserved = {self.core(cpu) for cpu in parse_cpus(reserved)}
        self.per_node: dict[int, set[object]] = defaultdict(set)
        self.per_l3: dict[tuple[object, object], set[object]] = defaultdict(set)
        for number, cpu in self.cpus.items():
            if cpu["online"] and cpu.get("allowed", True) and self.core(number) not in self.reserved:
                self.per_node[cpu["node"]].add(self.core(number))
                self.per_l3[cpu["node"], cpu["l3"]].add(self.core(number))

    def core(self, cpu: int) -> object:
        core = self.cpus[cpu]["core"]
        return f"cpu{cpu}" if core is None else core

    def faults(self, workers: list[dict[str, Any]]) -> list[str]:
        found: list[str] = []
        owner: dict[object, str] = {}
        used: set[object] = set()
        for worker in workers:
            name, cpus = worker["name"], parse_cpus(worker["cpus"])
            cores = {self.core(cpu) for cpu in cpus}
            used |= cores
            if not cpus:
                found.append(f"{name}: no CPU")
            for cpu in cpus:
                at = self.cpus[cpu]
                if not at["online"] or at.get("allowed") is False:
                    found.append(f"{name}: CPU {cpu} cannot be used")
                if owner.setdefault(self.core(cpu), name) != name:
                    found.append(f"{name}: core of CPU {cpu} belongs to {owner[self.core(cpu)]}")
            if cores & self.reserved:
                found.append(f"{name}: uses a core of the system")
            siblings = {
                c for c, cpu in self.cpus.items()
                if self.core(c) in cores and cpu["online"] and cpu.get("allowed", True)
            }  # fmt: skip
            if siblings != set(cpus):
                found.append(f"{name}: splits SMT siblings: {sorted(siblings ^ set(cpus))}")
            nodes = {self.cpus[cpu]["node"] for cpu in cpus} - {None}
            if len(nodes) > 1:
                found.append(f"{name}: spans nodes {sorted(nodes)}")
            if worker["numa_node"] is not None and (
                worker["numa_node"] not in self.nodes or nodes - {worker["numa_node"]}
            ):
                found.append(f"{name}: is not on its node {worker['numa_node']}")
            l3s = {self.cpus[cpu]["l3"] for cpu in cpus} - {None}
            if worker["tasks"] == ["AP", "PC1"] and len(l3s) > 1:
                largest = max(len(cores) for cores in self.per_l3.values())
                if len(cores) <= largest:
                    found.append(f"{name}: spans L3 caches although one has room")
                if "L3" not in worker["why"]:
                    found.append(f"{name}: spans L3 caches without a reason")
        for worker in workers:
            for pci in worker["gpus"]:
                home = self.gpus[pci]["numa_node"]
                near = {home} if home is not None else set(self.gpus[pci].get("near_nodes") or ())
                nodes = {self.cpus[cpu]["node"] for cpu in parse_cpus(worker["cpus"])}
                need = len({self.core(cpu) for cpu in parse_cpus(worker["cpus"])})
                own = {self.core(cpu) for cpu in parse_cpus(worker["cpus"])}
                if near and not nodes <= near and any(len(self.per_node[n] - (used - own)) >= need for n in near):
                    found.append(f"{worker['name']}: far from GPU {pci} although its node has room")
        pcis = Counter(pci for worker in workers for pci in worker["gpus"])
        found += [f"GPU {pci} given {number} times" for pci, number in pcis.items() if number > 1]
        ports = Counter(worker["port"] for worker in workers)
        found += [f"port {port} given {number} times" for port, number in ports.items() if number > 1]
        return found


@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda path: path.stem)
@pytest.mark.parametrize("sector_size", ["2KiB", "32GiB"])
def test_every_mix_of_tasks_binds_cleanly(path: Path, sector_size: str) -> None:
    assert len(TOPOLOGIES) == 39
    topology = machine(path)
    for mix, reserved, producers in itertools.product(MIXES, (0, 2), (None, 0, 3)):
        if producers is not None and "PC1" not in mix:
            continue
        planned = plan_host(topology, mix, sector_size=sector_size, reserved_cores=reserved, sdr_producers=producers)
        slice_ = planned["hosts"]["host"]
        judge = Judge(topology, slice_["reserved_cpus"])
        assert judge.faults(slice_["workers"]) == [], (mix, reserved, producers)
        done = {task for worker in slice_["workers"] for task in worker["tasks"]}
        told = [error for error in planned["errors"] if error["path"].startswith("hosts.host")]
        assert set(mix) <= done or told, (mix, reserved, producers)
        if not told:
            cores = {judge.core(cpu) for cpu in parse_cpus(slice_["reserved_cpus"])}
            assert len(cores) == reserved


def test_the_judge_sees_what_is_wrong() -> None:
    topology = machine(next(path for path in TOPOLOGIES if "epyc7452" in path.stem))
    workers = plan_host(topology, ("PC1", "PC2"))["hosts"]["host"]["workers"]
    judge = Judge(topology, plan_host(topology, ("PC1", "PC2"))["hosts"]["host"]["reserved_cpus"])
    assert judge.faults(workers) == []
    first, second = workers[0], workers[1]
    cpus = parse_cpus(first["cpus"])
    assert judge.faults([first, {**second, "cpus": first["cpus"]}])
    assert any("splits" in fault for fault in judge.faults([{**first, "cpus": format_cpus(cpus[:1])}]))
    remote = next(worker for worker in workers if worker["gpus"])
    far = next(worker for worker in workers if worker["numa_node"] != remote["numa_node"])
    assert any("far from GPU" in fault for fault in judge.faults([{**remote, "cpus": far["cpus"], "numa_node": None}]))


def bundles(hardware: dict[str, Any], **settings: Any) -> list[tuple[str, int]]:
    slice_ = plan_host(hardware, ("PC1",), **settings)["hosts"]["host"]
    return [(worker["cpus"], worker["producers"]) for worker in slice_["workers"]]


def test_epyc_7302_with_two_cores_per_l3_takes_one_producer() -> None:
    found = bundles({"cpu": "EPYC 7302 x1", "memory": "2TiB"})
    assert len(found) == 7 and {producers for _, producers in found} == {1}


def test_three_cores_per_l3_are_not_wasted() -> None:
    found = bundles({"cpu": "EPYC 7402 x1", "memory": "2TiB"})
    assert [producers for _, producers in found].count(2) == 6  # the system took a core of two L3s
    assert len(found) == 8


def test_where_memory_allows_few_the_bundles_are_large() -> None:
    found = bundles({"cpu": "EPYC 7542 x1", "memory": "512GiB"})
    assert len(found) == 6 and {producers for _, producers in found} == {3}


def test_forced_producers_are_obeyed_and_refused_where_they_fit_nowhere() -> None:
    assert {p for _, p in bundles({"cpu": "EPYC 7542 x1", "memory": "1TiB"}, sdr_producers=3)} == {3}
    planned = plan_host({"cpu": "EPYC 7302 x1", "memory": "1TiB"}, ("PC1",), sdr_producers=20)
    assert any(error["path"] == "hosts.host.sdr_producers" for error in planned["errors"])


def test_single_core_sdr_is_off_and_one_core_each() -> None:
    hardware = {
        "cpus": [{"cpu": n, "core": n, "socket": 0, "node": 0, "l3": 0, "online": True} for n in (0, 1)],
        "numa": [{"node": 0, "memory_bytes": 8 << 30, "cpus": [0, 1]}],
        "gpus": [], "rdma": [], "nvme": [], "net": [],
    }  # fmt: skip
    planned = plan_host(hardware, ("PC1",), sector_size="2KiB", reserved_cores=0, sdr_producers=0)
    workers = planned["hosts"]["host"]["workers"]
    assert [worker["cpus"] for worker in workers] == ["0", "1"]
    assert all(worker["environment"]["FIL_PROOFS_USE_MULTICORE_SDR"] == "0" for worker in workers)
    planned = plan_host(hardware, ("PC1",), sector_size="2KiB", reserved_cores=0, sdr_producers=1)
    assert [worker["cpus"] for worker in planned["hosts"]["host"]["workers"]] == ["0-1"]


def test_one_core_for_everything_makes_one_worker() -> None:
    hardware = {
        "cpus": [{"cpu": n, "core": n, "socket": 0, "node": 0, "l3": 0, "online": True} for n in (0, 1)],
        "numa": [{"node": 0, "memory_bytes": 8 << 30, "cpus": [0, 1]}],
        "gpus": [], "rdma": [], "nvme": [], "net": [],
    }  # fmt: skip
    planned = plan_host(hardware, ("PC1", "PC2", "C2"), sector_size="2KiB", reserved_cores=1)
    workers = planned["hosts"]["host"]["workers"]
    assert [(w["name"], w["tasks"], w["cpus"]) for w in workers] == [("all-0", ["AP", "PC1", "PC2", "C2"], "1")]


def test_the_system_gets_whole_cores_on_the_node_of_the_nic() -> None:
    path = next(path for path in TOPOLOGIES if path.stem == "epyc7551-naples-2s-nps4-mlx5")
    topology = machine(path)
    slice_ = plan_host(topology, ("PC1",), sector_size="2KiB")["hosts"]["host"]
    judge = Judge(topology, slice_["reserved_cpus"])
    cpus = parse_cpus(slice_["reserved_cpus"])
    assert {topology["cpus"][cpu]["node"] for cpu in cpus} == {5}
    assert len(cpus) == 4 and len({judge.core(cpu) for cpu in cpus}) == 2


def test_every_worker_says_why_and_every_limit_what_binds() -> None:
    planned = plan_host({"cpu": "EPYC 7542 x1", "memory": "1TiB", "gpus": ["RTX 3080"]}, ("PC1", "PC2"))
    assert all(worker["why"] for worker in planned["hosts"]["host"]["workers"])
    assert "PC1, bound by" in planned["capacity"]["hosts"]["host"]["bound_by"]


def test_a_gpu_worker_sees_its_gpu_only_and_pc1_sees_none() -> None:
    path = next(path for path in TOPOLOGIES if path.stem == "epyc9555-turin-2s-nps4-4xh200")
    topology = json.loads(path.read_text("utf-8"))
    for number, gpu in enumerate(topology["gpus"]):
        gpu["uuid"] = f"GPU-{number}"
    workers = plan_host(topology, ("PC1", "PC2", "C2"))["hosts"]["host"]["workers"]
    uuid = {gpu["pci"]: gpu["uuid"] for gpu in topology["gpus"]}
    for worker in workers:
        visible = worker["environment"]["CUDA_VISIBLE_DEVICES"]
        assert visible == (uuid[worker["gpus"][0]] if worker["gpus"] else "")
        assert worker["gpu_uuids"] == [uuid[pci] for pci in worker["gpus"]]


def test_hugepages_are_no_ordinary_memory_and_carry_pc1_where_the_stack_can_use_them() -> None:
    def slots(stack: str, pages: int) -> dict[str, Any]:
        topology = copy.deepcopy(machine(next(p for p in TOPOLOGIES if p.stem == "epyc7h12-rome-2s-nps1-4tb")))
        for node in topology["numa"]:
            node["hugepages"] = [{"size_bytes": 1 << 30, "total": pages}]
        return plan_host(topology, ("PC1",), stack=stack, scratch_bytes=10**14)

    def pc1(planned: dict[str, Any]) -> int:
        return sum(worker["concurrency"]["PC1"] for worker in planned["hosts"]["host"]["workers"])

    plain, less = slots("lotus", 0), slots("lotus", 1800)
    assert pc1(less) < pc1(plain)
    assert any("hugepages" in text for text in less["warnings"])
    assert not any("hugepages" in text for text in plain["warnings"])
    force = slots("force_remote_worker", 1800)
    assert not any("hugepages" in text for text in force["warnings"])
    for worker in force["hosts"]["host"]["workers"]:
        assert worker["environment"]["FORCE_HUGE_PAGE"] == "1"
        assert 0 < worker["concurrency"]["PC1"] <= 1800 // 64
    assert pc1(force) > pc1(less)
    assert "FORCE_HUGE_PAGE" not in slots("force_remote_worker", 0)["hosts"]["host"]["workers"][0]["environment"]


def test_post_and_sealing_on_the_gpus_of_one_host_is_refused_where_proofs_count() -> None:
    hardware = {"cpu": "EPYC 7542 x1", "memory": "1TiB", "gpus": ["RTX 3080"]}
    hosts: dict[str, Any] = {
        "miner": {"roles": ["seal_miner"]},
        "both": {"roles": ["pc1_worker", "pc2_worker", "window_miner"], "hardware": hardware},
    }
    refused = plan({"settings": {"network": "mainnet"}, "hosts": hosts})
    assert [error["path"] for error in refused["errors"]] == ["hosts.both.roles"]
    assert "pc2_worker" in refused["errors"][0]["remedy"]
    told = plan({"settings": {"network": "calibration"}, "hosts": hosts})
    assert told["errors"] == [] and any("window PoSt" in text for text in told["warnings"])
    hosts["both"]["roles"] = ["pc1_worker", "window_miner"]
    hosts["pc2"] = {"roles": ["pc2_worker"], "hardware": hardware}
    assert plan({"settings": {"network": "mainnet"}, "hosts": hosts})["errors"] == []
