"""Every way an inventory is known to go wrong: one clear error each, and no host touched.

Each case breaks a good inventory (lab or starter) once. All of them go through the filter; a few also go through the
real playbook, where every host is an address that answers nobody.
"""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from sealing_preflight import sealing_preflight, sealing_preflight_text

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


@dataclass
class Inventory:
    """An inventory that a case may break: groups by name, variables by host."""

    groups: dict[str, list[str]]
    hostvars: dict[str, dict[str, Any]]

    def every(self, **variables: Any) -> None:
        """Set variables on every host, as group_vars/all does."""
        for own in self.hostvars.values():
            own.update(variables)

    def without(self, name: str) -> None:
        """Remove a variable everywhere."""
        for own in self.hostvars.values():
            own.pop(name, None)

    def write(self, path: Path) -> Path:
        """Write it as one YAML inventory; ssh to its hosts would need an address that nobody has."""
        groups = {
            name: {"hosts": dict.fromkeys(hosts)}
            for name, hosts in self.groups.items()
            if name not in ("all", "ungrouped")
        }
        path.write_text(
            yaml.safe_dump({"all": {"hosts": self.hostvars, "children": groups}}, sort_keys=False), encoding="utf-8"
        )
        return path


@functools.cache
def _listed(name: str) -> str:
    command = [str(BIN / "ansible-inventory"), "-i", f"inventories/{name}", "--list"]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def good(name: str) -> Inventory:
    """Return inventories/NAME as plain data, with the starter's secrets filled in."""
    listed = json.loads(_listed(name))
    hostvars: dict[str, dict[str, Any]] = listed.pop("_meta")["hostvars"]

    def members(group: str) -> list[str]:
        entry = listed.get(group, {})
        return [*entry.get("hosts", []), *(host for child in entry.get("children", []) for host in members(child))]

    groups = {group: list(dict.fromkeys(members(group))) for group in listed}
    hosts = groups["all"] = list(dict.fromkeys(members("all")))
    groups.setdefault("ungrouped", [])
    inventory = Inventory(groups, {host: deepcopy(hostvars.get(host, {})) for host in hosts})
    if name == "starter":
        example = ROOT / "inventories/starter/group_vars/all/vault.yml.example"
        inventory.every(
            **dict.fromkeys(yaml.safe_load(example.read_text(encoding="utf-8")), "7b2254797065223a22626c73227d")
        )
    return inventory


@dataclass(frozen=True)
class Case:
    """One mistake: how it is made, and the path, problem and remedy of the one error it gets."""

    name: str
    base: str
    breaks: Callable[[Inventory], Any]
    path: str
    problem: str
    remedy: str


CASES = [
    # --- groups ---
    Case("no winning miner", "lab", lambda i: i.groups.pop("winning_miner"), "groups/winning_miner", "has no host", "exactly one"),
    Case("two winning miners", "lab", lambda i: i.groups["winning_miner"].append("window"), "groups/winning_miner", "2 hosts", "only one"),
    Case("no window miner", "starter", lambda i: i.groups.pop("window_miner"), "groups/window_miner", "has no host", "exactly one"),
    Case("two window miners", "lab", lambda i: i.groups["window_miner"].append("winning"), "groups/window_miner", "2 hosts", "only one"),
    Case("no seal miner", "starter", lambda i: i.groups.pop("seal_miner"), "groups/seal_miner", "has no host", "at least one"),
    Case("two deal miners", "lab", lambda i: i.groups["deal_miner"].append("seal"), "groups/deal_miner", "2 hosts", "only one"),
    Case("no private daemon", "starter", lambda i: i.groups.pop("daemon_private"), "groups/daemon_private", "has no host", "post"),
    Case(
        "misspelt inventory group",
        "lab",
        lambda i: i.groups.update(c2_workers=i.groups.pop("c2_worker")),
        "groups/c2_workers",
        "is no group of Sealyard",
        "c2_worker:",
    ),
    Case("host in no group", "lab", lambda i: add_host(i, "spare", "10.231.0.99"), "spare/groups", "is in no group", "pc1_worker"),
    Case(
        "host named like a group",
        "lab",
        lambda i: (add_host(i, "worker", "10.231.0.99"), i.groups["ungrouped"].clear(), i.groups["c2_worker"].append("worker")),
        "hosts/worker",
        "also the name of a group",
        "worker-1",
    ),
    # --- workers and their groups ---
    Case(
        "misspelt worker group",
        "lab",
        lambda i: i.hostvars["pc2-a"].update(sealing_worker_group="A"),
        "pc2-a/sealing_worker_group",
        "not declared in sealing_groups (a, b)",
        "a",
    ),
    Case(
        "PC1 without PC2 in its group",
        "lab",
        lambda i: i.hostvars["pc2-b"].update(sealing_worker_group="a"),
        "pc1-b/sealing_worker_group",
        "no PC2 host in group b",
        "sealing_worker_group: b on a host of pc2_worker",
    ),
    Case("PC1 and no PC2 at all", "starter", lambda i: i.groups.pop("pc2_worker"), "groups/pc2_worker", "has no host", "pc2_worker:"),
    Case(
        "worker without miner",
        "lab",
        lambda i: i.every(sealing_groups={"a": {"miner": "seal"}, "b": {"miner": "sael"}}),
        "all/sealing_groups.b.miner",
        "have no miner",
        "miner: seal",
    ),
    Case(
        "pinned host that is no worker",
        "lab",
        lambda i: i.hostvars["seal"].update(sealing_worker_group="a"),
        "seal/sealing_worker_group",
        "is no worker",
        "remove it",
    ),
    # --- cluster-wide values ---
    Case("unknown network", "lab", lambda i: i.every(sealing_network="mainet"), "all/sealing_network", "not one of", "mainnet"),
    Case("unknown stack", "lab", lambda i: i.every(sealing_stack="lotusd"), "all/sealing_stack", "not one of", "sealing_stack: lotus"),
    Case("unknown sector size", "starter", lambda i: i.every(sealing_sector_size="32GB"), "all/sealing_sector_size", "not one of", "32GiB"),
    Case(
        "sector size of another network",
        "starter",
        lambda i: i.every(sealing_sector_size="2KiB"),
        "all/sealing_sector_size",
        "no sector size of mainnet",
        "32GiB",
    ),
    Case("actor of a test network on mainnet", "starter", lambda i: i.every(sealing_actor="t01234"), "all/sealing_actor", "prefix", "f01234"),
    Case("actor of mainnet on a devnet", "lab", lambda i: i.every(sealing_actor="f01000"), "all/sealing_actor", "prefix", "t01000"),
    Case("actor that is no ID", "starter", lambda i: i.every(sealing_actor="f3abcdef"), "all/sealing_actor", "not an ID address", "f01000"),
    Case("actor as a number", "lab", lambda i: i.every(sealing_actor=1000), "all/sealing_actor", "not a text", "quotes"),
    Case("no actor", "starter", lambda i: i.without("sealing_actor"), "all/sealing_actor", "not set", "group_vars/all"),
    Case("empty network", "lab", lambda i: i.every(sealing_network=None), "all/sealing_network", "not set", "devnet, calibration, mainnet"),
    Case(
        "one host with another actor",
        "lab",
        lambda i: i.hostvars["c2-a"].update(sealing_actor="t01001"),
        "c2-a/sealing_actor",
        "differs",
        "once",
    ),
    Case(
        "deal share above one",
        "lab",
        lambda i: i.every(sealing_deal_share=25),
        "all/sealing_deal_share",
        "not between 0 and 1",
        "0.25",
    ),
    Case(
        "deal share without a deal miner",
        "lab",
        lambda i: (i.groups.pop("deal_miner"), i.every(sealing_deal_share=0.5)),
        "all/sealing_deal_share",
        "without a deal miner",
        "a host in deal_miner",
    ),
    # --- names and types ---
    Case("misspelt variable", "lab", lambda i: i.every(sealing_reserved_core=0), "all/sealing_reserved_core", "no variable", "reserved_cores:"),
    Case("number as text", "lab", lambda i: i.every(sealing_scratch_bytes="8"), "all/sealing_scratch_bytes", "a text", "no quotes"),
    Case("regroup as a word", "lab", lambda i: i.every(sealing_allow_regroup="maybe"), "all/sealing_allow_regroup", "a text", "no quotes"),
    # --- secrets and environment ---
    Case(
        "empty vault value",
        "starter",
        lambda i: i.every(vault_lotus_daemon_wallet=""),
        "all/vault_lotus_daemon_wallet",
        "is empty",
        "vault.yml",
    ),
    # --- addresses ---
    Case("address of another host", "lab", lambda i: i.hostvars["pc1-a"].update(ansible_host="10.231.0.22"), "pc1-b/ansible_host", "also the address", "own"),
    Case("API on every network", "lab", lambda i: i.hostvars["seal"].update(sealing_address="0.0.0.0"), "seal/sealing_address", "every network", "10.0.0.11"),
    Case("public API address", "starter", lambda i: i.hostvars["post"].update(ansible_host="8.8.8.8"), "post/ansible_host", "public", "private"),
    Case("loopback address", "lab", lambda i: i.hostvars["seal"].update(sealing_address="127.0.0.1"), "seal/sealing_address", "loopback", "10.0.0.11"),
    Case("name as address", "starter", lambda i: i.hostvars["post"].update(ansible_host="post.lan"), "post/ansible_host", "not an IP", "sealing_address:"),
    # --- storage ---
    Case("no store", "starter", lambda i: i.without("sealing_stores"), "post,seal,worker-1/sealing_stores", "not set", "sealing_stores:"),
    Case("store on scratch", "lab", lambda i: i.every(sealing_stores=[{"name": "store", "path": "/sealer/store"}]), "winning,window,seal,deal and 2 more/sealing_stores[0].path", "overlaps the scratch", "/mnt/store"),
    Case("store without path", "lab", lambda i: i.every(sealing_stores=[{"name": "store"}]), "all/sealing_stores[0].path", "missing", "path:"),
    Case("relative store", "lab", lambda i: i.every(sealing_stores=[{"name": "store", "path": "mnt/store"}]), "winning,window,seal,deal and 2 more/sealing_stores[0].path", "absolute", "/mnt/store"),
    Case(
        "store that the window miner does not see",
        "lab",
        lambda i: i.hostvars["window"].update(sealing_stores=[{"name": "other", "path": "/mnt/other"}]),
        "window/sealing_stores",
        "lacks store store",
        "add store store",
    ),
]  # fmt: skip


def add_host(inventory: Inventory, name: str, address: str) -> None:
    """Add a host to no group."""
    common = {key: value for key, value in inventory.hostvars["seal"].items() if key != "sealing_worker_group"}
    inventory.hostvars[name] = deepcopy(common) | {"ansible_host": address}
    inventory.groups["all"].append(name)
    inventory.groups["ungrouped"].append(name)


def broken(case: Case) -> Inventory:
    """Return the case's inventory."""
    inventory = good(case.base)
    case.breaks(inventory)
    return inventory


def run_preflight(inventory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the real playbook on an inventory."""
    command = [str(BIN / "ansible-playbook"), "-i", str(inventory), "playbooks/preflight.yml", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["lab", "starter"])
def test_the_inventories_of_the_repository_are_good(name: str) -> None:
    inventory = good(name)
    assert sealing_preflight(inventory.groups, inventory.hostvars) == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_one_mistake_is_one_clear_error(case: Case) -> None:
    inventory = broken(case)
    problems = sealing_preflight(inventory.groups, inventory.hostvars)
    assert [problem["path"] for problem in problems] == [case.path], sealing_preflight_text(problems)
    assert case.problem in problems[0]["problem"]
    assert case.remedy in problems[0]["remedy"]


def test_all_mistakes_come_at_once() -> None:
    lab = [case for case in CASES if case.base == "lab"][-8:]
    inventory = good("lab")
    for case in lab:
        case.breaks(inventory)
    text = sealing_preflight_text(sealing_preflight(inventory.groups, inventory.hostvars))
    assert "errors in the inventory. No host was touched." in text
    assert sum(case.path in text for case in lab) >= 5


@pytest.mark.parametrize("case", CASES[::8], ids=lambda case: case.name)
def test_the_playbook_says_it_and_touches_no_host(case: Case, tmp_path: Path) -> None:
    run = run_preflight(broken(case).write(tmp_path / "hosts.yml"), "--check")
    assert run.returncode != 0
    assert f"{case.path}:" in run.stdout + run.stderr
    assert "unreachable=0" in run.stdout
    assert "Traceback" not in run.stdout + run.stderr
