"""Preflight's building blocks: types, secrets, and one mistake told once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sealplan.inventory_checks import ROLE_GROUPS, check_inventory, plan_problems
from sealplan.inventory_variables import Options, Unreadable, cluster_options, findings, nearest, role_options, shown

ROLES: dict[str, Options] = {
    "lotus_daemon": {
        "lotus_daemon_api_port": {"type": "int"},
        "lotus_daemon_wallet": {"type": "str", "no_log": True},
        "lotus_daemon_environment": {"type": "dict"},
    }
}


def inventory() -> tuple[dict[str, list[str]], dict[str, dict[str, Any]]]:
    """Return the groups and hostvars of a small good cluster."""
    groups = {
        "daemon_private": ["post"],
        "winning_miner": ["post"],
        "window_miner": ["post"],
        "seal_miner": ["seal"],
        "pc1_worker": ["box"],
        "pc2_worker": ["box"],
        "c2_worker": ["box"],
        "all": ["post", "seal", "box"],
        "ungrouped": [],
    }
    common = {
        "sealing_network": "mainnet",
        "sealing_sector_size": "32GiB",
        "sealing_actor": "f01000",
        "sealing_stores": [{"name": "store", "path": "/mnt/store"}],
    }
    hostvars = {
        host: dict(common, ansible_host=f"10.0.0.{number}")
        for number, host in enumerate(("post", "seal", "box"), start=1)
    }
    return groups, hostvars


def paths(groups: dict[str, list[str]], hostvars: dict[str, dict[str, Any]]) -> list[str]:
    """Return the paths of the problems, sorted."""
    return sorted(problem["path"] for problem in check_inventory(groups, hostvars, ROLES, cluster_options()))


def test_a_good_inventory_has_no_problem() -> None:
    assert check_inventory(*inventory(), ROLES, cluster_options()) == []


def test_the_same_mistake_on_all_hosts_is_told_once() -> None:
    groups, hostvars = inventory()
    for variables in hostvars.values():
        variables["sealing_network"] = "mainet"
    assert paths(groups, hostvars) == ["all/sealing_network"]


def test_the_same_mistake_on_some_hosts_names_them() -> None:
    groups, hostvars = inventory()
    for host in ("post", "box"):
        hostvars[host]["lotus_daemon_api_prot"] = 1
    assert paths(groups, hostvars) == ["post,box/lotus_daemon_api_prot"]


def test_all_mistakes_are_told_at_once() -> None:
    groups, hostvars = inventory()
    groups["seal_miner"] = []
    hostvars["box"]["sealing_actor"] = "t01000"
    hostvars["post"]["lotus_daemon_api_port"] = "1234"
    hostvars["post"]["sealing_address"] = "0.0.0.0"
    assert paths(groups, hostvars) == [
        "box/sealing_actor",
        "groups/seal_miner",
        "post/lotus_daemon_api_port",
        "post/sealing_address",
    ]


@pytest.mark.parametrize(
    ("option", "value", "wrong"),
    [
        ({"type": "bool"}, "false", True),
        ({"type": "bool"}, 0, True),
        ({"type": "bool"}, False, False),
        ({"type": "bool", "command_line": True}, "true", False),
        ({"type": "bool", "command_line": True}, "maybe", True),
        ({"type": "int"}, "1234", True),
        ({"type": "int"}, True, True),
        ({"type": "int"}, 1234, False),
        ({"type": "float"}, 1, False),
        ({"type": "float"}, "0.5", True),
        ({"type": "str"}, 1.36, True),
        ({"type": "path"}, "/x", False),
        ({"type": "raw"}, object(), False),
        ({"type": "list", "elements": "str"}, ["a", 1], True),
        ({"type": "list", "elements": "str"}, "a,b", True),
        ({"type": "dict"}, [], True),
        ({"type": "str", "choices": ["a", "b"]}, "c", True),
        ({"type": "str"}, None, False),
        ({"type": "str"}, Unreadable("no"), False),
        ({"type": "list", "elements": "dict", "options": {"a": {"type": "int", "required": True}}}, [{}], True),
        ({"type": "list", "elements": "dict", "options": {"a": {"type": "int"}}}, [{"b": 1}], True),
        ({"type": "list", "elements": "dict", "options": {"a": {"type": "int"}}}, [{"a": 1}], False),
    ],
)
def test_types(option: dict[str, Any], value: Any, wrong: bool) -> None:
    assert bool(list(findings("x", value, option))) is wrong


def test_a_nested_finding_says_where() -> None:
    option = {"type": "list", "elements": "dict", "options": {"path": {"type": "path"}}}
    assert [found.where for found in findings("stores", [{"path": "/a"}, {"path": 1}], option)] == ["[1].path"]


@pytest.mark.parametrize("name", ["vault_x", "lotus_daemon_wallet", "a_token", "my_password", "the_secret"])
def test_secrets_are_never_shown(name: str) -> None:
    assert "s3cret" not in shown(name, "s3cret")
    assert "s3cret" not in shown("x", "s3cret", {"no_log": True})


def test_long_values_are_cut() -> None:
    assert len(shown("x", "y" * 500)) <= 60


def test_near_misses() -> None:
    assert nearest("pc1_workers", ROLE_GROUPS) == "pc1_worker"
    assert nearest("PC1-worker", ROLE_GROUPS) == "pc1_worker"
    assert nearest("monitoring", ROLE_GROUPS) is None


def test_role_options_reads_every_entry_point(tmp_path: Path) -> None:
    meta = tmp_path / "gpu" / "meta"
    meta.mkdir(parents=True)
    (meta / "argument_specs.yml").write_text(
        "argument_specs: {main: {options: {gpu_a: {type: int}}}, drain: {options: {gpu_b: {type: str}}}}"
    )
    assert role_options(tmp_path) == {"gpu": {"gpu_a": {"type": "int"}, "gpu_b": {"type": "str"}}}


def test_moves_are_refused_unless_asked_for() -> None:
    plan = {"errors": [], "moves": [{"host": "box", "from": "a", "to": "b"}]}
    _, hostvars = inventory()
    refused = plan_problems(plan, hostvars)
    assert [(one["path"], one["value"]) for one in refused] == [("box/sealing_worker_group", "a -> b")]
    hostvars["box"]["sealing_allow_regroup"] = "true"
    assert plan_problems(plan, hostvars) == []


def test_a_plan_error_that_the_inventory_check_has_told_is_not_told_twice() -> None:
    error = {"path": "groups/seal_miner", "value": None, "problem": "p", "remedy": "r"}
    assert len(plan_problems({"errors": [error]}, {})) == 1
    known = plan_problems({"errors": [error]}, {})
    assert plan_problems({"errors": [error]}, {}, known) == []
