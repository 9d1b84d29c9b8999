"""One sector on the seal miner from pledge to Proving: locality, a worker lost in C2, a miner restart, the store."""

import json
from dataclasses import dataclass
from typing import Any

import pytest

from tests.conformance.conftest import Miners
from tests.conformance.devnet import (
    ACTOR,
    MESSAGE_SEC,
    SECTOR_SIZE_BYTES,
    START_SEC,
    Daemon,
    Devnet,
    Worker,
    path_metadata,
)
from tests.conformance.processes import until

TASK_SEC = 120.0
# C2 of one 2 KiB sector takes up to 5.3 minutes on two cores; twice that, and the retry delay.
C2_SEC = 1200.0
# A job that was given out before the miner's restart; only such a job names its host.
RET_WAIT = -1


@dataclass
class Line:
    """A group of workers with a sector on its way."""

    sector: int
    pc1: Worker
    pc2: Worker
    other_pc2: Worker
    c2: Worker


@pytest.fixture(scope="module")
def line(devnet: Devnet, apart: Miners) -> Line:
    miners = apart
    pc1 = devnet.worker("seal-pc1-a", miners.seal, "--no-default", "--addpiece", "--precommit1")
    pc2 = devnet.worker("seal-pc2-a", miners.seal, "--no-default", "--precommit2")
    other = devnet.worker("seal-pc2-b", miners.seal, "--no-default", "--precommit2")
    c2 = devnet.worker("seal-c2", miners.seal, "--no-default", "--commit")
    pc1.prepare([(devnet.root / "seal-pc1-a", path_metadata(seal=True, allow_to=["a"]))])
    pc2.prepare([(devnet.root / "seal-pc2-a", path_metadata(seal=True, groups=["a"])), (miners.store, None)])
    other.prepare([(devnet.root / "seal-pc2-b", path_metadata(seal=True, groups=["b"]))])
    c2.prepare([])
    for worker in (other, pc2, pc1):
        worker.start()
    miners.seal.cli("log", "set-level", "--system=advmgr", "debug")
    done = miners.seal.cli("sectors", "pledge")
    text, _, number = done.stdout.strip().partition(":")
    assert text == "Created CC sector"
    return Line(int(number), pc1, pc2, other, c2)


def name_of(sector: int) -> str:
    return f"s-{ACTOR}-{sector}"


def test_next_number_is_the_lowest_free_one(line: Line) -> None:
    assert line.sector == 2


def test_pc2_fetches_from_the_pc1_worker_of_its_group(miners: Miners, line: Line) -> None:
    miners.seal.wait_state(line.sector, ["PreCommitBatchWait", "WaitSeed", "Committing"], TASK_SEC)
    sector = name_of(line.sector)
    for kind in ("sealed", "cache"):
        assert f"Fetch http://{line.pc1.address}/remote/{kind}/{sector} -> " in line.pc2.log
    done = [json.loads(row[row.index("{") :]) for row in line.pc2.log.splitlines() if "Fetch done" in row]
    assert {row["url"].split("?")[0] for row in done} >= {
        f"http://{line.pc1.address}/remote/{kind}/{sector}" for kind in ("sealed", "cache")
    }
    for row in done:
        assert {"url", "out", "took", "bytes", "MiB/s"} <= row.keys()
    sealed = next(row for row in done if "/remote/sealed/" in row["url"])
    assert sealed["bytes"] >= SECTOR_SIZE_BYTES
    assert f"/{name_of(line.sector)}" not in line.other_pc2.log


def assigned(miners: Miners, line: Line) -> set[tuple[str, str | None]]:
    """Task and worker of every line with which the scheduler has given the sector away."""
    lines = [row for row in miners.seal.log.splitlines() if "SCHED ASSIGNED" in row]
    given = [json.loads(row[row.index("{") :]) for row in lines]
    names = {ident: stats["Info"]["Hostname"] for ident, stats in miners.seal.rpc.call("WorkerStats").items()}
    return {(one["task"], names.get(one["worker"])) for one in given if one["sector"] == str(line.sector)}


def test_the_schedulers_log_tells_who_got_which_task(miners: Miners, line: Line) -> None:
    assert assigned(miners, line) >= {
        ("seal/v0/addpiece", line.pc1.name),
        ("seal/v0/precommit/1", line.pc1.name),
        ("seal/v0/precommit/2", line.pc2.name),
    }


def test_fetched_files_are_deleted_at_their_origin(devnet: Devnet, miners: Miners, line: Line) -> None:
    assert f"Delete http://{line.pc1.address}/remote/sealed/{name_of(line.sector)}?keep=" in line.pc2.log
    assert f"SERVE DELETE /remote/sealed/{name_of(line.sector)}" in line.pc1.log
    assert not (devnet.root / "seal-pc1-a" / "sealed" / name_of(line.sector)).exists()
    assert (devnet.root / "seal-pc2-a" / "sealed" / name_of(line.sector)).stat().st_size == SECTOR_SIZE_BYTES


def test_batch_of_one_goes_out_at_once(miners: Miners, line: Line) -> None:
    miners.seal.wait_state(line.sector, ["WaitSeed", "Committing"], MESSAGE_SEC)
    assert not miners.seal.rpc.call("SectorPreCommitPending")
    assert miners.seal.rpc.call("SectorsStatus", line.sector, False)["PreCommitMsg"]


def test_sector_waits_for_a_c2_worker(miners: Miners, line: Line) -> None:
    miners.seal.wait_state(line.sector, ["Committing"], MESSAGE_SEC)
    assert not miners.seal.jobs_of(line.sector, "commit/2")


def c2_runs(miners: Miners, line: Line) -> dict[str, Any] | None:
    """The running C2 job. It names no host: its worker's id does, through WorkerStats."""
    names = {worker: stats["Info"]["Hostname"] for worker, stats in miners.seal.rpc.call("WorkerStats").items()}
    for job in miners.seal.jobs_of(line.sector, "commit/2"):
        if job["RunWait"] == 0 and names.get(job["Worker"]) == line.c2.name:
            return job
    return None


@pytest.mark.slow
def test_worker_stopped_in_c2(miners: Miners, line: Line) -> None:
    line.c2.start()
    job = until("C2 to run", lambda: c2_runs(miners, line), TASK_SEC)
    assert set(job) == {"ID", "Sector", "Task", "RunWait", "Start", "Worker"}
    assert job["Sector"] == {"Miner": 1000, "Number": line.sector} == job["ID"]["Sector"]
    text = miners.seal.cli("sealing", "jobs").stdout
    assert text.split("\n")[0].split() == ["ID", "Sector", "Worker", "Hostname", "Task", "State", "Time"]
    assert line.c2.stop() == 0
    until("the miner to miss it", lambda: not miners.seal.workers()[line.c2.name]["Enabled"], START_SEC)
    assert f", host {line.c2.name} (disabled)" in miners.seal.cli("sealing", "workers").stdout
    (row,) = [row for row in miners.seal.cli("sealing", "jobs").stdout.splitlines() if line.c2.name in row]
    assert "running" in row
    assert miners.seal.state(line.sector) == "Committing"

    line.c2.start()
    miners.seal.wait_state(line.sector, ["ComputeProofFailed"], TASK_SEC)
    assert "storage call error 101" in miners.seal.log
    assert f"worker [name: {line.c2.name}] restarted" in miners.seal.log
    # Nobody asked for the retry.
    again = until("C2 to start again", lambda: c2_runs(miners, line), C2_SEC)
    assert again["Start"] != job["Start"]


@pytest.mark.slow
def test_workers_and_their_tasks_survive_a_miner_restart(miners: Miners, line: Line) -> None:
    workers = (line.pc1, line.pc2, line.c2)
    assert c2_runs(miners, line)
    registered = [worker.log.count("Worker registered successfully") for worker in workers]
    assert miners.seal.stop() == 0
    miners.seal.start()
    miners.seal.cli("log", "set-level", "--system=advmgr", "debug")
    job = until("the C2 job", lambda: next(iter(miners.seal.jobs_of(line.sector, "commit/2")), None), START_SEC)
    assert (job["Hostname"], job["RunWait"]) == (line.c2.name, RET_WAIT)
    (row,) = [row for row in miners.seal.cli("sealing", "jobs").stdout.splitlines() if line.c2.name in row]
    assert "ret-wait" in row
    for worker in workers:
        assert worker.process is not None
        worker.process.wait_log("LOTUS-MINER CONNECTION LOST", START_SEC)
        worker.process.wait_log("Redeclaring local storage", START_SEC)
    # A worker with a running task registers again when the task has ended.
    for worker, count in zip(workers[:2], registered, strict=False):
        assert worker.process is not None
        worker.process.wait_log("Worker registered successfully", START_SEC, count + 1)
    assert "storage call error" not in miners.seal.log


@pytest.mark.slow
def test_sector_reaches_proving(chain: Daemon, miners: Miners, line: Line) -> None:
    miners.seal.wait_state(line.sector, ["Proving"], C2_SEC + MESSAGE_SEC)
    on_chain = chain.rpc.call("StateMinerSectors", ACTOR, None, None)
    assert line.sector in {sector["SectorNumber"] for sector in on_chain}


@pytest.mark.slow
def test_finished_jobs_vanish(miners: Miners, line: Line) -> None:
    assert miners.seal.jobs_of(line.sector) == []
    assert miners.seal.cli("sealing", "jobs").stdout.strip().splitlines()[1:] == []


@pytest.mark.slow
def test_proving_comes_before_active(chain: Daemon, miners: Miners, line: Line) -> None:
    """The pipeline is done, the chain waits for the sector's first window PoSt."""
    rows = [row.split() for row in miners.seal.cli("sectors", "list").stdout.splitlines()]
    assert rows[0][:5] == ["ID", "State", "OnChain", "Active", "Expiration"]
    (row,) = [row for row in rows[1:] if row[0] == str(line.sector)]
    assert row[1:4] == ["Proving", "YES", "NO"]
    # Deadline 0 holds the two pre-sealed sectors, a full partition of this size; other modules may have filled 1.
    assert chain.deadline_of(line.sector) in (1, 2)


@pytest.mark.slow
def test_finalize_moved_the_sector_into_the_store(devnet: Devnet, miners: Miners, line: Line) -> None:
    name = name_of(line.sector)
    assert (miners.store / "sealed" / name).stat().st_size == SECTOR_SIZE_BYTES
    assert (miners.store / "cache" / name / "p_aux").is_file()
    assert not (devnet.root / "seal-pc2-a" / "sealed" / name).exists()
    assert line.sector in miners.seal.stored_sectors()[miners.store_id]


@pytest.mark.slow
def test_the_unsealed_copy_is_dropped_where_add_piece_wrote_it(miners: Miners, line: Line) -> None:
    expected = {("seal/v0/finalizeunsealed", line.pc1.name), ("seal/v0/finalize", line.pc2.name)}
    assert assigned(miners, line) >= expected


@pytest.mark.slow
def test_other_miners_learn_of_it_by_redeclare(miners: Miners, line: Line) -> None:
    assert line.sector not in miners.window.stored_sectors()[miners.store_id]
    miners.window.cli("storage", "redeclare", "--all")
    until(
        "the sector in the window miner's index",
        lambda: line.sector in miners.window.stored_sectors()[miners.store_id],
        START_SEC,
    )


@pytest.mark.slow
def test_window_miner_can_prove_what_others_sealed(chain: Daemon, miners: Miners, line: Line) -> None:
    deadline = chain.deadline_of(line.sector)
    assert deadline is not None
    (answer,) = miners.window.compute_window_post(deadline) or [{}]
    assert answer["Partitions"] == [{"Index": 0, "Skipped": []}]


@pytest.mark.slow
def test_journal_tells_every_state_change(miners: Miners, line: Line) -> None:
    entries = [
        json.loads(row)
        for path in sorted((miners.seal.repo / "journal").iterdir())
        for row in path.read_text().splitlines()
    ]
    states = [
        entry
        for entry in entries
        if entry["Event"] == "sealing_states" and entry["Data"]["SectorNumber"] == line.sector
    ]
    assert {entry["System"] for entry in states} == {"storage"}
    assert all(entry["Timestamp"][:2] == "20" for entry in states)
    for entry in states:
        assert set(entry["Data"]) == {"SectorNumber", "SectorType", "From", "After", "Error"}
        assert entry["Data"]["SectorType"] == 5
    after = [entry["Data"]["After"] for entry in states]
    assert {"PreCommit1", "PreCommit2", "WaitSeed", "Committing", "ComputeProofFailed", "Proving"} <= set(after)
    assert (miners.seal.repo / "journal" / "lotus-journal.ndjson").is_file()
    assert len(list((miners.seal.repo / "journal").iterdir())) >= 2


@pytest.mark.slow
def test_status_log_tells_the_same(miners: Miners, line: Line) -> None:
    text = miners.seal.cli("sectors", "status", "--log", str(line.sector)).stdout
    assert "Status:\t\tProving" in text
    assert "Event Log:" in text
    assert "[event;sealing.SectorPreCommit2]" in text
