"""Controller's half of module file_set: renders the entries that name a template, reads those that name a source."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ansible.constants
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.plugins.filter.core import FilterModule as CoreFilters

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "filter_plugins"))

from sealyard.hosts.rendering import Renderer, Unrendered
from sealyard.hosts.systemd import systemd_quoted

CORE: dict[str, Any] = CoreFilters().filters()
FILTERS = {
    **CORE,
    **{f"ansible.builtin.{name}": function for name, function in CORE.items()},
    "systemd_quoted": systemd_quoted,
}
"""What a template may use beside Jinja's own."""


class ActionModule(ActionBase):  # type: ignore[misc]
    """Turns `template` with `values`, and `source`, into `content`, then calls the module once."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Render on the controller, write on the host."""
        super().run(tmp, task_vars)
        arguments = self.rendered(self._task.args, task_vars or {})
        result: dict[str, Any] = self._execute_module(module_args=arguments, task_vars=task_vars)
        if result.get("failed") and result.get("msg"):
            result["msg"] = f"{(task_vars or {}).get('inventory_hostname')}: {self._with_origin(str(result['msg']))}"
        return result

    def _with_origin(self, message: str) -> str:
        """A module's message with the template of each file that it names."""
        told = [f"{path} comes from {template}" for path, template in self._origins.items() if path in message]
        return f"{message}. {'; '.join(told)}" if told else message

    def rendered(self, arguments: Mapping[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """The module's options: each file and secret with its content."""
        self._renderer = Renderer(FILTERS, self._loader.get_text_file_contents, _compiled_dir())
        self._origins: dict[str, str] = {}
        self._inventory_dir = task_vars.get("inventory_dir")
        filled = {
            kind: [self._with_content(entry, kind == "secrets") for entry in arguments[kind]]
            for kind in ("files", "secrets")
            if arguments.get(kind)
        }
        return {**arguments, **filled}

    def _with_content(self, entry: Mapping[str, Any], secret: bool) -> dict[str, Any]:
        """An entry with its text; where it names neither template nor source it is returned as it is."""
        told = {key: value for key, value in entry.items() if key not in ("template", "values", "source")}
        if "content" in entry or not ("template" in entry or "source" in entry):
            return told
        try:
            if "source" in entry:
                found = self._find_needle("files", entry["source"])
                return {**told, "content": self._loader.get_text_file_contents(found)}
            path = self._template(entry["template"])
            self._origins[str(entry.get("path"))] = path
            return {**told, "content": self._renderer.render(path, entry.get("values") or {})}
        except (AnsibleError, Unrendered, OSError) as error:
            # An error may show the value that it is about.
            hidden = secret and isinstance(error, Unrendered)
            words = f"its template {entry['template']} cannot be rendered with its values" if hidden else error
            # Ansible would say the cause a second time.
            raise AnsibleActionFail(f"{entry.get('path')}: {words}") from None

    def _template(self, name: str) -> str:
        """Path of a template: absolute, below the inventory, or the role's own, in this order."""
        beside = Path(self._inventory_dir or "/nonexistent", name)
        if beside.is_file():
            return str(beside)
        found: str = self._find_needle("templates", name)
        return found


def _compiled_dir() -> str:
    """Directory of this run, shared by its forks and removed at its end, that keeps compiled templates."""
    path = Path(ansible.constants.DEFAULT_LOCAL_TMP, "sealyard-templates")
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return str(path)
