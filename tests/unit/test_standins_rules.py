"""Scheduler, index, numbers, chain and configuration of the stand-ins, without processes."""

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standin import numbers
from standin.chain import DEADLINE_EPOCHS, Chain, deadline_index, deadline_info
from standin.common import CommandError, fake_cid
from standin.config import Config
from standin.index import MemIndex
from standin.sched import Scheduler, Worker, allocate_on, existing_on, move_to
from standin.tasks import resource_table, task_type

SECTOR = {"Miner": 1000, "Number": 2}
BYTES = 2048
OWNER = "t3owner"


def path_info(ident: str, **fields: Any) -> dict[str, Any]:
    base = {
        "ID": ident,
        "URLs": [f"http://{ident}/remote"],
        "Weight": 10,
        "MaxStorage": 0,
        "CanSeal": True,
        "CanStore": False,
    }
    return base | fields


def stat(available: int = 1 << 30) -> dict[str, int]:
    return {"Capacity": 1 << 40, "Available": available, "FSAvailable": available, "Reserved": 0, "Max": 0, "Used": 0}


def worker(ident: str, tasks: set[str], paths: set[str], cpus: int = 8, gpus: int = 0, **rows: Any) -> Worker:
    table = {task_type(t): {"5": dict(r, **rows.get(t, {}))} for t, r in resource_table(BYTES).items()}
    resources = {
        "MemPhysical": 1 << 40,
        "MemUsed": 0,
        "MemSwap": 0,
        "MemSwapUsed": 0,
        "CPUs": cpus,
        "GPUs": ["GPU"] * gpus,
        "Resources": table,
    }
    info = {"Hostname": ident, "IgnoreResources": False, "Resources": resources}
    return Worker(ident, "", lambda _method, _params: None, info, tasks, paths)


@pytest.fixture
def index() -> MemIndex:
    """PC1 paths of two groups, PC2 paths of two groups, a store; sector 2 lies in group a after precommit 1."""
    made = MemIndex()
    made.storage_attach(path_info("pc1-a", AllowTo=["a"]), stat())
    made.storage_attach(path_info("pc1-b", AllowTo=["b"]), stat())
    made.storage_attach(path_info("pc2-a", Groups=["a"]), stat())
    made.storage_attach(path_info("pc2-b", Groups=["b"]), stat())
    made.storage_attach(path_info("store", CanSeal=False, CanStore=True), stat())
    for kind in ("sealed", "cache"):
        made.storage_declare("pc1-a", SECTOR, kind, True)
    return made


def chosen(index: MemIndex, **kwargs: Any) -> set[str]:
    select = existing_on(index, SECTOR, ["sealed", "cache"], BYTES, kwargs.pop("fetch", True))
    return {name for name in ("pc1-a", "pc1-b", "pc2-a", "pc2-b") if select(worker(name, {"PC2"}, {name}))[0]}


def test_pc2_stays_in_its_group(index: MemIndex) -> None:
    assert chosen(index) == {"pc1-a", "pc2-a"}


def test_a_holder_without_allow_to_opens_the_sector_to_all(index: MemIndex) -> None:
    for kind in ("sealed", "cache"):
        index.storage_declare("store", SECTOR, kind, True)
    assert chosen(index) == {"pc1-a", "pc1-b", "pc2-a", "pc2-b"}


def test_c1_stays_with_the_data(index: MemIndex) -> None:
    assert chosen(index, fetch=False) == {"pc1-a"}


def test_pc2_needs_the_space_of_sealed_and_cache(index: MemIndex) -> None:
    index.storage_health("pc2-a", {"Stat": stat(30923), "Err": ""})
    assert chosen(index) == {"pc1-a"}
    index.storage_health("pc2-a", {"Stat": stat(30924), "Err": ""})
    assert chosen(index) == {"pc1-a", "pc2-a"}


def test_a_stale_path_is_unusable_even_after_it_is_attached_again(index: MemIndex) -> None:
    index.stores["pc2-a"].heartbeat = time.monotonic() - 51
    index.storage_attach(path_info("pc2-a", Groups=["a"]), stat())
    assert chosen(index) == {"pc1-a"}
    index.storage_health("pc2-a", {"Stat": stat(), "Err": ""})
    assert chosen(index) == {"pc1-a", "pc2-a"}


def test_precommit_1_ignores_groups(index: MemIndex) -> None:
    select = allocate_on(index, ["sealed", "cache"], BYTES, 1000)
    assert select(worker("pc1-b", {"PC1"}, {"pc1-b"}))[0]
    assert not select(worker("store", {"PC1"}, {"store"}))[0]


def test_finalize_prefers_the_path_that_holds_the_sector(index: MemIndex) -> None:
    kinds = ["sealed", "cache"]
    assert move_to(index, SECTOR, kinds, BYTES, True)(worker("w", {"GET"}, {"store"})) == (True, False)
    assert move_to(index, SECTOR, kinds, BYTES, False)(worker("w", {"GET"}, {"store", "pc1-a"})) == (False, False)
    for kind in kinds:
        index.storage_declare("store", SECTOR, kind, True)
    assert move_to(index, SECTOR, kinds, BYTES, False)(worker("w", {"GET"}, {"store"})) == (True, True)


def test_allow_miners_on_a_store_blocks_finalize(index: MemIndex) -> None:
    index.storage_attach(path_info("store", CanSeal=False, CanStore=True, AllowMiners=["t01000"]), stat())
    assert move_to(index, SECTOR, ["sealed", "cache"], BYTES, True)(worker("w", {"GET"}, {"store"})) == (False, False)


def test_concurrency_threads_and_gpus_bound_a_worker() -> None:
    capped = worker("w", {"PC1"}, set(), PC1={"MaxConcurrent": 1})
    assert capped.fits("PC1")
    capped.used.append("PC1")
    assert not capped.fits("PC1")
    small = worker("w", {"PC1"}, set(), cpus=1)
    small.used.append("AP")
    assert not small.fits("PC1")
    one_gpu = worker("w", {"C2"}, set(), gpus=1)
    one_gpu.used.append("C2")
    assert not one_gpu.fits("C2")
    assert worker("w", {"C2"}, set()).fits("C2")


def test_overrides_reach_the_resource_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PC1_2K_MAX_CONCURRENT", "3")
    monkeypatch.setenv("C2_MIN_MEMORY", "7")
    monkeypatch.setenv("PC2_2K_MIN_MEMORY", "1GiB")
    monkeypatch.setenv("FIL_PROOFS_USE_MULTICORE_SDR", "1")
    table = resource_table(BYTES)
    assert table["PC1"]["MaxConcurrent"] == 3
    assert table["PC1"]["MaxParallelism"] == 4
    assert table["C2"]["MinMemory"] == 7
    assert table["PC2"]["MinMemory"] == 0  # a value with a unit is not an integer, and nobody says so


def test_a_disabled_worker_gets_nothing_until_something_happens() -> None:
    seen: list[str] = []

    def call(method: str, params: list[Any]) -> None:
        seen.append(params[1])
        scheduler.returned(params[0], {"done": True}, None)

    scheduler = Scheduler("utilization", lambda _key, _call: None, {})
    only = worker("w", {"C2"}, set())
    only.call = call
    only.enabled = False
    scheduler.add(only)
    import threading

    result: list[Any] = []
    waiting = threading.Thread(target=lambda: result.append(scheduler.run(SECTOR, "C2", lambda _w: (True, False))))
    waiting.start()
    while not scheduler.queue:
        time.sleep(0.01)
    only.enabled = True
    assert scheduler.queue  # nobody looked
    assert scheduler.diag(False)["SchedInfo"]["Requests"][0]["Sector"] == SECTOR
    scheduler.diag(True)
    waiting.join(5)
    assert result == [{"done": True}]
    assert seen == ["C2"]


# numbers

ranges = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 20)), max_size=8).map(
    lambda items: numbers.normal([(a, a + b) for a, b in items])
)


@given(ranges)
def test_rle_and_text_bring_the_ranges_back(value: numbers.Ranges) -> None:
    assert numbers.from_rle(numbers.to_rle(value)) == value
    if value:
        assert numbers.parse(numbers.human(value)) == value


@given(ranges)
def test_first_free_is_the_lowest_unused(value: numbers.Ranges) -> None:
    used = {n for s, e in value for n in range(s, e + 1)}
    assert numbers.first_free(value) == min(set(range(len(used) + 1)) - used)


@pytest.mark.parametrize("text", ["0-9,10-19", "5-3", "x", "1,1", "3-4-5", ""])
def test_bad_ranges(text: str) -> None:
    with pytest.raises(CommandError, match="parsing ranges"):
        numbers.parse(text)


# chain


def genesis() -> dict[str, Any]:
    sectors = [{"SectorID": n, "CommR": {"/": f"r{n}"}} for n in (0, 1)]
    miner = {
        "ID": "t01000",
        "Owner": OWNER,
        "Worker": OWNER,
        "SectorSize": BYTES,
        "Sectors": sectors,
        "PowerBalance": "0",
    }
    account = {"Balance": "10", "Meta": {"Owner": OWNER}}
    return {"Miners": [miner], "Accounts": [account], "NetworkName": "n", "NetworkVersion": 22, "Timestamp": 1}


def mine(chain: Chain, to: int, *messages: dict[str, Any]) -> None:
    pending = list(messages)
    while chain.height < to:
        block = {
            "height": chain.height + 1,
            "parent": chain.head["cid"],
            "timestamp": 1,
            "miner": "t01000",
            "process": "p",
        }
        chain.append(block | {"cid": fake_cid(chain.height, time.time()), "messages": pending})
        pending = []


def message(method: str, nonce: int, **params: Any) -> dict[str, Any]:
    return {
        "From": OWNER,
        "To": "t01000",
        "Method": method,
        "Params": params,
        "Nonce": nonce,
        "Value": "0",
        "CID": fake_cid(method, nonce),
    }


def test_commit_needs_the_challenge_delay_and_gives_an_inactive_sector() -> None:
    chain = Chain(genesis())
    mine(chain, 1, message("PreCommitSectorBatch2", 0, Sectors=[{"SectorNumber": 2, "SealedCID": "r2"}]))
    mine(chain, 5, early := message("ProveCommitSectors3", 1, Sectors=[2]))
    assert chain.receipts[early["CID"]]["ExitCode"] == 16


def test_new_sectors_fill_a_partition_before_the_next_deadline() -> None:
    chain = Chain(genesis())
    numbers_of = range(2, 7)
    order = [{"SectorNumber": n, "SealedCID": f"r{n}"} for n in numbers_of]
    mine(chain, 12, message("PreCommitSectorBatch2", 0, Sectors=order))
    mine(chain, 13, message("ProveCommitSectors3", 1, Sectors=list(numbers_of)))
    sectors = chain.miners[1000].sectors
    assert [sectors[n]["Deadline"] for n in numbers_of] == [1, 1, 2, 2, 3]
    assert not any(sectors[n]["Active"] for n in numbers_of)


def test_a_sector_number_is_given_once() -> None:
    chain = Chain(genesis())
    mine(chain, 1, message("PreCommitSectorBatch2", 0, Sectors=[{"SectorNumber": 2, "SealedCID": "r2"}]))
    assert chain.repeats == []
    mine(
        chain,
        2,
        again := message("PreCommitSectorBatch2", 1, Sectors=[{"SectorNumber": 2, "SealedCID": "x"}], Process="other"),
    )
    assert chain.receipts[again["CID"]]["ExitCode"] == 16
    assert chain.repeats == ["t01000 sector 2 precommitted twice, now by other"]


def test_an_unproven_deadline_makes_its_sectors_faulty_and_a_proof_heals_them() -> None:
    chain = Chain(genesis())
    miner = chain.miners[1000]
    opened = next(h for h in range(1, 3000) if deadline_index(h) == 0)
    mine(chain, opened - 1)
    assert miner.raw_power() == 2 * BYTES
    mine(chain, opened + 1, message("SubmitWindowedPoSt", 0, Deadline=0, Partitions=[0]))
    mine(chain, opened + DEADLINE_EPOCHS + 1)
    assert miner.raw_power() == 2 * BYTES
    mine(chain, opened + 2880 + DEADLINE_EPOCHS + 1)
    assert miner.raw_power() == 0
    mine(chain, opened + 2 * 2880 - 1)
    mine(chain, opened + 2 * 2880, message("SubmitWindowedPoSt", 1, Deadline=0, Partitions=[0]))
    assert miner.raw_power() == 2 * BYTES


def test_deadline_info_surrounds_its_height() -> None:
    for height in (0, 1, 657, 658, 717, 718, 5000):
        info = deadline_info(height)
        assert info["Open"] <= height < info["Close"]
        assert info["Index"] == deadline_index(height)


def test_a_chain_is_the_same_after_a_restart_and_a_torn_last_line(tmp_path: Path) -> None:
    file = tmp_path / "blocks"
    chain = Chain(genesis(), str(file))
    mine(chain, 5)
    file.write_text(file.read_text() + '{"height": 6, "par')
    again = Chain(genesis(), str(file))
    again.load()
    assert again.head == chain.head


# configuration


def write(tmp_path: Path, text: str) -> str:
    (tmp_path / "config.toml").write_text(text)
    return str(tmp_path / "config.toml")


def test_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOTUS_SEALING_MAXPRECOMMITBATCH", "7")
    config = Config(write(tmp_path, "[Sealing]\nMaxPreCommitBatch = 1\n"), "miner")
    assert config.number("Sealing.MaxPreCommitBatch") == 7
    assert config.seconds("Sealing.PreCommitBatchWait") == 86400


@pytest.mark.parametrize(
    ("role", "text", "message"),
    [
        ("daemon", "[API]\n", "explicit set of EnableSplitstore"),
        ("miner", "[Storage]\nAllowCommit = 'no'\n", "incompatible types"),
        ("miner", "[Sealing]\nPreCommitBatchWait = '5 seconds'\n", "invalid duration"),
        ("miner", "not toml", "toml"),
    ],
)
def test_bad_configuration(tmp_path: Path, role: str, text: str, message: str) -> None:
    with pytest.raises(CommandError, match=message):
        Config(write(tmp_path, text), role)
