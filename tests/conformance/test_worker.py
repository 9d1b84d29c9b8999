"""The worker process: how it registers, and how it fails with status 0."""

import contextlib
import json
import socket
from collections.abc import Iterator

import pytest

from tests.conformance.conftest import Miners
from tests.conformance.devnet import START_SEC, WORKER_PORT, Devnet, Worker, path_metadata
from tests.conformance.processes import holds, until
from tests.conformance.rpc import Rpc, http_status

BASE = {
    "seal/v0/commit/1",
    "seal/v0/fetch",
    "seal/v0/finalize",
    "seal/v0/finalize/replicaupdate",
    "seal/v0/finalizeunsealed",
    "seal/v0/provereplicaupdate/1",
}
AP, PC1, PC2, C2 = "seal/v0/addpiece", "seal/v0/precommit/1", "seal/v0/precommit/2", "seal/v0/commit/2"
BASE_SHORT = {"FUS", "FIN", "GET", "FRU", "C1", "PR1"}


@contextlib.contextmanager
def running(worker: Worker) -> Iterator[Worker]:
    worker.start()
    try:
        yield worker
    finally:
        assert worker.process is not None
        worker.process.kill()


@pytest.mark.parametrize(
    ("name", "flags", "tasks", "short"),
    [
        ("types-pc1", ("--no-default", "--addpiece", "--precommit1"), {AP, PC1}, {"AP", "PC1"}),
        ("types-pc2", ("--no-default", "--precommit2"), {PC2}, {"PC2"}),
        ("types-c2", ("--no-default", "--commit"), {C2}, {"C2"}),
    ],
)
def test_task_types_follow_the_flags(
    devnet: Devnet, miners: Miners, name: str, flags: tuple[str, ...], tasks: set[str], short: set[str]
) -> None:
    worker = devnet.worker(name, miners.window, *flags)
    worker.prepare([])
    with running(worker):
        stats = miners.window.workers()[name]
        assert set(stats["Tasks"]) == BASE | tasks
        assert stats["Enabled"] is True
        resources = stats["Info"]["Resources"]
        assert resources["CPUs"] >= 1
        assert resources["MemPhysical"] > 1 << 30
        assert resources["GPUs"] == []
        info = worker.cli("info").stdout
        assert f"Hostname: {name}\n" in info
        (line,) = [line for line in info.splitlines() if line.startswith("Task types: ")]
        assert set(line.removeprefix("Task types: ").split()) == BASE_SHORT | short
        assert f", host {name}\n" in miners.window.cli("sealing", "workers").stdout
        assert http_status(f"http://{worker.address}/debug/metrics")[0] == 404


def test_sealing_workers_prints_no_task_types(devnet: Devnet, miners: Miners) -> None:
    text = miners.window.cli("sealing", "workers").stdout
    assert "Task types" not in text
    assert "PC1" not in text


def test_prepared_files_survive_the_first_start(devnet: Devnet, miners: Miners) -> None:
    worker = devnet.worker("prepared", miners.window, "--no-default", "--precommit2")
    path = devnet.root / "prepared-path"
    meta = path_metadata(seal=True, groups=["prepared"], allow_to=["elsewhere"])
    worker.prepare([(path, meta)])
    storage = json.loads((worker.repo / "storage.json").read_text())
    with running(worker):
        assert json.loads((worker.repo / "storage.json").read_text()) == storage
        assert json.loads((path / "sectorstore.json").read_text()) == meta
        info = miners.window.rpc.call("StorageInfo", meta["ID"])
        assert info["Groups"] == ["prepared"]
        assert info["AllowTo"] == ["elsewhere"]
        assert info["URLs"] == [f"http://{worker.address}/remote"]
        for kind in ("unsealed", "sealed", "cache"):
            assert (path / kind).is_dir()


def test_worker_repo_holds_the_miners_token(devnet: Devnet, miners: Miners) -> None:
    worker = devnet.worker("token", miners.window, "--no-default", "--precommit2")
    worker.prepare([])
    with running(worker):
        assert (worker.repo / "token").stat().st_mode & 0o777 == 0o600
        assert (worker.repo / "token").read_text().strip() == (miners.window.repo / "token").read_text().strip()


def test_tasks_can_be_switched_while_it_runs(devnet: Devnet, miners: Miners) -> None:
    worker = devnet.worker("switched", miners.window, "--no-default", "--addpiece", "--precommit1")
    worker.prepare([])

    def tasks() -> set[str]:
        return set(miners.window.workers()["switched"]["Tasks"])

    with running(worker):
        assert worker.cli("tasks", "disable", "AP").status == 0
        until("AP to go", lambda: tasks() == BASE | {PC1}, START_SEC)
        assert worker.cli("tasks", "enable", "PC2").status == 0
        until("PC2 to come", lambda: tasks() == BASE | {PC1, PC2}, START_SEC)
        assert worker.cli("tasks", "disable", "--all").status == 0
        until("all to go", lambda: tasks() == BASE, START_SEC)


def test_second_process_on_the_repo_ends_with_status_0(devnet: Devnet, miners: Miners) -> None:
    worker = devnet.worker("locked", miners.window, "--no-default", "--precommit2")
    worker.prepare([])
    with running(worker):
        first = worker.process
        second = worker.launch()
        assert second.wait_exit(START_SEC) == 0
        assert "repo is already locked" in second.log()
        worker.process = first


def test_taken_port_ends_with_status_0(devnet: Devnet, miners: Miners) -> None:
    worker = devnet.worker("port", miners.window, "--no-default", "--precommit2")
    worker.prepare([])
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((worker.host, WORKER_PORT))
        taken.listen()
        process = worker.launch()
        assert process.wait_exit(START_SEC) == 0
        assert f"listen tcp {worker.address}: bind: address already in use" in process.log()


def test_token_below_admin_ends_with_status_0(devnet: Devnet, miners: Miners) -> None:
    worker = devnet.worker("write-token", miners.window, "--no-default", "--precommit2")
    worker.prepare([])
    token = miners.window.cli("auth", "create-token", "--perm", "write").stdout.strip()
    process = worker.launch({"MINER_API_INFO": miners.window.api_info(token)})
    assert process.wait_exit(START_SEC) == 0
    assert "Registering worker failed: missing permission to invoke 'WorkerConnect' (need 'admin')" in process.log()


@pytest.mark.parametrize(("name", "message"), [("wrong-token", "401 Unauthorized"), ("no-miner", "connection refused")])
def test_worker_without_its_miner_asks_for_ever(devnet: Devnet, miners: Miners, name: str, message: str) -> None:
    worker = devnet.worker(name, miners.window, "--no-default", "--precommit2")
    worker.prepare([])
    info = {
        "wrong-token": miners.window.api_info("not.a.token"),
        "no-miner": miners.window.api_info().replace(miners.window.host, devnet.address()),
    }[name]
    process = worker.launch({"MINER_API_INFO": info})
    for count in (1, 3):
        process.wait_log("Connecting to miner API... (", START_SEC, count)
    assert message in process.stdout()
    holds("it goes on asking", process.alive, 1)
    assert name not in miners.window.workers()
    process.kill()


def test_workers_api_wants_the_token(devnet: Devnet, miners: Miners) -> None:
    worker = devnet.worker("api", miners.window, "--no-default", "--precommit2")
    worker.prepare([])
    body = {"jsonrpc": "2.0", "id": 1, "method": "Filecoin.TaskTypes", "params": []}
    with running(worker):
        assert Rpc(worker.address, "not.a.token").post(body)[0] == 401
        token = (miners.window.repo / "token").read_text().strip()
        assert set(Rpc(worker.address, token).call("TaskTypes")) == BASE | {PC2}
