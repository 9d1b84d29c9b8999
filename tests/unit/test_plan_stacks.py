"""Every flag, variable and key that a plan writes for a stack is one that the stack's programs know."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from sealyard import plan
from sealyard.hardware.cpu_list import parse_cpus
from standin import contract

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "filter_plugins/sealyard/plan/plan.schema.json").read_text("utf-8"))
PC1 = {"cpu": "EPYC 7302 x2", "memory": "2TiB", "scratch": "8x 4TB NVMe"}
PRECOMMIT = {"cpu": "EPYC 7542 x1", "memory": "1TiB", "gpus": ["RTX 3080"], "scratch": "8x 2TB NVMe"}
GPU = {"cpu": "EPYC 7402 x2", "memory": "2TiB", "gpus": ["RTX 3090"] * 8, "scratch": "8x 4TB NVMe"}


def planned(stack: str, smooth: Collection[str] = (), **settings: Any) -> dict[str, Any]:
    document: dict[str, Any] = {
        "settings": {"stack": stack, **settings},
        "hosts": {
            "win": {"roles": ["winning_miner", "sector_counter"], "address": "10.0.0.1"},
            "window": {"roles": ["window_miner"], "address": "10.0.0.2"},
            "seal": {"roles": ["seal_miner"], "address": "10.0.0.3"},
            "deal": {"roles": ["deal_miner"], "address": "10.0.0.4"},
            "p1": {"roles": ["pc1_worker"], "hardware": PC1, "address": "10.0.0.5"},
            "p2": {"roles": ["pc1_worker"], "hardware": PC1, "address": "10.0.0.6"},
            "both": {
                "roles": ["pc1_worker", "pc2_worker"],
                "hardware": PRECOMMIT,
                "address": "10.0.0.7",
                "group": "own",
            },
            "gpu": {"roles": ["pc2_worker"], "hardware": GPU, "address": "10.0.0.8"},
            "c2": {"roles": ["c2_worker"], "hardware": GPU, "address": "10.0.0.9"},
        },
    }
    for name, host in document["hosts"].items():
        host["rdma_address"] = f"{host['address']}/24"
        if name in smooth:
            host["smooth_pledging"] = True
    result = plan(document)
    jsonschema.Draft202012Validator(SCHEMA).validate(result)
    assert result["errors"] == []
    return result


def workers(result: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(name, worker) for name, slice_ in result["hosts"].items() for worker in slice_["workers"]]


def known_flags(stack: str) -> set[str]:
    run = contract.document(stack, "cli")["lotus-worker"]["commands"]["run"]
    return {name for flag in run["flags"] for name in flag["names"]}


@pytest.mark.parametrize("sector_size", ["2KiB", "512MiB", "32GiB", "64GiB"])
def test_upstream_knows_every_flag_and_override(sector_size: str) -> None:
    flags = known_flags("lotus")
    overrides = set(contract.document("lotus", "resources")["env_override"]["names_sized"])
    for _, worker in workers(planned("lotus", sector_size=sector_size)):
        assert set(worker["flags"]) <= flags
        assert set(worker["resources"]) <= overrides
        assert all(value.isdigit() for value in worker["resources"].values())
        assert not {"ENV_CPU_CORE_BEGIN_NUM", "NUM_HANDLES"} & set(worker["environment"])
        assert ("--precommit1" in worker["flags"]) == ("PC1" in worker["tasks"])


def test_upstream_admits_what_the_plan_counts() -> None:
    """Lotus's own checks (scheduler_checks of the contract) with the overrides in force and the memory as its limit."""
    table = contract.document("lotus", "resources")["tasks"]
    for _, worker in workers(planned("lotus")):
        threads = len(parse_cpus(worker["cpus"]))
        for task in worker["tasks"]:
            row = dict(table[task]["sizes"]["32GiB"])
            for field, suffix in (("MinMemory", "MIN_MEMORY"), ("MaxMemory", "MAX_MEMORY"),
                                  ("BaseMinMemory", "BASE_MIN_MEMORY"), ("MaxParallelism", "MAX_PARALLELISM"),
                                  ("MaxParallelismGPU", "MAX_PARALLELISM_GPU")):  # fmt: skip
                row[field] = int(worker["resources"].get(f"{task}_32G_{suffix}", row[field]))
            assert row["MinMemory"] + row["BaseMinMemory"] <= worker["memory_bytes"]
            assert row["MaxMemory"] + row["BaseMinMemory"] <= worker["memory_bytes"]
            needs = worker["producers"] + 1 if task == "PC1" else row["MaxParallelism"]
            if worker["gpus"] and row["MaxParallelismGPU"]:
                needs = row["MaxParallelismGPU"]
            assert needs <= threads
            assert worker["resources"][f"{task}_32G_MAX_CONCURRENT"] == str(worker["concurrency"][task])


def test_upstream_keeps_groups_apart_by_path() -> None:
    result = planned("lotus")
    ids = [path["id"] for slice_ in result["hosts"].values() for path in slice_["paths"]]
    assert len(ids) == len(set(ids))
    for name in ("p1", "p2", "both", "gpu"):
        (path,) = result["hosts"][name]["paths"]
        group = result["hosts"][name]["group"]
        does = {task for worker in result["hosts"][name]["workers"] for task in worker["tasks"]}
        assert path["allow_to"] == ([group] if "PC1" in does else None)
        assert path["groups"] == ([group] if "PC2" in does else None)
        assert path["can_seal"] and not path["can_store"]
    assert result["hosts"]["c2"]["paths"] == []


def test_the_fork_runs_few_processes_with_core_groups_and_myscheduler() -> None:
    result = planned("lotus_distributed")
    flags = known_flags("lotus_distributed")
    keys = set(contract.document("lotus_distributed", "files")["myscheduler_json"]["keys"])
    for name, worker in workers(result):
        assert {flag.split("=")[0] for flag in worker["flags"]} <= flags
        assert all("=" in flag for flag in worker["flags"])
        assert set(worker["myscheduler"]) == keys
        assert worker["resources"] == {}
        assert worker["myscheduler"]["PreCommit1Max"] == worker["concurrency"].get("PC1", 0) == len(worker["bundles"])
        inside = {cpu for bundle in worker["bundles"] for cpu in parse_cpus(bundle)}
        assert inside <= set(parse_cpus(worker["cpus"]))
        if name == "both":
            assert worker["myscheduler"]["ForceP2FromLocalP1"] and worker["tasks"] == ["AP", "PC1", "PC2"]
        if "C2" in worker["tasks"]:
            assert worker["environment"]["NUM_KERNELS"] == "3" and worker["environment"]["NUM_HANDLES"] == "10"
    ranges = [worker["environment"] for name, worker in workers(result) if name == "p1"]
    assert [(r["ENV_CPU_CORE_BEGIN_NUM"], r["ENV_CPU_CORE_END_NUM"]) for r in ranges] == [("1", "8"), ("8", "16")]
    assert len(result["groups"]) <= 2 + 1  # one per miner, and the host that seals alone
    paths = [path for slice_ in result["hosts"].values() for path in slice_["paths"]]
    assert all(path["groups"] is None and len(path["workers"]) == 1 for path in paths if path["can_seal"])


def test_smooth_pledging_of_the_fork_levels_the_load_of_that_miners_workers() -> None:
    result = planned("lotus_distributed", smooth={"seal"}, deal_share=0.3)
    smooth = {
        (worker["miner_role"], "AP" in worker["tasks"], worker["myscheduler"]["AutoPledgeDiff"])
        for _, worker in workers(result)
    }
    assert {("seal", True, 1), ("seal", False, 0), ("deal", True, 0)} <= smooth
    assert not smooth & {("seal", True, 0), ("deal", True, 1), ("deal", False, 1)}
    assert all(not worker["myscheduler"]["AutoPledgeDiff"] for _, worker in workers(planned("lotus_distributed")))


def test_the_fork_has_one_counter_and_its_matrix_of_roles() -> None:
    miners = planned("lotus_distributed")["miners"]
    flags = {role: set(i["flags"]) for miner in miners.values() for role, i in miner["instances"].items()}
    assert {"--winning-post=true", "--window-post=false", "--sctype=alloce", "--sclisten=10.0.0.1:1357"} <= flags[
        "winning"
    ]
    assert {"--window-post=true", "--winning-post=false", "--p2p=false"} == flags["window"]
    for role in ("seal", "deal"):
        assert {"--window-post=false", "--winning-post=false", "--sctype=get", "--sclisten=10.0.0.1:1357"} <= flags[
            role
        ]
    assert sum("--sctype=alloce" in own for own in flags.values()) == 1


def test_force_remote_worker_gets_group_ids_and_phases() -> None:
    result = planned("force_remote_worker")
    known = contract.document("force_remote_worker", "files")["config_toml"]["keys"]
    ids = set()
    phases = []
    for name, worker in workers(result):
        config = worker["config"]
        assert {key for key in config if key != "worker"} <= set(known)
        assert config["sector_size"] == 34359738368 and config["ip"].startswith("10.0.0.")
        for entry in config["worker"]:
            assert {f"worker[].{key}" for key in entry} <= set(known)
            assert set(entry["supported_phase"]) <= set(known["worker[].supported_phase"]["values"])
            phases += entry["supported_phase"]
        if worker["group"]:
            assert config["group_id"] == [result["hosts"][name]["group_id"]]
            ids.add(config["group_id"][0])
    assert {"PreCommitPhase1", "PreCommitPhase2", "CommitPhase1", "CommitPhase2", "CopyTask", "CleanTask"} == set(
        phases
    )
    assert len(ids) == len(result["groups"])
    for name, slice_ in result["hosts"].items():
        for mount in slice_["mounts"]:
            assert name in next(
                e["clients"] for e in result["hosts"][mount["server"]]["exports"] if e["path"] == mount["source"]
            )
    assert any(slice_["mounts"] for slice_ in result["hosts"].values())


def test_one_official_miner_does_all_and_keeps_off_the_numbers_of_the_retired() -> None:
    split, single = planned("lotus"), planned("lotus", miner_layout="single")
    assert list(single["miners"]) == ["seal"]
    kept = single["miners"]["seal"]
    assert kept["instances"]["seal"].pop("duties") == ["winning", "window"]
    assert kept["instances"]["seal"]["reserve"] == split["miners"]["seal"]["instances"]["seal"]["reserve"] != {}
    assert kept["sector_numbers"] == split["miners"]["seal"]["sector_numbers"]
    assert kept["peer_id_owner"]
    assert kept["f3"]
    assert {worker["miner"] for _, worker in workers(single)} == {"seal"}
    assert not any("duties" in each for miner in split["miners"].values() for each in miner["instances"].values())
