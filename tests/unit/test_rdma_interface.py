"""The module that gives RDMA cards their address: who owns an interface, what is cut, how it is taken back."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from sealyard_host import rdma_devices
from sealyard_host.interfaces import card, change, owners, verdict
from sealyard_host.interfaces.card import Found
from sealyard_host.interfaces.commands import Refused
from sealyard_host.interfaces.owners import Wanted

WANTED = Wanted("enp65s0np0", "10.40.0.21/24", 9000)
FOUND = Found(
    name="enp65s0np0",
    mac="52:54:00:5e:01:02",
    mtu=9000,
    up=True,
    addresses=("10.40.0.21/24",),
    owner="networkd",
    rdma="rocep65s0",
    driver="mlx5_core",
    firmware="16.35.1012",
    numa_node=1,
    irq_cpus=(4, 5),
)


def found(**other: object) -> Found:
    """A good card with something else about it."""
    return Found(**{**FOUND.__dict__, **other})


class TestOwner:
    """Exactly one of a host's network services configures an interface."""

    def owner(self, **given: object) -> str:
        options: dict[str, Any] = {"netplan": [], "networkmanager": {}, "networkd": True, "ifupdown": []} | given
        return owners.owner("ens4", **options)

    def test_networkd_where_nobody_else_does(self) -> None:
        assert self.owner() == "networkd"
        assert self.owner(networkd=False) == ""

    def test_netplan_writes_networkd_s_files_itself(self) -> None:
        assert self.owner(netplan=["network: {version: 2}"]) == "netplan"

    def test_networkmanager_only_if_it_manages_the_interface(self) -> None:
        assert self.owner(networkmanager={"ens4": "disconnected"}) == "networkmanager"
        assert self.owner(networkmanager={"ens4": "unmanaged"}) == "networkd"
        assert self.owner(networkmanager={"ens3": "connected"}) == "networkd"

    def test_networkmanager_shows_what_networkd_has_configured(self) -> None:
        seen = {"ens4": "connected (externally)"}
        assert self.owner(networkmanager=seen) == "networkd"
        assert self.owner(networkmanager=seen, networkd=False) == "networkmanager"

    @pytest.mark.parametrize("stanza", ["auto ens4\niface ens4 inet dhcp\n", "  allow-hotplug ens4\n"])
    def test_ifupdown_before_all_others(self, stanza: str) -> None:
        assert self.owner(ifupdown=[stanza], netplan=["x"]) == "ifupdown"

    def test_ifupdown_of_another_interface(self) -> None:
        assert self.owner(ifupdown=["iface ens41 inet dhcp\n", "# iface ens4 inet dhcp"]) == "networkd"


def test_each_owner_s_file_holds_address_and_mtu() -> None:
    for owner in owners.OWNERS:
        path, text, mode = owners.network_file(owner, WANTED, FOUND.mac)
        assert "10.40.0.21/24" in text and "9000" in text, owner
        assert "enp65s0np0" in path.name
        assert mode == (0o644 if owner == "networkd" else 0o600)


class TestCompare:
    """A run without a change touches nothing; a change of a link in use says what it cuts."""

    def test_nothing_to_do(self) -> None:
        assert verdict.compare(WANTED, found(uses=("workers",)), file_differs=False).changes == []

    def test_every_difference_is_told(self) -> None:
        report = verdict.compare(WANTED, found(mtu=1500, addresses=("10.0.0.9/24",), up=False), file_differs=True)
        assert len(report.changes) == 4

    def test_a_change_of_owner_is_told(self) -> None:
        report = verdict.compare(WANTED, found(owner="networkmanager"), file_differs=True, former=["networkd"])
        assert report.changes[0] == "enp65s0np0: networkmanager takes it over from networkd"

    def test_a_change_cuts_what_uses_the_link(self) -> None:
        assert verdict.compare(WANTED, found(mtu=1500, uses=("/sealer",)), file_differs=False).cuts == ["/sealer"]

    def test_a_card_without_an_address_carries_nothing(self) -> None:
        report = verdict.compare(WANTED, found(addresses=(), uses=("3 workers run",)), file_differs=True)
        assert report.changes and not report.cuts


class TestProblems:
    """What cannot be used is refused with the remedy."""

    def test_a_good_card(self) -> None:
        assert verdict.problems_of(WANTED, FOUND, soft=False) == []

    def test_a_card_without_rdma_device(self) -> None:
        assert "has no RDMA device" in verdict.problems_of(WANTED, found(rdma=""), soft=False)[0]
        assert verdict.problems_of(WANTED, found(rdma=""), soft=True) == []

    def test_ifupdown_is_refused_unless_it_is_as_wanted(self) -> None:
        assert verdict.problems_of(WANTED, found(owner="ifupdown"), soft=False) == []
        assert "ifdown" in verdict.problems_of(WANTED, found(owner="ifupdown", mtu=1500), soft=False)[0]

    def test_nobody_configures_it(self) -> None:
        assert "systemctl enable" in verdict.problems_of(WANTED, found(owner="", mtu=1500), soft=False)[0]


def test_interrupts_stay_in_the_node_and_off_pc1() -> None:
    assert card.irq_cpus({4, 5, 6, 7}, {0, 1, 6, 7}, set(range(8))) == (4, 5)


def test_interrupts_leave_the_node_before_they_disturb_pc1() -> None:
    assert card.irq_cpus({4, 5}, {4, 5}, set(range(8))) == (0, 1, 2, 3, 6, 7)
    assert card.irq_cpus({4, 5}, set(range(8)), set(range(8))) == (4, 5)


def test_firmware_is_compared_by_number() -> None:
    assert card.version("16.9.1 (MT_0000000008)") < card.version("16.28.2006")


def test_nfs_mounts_are_found_by_server_address() -> None:
    mountinfo = (
        "36 25 0:32 / /sealer rw - nfs4 10.40.0.71:/sealer rw,vers=4.2,proto=rdma,addr=10.40.0.71\n"
        "37 25 0:33 / /proc/fs/nfsd rw - nfsd nfsd rw\n"
        "38 25 8:1 / / rw - ext4 /dev/sda1 rw\n"
    )
    assert card.nfs_servers(mountinfo) == {"/sealer": "10.40.0.71"}


def test_only_global_addresses_count() -> None:
    entries = [
        {
            "addr_info": [
                {"local": "10.40.0.21", "prefixlen": 24, "scope": "global"},
                {"local": "fe80::1", "prefixlen": 64, "scope": "link"},
            ]
        }
    ]
    assert card.addresses(entries) == ("10.40.0.21/24",)


class TestRdmaDevice:
    """The RDMA device of an interface is found by its card, or for soft RoCE by its parent."""

    def test_of_a_card(self, tmp_path: Path) -> None:
        (tmp_path / "class/infiniband/rocep65s0/device/net/enp65s0np0").mkdir(parents=True)
        assert rdma_devices.device_of("enp65s0np0", tmp_path) == "rocep65s0"
        assert rdma_devices.device_of("eno1", tmp_path) == ""

    def test_of_soft_roce(self, tmp_path: Path) -> None:
        (tmp_path / "class/infiniband/rxe0").mkdir(parents=True)
        (tmp_path / "class/infiniband/rxe0/parent").write_text("ens4\n")
        assert rdma_devices.device_of("ens4", tmp_path) == "rxe0"

    def test_only_card(self, tmp_path: Path) -> None:
        for name in ("eno1", "enp65s0np0", "enp66s0np0"):
            (tmp_path / "class/net" / name).mkdir(parents=True)
        with pytest.raises(Refused, match="no card with an RDMA device"):
            card.only_card(tmp_path)
        (tmp_path / "class/infiniband/a/device/net/enp65s0np0").mkdir(parents=True)
        assert card.only_card(tmp_path) == "enp65s0np0"
        (tmp_path / "class/infiniband/b/device/net/enp66s0np0").mkdir(parents=True)
        with pytest.raises(Refused, match="several cards"):
            card.only_card(tmp_path)


class TestRestore:
    """The script that runs when nobody confirms."""

    def script(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, str]:
        monkeypatch.setattr(change, "KEPT", tmp_path / "kept")
        monkeypatch.setattr(change, "UNITS", tmp_path / "units")
        (tmp_path / "kept").mkdir()
        old, new = tmp_path / "old.network", tmp_path / "new.network"
        old.write_text("changed")
        new.write_text("made")
        (tmp_path / "kept/file-0").write_text("before")
        text = change.restore_script(
            {old: tmp_path / "kept/file-0", new: None}, [WANTED], [found(mtu=1500, addresses=("10.0.0.9/24",))]
        )
        return old, new, text

    def test_it_says_what_was_before(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        _, _, text = self.script(tmp_path, monkeypatch)
        assert "ip link set dev enp65s0np0 mtu 1500" in text
        assert "ip address replace 10.0.0.9/24 dev enp65s0np0" in text
        assert "ip address del 10.40.0.21/24 dev enp65s0np0" in text
        assert text.index("networkctl reconfigure") < text.index("mtu 1500"), "the owner would undo it"

    def test_it_restores_files_though_every_command_fails(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old, new, text = self.script(tmp_path, monkeypatch)
        stubs = tmp_path / "bin"
        stubs.mkdir()
        for name in ("ip", "networkctl"):
            (stubs / name).write_text("#!/bin/sh\nexit 1\n")
            (stubs / name).chmod(0o755)
        run = subprocess.run(["bash", "-c", text], env={"PATH": f"{stubs}:/usr/bin:/bin"}, check=False)
        assert run.returncode == 0
        assert old.read_text() == "before"
        assert not new.exists()
        assert not (tmp_path / "kept").exists()


class TestConfirm:
    """Only a timer that still waits can be confirmed."""

    def states(self, monkeypatch: pytest.MonkeyPatch, state: str) -> list[str]:
        commands: list[str] = []

        def run(command: list[str], check: bool = False) -> str:
            commands.append(" ".join(command))
            return state

        monkeypatch.setattr(change, "run", run)
        return commands

    def test_in_time(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(change, "KEPT", tmp_path / "kept")
        monkeypatch.setattr(change, "UNITS", tmp_path / "units")
        (tmp_path / "kept").mkdir()
        commands = self.states(monkeypatch, "active\n")
        change.disarm()
        assert "systemctl stop sealyard-network-rollback.timer" in commands
        assert not (tmp_path / "kept").exists()

    def test_a_boot_before_it_takes_the_change_back(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(change, "KEPT", tmp_path / "kept")
        monkeypatch.setattr(change, "UNITS", tmp_path / "units")
        self.states(monkeypatch, "active\n")
        change.save_and_arm([tmp_path / "none"], [WANTED], [FOUND], 120)
        link, unit = change.boot_files()
        assert link.resolve() == unit and f"ExecStart=/bin/bash {tmp_path}/kept/restore" in unit.read_text()
        assert f"rm -f {link} {unit}" in (tmp_path / "kept/restore").read_text()
        change.disarm()
        assert not link.is_symlink() and not unit.exists()

    def test_too_late(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.states(monkeypatch, "inactive\n")
        with pytest.raises(Refused, match="not confirmed in time"):
            change.disarm()


def test_a_change_that_does_not_come_about_is_taken_back_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(change, "UNITS", tmp_path / "units")
    path = tmp_path / "etc/05-sealyard-enp65s0np0.network"
    monkeypatch.setattr(owners, "network_file", lambda *_: (path, "new", 0o644))
    commands: list[str] = []

    def run(command: list[str], check: bool = False) -> str:
        commands.append(" ".join(command))
        if "reload" in command:
            raise Refused("networkctl reload: no")
        return ""

    monkeypatch.setattr(change, "run", run)
    with pytest.raises(Refused, match="networkctl reload"):
        change.change([(WANTED, FOUND)], 120)
    assert any(command.startswith("systemd-run") for command in commands)
    assert commands[-1].startswith("bash -c") and f"rm -f {path}" in commands[-1]


def test_a_new_owner_takes_the_interface_from_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(change, "UNITS", tmp_path / "units")
    folder = tmp_path / "network"
    monkeypatch.setattr(owners, "network_file", lambda kind, *_: (folder / kind, "new", 0o600))
    monkeypatch.setattr(change, "wait_settled", lambda _: None)
    commands: list[str] = []

    def run(command: list[str], check: bool = False) -> str:
        commands.append(" ".join(command))
        return ""

    monkeypatch.setattr(change, "run", run)
    folder.mkdir()
    (folder / "networkd").write_text("before")
    change.change([(WANTED, found(owner="networkmanager"))], 120)
    assert [path.name for path in folder.iterdir()] == ["networkmanager"]
    assert commands.index("networkctl reload") < commands.index("nmcli connection reload")
    subprocess.run(["bash", str(tmp_path / "kept/restore")], env={"PATH": "/usr/bin:/bin"}, check=False)
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"networkd": "before"}
