"""ansible-playbook on the lab's inventory, with the project's own configuration wherever it is called from."""

from __future__ import annotations

import os
import subprocess
import sys

from lab.settings import ROOT, Lab
from lab.shell import run


def command(lab: Lab, name: str, further: list[str]) -> list[str]:
    """The command line that runs playbook `name` of the project on the lab."""
    return [str(ROOT / ".venv/bin/ansible-playbook"), "-i", str(lab.inventory), str(ROOT / name), *further]


def environment() -> dict[str, str]:
    """This process's environment, with the project's ansible.cfg."""
    return os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}


def run_playbook(lab: Lab, name: str, further: list[str]) -> int:
    """Run a playbook, its output straight to the operator; the exit status."""
    sys.stdout.flush()
    return subprocess.run(command(lab, name, further), cwd=ROOT, env=environment(), check=False).returncode


def pledge(lab: Lab, missing: int) -> None:
    """Ask the seal miner for that many more sectors; LabError with Ansible's last lines when it refuses."""
    run(command(lab, "playbooks/pledge.yml", ["-e", f"pledge_sectors={missing}"]), env=environment(), cwd=ROOT)
