"""What roles write on hosts, rendered as the controller renders it, without a host."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.block import Block
from ansible.playbook.play import Play
from ansible.playbook.play_context import PlayContext
from ansible.playbook.role_include import IncludeRole
from ansible.plugins.loader import action_loader, filter_loader, init_plugin_loader, module_loader
from ansible.template import Templar, trust_as_template
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager
from sealyard.hosts.rendering import Renderer
from sealyard.hosts.systemd import systemd_quoted
from sealyard.inventory.groups import groups_missing_parents

ROOT = Path(__file__).parents[2]
RENDERER = Renderer({"systemd_quoted": systemd_quoted})
NOTHING: dict[str, Any] = {"reserved_cpus": "", "workers": [], "exports": [], "mounts": [], "paths": []}
"""What playbooks/plan.yml gives a host that is not in the plan."""


def text_of(role: str, entry: Mapping[str, Any]) -> str:
    """Text of one of file_set's entries that a filter made for a role."""
    if "content" in entry:
        return str(entry["content"])
    return RENDERER.render(str(ROOT / "roles" / role / "templates" / entry["template"]), entry["values"])


@cache
def _find_plugins() -> None:
    init_plugin_loader()
    action_loader.add_directory(str(ROOT / "action_plugins"))
    filter_loader.add_directory(str(ROOT / "filter_plugins/adapter"))
    module_loader.add_directory(str(ROOT / "library"))


class Cluster:
    """An inventory with its plan. `found` are the results that roles register on hosts, `extra` are as with -e."""

    def __init__(self, inventory: str, found: Mapping[str, Any], extra: Mapping[str, Any]) -> None:
        _find_plugins()
        self._loader = DataLoader()
        self._loader.set_basedir(str(ROOT))
        hosts = str(ROOT / "inventories" / inventory / "hosts.yml")
        self._inventory = InventoryManager(loader=self._loader, sources=[hosts])
        self._variables = VariableManager(loader=self._loader, inventory=self._inventory)
        self._variables._extra_vars = dict(extra)
        self._variables._hostvars = HostVars(
            inventory=self._inventory, variable_manager=self._variables, loader=self._loader
        )
        for host, parents in groups_missing_parents(self._inventory.get_groups_dict()).items():
            for parent in parents:
                self._inventory.add_group(parent)
                self._inventory.add_host(host, parent)
        self._inventory.reconcile_inventory()
        self.groups: dict[str, list[str]] = self._inventory.get_groups_dict()
        self.plan = self._planned()
        cluster = {key: value for key, value in self.plan.items() if key != "hosts"}
        for name in self.groups["all"]:
            facts = {"sealing_plan": self.plan, "sealing_cluster_plan": cluster}
            facts["sealing_host_plan"] = self.plan["hosts"].get(name, NOTHING)
            self._variables.set_nonpersistent_facts(name, {**found, **facts})

    def _planned(self) -> dict[str, Any]:
        play = self._play("all", [])
        variables = self._variables.get_vars(play=play, host=self._inventory.get_hosts()[0])
        asked = "{{ groups | sealing_plan_input(hostvars, inventory_dir, '/no/applied/plan') | sealing_plan }}"
        made = Templar(loader=self._loader, variables=variables).template(trust_as_template(asked))
        return dict(json.loads(json.dumps(made)))

    def _play(self, hosts: str, tasks: list[dict[str, Any]]) -> Any:
        play = {"hosts": hosts, "gather_facts": False, "tasks": tasks}
        return Play.load(play, variable_manager=self._variables, loader=self._loader)

    def files(self, name: str, role: str, tasks_from: str = "main", **variables: Any) -> dict[str, str]:
        """Texts by path of what the role's file_set tasks write on a host; conditions on what is not known hold."""
        task = {"ansible.builtin.import_role": {"name": role, "tasks_from": tasks_from}, "vars": variables}
        play = self._play(name, [task])
        found: dict[str, str] = {}
        for each in self._tasks(play, name, play.compile()):
            found |= self._written(play, name, each)
        return found

    def _tasks(self, play: Any, name: str, blocks: list[Any]) -> Iterator[Any]:
        for block in blocks:
            for task in (*block.block, *block.rescue, *block.always):
                if isinstance(task, Block):
                    yield from self._tasks(play, name, [task])
                elif isinstance(task, IncludeRole) and self._holds(play, name, task):
                    inner, _ = task.get_block_list(play=play, variable_manager=self._variables, loader=self._loader)
                    yield from self._tasks(play, name, inner)
                elif task.action == "file_set" and self._holds(play, name, task):
                    yield task

    def _holds(self, play: Any, name: str, task: Any) -> bool:
        variables = self._variables.get_vars(play=play, host=self._inventory.get_host(name), task=task)
        templar = Templar(loader=self._loader, variables=variables)
        try:
            return all(templar.evaluate_conditional(condition) for condition in task.when)
        except AnsibleError:
            return True

    def _written(self, play: Any, name: str, task: Any) -> dict[str, str]:
        variables = self._variables.get_vars(play=play, host=self._inventory.get_host(name), task=task)
        templar = Templar(loader=self._loader, variables=variables)
        task.args = templar.template(task.args)
        action = action_loader.get(
            "file_set",
            task=task,
            connection=None,
            play_context=PlayContext(),
            loader=self._loader,
            templar=templar,
            shared_loader_obj=None,
        )
        done = action.rendered(task.args, variables)
        entries = [*done.get("files", ()), *done.get("secrets", ())]
        return {str(entry["path"]): str(entry["content"]) for entry in entries if entry.get("content") is not None}
