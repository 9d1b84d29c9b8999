"""Paths that left the plan take nothing new, and what lies there is kept."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
import worker_paths

OLD = str(uuid.uuid5(uuid.NAMESPACE_URL, "old"))
NEW = str(uuid.uuid5(uuid.NAMESPACE_URL, "new"))


def changes(workers: list[dict[str, Any]]) -> dict[Path, dict[str, Any]]:
    return worker_paths.changes(workers, worker_paths.left_paths(workers))


@pytest.fixture
def host(tmp_path: Path) -> dict[str, Any]:
    """A worker that has attached `old` and a store, and gets `new` from the plan."""
    for name, settings in {
        "old": {"ID": OLD, "CanSeal": True, "CanStore": False, "AllowTo": ["a"]},
        "new": {"ID": NEW, "CanSeal": True, "CanStore": False},
        "store": {"ID": "3", "CanSeal": False, "CanStore": True},
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "sectorstore.json").write_text(json.dumps(settings))
    listed = [{"Path": str(tmp_path / name)} for name in ("old", "new", "store", "gone")]
    (tmp_path / "storage.json").write_text(json.dumps({"StoragePaths": listed}))
    return {"name": "pc1-0", "repo": str(tmp_path), "paths": [str(tmp_path / "new")]}


def test_a_sealing_path_outside_the_plan_is_closed_and_comes_back(host: dict[str, Any], tmp_path: Path) -> None:
    assert worker_paths.left_paths([host]) == {"pc1-0": [str(tmp_path / name) for name in ("old", "store", "gone")]}
    file = tmp_path / "old/sectorstore.json"
    found = changes([host])
    assert list(found) == [file]
    assert found[file] == {"ID": OLD, "CanSeal": False, "CanStore": False, "AllowTo": ["a"], worker_paths.MARK: True}
    file.write_text(json.dumps(found[file]))
    assert changes([host]) == {}
    again = changes([{**host, "paths": [str(tmp_path / "old")]}])
    assert again[file] == {"ID": OLD, "CanSeal": True, "CanStore": False, "AllowTo": ["a"]}
    assert not again[tmp_path / "new/sectorstore.json"]["CanSeal"]


def test_a_path_that_the_operator_has_closed_stays_closed(host: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "new/sectorstore.json"
    file.write_text(json.dumps({"ID": NEW, "CanSeal": False, "CanStore": False}))
    assert file not in changes([host])


def test_a_path_that_the_operator_has_attached_stays_open(host: dict[str, Any], tmp_path: Path) -> None:
    own = {"ID": str(uuid.uuid4()), "CanSeal": True, "CanStore": False}
    (tmp_path / "old/sectorstore.json").write_text(json.dumps(own))
    assert changes([host]) == {}


def test_a_path_of_another_worker_is_in_the_plan(host: dict[str, Any], tmp_path: Path) -> None:
    other = {"name": "pc1-1", "repo": str(tmp_path / "none"), "paths": [str(tmp_path / "old")]}
    assert changes([host, other]) == {}
    assert "old" not in "".join(worker_paths.left_paths([host, other])["pc1-0"])


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_what_cannot_be_read_is_left_alone(host: dict[str, Any], tmp_path: Path, text: str) -> None:
    (tmp_path / "old/sectorstore.json").write_text(text)
    assert changes([host]) == {}
    (tmp_path / "storage.json").write_text("{")
    assert worker_paths.left_paths([host]) == {}
