"""sealyard.hardware: declared hardware in both forms, and the table of CPU models against real machines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sealyard.hardware import catalogue
from sealyard.hardware.declared import HardwareError, normalise
from sealyard.hardware.facts import LISTS
from sealyard.hardware.machine import scratch_bytes
from sealyard.hardware.short_form import SHORT_KEYS

TOPOLOGIES: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text())
    for path in sorted((Path(__file__).parents[1] / "topologies").glob("*.json"))
}
SOURCE_MODELS = {
    # model: (cores, L3 caches, default NUMA nodes) per socket, the models the sources name
    "EPYC 7302": (16, 8, 1),
    "EPYC 7402": (24, 8, 1),
    "EPYC 7452": (32, 8, 1),
    "EPYC 7502": (32, 8, 1),
    "EPYC 7542": (32, 8, 1),
    "EPYC 7551": (32, 8, 4),
    "EPYC 7601": (32, 8, 4),
    "EPYC 7642": (48, 16, 1),
    "EPYC 7742": (64, 16, 1),
    "EPYC 7763": (64, 8, 1),
    "EPYC 7H12": (64, 16, 1),
    "EPYC 9555": (64, 8, 1),
    "EPYC 9654": (96, 12, 1),
    "Threadripper 3970X": (32, 8, 1),
    "Threadripper 3990X": (64, 16, 1),
    "Ryzen 9 3950X": (16, 4, 1),
}


def problems(declared: Any, **more: Any) -> dict[str, str]:
    """path → problem of everything wrong."""
    with pytest.raises(HardwareError) as caught:
        normalise(declared, **more)
    for problem in caught.value.problems:
        assert problem.remedy and problem.problem
        json.dumps(problem.value)
    return {problem.path: problem.problem for problem in caught.value.problems}


def distinct(cpus: list[dict[str, Any]], key: str) -> int:
    return len({c[key] for c in cpus} - {None})


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_real_machines_pass_and_keep_everything(name: str) -> None:
    told = TOPOLOGIES[name]
    out = normalise(told)
    assert [{k: c[k] for k in ("cpu", "core", "socket", "node", "l3", "online")} for c in out["cpus"]] == [
        {k: c[k] for k in ("cpu", "core", "socket", "node", "l3", "online")} for c in told["cpus"]
    ]
    for key in ("numa", "rdma", "net", "summary", "notes"):
        assert out[key] == told[key]
    assert {g["pci"] for g in out["gpus"]} == {g["pci"] for g in told["gpus"]}
    assert normalise(out) == out


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_model_table_agrees_with_the_machine(name: str) -> None:
    told = TOPOLOGIES[name]
    model = catalogue.find_cpu(told["machine"]["cpu_model"] or "")
    if model is None:
        pytest.skip("model not in the table")
    cpus = told["cpus"]
    sockets = distinct(cpus, "socket")
    assert distinct(cpus, "core") == model.cores * sockets
    assert distinct(cpus, "l3") in (model.l3_groups * sockets, 0)
    with_cpus = [n for n in told["numa"] if n["cpus"]]
    assert len(with_cpus) // sockets in model.nodes_per_socket


def test_every_model_of_the_table_expands() -> None:
    for model in catalogue.cpu_models().values():
        for nps in model.nodes_per_socket:
            out = normalise({"cpu": f"{model.name} x{model.max_sockets}", "memory": "1TiB", "nps": nps})
            cpus = out["cpus"]
            assert len(cpus) == model.cores * model.threads_per_core * model.max_sockets
            assert distinct(cpus, "core") == model.cores * model.max_sockets
            assert distinct(cpus, "l3") == model.l3_groups * model.max_sockets
            assert len(out["numa"]) == nps * model.max_sockets
            assert normalise(dict(out)) is not out


@pytest.mark.parametrize(("name", "shape"), SOURCE_MODELS.items())
def test_models_of_the_sources(name: str, shape: tuple[int, int, int]) -> None:
    model = catalogue.find_cpu(name)
    assert model is not None
    assert (model.cores, model.l3_groups, model.nodes_per_socket[0]) == shape
    assert model.sha_extensions


def test_short_form_of_the_sources_precommit_worker() -> None:
    out = normalise(
        {
            "cpu": "EPYC 7542 x1",
            "memory": "1TiB",
            "gpus": ["RTX 3080"],
            "scratch": "8x 2TB NVMe",
            "nic": "ConnectX-5 100G",
        }
    )
    assert [c["cpu"] for c in out["cpus"] if c["core"] == 3] == [3, 35]
    assert out["numa"] == [{"node": 0, "memory_bytes": 1 << 40, "cpus": list(range(64))}]
    assert (out["gpus"][0]["name"], out["gpus"][0]["memory_bytes"]) == ("RTX 3080", 10 << 30)
    assert scratch_bytes(out) == 16 * 10**12
    assert (out["rdma"][0]["netdev"], out["rdma"][0]["rate_bits_per_sec"]) == (out["net"][0]["name"], 10**11)


def test_declared_equals_the_real_machine() -> None:
    """A short form describes the 2 x EPYC 7742 with NPS4 of the topologies CPU by CPU."""
    told = TOPOLOGIES["epyc7742-rome-2s-nps4-4xa100"]
    out = normalise({"cpu": "2x EPYC 7742", "memory": "512GiB", "nps": 4, "gpus": ["A100 40GB @3", "4x A100 40GB@1"]})
    keys = ("cpu", "core", "socket", "node", "l3", "online")
    assert [{k: c[k] for k in keys} for c in out["cpus"]] == [{k: c[k] for k in keys} for c in told["cpus"]]
    assert [g["numa_node"] for g in out["gpus"]] == [3, 1, 1, 1, 1]
    assert len({g["pci"] for g in out["gpus"]}) == 5


def test_device_node_is_null_where_nobody_says() -> None:
    out = normalise({"cpu": "EPYC 7402 x2", "memory": "512GiB", "gpus": ["RTX 3090"], "nic": "2x 10GbE"})
    assert out["gpus"][0]["numa_node"] is None
    assert [n["numa_node"] for n in out["net"]] == [None, None]
    assert out["rdma"] == []


def test_system_disk_is_no_scratch() -> None:
    out = normalise({"cpu": "7302P", "memory": "256GiB", "system_disk": "1TB NVMe", "scratch": ["2x 3.84TB NVMe"]})
    assert [d["system"] for d in out["nvme"]] == [True, False, False]
    assert scratch_bytes(out) == 2 * 3_840_000_000_000


def test_smt_off_and_topology_by_name() -> None:
    assert len(normalise({"cpu": "EPYC 7763 x2", "memory": "1TiB", "smt": False})["cpus"]) == 128
    out = normalise({"topology": "dgx-spark-gb10", "gpus": ["RTX 4090"], "memory": "64GiB"}, topologies=TOPOLOGIES)
    assert out["gpus"][0]["name"] == "RTX 4090"
    assert out["numa"][0]["memory_bytes"] == 64 << 30
    assert TOPOLOGIES["dgx-spark-gb10"]["gpus"] == []


def test_gpu_names_of_nvidia_smi_and_pci_ids() -> None:
    names = {
        "NVIDIA GeForce RTX 3080": "RTX 3080",
        "NVIDIA A100-SXM4-40GB": "A100 40GB",
        "Tesla V100-PCIE-16GB": "V100 16GB",
        "NVIDIA H100 80GB HBM3": "H100 SXM",
        "Tesla T4": "T4",
    }
    for told, known in names.items():
        model = catalogue.find_gpu(told)
        assert model is not None and model.name == known
    assert catalogue.gpu_memory_bytes({"vendor": "10de", "device": "20b0", "name": None}) == 40 << 30
    assert catalogue.gpu_memory_bytes({"vendor": "10de", "device": "ffff", "name": None}) is None


def test_unknown_keys_of_devices_are_kept() -> None:
    told = json.loads(json.dumps(TOPOLOGIES["epyc7452-rome-2s-nps4-4xa100"]))
    told["gpus"][0] |= {"uuid": "GPU-1", "memory_bytes": 7 << 30, "asset_tag": "x"}
    gpu = next(g for g in normalise(told)["gpus"] if g.get("uuid"))
    assert (gpu["memory_bytes"], gpu["asset_tag"]) == (7 << 30, "x")


def test_all_faults_of_a_short_form_at_once() -> None:
    found = problems(
        {
            "cpu": "EPYC 7543 x3",
            "memroy": "1TiB",
            "gpus": ["RTX 3080 @4", "RTX 38"],
            "scratch": "8x SSD",
            "nic": "foo",
            "smt": "no",
        }
    )
    assert set(found) == {"cpu", "memroy", "memory", "gpus[0].numa_node", "gpus[1]", "scratch", "nic", "smt"}


BAD_SHORT: list[tuple[dict[str, Any], str, str]] = [
    ({"memory": -5}, "memory", "negative"),
    ({"memory": 512}, "memory", "unit"),
    ({"memory": "512"}, "memory", "not a size"),
    ({"memory": float("nan")}, "memory", "not a size"),
    ({"memory": float("inf")}, "memory", "not a size"),
    ({"memory": True}, "memory", "not a size"),
    ({"cpu": 7542}, "cpu", "text"),
    ({"cpu": "EPYC 9999"}, "cpu", "table"),
    ({"cpu": "EPYC 7542 x0"}, "cpu", "sockets"),
    ({"nps": 3}, "nps", "NUMA nodes"),
    ({"nps": "4"}, "nps", "NUMA nodes"),
    ({"gpus": [{"name": "RTX 3080", "numa_node": 9}]}, "gpus[0].numa_node", "no such NUMA node"),
    ({"gpus": [{"name": "RTX 3080", "pci": "zz"}]}, "gpus[0].pci", "PCI"),
    ({"gpus": [None]}, "gpus[0]", "named as text"),
    ({"gpus": ["0x RTX 3080"]}, "gpus[0]", "1 to 64"),
    ({"scratch": "4x 4TB HDD"}, "scratch", "slow"),
    ({"scratch": 16}, "scratch", "text"),
    ({"nic": "ConnectX-5 400G"}, "nic", "at most"),
]


@pytest.mark.parametrize(("change", "path", "words"), BAD_SHORT)
def test_bad_short_form(change: dict[str, Any], path: str, words: str) -> None:
    found = problems({"cpu": "EPYC 7542 x1", "memory": "1TiB"} | change)
    assert list(found) == [path]
    assert words in found[path]


def change(topology: dict[str, Any], path: str, value: object) -> None:
    target: Any = topology
    *parents, last = path.split(".")
    for part in parents:
        target = target[int(part) if part.isdigit() else part]
    target[int(last) if last.isdigit() else last] = value


BAD_TOPOLOGY: list[tuple[str, object, str, str]] = [
    ("cpus.1.cpu", 0, "cpus[1].cpu", "already"),
    ("cpus.1.cpu", "1", "cpus[1].cpu", "text"),
    ("cpus.1.cpu", None, "cpus[1].cpu", "missing"),
    ("cpus.1.core", -1, "cpus[1].core", "negative"),
    ("cpus.1.core", 63, "cpus[63].core", "another socket"),
    ("cpus.1.node", 77, "cpus", "numa does not have"),
    ("cpus.1.l3", 1.5, "cpus[1].l3", "whole"),
    ("cpus.1.online", "yes", "cpus[1].online", "true or false"),
    ("cpus.1", 5, "cpus[1]", "object"),
    ("cpus", [], "cpus", "no CPU"),
    ("cpus", {}, "cpus", "list"),
    ("numa.0.memory_bytes", -1, "numa[0].memory_bytes", "negative"),
    ("numa.0.memory_bytes", float("nan"), "numa[0].memory_bytes", "whole"),
    ("numa.0.memory_bytes", "64GiB", "numa[0].memory_bytes", "text"),
    ("numa.0.memory_bytes", 64, "numa[0].memory_bytes", "1 MiB"),
    ("numa.0.memory_bytes", 10**30, "numa[0].memory_bytes", "more memory"),
    ("numa.1.node", 0, "numa[1].node", "twice"),
    ("numa.0.cpus", [0, 9999], "numa[0].cpus", "not in cpus"),
    ("numa.0.cpus", "0-7", "numa[0].cpus", "list"),
    ("numa.1.cpus.0", 0, "numa[1].cpus", "nodes"),
    ("gpus.0.numa_node", 8, "gpus[0].numa_node", "not there"),
    ("gpus.0.numa_node", "1", "gpus[0].numa_node", "text"),
    ("gpus.0.pci", "3b:00", "gpus[0].pci", "PCI"),
    ("gpus.0.pci", "0000:44:00.0", "gpus[1].pci", "already"),
    ("gpus.0.memory_bytes", 0, "gpus[0].memory_bytes", "without memory"),
    ("gpus.0.memory_bytes", "10GiB", "gpus[0].memory_bytes", "text"),
    ("gpus.0.uuid", 7, "gpus[0].uuid", "text"),
    ("rdma.1.name", "mlx5_0", "rdma[1].name", "already"),
    ("rdma.0.name", None, "rdma[0].name", "no name"),
    ("rdma.0.near_nodes", [99], "rdma[0].near_nodes", "nodes"),
    ("numa_distances", {"nodes": [0], "matrix": []}, "numa_distances", "square"),
    ("machine", "EPYC", "machine", "mapping"),
]


@pytest.mark.parametrize(("where", "value", "path", "words"), BAD_TOPOLOGY)
def test_bad_topology(where: str, value: object, path: str, words: str) -> None:
    told = json.loads(json.dumps(TOPOLOGIES["epyc7452-rome-2s-nps4-4xa100"]))
    change(told, where, value)
    found = problems(told)
    assert path in found and words in found[path]


def test_nothing_at_all() -> None:
    assert "no hardware" in problems({})[""]
    assert "mapping" in problems([1, 2])[""]
    assert "no topology" in problems({"topology": "epyc9999"})["topology"]
    assert "no CPU that is online" in problems({"cpus": [{"cpu": 0, "core": 0, "online": False}]})["cpus"]
    with pytest.raises(HardwareError, match="EPYC 754"):
        normalise({"cpu": "EPYC 7541", "memory": "1TiB"})


KEYS = st.sampled_from([*SHORT_KEYS, *LISTS, "cpu", "node"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(JSON)
def test_never_a_traceback(declared: Any) -> None:
    try:
        out = normalise(declared)
    except HardwareError as error:
        assert error.problems
    else:
        assert any(c["online"] and c["allowed"] for c in out["cpus"])
