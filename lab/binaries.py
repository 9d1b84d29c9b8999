"""What the lab's hosts run: the stand-ins of tests/standins, or the operator's own build of Lotus for 2 KiB sectors."""

from __future__ import annotations

import filecmp
import json
import shutil
import sys
from pathlib import Path

from lab.settings import ROOT, Lab, choice_file
from lab.shell import LabError, run

PROGRAMS = ("lotus", "lotus-miner", "lotus-worker", "lotus-seed")
STANDINS = {"lotus": "stand-ins", "params": "stand-ins"}
NOFILE_FLOOR = 16000
"""Open files below which lotus-worker refuses to start: what the real build for 2 KiB has."""


def provide(lab: Lab, lotus: str | None, params: str | None, in_use: bool) -> None:
    """Fill the folders builds and params of the lab.

    A lab keeps what it was started with: without `lotus` the earlier choice stands, and a change while the lab is
    `in_use` is an error, because the chain of one is of no use to the other.
    """
    if (lotus is None) != (params is None):
        raise LabError("--lotus and --params go together: the programs, and the proof parameters they need")
    before = _chosen(lab) if in_use else {}
    wanted = before or STANDINS | {"stack": lab.stack}
    if lotus and params:
        wanted = {"lotus": str(Path(lotus).resolve()), "params": str(Path(params).resolve()), "stack": lab.stack}
    if before and before | {"stack": before.get("stack", "lotus")} != wanted | {"stack": lab.stack}:
        runs = f"{before['lotus']} of stack {before.get('stack', 'lotus')}"
        raise LabError(f"this lab runs {runs}: take it away first with bin/lab down")
    wanted = wanted | {"stack": lab.stack}
    builds, parameters = lab.folder / "builds", lab.folder / "params"
    for folder in (builds, parameters):
        folder.mkdir(parents=True, exist_ok=True)
    if wanted["lotus"] == STANDINS["lotus"]:
        _leave_only(builds, list(PROGRAMS))
        build = [sys.executable, str(ROOT / "tests/standins/build.py"), str(builds), "--params", str(parameters)]
        run([*build, "--nofile-floor", str(NOFILE_FLOOR), "--stack", lab.stack])
        _leave_only(parameters, [path.name for path in parameters.iterdir() if "standin" in path.name])
    else:
        _copy(Path(wanted["lotus"]), builds, list(PROGRAMS))
        names = [path.name for path in Path(wanted["params"]).glob("v28-*")]
        if not any(name.endswith(".params") for name in names):
            raise LabError(
                f"--params {wanted['params']}: no v28-*.params in it; it is what FIL_PROOFS_PARAMETER_CACHE names"
            )
        _copy(Path(wanted["params"]), parameters, names)
    choice_file(lab.name).write_text(json.dumps(wanted) + "\n")


def real(lab: Lab) -> bool:
    """Whether the lab runs real Lotus."""
    return _chosen(lab).get("lotus", STANDINS["lotus"]) != STANDINS["lotus"]


def _chosen(lab: Lab) -> dict[str, str]:
    chosen = choice_file(lab.name)
    return json.loads(chosen.read_text()) if chosen.exists() else {}


def _leave_only(folder: Path, names: list[str]) -> None:
    for path in folder.iterdir():
        if path.name not in names:
            path.unlink()


def _copy(source: Path, target: Path, names: list[str]) -> None:
    absent = [name for name in names if not (source / name).is_file()]
    if absent:
        raise LabError(f"{source} has no {', '.join(absent)}")
    _leave_only(target, names)
    for name in names:
        if not (target / name).exists() or not filecmp.cmp(source / name, target / name):
            shutil.copy2(source / name, target / name)
