"""For all tests: module_utils/sealyard_host under the second name that Ansible gives it on a host."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

PREFIX = "ansible.module_utils."
PACKAGE = f"{PREFIX}sealyard_host"


class SecondName(MetaPathFinder, Loader):
    """`ansible.module_utils.sealyard_host.x` is `sealyard_host.x`: one module, so one class of each error."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Take what is in the package and nothing else."""
        return ModuleSpec(fullname, self) if fullname == PACKAGE or fullname.startswith(f"{PACKAGE}.") else None

    def exec_module(self, module: ModuleType) -> None:
        """Put the module that has the first name in place of the empty one."""
        sys.modules[module.__name__] = importlib.import_module(module.__name__.removeprefix(PREFIX))


sys.meta_path.insert(0, SecondName())
