"""library/file_set.py: what is written, what is left alone, and what is never shown."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import file_set
import pytest

ME = {"owner": str(os.getuid()), "group": str(os.getgid())}


def options(**kinds: list[dict[str, Any]]) -> dict[str, Any]:
    """Options as AnsibleModule hands them over, defaults filled in."""
    defaults: dict[str, dict[str, Any]] = {
        "directories": {"mode": "0755", "owner": None, "group": None, "mounted": False},
        "files": {"mode": "0644", "owner": None, "group": None, "json_set": None, "json_add": None},
        "secrets": {"mode": "0600", "owner": None, "group": None, "content": None, "remedy": ""},
    }
    return {**ME, **{kind: [{**each, **item} for item in kinds.get(kind, [])] for kind, each in defaults.items()}}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_second_run_changes_nothing_and_keeps_the_modification_time(tmp_path: Path) -> None:
    wanted = options(
        directories=[{"path": str(tmp_path / "a/b"), "mode": "0750"}],
        files=[{"path": str(tmp_path / "a/b/unit"), "content": "x\n"}],
    )
    assert file_set.apply(wanted, check=False).changed_paths == [str(tmp_path / "a/b"), str(tmp_path / "a/b/unit")]
    assert mode(tmp_path / "a/b") == 0o750
    os.utime(tmp_path / "a/b/unit", (1, 1))
    assert file_set.apply(wanted, check=False).changed_paths == []
    assert (tmp_path / "a/b/unit").stat().st_mtime == 1


def test_check_mode_reports_and_writes_nothing_even_where_the_directory_and_the_user_are_missing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "not/there"
    report = file_set.apply(options(files=[{"path": str(path), "content": "x", "owner": "no-such-user"}]), check=True)
    assert report.changed_paths == [str(path)]
    assert report.differences[0]["after"] == "x"
    assert list(tmp_path.iterdir()) == []


def test_a_secret_is_never_readable_by_others_nor_in_the_difference(tmp_path: Path) -> None:
    path = tmp_path / "env"
    report = file_set.apply(options(secrets=[{"path": str(path), "content": "TOKEN=abc\n"}]), check=False)
    assert path.read_text() == "TOKEN=abc\n" and mode(path) == 0o600
    assert "abc" not in json.dumps(report.differences)


def test_a_secret_without_text_keeps_the_file_and_tightens_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_text("TOKEN=old\n")
    path.chmod(0o644)
    report = file_set.apply(options(secrets=[{"path": str(path)}]), check=False)
    assert path.read_text() == "TOKEN=old\n" and mode(path) == 0o600
    assert report.kept_secrets == [str(path)]


def test_a_secret_without_text_and_without_file_says_what_to_do(tmp_path: Path) -> None:
    wanted = options(secrets=[{"path": str(tmp_path / "env"), "remedy": "Start the seal miner."}])
    with pytest.raises(file_set.Unwritable, match=r"does not exist.*Start the seal miner\."):
        file_set.apply(wanted, check=False)
    assert file_set.apply(wanted, check=True).changed_paths == []


def test_an_identity_that_exists_wins_but_its_groups_follow_the_plan(tmp_path: Path) -> None:
    path = tmp_path / "sectorstore.json"
    path.write_text('{"ID": "old", "Weight": 3, "Groups": null, "AllowTo": ["a"]}')
    wanted = {"ID": "new", "Weight": 10, "Groups": None, "AllowTo": ["b"], "MaxStorage": 0}
    item = {"path": str(path), "content": json.dumps(wanted), "json_set": ["Groups", "AllowTo"]}
    file_set.apply(options(files=[item]), check=False)
    found = json.loads(path.read_text())
    assert found == {"ID": "old", "Weight": 3, "Groups": None, "AllowTo": ["b"], "MaxStorage": 0}


def test_a_list_that_lotus_wrote_keeps_its_entries_and_layout(tmp_path: Path) -> None:
    path = tmp_path / "storage.json"
    by_hand = '{"StoragePaths":[{"Path":"/by/hand"},{"Path":"/sealer"}]}'
    path.write_text(by_hand)
    wanted = {"StoragePaths": [{"Path": "/sealer"}]}
    item = {"path": str(path), "content": json.dumps(wanted), "json_add": ["StoragePaths"]}
    assert file_set.apply(options(files=[item]), check=False).changed_paths == []
    assert path.read_text() == by_hand
    item["content"] = json.dumps({"StoragePaths": [{"Path": "/store"}]})
    file_set.apply(options(files=[item]), check=False)
    assert json.loads(path.read_text())["StoragePaths"] == [{"Path": p} for p in ("/by/hand", "/sealer", "/store")]


def test_a_list_that_is_null_is_filled(tmp_path: Path) -> None:
    path = tmp_path / "storage.json"
    path.write_text('{"StoragePaths": null}')
    item = {"path": str(path), "content": '{"StoragePaths": [{"Path": "/a"}]}', "json_add": ["StoragePaths"]}
    file_set.apply(options(files=[item]), check=False)
    assert json.loads(path.read_text()) == {"StoragePaths": [{"Path": "/a"}]}


def test_a_broken_identity_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "sectorstore.json"
    path.write_text('{"ID": "half')
    with pytest.raises(file_set.Unwritable, match="no JSON object"):
        file_set.apply(options(files=[{"path": str(path), "content": "{}", "json_set": []}]), check=False)
    assert path.read_text() == '{"ID": "half'


def test_an_unmounted_store_is_refused(tmp_path: Path) -> None:
    missing = options(directories=[{"path": str(tmp_path / "store"), "mounted": True}])
    with pytest.raises(file_set.Unwritable, match="is not there; mount the store"):
        file_set.apply(missing, check=False)
    assert not (tmp_path / "store").exists()
    with pytest.raises(file_set.Unwritable, match="on the system disk"):
        file_set.apply(options(directories=[{"path": "/usr", "mounted": True}]), check=False)


def test_an_unknown_owner_names_the_playbook_that_makes_it(tmp_path: Path) -> None:
    wanted = options(files=[{"path": str(tmp_path / "x"), "content": "x", "owner": "no-such-user"}])
    with pytest.raises(file_set.Unwritable, match=r"playbooks/base\.yml"):
        file_set.apply(wanted, check=False)


def test_nothing_is_left_behind_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    path.write_text("before")

    def refuse(_: int, __: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fchmod", refuse)
    with pytest.raises(OSError, match="disk full"):
        file_set.apply(options(files=[{"path": str(path), "content": "after"}]), check=False)
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]
