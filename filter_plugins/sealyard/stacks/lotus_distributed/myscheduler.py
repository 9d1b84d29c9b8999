"""myscheduler.json of a worker: what it takes at once, and how much it holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from sealyard.plan.types import WorkerPlan
from sealyard.stacks.base import WorkerPlace

FETCH_SLACK_UNITS: Final = 16
"""Sector-size units of one sector in flight (14 cache + sealed + unsealed): left free for what is being fetched."""
KEYS: Final = (
    *("WorkerName", "AddPieceMax", "PreCommit1Max", "PreCommit2Max", "Commit2Max", "DiskHoldMax", "APDiskHoldMax"),
    *("ForceP1FromLocalAP", "ForceP2FromLocalP1", "ForceC2FromLocalP2", "IsPlanOffline", "AllowP2C2Parallel"),
    *("IgnoreOutOfSpace", "AutoPledgeDiff"),
)
"""All keys of the file (contract lotus_distributed files.json); one that is missing counts as 0 or false."""


TASK_LIMITS: Final = ("AddPieceMax", "PreCommit1Max", "PreCommit2Max", "Commit2Max")
FLAGS: Final = {
    "--precommit1max": "PreCommit1Max",
    "--precommit2max": "PreCommit2Max",
    "--commit2max": "Commit2Max",
    "--forcep2fromlocalp1": "ForceP2FromLocalP1",
}
"""Flags of the first generation and the keys whose values they carry."""


def limits_file(worker: WorkerPlan, place: WorkerPlace) -> dict[str, Any]:
    """Return the file with all 14 keys, for a missing one counts as 0 or false.

    AutoPledgeDiff pledges nothing by itself; it gives the AddPiece to the worker with the smallest share of its AP and
    PC1 limits in use, where 0 counts its AddPieces only.
    """
    at_once = worker.concurrency
    scratch = worker.scratch
    units = ((scratch.bytes if scratch else None) or 0) // place.figures.sector_bytes
    return {
        "WorkerName": f"{place.host}/{worker.name}",
        "AddPieceMax": at_once.get("AP", 0),
        "PreCommit1Max": at_once.get("PC1", 0),
        "PreCommit2Max": at_once.get("PC2", 0),
        "Commit2Max": at_once.get("C2", 0),
        "DiskHoldMax": max(0, units - FETCH_SLACK_UNITS),
        "APDiskHoldMax": ((scratch.sectors if scratch else None) or 0) if "AP" in at_once else 0,
        "ForceP1FromLocalAP": "PC1" in at_once,
        "ForceP2FromLocalP1": {"PC1", "PC2"} <= set(worker.tasks),
        "ForceC2FromLocalP2": False,
        "IsPlanOffline": False,
        "AllowP2C2Parallel": False,
        "IgnoreOutOfSpace": False,
        "AutoPledgeDiff": int(place.pledges_smoothly and "AP" in at_once),
    }


def with_limits(planned: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the file with what the operator sets; a task that the plan does not give the worker stays at 0."""
    own = {key: value for key, value in wanted.items() if not (key in TASK_LIMITS and not planned[key])}
    return {**planned, **own}


def limit_flags(worker: Mapping[str, Any]) -> list[str]:
    """Return the flags that carry the limits where there is no file."""
    limits = worker["myscheduler"]
    held = (worker.get("scratch") or {}).get("sectors") or 0
    values = {flag: limits[key] for flag, key in FLAGS.items()} | {"--precommit1holdmax": held}
    return [f"{flag}={json.dumps(value)}" for flag, value in values.items()]
