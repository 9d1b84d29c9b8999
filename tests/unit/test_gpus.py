"""A worker's GPU is its own, whatever the host has, and stays the same card from run to run."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sealyard import plan
from sealyard.hardware.declared import HardwareError, normalise
from sealyard_filters import sealing_plan, sealing_plan_input

TOPOLOGIES = sorted((Path(__file__).parents[1] / "topologies").glob("*.json"))
WITH_GPUS = [path for path in TOPOLOGIES if json.loads(path.read_text("utf-8"))["gpus"]]
EPYC = {"cpu": "EPYC 7742 x2", "memory": "2TiB", "scratch": "8x 7.68TB NVMe"}
ROLES = {"PC2": "pc2_worker", "C2": "c2_worker", "PC1": "pc1_worker"}
NVIDIA, AMD = "10de", "1002"


def plan_host(hardware: Any, mix: tuple[str, ...] = ("PC2", "C2"), **settings: Any) -> list[dict[str, Any]]:
    """The workers of one host."""
    host = {"roles": [ROLES[task] for task in mix], "hardware": hardware}
    planned = plan({"settings": settings, "hosts": {"h": host, "miner": {"roles": ["seal_miner"]}}})
    assert [error for error in planned["errors"] if error["path"].startswith("hosts.h.hardware")] == []
    workers: list[dict[str, Any]] = planned["hosts"]["h"]["workers"]
    return workers


def address(gpu: dict[str, Any]) -> tuple[int, ...]:
    """A PCI address as a number; shares no code with the planner."""
    parts = gpu["pci"].replace(".", ":").split(":")
    return tuple(int(part, 16) for part in (["0", *parts] if len(parts) == 3 else parts))


def device(gpus: list[dict[str, Any]], environment: dict[str, str]) -> list[dict[str, Any]]:
    """The cards that CUDA or OpenCL hands to a process with this environment."""
    order = sorted(gpus, key=address)
    if environment.get("FIL_PROOFS_GPU_FRAMEWORK") == "opencl":
        seen = [gpu for gpu in order if gpu.get("vendor") == AMD]
        return [seen[int(environment["GPU_DEVICE_ORDINAL"])]]
    seen = [gpu for gpu in order if gpu.get("vendor") in (NVIDIA, None)]
    named = [word for word in environment["CUDA_VISIBLE_DEVICES"].split(",") if word]
    by_uuid = {gpu["uuid"]: gpu for gpu in seen if gpu.get("uuid")}
    if any(not word.startswith("GPU-") for word in named):
        assert environment["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    return [by_uuid[word] if word.startswith("GPU-") else seen[int(word)] for word in named]


def assert_own_cards(gpus: list[dict[str, Any]], workers: list[dict[str, Any]]) -> None:
    """Each proving worker gets the card that the plan means, and no card is given twice."""
    given: list[str] = []
    for worker in workers:
        if worker["gpus"]:
            got = [gpu["pci"] for gpu in device(gpus, worker["environment"])]
            assert got == worker["gpus"], worker["name"]
            given += got
        elif gpus:
            assert worker["environment"].get("CUDA_VISIBLE_DEVICES", "") == ""
    assert len(given) == len(set(given))


@pytest.mark.parametrize("path", WITH_GPUS, ids=lambda path: path.stem)
@pytest.mark.parametrize("known", ["all", "one unknown", "none"])
def test_no_two_workers_of_a_real_host_share_a_card(path: Path, known: str) -> None:
    hardware = json.loads(path.read_text("utf-8"))
    for number, gpu in enumerate(hardware["gpus"]):
        if known == "none" or (known == "one unknown" and number == len(hardware["gpus"]) - 1):
            gpu["vendor"] = None if gpu["vendor"] == NVIDIA else gpu["vendor"]
        gpu["memory_bytes"] = 24 << 30
    for node in hardware["numa"]:
        node["memory_bytes"] = 1 << 40
    for mix in (("PC2", "C2"), ("PC1", "PC2", "C2")):
        for stack in ("lotus", "lotus_distributed", "force_remote_worker"):
            assert_own_cards(hardware["gpus"], plan_host(hardware, mix, stack=stack))


CARDS = st.fixed_dictionaries(
    {
        "vendor": st.sampled_from([NVIDIA, NVIDIA, AMD, None, "8086"]),
        "numa_node": st.sampled_from([0, 1, None]),
        "memory_bytes": st.sampled_from([24 << 30, 80 << 30, None]),
        "uuid": st.booleans(),
    }
)
ADDRESSES = st.lists(
    st.tuples(st.sampled_from(["0000:", "0001:", ""]), st.integers(0, 255), st.integers(0, 31)),
    unique_by=lambda a: (a[0] or "0000:", *a[1:]),
    max_size=10,
)


@settings(max_examples=80, deadline=None)
@given(st.lists(CARDS, min_size=10, max_size=10), ADDRESSES)
def test_no_two_workers_of_any_host_share_a_card(cards: list[dict[str, Any]], addresses: list[Any]) -> None:
    hardware = dict(normalise(EPYC))
    hardware["gpus"] = [
        {
            **card,
            "pci": f"{domain}{bus:02x}:{slot:02x}.0",
            "uuid": f"GPU-{domain}{bus}-{slot}" if card["uuid"] else None,
        }
        for card, (domain, bus, slot) in zip(cards, addresses, strict=False)
    ]
    assert_own_cards(hardware["gpus"], plan_host(hardware))


# ---------------------------------------------------------------------------------------------------------------------
# The short form


def test_a_card_of_the_operators_own_has_its_own_number() -> None:
    unknown = {"name": "Custom 9000", "memory": "24GiB"}
    for gpus in ([unknown, "RTX 3090"], ["RTX 3090", unknown], ["RTX 3090", unknown, unknown, "2x RTX 3090"]):
        hardware = {**EPYC, "gpus": gpus}
        workers = plan_host(hardware)
        assert_own_cards(normalise(hardware)["gpus"], workers)
        numbers = {worker["environment"]["CUDA_VISIBLE_DEVICES"] for worker in workers if worker["gpus"]}
        assert numbers == {str(number) for number in range(sum(2 if gpu == "2x RTX 3090" else 1 for gpu in gpus))}


@pytest.mark.parametrize("nodes", list(itertools.permutations(range(4))))
def test_cards_are_counted_as_the_operator_wrote_them(nodes: tuple[int, ...]) -> None:
    """Whatever the order of the nodes: the third card of the list is CUDA's number 2, on the node that it names."""
    gpus = [f"RTX 3090 @{node}" for node in nodes]
    workers = plan_host({**EPYC, "nps": 2, "gpus": gpus})
    seen = {
        int(worker["environment"]["CUDA_VISIBLE_DEVICES"]): worker["numa_node"] for worker in workers if worker["gpus"]
    }
    assert seen == dict(enumerate(nodes))


@pytest.mark.parametrize("seed", range(4))
def test_long_lists_and_counts_keep_their_order(seed: int) -> None:
    draw = random.Random(seed)
    nodes = [draw.randrange(8) for _ in range(64)]
    normal = normalise({**EPYC, "nps": 4, "gpus": [f"A100 80GB @{node}" for node in nodes]})
    assert [gpu["numa_node"] for gpu in sorted(normal["gpus"], key=address)] == nodes
    for gpus in (["40x A100 80GB", "25x A100 80GB"], ["65x A100 80GB"]):
        with pytest.raises(HardwareError, match="1 to 64 GPUs"):
            normalise({**EPYC, "gpus": gpus})


def test_real_addresses_decide_where_they_are_known() -> None:
    """CUDA counts by address, so a list in another order is counted by address."""
    places = {"0000:c1:00.0": 0, "0000:41:00.0": 1, "0000:81:00.0": 0}
    gpus = [{"name": "RTX 3090", "pci": pci, "numa_node": node} for pci, node in places.items()]
    hardware = {**EPYC, "gpus": gpus}
    workers = plan_host(hardware)
    assert_own_cards(normalise(hardware)["gpus"], workers)
    assert {w["gpus"][0]: w["environment"]["CUDA_VISIBLE_DEVICES"] for w in workers if w["gpus"]} == {
        "0000:41:00.0": "0", "0000:81:00.0": "1", "0000:c1:00.0": "2",
    }  # fmt: skip


def test_a_made_up_address_never_stands_between_real_ones() -> None:
    real = {"name": "RTX 3090", "pci": "0000:42:00.0"}
    for gpus, bad in ((["RTX 3090", real], 0), ([real, "RTX 3090"], 1)):
        with pytest.raises(HardwareError, match="nvidia-smi -L") as caught:
            normalise({**EPYC, "gpus": gpus})
        assert [problem.path for problem in caught.value.problems] == [f"gpus[{bad}]"]


# ---------------------------------------------------------------------------------------------------------------------
# From run to run


def read_machine(path: Path, name: str = "") -> dict[str, Any]:
    """A machine as the facts module reads it, with a UUID for each card."""
    machine: dict[str, Any] = json.loads(path.read_text("utf-8"))
    for number, gpu in enumerate(machine["gpus"]):
        gpu["uuid"] = f"GPU-{name}{number:04d}"
    for node in machine["numa"]:
        node["memory_bytes"] = node["memory_bytes"] and node["memory_bytes"] + 12345
    return machine


@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda path: path.stem)
def test_read_kept_and_named_hardware_give_one_plan(path: Path, tmp_path: Path) -> None:
    """Through the filters: facts of this run, .hardware of an earlier one, topologies/ beside the inventory."""
    names = ("w1", "w2")
    groups = {"pc1_worker": names, "pc2_worker": names, "c2_worker": names, "seal_miner": ("m",)}
    read = {name: read_machine(path, name) for name in names}
    fresh = {name: {"ansible_facts": {"sealing_hardware": read[name]}} for name in names}
    runs: list[dict[str, dict[str, Any]]] = [{**fresh, "m": {}}]
    for folder in (".hardware", "topologies"):
        (tmp_path / folder).mkdir()
        for name in names:
            kept = json.dumps(read[name], indent=4, sort_keys=True)
            (tmp_path / folder / f"{name if folder == '.hardware' else 'our-' + name}.json").write_text(kept, "utf-8")
    runs.append({name: {} for name in (*names, "m")})
    runs.append({"w1": fresh["w1"], "w2": {}, "m": {}})
    runs.append({**{name: {"sealing_hardware": {"topology": f"our-{name}"}} for name in names}, "m": {}})
    runs.append({**{name: {"sealing_hardware": read[name]} for name in names}, "m": {}})
    plans = [sealing_plan(sealing_plan_input(groups, hostvars, str(tmp_path))) for hostvars in runs]
    texts = [json.dumps(one) for one in plans]
    assert [text == texts[0] for text in texts] == [True] * len(texts)
    cards = [uuid for name in names for worker in plans[0]["hosts"][name]["workers"] for uuid in worker["gpu_uuids"]]
    assert cards or not any(worker["gpus"] for name in names for worker in plans[0]["hosts"][name]["workers"])


def test_machines_of_the_tests_are_no_machines_of_an_inventory(tmp_path: Path) -> None:
    hostvars = {"w": {"sealing_hardware": {"topology": TOPOLOGIES[0].stem}}}
    planned = sealing_plan(sealing_plan_input({"c2_worker": ("w",)}, hostvars, str(tmp_path)))
    assert "no topology of that name" in [error["problem"] for error in planned["errors"]]


def test_uuids_of_the_short_form_are_kept() -> None:
    gpus = [
        {"name": "RTX 3090", "uuid": "GPU-a", "numa_node": 1},
        {"name": "RTX 3090", "uuid": "GPU-b", "numa_node": 0},
    ]
    workers = plan_host({**EPYC, "gpus": gpus})
    seen = {worker["environment"]["CUDA_VISIBLE_DEVICES"]: worker["numa_node"] for worker in workers if worker["gpus"]}
    assert seen == {"GPU-a": 1, "GPU-b": 0}


def test_other_gpus_in_a_named_machine_replace_its_own() -> None:
    machine = read_machine(next(path for path in WITH_GPUS if path.stem == "epyc7742-rome-2s-nps4-4xa100"))
    host = {"roles": ["c2_worker"], "hardware": {"topology": "ours", "gpus": ["RTX 3090 @1", "RTX 3090 @3"]}}
    planned = plan({"machines": {"ours": machine}, "hosts": {"h": host, "m": {"roles": ["seal_miner"]}}})
    workers = planned["hosts"]["h"]["workers"]
    assert {w["environment"]["CUDA_VISIBLE_DEVICES"] for w in workers if w["gpus"]} == {"0", "1"}


def test_hosts_that_share_a_machine_do_not_share_its_uuids() -> None:
    machine = read_machine(next(path for path in WITH_GPUS if path.stem == "epyc7742-rome-2s-nps4-4xa100"))
    host = {"roles": ["c2_worker"], "hardware": "ours"}
    one = plan({"machines": {"ours": machine}, "hosts": {"a": host, "m": {"roles": ["seal_miner"]}}})
    two = plan({"machines": {"ours": machine}, "hosts": {"a": host, "b": host, "m": {"roles": ["seal_miner"]}}})
    assert all(w["gpu_uuids"] for w in one["hosts"]["a"]["workers"] if w["gpus"])
    for name in ("a", "b"):
        assert_own_cards(machine["gpus"], two["hosts"][name]["workers"])
        assert not any(worker["gpu_uuids"] for worker in two["hosts"][name]["workers"])


@pytest.mark.parametrize("uuid", [7, "GPU-same"])
def test_a_wrong_uuid_is_told_wherever_it_stands(uuid: object) -> None:
    gpus = [{"name": "RTX 3090", "uuid": uuid}, {"name": "RTX 3090", "uuid": uuid}]
    machine = dict(normalise(EPYC)) | {"gpus": [gpu | {"pci": f"0000:4{n}:00.0"} for n, gpu in enumerate(gpus)]}
    for hardware, where in (({**EPYC, "gpus": gpus}, "hosts.h.hardware"), ("ours", "machines.ours")):
        planned = plan({"machines": {"ours": machine}, "hosts": {"h": {"roles": ["c2_worker"], "hardware": hardware}}})
        assert f"{where}.gpus[1].uuid" in [error["path"] for error in planned["errors"]]


def test_an_empty_vendor_or_uuid_is_an_unknown_one() -> None:
    """As "" a UUID would hide every card, and a vendor would be counted as NVIDIA's and run as AMD's."""
    hardware = json.loads(next(path for path in WITH_GPUS if "4xa100" in path.name).read_text("utf-8"))
    hardware["gpus"] = [
        {**gpu, "vendor": vendor, "uuid": ""} for gpu, vendor in zip(hardware["gpus"][:2], ("", AMD), strict=True)
    ]
    environments = [worker["environment"] for worker in plan_host(hardware) if worker["gpus"]]
    assert [env.get("CUDA_VISIBLE_DEVICES") for env in environments] == ["0", None]
    assert [env.get("GPU_DEVICE_ORDINAL") for env in environments] == [None, "0"]
