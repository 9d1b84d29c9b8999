"""Shares that have left the plan: retired when nobody uses them, told when somebody does, their files never touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nfs_leftovers as module
import nfs_server
import pytest
from sealyard.hosts.shares import nfs_mount_files, nfs_users

from tests.unit.rendered import text_of

MOUNT = {
    "server": "store-1", "address": "10.40.0.9", "source": "/sealer", "path": "/sealer", "transport": "rdma",
    "read_only": False, "scratch": True,
}  # fmt: skip
MOUNTINFO = "30 1 0:40 / /sealer rw shared:9 - nfs4 10.40.0.9:/sealer rw\n31 1 8:1 / / rw - ext4 /dev/sda1 rw\n"


class Host:
    """A host's systemd, as far as the module asks it."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.commands: list[str] = []
        self.users: list[str] = []
        self.mounted = True
        for file in nfs_mount_files([MOUNT], "4.2", 20049, "nfs.mount.j2"):
            (path / Path(file["path"]).name).write_text(text_of("nfs_rdma_client", file))
        (path / "mnt-other.mount").write_text("[Mount]\nWhere=/mnt/other\n")
        monkeypatch.setattr(module, "UNITS", path)
        monkeypatch.setattr(module, "run", self.run)
        monkeypatch.setattr(module, "units_on", lambda _: self.users)
        monkeypatch.setattr(module, "programs_below", lambda _: [])
        monkeypatch.setattr(module, "nfs_mounts", lambda _: {"/sealer": "10.40.0.9:/sealer"} if self.mounted else {})

    def run(self, *command: str) -> str:
        self.commands.append(" ".join(command))
        if command[:2] == ("systemctl", "stop"):
            self.mounted = False
        return ""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def client(check: bool = False, **options: Any) -> dict[str, Any]:
    return module.retire_mounts({"wanted": [], "allow_in_use": False, **options}, check)


def test_a_mount_that_left_the_plan_is_unmounted_and_no_other(host: Host, tmp_path: Path) -> None:
    assert client(check=True)["retired"] == ["/sealer"] and host.commands == []
    assert client() == {"retired": ["/sealer"], "kept": [], "mounted": []}
    assert host.commands[0] == "systemctl stop sealer.mount"
    assert [path.name for path in tmp_path.iterdir()] == ["mnt-other.mount"]
    assert client()["retired"] == []


def test_a_mount_of_the_plan_stays(host: Host) -> None:
    assert client(wanted=["sealer.mount"]) == {"retired": [], "kept": [], "mounted": ["10.40.0.9:/sealer"]}
    assert host.commands == []


def test_a_mount_in_use_stays_unless_that_was_asked_for(host: Host, tmp_path: Path) -> None:
    host.users = ["lotus-worker@pc1-0.service"]
    kept = client()
    assert kept["kept"] == ["/sealer has left the plan and is in use by lotus-worker@pc1-0.service"]
    assert kept["retired"] == [] and host.commands == [] and (tmp_path / "sealer.mount").exists()
    assert client(allow_in_use=True)["retired"] == ["/sealer"]


def test_a_mount_that_does_not_go_away_keeps_its_unit(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "run", lambda *_: "")
    with pytest.raises(module.Refused, match="/sealer could not be unmounted"):
        client()
    assert (tmp_path / "sealer.mount").exists()


def test_programs_are_found_by_what_they_have_open(tmp_path: Path) -> None:
    process = tmp_path / "42"
    (process / "fd").mkdir(parents=True)
    (process / "comm").write_text("fio\n")
    (process / "cwd").symlink_to("/")
    (process / "fd/3").symlink_to("/sealer2/file")
    assert module.programs_below("/sealer", tmp_path) == []
    (process / "fd/4").symlink_to("/sealer/cache/x")
    assert module.programs_below("/sealer", tmp_path) == ["fio (pid 42)"]


def test_nfs_mounts_are_read_with_their_servers() -> None:
    assert module.nfs_mounts(MOUNTINFO) == {"/sealer": "10.40.0.9:/sealer"}


LINES = "# Written by Sealyard, role nfs_rdma_server.\n/sealer 10.40.0.0/24(rw,mp)\n/old 10.40.0.0/24(rw,mp)\n"


@pytest.fixture
def exports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "sealyard.exports"
    file.write_text(LINES)
    client = tmp_path / "nfsd/clients/1"
    client.mkdir(parents=True)
    (client / "info").write_text('clientid: 0x1\naddress: "10.40.0.5:0"\nstatus: confirmed\n')
    monkeypatch.setattr(module, "EXPORTS", file)
    monkeypatch.setattr(module, "NFSD", tmp_path / "nfsd")
    return file


def record(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commands that are run from now on."""
    ran: list[str] = []

    def run(*command: str) -> str:
        ran.append(" ".join(command))
        return ""

    monkeypatch.setattr(module, "run", run)
    return ran


def server(check: bool = False, **options: Any) -> dict[str, Any]:
    given = {"wanted": ["/sealer"], "mounted_by": {}, "asked": ["10.40.0.5"], "allow_in_use": False, **options}
    return module.retire_exports(given, check)


def test_an_export_that_nobody_has_mounted_is_retired(exports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = record(monkeypatch)
    assert server(check=True) == {"retired": ["/old"], "kept": []} and exports.read_text() == LINES
    assert server() == {"retired": ["/old"], "kept": []}
    assert "/old" not in exports.read_text() and "/sealer" in exports.read_text()
    assert ran == ["exportfs -r"]
    assert server()["retired"] == []


def test_an_export_that_somebody_has_or_may_have_mounted_stays(exports: Path) -> None:
    assert server(mounted_by={"/old": ["pc1-1"]})["kept"] == ["/old has left the plan and is mounted by pc1-1"]
    assert server(asked=[])["kept"] == ["/old has left the plan and is mounted by 10.40.0.5 (not asked)"]
    assert exports.read_text() == LINES


def test_the_last_export_takes_nfsd_along(exports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = record(monkeypatch)
    assert server(wanted=[])["retired"] == ["/old", "/sealer"]
    assert not exports.exists() and ran[-1] == "systemctl disable --quiet --now nfs-server.service"
    assert server(wanted=[]) == {"retired": [], "kept": []}


def test_a_new_list_of_exports_takes_none_away() -> None:
    text = "# Written by Sealyard, role nfs_rdma_server.\n/sealer 10.40.0.0/24(rw,async,mp)\n"
    assert nfs_server.left_over(LINES, text) == ["/old 10.40.0.0/24(rw,mp)"]
    assert nfs_server.left_over('"/a b" x(rw)\n', text) == ['"/a b" x(rw)']


def test_who_has_mounted_what_of_a_server() -> None:
    hostvars: dict[str, dict[str, Any]] = {
        "store-1": {"sealing_rdma_address": "10.40.0.9/24"},
        "pc1-1": {"sealing_rdma_address": "10.40.0.5/24", "nfs_rdma_client_leftovers": {"mounted": ["10.40.0.9:/old"]}},
        "pc2-1": {"sealing_rdma_address": "10.40.0.6/24", "nfs_rdma_client_leftovers": {"mounted": ["10.9.9.9:/old"]}},
        "gone": {"sealing_rdma_address": "10.40.0.7/24"},
    }
    assert nfs_users(list(hostvars), hostvars, "store-1") == {
        "mounted_by": {"/old": ["pc1-1"]},
        "asked": ["10.40.0.5", "10.40.0.6"],
    }
