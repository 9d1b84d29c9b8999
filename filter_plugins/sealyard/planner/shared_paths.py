"""Sealing paths that several hosts open.

A mounted directory that holds a scratch path is one sealing path with one ID on every host that opens it, so that a
sector is where its PC2 runs and nothing is fetched (lotus StorageFindSector looks for local paths first).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sealyard.plan.paths import path_id, sealing_path, store_path
from sealyard.plan.types import PathPlan, WorkerPlan
from sealyard.planner.document import Document, Export, Mount
from sealyard.problem import Problem

Paths = dict[str, list[PathPlan]]
"""By host."""


def share_paths(
    doc: Document, group_of: Mapping[str, str], workers: Mapping[str, Sequence[WorkerPlan]], paths: Paths
) -> Paths:
    """Return the hosts' paths with those that hosts share united. What cannot be is added to the document's errors."""
    if not any(host.mounts for host in doc.hosts.values()):
        return paths
    actor = doc.settings.actor
    found = {name: list(own) for name, own in paths.items()}
    for name in found:
        for mount in doc.hosts[name].mounts:
            if mount.scratch and mount.server in doc.hosts and mount.server != name:
                found[name] = _with_mounted(actor, mount, found[name], group_of.get(name), workers[name])
    openers: dict[str, list[str]] = {}
    for name, own in found.items():
        for path in own:
            if path.can_seal:
                openers.setdefault(path.id, []).append(name)
    served = {path_id(actor, name, export.path): (name, export) for name in found for export in doc.hosts[name].exports}
    for id_, names in openers.items():
        if id_ in served and any(name != served[id_][0] for name in names):
            _unite(doc, group_of, found, id_, served[id_], names)
    for name in found:
        for export in doc.hosts[name].exports:
            _serve_stores(doc, found[name], name, export)
    return found


def _with_mounted(
    actor: str, mount: Mount, paths: Sequence[PathPlan], group: str | None, workers: Sequence[WorkerPlan]
) -> list[PathPlan]:
    """Let the host's sealing workers open the mounted path; it takes the place of a local one at the same path."""
    if not any(worker.scratch is not None for worker in workers):
        return list(paths)
    path = sealing_path(actor, mount.server, mount.source, 0, group, workers)
    return [replace(path, path=mount.path), *(one for one in paths if one.path != mount.path)]


def _unite(
    doc: Document,
    group_of: Mapping[str, str],
    found: Paths,
    id_: str,
    served: tuple[str, Export],
    names: Sequence[str],
) -> None:
    """One path has one sectorstore.json: whoever opens it agrees on it, and its server holds it too."""
    server, export = served
    groups = sorted({group_of[name] for name in names if name in group_of})
    if len(groups) > 1:
        problem = f"is the scratch of groups {', '.join(groups)}: each would take the other's sectors"
        remedy = f"sealing_worker_group: {groups[0]} on {', '.join(sorted(names))}, or an export for each group"
        doc.errors.append(Problem(f"hosts.{server}.exports", export.path, problem, remedy))
    shared = [path for name in names for path in found[name] if path.can_seal and path.id == id_]
    may_take = tuple(sorted({group for path in shared for group in path.groups or ()})) or None
    may_give = tuple(sorted({group for path in shared for group in path.allow_to or ()})) or None
    for name in set(names):
        found[name] = [
            replace(path, groups=may_take, allow_to=may_give, max_storage_bytes=0)
            if path.can_seal and path.id == id_
            else path
            for path in found[name]
        ]
    if server not in names:
        first = next(path for path in found[names[0]] if path.can_seal and path.id == id_)
        found[server].append(replace(first, path=export.path, workers=()))


def _serve_stores(doc: Document, paths: list[PathPlan], server: str, export: Export) -> None:
    """An export that its clients hold for a long-term store carries that store's identity on the server."""
    for client in doc.hosts.values():
        for mount in client.mounts:
            for name, path in client.stores:
                known = {one.path for one in paths}
                if (mount.server, mount.source, mount.path) == (server, export.path, path) and export.path not in known:
                    paths.append(store_path(doc.settings.actor, name, export.path, ()))
