"""The lab's own logic: package sources, addresses, the record of who sealed what, and the table made of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lab import binaries, image, report, sealing, settings, suite, vm, vm_image
from lab.__main__ import _own_options
from lab.shell import LabError

DEB822 = """\
Types: deb
# URIs: http://snapshot.invalid/old
URIs: http://mirror.invalid/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Enabled: no
Types: deb
URIs: http://off.invalid/debian
Suites: bookworm
Components: main
"""


def test_only_this_release_s_sources_are_inherited(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text("# nothing\ndeb http://old.invalid/debian bookworm-security main\n")
    (tmp_path / "sources.list.d/debian.sources").write_text(DEB822)
    (tmp_path / "sources.list.d/vendor.list").write_text("deb https://vendor.invalid/apt nodistro main\n")
    key = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
    assert image.apt_sources(tmp_path, "bookworm") == [
        "deb http://old.invalid/debian bookworm-security main",
        f"deb {key} http://mirror.invalid/debian bookworm main contrib",
        f"deb {key} http://mirror.invalid/debian bookworm-updates main contrib",
    ]


def test_labs_beside_each_other_share_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "LAB_DIR", tmp_path)
    seen: set[str] = set()
    for name in settings.SUBNETS:
        lab = settings.load(name)
        assert len(lab.hosts) == 10
        assert not seen & set(lab.hosts.values())
        seen |= set(lab.hosts.values())
        addresses = (lab.inventory / "hosts.yml").read_text()
        assert all(f"ansible_host: {address} " in addresses for address in lab.hosts.values())


def test_an_unknown_lab_is_named() -> None:
    with pytest.raises(LabError, match="'labb'"):
        settings.load("labb")


def test_groups_come_from_the_inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "LAB_DIR", tmp_path)
    assert settings.load().groups == {"pc1-a": "a", "pc2-a": "a", "pc1-b": "b", "pc2-b": "b"}


def test_up_keeps_its_own_options_from_ansible() -> None:
    options, further = _own_options(["-e", "x=1", "--lotus", "/l", "--limit", "pc1-a", "--params=/p", "--check"])
    assert options == {"--stack": None, "--lotus": "/l", "--params": "/p"}
    assert further == ["-e", "x=1", "--limit", "pc1-a", "--check"]
    with pytest.raises(LabError, match="--lotus needs a value"):
        _own_options(["--lotus"])


def test_programs_without_parameters_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="go together"):
        binaries.provide(_lab(tmp_path), "/l", None, False)


def test_a_running_lab_keeps_its_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "LAB_DIR", tmp_path)
    lab = _lab(tmp_path)
    lab.folder.mkdir(parents=True)
    (lab.folder / "binaries.json").write_text(json.dumps(binaries.STANDINS))
    with pytest.raises(LabError, match="bin/lab down"):
        binaries.provide(lab, "/l", "/p", True)
    assert not binaries.real(lab)


def _lab(folder: Path) -> settings.Lab:
    hosts = {"seal": "10.0.0.14", "pc1-a": "10.0.0.21", "pc2-a": "10.0.0.31", "pc2-b": "10.0.0.32", "c2-a": "10.0.0.41"}
    return settings.Lab("molecule", hosts, {"pc1-a": "a", "pc2-a": "a", "pc2-b": "b"}, frozenset({"pc1-a"}), folder)


def _entry(url: str, seconds: float) -> dict[str, str]:
    fields = json.dumps({"url": url, "out": "/sealer/sealed/x", "took": 0.01, "bytes": 2048, "MiB/s": 0.2})
    line = f"2026-11-20T10:00:00.000Z\tINFO\tstores\tpaths/remote.go:255\tFetch done\t{fields}"
    return {"MESSAGE": line, "__REALTIME_TIMESTAMP": str(int(seconds * 1e6))}


def test_a_fetch_line_names_sector_and_hosts(tmp_path: Path) -> None:
    lab = _lab(tmp_path)
    addresses = {address: host for host, address in lab.hosts.items()}
    fetch = sealing.parse_fetch(_entry("http://10.0.0.21:3456/remote/sealed/s-t01000-7", 12.5), "pc2-a", addresses)
    assert fetch == sealing.Fetch(sector=7, kind="sealed", source="pc1-a", target="pc2-a", size_bytes=2048, time=12.5)
    assert sealing.parse_fetch({"MESSAGE": "Fetch http://x/remote/sealed/s-t01000-7 -> y"}, "pc2-a", addresses) is None


def _sealed() -> sealing.Record:
    record, open_tasks = sealing.Record(), dict[str, sealing.Task]()
    events = [
        {"event": "sectors", "time": 1.0, "states": {"7": "Packing"}},
        {"event": "start", "time": 2.0, "id": "x", "sector": 7, "task": "seal/v0/precommit/1", "worker": "pc1-a/pc1-0"},
        {"event": "end", "time": 5.0, "id": "x"},
        {"event": "start", "time": 6.0, "id": "y", "sector": 7, "task": "seal/v0/precommit/2", "worker": "pc2-a/pc2-0"},
        {"event": "end", "time": 8.0, "id": "y"},
        {"event": "sectors", "time": 9.0, "states": {"7": "Proving"}},
    ]
    said = [line for event in events for line in sealing.apply(record, open_tasks, event)]
    assert said == [
        "sector 7: Packing",
        "sector 7: PC1 on pc1-a/pc1-0",
        "sector 7: PC2 on pc2-a/pc2-0",
        "sector 7: Proving",
    ]
    assert not open_tasks
    return record


def test_events_become_a_record_and_a_table(tmp_path: Path) -> None:
    record = _sealed()
    assert record.proving() == [7]
    inside = sealing.Fetch(sector=7, kind="sealed", source="pc1-a", target="pc2-a", size_bytes=2048, time=6.1)
    sealing.enter_fetches(record, [inside], _lab(tmp_path), lambda worker: worker.split("/")[0])
    assert not record.crossed
    lines = report.table(record).splitlines()
    assert lines[2].split() == ["7", "PC1", "pc1-a/pc1-0", "3.0", "0"]
    assert lines[3].split() == ["7", "PC2", "pc2-a/pc2-0", "2.0", "2048"]


def test_a_task_too_short_to_be_seen_is_known_from_the_schedulers_log() -> None:
    record = _sealed()
    record.workers = {"u1": "pc1-a/pc1-0", "u2": "pc2-a/pc2-0"}

    def given(worker: str, task: str, seconds: float) -> sealing.Assignment:
        fields = json.dumps({"assigner": "util", "sector": 7, "task": task, "window": 0, "worker": worker})
        line = f"2026-11-20T10:00:00.000Z\tDEBUG\tadvmgr\tsealer/sched.go:76\tSCHED ASSIGNED\t{fields}"
        found = sealing.parse_assignment({"MESSAGE": line, "__REALTIME_TIMESTAMP": str(int(seconds * 1e6))})
        assert found
        return found

    log = [
        given("u1", "seal/v0/addpiece", 1.5),
        given("u1", "seal/v0/precommit/1", 2.0),
        given("u2", "seal/v0/precommit/2", 6.0),
        given("u2", "seal/v0/commit/1", 8.5),
    ]
    for _ in range(2):
        sealing.enter_assignments(record, log)
        rows = [line.split()[1:5] for line in report.table(record).splitlines()[2:]]
        assert rows == [
            ["AP", "pc1-a/pc1-0", "under", "1"],
            ["PC1", "pc1-a/pc1-0", "3.0", "0"],
            ["PC2", "pc2-a/pc2-0", "2.0", "0"],
            ["C1", "pc2-a/pc2-0", "under", "1"],
        ]


def test_bytes_between_groups_are_reported(tmp_path: Path) -> None:
    record = _sealed()
    across = sealing.Fetch(sector=7, kind="sealed", source="pc1-a", target="pc2-b", size_bytes=2048, time=6.1)
    sealing.enter_fetches(record, [across], _lab(tmp_path), lambda worker: worker.split("/")[0])
    assert record.crossed == ["sector 7: 2048 sealed bytes from pc1-a (group a) to pc2-b (group b)"]


def test_unsealed_bytes_between_groups_are_told_apart(tmp_path: Path) -> None:
    record = _sealed()
    across = sealing.Fetch(sector=7, kind="unsealed", source="pc1-a", target="pc2-b", size_bytes=2048, time=2.1)
    sealing.enter_fetches(record, [across], _lab(tmp_path), lambda worker: worker.split("/")[0])
    assert not record.crossed
    assert len(record.strayed) == 1


def test_a_finalized_sector_on_its_way_to_the_store_is_told_apart(tmp_path: Path) -> None:
    record = _sealed()
    across = sealing.Fetch(sector=7, kind="sealed", source="pc2-a", target="pc2-b", size_bytes=2048, time=8.1)
    sealing.enter_fetches(record, [across], _lab(tmp_path), lambda worker: worker.split("/")[0])
    assert not record.crossed
    assert len(record.strayed) == 1


def test_the_record_survives_a_second_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "LAB_DIR", tmp_path)
    lab, record = _lab(tmp_path), _sealed()
    lab.folder.mkdir()
    sealing.save(lab, record)
    assert sealing.load(lab) == record


def test_removed_sectors_are_not_counted() -> None:
    assert sealing.Record(states={1: "Proving", 2: "Removed", 3: "PreCommit1"}).alive() == [1, 3]


def test_a_run_of_pytest_without_a_report_is_a_failure(tmp_path: Path) -> None:
    assert str(suite._count(tmp_path / "none.xml", 4)) == "0 passed, 1 failed, 0 skipped"
    report_file = tmp_path / "report.xml"
    report_file.write_text(
        '<testsuites><testsuite tests="5" failures="1" errors="1" skipped="1">'
        '<testcase classname="tests.a" name="b[c]"><failure message="assert 1 == 2&#10;more">where</failure></testcase>'
        '<testcase classname="tests.a" name="d"><error message="no port">where</error></testcase>'
        '<testcase classname="tests.a" name="e"/></testsuite></testsuites>'
    )
    found = suite._count(report_file, 1)
    assert str(found) == "2 passed, 2 failed, 1 skipped"
    assert found.blamed == ["tests.a::b[c]: assert 1 == 2", "tests.a::d: no port"]


def test_a_machine_with_two_nodes_gives_each_its_half() -> None:
    options = " ".join(vm._cpus(vm.machine("pc1-1")))
    assert "-smp 8,sockets=2,cores=4" in options
    assert "node,nodeid=0,cpus=0-3,memdev=memory0" in options
    assert "node,nodeid=1,cpus=4-7,memdev=memory1" in options


def test_an_unknown_machine_is_told_with_those_there_are() -> None:
    with pytest.raises(LabError, match="storage-1, pc1-1, pc2-1"):
        vm.machine("pc1-2")


def test_every_machine_has_hardware_addresses_of_its_own() -> None:
    addresses = {vm_image.mac(net, one.number) for net in (0, 1) for one in vm.MACHINES}
    assert len(addresses) == 2 * len(vm.MACHINES)


def test_the_machines_inventory_is_there_before_the_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vm, "FOLDER", tmp_path / "rdma")
    ssh = (vm.write_inventory() / "ssh.yml").read_text()
    assert all(one.name in ssh for one in vm.MACHINES)
    (tmp_path / "rdma/ports.json").write_text(json.dumps({"pc1-1": 40022}))
    vm.write_inventory()
    assert "ansible_port: 40022" in (tmp_path / "rdma/inventory/ssh.yml").read_text()


def test_a_dead_machine_s_number_is_not_taken_for_another_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else `down` would kill whoever got the number since."""
    monkeypatch.setattr(vm, "FOLDER", tmp_path)
    one = vm.machine("pc1-1")
    one.folder.mkdir()
    (one.folder / "pid").write_text(f"{os.getpid()}\n")
    assert vm._pid(one) is None


def test_kvm_that_cannot_be_opened_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert not vm._kvm_boots(vm_image.Image(Path("disk"), Path("kernel"), Path("initrd")))
