"""Unsealing and snap updates: given to hosts by their groups, planned, bound and counted like the other tasks."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from sealyard import explain, plan
from sealyard.hardware.cpu_list import parse_cpus
from sealyard.hardware.declared import normalise
from sealyard.lotus import tasks
from sealyard.lotus.figures import figures
from sealyard.pages.plan_page import render

ROOT = Path(__file__).parents[2]
FORK, REMOTE = "lotus_distributed", "force_remote_worker"
TOPOLOGIES = sorted((ROOT / "tests/topologies").glob("*.json"))
RESOURCES = json.loads((ROOT / "tests/contracts/lotus/resources.json").read_text("utf-8"))
PLAN_SCHEMA = json.loads((ROOT / "filter_plugins/sealyard/plan/plan.schema.json").read_text("utf-8"))
INPUT_SCHEMA = json.loads((ROOT / "filter_plugins/sealyard/planner/input.schema.json").read_text("utf-8"))
TWO_GPUS = {"cpu": "EPYC 7542 x2", "memory": "2TiB", "gpus": ["RTX 3080", "RTX 3080"]}
ONE_GPU = TWO_GPUS | {"gpus": ["RTX 3080"]}


def planned(roles: list[str], hardware: Any, stack: str = "lotus", **host: Any) -> dict[str, Any]:
    miner = {"roles": ["seal_miner", "winning_miner", "window_miner"], "address": "10.0.0.1"}
    one = {"roles": roles, "hardware": hardware, "address": "10.0.0.2", "scratch_bytes": 30 * 10**12, **host}
    document = {
        "settings": {"stack": stack, "network": "mainnet", "sector_size": "32GiB", "actor": "f01000"},
        "hosts": {"m": miner, "w": one},
    }
    return plan(document)


def workers(plan_: dict[str, Any], task: str) -> list[dict[str, Any]]:
    return [worker for worker in plan_["hosts"]["w"]["workers"] if task in worker["tasks"]]


def test_the_table_says_what_lotus_says() -> None:
    for task in tasks.TASKS:
        assert RESOURCES["tasks"][task.name]["task_type"] == task.lotus_type
    switchable = set(RESOURCES["task_switches"]["settable_by_lotus_worker_tasks"]) - {"DC"}
    assert {task.name for task in tasks.SWITCHED} == switchable
    for task in tasks.TASKS:
        if task.needs_as:
            assert RESOURCES["tasks"][task.name]["sizes"] == RESOURCES["tasks"][task.needs_as]["sizes"]


def test_both_schemas_know_every_task_and_group_of_the_table() -> None:
    worker = PLAN_SCHEMA["properties"]["hosts"]["additionalProperties"]["properties"]["workers"]["items"]
    assert set(worker["properties"]["tasks"]["items"]["enum"]) == {task.name for task in tasks.SWITCHED}
    assert set(tasks.GROUPS) <= set(INPUT_SCHEMA["$defs"]["host"]["properties"]["roles"]["items"]["enum"])


def test_a_host_that_only_unseals_does_it_with_all_it_has() -> None:
    found = planned(["unseal_worker"], ONE_GPU)
    assert found["errors"] == []
    slots = workers(found, "UNS")
    assert len(slots) == 31  # 64 cores, 2 for the system, 2 each; memory would do for as many
    assert slots[0]["flags"] == ["--no-default", "--unseal"]
    assert slots[0]["environment"]["FIL_PROOFS_USE_MULTICORE_SDR"] == "1"
    assert slots[0]["environment"]["CUDA_VISIBLE_DEVICES"] == ""
    assert slots[0]["resources"]["UNS_32G_MAX_CONCURRENT"] == "1"
    assert slots[0]["name"] == "unseal-0" and slots[0]["scratch"]["path"] == "/sealer"
    assert found["capacity"]["stages"]["UNS"]["workers"] == 31
    assert found["capacity"]["stages"]["UNS"]["sectors_per_day"] == pytest.approx(31 * 86400 / 10800)


def test_beside_pc1_one_worker_unseals_on_cores_and_memory_of_its_own() -> None:
    alone, beside = (
        planned(["pc1_worker", "pc2_worker"], ONE_GPU),
        planned(["pc1_worker", "pc2_worker", "unseal_worker"], ONE_GPU),
    )
    assert beside["errors"] == []
    (slot,) = workers(beside, "UNS")
    assert slot["memory_bytes"] == figures("32GiB").task_bytes("PC1")
    assert len(workers(alone, "PC1")) - 1 <= len(workers(beside, "PC1")) <= len(workers(alone, "PC1"))
    assert not {cpu for w in workers(beside, "PC1") for cpu in parse_cpus(w["cpus"])} & set(parse_cpus(slot["cpus"]))


def test_snap_updates_get_a_gpu_of_their_own() -> None:
    found = planned(["pc2_worker", "c2_worker", "pc1_worker", "snap_worker"], TWO_GPUS)
    assert found["errors"] == []
    (snap,) = workers(found, "RU")
    assert snap["tasks"] == ["RU", "PR2", "GSK"]
    assert snap["flags"] == ["--no-default", "--replica-update", "--prove-replica-update2", "--regen-sector-key"]
    others = [gpu for worker in found["hosts"]["w"]["workers"] if worker is not snap for gpu in worker["gpus"]]
    assert len(snap["gpus"]) == 1 and others and not set(snap["gpus"]) & set(others)
    assert found["capacity"]["stages"]["RU"]["workers"] == 1
    stores = planned(["snap_worker"], TWO_GPUS, stores=[{"name": "s", "path": "/mnt/s"}])["hosts"]["w"]["paths"]
    assert [path["path"] for path in stores] == ["/sealer", "/mnt/s"]


def test_the_page_shows_them_among_the_stages() -> None:
    found = planned(["unseal_worker", "snap_worker"], TWO_GPUS)
    page = render(found, {"w": normalise(TWO_GPUS)})
    assert "unseal</tspan>" in page and "replica update</tspan>" in page and "no group" in page
    assert "C2 pool" not in page


def test_one_gpu_is_not_shared_by_snap_updates_and_proofs() -> None:
    (error,) = planned(["pc2_worker", "snap_worker", "pc1_worker"], ONE_GPU)["errors"]
    assert error["path"] == "hosts.w.roles" and "has one GPU" in error["problem"] and "snap_worker" in error["remedy"]


@pytest.mark.parametrize(
    ("stack", "group"),
    [
        ("lotus_distributed", "snap_worker"),
        ("force_remote_worker", "snap_worker"),
        ("force_remote_worker", "unseal_worker"),
    ],
)
def test_a_stack_that_does_not_know_a_task_says_so(stack: str, group: str) -> None:
    (error,) = planned(["pc1_worker", "pc2_worker", group], TWO_GPUS, stack)["errors"]
    assert error["value"] == group and stack in error["problem"] and error["remedy"] == f"take the host out of {group}"


def test_the_fork_unseals_on_a_worker_of_its_own_too() -> None:
    found = planned(["pc1_worker", "pc2_worker", "unseal_worker"], ONE_GPU, "lotus_distributed")
    assert found["errors"] == []
    (slot,) = workers(found, "UNS")
    assert "--unseal=true" in slot["flags"] and "--precommit1=false" in slot["flags"]


def test_the_plan_says_what_a_deal_miner_queues_and_nobody_takes() -> None:
    def told(stack: str, *groups: str, own: tuple[str, ...] = ()) -> list[str]:
        host = {
            "roles": ["pc1_worker", "pc2_worker", "c2_worker", *groups],
            "hardware": TWO_GPUS,
            "address": "10.0.0.2",
        }
        miner = {"roles": ["seal_miner", "winning_miner", "window_miner", "deal_miner"], "address": "10.0.0.1"}
        hosts = {"m": miner, "w": host} | ({"side": host | {"roles": list(own)}} if own else {})
        document = {"settings": {"stack": stack, "sector_size": "32GiB"}, "hosts": hosts}
        return [warning for warning in plan(document)["warnings"] if "waits for ever" in warning]

    assert told("lotus") == [
        "no host does UNS (unseal) and no RU (replica update): what a deal miner queues of it waits for ever; "
        "unseal_worker and snap_worker would give it to hosts"
    ]
    assert "RU" not in told("lotus", own=("snap_worker",))[0]
    assert told("lotus", own=("snap_worker", "unseal_worker")) == []
    assert told("lotus", "snap_worker", own=("unseal_worker",)) == [  # a host that seals serves its group's miner
        "no worker of the deal miner does RU (replica update): what it queues of it waits for ever; snap_worker on "
        "hosts that seal nothing would give it to them"
    ]
    assert told("lotus_distributed") == []  # its PC1 workers unseal, and it knows no snap updates


@pytest.mark.parametrize(("miners", "owner"), [(["seal_miner"], ("m", "seal")), (["deal_miner"], ("m", "deal"))])
def test_a_host_that_only_unseals_has_a_miner_though_nobody_seals(miners: list[str], owner: tuple[str, str]) -> None:
    worker = {"roles": ["unseal_worker"], "hardware": TWO_GPUS, "address": "10.0.0.2"}
    found = plan({"hosts": {"m": {"roles": miners, "address": "10.0.0.1"}, "w": worker}})
    assert found["errors"] == []
    assert {(w["miner"], w["miner_role"]) for w in found["hosts"]["w"]["workers"]} == {owner}


def test_without_a_gpu_snap_workers_keep_to_a_node_and_leave_room_to_unseal() -> None:
    found = planned(["snap_worker", "unseal_worker"], TWO_GPUS | {"gpus": []})
    assert found["errors"] == []
    assert [w["numa_node"] for w in workers(found, "RU")] == [0, 1] and workers(found, "UNS")


def test_a_worker_whose_memory_spans_nodes_is_bound_to_none() -> None:
    hardware = {"cpu": "EPYC 7542 x2", "nps": 4, "memory": "1TiB", "gpus": ["RTX 3080", "RTX 3080"]}
    # The first takes all 128 GiB of the node that both GPUs are near.
    assert [w["numa_node"] for w in workers(planned(["snap_worker"], hardware), "RU")] == [0, None]


@pytest.mark.parametrize(
    ("roles", "hardware", "host", "value", "problem"),
    [
        (
            ["c2_worker", "unseal_worker"],
            ONE_GPU | {"memory": "192GiB"},
            {},
            "unseal_worker",
            "193 GiB for all workers",
        ),
        (["pc1_worker", "pc2_worker", "snap_worker"], TWO_GPUS | {"memory": "200GiB"}, {}, "snap_worker", "one PC1"),
        (["pc1_worker", "unseal_worker"], ONE_GPU, {"reserved_cores": 90}, 90, "are reserved for the system"),
        (
            ["pc1_worker", "pc2_worker", "unseal_worker"],
            ONE_GPU | {"memory": "96GiB"},
            {},
            96 << 30,
            "memory for not one PC1",
        ),
    ],
)
def test_one_cause_is_one_problem(
    roles: list[str], hardware: Any, host: dict[str, Any], value: Any, problem: str
) -> None:
    (error,) = planned(roles, hardware, **host)["errors"]
    assert error["value"] == value and problem in error["problem"]


def test_post_and_snap_updates_never_share_a_gpu() -> None:
    both = {"roles": ["seal_miner", "window_miner", "snap_worker"], "hardware": ONE_GPU, "address": "10.0.0.1"}
    (error,) = plan({"hosts": {"m": both}})["errors"]
    assert error["value"] == "window_miner, snap_worker" and "take the host out of snap_worker" in error["remedy"]


def test_hosts_that_snap_get_the_parameters_of_their_proof() -> None:
    defaults = yaml.safe_load((ROOT / "roles/proof_parameters/defaults/main.yml").read_text("utf-8"))
    for name in ("proof_parameters_needed", "proof_parameters_proves"):
        assert "'snap_worker'" in defaults[name] and "'unseal_worker'" not in defaults[name]


def test_there_is_a_port_for_every_worker() -> None:
    (error,) = planned(["unseal_worker"], ONE_GPU, worker_port=65535)["errors"]
    assert error["path"] == "hosts.w.worker_port" and error["remedy"] == "sealing_worker_port: 65505 or less"


def test_proofs_keep_a_gpu_that_is_large_enough() -> None:
    hardware = TWO_GPUS | {"gpus": ["RTX 3080", {"name": "RTX 3080", "memory": "4GiB"}]}
    (error,) = planned(["c2_worker", "snap_worker"], hardware)["errors"]
    assert error["problem"].startswith("has one GPU with enough memory")


ROLES = ["pc1_worker", "pc2_worker", "c2_worker", "unseal_worker", "snap_worker"]


@settings(deadline=None, max_examples=120)
@given(
    st.sampled_from(TOPOLOGIES),
    st.sets(st.sampled_from(ROLES), min_size=1),
    st.sampled_from(["lotus", "lotus_distributed"]),
)
def test_nothing_is_given_twice_and_nothing_is_lost(topology: Path, roles: set[str], stack: str) -> None:
    hardware = json.loads(topology.read_text("utf-8"))
    found = planned(sorted(roles), hardware, stack)
    host = found["hosts"]["w"]
    cpus = Counter(cpu for worker in host["workers"] for cpu in parse_cpus(worker["cpus"]))
    cpus.update(parse_cpus(host["reserved_cpus"]))
    assert not [cpu for cpu, times in cpus.items() if times > 1]
    gpus = Counter(gpu for worker in host["workers"] for gpu in worker["gpus"])
    assert not [gpu for gpu, times in gpus.items() if times > 1]
    if not found["errors"]:
        asked = {tasks.GROUPS[role] for role in roles & {"unseal_worker", "snap_worker"}}
        assert asked <= {task for worker in host["workers"] for task in worker["tasks"]}
        assert explain(found) and render(found, {"w": normalise(hardware)})
