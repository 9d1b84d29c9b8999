"""playbooks/plan.yml with no host reachable: check mode, repeats, --limit, and what a limited run counts as applied."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ANSIBLE = Path(sys.executable).with_name("ansible-playbook")

pytestmark = pytest.mark.skipif(not ANSIBLE.exists(), reason="ansible-playbook is not beside this Python")


def run(
    folder: Path,
    *more: str,
    playbooks: tuple[str, ...] = ("plan",),
    inventory: str = "inventories/grouped",
    further: Sequence[str] = (),
) -> tuple[str, dict[str, int]]:
    """Return the output and how many tasks changed, by host."""
    command = [str(ANSIBLE), "-i", inventory, "-e", f"plan_output_dir={folder}", *more]
    command += [*(f"playbooks/{name}.yml" for name in playbooks), *further]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    recap = re.findall(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)\s+unreachable=0\s+failed=0", done.stdout, re.M)
    return done.stdout, {host: int(changed) for host, changed in recap}


def test_check_mode_writes_nothing_and_a_second_run_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "plan"
    out, changed = run(folder, "--check")
    assert not folder.exists() and sum(changed.values()) > 0
    assert "sectors per day" in out and "pc1-1" in out
    _, changed = run(folder)
    assert sum(changed.values()) > 0
    written = json.loads((folder / "plan.json").read_text("utf-8"))
    assert written["schema"] == "sealyard/plan/1" and written["errors"] == []
    _, changed = run(folder)
    assert sum(changed.values()) == 0


def test_a_limited_run_plans_for_all_and_applies_for_its_hosts(tmp_path: Path) -> None:
    folder = tmp_path / "plan"
    run(folder, "--limit", "pc1-1", playbooks=("plan", "plan_applied"))
    planned = json.loads((folder / "plan.json").read_text("utf-8"))
    assert len(planned["hosts"]) > 5
    applied = json.loads((folder / "applied.json").read_text("utf-8"))
    assert set(applied["hosts"]) == {"pc1-1"}
    assert applied["hosts"]["pc1-1"] == planned["hosts"]["pc1-1"]
    assert [group["hosts"] for group in applied["groups"].values() if group["hosts"]] == [["pc1-1"]]


PLAY = """
- name: Who is reached by playbooks
  hosts: {group}
  gather_facts: false
  connection: local
  tasks:
    - name: Say it
      ansible.builtin.debug:
        msg: "{group} has {{{{ inventory_hostname }}}} and knows {{{{ lab_worker_fact | default('nothing') }}}}"
"""


def leaves(tree: dict[str, Any], name: str = "") -> dict[str, Any]:
    """Return the groups that hold hosts themselves, by name."""
    found = {name: {"hosts": tree["hosts"]}} if tree.get("hosts") else {}
    for child, below in (tree.get("children") or {}).items():
        found |= leaves(below, child)
    return found


def test_an_inventory_of_leaf_groups_is_planned_and_reached_like_one_with_parents(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "inventories/lab", tmp_path / "lab")
    hosts = tmp_path / "lab/hosts.yml"
    run(tmp_path / "whole", inventory=str(tmp_path / "lab"))
    tree = yaml.safe_load(hosts.read_text("utf-8"))["all"]
    hosts.write_text(yaml.safe_dump({"all": {"children": leaves(tree)}}, sort_keys=False), "utf-8")
    (tmp_path / "lab/group_vars/worker.yml").write_text("lab_worker_fact: what group_vars/worker.yml says\n")
    plays = []
    for group in ("daemon", "miner", "worker"):
        plays.append(tmp_path / f"{group}.yml")
        plays[-1].write_text(PLAY.format(group=group), "utf-8")
    further = [str(play) for play in plays]
    told, _ = run(tmp_path / "bare", inventory=str(tmp_path / "lab"), playbooks=("plan", "preflight"), further=further)
    assert (tmp_path / "bare/plan.json").read_bytes() == (tmp_path / "whole/plan.json").read_bytes()
    reached = {group: set(re.findall(rf"{group} has (\S+) and", told)) for group in ("daemon", "miner", "worker")}
    assert reached == {
        "daemon": {"daemon-public", "winning", "window"},
        "miner": {"winning", "window", "seal", "deal"},
        "worker": {"pc1-a", "pc1-b", "pc2-a", "pc2-b", "c2-a"},
    }
    assert "worker has pc1-a and knows what group_vars/worker.yml says" in told
    told, _ = run(tmp_path / "bare", "--limit", "pc1-a", inventory=str(tmp_path / "lab"), further=further)
    assert re.findall(r"(\w+) has (\S+) and", told) == [("worker", "pc1-a")]


@pytest.mark.parametrize("mistake", [True, False], ids=["with a mistake", "without"])
def test_site_asks_no_host_before_the_inventory_is_judged(tmp_path: Path, mistake: bool) -> None:
    """pc1-a declares no hardware, so site.yml asks it, over an ssh that leaves a mark and reaches nobody."""
    lab = shutil.copytree(ROOT / "inventories/lab", tmp_path / "lab")
    own = lab / "host_vars/pc1-a.yml"
    declared = yaml.safe_load(own.read_text("utf-8"))
    del declared["sealing_hardware"]
    own.write_text(yaml.safe_dump(declared | ({"sealing_reserved_core": 1} if mistake else {})), "utf-8")
    mark, ssh = tmp_path / "mark", tmp_path / "ssh"
    ssh.write_text(f'#!/bin/sh\necho "$@" >> {mark}\nexit 255\n')
    ssh.chmod(0o755)
    given = {"ansible_ssh_executable": str(ssh), "ansible_ssh_retries": 0, "plan_output_dir": str(tmp_path / "plan")}
    command = [str(ANSIBLE), "-i", str(lab), "-e", json.dumps(given), "site.yml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    if mistake:
        assert "1 error in the inventory" in done.stdout and "pc1-a/sealing_reserved_core" in done.stdout
        assert not mark.exists()
    else:
        assert "10.231.0.21" in mark.read_text("utf-8")
