"""Scratch devices, nfsd and mountstats: what is refused, what is done, what proves it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import nfs_server as nfs
import pytest
import scratch_devices as scratch
from ansible.module_utils.sealyard_host.mounts import visible
from sealyard import stacks
from sealyard.hosts.shares import (
    host_plan_group_trees,
    host_plan_served_paths,
    mount_unit,
    nfs_disk_files,
    nfs_mount_files,
    nfs_mount_units,
)

from tests.unit.rendered import text_of

ROOT = Path(__file__).parents[2]


def load(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[Path(path).stem] = module
    spec.loader.exec_module(module)
    return module


transport = load("roles/nfs_rdma_client/files/nfs_transport.py")
alarm = load("roles/scratch_storage/files/scratch_alarm.py")

# ---------------------------------------------------------------------------------------------------------------------
# Devices


def disk(name: str, **more: Any) -> dict[str, Any]:
    """An entry of lsblk --json --tree."""
    return {
        "name": name,
        "path": f"/dev/{name}",
        "type": "disk",
        "size": 2 << 40,
        "mountpoints": [None],
        "serial": f"S-{name}",
        "model": "NVMe",
        "ro": False,
        **more,
    }


TREE = {
    "blockdevices": [
        disk(
            "sda",
            children=[
                disk("sda1", type="part", mountpoints=["/"]),
                disk("sda2", type="part", mountpoints=[None]),
            ],
        ),
        disk("nvme0n1"),
        disk("nvme1n1", children=[disk("md127", type="raid0", mountpoints=["/data"])]),
        disk("nvme2n1", ro=True),
    ]
}


def device(path: str, *signatures: tuple[str, str, str]) -> Any:
    found = {"signatures": [{"type": kind, "label": label, "uuid": uuid} for kind, label, uuid in signatures]}
    return scratch.read_device(path, TREE, found)


def test_a_blank_disk_has_nothing_against_it() -> None:
    assert scratch.troubles(device("/dev/nvme0n1"), False) == []
    assert scratch.read_device("/dev/nvme9n1", TREE, {}) is None


@pytest.mark.parametrize(
    ("found", "holds_data", "text"),
    [
        (device("/dev/sda"), False, "carries the system"),
        (device("/dev/sda"), False, "holds /dev/sda1, /dev/sda2"),
        (device("/dev/sda2"), False, "is a part and not a whole disk"),
        (device("/dev/sda2"), False, "carries the system"),
        (device("/dev/nvme1n1"), False, "is mounted at /data"),
        (device("/dev/nvme1n1"), False, "holds /dev/md127"),
        (device("/dev/nvme2n1"), False, "is read-only"),
        (device("/dev/nvme0n1", ("ext4", "old", "u")), False, "carries ext4 (old)"),
        (device("/dev/nvme0n1", ("gpt", "", "")), False, "carries gpt"),
        (device("/dev/nvme0n1", ("LVM2_member", "", "u")), False, "carries LVM2_member"),
        (device("/dev/nvme0n1"), True, "holds data without a signature"),
    ],
)
def test_what_holds_anything_is_refused(found: Any, holds_data: bool, text: str) -> None:
    assert text in scratch.troubles(found, holds_data)


def test_the_refusal_names_every_device_and_the_remedy() -> None:
    with pytest.raises(scratch.Refused) as refused:
        scratch.refuse("pc1-a", {"/dev/sda": ["carries the system"], "/dev/sdb": [], "/dev/sdc": ["carries ext4"]})
    text = str(refused.value)
    assert "pc1-a: /dev/sda carries the system" in text and "pc1-a: /dev/sdc carries ext4" in text
    assert "wipefs -a /dev/sdc," in text and "/dev/sdb" not in text


def test_an_array_is_known_by_its_members() -> None:
    ours = [("linux_raid_member", "any:sealer", "aaaa")]
    both = [device("/dev/nvme0n1", *ours), device("/dev/nvme1n1", *ours)]
    assert scratch.is_ours("sealer", both)
    assert not scratch.is_ours("other", both)
    assert not scratch.is_ours("sealer", [both[0], device("/dev/nvme1n1")])
    assert not scratch.is_ours("sealer", [both[0], device("/dev/nvme1n1", ("linux_raid_member", "any:sealer", "b"))])
    assert not scratch.is_ours("sealer", [both[0], device("/dev/nvme1n1", *ours, ("ext4", "", "c"))])


def test_one_device_is_known_by_its_file_system() -> None:
    assert scratch.is_ours("sealer", [device("/dev/nvme0n1", ("xfs", "sealer", "u"))])
    assert not scratch.is_ours("sealer", [device("/dev/nvme0n1", ("xfs", "data", "u"))])


def test_nothing_is_written_over_that_was_not_named() -> None:
    devices = [device("/dev/nvme0n1"), device("/dev/nvme1n1")]
    asked = ["/dev/disk/by-id/a", "/dev/disk/by-id/b"]
    for given in ([], ["pc1-a:/dev/disk/by-id/a"], ["pc1-b:/dev/disk/by-id/a", "pc1-b:/dev/disk/by-id/b"]):
        with pytest.raises(scratch.Refused) as refused:
            scratch.consent("pc1-a", devices, given, asked, "a RAID 0")
        assert '-e \'{"scratch_storage_erase": ["pc1-a:/dev/disk/by-id/a"' in str(refused.value)
        assert "2199 GB, NVMe S-nvme0n1" in str(refused.value)
    scratch.consent("pc1-a", devices, [f"pc1-a:{path}" for path in asked], asked, "a RAID 0")


def test_data_without_a_signature_is_found(tmp_path: Path) -> None:
    file = tmp_path / "disk"
    file.write_bytes(b"")
    with file.open("r+b") as out:
        out.truncate(1 << 28)
    assert scratch.holds_data(str(file), 1 << 28) is False
    for place in (0, 4096, (1 << 28) - 1, 37 * (1 << 20) + 5):
        with file.open("r+b") as out:
            out.seek(place)
            out.write(b"x")
        assert scratch.holds_data(str(file), 1 << 28) is True
        with file.open("r+b") as out:
            out.seek(place)
            out.write(b"\0")


def test_uuids_are_written_as_mdadm_does() -> None:
    assert scratch.mdadm_uuid("0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9") == "0a1b2c3d:4e5f6071:8293a4b5:c6d7e8f9"


def array(folder: Path, state: str, disks: int) -> Path:
    """A directory as /sys/block/md127 is."""
    (folder / "md").mkdir(parents=True)
    (folder / "md/array_state").write_text(f"{state}\n")
    for number in range(disks):
        (folder / f"md/rd{number}/block").mkdir(parents=True)
    return folder


def test_the_alarm_tells_a_broken_array(tmp_path: Path) -> None:
    assert alarm.array_trouble("sealer", 2, array(tmp_path / "good", "clean", 2)) == []
    broken = alarm.array_trouble("sealer", 2, array(tmp_path / "bad", "broken", 1))
    assert "is broken" in broken[0] and "1 of 2 disks" in broken[1]
    assert "does not run" in alarm.array_trouble("sealer", 2, tmp_path / "none")[0]
    degraded = array(tmp_path / "degraded", "active", 2)
    (degraded / "md/degraded").write_text("1\n")
    assert "lacks 1 disks" in alarm.array_trouble("sealer", 2, degraded)[0]


def test_the_alarm_tells_a_scratch_that_is_not_mounted() -> None:
    assert alarm.mounted("/sealer", "/dev/md127 /sealer xfs rw 0 0\n")
    assert not alarm.mounted("/sealer", "/dev/md127 /sealer2 xfs rw 0 0\n")
    assert "is not mounted" in alarm.path_trouble("/no/such/mount")[0]


# ---------------------------------------------------------------------------------------------------------------------
# Server

MOUNTINFO = """\
22 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw
23 22 8:1 / /boot rw,relatime shared:2 - ext4 /dev/sda1 rw
24 22 9:127 / /sealer rw,noatime shared:3 - xfs /dev/md127 rw
25 22 8:3 / /data rw,relatime shared:4 - ext4 /dev/sda3 rw
26 22 0:44 / /mnt/other rw,relatime shared:5 - nfs4 10.0.0.1:/x rw
"""


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    """Disk sda with three partitions, and an array of two NVMe drives."""
    block, dev = tmp_path / "devices/block", tmp_path / "dev/block"
    dev.mkdir(parents=True)
    for number, name in enumerate(("sda1", "sda2", "sda3"), start=1):
        (block / "sda" / name).mkdir(parents=True)
        (block / "sda" / name / "partition").write_text(f"{number}\n")
        (dev / f"8:{number}").symlink_to(block / "sda" / name)
    for number, name in enumerate(("nvme0n1", "nvme1n1")):
        (block / name).mkdir()
        (block / name / "dev").write_text(f"259:{number}\n")
        (dev / f"259:{number}").symlink_to(block / name)
    (block / "md127/slaves").mkdir(parents=True)
    for name in ("nvme0n1", "nvme1n1"):
        (block / "md127/slaves" / name).symlink_to(block / name)
    (dev / "9:127").symlink_to(block / "md127")
    return tmp_path


def export(path: str, *networks: str, sync: bool = True) -> dict[str, Any]:
    return {"path": path, "networks": list(networks or ("10.40.0.0/24",)), "sync": sync}


def test_disks_are_found_below_arrays_and_partitions(sysfs: Path) -> None:
    assert nfs.disks_under("9:127", sysfs) == {"nvme0n1", "nvme1n1"}
    assert nfs.disks_under("8:3", sysfs) == {"sda"}
    assert nfs.disks_under("0:44", sysfs) == set()


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/srv/scratch", "is not mounted"),
        ("/data", "lies on the system disk sda"),
        ("/boot", "lies on the system disk sda"),
        ("/mnt/other", "is itself mounted from 10.0.0.1:/x"),
    ],
)
def test_only_data_disks_are_exported(sysfs: Path, path: str, text: str) -> None:
    mounts = visible(MOUNTINFO)
    assert nfs.judge([export("/sealer")], mounts, sysfs) == []
    [found] = nfs.judge([export("/sealer"), export(path)], mounts, sysfs)
    assert found.startswith(path) and text in found


def test_exports_name_networks_and_refuse_an_unmounted_disk() -> None:
    text = nfs.render(
        [export("/sealer/nfs/10.0.0.5", sync=False), export("/sealer", "10.41.0.0/24", "10.40.0.0/24")],
        visible(MOUNTINFO),
        "root_squash",
    )
    assert text.splitlines()[1:] == [
        "/sealer 10.40.0.0/24(rw,sync,no_subtree_check,root_squash,mp) "
        "10.41.0.0/24(rw,sync,no_subtree_check,root_squash,mp)",
        "/sealer/nfs/10.0.0.5 10.40.0.0/24(rw,async,no_subtree_check,root_squash,mp=/sealer)",
    ]


def test_etab_is_read_back() -> None:
    etab = "/sealer\t10.40.0.0/24(rw,sync,wdelay,hide)\n/data\t10.40.0.0/24(rw,async,wdelay)\n"
    assert nfs.exported(etab) == {("/sealer", "10.40.0.0/24", True), ("/data", "10.40.0.0/24", False)}
    assert nfs.wanted_exports([export("/sealer")]) <= nfs.exported(etab)
    assert not nfs.wanted_exports([export("/data")]) <= nfs.exported(etab)


TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0801 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 17163
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 17164
   2: 0100007F:0801 0100007F:03E8 01 00000000:00000000 00:00000000 00000000     0        0 17165
"""
WANTED: Mapping[str, Any] = {
    "host": "store",
    "rdma_port": 20049,
    "threads": 8,
    "lease_sec": 45,
    "tcp_address": "127.0.0.1",
    "versions": ["4.1", "4.2"],
    "allow_restart": False,
}
GOOD = nfs.Running(8, ("rdma 20049", "tcp 2049"), ("4", "4.1", "4.2"), 45, 45, ("127.0.0.1",), 2)


def test_the_address_of_nfs_over_tcp_is_read() -> None:
    assert nfs.tcp_listeners(TCP, six=False) == ["127.0.0.1"]
    six = TCP.replace("0100007F:0801 00000000", f"{'0' * 32}:0801 00000000")
    assert nfs.tcp_listeners(six, six=True) == ["::"]


def reconciled(monkeypatch: pytest.MonkeyPatch, running: Any, **wanted: Any) -> tuple[list[str], list[str]]:
    """Steps, and what was run or written for them."""
    done: list[str] = []
    monkeypatch.setattr(nfs, "read_running", lambda: running)
    monkeypatch.setattr(nfs, "run", lambda *command: done.append(" ".join(command)))
    monkeypatch.setattr(nfs, "_write", lambda path, text: done.append(f"{path.name} < {text.strip()}"))
    return nfs.reconcile({**WANTED, **wanted}, check=False), done


def test_a_good_server_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reconciled(monkeypatch, GOOD) == ([], [])


def test_the_silent_fall_to_tcp_is_repaired_while_clients_work(monkeypatch: pytest.MonkeyPatch) -> None:
    running = nfs.Running(16, ("tcp 2049",), ("4", "4.1", "4.2"), 45, 45, ("127.0.0.1",), 2)
    _, done = reconciled(monkeypatch, running)
    assert done == ["modprobe rpcrdma", "portlist < rdma 20049", "threads < 8"]


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("versions", ("3", "4", "4.0", "4.1", "4.2"), "serves NFS 3"),
        ("lease_sec", 90, "lease is 90"),
        ("tcp_addresses", ("0.0.0.0",), "could fall back"),
    ],
)
def test_a_server_with_clients_is_not_restarted_unasked(
    monkeypatch: pytest.MonkeyPatch, field: str, value: Any, reason: str
) -> None:
    names = ("threads", "ports", "versions", "lease_sec", "grace_sec", "tcp_addresses", "clients")
    running = nfs.Running(**{name: getattr(GOOD, name) for name in names} | {field: value})
    with pytest.raises(nfs.Refused, match="nfs_rdma_server_allow_restart=true") as refused:
        reconciled(monkeypatch, running)
    assert reason in str(refused.value)
    restart = ["systemctl restart nfs-server.service"]
    assert reconciled(monkeypatch, running, allow_restart=True)[1] == restart
    alone = nfs.Running(**{name: getattr(running, name) for name in names} | {"clients": 0})
    assert reconciled(monkeypatch, alone)[1] == restart


def test_a_stopped_server_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = nfs.Running(0, (), (), 0, 0, (), 0)
    assert reconciled(monkeypatch, stopped)[1] == ["systemctl start nfs-server.service"]


# ---------------------------------------------------------------------------------------------------------------------
# Client

MOUNTSTATS = """\
device /dev/md127 mounted on /sealer2 with fstype xfs
device 10.40.0.9:/sealer mounted on /sealer with fstype nfs4 statvers=1.1
\topts:\trw,vers=4.2,rsize=1048576,proto=rdma,port=20049
\tage:\t20
\txprt:\trdma 0 0 1 0 0 100 100 0 100 0 0 0 0 0 0 0 0 0 0 0
device 10.40.0.9:/data mounted on /data with fstype nfs4 statvers=1.1
\topts:\trw,vers=4.2,proto=rdma,port=20049
\txprt:\ttcp 0 0 1 0 0 100 100 0 100 0 0 0 0 0
device 10.40.0.9:/idle mounted on /idle with fstype nfs4 statvers=1.1
\topts:\trw
"""


def judged(*arguments: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> int:
    (tmp_path / "mountstats").write_text(MOUNTSTATS)
    monkeypatch.setattr(transport, "MOUNTSTATS", tmp_path / "mountstats")
    status: int = transport.main(arguments)
    return status


def test_options_prove_nothing_and_xprt_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert judged("/sealer=rdma", monkeypatch=monkeypatch, tmp_path=tmp_path) == 0
    assert capsys.readouterr().err == ""
    assert judged("/sealer=rdma", "/data=rdma", monkeypatch=monkeypatch, tmp_path=tmp_path) == 1
    assert "/data is carried by tcp and not by rdma" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "text"), [("/idle", "no connection"), ("/gone", "no NFS mount"), ("/sealer2", "no NFS")]
)
def test_a_mount_that_is_none_is_no_proof(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], path: str, text: str
) -> None:
    assert judged(f"{path}=rdma", monkeypatch=monkeypatch, tmp_path=tmp_path) == 1
    assert text in capsys.readouterr().err


def test_tcp_that_was_asked_for_is_let_through_loudly(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert judged("/data=tcp", monkeypatch=monkeypatch, tmp_path=tmp_path) == 0
    assert "WARNING: /data goes over tcp" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/sealer", "sealer.mount"),
        ("/mnt/store/", "mnt-store.mount"),
        ("/mnt/store-1", "mnt-store\\x2d1.mount"),
        ("/sealer/nfs/10.0.0.5", "sealer-nfs-10.0.0.5.mount"),
        ("/.a/.b", "\\x2ea-.b.mount"),
        ("/", "-.mount"),
    ],
)
def test_units_have_the_name_that_systemd_wants(path: str, name: str) -> None:
    """Compared with systemd-escape --path."""
    assert mount_unit(path) == name


MOUNT = {
    "server": "store-1",
    "address": "10.40.0.9",
    "source": "/sealer",
    "path": "/sealer",
    "transport": "rdma",
    "read_only": False,
    "scratch": True,
}


def test_a_mount_is_hard_and_rdma() -> None:
    [file] = nfs_mount_files([MOUNT], "4.2", 20049, "nfs.mount.j2")
    text = text_of("nfs_rdma_client", file)
    options = next(line for line in text.splitlines() if line.startswith("Options=")).split("=", 1)[1]
    assert {"hard", "proto=rdma", "port=20049", "vers=4.2", "nofail", "_netdev"} <= set(options.split(","))
    assert not {"soft", "softerr"} & set(options.split(","))
    assert file["path"] == nfs_mount_units([MOUNT])[0]["files"][0] == "/etc/systemd/system/sealer.mount"
    [tcp] = nfs_mount_files([{**MOUNT, "transport": "tcp", "address": "fd00::9"}], "4.2", 20049, "nfs.mount.j2")
    text = text_of("nfs_rdma_client", tcp)
    assert "proto=tcp" in text and "rdma," not in text
    assert "What=[fd00::9]:/sealer" in text


def test_nfsd_waits_for_the_disks_of_its_exports() -> None:
    """For one that holds an export from further up too, and for none that it serves nothing from."""
    templates = {"late": "nfs-exports-again.service.j2", "server": "nfs-server-drop-in.conf.j2"}
    wanted = nfs_disk_files({"exports": [{"path": "/data/a-b/nfs"}]}, {**templates, "mount": "mount-drop-in.conf.j2"})
    files = {file["path"]: text_of("nfs_rdma_server", file) for file in wanted}
    after = "After=data.mount data-a\\x2db.mount data-a\\x2db-nfs.mount"
    assert after in files["/etc/systemd/system/nfs-server.service.d/90-sealyard.conf"].splitlines()
    late = "/etc/systemd/system/nfs-exports-again.service"
    for unit in ("data", "data-a\\x2db", "data-a\\x2db-nfs"):
        content = files.pop(f"/etc/systemd/system/{unit}.mount.d/90-sealyard-nfs.conf")
        assert f"Wants={Path(late).name}" in content.splitlines()
        assert f"{unit}.mount" in files[late]
    assert len(files) == 2


def test_a_server_writes_what_lies_on_its_exports() -> None:
    plan = {"exports": [{"path": "/sealer"}], "paths": [{"path": "/sealer"}, {"path": "/mnt/store"}]}
    assert host_plan_served_paths(plan) == [{"path": "/sealer"}]
    assert host_plan_group_trees(plan, "/sealer", stacks.get("lotus")) == []
    tree = host_plan_group_trees(
        {"exports": [{"path": "/sealer/nfs/10.0.0.5"}]}, "/sealer", stacks.get("force_remote_worker")
    )
    assert tree[0] == {"path": "/sealer", "mounted": True}
    below = ["", "/cache", "/sealed"]
    assert [entry["path"] for entry in tree[1:]] == [f"/sealer/nfs/10.0.0.5{name}" for name in below]
