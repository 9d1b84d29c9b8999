"""What planning costs inside Ansible: playbooks/plan.yml and tasks that render from the plan, for 400 hosts, beside an
empty play with as many tasks, in one ansible-playbook run.

One half of the empty play runs before the others and one, without the plan's facts, after them: what else the machine
does then weighs on both sides. Prints the seconds of each play and what the plan adds to the empty one; exit status 1
where that is more than 10 % or the plan was computed more than once.

    .venv/bin/python benchmarks/ansible_share.py [--hosts 400] [--render 5]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LIMIT = 0.10
COMPUTES = "Compute the plan, once"

CLOCK = '''
import json, os, time
from ansible.plugins.callback import CallbackBase
DOCUMENTATION = """
name: share_clock
type: aggregate
short_description: Writes when each play and task began and how many results it had.
"""
class CallbackModule(CallbackBase):
    CALLBACK_VERSION, CALLBACK_TYPE, CALLBACK_NAME = 2.0, "aggregate", "share_clock"
    def note(self, **what):
        with open(os.environ["SHARE_CLOCK"], "a") as file:
            file.write(json.dumps(dict(what, at=time.perf_counter())) + "\\n")
    def v2_playbook_on_play_start(self, play): self.note(play=play.get_name())
    def v2_playbook_on_task_start(self, task, is_conditional): self.note(task=task.get_name())
    def v2_runner_on_ok(self, result): self.note(ok=result.task.get_name() if hasattr(result, "task") else "")
    def v2_playbook_on_stats(self, stats): self.note(play="")
'''


def inventory(hosts: int) -> dict[str, Any]:
    """A cluster of that many worker hosts of the sources' kinds."""
    pc1 = {"cpu": "EPYC 7542 x1", "memory": "1TiB", "scratch": "8x 2TB NVMe", "nic": "ConnectX-5 100G"}
    gpu = {"cpu": "EPYC 7402 x1", "memory": "512GiB", "scratch": "8x 2TB NVMe", "nic": "2x 10GbE"}
    hardware = {
        "pc1_worker": pc1,
        "pc2_worker": gpu | {"gpus": ["2x RTX 3080"]},
        "c2_worker": gpu | {"gpus": ["3x RTX 3080"]},
    }
    members: dict[str, dict[str, Any]] = {role: {} for role in hardware}
    for number in range(hosts):
        role = ("pc1_worker", "pc1_worker", "pc2_worker", "c2_worker")[number % 4]
        members[role][f"h{number:04d}"] = {}
    children: dict[str, Any] = {
        role: {"hosts": members[role], "vars": {"sealing_hardware": hardware[role]}} for role in hardware
    }
    for name, role in (("winning", "winning_miner"), ("window", "window_miner"), ("seal", "seal_miner")):
        children[role] = {"hosts": {name: {}}}
    settings = {
        "ansible_connection": "local",
        "sealing_network": "mainnet",
        "sealing_sector_size": "32GiB",
        "sealing_actor": "f01000",
    }
    return {"all": {"children": children, "vars": settings}}


def play(name: str, tasks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A play of these tasks on every host."""
    return {"name": name, "hosts": "all", "gather_facts": False, "tasks": list(tasks)}


def task(fact: str, value: str, once: bool = False) -> dict[str, Any]:
    """A set_fact task, of all hosts or of one."""
    found: dict[str, Any] = {"name": f"Set {fact}", "ansible.builtin.set_fact": {fact: value}}
    return found | ({"run_once": True} if once else {})


def playbook(render: int) -> list[dict[str, Any]]:
    """plan.yml's play, one that renders from the plan, and an empty one in two halves with as many tasks as both."""
    text = (ROOT / "playbooks/plan.yml").read_text()
    once = len(re.findall(r"^ +run_once: true$", text, re.MULTILINE))
    # a meta task runs in no process of its own
    each = len(re.findall(r"^    - name:", text, re.MULTILINE)) - once - text.count("ansible.builtin.meta:")
    nothing = "{{ inventory_hostname | length }}"
    empty = [task(f"nothing_{n}", nothing) for n in range(render + each)]
    empty[len(empty) // 2 : len(empty) // 2] = [task(f"nothing_once_{n}", nothing, True) for n in range(once)]
    forget = {"name": "Forget the plan's facts", "ansible.builtin.meta": "clear_facts"}
    # As plan.yml does: what loads the filter plugins is not counted, on neither side.
    load = {"name": "Load filter plugins", "ansible.builtin.meta": "end_play", "when": "[] | length > 0"}
    return [
        play("Load", [load]),
        play("Empty", empty[: len(empty) // 2]),
        {"ansible.builtin.import_playbook": str(ROOT / "playbooks/plan.yml")},
        play("Render", [task(f"rendered_{n}", "{{ sealing_host_plan.workers | length }}") for n in range(render)]),
        play("Forget", [forget]),
        play("Empty", empty[len(empty) // 2 :]),
    ]


def seconds_of_plays(lines: list[dict[str, Any]]) -> dict[str, float]:
    """Play name to its seconds, both halves of the empty one together."""
    starts = [(line["play"], line["at"]) for line in lines if "play" in line]
    found: dict[str, float] = {}
    for (name, begin), (_, end) in pairwise(starts):
        found[name] = found.get(name, 0.0) + end - begin
    return found


def main() -> int:
    """Run it and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=400)
    parser.add_argument("--render", type=int, default=5, help="tasks that render something for every host")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "callback").mkdir()
        (folder / "callback/share_clock.py").write_text(CLOCK)
        (folder / "hosts.json").write_text(json.dumps(inventory(args.hosts)))
        (folder / "share.json").write_text(json.dumps(playbook(args.render)))
        environment = os.environ | {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_CALLBACK_PLUGINS": str(folder / "callback"),
            "ANSIBLE_CALLBACKS_ENABLED": "share_clock",
            "SHARE_CLOCK": str(folder / "clock"),
        }
        command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(folder / "hosts.json")]
        command += [str(folder / "share.json"), "-e", f"plan_output_dir={folder / 'plan'}"]
        with (folder / "output").open("w+") as output:
            status = subprocess.run(command, cwd=ROOT, env=environment, stdout=output, stderr=output).returncode
            if status:
                output.seek(0)
                sys.exit(output.read()[-3000:])
        lines = [json.loads(line) for line in (folder / "clock").read_text().splitlines()]
    plays = seconds_of_plays(lines)
    plan = next(seconds for name, seconds in plays.items() if name not in ("Load", "Render", "Empty", "Forget"))
    computed = sum(line.get("task") == COMPUTES for line in lines)
    results = sum(line.get("ok") == COMPUTES for line in lines)
    added = (plan + plays["Render"] - plays["Empty"]) / plays["Empty"]
    print(f"{args.hosts} hosts, {args.render} tasks render from the plan")
    print(f"plan        {plan:8.1f} s")
    print(f"render      {plays['Render']:8.1f} s")
    print(f"empty play  {plays['Empty']:8.1f} s   as many tasks")
    print(f"plan adds   {added:8.1%}     limit {LIMIT:.0%}")
    print(f"computed    {computed:8d} times, on {results} host(s)")
    return 0 if added <= LIMIT and computed == 1 and results <= 1 else 1


if __name__ == "__main__":
    sys.exit(main())
