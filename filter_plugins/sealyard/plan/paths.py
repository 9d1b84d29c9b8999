"""Sector paths: identity, and what may be fetched from where."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Final

from sealyard.plan.types import PathPlan, WorkerPlan

NAMESPACE: Final = uuid.UUID("6f1d3c1e-2f3b-5b62-9c55-0d6e7a1b4c11")
WEIGHT: Final = 10
"""Lotus's own default (contract lotus files.json, sectorstore_json)."""


def path_id(actor: str, *parts: str) -> str:
    """Return the storage path's ID: the same for the same actor, host and path, for ever."""
    return str(uuid.uuid5(NAMESPACE, "/".join((actor, *parts))))


def sealing_path(
    actor: str, host: str, path: str, max_storage_bytes: int, group: str | None, workers: Sequence[WorkerPlan]
) -> PathPlan:
    """Return the host's sealing path: AllowTo names where PC1 output may go, Groups whose output PC2 takes."""
    own = (group,) if group else None
    return PathPlan(
        path=path,
        id=path_id(actor, host, path),
        can_seal=True,
        can_store=False,
        weight=WEIGHT,
        max_storage_bytes=max_storage_bytes,
        groups=own if any(worker.does("PC2") for worker in workers) else None,
        allow_to=own if any(worker.does("PC1") for worker in workers) else None,
        workers=tuple(worker.name for worker in workers if worker.scratch is not None),
    )


def store_path(actor: str, name: str, path: str, workers: Sequence[str]) -> PathPlan:
    """Return a long-term store; its ID is the store's, the same on every host that mounts it."""
    return PathPlan(path, path_id(actor, "store", name), False, True, WEIGHT, 0, None, None, tuple(workers))


def empty_path(actor: str, host: str, path: str, worker: str) -> PathPlan:
    """Return a path of one worker that holds no sector, for a stack that reads a file from the root of a path."""
    place = f"{path}/{worker}"
    return PathPlan(place, path_id(actor, host, path, worker), False, False, WEIGHT, 0, None, None, (worker,))
