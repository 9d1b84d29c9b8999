"""Peers and settings of RDMA cards, and the script that sets them."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sealyard.hosts import rdma as rdma_nic

SCRIPT = Path(__file__).parents[2] / "roles/rdma_nic/files/rdma_nic_settings.py"
spec = importlib.util.spec_from_file_location("rdma_nic_settings", SCRIPT)
assert spec and spec.loader
script = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = script
spec.loader.exec_module(script)


def test_peers_are_those_of_the_same_network() -> None:
    hostvars: dict[str, dict[str, Any]] = {
        "a": {"rdma_nic_interfaces": [{"address": "10.40.0.1/24"}, {"address": "10.41.0.1/24"}]},
        "b": {"sealing_rdma_address": "10.40.0.2/24"},
        "c": {"rdma_nic_interfaces": [{"address": "10.41.0.3/24"}]},
        "d": {},
    }
    assert rdma_nic.rdma_peers(["10.40.0.1/24", "10.41.0.1/24"], "a", list(hostvars), hostvars) == {
        "10.40.0.1/24": {"b": "10.40.0.2"},
        "10.41.0.1/24": {"c": "10.41.0.3"},
    }


def test_traffic_class_is_dscp_and_ecn() -> None:
    cards: list[dict[str, Any]] = [
        {"name": "x", "driver": "mlx5_core", "irq_cpus": [4]},
        {"name": "y", "driver": "virtio-pci", "irq_cpus": []},
    ]
    files = rdma_nic.rdma_settings(cards, "/b", 26, 3, True, True)
    assert [file["path"] for file in files] == ["/b/rdma-nic/x.json", "/b/rdma-nic/y.json"]
    first, second = (json.loads(file["content"]) for file in files)
    assert first["tos"] == 106
    assert first["lossless"] is True and second["lossless"] is False
    assert first["irq_cpus"] == [4]


def test_pc1_cpus_of_the_plan() -> None:
    plan = {"workers": [{"tasks": ["AP", "PC1"], "cpus": "0-3"}, {"tasks": ["PC2"], "cpus": "4-7"}]}
    assert rdma_nic.rdma_pc1_cpus(plan) == ["0-3"]
    assert rdma_nic.rdma_pc1_cpus({}) == []


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A card with two interrupts and an RDMA device."""
    card = tmp_path / "sys/devices/pci0000:80/0000:81:00.0"
    for number in (30, 31):
        (card / "msi_irqs" / str(number)).mkdir(parents=True)
        (tmp_path / "proc/irq" / str(number)).mkdir(parents=True)
        (tmp_path / "proc/irq" / str(number) / "smp_affinity_list").write_text("0-7\n")
    (tmp_path / "sys/class/net/enp129s0").mkdir(parents=True)
    (tmp_path / "sys/class/net/enp129s0/device").symlink_to(card)
    port = tmp_path / "sys/kernel/config/rdma_cm/rocep129s0/ports/1"
    port.mkdir(parents=True)
    (port / "default_roce_mode").write_text("IB/RoCE v1\n")
    (port / "default_roce_tos").write_text("106\n")
    return tmp_path


def test_only_what_differs_is_set(tree: Path) -> None:
    wanted = {"gid_type": "RoCE v2", "tos": 106}
    said = script.bring(script.class_settings("rocep129s0", wanted, tree / "sys"), check=False)
    assert said == {"changed": ["default_roce_mode: IB/RoCE v1 becomes RoCE v2"], "impossible": []}
    assert (tree / "sys/kernel/config/rdma_cm/rocep129s0/ports/1/default_roce_mode").read_text() == "RoCE v2\n"
    assert script.bring(script.class_settings("rocep129s0", wanted, tree / "sys"), check=False)["changed"] == []


def test_a_look_sets_nothing(tree: Path) -> None:
    said = script.bring(script.interrupt_settings("enp129s0", [4, 5], tree / "proc", tree / "sys"), check=True)
    assert len(said["changed"]) == 2
    assert (tree / "proc/irq/30/smp_affinity_list").read_text() == "0-7\n"


def test_interrupts_go_round_the_cpus(tree: Path) -> None:
    script.bring(script.interrupt_settings("enp129s0", [4], tree / "proc", tree / "sys"), check=False)
    assert [(tree / f"proc/irq/{number}/smp_affinity_list").read_text() for number in (30, 31)] == ["4\n", "4\n"]


def test_what_the_kernel_refuses_does_not_keep_the_rest_from_being_set(tree: Path) -> None:
    (tree / "proc/irq/30/smp_affinity_list").unlink()
    (tree / "proc/irq/30/smp_affinity_list").symlink_to("/proc/version")
    said = script.bring(script.interrupt_settings("enp129s0", [4], tree / "proc", tree / "sys"), check=False)
    assert len(said["impossible"]) == 1
    assert (tree / "proc/irq/31/smp_affinity_list").read_text() == "4\n"


LOSSLESS = {
    ("dcb", "-j", "app", "show", "dev", "x"): json.dumps({"dscp_prio": [[26, 3], [48, 6]]}),
    ("dcb", "-j", "pfc", "show", "dev", "x"): json.dumps({"prio_pfc": [False, False, False, True] + [False] * 4}),
    ("ethtool", "-a", "x"): "Pause parameters for x:\nAutonegotiate:\toff\nRX:\t\toff\nTX:\t\toff\n",
}


@pytest.mark.parametrize(
    ("command", "answer", "word"),
    [
        (("dcb", "-j", "app", "show", "dev", "x"), "{}", "priority of its DSCP"),
        (("dcb", "-j", "pfc", "show", "dev", "x"), '{"prio_pfc": [false]}', "flow control"),
        (("ethtool", "-a", "x"), "RX:\t\ton\nTX:\t\toff\n", "global pause"),
    ],
)
def test_lossless_settings(command: tuple[str, ...], answer: str, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = dict(LOSSLESS)
    monkeypatch.setattr(script, "run", lambda command: answers[tuple(command)])
    assert script.bring(script.lossless_settings("x", 26, 3), check=True)["changed"] == []
    answers[command] = answer
    (told,) = script.bring(script.lossless_settings("x", 26, 3), check=True)["changed"]
    assert word in told


@pytest.mark.parametrize(("frame", "active", "fits"), [(9000, 1024, 4096), (1500, 1024, 1024), (2200, 4096, 2048)])
def test_a_soft_device_with_the_mtu_of_before_looks_again(
    frame: int, active: int, fits: int, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made in the moment in which its interface got its MTU, it would stay at 1024 bytes until the next boot."""
    device = tree / "sys/class/infiniband/rxe_enp129s0"
    device.mkdir(parents=True)
    (tree / "sys/class/net/enp129s0/mtu").write_text(f"{frame}\n")
    monkeypatch.setattr(script, "run", lambda command: f"\t\t\tactive_mtu:\t\t{active} (3)\n")
    written: list[str] = []
    monkeypatch.setattr(script, "write", lambda path, text: written.append(text))
    lines = [f"RDMA MTU: {active} becomes {fits}"] if active < fits else []

    said = script.bring(script.payload_settings("enp129s0", device.name, tree / "sys"), check=False)
    assert len(said["impossible"]) == len(lines) and not written
    (device / "parent").write_text("enp129s0\n")
    said = script.bring(script.payload_settings("enp129s0", device.name, tree / "sys"), check=False)
    assert said == {"changed": lines, "impossible": []}
    assert written == ([str(frame - 1), str(frame)] if lines else [])


def test_the_script_says_that_there_is_no_device(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps({"netdev": "no-such-card"}))
    run = subprocess.run(
        ["/usr/bin/python3", str(SCRIPT), str(tmp_path / "x.json"), "--check"],
        env={"PYTHONPATH": str(SCRIPT.parents[3] / "module_utils"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "no RDMA device" in run.stdout
