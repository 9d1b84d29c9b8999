"""Units of the chain's roles: only flags that Lotus knows, and first-start flags only where they run once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from standin import contract

ROOT = Path(__file__).parents[2]
CONTRACT = contract.document("lotus", "cli")
FIRST_START_FLAGS = ("--genesis", "--import-snapshot", "--import-chain", "--lotus-make-genesis", "--genesis-template")
COMMANDS = {
    "roles/lotus_daemon/templates/lotus-daemon.service.j2": [("lotus", "daemon")],
    "roles/lotus_daemon/templates/lotus-daemon-first-start.service.j2": [("lotus", "daemon"), ("lotus", "wait-api")],
    "roles/devnet_genesis/templates/devnet-genesis-miner.service.j2": [("lotus-miner", "init")],
    "roles/devnet_genesis/templates/devnet-genesis.service.j2": [
        ("lotus-seed", "pre-seal"),
        ("lotus-seed", "genesis new"),
        ("lotus-seed", "genesis add-miner"),
        ("lotus-seed", "genesis car"),
    ],
    "roles/proof_parameters/templates/lotus-fetch-params.service.j2": [("lotus", "fetch-params")],
}


def known_flags(program: str, command: str) -> set[str]:
    table = CONTRACT[program]
    flags = table["commands"][command]["flags"] + table["global_flags"]
    return {name for flag in flags for name in flag["names"]}


def used_flags(text: str) -> set[str]:
    lines = [line for line in text.splitlines() if line.startswith("ExecStart=") and "/bin/mv" not in line]
    return {flag for line in lines for flag in re.findall(r"(?<=\s)--[a-z][a-z-]*", line)}


@pytest.mark.parametrize("path", COMMANDS)
def test_flags_are_known(path: str) -> None:
    allowed = set().union(*(known_flags(*command) for command in COMMANDS[path]))
    assert used_flags((ROOT / path).read_text()) <= allowed


def test_first_start_flags_are_in_no_unit_that_starts_again() -> None:
    text = (ROOT / "roles/lotus_daemon/templates/lotus-daemon.service.j2").read_text()
    assert not [flag for flag in FIRST_START_FLAGS if flag in text]
    for name in ("lotus-daemon-first-start", "devnet-genesis", "devnet-genesis-miner"):
        for path in ROOT.glob(f"roles/*/templates/{name}.service.j2"):
            unit = path.read_text()
            assert "Type=oneshot" in unit and "ConditionPathExists=!" in unit and "[Install]" not in unit, path


def test_daemon_that_must_reconnect_keeps_its_peer_manager() -> None:
    """With --bootstrap=false a daemon never reconnects after its peer's restart."""
    assert "--bootstrap" not in (ROOT / "roles/lotus_daemon/templates/lotus-daemon.service.j2").read_text()


@pytest.mark.parametrize("name", ["lotus_wallet", "slurp"])
def test_tasks_that_see_keys_are_not_logged(name: str) -> None:
    tasks = [
        task for path in (ROOT / "roles/lotus_daemon/tasks").glob("*.yml") for task in yaml.safe_load(path.read_text())
    ]
    tasks += [
        task for play in yaml.safe_load((ROOT / "playbooks/chain.yml").read_text()) for task in play.get("tasks", ())
    ]
    seeing = [task for task in tasks if name in task or f"ansible.builtin.{name}" in task]
    assert seeing and all(task.get("no_log") is True for task in seeing)
