"""library/file_set.py: what is written, what is left alone, what is refused, and what is never shown."""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import file_set
import pytest

VERIFIER = "ansible.module_utils.sealyard_host.unit_files.VERIFIER"
ME = {"owner": str(os.getuid()), "group": str(os.getgid())}


def options(**kinds: list[dict[str, Any]]) -> dict[str, Any]:
    """Options as AnsibleModule hands them over, defaults filled in."""
    defaults: dict[str, dict[str, Any]] = {
        "directories": {"mode": "0755", "owner": None, "group": None, "mounted": False},
        "files": {"mode": "0644", "owner": None, "group": None, "json_set": None, "json_add": None},
        "secrets": {"mode": "0600", "owner": None, "group": None, "content": None, "remedy": ""},
    }
    return {**ME, **{kind: [{**each, **item} for item in kinds.get(kind, [])] for kind, each in defaults.items()}}


@pytest.fixture(autouse=True)
def verifier_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Units of most tests are no whole ones."""
    monkeypatch.setattr(VERIFIER, "no-such-program")


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


UNIT = "# {why}\n[Unit]\nDescription=x\n\n; {why}\n[Service]\nExecStart=/bin/a \\\n# {why}\n  --b\n"


def test_a_reworded_comment_of_a_unit_is_written_and_leaves_its_age(tmp_path: Path) -> None:
    path = tmp_path / "x.service.d/sealyard.conf"
    path.parent.mkdir()
    path.write_text(UNIT.format(why="one"))
    os.utime(path, (5, 5))
    report = file_set.apply(options(files=[{"path": str(path), "content": UNIT.format(why="two")}]), check=False)
    assert path.read_text() == UNIT.format(why="two") and path.stat().st_mtime == 5
    assert report.changed_paths == [str(path)] and report.effective_paths == []
    assert "two" in report.differences[0]["after"]


@pytest.mark.parametrize("name", ["x.service", "x.timer", "x.mount", "x.service.d/a.conf"])
def test_what_systemd_reads_makes_a_unit_younger(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("[Unit]\nDescription=a\n")
    os.utime(path, (5, 5))
    wanted = options(files=[{"path": str(path), "content": "[Unit]\nDescription=b\n"}])
    assert file_set.apply(wanted, check=True).effective_paths == [str(path)]
    assert file_set.apply(wanted, check=False).effective_paths == [str(path)]
    assert path.stat().st_mtime > 5


def test_a_comment_counts_in_a_file_that_is_no_unit(tmp_path: Path) -> None:
    path = tmp_path / "sshd_config.d" / "a.conf"
    path.parent.mkdir()
    path.write_text("# a\n")
    report = file_set.apply(options(files=[{"path": str(path), "content": "# b\n"}]), check=False)
    assert report.effective_paths == [str(path)]


def test_a_change_that_waits_for_its_restart_still_does_after_a_reworded_comment(tmp_path: Path) -> None:
    """The run is killed after the first write; the second changes a comment alone."""
    path = tmp_path / "x.service"
    for text in ("[Service]\nNice=1\n", "[Service]\nNice=2\n", "# why\n[Service]\nNice=2\n"):
        file_set.apply(options(files=[{"path": str(path), "content": text}]), check=False)
        if "why" not in text:
            os.utime(path, (7, 7))
    assert path.stat().st_mtime == 7


def test_removed_reasons_of_an_older_sealyard_restart_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lotus-worker@pc1-0.service.d/sealyard.conf"
    path.parent.mkdir()
    path.write_text("# 4 cores of L3 0 of node 1\n# Opens /sealer.\n[Unit]\nRequiresMountsFor=/sealer\n")
    os.utime(path, (5, 5))
    wanted = options(files=[{"path": str(path), "content": "[Unit]\nRequiresMountsFor=/sealer\n"}])
    assert file_set.apply(wanted, check=False).effective_paths == []
    assert path.stat().st_mtime == 5


def test_a_new_path_touches_the_mark_and_what_lotus_wrote_itself_does_not(tmp_path: Path) -> None:
    path, mark = tmp_path / "storage.json", tmp_path / "storage.changed"
    path.write_text('{"StoragePaths":[{"Path":"/sealer"}]}')
    item = {"path": str(path), "json_add": ["StoragePaths"], "mark": str(mark)}
    old, new = ({"StoragePaths": [{"Path": each}]} for each in ("/sealer", "/sealer2"))
    assert file_set.apply(options(files=[{**item, "content": json.dumps(old)}]), check=False).changed_paths == []
    assert not mark.exists()
    wanted = options(files=[{**item, "content": json.dumps(new)}])
    assert file_set.apply(wanted, check=True).effective_paths == [str(path), str(mark)]
    assert not mark.exists()
    file_set.apply(wanted, check=False)
    assert mark.exists() and json.loads(path.read_text())["StoragePaths"] == [{"Path": "/sealer"}, {"Path": "/sealer2"}]


@pytest.fixture
def analyze(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A systemd-analyze that says what stands in the file `said`, with STAGE for where it finds the units."""
    program = tmp_path / "bin/systemd-analyze"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\n"
        f'echo "$@" >> {tmp_path}/asked\n'
        f'sed "s#STAGE#${{SYSTEMD_UNIT_PATH%:}}#" {tmp_path}/said >&2\n'
        f"test ! -s {tmp_path}/said\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(VERIFIER, str(program))
    (tmp_path / "said").write_text("")
    return tmp_path


def units(folder: Path) -> list[dict[str, Any]]:
    texts = {"a@.service": "[Service]\nExecStart=/bin/a\n", "a@1.service.d/b.conf": "[Service]\nMemoryMaks=1\n"}
    return [{"path": str(folder / "units" / name), "content": text} for name, text in texts.items()]


def tree(folder: Path) -> dict[str, Any]:
    folders = [{"path": str(folder / "units")}, {"path": str(folder / "units/a@1.service.d")}]
    return options(directories=folders, files=units(folder))


@pytest.mark.parametrize("check", [True, False])
def test_a_bad_unit_stops_before_anything_is_written(analyze: Path, check: bool) -> None:
    said = "STAGE/a@1.service.d/b.conf:2: Unknown key 'MemoryMaks' in section [Service], ignoring.\n"
    (analyze / "said").write_text(said)
    with pytest.raises(file_set.Unwritable, match=r"units/a@1\.service\.d/b\.conf:2: Unknown key.*Nothing was written"):
        file_set.apply(tree(analyze), check)
    assert not (analyze / "units").exists()
    asked = (analyze / "asked").read_text()
    assert "verify --man=no" in asked and asked.rstrip().endswith("a@1.service")


def test_a_unit_that_would_not_start_is_bad_without_a_line(analyze: Path) -> None:
    (analyze / "said").write_text("Unit a@i.service has a bad unit file setting.\n")
    with pytest.raises(file_set.Unwritable, match="bad unit file setting"):
        file_set.apply(tree(analyze), check=False)


@pytest.mark.parametrize(
    "said",
    [
        "/lib/systemd/system/other.service:5: Unknown key 'Foo' in section [Unit], ignoring.",
        "a@1.service: Command /bin/a is not executable: No such file or directory",
        "Unit a@1.service not found.",
        "Unit other.service has a bad unit file setting.",
    ],
)
def test_what_is_not_of_these_files_stops_nothing(analyze: Path, said: str) -> None:
    (analyze / "said").write_text(f"{said}\n")
    file_set.apply(tree(analyze), check=False)
    assert (analyze / "units/a@1.service.d/b.conf").exists()
    (analyze / "asked").unlink()
    file_set.apply(tree(analyze), check=False)
    assert not (analyze / "asked").exists(), "unchanged units are not verified again"


def test_a_host_without_the_verifier_is_written(tmp_path: Path) -> None:
    file_set.apply(tree(tmp_path), check=False)
    assert (tmp_path / "units/a@.service").exists()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_the_real_verifier_finds_a_bad_drop_in_and_no_fault_in_a_good_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VERIFIER, "systemd-analyze")
    wanted = tree(tmp_path)
    with pytest.raises(file_set.Unwritable, match=r"b\.conf:2: Unknown key.*MemoryMaks"):
        file_set.apply(wanted, check=True)
    wanted["files"][1]["content"] = "[Service]\nMemoryMax=1G\n"
    assert len(file_set.apply(wanted, check=True).changed_paths) == 4


def test_a_program_that_refuses_a_text_stops_before_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "rules.nft"
    program = tmp_path / "nft"
    program.write_text('#!/bin/sh\ngrep -q table "$3" || { echo "$3: syntax error" >&2; exit 1; }\n')
    program.chmod(0o755)
    item = {"path": str(path), "content": "tabel\n", "validate": [str(program), "-c", "-f"]}
    with pytest.raises(file_set.Unwritable, match=r"rules\.nft: syntax error\. Nothing was written"):
        file_set.apply(options(files=[item]), check=False)
    assert not path.exists()
    file_set.apply(options(files=[{**item, "content": "table\n"}]), check=False)
    gone = {**item, "content": "table x\n", "validate": ["/no/such/program"]}
    assert file_set.apply(options(files=[gone]), check=True).changed_paths == [str(path)]
    with pytest.raises(file_set.Unwritable, match="is not installed"):
        file_set.apply(options(files=[gone]), check=False)
