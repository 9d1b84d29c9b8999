"""An operator's own directories reach every role: nothing that a role renders falls back to the default path."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from jinja2 import TemplateError
from sealyard.variables.options import FORMER

ROOT = Path(__file__).parents[2]
OWN = {"sealing_data_dir": "/a", "sealing_config_dir": "/b", "sealing_counter_state_dir": "/c"}
GIVEN: dict[str, Any] = {
    **OWN,
    "ansible_host": "10.0.0.1",
    "ansible_check_mode": False,
    "ansible_play_hosts": ["a"],
    "ansible_play_hosts_all": ["a"],
    "group_names": ["daemon_private", "winning_miner", "pc1_worker"],
    "groups": {"all": ["a"], "daemon_private": ["a"], "winning_miner": ["a"], "miner": ["a"]},
    "inventory_hostname": "a",
    "lotus_daemon_kind": "private",
    "lotus_miner_port": 2345,
    "lotus_miner_role": "winning",
    "sealing_actor": "t01000",
    "sealing_cluster_plan": {
        "miners": {"a": {"roles": ["winning"], "instances": {"winning": {"flags": []}}, "paths": []}}
    },
    "sealing_host_plan": {"workers": [], "exports": [], "mounts": [], "paths": []},
    "sealing_network": "devnet",
    "sealing_sector_size": "2KiB",
    "sector_counter_listen": "10.0.0.1:5678",
    "sector_counter_role": "winning",
}
FALLBACK = re.compile(r"/var/lib/lotus|/etc/sealyard|/var/lib/sealyard/sector-counter")


def load(path: Path) -> dict[str, Any]:
    """A file of variables, each text a template."""
    return {name: trusted(value) for name, value in yaml.safe_load(path.read_text(encoding="utf-8")).items()}


def trusted(value: Any) -> Any:
    """A value with its texts marked as templates, as Ansible marks those of a role."""
    if isinstance(value, dict):
        return {key: trusted(one) for key, one in value.items()}
    if isinstance(value, list):
        return [trusted(one) for one in value]
    return trust_as_template(value) if isinstance(value, str) else value


def rendered() -> dict[str, Any]:
    """Every variable of every role that needs no host to be rendered."""
    variables: dict[str, Any] = {}
    for kind in ("defaults", "vars"):
        for path in sorted(ROOT.glob(f"roles/*/{kind}/main.yml")):
            variables |= load(path)
    templar = Templar(loader=DataLoader(), variables={**variables, **GIVEN})
    found: dict[str, Any] = {}
    for name in variables:
        try:
            found[name] = templar.template(trust_as_template("{{ " + name + " }}"))
        except (AnsibleError, TemplateError):
            continue  # it needs what a module or another task has found
    return found


@pytest.fixture(scope="module")
def variables() -> dict[str, Any]:
    return rendered()


def test_no_role_falls_back_to_a_default_path(variables: dict[str, Any]) -> None:
    assert len(variables) > 250
    assert {name: value for name, value in variables.items() if FALLBACK.search(str(value))} == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lotus_daemon_repo", "/a/daemon-private"),
        ("lotus_daemon_environment_file", "/b/lotus-daemon-private.env"),
        ("lotus_miner_repo", "/a/miner-winning"),
        ("lotus_miner_environment_file", "/b/lotus-miner-winning.env"),
        ("sector_counter_environment_file", "/b/lotus-miner-winning.env"),
        (
            "sector_counter_places",
            ["--file=/a/miner-winning/sectorid", "--state=/c", "--copy=/a/sector-counter/sectorid"],
        ),
        ("devnet_genesis_presealed_dir", "/a/genesis"),
    ],
)
def test_a_role_follows_the_cluster(variables: dict[str, Any], name: str, value: Any) -> None:
    assert variables[name] == value


@pytest.mark.parametrize(("former", "now"), sorted(FORMER.items()))
def test_a_former_name_still_works(former: str, now: str) -> None:
    """An inventory that was written for an earlier release is not read as if it said nothing."""
    defaults = load(ROOT / "roles/sealing/defaults/main.yml") | load(ROOT / "roles/sealing/vars/main.yml")
    asked = trust_as_template("{{ " + now + " }}")
    given = {name: value for name, value in GIVEN.items() if name not in OWN}
    own = {**defaults, **given, former: "mine"}
    assert Templar(loader=DataLoader(), variables=own).template(asked) == "mine"
    assert Templar(loader=DataLoader(), variables={**own, now: "this"}).template(asked) == "this"
