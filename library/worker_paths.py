#!/usr/bin/python
"""Sector paths that workers have attached and the plan does not use any more: they take nothing new."""

from __future__ import annotations

import json
import stat
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sealyard_host.files import replace

DOCUMENTATION = r"""
module: worker_paths
short_description: Give no new sector to a path that left the plan
description:
  - A worker keeps the paths it once attached, because sectors lie there. One that left the plan, as on a change of
    stack, would go on taking new sectors, and with the new path it would promise the space of one disk twice.
  - Its C(CanSeal) is set to false, so that what lies there is finished and nothing comes. A path that comes back into
    the plan gets it back. A path that somebody else has attached or closed stays as it is, and a store is never
    touched.
  - A worker reads the file when it starts.
options:
  workers:
    description: The host's workers.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {type: str, required: true, description: Name of the worker.}
      repo: {type: path, required: true, description: Repo of the worker.}
      paths: {type: list, elements: path, required: true, description: What the plan gives it.}
author: [Sealyard]
"""

EXAMPLES = r"""
- name: Give nothing new to paths that left the plan
  worker_paths:
    workers:
      - {name: pc1-0, repo: /var/lib/lotus/worker/pc1-0, paths: [/sealer]}
"""

RETURN = r"""
closed:
  description: Paths that were closed now.
  type: list
  elements: str
  returned: always
left:
  description: By worker, the paths it has attached and the plan does not give it.
  type: dict
  returned: always
"""

MARK = "ClosedBySealyard"
"""Key beside Lotus's own, which skips what it does not know."""


def attached(repo: str) -> list[str]:
    """Paths in the storage.json of a worker's repo; [] before its first start."""
    try:
        listed = json.loads(Path(repo, "storage.json").read_text(encoding="utf-8")).get("StoragePaths") or []
        return [str(entry["Path"]) for entry in listed]
    except (OSError, ValueError):
        return []


def left_paths(workers: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Paths that a worker has attached and no worker of the host is given: {worker: [paths]}."""
    wanted = {path for worker in workers for path in worker["paths"]}
    found = {worker["name"]: [path for path in attached(worker["repo"]) if path not in wanted] for worker in workers}
    return {name: paths for name, paths in found.items() if paths}


def made_by_a_plan(ident: str) -> bool:
    """Whether a plan gave the path its ID: those are made from names (UUID version 5), Lotus draws its own."""
    try:
        return uuid.UUID(ident).version == 5
    except ValueError:
        return False


def closed(settings: Mapping[str, Any], wanted: bool) -> dict[str, Any] | None:
    """The sectorstore.json of a path as it should be, None where it is that already."""
    if wanted and settings.get(MARK):
        return {**{key: value for key, value in settings.items() if key != MARK}, "CanSeal": True}
    if not wanted and settings.get("CanSeal") and made_by_a_plan(str(settings.get("ID"))):
        return {**settings, "CanSeal": False, MARK: True}
    return None


def changes(workers: Sequence[Mapping[str, Any]], left: Mapping[str, Sequence[str]]) -> dict[Path, dict[str, Any]]:
    """New contents by file; `left` is what `left_paths` says."""
    places = {path: True for worker in workers for path in worker["paths"]}
    places |= {path: False for paths in left.values() for path in paths}
    found = {}
    for path, wanted in sorted(places.items()):
        file = Path(path, "sectorstore.json")
        try:
            settings = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        new = closed(settings, wanted) if isinstance(settings, dict) else None
        if new:
            found[file] = new
    return found


def main() -> None:
    """Module entry."""
    options = {
        "name": {"type": "str", "required": True},
        "repo": {"type": "path", "required": True},
        "paths": {"type": "list", "elements": "path", "required": True},
    }
    module = AnsibleModule(
        argument_spec={"workers": {"type": "list", "elements": "dict", "required": True, "options": options}},
        supports_check_mode=True,
    )
    workers = module.params["workers"]
    left = left_paths(workers)
    found = changes(workers, left)
    if not module.check_mode:
        for file, settings in found.items():
            kept = file.stat()
            replace(file, json.dumps(settings, indent=2) + "\n", stat.S_IMODE(kept.st_mode), (kept.st_uid, kept.st_gid))
    module.exit_json(
        changed=bool(found),
        closed=[str(file.parent) for file, settings in found.items() if MARK in settings],
        left=left,
    )


if __name__ == "__main__":
    main()
