"""playbooks/plan.yml with no host reachable: check mode, repeats, --limit, and what a limited run counts as applied."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ANSIBLE = Path(sys.executable).with_name("ansible-playbook")

pytestmark = pytest.mark.skipif(not ANSIBLE.exists(), reason="ansible-playbook is not beside this Python")


def run(folder: Path, *more: str, playbooks: tuple[str, ...] = ("plan",)) -> tuple[str, dict[str, int]]:
    """Return the output and how many tasks changed, by host."""
    command = [str(ANSIBLE), "-i", "inventories/grouped", "-e", f"plan_output_dir={folder}", *more]
    command += [f"playbooks/{name}.yml" for name in playbooks]
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
