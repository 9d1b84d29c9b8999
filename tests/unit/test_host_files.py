"""sealyard_host.files and sector_numbers: what is written is whole and on the disk, or is not there at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from sealyard_host import files, sector_numbers


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What fsync was asked for, in order."""
    paths: list[Path] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        paths.append(Path(f"/proc/self/fd/{handle}").readlink())
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    return paths


def test_text_and_name_reach_the_disk(tmp_path: Path, synced: list[Path]) -> None:
    path = tmp_path / "number"
    files.replace(path, "5\n", 0o640)
    assert path.read_text() == "5\n" and stat.S_IMODE(path.stat().st_mode) == 0o640
    text, name = synced
    assert text.parent == tmp_path and text.name.startswith(".number.")
    assert name == tmp_path


def test_the_text_is_on_the_disk_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "number"
    path.write_text("4\n")

    def power_cut(handle: int) -> None:
        assert path.read_text() == "4\n"
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", power_cut)
    with pytest.raises(OSError, match="Input/output error"):
        files.replace(path, "5\n", 0o644)
    assert path.read_text() == "4\n" and list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_synced_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "fsync", fsync)
    files.replace(tmp_path / "number", "5\n", 0o644)
    assert (tmp_path / "number").read_text() == "5\n"


def test_owner_is_set_before_others_can_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int, int]] = []

    def fchown(handle: int, user: int, group: int) -> None:
        seen.append((user, group, stat.S_IMODE(os.fstat(handle).st_mode)))

    monkeypatch.setattr(os, "fchown", fchown)
    files.replace(tmp_path / "secret", "x", 0o640, (12, 34))
    assert seen == [(12, 34, 0o600)]


def test_a_link_points_somewhere_at_every_moment(tmp_path: Path, synced: list[Path]) -> None:
    link = tmp_path / "current"
    files.point(link, "versions/1")
    files.point(link, "versions/2")
    assert str(link.readlink()) == "versions/2" and list(tmp_path.iterdir()) == [link]
    assert synced == [tmp_path, tmp_path]


def test_text_of_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert files.text_of(tmp_path / "none") == "" == files.text_of(tmp_path)
    (tmp_path / "some").write_bytes(b" a\xff \n")
    assert files.text_of(tmp_path / "some") == "a�"


def test_a_number_is_read_back_as_it_was_written(tmp_path: Path, synced: list[Path]) -> None:
    path = tmp_path / "sectorid"
    assert sector_numbers.read(path) is None
    sector_numbers.write(path, 41)
    assert path.read_text() == "41\n" and sector_numbers.read(path) == 41
    assert stat.S_IMODE(path.stat().st_mode) == 0o644 and path.stat().st_uid == tmp_path.stat().st_uid
    assert synced[-1] == tmp_path
