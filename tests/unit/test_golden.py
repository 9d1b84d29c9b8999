"""The plans of the example inventories, as they were when somebody last looked at them.

After a change that is meant: UPDATE_GOLDEN=1 .venv/bin/pytest tests/unit/test_golden.py, then read the diff.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible.vars.manager import VariableManager
from sealyard.hardware.declared import normalise
from sealyard.inventory.planner_input import plan_input
from sealyard.pages.plan_page import render
from sealyard.plan.explain import explain
from sealyard.planner.planner import plan

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests/golden"
INVENTORIES = sorted(path.parent.name for path in (ROOT / "inventories").glob("*/hosts.yml"))
IN_FULL = ("distributed", "lab")
"""Whose plan is kept as JSON too, one per stack; of the others the table tells what an operator would look at."""
SOURCES = ("grouped", "fifteen-workers", "remote-worker", "rdma", "distributed")


class HostVariables:
    """A host's templated variables, as the filter gives them to the planner."""

    def __init__(self, loader: DataLoader, variables: dict[str, Any]) -> None:
        self.templar = Templar(loader=loader, variables=variables)
        self.variables = variables

    def get(self, name: str) -> Any:
        value = self.variables.get(name)
        return None if value is None else json.loads(json.dumps(self.templar.template(value), default=str))


def document(name: str) -> dict[str, Any]:
    """The planner's input for an inventory of this repository."""
    loader = DataLoader()
    inventory = InventoryManager(loader=loader, sources=[str(ROOT / "inventories" / name / "hosts.yml")])
    manager = VariableManager(loader=loader, inventory=inventory)
    hosts = {host.name: host for host in inventory.get_hosts()}
    roles = {n: [g.name for g in host.get_groups()] for n, host in hosts.items()}
    variables = {n: HostVariables(loader, manager.get_vars(host=host)) for n, host in hosts.items()}
    return plan_input(roles, variables, [ROOT / "inventories" / name, ROOT])


def condensed(plan_: dict[str, Any]) -> dict[str, Any]:
    """The plan with each host that equals an earlier one but for its group told as that."""
    seen: dict[str, str] = {}
    hosts = {}
    for name, slice_ in sorted(plan_["hosts"].items()):
        own = {"group": slice_.get("group"), "miner": sorted({str(w["miner"]) for w in slice_["workers"]})}
        own["paths"] = [p["id"] for p in slice_["paths"]]
        rest = {k: v for k, v in slice_.items() if k not in ("group", "paths", "workers")}
        workers = [{k: v for k, v in w.items() if k not in ("group", "miner", "miner_role")} for w in slice_["workers"]]
        key = json.dumps([rest, workers], sort_keys=True)
        hosts[name] = {"like": seen[key], **own} if key in seen else slice_
        seen.setdefault(key, name)
    return plan_ | {"hosts": hosts}


def text_of(plan_: dict[str, Any]) -> str:
    """JSON with a line per worker, so that a diff is readable."""
    out = json.dumps(condensed(plan_), indent=1, sort_keys=True)
    return out + "\n"


def assert_as_looked_at(path: Path, text: str) -> None:
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert path.is_file(), f"no {path.name}: UPDATE_GOLDEN=1 .venv/bin/pytest {Path(__file__).name}"
    assert text == path.read_text(), f"{path.name} is not what the planner says now: UPDATE_GOLDEN=1 writes it anew"


@pytest.mark.parametrize("name", INVENTORIES)
def test_the_plan_is_the_one_that_was_looked_at(name: str) -> None:
    plan_ = plan(document(name))
    assert_as_looked_at(GOLDEN / f"{name}.txt", explain(plan_))
    if name in IN_FULL:
        assert_as_looked_at(GOLDEN / f"{name}.json", text_of(plan_))


@pytest.mark.parametrize("name", INVENTORIES)
def test_the_second_plan_is_the_first(name: str) -> None:
    told = document(name)
    stacks = (told["settings"]["stack"], "lotus", "lotus_distributed", "force_remote_worker")
    inputs = [(told | {"settings": told["settings"] | {"stack": stack}}) for stack in stacks]
    first = [(one, plan(one)) for one in inputs]
    assert first[0][1]["errors"] == []
    for one, made in first:
        assert made["errors"] or plan(one | {"current": made}) == made


@pytest.mark.parametrize("name", INVENTORIES)
def test_an_example_plans_without_an_error(name: str) -> None:
    told = document(name)
    plan_ = plan(told)
    assert plan_["errors"] == []
    assert plan_["capacity"]["sectors_per_day"] > 0
    assert all(normalise(h["hardware"]) for h in told["hosts"].values() if h.get("hardware"))
    assert "<figure>" in render(plan_, {n: h["hardware"] for n, h in told["hosts"].items() if h.get("hardware")})


@pytest.mark.parametrize("name", SOURCES)
def test_no_worker_host_of_a_source_stands_idle(name: str) -> None:
    told = document(name)
    plan_ = plan(told)
    able = {n for n, h in told["hosts"].items() if any(r.endswith("_worker") for r in h["roles"])}
    assert {n for n in able if not plan_["hosts"][n]["workers"]} == set()
    gpus = {(n, g["pci"]) for n in able for g in normalise(told["hosts"][n]["hardware"])["gpus"]}
    used = {(n, pci) for n in able for w in plan_["hosts"][n]["workers"] for pci in w["gpus"]}
    for host, _ in gpus - used:
        assert any(w.startswith(f"{host}: ") and "GPU" in w for w in plan_["warnings"]), (
            f"{host} leaves a GPU idle unsaid"
        )


def test_no_golden_file_without_an_inventory() -> None:
    expected = {f"{name}.txt" for name in INVENTORIES} | {f"{name}.json" for name in IN_FULL}
    assert {path.name for path in GOLDEN.iterdir() if path.is_file()} == expected
