"""Bad input: one clear error for each thing wrong, all at once, never a traceback; and the plan keeps its schema."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sealyard import explain, plan
from sealyard.inventory.planner_input import plan_input
from sealyard_filters import sealing_plan_page

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "filter_plugins/sealyard/plan/plan.schema.json").read_text("utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
TOPOLOGY = ROOT / "tests/topologies/epyc7452-rome-2s-nps4-4xa100.json"
HARDWARE = {"cpu": "EPYC 7542 x1", "memory": "1TiB", "gpus": ["RTX 3080"], "scratch": "8x 2TB NVMe"}


def document(**changes: Any) -> dict[str, Any]:
    """A small cluster that plans without an error; `changes` replace keys of the host `h`."""
    host = {"roles": ["pc1_worker", "pc2_worker", "c2_worker"], "hardware": HARDWARE, **changes}
    return {"settings": {}, "groups": {}, "hosts": {"seal": {"roles": ["seal_miner"]}, "h": host}}


def machine(**changes: Any) -> dict[str, Any]:
    """Two cores, one node, one GPU, spelled out."""
    topology: dict[str, Any] = {
        "cpus": [{"cpu": n, "core": n, "socket": 0, "node": 0, "l3": 0, "online": True} for n in range(8)],
        "numa": [{"node": 0, "memory_bytes": 1 << 40, "cpus": list(range(8))}],
        "gpus": [{"pci": "0000:3b:00.0", "vendor": "10de", "device": "2206", "numa_node": 0}],
        "rdma": [],
        "nvme": [],
        "net": [],
    }
    return {**topology, **changes}


def assert_well_formed(planned: dict[str, Any]) -> None:
    VALIDATOR.validate(planned)
    json.dumps(planned)
    assert explain(planned)
    for error in planned["errors"]:
        assert set(error) == {"path", "value", "problem", "remedy"}
        assert error["path"] and error["problem"] and error["remedy"]


def test_a_good_document_has_no_errors() -> None:
    planned = plan(document())
    assert_well_formed(planned)
    assert planned["errors"] == []


CPUS = machine()["cpus"]
BAD_HARDWARE = [
    ("nothing", {}),
    ("no hardware", None),
    ("a text", "EPYC"),
    ("a number", 7),
    ("unknown CPU", {"cpu": "EPYC 9999999 x1", "memory": "1TiB"}),
    ("negative memory", machine(numa=[{"node": 0, "memory_bytes": -1, "cpus": list(range(8))}])),
    ("two CPUs with one number", machine(cpus=[*CPUS, CPUS[0]])),
    ("a GPU on a node that is not there", machine(gpus=[{**machine()["gpus"][0], "numa_node": 9}])),
    ("text for a number", machine(cpus=[{**CPUS[0], "core": "zero"}, *CPUS[1:]])),
    ("no CPUs", machine(cpus=[])),
    ("all offline", machine(cpus=[{**cpu, "online": False} for cpu in CPUS])),
]


@pytest.mark.parametrize(("what", "hardware"), BAD_HARDWARE, ids=[what for what, _ in BAD_HARDWARE])
def test_bad_facts_are_one_clear_error(what: str, hardware: Any) -> None:
    planned = plan(document(hardware=hardware))
    assert_well_formed(planned)
    told = [error for error in planned["errors"] if error["path"].startswith("hosts.h")]
    assert len(told) == 1, told


def test_errors_come_all_at_once() -> None:
    bad = document(hardware={"cpu": "EPYC 9999999 x1", "memory": "1TiB"}, reserved_cores=-1)
    bad["settings"] = {"stack": "lotsu", "sector_size": "33GiB", "deal_share": 2, "measured_sec": {"PC9": 1}}
    bad["hosts"]["g"] = {"roles": "pc2_worker"}
    bad["groups"] = {"a": {"miner": "sael"}}
    planned = plan(bad)
    assert_well_formed(planned)
    paths = {error["path"] for error in planned["errors"]}
    assert {
        "settings.stack",
        "settings.sector_size",
        "settings.deal_share",
        "settings.measured_sec.PC9",
        "hosts.h.reserved_cores",
        "hosts.g.roles",
        "groups.a.miner",
    } <= paths
    assert any(path.startswith("hosts.h.hardware") for path in paths)
    near = {error["path"]: error["remedy"] for error in planned["errors"]}
    assert near["settings.stack"] == "lotus" and near["groups.a.miner"] == "seal"


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda d: d["hosts"].pop("seal"), "hosts"),
        (lambda d: d["hosts"]["h"].update(roles=["pc1_worker"]), "groups.g1"),
        (lambda d: d["hosts"]["h"].update(group="aa") or d["groups"].update(a={}), "hosts.h.group"),
        (lambda d: d["settings"].update(deal_share=0.5), "settings.deal_share"),
        (lambda d: d["hosts"].update(d1={"roles": ["deal_miner"]}, d2={"roles": ["deal_miner"]}), "deal_miner"),
        (lambda d: d["hosts"]["h"].update(reserved_cores=32), "hosts.h.reserved_cores"),
        (lambda d: d["hosts"]["h"].update(hardware={**HARDWARE, "memory": "32GiB"}), "hosts.h.hardware.memory"),
        (lambda d: d["hosts"]["h"].update(scratch_bytes=10**9), "hosts.h.scratch_bytes"),
        (lambda d: d["hosts"]["h"].update(hardware="EPIC"), "hosts.h.hardware"),
        (lambda d: d["hosts"]["h"].update(stores=[{"name": "x"}]), "hosts.h.stores[0]"),
        (lambda d: d["hosts"]["h"].update(worker_port="3456"), "hosts.h.worker_port"),
    ],
)
def test_what_an_inventory_can_break_is_told_with_a_remedy(change: Any, path: str) -> None:
    broken = document()
    change(broken)
    planned = plan(broken)
    assert_well_formed(planned)
    assert path in {error["path"] for error in planned["errors"]}


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 1 << 40) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = [
    "roles",
    "hardware",
    "group",
    "reserved_cores",
    "sdr_producers",
    "scratch_bytes",
    "stores",
    "measured_sec",
]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(st.sampled_from(KEYS), anything, max_size=3),
    st.dictionaries(st.sampled_from(["stack", "sector_size", "deal_share", "allow_regroup", "stores"]), anything),
    st.dictionaries(st.sampled_from(["a", "b"]), anything, max_size=2),
    st.sampled_from(["hosts", "settings", "groups", "machines", "current", None]),
    anything,
)
def test_no_input_makes_a_traceback(
    host: dict[str, Any], own: dict[str, Any], groups: dict[str, Any], key: str | None, value: Any
) -> None:
    broken = document(**host)
    broken["settings"] = own
    broken["groups"] = groups
    if key is not None and key != "current":
        broken[key] = value
    assert_well_formed(plan(broken))


def test_the_plan_of_every_topology_keeps_the_schema() -> None:
    for path in sorted((ROOT / "tests/topologies").glob("*.json")):
        hardware = json.loads(path.read_text("utf-8"))
        for size in ("2KiB", "32GiB"):
            planned = plan({**document(hardware=hardware), "settings": {"sector_size": size}})
            assert_well_formed(planned)


def test_a_fast_fleet_shares_hardware_by_name() -> None:
    shared = document(hardware="EPYC")
    shared["machines"] = {"EPYC": HARDWARE}
    assert plan(shared)["hosts"] == plan(document())["hosts"]


def run(text: str, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sealyard", *flags], input=text, capture_output=True, text=True, check=False,
        cwd=ROOT / "filter_plugins",
    )  # fmt: skip


def test_the_command_line_is_the_same_function() -> None:
    good = run(json.dumps(document()))
    assert good.returncode == 0 and json.loads(good.stdout) == plan(document())
    bad = run(json.dumps(document(hardware=None)))
    assert bad.returncode == 1 and json.loads(bad.stdout)["errors"]
    for text, told in (
        ('{"hosts": {"a": {"roles": []}, "a": {"roles": []}}}', "'a' is there twice"),
        ("[" * 100_000, "not JSON"),
        ("7", None),
        ('{"settings": {"deal_share": NaN}}', None),
        ('{"hosts": {"seal": {"roles": ["seal_miner"], "hardware": 1e999}}}', None),
    ):
        wrong = run(text)
        assert wrong.returncode == (2 if told else 1) and "Traceback" not in wrong.stderr
        assert (
            told in wrong.stderr if told else len(json.loads(wrong.stdout, parse_constant=pytest.fail)["errors"]) == 1
        )
    broken = run("{")
    assert broken.returncode == 2 and "not JSON" in broken.stderr and "Traceback" not in broken.stderr
    table = run(json.dumps(document()), "--explain")
    assert "sectors per day" in table.stdout


def test_a_secret_in_the_inventory_never_reaches_the_plan() -> None:
    text = io.StringIO()
    secret = document(token="eyJhbGciOi.secret")
    json.dump(plan(secret), text)
    assert "secret" not in text.getvalue()


def test_kept_hardware_serves_hosts_that_declare_none(tmp_path: Path) -> None:
    (tmp_path / ".hardware").mkdir()
    (tmp_path / ".hardware" / "pc1-1.json").write_text(TOPOLOGY.read_text("utf-8"), "utf-8")
    roles = {"pc1-1": ["pc1_worker"], "pc1-2": ["pc1_worker"], "pc1-3": ["pc1_worker"]}
    variables: dict[str, dict[str, object]] = {
        "pc1-1": {},
        "pc1-2": {"sealing_hardware": {"cpu": "EPYC 7542 x1", "memory": "1TiB"}},
        "pc1-3": {},
    }
    document = plan_input(roles, variables, [tmp_path])
    assert document["hosts"]["pc1-1"]["hardware"] == {"topology": ".hardware/pc1-1"}
    assert document["machines"][".hardware/pc1-1"] == json.loads(TOPOLOGY.read_text("utf-8"))
    assert document["hosts"]["pc1-2"]["hardware"] == {"cpu": "EPYC 7542 x1", "memory": "1TiB"}
    assert document["hosts"]["pc1-3"]["hardware"] is None
    (error,) = [e for e in plan(document)["errors"] if e["path"] == "hosts.pc1-3.hardware"]
    assert "playbooks/hardware.yml" in error["remedy"]


def test_hardware_that_was_read_and_hardware_that_was_kept_draw_the_same_page() -> None:
    read = document(hardware=json.loads(TOPOLOGY.read_text("utf-8")))
    kept = document(hardware={"topology": ".hardware/h"}) | {
        "machines": {".hardware/h": read["hosts"]["h"]["hardware"]}
    }
    pages = [sealing_plan_page(plan(one), one) for one in (read, kept)]
    assert pages[0] == pages[1]
    assert "L3" in pages[0]
