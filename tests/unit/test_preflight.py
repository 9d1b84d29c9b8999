"""Preflight's building blocks: types, secrets, and one mistake told once."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from sealyard.hardware.declared import normalise
from sealyard.inventory.checks.network import PORTS
from sealyard.inventory.judgement import check_inventory
from sealyard.problem import Problem
from sealyard.variables.inventory import ROLE_GROUPS, Inventory
from sealyard.variables.options import (
    Options,
    Unreadable,
    cluster_options,
    findings,
    nearest,
    role_options,
    shown,
)

ROLES: dict[str, Options] = {
    "lotus_daemon": {
        "lotus_daemon_api_port": {"type": "int"},
        "lotus_daemon_wallet": {"type": "str", "no_log": True},
        "lotus_daemon_environment": {"type": "dict"},
        "lotus_daemon_sync_from_genesis": {"type": "bool"},
    },
    "lotus_install": {"lotus_install_builds_dir": {"type": "str"}},
}


def inventory() -> tuple[dict[str, list[str]], dict[str, dict[str, Any]]]:
    """Return the groups and hostvars of a small good cluster."""
    groups = {
        "daemon_private": ["post"],
        "winning_miner": ["post"],
        "window_miner": ["post"],
        "seal_miner": ["seal"],
        "daemon": ["post"],
        "miner": ["post", "seal"],
        "worker": ["box"],
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
        "lotus_install_builds_dir": "/srv/lotus",
        "lotus_daemon_sync_from_genesis": True,
    }
    hostvars = {
        host: dict(common, ansible_host=f"10.0.0.{number}")
        for number, host in enumerate(("post", "seal", "box"), start=1)
    }
    return groups, hostvars


def check(
    groups: dict[str, list[str]],
    hostvars: dict[str, dict[str, Any]],
    plan: dict[str, Any] | None = None,
    found: dict[str, dict[str, Any]] | None = None,
) -> list[Problem]:
    """Return the problems."""
    return check_inventory(Inventory(groups, hostvars, ROLES, cluster_options(), found or {}), plan)


def paths(groups: dict[str, list[str]], hostvars: dict[str, dict[str, Any]]) -> list[str]:
    """Return the paths of the problems, sorted."""
    return sorted(problem.path for problem in check(groups, hostvars))


def test_a_good_inventory_has_no_problem() -> None:
    assert check(*inventory()) == []


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
    ("old", "new"),
    [("lotus_daemon_config_dir", "sealing_config_dir"), ("lotus_daemon_user", "sealing_user")],
)
def test_a_roles_own_copy_of_a_cluster_variable_is_told_by_the_clusters_name(old: str, new: str) -> None:
    groups, hostvars = inventory()
    hostvars["box"][old] = "/x"
    assert [one.remedy for one in check(groups, hostvars)] == [f"{new}:"]


def test_a_former_name_is_judged_as_what_it_is_called_now() -> None:
    groups, hostvars = inventory()
    hostvars["box"]["lotus_install_root"] = "/x"
    assert check(groups, hostvars) == []
    hostvars["box"]["lotus_install_root"] = 7
    (told,) = check(groups, hostvars)
    assert told.path == "box/lotus_install_root" and "not a path" in told.problem


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
    plan = {"errors": [], "moves": [{"host": "box", "from": "a", "to": "b", "what": "group"}]}
    groups, hostvars = inventory()
    refused = check(groups, hostvars, plan)
    assert [(one.path, one.value) for one in refused] == [("box/sealing_worker_group", "a -> b")]
    hostvars["box"]["sealing_allow_regroup"] = "true"
    assert check(groups, hostvars, plan) == []


@pytest.mark.parametrize(
    ("told", "path"),
    [
        ("hosts.box.stores[0]", "box/sealing_stores[0]"),
        ("hosts.box.group", "box/sealing_worker_group"),
        ("hosts.box.hardware.gpus[0]", "box/sealing_hardware.gpus[0]"),
        ("settings.deal_share", "all/sealing_deal_share"),
        ("groups.a.miner", "all/sealing_groups.a.miner"),
        ("deal_miner", "groups/deal_miner"),
    ],
)
def test_plan_errors_are_told_by_the_names_of_the_inventory(told: str, path: str) -> None:
    plan = {"errors": [{"path": told, "value": 1, "problem": "p", "remedy": "r"}]}
    assert [one.path for one in check(*inventory(), plan)] == [path]


def test_what_the_inventory_check_has_told_the_plan_does_not_repeat() -> None:
    groups, hostvars = inventory()
    hostvars["box"]["sealing_scratch_bytes"] = "8"
    plan = {"errors": [{"path": "hosts.box.scratch_bytes", "value": "8", "problem": "p", "remedy": "r"}]}
    problems = check(groups, hostvars, plan)
    assert [one.path for one in problems] == ["box/sealing_scratch_bytes"]


MACHINE = {"cpu": "EPYC 7543 x1", "memory": "1TiB", "gpus": ["2x RTX 3090"]}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, []),
        ({"memory": "1008GiB"}, []),
        ({"memory": "512GiB"}, ["box/sealing_hardware.memory"]),
        ({"gpus": ["RTX 3090"]}, ["box/sealing_hardware.gpus"]),
        ({"gpus": ["RTX 3090", "RTX 3080"]}, ["box/sealing_hardware.gpus"]),
        ({"smt": False}, ["box/sealing_hardware.cpus"]),
        ({"nps": 4}, ["box/sealing_hardware.numa"]),
    ],
)
def test_declared_hardware_is_compared_with_the_machine(change: dict[str, Any], told: list[str]) -> None:
    groups, hostvars = inventory()
    hostvars["box"]["sealing_hardware"] = MACHINE
    found = normalise(MACHINE | change)
    assert [one.path for one in check(groups, hostvars, found={"box": found})] == told


def test_gpus_are_declared_in_the_order_of_the_machine() -> None:
    groups, hostvars = inventory()
    two = MACHINE | {"cpu": "EPYC 7543 x2"}
    hostvars["box"]["sealing_hardware"] = two | {"gpus": ["RTX 3090 @0", "RTX 3090 @1"]}
    found = normalise(two | {"gpus": ["RTX 3090 @1", "RTX 3090 @0"]})
    (told,) = check(groups, hostvars, found={"box": found})
    assert told.path == "box/sealing_hardware.gpus"
    assert "nvidia-smi -L they are 1, 0" in told.problem
    found = normalise(two | {"gpus": ["RTX 3090", "RTX 3090 @1"]})
    assert check(groups, hostvars, found={"box": found}) == []


def test_the_maker_in_a_gpu_name_is_no_difference() -> None:
    groups, hostvars = inventory()
    hostvars["box"]["sealing_hardware"] = MACHINE
    found = deepcopy(normalise(MACHINE))
    for gpu in found["gpus"]:
        gpu["name"] = "NVIDIA GeForce RTX 3090"
    assert check(groups, hostvars, found={"box": found}) == []


def test_port_defaults_are_the_roles_own() -> None:
    roles = Path(__file__).parents[2] / "roles"
    for port in PORTS:
        role = next(name for name in ("lotus_daemon", port.group) if port.variable.startswith(name))
        default = yaml.safe_load((roles / role / "defaults/main.yml").read_text(encoding="utf-8"))[port.variable]
        assert (default[port.key] if port.key else default) == port.default


def test_a_host_that_only_unseals_or_snaps_needs_stores() -> None:
    for group in ("unseal_worker", "snap_worker"):
        groups, hostvars = inventory()
        groups |= {"pc1_worker": [], "pc2_worker": [], "c2_worker": [], group: ["box"]}
        hostvars["box"]["sealing_stores"] = []
        (problem,) = check(groups, hostvars)
        assert problem.path == "box/sealing_stores" and "unseal or update" in problem.problem


def test_what_the_planner_says_of_the_groups_is_said_once() -> None:
    groups, hostvars = inventory()
    for variables in hostvars.values():
        variables["sealing_groups"] = "x"
    error = {"path": "groups", "value": "x", "problem": "is not a dictionary", "remedy": "a dictionary"}
    assert [one.path for one in check(groups, hostvars, {"errors": [error]})] == ["all/sealing_groups"]


def test_a_problem_of_a_hosts_roles_is_told_as_one_of_its_groups() -> None:
    groups, hostvars = inventory()
    error = {"path": "hosts.box.roles", "value": "unseal_worker", "problem": "lacks cores", "remedy": "take it out"}
    (told,) = check(groups, hostvars, plan={"errors": [error]})
    assert (told.path, told.value) == ("box/groups", "unseal_worker")


def test_an_empty_variable_takes_its_default_away() -> None:
    groups, hostvars = inventory()
    for variables in hostvars.values():
        variables["sealing_stack"] = None
        variables["sealing_rack"] = None  # has no default: None is as good as nothing
    (problem,) = check(groups, hostvars)
    assert problem.path == "all/sealing_stack"
    assert problem.remedy.startswith("sealing_stack: lotus")
