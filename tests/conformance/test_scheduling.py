"""Placement on the deal miner: default batching stops every sector after PC2, so nothing else wakes its scheduler."""

import json
import time
from dataclasses import dataclass
from typing import Any

import pytest
from sealyard import plan, stacks
from sealyard.hosts.paths import path_files

from tests.conformance.conftest import Miners
from tests.conformance.devnet import MESSAGE_SEC, START_SEC, Devnet, Worker, path_metadata
from tests.conformance.processes import Runner, holds, until

BATCHING = ("SubmitPreCommitBatch", "PreCommitBatchWait")
PC1_FLAGS = ("--no-default", "--addpiece", "--precommit1")
PC2_FLAGS = ("--no-default", "--precommit2")
TASK_SEC = 120.0


def rest(*workers: Worker) -> None:
    """Take every task from the workers, as a drain does."""
    for worker in workers:
        assert worker.cli("tasks", "disable", "--all").status == 0


@dataclass
class Away:
    """Group a after its PC2 worker left: a sector that only it may take, and when it left."""

    sector: int
    pc1: Worker
    pc2: Worker
    left: float


@pytest.fixture(scope="module")
def away(devnet: Devnet, apart: Miners) -> Away:
    miners = apart
    pc1 = devnet.worker("deal-pc1-a", miners.deal, *PC1_FLAGS)
    pc2 = devnet.worker("deal-pc2-a", miners.deal, *PC2_FLAGS)
    pc1.prepare([(devnet.root / "deal-pc1-a", path_metadata(seal=True, allow_to=["a"]))])
    pc2.prepare([(devnet.root / "deal-pc2-a", path_metadata(seal=True, groups=["a"]))])
    pc1.start()
    pc2.start()
    assert pc2.stop() == 0
    left = time.monotonic()
    until("the miner to miss the PC2 worker", lambda: not miners.deal.workers()[pc2.name]["Enabled"], START_SEC)
    sector = miners.deal.pledge()
    miners.deal.wait_state(sector, ["PreCommit2"], TASK_SEC)
    rest(pc1)
    return Away(sector, pc1, pc2, left)


def planned_share() -> dict[str, Any]:
    """The sectorstore.json of a scratch that the PC1 and the PC2 host of a group mount, out of a plan."""
    mounts = [{"server": "store", "path": "/sealer"}]
    machine = {"cpu": "EPYC 7302 x2", "memory": "256GiB"}
    hosts: dict[str, dict[str, Any]] = {
        "seal": {"roles": ["winning_miner", "window_miner", "seal_miner"]},
        "store": {"roles": ["storage_server"], "exports": [{"path": "/sealer"}]},
        "one": {"roles": ["pc1_worker"], "hardware": machine, "group": "shared", "mounts": mounts},
        "two": {
            "roles": ["pc2_worker"],
            "hardware": {**machine, "gpus": ["RTX 3090"]},
            "group": "shared",
            "mounts": mounts,
        },
    }
    for number, host in enumerate(hosts.values(), start=1):
        host["rdma_address"] = f"10.40.0.{number}/24"
    planned = plan({"settings": {"network": "devnet", "sector_size": "2KiB", "actor": "t01000"}, "hosts": hosts})
    assert planned["errors"] == []
    paths = [path for name in ("one", "two", "store") for path in planned["hosts"][name]["paths"] if path["can_seal"]]
    [text] = {entry["content"] for entry in path_files(paths, "filecoin", "filecoin", stacks.get("lotus"))}
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.fixture(scope="module")
def shared(devnet: Devnet, miners: Miners, away: Away) -> list[Worker]:
    """Three workers on the one path of a plan, and three sectors through it."""
    path, meta = devnet.root / "deal-shared", planned_share()
    workers = [
        devnet.worker("shared-pc1-0", miners.deal, *PC1_FLAGS),
        devnet.worker("shared-pc1-1", miners.deal, *PC1_FLAGS),
        devnet.worker("shared-pc2", miners.deal, *PC2_FLAGS),
    ]
    for worker in workers:
        worker.prepare([(path, meta)])
        worker.start()
    numbers = [miners.deal.pledge() for _ in range(3)]
    for number in numbers:
        miners.deal.wait_state(number, BATCHING, TASK_SEC)
    devnet.facts["shared"] = (meta["ID"], numbers)
    return workers


def test_missing_worker_is_listed_as_disabled(miners: Miners, away: Away) -> None:
    assert f", host {away.pc2.name} (disabled)" in miners.deal.cli("sealing", "workers").stdout


def test_miner_with_the_reservation_issues_from_its_own_range(miners: Miners, away: Away) -> None:
    assert away.sector == 1000000


def test_shared_path_is_listed_once_with_every_url(devnet: Devnet, miners: Miners, shared: list[Worker]) -> None:
    path_id, _ = devnet.facts["shared"]
    assert sorted(miners.deal.rpc.call("StorageInfo", path_id)["URLs"]) == sorted(
        f"http://{worker.address}/remote" for worker in shared
    )
    text = miners.deal.cli("storage", "list").stdout
    assert text.count(f"{path_id}:") == 1
    for worker in shared:
        assert f"URL: http://{worker.address}/remote" in text


def test_shared_path_needs_no_fetch(devnet: Devnet, miners: Miners, shared: list[Worker]) -> None:
    path_id, numbers = devnet.facts["shared"]
    assert miners.deal.stored_sectors()[path_id] == set(numbers)
    for worker in shared:
        assert "Fetch http" not in worker.log
        assert "SERVE DELETE" not in worker.log
    sealed = devnet.root / "deal-shared/sealed"
    assert {file.name for file in sealed.iterdir() if file.name.startswith("s-")} >= {f"s-t01000-{n}" for n in numbers}


def test_default_batching_keeps_a_lone_sector(devnet: Devnet, miners: Miners, shared: list[Worker]) -> None:
    _, numbers = devnet.facts["shared"]
    pending = {int(sector["Number"]) for sector in miners.deal.rpc.call("SectorPreCommitPending")}
    assert set(numbers) <= pending
    holds("batched sectors stay", lambda: all(miners.deal.state(n) in BATCHING for n in numbers), 8)
    assert 'PreCommitBatchWait = "' not in (miners.deal.repo / "config.toml").read_text()


def test_sector_waits_for_the_pc2_worker_of_its_group(
    devnet: Devnet, miners: Miners, away: Away, shared: list[Worker]
) -> None:
    rest(*shared)
    other = devnet.worker("deal-pc2-b", miners.deal, *PC2_FLAGS)
    other.prepare([(devnet.root / "deal-pc2-b", path_metadata(seal=True, groups=["b"]))])
    other.start()
    holds(
        "the sector waits without a job while a PC2 worker of another group idles",
        lambda: miners.deal.state(away.sector) == "PreCommit2" and not miners.deal.jobs_of(away.sector),
        5,
    )
    assert miners.deal.rpc.call("SectorsStatus", away.sector, False)["LastErr"] == ""
    assert other.name in miners.deal.workers()


def test_worker_away_too_long_idles_until_nudged(runner: Runner, miners: Miners, away: Away) -> None:
    stale_sec = 5 * runner.heartbeat_sec
    gone_sec = stale_sec * 1.1 - (time.monotonic() - away.left)
    if gone_sec > 0:
        holds(
            "nothing moves while the worker is away", lambda: miners.deal.state(away.sector) == "PreCommit2", gone_sec
        )
    away.pc2.start()
    holds(
        "the returned worker gets nothing by itself",
        lambda: miners.deal.state(away.sector) == "PreCommit2" and not miners.deal.jobs_of(away.sector),
        1.5 * runner.heartbeat_sec,
    )
    assert miners.deal.workers()[away.pc2.name]["Enabled"] is True
    miners.deal.cli("sealing", "sched-diag", "--force-sched")
    miners.deal.wait_state(away.sector, BATCHING, TASK_SEC)
    assert f"Fetch http://{away.pc1.address}/remote/sealed/s-t01000-{away.sector}" in away.pc2.log


def test_publish_now_empties_the_batch(devnet: Devnet, miners: Miners, away: Away) -> None:
    _, numbers = devnet.facts["shared"]
    text = miners.deal.cli("sectors", "batching", "precommit", "--publish-now").stdout
    assert text.startswith("Batch 0:\n\tMessage: bafy")
    for number in (*numbers, away.sector):
        assert f"\t\t{number}\tOK\n" in text
        miners.deal.wait_state(number, ["WaitSeed", "Committing"], MESSAGE_SEC)
    assert not miners.deal.rpc.call("SectorPreCommitPending")
