"""library/sealing_hardware.py: every topology written as a sysfs tree is read back as it was."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sealyard_host.hardware.machine import read_hardware
from sealyard_host.hardware.tree import natural

from tests.unit import sysfs_tree

ROOT = Path(__file__).parents[2]
TOPOLOGIES = sorted((ROOT / "tests/topologies").glob("*.json"))
SMALL = ROOT / "tests/topologies/epyc7452-rome-2s-nps4-4xa100.json"


def load(path: Path) -> dict[str, Any]:
    topology: dict[str, Any] = json.loads(path.read_text())
    return topology


def place(cpu: dict[str, Any]) -> tuple[object, ...]:
    return cpu["cpu"], cpu["socket"], cpu["node"], cpu["online"], cpu.get("allowed", cpu["online"])


def groups(cpus: list[dict[str, Any]], key: str) -> set[frozenset[int]]:
    """The sets of CPUs with one core (or L3), whatever number it has."""
    values = {c[key] for c in cpus} - {None}
    return {frozenset(c["cpu"] for c in cpus if c[key] == value) for value in values}


@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda p: p.stem)
def test_every_topology_is_read_back(path: Path, tmp_path: Path) -> None:
    told = load(path)
    sysfs_tree.write(tmp_path, told)
    found = read_hardware(str(tmp_path))

    assert [place(c) for c in found["cpus"]] == [place(c) for c in told["cpus"]]
    for key in ("core", "l3"):
        assert groups(found["cpus"], key) == groups(told["cpus"], key)
        numbers = sorted({c[key] for c in found["cpus"]} - {None})
        assert numbers == list(range(len(numbers)))
    assert [{k: n[k] for k in ("node", "memory_bytes", "cpus")} for n in found["numa"]] == [
        {k: n[k] for k in ("node", "memory_bytes", "cpus")} for n in told["numa"]
    ]
    assert found["numa_distances"] == told.get("numa_distances")
    for kind in ("gpus", "rdma", "nvme", "net", "accelerators", "display"):
        key = "pci" if kind in ("gpus", "accelerators", "display") else "name"
        expected = sorted(told[kind], key=lambda d: natural(d[key]))
        assert [d[key] for d in found[kind]] == [d[key] for d in expected]
        for got, want in zip(found[kind], expected, strict=True):
            skip = {"name", "os_names"} if key == "pci" else set()
            assert {k: got.get(k) for k in want if k not in skip} == {k: want[k] for k in want if k not in skip}
    assert found["machine"] == told["machine"]
    assert found["cgroup_version"] == 2


@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda p: p.stem)
def test_what_is_read_loads_as_declared_hardware(path: Path, tmp_path: Path) -> None:
    from sealyard.hardware.declared import normalise

    sysfs_tree.write(tmp_path, load(path))
    found = read_hardware(str(tmp_path))
    assert normalise(found)["cpus"] == found["cpus"]


def test_l3_of_a_cpu_is_not_taken_from_another_index(tmp_path: Path) -> None:
    """Some kernels number the L3 index2, some index3; an L2 shared by two cores is no L3."""
    told = load(SMALL)
    sysfs_tree.write(tmp_path, told)
    cache = tmp_path / "sys/devices/system/cpu/cpu0/cache"
    (cache / "index3/level").write_text("2\n")
    found = read_hardware(str(tmp_path))
    # CPU 0's L3 is then told by the CPUs that share it
    assert found["cpus"][0]["l3"] == found["cpus"][1]["l3"]


def test_unknown_node_stays_null_and_local_cpus_narrow_it(tmp_path: Path) -> None:
    told = load(SMALL)
    told["gpus"][0] |= {"numa_node": None, "near_nodes": [2, 3]}
    told["gpus"][1] |= {"numa_node": None}
    told["gpus"][2] |= {"numa_node": None, "near_nodes": [5]}
    sysfs_tree.write(tmp_path, told)
    found = {g["pci"]: g for g in read_hardware(str(tmp_path))["gpus"]}
    first, second, third = (found[told["gpus"][i]["pci"]] for i in range(3))
    assert (first["numa_node"], first["near_nodes"]) == (None, [2, 3])
    assert second["numa_node"] is None and "near_nodes" not in second
    assert third["numa_node"] == 5


def test_nvidia_smi_gives_index_uuid_model_and_memory(tmp_path: Path) -> None:
    told = load(SMALL)
    sysfs_tree.write(tmp_path, told)
    rows = [
        f"{i}, GPU-0000000{i}, NVIDIA A100-SXM4-40GB, 40960, 0000{g['pci'].upper()}" for i, g in enumerate(told["gpus"])
    ]
    (tmp_path / "nvidia-smi.csv").write_text("\n".join(rows))
    gpus = read_hardware(str(tmp_path))["gpus"]
    assert [(g["index"], g["uuid"], g["memory_bytes"]) for g in gpus] == [
        (i, f"GPU-0000000{i}", 40 << 30) for i in range(4)
    ]
    assert {g["name"] for g in gpus} == {"NVIDIA A100-SXM4-40GB"}


def test_driver_files_alone_give_model_and_uuid(tmp_path: Path) -> None:
    told = load(SMALL)
    sysfs_tree.write(tmp_path, told)
    writer = sysfs_tree.Writer(tmp_path)
    pci = [g["pci"] for g in told["gpus"]]
    writer.put(
        f"proc/driver/nvidia/gpus/{pci[0]}/information",
        "Model: \t\t NVIDIA A100\nIRQ:   \t\t 42\nGPU UUID: \t GPU-aa-01",
    )
    writer.put(
        f"proc/driver/nvidia/gpus/{pci[1]}/information", "Model: \t\t NVIDIA A100\nGPU UUID: \t GPU-????????-????"
    )
    found = read_hardware(str(tmp_path))
    gpus = {g["pci"]: g for g in found["gpus"]}
    assert gpus[pci[0]]["name"] == "NVIDIA A100" and gpus[pci[0]]["uuid"] == "GPU-aa-01"
    assert gpus[pci[1]]["uuid"] is None
    assert any("NVIDIA" in note for note in found["notes"])


def disk(writer: sysfs_tree.Writer, name: str, number: str, *, rotational: int = 0, parts: int = 0) -> None:
    where = f"sys/devices/pci0000:00/0000:00:1f.2/ata1/block/{name}"
    writer.put(f"{where}/size", 4000)
    writer.put(f"{where}/dev", number)
    writer.put(f"{where}/queue/rotational", rotational)
    major, minor = number.split(":")
    for part in range(1, parts + 1):
        writer.put(f"{where}/{name}{part}/partition", part)
        writer.put(f"{where}/{name}{part}/dev", f"{major}:{int(minor) + part}")
        (writer.root / where / f"{name}{part}/holders").mkdir()
    (writer.root / where / "holders").mkdir()
    writer.link(f"sys/block/{name}", where)


def test_system_disk_is_found_through_raid_and_lvm(tmp_path: Path) -> None:
    """/ on LVM on md on sda2 and sdb2: both carry the system; sdc, with scratch on it, does not."""
    sysfs_tree.write(tmp_path, load(SMALL))
    writer = sysfs_tree.Writer(tmp_path)
    disk(writer, "sda", "8:0", rotational=1, parts=2)
    disk(writer, "sdb", "8:16", parts=2)
    disk(writer, "sdc", "8:32")
    for name, number, slaves in (("md0", "9:0", ("sda2", "sdb2")), ("dm-0", "253:0", ("md0",))):
        where = f"sys/devices/virtual/block/{name}"
        writer.put(f"{where}/size", 100)
        writer.put(f"{where}/dev", number)
        for slave in slaves:
            writer.put(f"{where}/slaves/{slave}/uevent", "")
        writer.link(f"sys/block/{name}", where)
    writer.put("sys/devices/pci0000:00/0000:00:1f.2/ata1/block/sda/sda2/holders/md0/uevent", "")
    writer.put("sys/devices/virtual/block/dm-0/dm/name", "vg-root")
    writer.put("run/udev/data/b8:32", "E:ID_FS_TYPE=xfs")
    writer.put(
        "proc/self/mountinfo",
        "1 0 253:0 / / rw - ext4 /dev/mapper/vg-root rw\n2 1 8:1 / /boot rw - ext4 /dev/sda1 rw\n"
        "3 1 8:32 / /sealer rw - xfs /dev/sdc rw\n4 1 0:5 / /proc rw - proc proc rw",
    )
    found = {d["name"]: d for d in read_hardware(str(tmp_path))["disks"]}
    assert {name: d["system"] for name, d in found.items()} == {"sda": True, "sdb": True, "sdc": False}
    assert found["sda"]["mounts"] == ["/", "/boot"] and found["sda"]["rotational"] is True
    assert found["sda"]["holders"] == ["md0"] and found["sda"]["partitions"] == ["sda1", "sda2"]
    assert found["sdc"]["mounts"] == ["/sealer"] and found["sdc"]["filesystem"] == "xfs"


def test_unknown_root_disk_is_null_and_said(tmp_path: Path) -> None:
    sysfs_tree.write(tmp_path, load(SMALL))
    writer = sysfs_tree.Writer(tmp_path)
    disk(writer, "sda", "8:0")
    writer.put("proc/self/mountinfo", "1 0 0:40 / / rw - zfs rpool/ROOT rw")
    found = read_hardware(str(tmp_path))
    assert [d["system"] for d in found["disks"]] == [None]
    assert any("under /" in note for note in found["notes"])


def test_hugepages_and_hybrid_cores(tmp_path: Path) -> None:
    told = load(ROOT / "tests/topologies/dgx-spark-gb10.json")
    sysfs_tree.write(tmp_path, told)
    writer = sysfs_tree.Writer(tmp_path)
    where = "sys/devices/system/node/node0/hugepages/hugepages-1048576kB"
    writer.put(f"{where}/nr_hugepages", 900)
    for c in told["cpus"]:
        writer.put(f"sys/devices/system/cpu/cpu{c['cpu']}/cpu_capacity", 1024 if c["cpu"] >= 5 else 718)
    found = read_hardware(str(tmp_path))
    assert found["numa"][0]["hugepages"] == [{"size_bytes": 1 << 30, "total": 900}]
    assert [c["kind"] for c in found["cpus"]][4:6] == ["efficiency", "performance"]


def test_kernel_without_numa_is_one_node(tmp_path: Path) -> None:
    writer = sysfs_tree.Writer(tmp_path)
    writer.put("sys/devices/system/cpu/online", "0-1")
    writer.put("sys/devices/system/cpu/present", "0-1")
    writer.put("proc/meminfo", "MemTotal:       1024 kB")
    found = read_hardware(str(tmp_path))
    assert found["numa"] == [{"node": 0, "memory_bytes": 1 << 20, "cpus": [0, 1]}]
    assert [c["core"] for c in found["cpus"]] == [None, None]


def by_ansible(root: str) -> dict[str, Any]:
    """Result of the module as Ansible ships it, with all of module_utils that it imports."""
    command = [str(Path(sys.executable).parent / "ansible"), "localhost", "--one-line"]
    command += ["--module-name", "sealing_hardware", "--args", json.dumps({"root": root})]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return dict(json.loads(done.stdout.partition(" => ")[2]))


def test_this_machine_and_the_module_itself() -> None:
    answer = by_ansible("/")
    assert answer["changed"] is False
    assert answer["ansible_facts"]["sealing_hardware"] == answer["hardware"]
    assert any(c["online"] and c["allowed"] for c in answer["hardware"]["cpus"])
    assert sum(n["memory_bytes"] for n in answer["hardware"]["numa"]) > 0


def test_wrong_root_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    answer = by_ansible(str(tmp_path))
    assert "point root at" in answer["msg"]
