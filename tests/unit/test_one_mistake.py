"""One mistake anywhere in a good input is one clear error, by the command line and by Ansible's filter alike."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sealyard import plan, stacks
from sealyard.errors import SealyardError
from sealyard.planner.document import ROLES
from sealyard.planner.reader import input_schema

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "filter_plugins/adapter"))
import sealyard_filters  # noqa: E402

INPUT = jsonschema.Draft202012Validator(input_schema())
MACHINE: dict[str, Any] = {
    "machine": {"arch": "x86_64", "cpu_model": "AMD EPYC 7542 32-Core Processor"},
    "cpus": [
        {"cpu": n, "core": n % 16, "socket": n % 16 // 8, "node": n % 16 // 8, "l3": n % 16 // 4, "online": True,
         "allowed": True}
        for n in range(32)
    ],
    "numa": [
        {"node": n, "memory_bytes": 512 << 30, "cpus": [c for c in range(32) if c % 16 // 8 == n],
         "hugepages": [{"size_bytes": 1 << 30, "total": 0}]}
        for n in (0, 1)
    ],
    "gpus": [
        {"pci": f"0000:{bus}:00.0", "vendor": "10de", "device": "2206", "name": "RTX 3080", "numa_node": node,
         "memory_bytes": 10 << 30, "uuid": f"GPU-{bus}"}
        for bus, node in (("3b", 0), ("af", 1))
    ],
    "rdma": [{"name": "mlx5_0", "pci": "0000:5e:00.0", "numa_node": 0, "netdev": "eth0"}],
    "nvme": [{"name": f"nvme{n}n1", "numa_node": 0, "bytes": 8 * 10**12, "system": False} for n in range(2)],
    "net": [{"name": "eth0", "pci": "0000:5e:00.0", "numa_node": 0}],
}  # fmt: skip
SHORT = {"cpu": "EPYC 7402 x2", "memory": "1TiB", "gpus": ["2x RTX 3080"], "scratch": "8x 2TB NVMe", "nic": "2x 10GbE"}
GOOD: dict[str, Any] = {
    "settings": {"stack": "lotus", "sector_size": "32GiB", "deal_share": 0.0, "measured_sec": {"PC1": 10800},
                 "reserved_cores": 2, "worker_port": 3456, "stores": [{"name": "store", "path": "/mnt/store"}]},
    "groups": {"a": {"miner": "seal"}},
    "machines": {"shared": dict(SHORT)},
    "hosts": {
        "seal": {"roles": ["seal_miner"]},
        "told": {"roles": ["pc1_worker", "pc2_worker"], "hardware": MACHINE, "group": "a", "rack": "r1"},
        "short": {"roles": ["pc1_worker", "pc2_worker"], "hardware": SHORT, "group": "a", "scratch_bytes": 10**13},
        "c2": {"roles": ["c2_worker"], "hardware": "shared", "reserved_cores": 1},
    },
}  # fmt: skip
Step = tuple[Any, ...]
SHORT_AT = ("hosts", "short", "hardware")


def leaves(value: Any, at: Step = ()) -> Iterator[Step]:
    """Every place in the document that has a value of its own."""
    if at:
        yield at
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from leaves(inner, (*at, key))


PLACES = [at for at in leaves(GOOD) if at[0] != "machines" or len(at) > 1]
NUMBER_KEYS = ("cpu", "core", "socket", "node", "l3", "memory_bytes", "bytes", "numa_node", "total",
               "reserved_cores", "worker_port", "scratch_bytes", "deal_share", "PC1")  # fmt: skip
NUMBERS = [at for at in PLACES if at[-1] in NUMBER_KEYS and at[:2] != ("machines", "shared") and at[:3] != SHORT_AT]


def changed(at: Step, value: Any) -> dict[str, Any]:
    document = copy.deepcopy(GOOD)
    inside: Any = document
    for key in at[:-1]:
        inside = inside[key]
    inside[at[-1]] = value
    return document


def both(document: dict[str, Any]) -> dict[str, Any]:
    """The plan of the function and of Ansible's filter, which must be one."""
    planned = plan(document)
    assert sealyard_filters.sealing_plan(document) == planned
    json.dumps(planned, allow_nan=False)
    for error in planned["errors"]:
        assert error["path"] and error["problem"] and error["remedy"]
    return planned


def test_the_good_document_is_good() -> None:
    assert both(GOOD)["errors"] == []
    INPUT.validate(GOOD)


@pytest.mark.parametrize("value", ["7", "seven", -1, 1.5, True, [1]], ids=repr)
def test_no_number_is_one_error(value: Any) -> None:
    for at in NUMBERS:
        if at[-1] == "PC1" and value == 1.5:
            continue  # seconds may be broken
        errors = both(changed(at, value))["errors"]
        assert len(errors) == 1, (at, value, errors)
        assert str(at[-1]) in errors[0]["path"] or "hardware" in errors[0]["path"], (at, errors)


MISTAKES: list[tuple[str, Step, Any]] = [
    ("two CPUs with one number", ("hosts", "told", "hardware", "cpus", 1, "cpu"), 0),
    ("a CPU on a node that is not there", ("hosts", "told", "hardware", "cpus", 1, "node"), 9),
    ("a CPU moved to another node", ("hosts", "told", "hardware", "cpus", 1, "node"), 1),
    ("a node with another number", ("hosts", "told", "hardware", "numa", 0, "node"), 7),
    ("one node twice", ("hosts", "told", "hardware", "numa", 0, "node"), 1),
    ("a node without its CPUs", ("hosts", "told", "hardware", "numa", 0, "cpus"), "0-15"),
    ("a GPU on a node that is not there", ("hosts", "told", "hardware", "gpus", 0, "numa_node"), 9),
    ("two GPUs at one address", ("hosts", "told", "hardware", "gpus", 0, "pci"), "0000:af:00.0"),
    ("two GPUs of one UUID", ("hosts", "told", "hardware", "gpus", 0, "uuid"), "GPU-af"),
    ("no PCI address", ("hosts", "told", "hardware", "gpus", 0, "pci"), "slot 3"),
    ("more hugepages than memory", ("hosts", "told", "hardware", "numa", 0, "hugepages", 0, "total"), 600),
    ("hugepages as text", ("hosts", "told", "hardware", "numa", 0, "hugepages"), "64G"),
    ("CPUs as text", ("hosts", "told", "hardware", "cpus"), "0-31"),
    ("a CPU that is no object", ("hosts", "told", "hardware", "cpus", 3), 3),
    ("numa as text", ("hosts", "told", "hardware", "numa"), "two"),
    ("memory without a unit", ("hosts", "short", "hardware", "memory"), 1024),
    ("memory as text", ("hosts", "short", "hardware", "memory"), "much"),
    ("a CPU of no table", ("hosts", "short", "hardware", "cpu"), "EPYC 7541 x1"),
    ("a GPU of no table", ("hosts", "short", "hardware", "gpus"), ["RTX 3081"]),
    ("a key of no table", ("hosts", "short", "hardware", "memroy"), "1TiB"),
    ("a host with nothing", ("hosts", "short", "hardware"), {}),
    ("a host without hardware", ("hosts", "short", "hardware"), None),
    ("hardware as a list", ("hosts", "short", "hardware"), [1]),
    ("shared hardware that is wrong", ("machines", "shared", "cpu"), "EPYC 1 x1"),
    ("hardware of no name", ("hosts", "c2", "hardware"), "sharde"),
    ("a role of no group", ("hosts", "c2", "roles"), ["c2_worker", "pc1_wroker"]),
    ("roles as text", ("hosts", "c2", "roles"), "c2_worker"),
    ("a host that is none", ("hosts", "c2"), 5),
    ("hosts as a list", ("hosts",), []),
    ("an unknown key", ("hosts", "c2", "reserved_core"), 2),
    ("an unknown setting", ("settings", "sectorsize"), "32GiB"),
    ("an unknown part", ("host",), {}),
    ("a stack that is none", ("settings", "stack"), "lotsu"),
    ("a store without a path", ("settings", "stores", 0, "path"), "store"),
    ("a stage that is none", ("settings", "measured_sec", "PC9"), 5),
    ("a group of no miner", ("groups", "a", "miner"), "sael"),
    ("a pin to no group", ("hosts", "short", "group"), "b"),
]


@pytest.mark.parametrize(("what", "at", "value"), MISTAKES, ids=[what for what, _, _ in MISTAKES])
def test_one_mistake_is_one_error(what: str, at: Step, value: Any) -> None:
    errors = both(changed(at, value))["errors"]
    assert len(errors) == 1, (what, errors)


def test_a_mistake_in_the_settings_or_a_shared_machine_is_told_once() -> None:
    document = copy.deepcopy(GOOD)
    document["settings"]["reserved_cores"] = "two"
    document["machines"]["shared"] = {"cpu": "EPYC 1 x1", "memory": "1TiB"}
    document["hosts"] |= {f"c{n}": {"roles": ["c2_worker"], "hardware": "shared"} for n in range(50)}
    paths = sorted(error["path"] for error in both(document)["errors"])
    assert paths == ["machines.shared.cpu", "settings.reserved_cores"]


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 1 << 70)
    | st.floats()
    | st.sampled_from(["", "0", "x", *ROLES, *stacks.names()]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["cpu", "node", "name", "a"]), inner),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(PLACES), anything), min_size=1, max_size=3))
def test_no_change_of_a_good_input_makes_a_traceback(changes: list[tuple[Step, Any]]) -> None:
    document = copy.deepcopy(GOOD)
    for at, value in changes:
        inside: Any = document
        for key in at[:-1]:
            try:
                inside = inside[key]
            except (KeyError, IndexError, TypeError):
                break
        else:
            if isinstance(inside, dict) or (
                isinstance(inside, list) and isinstance(at[-1], int) and at[-1] < len(inside)
            ):
                inside[at[-1]] = value
    planned = plan(document)
    assert json.dumps(planned, default=str)
    # What the schema refuses, the planner tells of; a mapping of the schema's is one of the planner's.
    assert planned["errors"] or INPUT.is_valid(document)


@pytest.mark.parametrize(
    "at",
    [
        ("hosts",),
        ("hosts", "told"),
        ("hosts", "told", "workers"),
        ("hosts", "told", "workers", 0),
        ("hosts", "told", "workers", 0, "name"),
        ("groups", "a"),
        ("groups", "a", "hosts"),
        ("miners", "seal", "instances", "seal", "sector_numbers"),
        ("capacity", "sectors_per_day"),
    ],
    ids=lambda at: ".".join(map(str, at)),
)
def test_a_damaged_plan_in_force_is_one_error(at: Step, tmp_path: Path) -> None:
    applied = json.loads(json.dumps(plan(GOOD)))
    assert both({**GOOD, "current": applied})["errors"] == []
    inside: Any = applied
    for key in at[:-1]:
        inside = inside[key]
    inside[at[-1]] = 7.5 if at[-1] != "sectors_per_day" else "7.5"
    (error,) = both({**GOOD, "current": applied})["errors"]
    assert error["path"] == "current" and str(at[0]) in error["problem"]
    file = tmp_path / "applied.json"
    file.write_text(json.dumps(applied), encoding="utf-8")
    with pytest.raises(SealyardError, match="Restore it from a backup"):
        sealyard_filters.read_json(str(file))


@pytest.mark.parametrize("stack", stacks.names())
def test_scratch_for_nothing_on_few_cores_is_one_error(stack: str) -> None:
    host = {"roles": ["pc1_worker", "pc2_worker", "c2_worker"], "reserved_cores": 0, "scratch_bytes": 0}
    two = json.loads((ROOT / "tests/topologies/xeon6330-icelake-2s.json").read_text("utf-8"))
    two["cpus"] = [{**cpu, "online": cpu["core"] < 2} for cpu in two["cpus"]]
    two["numa"] = [{**node, "memory_bytes": None} for node in two["numa"]]
    hosts = {"m": {"roles": ["seal_miner"]}, "w": {**host, "hardware": two}}
    errors = plan({"settings": {"stack": stack}, "hosts": hosts})["errors"]
    assert [error["path"] for error in errors if error["path"].startswith("hosts.")] == ["hosts.w.scratch_bytes"]
