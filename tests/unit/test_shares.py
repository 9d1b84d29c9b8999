"""Shared scratch and stores in the plan: one ID on every host, exports to the RDMA network, TCP only where asked."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from sealyard import plan
from sealyard.plan.explain import explain
from sealyard.planner.shares import nfs_threads

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "filter_plugins/sealyard/plan/plan.schema.json").read_text("utf-8"))
CPU = {"cpu": "EPYC 7302 x2", "memory": "1TiB"}
NVME = {"scratch": "8x 4TB NVMe"}
MOUNT = {"server": "store", "path": "/sealer"}

DOCUMENT: dict[str, Any] = {
    "settings": {"stack": "lotus", "sector_size": "32GiB"},
    "groups": {"a": {}},
    "hosts": {
        "win": {"roles": ["winning_miner"], "address": "10.0.0.1"},
        "window": {"roles": ["window_miner"], "address": "10.0.0.2"},
        "seal": {"roles": ["seal_miner"], "address": "10.0.0.3"},
        "p1": {"roles": ["pc1_worker"], "hardware": CPU, "address": "10.0.0.5", "group": "a", "mounts": [MOUNT]},
        "p2": {"roles": ["pc1_worker"], "hardware": CPU, "address": "10.0.0.6", "group": "a", "mounts": [MOUNT]},
        "gpu": {
            "roles": ["pc2_worker"],
            "hardware": {**CPU, "gpus": ["RTX 3090"]},
            "address": "10.0.0.8",
            "group": "a",
            "mounts": [MOUNT],
            "stores": [{"name": "long", "path": "/mnt/long"}],
        },
        "store": {
            "roles": ["storage_server"],
            "hardware": {**CPU, **NVME, "nic": "ConnectX-5 100G"},
            "address": "10.0.0.9",
            "exports": [{"path": "/sealer"}],
        },
    },
}


def planned(**changes: dict[str, Any]) -> dict[str, Any]:
    """Plan the document with these hosts' keys changed; every host has an RDMA address."""
    document = deepcopy(DOCUMENT)
    for name, host in document["hosts"].items():
        host["rdma_address"] = f"{host['address'].replace('10.0', '10.40')}/24"
        host.update(changes.get(name, {}))
    document["settings"].update(changes.get("settings", {}))
    found = plan(document)
    jsonschema.Draft202012Validator(SCHEMA).validate(found)
    return found


def scratch(result: dict[str, Any], host: str) -> list[dict[str, Any]]:
    return [path for path in result["hosts"][host]["paths"] if path["can_seal"]]


def test_hosts_that_mount_one_export_open_one_path() -> None:
    result = planned()
    assert result["errors"] == []
    paths = {name: scratch(result, name) for name in ("p1", "p2", "gpu", "store")}
    assert all(len(found) == 1 for found in paths.values())
    one = {(p["id"], p["path"], str(p["groups"]), str(p["allow_to"]), p["max_storage_bytes"]) for [p] in paths.values()}
    assert len(one) == 1
    assert paths["gpu"][0]["groups"] == paths["p1"][0]["allow_to"] == ["a"]
    assert paths["store"][0]["workers"] == [] and paths["p1"][0]["workers"]


def test_the_server_opens_its_exports_to_the_rdma_network_only() -> None:
    hosts = planned()["hosts"]
    assert hosts["store"]["exports"] == [
        {
            "path": "/sealer",
            "clients": ["gpu", "p1", "p2"],
            "networks": ["10.40.0.0/24"],
            "transports": ["rdma"],
            "sync": True,
        }
    ]
    assert hosts["p1"]["mounts"][0]["address"] == "10.40.0.9"
    assert "store  /sealer  gpu, p1, p2  rdma  10.40.0.0/24" in explain(planned())


def test_a_pc1_host_that_exports_its_own_scratch_keeps_the_id_it_has() -> None:
    alone = planned(p1={"mounts": [], "hardware": {**CPU, **NVME}})
    given = planned(
        p1={"mounts": [], "hardware": {**CPU, **NVME}, "exports": [{"path": "/sealer"}]},
        gpu={"mounts": [{"server": "p1", "source": "/sealer", "path": "/sealer/p1", "scratch": True}]},
    )
    assert given["errors"] == []
    [before], [after] = scratch(alone, "p1"), scratch(given, "p1")
    assert before["id"] == after["id"]
    mounted = {path["path"]: path["id"] for path in scratch(given, "gpu")}
    assert mounted["/sealer/p1"] == after["id"] and mounted["/sealer"] != after["id"]


def test_a_mount_that_is_no_scratch_is_no_sealing_path() -> None:
    result = planned(gpu={"mounts": [{**MOUNT, "path": "/data", "source": "/sealer"}]})
    assert [path["path"] for path in scratch(result, "gpu")] == ["/sealer"]
    assert scratch(result, "gpu")[0]["id"] != scratch(result, "p1")[0]["id"]


def test_the_servers_scratch_bounds_pc1_and_is_shared_out() -> None:
    whole, half = planned(store={"scratch_bytes": 40 * 10**12}), planned(store={"scratch_bytes": 8 * 10**12})
    for name in ("p1", "p2"):
        [first] = {
            w["scratch"]["bytes"] * len(whole["hosts"][name]["workers"]) for w in whole["hosts"][name]["workers"]
        }
        assert 19 * 10**12 < first <= 20 * 10**12
        assert len(half["hosts"][name]["workers"]) < len(whole["hosts"][name]["workers"])
    assert not any("scratch is not known" in text for text in whole["warnings"])


def test_tcp_is_told_and_opens_the_export_to_that_host_alone() -> None:
    result = planned(p2={"mounts": [{**MOUNT, "transport": "tcp"}], "rdma_address": None})
    [export] = result["hosts"]["store"]["exports"]
    assert result["errors"] == []
    assert export["networks"] == ["10.0.0.6/32", "10.40.0.0/24"] and export["transports"] == ["rdma", "tcp"]
    assert [text for text in result["warnings"] if text.startswith("p2: /sealer goes over TCP")]


@pytest.mark.parametrize("lacking", ["store", "p1"])
def test_rdma_without_an_rdma_address_is_an_error_and_not_tcp(lacking: str) -> None:
    result = planned(**{lacking: {"rdma_address": None}})
    assert [error["path"] for error in result["errors"]] == [f"hosts.{lacking}.rdma_address"]
    assert {m["transport"] for host in result["hosts"].values() for m in host["mounts"]} == {"rdma"}


def test_a_store_that_is_exported_is_known_on_its_server() -> None:
    result = planned(
        store={"exports": [{"path": "/sealer"}, {"path": "/long"}]},
        gpu={"mounts": [MOUNT, {"server": "store", "source": "/long", "path": "/mnt/long"}]},
    )
    ids = {
        path["id"]
        for host, at in (("store", "/long"), ("gpu", "/mnt/long"))
        for path in result["hosts"][host]["paths"]
        if path["path"] == at
    }
    assert len(ids) == 1


def test_the_distributed_stack_takes_no_shared_scratch() -> None:
    result = planned(settings={"stack": "lotus_distributed"})
    assert {error["path"] for error in result["errors"]} >= {f"hosts.{name}.mounts[0]" for name in ("p1", "p2", "gpu")}


def test_force_remote_worker_mounts_pc1s_tree_at_its_place() -> None:
    own = {"mounts": [], "hardware": {**CPU, **NVME}}
    result = planned(settings={"stack": "force_remote_worker"}, p1=own, p2=own, gpu={"mounts": []})
    assert result["errors"] == []
    [export] = result["hosts"]["p1"]["exports"]
    assert export["path"] == "/sealer/nfs/10.0.0.5" and export["clients"] == ["gpu", "p2"]
    assert [m["address"] for m in result["hosts"]["gpu"]["mounts"]] == ["10.40.0.5", "10.40.0.6"]


def test_threads_follow_ports_and_cores() -> None:
    def machine(cores: int, ports: int) -> dict[str, Any]:
        return {
            "cpus": [{"cpu": n, "core": n, "socket": 0, "node": 0, "l3": 0, "online": True} for n in range(cores)],
            "numa": [{"node": 0, "memory_bytes": 1 << 36}],
            "rdma": [{"rate_bits_per_sec": 100_000_000_000}] * ports,
        }

    assert [
        nfs_threads(None),
        nfs_threads(machine(2, 1)),
        nfs_threads(machine(24, 2)),
        nfs_threads(machine(64, 1)),
    ] == [
        64,
        8,
        48,
        64,
    ]


def test_the_speed_of_a_link_is_that_of_the_declared_card() -> None:
    hosts = planned()["hosts"]
    assert hosts["store"]["link_bits_per_sec"] == 100_000_000_000
    assert "link_bits_per_sec" not in hosts["p1"] and "link_bits_per_sec" not in hosts["win"]


def test_the_order_of_hosts_changes_nothing() -> None:
    document = deepcopy(DOCUMENT)
    for host in document["hosts"].values():
        host["rdma_address"] = f"{host['address']}/24"
    turned = {**document, "hosts": dict(reversed(document["hosts"].items()))}
    assert json.dumps(plan(document)) == json.dumps(plan(turned))
