"""ansible-playbook killed in the middle, as a lost connection or a closed laptop does it."""

from __future__ import annotations

import os
import re
import signal
import subprocess

from lab import play
from lab.settings import ROOT, Lab
from lab.shell import LabError, run

PLACES = 10


def kill_at_places(lab: Lab) -> None:
    """Run site.yml ten times, each time killed some tasks later than the time before.

    Every run starts from what the one before left behind, so each place is also a place to go on from.
    """
    listed = run(play.command(lab, "site.yml", ["--list-tasks"]), env=play.environment(), cwd=ROOT).stdout
    tasks = len(re.findall(r"TAGS: \[", listed))
    for place in range(1, PLACES + 1):
        wanted = tasks * place // (PLACES + 1)
        name = _kill_after(lab, wanted)
        print(f"lab: killed in task {wanted}: {name}", flush=True)


def _kill_after(lab: Lab, wanted: int) -> str:
    """Kill ansible-playbook, and all it has started, when its task number `wanted` begins; the name of that task."""
    process = subprocess.Popen(
        play.command(lab, "site.yml", []),
        cwd=ROOT,
        env=play.environment() | {"PYTHONUNBUFFERED": "1", "ANSIBLE_FORCE_COLOR": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    seen = 0
    for line in process.stdout:
        if line.startswith("TASK [") or line.startswith("RUNNING HANDLER ["):
            seen += 1
            if seen == wanted:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return line.strip(" *\n")
    raise LabError(
        f"site.yml ended before task {wanted} (status {process.wait()}): it must reach it to be killed there"
    )
