"""RDMA cards as the kernel has them: device, MTU, service class, locked memory, and who runs on which CPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

ROOT = Path(__file__).parents[3]
PLAN: dict[str, Any] = json.loads((ROOT / ".lab/rdma/inventory/.plan/plan.json").read_text())


def name(host: Host) -> str:
    """Inventory name of the host."""
    return str(host.backend.get_hostname())


def cpus(text: str) -> set[int]:
    """CPUs of a list such as "0-3,8"."""
    parts = [part.partition("-") for part in text.strip().split(",") if part]
    return {cpu for first, _, last in parts for cpu in range(int(first), int(last or first) + 1)}


def settings(host: Host) -> dict[str, Any]:
    """What the card was told."""
    found: dict[str, Any] = json.loads(host.file("/etc/sealyard/rdma-nic/lan0.json").content_string)
    return found


def test_the_link_is_an_active_rdma_device(host: Host) -> None:
    (link,) = [one for one in json.loads(host.check_output("rdma -j link show")) if one["netdev"] == "lan0"]
    assert link["state"] == "ACTIVE"
    assert "active_mtu:\t\t4096" in host.check_output("ibv_devinfo -d %s", link["ifname"])


def test_mtu_and_address_survive_a_boot(host: Host) -> None:
    """They are in the file of whoever owns the interface, and in force."""
    assert host.file("/sys/class/net/lan0/mtu").content_string.strip() == "9000"
    status = host.check_output("networkctl status lan0")
    assert "05-sealyard-lan0.network" in status and "configured" in status
    for unit in ("rdma-rxe@lan0", "rdma-nic@lan0"):
        assert host.service(unit).is_enabled and host.service(unit).is_running


def test_nothing_waits_to_be_taken_back(host: Host) -> None:
    assert not host.file("/var/lib/sealyard/network-rollback").exists
    assert not host.service("sealyard-network-rollback.timer").is_running
    assert host.run("ls /etc/systemd/system/multi-user.target.wants/sealyard-network-rollback*").rc != 0


def test_links_and_mounts_were_measured_and_are_good(host: Host) -> None:
    file = host.file("/var/lib/sealyard/network-check.json")
    if not file.exists:
        pytest.skip("not measured yet")
    record = json.loads(file.content_string)
    assert record["problems"] == []
    assert set(record["links"]) == {"storage-1", "pc1-1", "pc2-1"} - {name(host)}
    for link in record["links"].values():
        assert link["bandwidth_bits_per_sec"] > 0 and link["latency_usec"] > 0 and link["trouble"] == []
    profiles = {"storage-1": set(), "pc1-1": {"/sealer pc1_write"}, "pc2-1": {"/sealer pc2_read"}}
    assert set(record["mounts"]) == profiles[name(host)]
    assert all(mount["bytes_per_sec"] > 0 for mount in record["mounts"].values())


def test_connections_have_the_service_class_of_rdma(host: Host) -> None:
    said = json.loads(
        host.check_output("/usr/local/lib/sealyard/rdma_nic_settings.py /etc/sealyard/rdma-nic/lan0.json --check")
    )
    assert said == {"changed": [], "impossible": []}
    assert settings(host)["tos"] == 106


def test_memory_may_be_locked(host: Host) -> None:
    """By a login of the group, as the limits are PAM's: a unit would have to ask for itself."""
    host.check_output("getent group filecoin || groupadd --system filecoin")
    host.check_output("getent passwd rdma-test || useradd --system --gid filecoin --shell /bin/bash rdma-test")
    assert host.check_output("su --login rdma-test --command 'ulimit -l'") == "unlimited"


def test_interrupts_stay_off_pc1_and_in_the_node(host: Host) -> None:
    pc1 = {
        cpu
        for one in PLAN["hosts"].get(name(host), {}).get("workers", [])
        if "PC1" in one["tasks"]
        for cpu in cpus(one["cpus"])
    }
    numbers = host.check_output("ls $(readlink -f /sys/class/net/lan0/device/..)/msi_irqs").split()
    assert numbers
    bound = set().union(*(cpus(host.file(f"/proc/irq/{one}/smp_affinity_list").content_string) for one in numbers))
    assert bound <= set(settings(host)["irq_cpus"])
    assert not bound & pc1
    if name(host) == "pc1-1":
        assert bound <= {4, 5, 6, 7}, "lan0 of pc1-1 hangs on node 1"


def test_workers_run_on_the_cpus_of_the_plan_and_on_no_other(host: Host) -> None:
    """What the kernel does (cgroup v2 and affinity), not what a unit says."""
    workers = PLAN["hosts"].get(name(host), {}).get("workers", [])
    if not workers:
        pytest.skip("the plan gives this host no worker")
    assert host.file("/sys/fs/cgroup/cgroup.controllers").contains("cpuset")
    for worker in workers:
        unit = f"lotus-worker@{worker['name']}.service"
        group, pid = host.check_output(
            "systemctl show --property=ControlGroup --property=MainPID --value %s", unit
        ).split()
        if not group.startswith("/"):
            group, pid = pid, group
        effective = host.file(f"/sys/fs/cgroup{group}/cpuset.cpus.effective").content_string
        allowed = host.check_output("awk '/^Cpus_allowed_list/ {print $2}' /proc/%s/status", pid)
        assert cpus(effective) == cpus(allowed) == cpus(worker["cpus"]), worker["name"]
