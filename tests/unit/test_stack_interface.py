"""A stack is an object: one file adds one, and nobody compares names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from sealyard import explain, plan, stacks
from sealyard.errors import SealyardError
from sealyard.hosts.registration import registration_problems
from sealyard.hosts.workers import worker_files, worker_units
from sealyard.lotus.tasks import BY_NAME
from sealyard.operations.drain import worker_task_switches
from sealyard.pages.plan_page import render
from sealyard_filters import FILTERS, FilterModule

from tests.unit.rendered import text_of
from tests.unit.stack_of_test import Toy
from tests.unit.test_golden import document
from tests.unit.test_sealing_worker import CONTEXT

ROOT = Path(__file__).parents[2]
PRODUCTION = ("filter_plugins", "library", "module_utils", "action_plugins", "roles", "playbooks")
NAMES = re.compile(r"lotus_distributed|force_remote_worker")
OWN = ("filter_plugins/sealyard/stacks/",)
CHOICES = "roles/sealing/meta/argument_specs.yml"
"""The list of choices stands here, on one line."""


@pytest.fixture
def toy() -> Iterator[stacks.Stack]:
    stack = Toy()
    stacks.register(stack)
    yield stack
    del stacks.STACKS[stack.name]


def planned() -> dict[str, Any]:
    told = document("lab")
    told["settings"]["stack"] = "toy"
    return plan(told)


def test_a_stack_of_one_file_plans_a_cluster(toy: stacks.Stack) -> None:
    found = planned()
    assert found["errors"] == [] and found["settings"]["stack"] == "toy" and found["counter"] is None
    (worker, *_) = found["hosts"]["pc1-a"]["workers"]
    assert worker["flags"] == ["--toys=AP,PC1"] and worker["environment"] == {"TOY_CPUS": worker["cpus"]}
    assert worker["resources"] == {} and "myscheduler" not in worker and "config" not in worker
    assert "stack toy" in explain(found) and render(found, {})


def test_its_workers_are_rendered(toy: stacks.Stack) -> None:
    host_plan = planned()["hosts"]["pc1-a"]
    wanted = worker_files(host_plan, {**CONTEXT, "stack": toy})
    files = {entry["path"]: entry for entry in wanted["files"]}
    name = host_plan["workers"][0]["name"]
    text = text_of("sealing_worker", files[f"/etc/systemd/system/lotus-worker@{name}.service.d/sealyard.conf"])
    assert text.rstrip().endswith(f"--name=h1/{name} --listen=10.0.0.1:3456 --toys=AP,PC1")
    assert {unit["name"] for unit in worker_units(host_plan, {**CONTEXT, "stack": toy})} == {
        f"lotus-worker@{worker['name']}.service" for worker in host_plan["workers"]
    }


def test_it_is_verified_and_drained(toy: stacks.Stack) -> None:
    host_plan = planned()["hosts"]["pc1-a"]
    names = [worker["name"] for worker in host_plan["workers"]]
    stats = {
        name: {
            "Enabled": True,
            "Info": {"Hostname": f"pc1-a/{name}"},
            "Tasks": [BY_NAME[task].lotus_type for task in ("AP", "PC1")],
        }
        for name in names
    }
    answer = {"reachable": True, "result": stats, "item": {"workers": names}}
    assert registration_problems([answer], host_plan, "pc1-a") == []
    gone = {**answer, "result": {}}
    assert len(registration_problems([gone], host_plan, "pc1-a")) == len(names)
    switches = worker_task_switches([answer], host_plan, "pc1-a", "drained", toy)
    assert {(one["method"], one["task"]) for one in switches} == {
        ("TaskDisable", "seal/v0/addpiece"),
        ("TaskDisable", "seal/v0/precommit/1"),
    }


def test_roles_and_playbooks_get_its_facts_through_the_filter(toy: stacks.Stack) -> None:
    facts = FilterModule().filters()["stack_facts"]("toy", 7)
    assert facts["name"] == "toy" and facts["scheduler"] == "the toy box" and facts["reserves_numbers"]
    assert FILTERS["stack_facts"]("lotus_distributed", 1)["generation"] == 1
    assert FILTERS["stack_facts"]("lotus_distributed", "")["generation"] == 2


def test_a_name_that_is_none_says_what_to_write() -> None:
    with pytest.raises(SealyardError, match="sealing_stack is lotsu: write lotus"):
        stacks.get("lotsu")


def test_the_choices_of_the_inventory_are_the_stacks_that_are_there() -> None:
    spec = yaml.safe_load((ROOT / "roles/sealing/meta/argument_specs.yml").read_text("utf-8"))
    assert tuple(spec["argument_specs"]["cluster"]["options"]["sealing_stack"]["choices"]) == stacks.names()


def test_nobody_compares_the_names_of_stacks() -> None:
    found = []
    for room in PRODUCTION:
        for path in sorted((ROOT / room).rglob("*")):
            place = str(path.relative_to(ROOT))
            if path.is_file() and not place.startswith(OWN) and "__pycache__" not in place:
                found += [(place, line.strip()) for line in path.read_text("utf-8").splitlines() if NAMES.search(line)]
    assert found == [(CHOICES, f"choices: [{', '.join(stacks.names())}]")]
