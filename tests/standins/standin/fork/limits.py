"""What a worker may take: myscheduler.json, the flags behind it, and the rules of the fork's scheduler."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from ..common import Json, write_json

FILE, EXTERNAL_FILE = "myscheduler.json", "externalWorker.json"
PC1_UNITS = 14
# Name and value written at the first start, in the order of the file.
WRITTEN: dict[str, Any] = {
    "WorkerName": "",
    "AddPieceMax": 0,
    "PreCommit1Max": 0,
    "PreCommit2Max": 0,
    "Commit2Max": 0,
    "DiskHoldMax": 0,
    "APDiskHoldMax": 0,
    "ForceP1FromLocalAP": True,
    "ForceP2FromLocalP1": True,
    "ForceC2FromLocalP2": False,
    "IsPlanOffline": False,
    "AllowP2C2Parallel": False,
    "IgnoreOutOfSpace": False,
    "AutoPledgeDiff": 0,
}
EXTERNAL_WRITTEN: dict[str, Any] = {
    "AddPieceMax": 1,
    "PreCommit1Max": 1,
    "PreCommit2Max": 1,
    "Commit2Max": 1,
    "ForceP1FromLocalAP": True,
    "ForceP2FromLocalP1": True,
    "ForceC2FromLocalP2": False,
    "AllowP2C2Parallel": True,
    "FiLGuardKey": "",
    "AllowDelay": 3,
}
MAX_OF = {"AP": "AddPieceMax", "PC1": "PreCommit1Max", "PC2": "PreCommit2Max", "C2": "Commit2Max"}
TASK_NAME = {"AP": "AddPiece", "PC1": "PreCommit1", "PC2": "PreCommit2", "C2": "Commit2"}


def parse(text: str, written: dict[str, Any]) -> Json:
    """The values of a file, 0 or false where a key is missing. ValueError as Go's JSON decoder would refuse."""
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("not an object")
    names = {name.lower(): name for name in written}
    out: Json = {name: type(value)() for name, value in written.items()}
    for key, value in found.items():
        name = names.get(key.lower())
        if name is None or value is None:
            continue
        if type(value) is not type(written[name]) or (isinstance(value, int) and value < 0):
            raise ValueError(f"cannot unmarshal {key}")
        out[name] = value
    return out


def read(paths: list[str]) -> Json | None:
    """Settings of the storage paths that carry a file: with several, chance decides. None: the flags count."""
    found: Json | None = None
    for path in random.sample(paths, len(paths)):
        try:
            with open(os.path.join(path, FILE), encoding="utf-8") as stream:
                text = stream.read()
        except OSError:
            continue
        try:
            found = parse(text, WRITTEN)
        except ValueError:
            return None
    return found


def read_external() -> Json | None:
    """externalWorker.json of the running miner, found through LOTUS_MINER_PATH alone."""
    try:
        with open(os.path.join(os.environ["LOTUS_MINER_PATH"], EXTERNAL_FILE), encoding="utf-8") as stream:
            return parse(stream.read(), EXTERNAL_WRITTEN)
    except (OSError, KeyError, ValueError):
        return None


def write_missing(directory: str, name: str, value: Json) -> None:
    path = os.path.join(directory, name)
    if not os.path.exists(path):
        write_json(path, value, indent=2)


def ignores_space(path: str) -> bool:
    """IgnoreOutOfSpace of the file in the root of this path alone."""
    try:
        with open(os.path.join(path, FILE), encoding="utf-8") as stream:
            return bool(parse(stream.read(), WRITTEN)["IgnoreOutOfSpace"])
    except (OSError, ValueError):
        return False


def _entries(path: str, kind: str) -> list[str]:
    try:
        return [name for name in os.listdir(os.path.join(path, kind)) if name != "fetching"]
    except OSError:
        return []


def layer_1_count(paths: list[str]) -> int:
    return sum(
        os.path.exists(os.path.join(path, "cache", name, "sc-02-data-layer-1.dat"))
        for path in paths
        for name in _entries(path, "cache")
    )


def disk_used(paths: list[str]) -> tuple[int, int]:
    """(units of one sector size, unsealed entries) on paths that are no stores."""
    unsealed = sum(len(_entries(path, "unsealed")) for path in paths)
    sealed = sum(len(_entries(path, "sealed")) for path in paths)
    return PC1_UNITS * layer_1_count(paths) + unsealed + sealed, unsealed


@dataclass(frozen=True)
class Limits:
    """A worker's figures as its Info reports them; zero where it reports none."""

    AddPieceMax: int = 0
    PreCommit1Max: int = 0
    PreCommit2Max: int = 0
    Commit2Max: int = 0
    DiskHoldMax: int = 0
    DiskUsed: int = 0
    APDiskHoldMax: int = 0
    APDiskUsed: int = 0
    PreCommit1HoldMax: int = 0
    PreCommit1Hold: int = 0
    ForceP1FromLocalAP: bool = False
    ForceP2FromLocalP1: bool = False
    ForceC2FromLocalP2: bool = False
    IsPlanOffline: bool = False
    AllowP2C2Parallel: bool = False
    AutoPledgeDiff: int = 0

    @classmethod
    def of(cls, reported: Json) -> Limits:
        return cls(**{f.name: reported[f.name] for f in fields(cls) if f.name in reported})

    def external(self) -> bool:
        """All limits 0 and all switches false: an official worker, or one idled by hand."""
        passive = ("DiskUsed", "APDiskUsed", "PreCommit1Hold", "AutoPledgeDiff")
        return not any(getattr(self, f.name) for f in fields(self) if f.name not in passive)

    def maximum(self, task: str) -> int:
        return int(getattr(self, MAX_OF[task]))

    def tight(self) -> bool:
        return 0 < self.DiskHoldMax < self.DiskUsed


def refusal(task: str, limits: Limits, load: list[str], is_local: Callable[[str], bool]) -> str:
    """Why the worker does not take the task, or "". `load`: tasks of the kind that is looked at; `is_local(kind)`."""
    if task not in MAX_OF:
        return ""
    if limits.IsPlanOffline:
        return "It plans offline maintenance"
    if limits.tight() and (task in ("AP", "PC1") or (task == "PC2" and not is_local("cache"))):
        return "It is forced into disk constraints mode"
    used, most = limits.DiskUsed, limits.DiskHoldMax
    if task == "AP" and most and used + 1 > most:
        return f"not enough DiskHold quota, {used} in use, need 1 more"
    if task == "AP" and limits.APDiskHoldMax and limits.APDiskUsed + 1 > limits.APDiskHoldMax:
        return "not enough APDiskHold quota"
    if task == "PC1" and most and used + PC1_UNITS > most:
        return f"not enough DiskHold quota, {used} in use, need {PC1_UNITS} more, DiskHoldMax is {most}"
    if task == "PC1" and limits.PreCommit1HoldMax and limits.PreCommit1Hold + 1 > limits.PreCommit1HoldMax:
        return "not enough PreCommit1Hold quota"
    if load.count(task) >= limits.maximum(task):
        return f"not enough {TASK_NAME[task]} quota"
    if task == "PC1" and limits.ForceP1FromLocalAP and not is_local("unsealed"):
        return "It only receives AP from the local."
    if task == "PC2" and limits.ForceP2FromLocalP1 and not is_local("cache"):
        return "It only receives P1 from the local."
    if task == "C2" and limits.ForceC2FromLocalP2 and not is_local("cache"):
        return "It only receives P2 from the local."
    if task == "PC2" and not limits.AllowP2C2Parallel and "C2" in load:
        return "It already has a C2 running and does not receive P2 task"
    if task == "C2" and not limits.AllowP2C2Parallel and "PC2" in load:
        return "It already has a P2 running and does not receive C2 task"
    return ""
