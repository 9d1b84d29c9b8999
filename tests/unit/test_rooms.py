"""Imports inside the package run one way: what decides never asks what shows, and a room knows only those below it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "filter_plugins/sealyard"
FLOORS = (
    ("errors", "problem"),
    ("lotus", "hardware"),
    ("plan", "variables"),
    ("stacks", "hosts"),
    ("planner",),
    ("inventory", "simulate", "operations", "pages", "diagnosis"),
    ("__main__", "__init__"),
)
"""From the ground up. Rooms of one floor are neighbours; only `lotus` and `hardware` may look into each other."""
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
NEIGHBOURS = {("lotus", "hardware"), ("hardware", "lotus"), ("hosts", "stacks"), ("__main__", "__init__")}
FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imported(file: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "sealyard":
            # `from sealyard import stacks` names a room, `from sealyard import plan` a function of the package.
            rooms = [f"sealyard.{name.name}" for name in node.names if name.name in FLOOR_OF]
            found += rooms if node.module == "sealyard" and rooms else [str(node.module)]
        elif isinstance(node, ast.Import):
            found += [name.name for name in node.names if name.name.split(".")[0] == "sealyard"]
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_room_knows_only_those_below_it(file: Path) -> None:
    own = room_of(".".join(("sealyard", *file.relative_to(PACKAGE).with_suffix("").parts)))
    for module in imported(file):
        other = room_of(module)
        assert own == other or FLOOR_OF[other] < FLOOR_OF[own] or (own, other) in NEIGHBOURS, (
            f"{file.name} of {own} imports {module}: that is not below it"
        )


def test_every_room_stands_on_a_floor() -> None:
    there = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert there == set(FLOOR_OF)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_the_package_knows_no_ansible(file: Path) -> None:
    text = file.read_text("utf-8")
    assert "sys.path" not in text
    for node in ast.walk(ast.parse(text)):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [name.name for name in node.names] if isinstance(node, ast.Import) else []
        # Text lives in templates, and one module renders them.
        foreign = {"ansible"} if file.name == "rendering.py" else {"ansible", "jinja2"}
        assert not {name.split(".")[0] for name in names} & foreign
