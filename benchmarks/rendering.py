"""What a template costs per host: the action plugin of file_set against lookup('template'), which roles used before.

    .venv/bin/python benchmarks/rendering.py [--hosts 200 1000]

Both render the same template for the same hosts, side by side in one run, with the variables that a run has: each host
holds the plan of all. Exit status 1 where the action is not ten times as fast at the largest size.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.play_context import PlayContext
from ansible.playbook.task import Task
from ansible.plugins.loader import action_loader, filter_loader, init_plugin_loader
from ansible.template import Templar, trust_as_template
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "roles/sealing_worker/templates/lotus-worker-nudge@.service.j2"
VALUES = {"host": "worker-1", "user": "filecoin", "group": "filecoin", "config_dir": "/etc/sealyard"}
FILES = 5
"""Templates of a host in one call of file_set."""
MEASURED_HOSTS = 10
WANTED_RATIO = 10


def variables_of(hosts: int) -> tuple[DataLoader, list[dict[str, Any]]]:
    """Variables of some hosts of a run of `hosts`."""
    loader = DataLoader()
    inventory = InventoryManager(loader=loader, sources=["localhost,"])
    manager = VariableManager(loader=loader, inventory=inventory)
    manager._hostvars = HostVars(inventory=inventory, variable_manager=manager, loader=loader)
    worker = {"tasks": ["AP", "PC1"], "cpus": "0-3,64-67", "environment": VALUES, "why": ["4 cores of L3 0 of node 1"]}
    slice_ = {"workers": [{"name": f"pc1-{number}", **worker} for number in range(8)], "paths": [], "mounts": []}
    plan = {"hosts": {f"worker-{number}": {**slice_, "group": str(number)} for number in range(hosts)}}
    for number in range(hosts):
        inventory.add_host(f"worker-{number}")
        manager.set_nonpersistent_facts(f"worker-{number}", {**VALUES, "sealing_plan": plan})
    measured = [inventory.get_host(f"worker-{number}") for number in range(MEASURED_HOSTS)]
    return loader, [manager.get_vars(host=host) for host in measured]


def by_lookup(loader: DataLoader, variables: dict[str, Any]) -> list[str]:
    """The texts as roles made them before."""
    text = "{{ lookup('ansible.builtin.template', '" + str(TEMPLATE) + "') }}"
    templar = Templar(loader=loader, variables=variables)
    return [templar.template(trust_as_template(text)) for _ in range(FILES)]


def by_action(loader: DataLoader, variables: dict[str, Any]) -> list[str]:
    """The texts as file_set's action makes them."""
    entries = [{"path": f"/{number}", "template": str(TEMPLATE), "values": VALUES} for number in range(FILES)]
    action = action_loader.get(
        "file_set",
        task=Task(),
        connection=None,
        play_context=PlayContext(),
        loader=loader,
        templar=Templar(loader=loader, variables=variables),
        shared_loader_obj=None,
    )
    return [entry["content"] for entry in action.rendered({"files": entries}, variables)["files"]]


def seconds_per_host(
    make: Callable[[DataLoader, dict[str, Any]], list[str]], loader: DataLoader, hosts: list[dict[str, Any]]
) -> float:
    """Wall time of one host's files."""
    make(loader, hosts[0])
    started = time.perf_counter()
    for variables in hosts:
        make(loader, variables)
    return (time.perf_counter() - started) / len(hosts)


def main() -> int:
    """Measure each size and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, nargs="+", default=[200, 1000])
    init_plugin_loader()
    action_loader.add_directory(str(ROOT / "action_plugins"))
    filter_loader.add_directory(str(ROOT / "filter_plugins/adapter"))
    ratio = 0.0
    print(f"{FILES} files per host   lookup ms   action ms   ratio")
    for size in parser.parse_args().hosts:
        loader, hosts = variables_of(size)
        lookup, action = (seconds_per_host(make, loader, hosts) for make in (by_lookup, by_action))
        ratio = lookup / action
        print(f"{size:>8} hosts   {lookup * 1000:12.1f}   {action * 1000:9.1f}   {ratio:5.0f}")
    return 0 if ratio >= WANTED_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
