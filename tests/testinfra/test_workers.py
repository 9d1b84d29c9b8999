"""Workers: on the cores, node and GPU of the plan, known to the miner, their paths in the right group."""

from __future__ import annotations

import json
import time

import pytest

from tests.testinfra.cluster import LAB, Process, cpus, machine, miners, output, plan, workers

LONG = {
    "AP": "seal/v0/addpiece",
    "PC1": "seal/v0/precommit/1",
    "PC2": "seal/v0/precommit/2",
    "C2": "seal/v0/commit/2",
}
REBOOT_LIMIT_SEC = 180


def seen_by_miner(worker: Process) -> list[dict[str, object]]:
    """What the worker's miner lists of it."""
    (miner,) = [m for m in miners(worker.planned["miner_role"]) if m.host == worker.planned["miner"]]
    return [
        entry
        for entry in miner.call("WorkerStats").values()
        if entry["Enabled"] and entry["Info"]["Hostname"] == f"{worker.host}/{worker.name}"
    ]


def has_plans_tasks(worker: Process) -> bool:
    """True when the miner lists the worker, enabled, with the plan's tasks and no other."""
    wanted = {LONG[task] for task in worker.planned["tasks"]}
    return any(set(entry["Tasks"]) & set(LONG.values()) == wanted for entry in seen_by_miner(worker))  # type: ignore[call-overload]


@pytest.mark.parametrize("worker", workers(), ids=str)
def test_every_thread_may_run_on_the_plans_cpus_only(worker: Process) -> None:
    lists = output(worker.host, f"grep -h Cpus_allowed_list /proc/{worker.pid}/task/*/status").splitlines()
    assert {frozenset(cpus(line.split()[1])) for line in lists} == {frozenset(cpus(worker.planned["cpus"]))}


@pytest.mark.parametrize("worker", workers(), ids=str)
def test_memory_comes_from_the_plans_node(worker: Process) -> None:
    node = worker.planned["numa_node"]
    policies = {line.split()[1] for line in output(worker.host, f"cat /proc/{worker.pid}/numa_maps").splitlines()}
    assert node is None or f"bind:{node}" in policies


@pytest.mark.parametrize("worker", workers(), ids=str)
def test_the_worker_sees_its_own_gpus_only(worker: Process) -> None:
    seen = worker.environment().get("CUDA_VISIBLE_DEVICES", "")
    assert [uuid for uuid in seen.split(",") if uuid] == worker.planned["gpu_uuids"]


@pytest.mark.parametrize("host", sorted({worker.host for worker in workers()}))
def test_no_two_workers_share_a_temporary_directory(host: str) -> None:
    folders = [worker.environment()["TMPDIR"] for worker in workers() if worker.host == host]
    assert len(folders) == len(set(folders))
    assert all(machine(host).file(folder).is_directory for folder in folders)


@pytest.mark.parametrize("worker", workers(), ids=str)
def test_the_miner_lists_it_with_the_plans_tasks(worker: Process) -> None:
    assert has_plans_tasks(worker), worker.journal()[-2000:]


@pytest.mark.parametrize("worker", workers(), ids=str)
def test_the_miner_was_told_to_look_at_it(worker: Process) -> None:
    result = output(
        worker.host, f"systemctl show --property Result,ExecMainStatus --value lotus-worker-nudge@{worker.name}"
    )
    assert result.split() == ["success", "0"]
    assert "scheduler nudged" in output(worker.host, f"journalctl --no-pager --unit lotus-worker-nudge@{worker.name}")


@pytest.mark.parametrize("host", sorted(LAB.groups))
def test_the_paths_keep_a_sector_in_its_group(host: str) -> None:
    for path in plan()["hosts"][host]["paths"]:
        written = json.loads(machine(host).file(f"{path['path']}/sectorstore.json").content_string)
        assert written["ID"] == path["id"]
        assert (written["CanSeal"], written["CanStore"]) == (path["can_seal"], path["can_store"])
        if path["can_seal"]:
            assert (written["Groups"], written["AllowTo"]) == (path["groups"], path["allow_to"])
            assert LAB.groups[host] in [*(path["groups"] or []), *(path["allow_to"] or [])]


@pytest.mark.parametrize("host", sorted({worker.host for worker in workers()}))
def test_no_worker_runs_that_the_plan_does_not_have(host: str) -> None:
    listed = output(host, "systemctl list-units --plain --no-legend --state=active 'lotus-worker@*'").splitlines()
    assert sorted(line.split()[0] for line in listed) == sorted(
        f"{w.unit}.service" for w in workers() if w.host == host
    )


def test_a_host_that_reboots_is_back_at_work_without_anybody() -> None:
    import subprocess

    host = "pc1-b"
    subprocess.run(["podman", "restart", LAB.container(host)], check=True, capture_output=True)
    back = [worker for worker in workers() if worker.host == host]
    limit = time.monotonic() + REBOOT_LIMIT_SEC
    while time.monotonic() < limit and not all(has_plans_tasks(worker) for worker in back):
        time.sleep(3)
    assert [str(worker) for worker in back if not has_plans_tasks(worker)] == []
    nudged = "journalctl --boot --no-pager --unit 'lotus-worker-nudge@*' | grep -c 'scheduler nudged' || true"
    while time.monotonic() < limit and int(output(host, nudged)) < len(back):
        time.sleep(3)
    assert int(output(host, nudged)) >= len(back)
