"""Restarts of workers: the turns, and the role's tasks that take them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sealyard.hosts.restarts import unlisted_workers, waiting_for_restart, worker_restart_turns

ROOT = Path(__file__).parents[2]


def host(group: str | None, miner: str = "seal") -> dict[str, Any]:
    return {"group": group, "workers": [{"name": "w", "miner": miner, "miner_role": "seal"}]}


PLAN = {
    "hosts": {
        "a1": host("a"),
        "a2": host("a"),
        "a3": host("a"),
        "b1": host("b"),
        "c1": host(None),
        "c2": host(None),
        "d1": host(None, "other"),
    }
}


def test_of_each_group_one_and_groups_side_by_side() -> None:
    assert worker_restart_turns(PLAN, ["a3", "a1", "a2", "b1"]) == [["a1", "b1"], ["a2"], ["a3"]]


def test_hosts_without_a_group_take_turns_by_miner() -> None:
    assert worker_restart_turns(PLAN, ["c1", "c2", "d1"]) == [["c1", "d1"], ["c2"]]


def test_more_at_once_where_the_operator_says_so() -> None:
    assert worker_restart_turns(PLAN, ["a1", "a2", "a3", "b1"], 2) == [["a1", "a2", "b1"], ["a3"]]
    assert worker_restart_turns(PLAN, ["a1", "a2"], 0) == [["a1"], ["a2"]]


def test_nobody_waits_and_there_is_no_turn() -> None:
    assert worker_restart_turns(PLAN, []) == []


def test_who_waits_is_who_has_put_a_restart_off() -> None:
    found: dict[str, Any] = {"a": {"sealing_worker_run": {"deferred": ["x"]}}, "b": {"sealing_worker_run": {}}, "c": {}}
    assert waiting_for_restart(["a", "b", "c"], found) == ["a"]


def test_the_worker_of_before_is_not_taken_for_the_new_one() -> None:
    miner = {"key": "seal/seal", "workers": ["pc1-0"]}
    sessions: list[dict[str, Any]] = [{"item": "pc1-0", "result": "new"}, {"item": "c2-0", "result": "other"}]
    assert unlisted_workers([{"item": miner, "result": {"old": {}, "new": {}}}], sessions) == []
    wrong: tuple[dict[str, Any] | None, ...] = ({"old": {}}, None)
    for answer in wrong:
        (said,) = unlisted_workers([{"item": miner, "result": answer}], sessions)
        assert "seal/seal does not list pc1-0" in said
    assert unlisted_workers([{"item": miner, "result": {"None": {}}}], []) == []


UNIT_SET = """\
import json, pathlib, time
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule(argument_spec={"units": {"type": "list"}, "exclusive": {}, "changing": {"type": "list"},
    "may_restart": {"type": "bool", "default": True}}, supports_check_mode=True)
host = module.params["units"][0]["name"]
state = pathlib.Path("STATE")
waits = not (state / f"{host}.new").exists() and not host.startswith("new")
if module.params["may_restart"]:
    with (state / "log").open("a") as log:
        log.write(f"restart {host}\\n")
    if (state / f"{host}.broken").exists():
        module.fail_json(msg="systemctl restart: it is broken")
    (state / f"{host}.new").touch()
    if (state / f"{host}.leaves").exists():
        (state / f"{host}.gone").touch()
deferred = ["w"] if waits and not module.params["may_restart"] else []
module.exit_json(changed=waits, restarted=["lotus-worker@w.service"], deferred=deferred)
"""
LOTUS_RPC = """\
import pathlib
from ansible.module_utils.basic import AnsibleModule
names = ("api_info_file", "api_info_variable", "method", "allow_unreachable", "repo", "wait_sec")
module = AnsibleModule(argument_spec={name: {} for name in names}, supports_check_mode=True)
if module.params["method"] == "Session":
    module.exit_json(reachable=True, result="new")
with pathlib.Path("STATE/log").open("a") as log:
    log.write("registered\\n")
gone = pathlib.Path("STATE/miner.gone").exists()
module.exit_json(reachable=not gone, result=None if gone else {"old": {}, "new": {}})
"""
PLAYBOOK = """\
- hosts: all
  gather_facts: false
  tasks:
    # As playbooks/plan.yml: loads the filters once, not in each task of each host.
    - ansible.builtin.meta: end_play
      when: "[] | waiting_for_restart({}) | length > 0"
    - ansible.builtin.include_role: {name: sealing_worker, tasks_from: service.yml}
"""


class Fleet:
    """Hosts that are folders, with the role's tasks run on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        roles = folder / "roles" / "sealing_worker"
        roles.mkdir(parents=True)
        (roles / "tasks").symlink_to(ROOT / "roles/sealing_worker/tasks")
        (folder / "library").mkdir()
        for name, text in (("unit_set", UNIT_SET), ("lotus_rpc", LOTUS_RPC)):
            (folder / "library" / f"{name}.py").write_text(text.replace("STATE", str(folder)))
        # verify.yml asks the miners; here it says that it was reached.
        variables: dict[str, Any] = {
            "sealing_plan": PLAN,
            "sealing_worker_written": {"effective_paths": []},
            "sealing_worker_restart_hosts_at_once": 1,
            "sealing_worker_units": [{"name": "{{ inventory_hostname }}"}],
            "sealing_worker_miners": [{"key": "seal/seal", "workers": ["w"]}],
            "sealing_stack_facts": {"names_workers_by_host": False},
            "sealing_worker_register_timeout_sec": 0,
            "sealing_config_dir": "/x",
            "sealing_data_dir": "/x",
            "sealing_host_plan": {"workers": []},
            "gone": f"{folder}/{{{{ inventory_hostname }}}}.gone",
            "ansible_connection": "{{ 'ssh' if gone is file else 'local' }}",
            "ansible_ssh_executable": str(folder / "ssh"),
            "ansible_python_interpreter": sys.executable,
        }
        (folder / "hosts.json").write_text(
            json.dumps({"all": {"vars": variables, "hosts": {key: {} for key in ["a1", "a2", "a3", "b1", "new1"]}}})
        )
        (folder / "play.yml").write_text(PLAYBOOK)
        (folder / "ssh").write_text("#!/bin/sh\nexit 255\n")
        (folder / "ssh").chmod(0o755)
        (folder / "ansible.cfg").write_text("[defaults]\nforks = 8\n")

    def run(self, *more: str) -> subprocess.CompletedProcess[str]:
        (self.folder / "log").write_text("")
        environment = os.environ | {
            "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"),
            "ANSIBLE_ROLES_PATH": str(self.folder / "roles"),
            "ANSIBLE_LIBRARY": str(self.folder / "library"),
            "ANSIBLE_FILTER_PLUGINS": str(ROOT / "filter_plugins/adapter"),
            "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "1",
        }
        command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "hosts.json", "play.yml", *more]
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)

    def restarted(self) -> list[str]:
        lines = (self.folder / "log").read_text().splitlines()
        return [line.split()[1] for line in lines if line.startswith("restart")]


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def test_a_fleet_restarts_in_turns_once_and_a_dry_run_says_how(fleet: Fleet) -> None:
    dry = fleet.run("--check")
    assert "in 3 turns, a1, b1; then a2; then a3" in dry.stdout, dry.stdout + dry.stderr
    assert fleet.restarted() == []
    done = fleet.run()
    assert done.returncode == 0, done.stdout + done.stderr
    order = fleet.restarted()
    assert sorted(order[:2]) == ["a1", "b1"] and order[2:] == ["a2", "a3"]
    log = (fleet.folder / "log").read_text().splitlines()
    # The second turn begins when each of the first has been verified.
    assert sum(line.startswith("registered") for line in log[: log.index("restart a2")]) == 4
    again = fleet.run()
    assert again.returncode == 0 and fleet.restarted() == [] and "Workers restart" not in again.stdout


def test_a_host_that_does_not_come_back_ends_the_run_and_the_next_goes_on(fleet: Fleet) -> None:
    broken = fleet.folder / "a2.broken"
    broken.touch()
    done = fleet.run()
    assert done.returncode != 0 and "a3" not in fleet.restarted()
    said = " ".join(done.stdout.split())
    assert "a2: its workers did not come back from their restart: systemctl restart: it is broken" in said
    assert "Not restarted: a3." in said
    broken.unlink()
    (fleet.folder / "miner.gone").touch()
    done = fleet.run()
    assert done.returncode != 0 and fleet.restarted() == ["a2"]
    assert "seal/seal does not list w since its restart" in " ".join(done.stdout.split())
    (fleet.folder / "a2.new").unlink()
    (fleet.folder / "miner.gone").unlink()
    assert fleet.run().returncode == 0
    assert fleet.restarted() == ["a2", "a3"]


def test_a_host_that_goes_away_after_its_restart_ends_the_run(fleet: Fleet) -> None:
    (fleet.folder / "a1.leaves").touch()
    done = fleet.run()
    assert done.returncode != 0 and sorted(fleet.restarted()) == ["a1", "b1"]
    said = " ".join(done.stdout.split())
    assert "a1: cannot be reached since its workers restarted. Not restarted: a2, a3." in said
    (fleet.folder / "a1.leaves").unlink()
    (fleet.folder / "a1.gone").unlink()
    assert fleet.run().returncode == 0
    assert fleet.restarted() == ["a2", "a3"]
