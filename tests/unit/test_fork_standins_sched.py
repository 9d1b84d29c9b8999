"""myScheduler on real processes: live limits, rounds that do not come, and who counts as an official worker."""

import json
from datetime import datetime
from pathlib import Path

import pytest

from tests.unit.fork_net import OFFICIAL, SEALER, ForkNet, Running, build, eventually, set_limits, state, stats

AFTER_PC2 = "PreCommitBatchWait"  # the first state that waits for the chain, which nobody mines in most of these tests
PRECOMMITTED = ("WaitSeed", "Committing", "SubmitCommitAggregate", "CommitAggregateWait", "FinalizeSector", "Proving")
LIMIT_KEYS = ("AddPieceMax", "PreCommit1Max", "PreCommit2Max", "Commit2Max")


def shown(miner: Running, worker: str) -> list[int]:
    resources = stats(miner)[worker]["Info"]["Resources"]
    return [resources[key] for key in LIMIT_KEYS]


def pledge(miner: Running) -> int:
    return int(miner.call("PledgeSector")["Number"])


def nudge(fork: ForkNet, miner: Running) -> None:
    fork.cli(miner, "sealing", "sched-diag", "--force-sched")


def reaches(miner: Running, sector: int, wanted: str) -> None:
    eventually(lambda: state(miner, sector) == wanted, lambda: f"sector {sector} {wanted}: {miner.text()[-3000:]}")


def queued(miner: Running) -> list[str]:
    return [request["TaskType"] for request in miner.call("SealingSchedDiag", False)["SchedInfo"]["Requests"]]


def test_a_sector_goes_all_the_way(fork: ForkNet) -> None:
    miner = fork.serving(fork.miner("m", "--window-post=false"))
    store = fork.root / "store"
    fork.cli(miner, "storage", "attach", "--init", "--store", str(store))
    fork.worker("w", miner, SEALER | {"WorkerName": "sealer-1"})
    number = pledge(miner)
    reaches(miner, number, "Proving")
    assert (store / "sealed" / f"s-t01000-{number}").exists()
    for task in ("addpiece", "precommit/1", "precommit/2", "commit/1", "commit/2", "finalize"):
        assert f"successfully scheduled for sector s-t01000-{number} taskType seal/v0/{task} to worker" in miner.text()
    assert fork.rules() == []


def test_a_number_of_another_miner_is_not_precommitted_again(fork: ForkNet) -> None:
    first = fork.serving(fork.miner("m", "--window-post=false"))
    fork.worker("w", first, SEALER | {"WorkerName": "w"})
    number = pledge(first)
    eventually(lambda: state(first, number) in PRECOMMITTED, "its precommit is on chain")
    other = fork.sealer("n")
    fork.worker("v", other, SEALER | {"WorkerName": "v"})
    assert pledge(other) == number
    other.says("sector number already allocated, not proceeding")
    assert state(other, number) == "SubmitPreCommitBatch"
    assert fork.rules() == ["sector-number-twice"]


# the file


def test_limits_change_without_a_restart(fork: ForkNet) -> None:
    miner = fork.sealer("m")
    worker = fork.worker("w", miner, {"WorkerName": "one", "AddPieceMax": 1, "ForceP1FromLocalAP": True})
    assert shown(miner, "one") == [1, 0, 0, 0]
    set_limits(worker.repo, {"WorkerName": "one", "AddPieceMax": 2, "PreCommit1Max": 5})
    assert shown(miner, "one") == [2, 5, 0, 0]
    assert stats(miner)["one"]["Info"]["Resources"]["ForceP1FromLocalAP"] is False  # a missing key is false


def test_a_broken_file_opens_the_worker(fork: ForkNet) -> None:
    miner = fork.sealer("m")
    worker = fork.worker("w", miner, SEALER | {"WorkerName": "w"}, "--precommit1max=9")
    (worker.repo / "myscheduler.json").write_text('{"AddPieceMax": 1,')
    name = next(name for name, stat in stats(miner).items() if not stat["Info"]["Resources"]["IsMiner"])
    assert shown(miner, name) == [3, 9, 1, 1]


def test_without_a_storage_path_the_flags_count(fork: ForkNet) -> None:
    miner = fork.sealer("m")
    fork.worker("w", miner, SEALER | {"WorkerName": "unread"}, "--no-local-storage")
    found = [stat["Info"]["Resources"] for stat in stats(miner).values() if not stat["Info"]["Resources"]["IsMiner"]]
    assert [found[0][key] for key in LIMIT_KEYS] == [3, 7, 1, 1]


def test_the_first_start_writes_constants_and_not_the_flags(fork: ForkNet) -> None:
    miner = fork.sealer("m")
    worker = fork.worker("w", miner, None, "--precommit1max=9")
    written = json.loads((worker.repo / "myscheduler.json").read_text())
    assert written["PreCommit1Max"] == 0
    assert next(iter(written)) == "WorkerName"


def test_out_of_space_is_ignored_on_request(fork: ForkNet) -> None:
    miner = fork.sealer("m")
    worker = fork.worker("w", miner, SEALER | {"WorkerName": "w"})
    meta = worker.repo / "sectorstore.json"
    ident = json.loads(meta.read_text())["ID"]
    assert set(json.loads(meta.read_text())) == {"ID", "Weight", "CanSeal", "CanStore", "MaxStorage"}
    before = int(miner.call("StorageStat", ident)["Available"])
    set_limits(worker.repo, SEALER | {"WorkerName": "w", "IgnoreOutOfSpace": True})
    eventually(lambda: int(miner.call("StorageStat", ident)["Available"]) > max(before, 1 << 62), "a heartbeat says so")


# rounds


def test_a_worker_that_connects_starts_no_round(fork: ForkNet) -> None:
    miner = fork.sealer("m")
    number = pledge(miner)
    miner.says("didn't find any good workers for sector s-t01000-2")
    fork.worker("w", miner, SEALER | {"WorkerName": "w"})
    eventually(lambda: "w" in stats(miner), "the worker is registered")
    assert queued(miner) == ["seal/v0/addpiece"]
    assert "successfully scheduled" not in miner.text()
    nudge(fork, miner)
    reaches(miner, number, AFTER_PC2)


def test_an_edited_file_starts_no_round(fork: ForkNet) -> None:
    miner = fork.sealer("m")
    worker = fork.worker("w", miner, {"WorkerName": "w", "IsPlanOffline": True, "AddPieceMax": 1})
    number = pledge(miner)
    miner.says("It plans offline maintenance")
    set_limits(worker.repo, SEALER | {"WorkerName": "w"})
    assert shown(miner, "w") == [1, 1, 1, 1]
    rounds = miner.text().count("trySchedMine SCHED")
    assert queued(miner) == ["seal/v0/addpiece"]
    assert miner.text().count("trySchedMine SCHED") == rounds
    nudge(fork, miner)
    reaches(miner, number, AFTER_PC2)


def test_a_lost_worker_starts_rounds(fork: ForkNet) -> None:
    miner = fork.sealer("m")
    worker = fork.worker("w", miner, SEALER | {"WorkerName": "w"})
    worker.kill()
    miner.says("failed to check worker session")
    miner.says("trySchedMine SCHED 0 queued; 2 workers")
    pledge(miner)
    miner.says("trySchedMine skipping disabled worker")
    assert queued(miner) == ["seal/v0/addpiece"]
    assert "successfully scheduled" not in miner.text()


def test_every_round_waits_for_allow_delay(fork: ForkNet) -> None:
    miner = fork.sealer("m", delay_sec=1)
    pledge(miner)
    miner.says("trySchedMine SCHED 1 queued")
    lines = [line for line in miner.text().splitlines() if "trySchedMine SCHED" in line]
    looks = [number for number, line in enumerate(lines) if " queued; " in line]
    for number in looks:
        assert "SCHED delay 1 seconds" in lines[number - 1]
        first, then = (datetime.fromisoformat(lines[at].split()[0]) for at in (number - 1, number))
        assert (then - first).total_seconds() >= 0.99


def test_without_my_scheduler_nothing_is_scheduled(fork: ForkNet) -> None:
    miner = fork.sealer("m", config="[Storage]\nAllowMyScheduler = false\n")
    fork.worker("w", miner, SEALER | {"WorkerName": "w"})
    pledge(miner)
    miner.says("SCHED 1 queued; 0 open windows")
    nudge(fork, miner)
    eventually(lambda: miner.text().count("SCHED 1 queued; 0 open windows") > 1, "a second round does as little")
    assert queued(miner) == ["seal/v0/addpiece"]


def test_a_log_level_takes_the_debug_lines_away(fork: ForkNet) -> None:
    miner = fork.sealer("m", GOLOG_LOG_LEVEL="info")
    pledge(miner)
    nudge(fork, miner)
    miner.says("forced scheduling")
    fork.worker("w", miner, SEALER | {"WorkerName": "w"})
    nudge(fork, miner)
    miner.says("trySchedMine has successfully scheduled")
    assert "DEBUG" not in miner.text()
    quiet = fork.miner("q", "--window-post=false", GOLOG_LOG_LEVEL="error")
    fork.serving(quiet)
    assert "windowPoSt" not in quiet.text()


# limits


def test_a_worker_takes_twice_its_limit_and_runs_half(fork: ForkNet) -> None:
    fork.environment["STANDIN_AP_MS"] = "60000"
    miner = fork.sealer("m")
    fork.worker("w", miner, SEALER | {"WorkerName": "w", "AddPieceMax": 2})
    for _ in range(5):
        pledge(miner)
    wanted = "Running: AP(2) | Preparing: AP(2) | Capacity: AP(2) PC1(1) PC2(1) C2(1)"
    eventually(lambda: wanted in stats(miner)["w"]["Tasks"], stats(miner)["w"]["Tasks"])
    assert queued(miner) == ["seal/v0/addpiece"]
    jobs = [job for jobs in miner.call("WorkerJobs").values() for job in jobs]
    assert [job["RunWait"] for job in jobs] == [0, 0]  # nothing is ever shown as assigned
    assert "not enough AddPiece quota" in miner.text()
    listed = fork.cli(miner, "sealing", "workers").stdout
    assert "APMax:2  P1Max:1  P2Max:1  C2Max:1  DiskHoldMax:0  APDiskHoldMax:0  BindAP:false" in listed
    assert "Tasks: [ Running: AP(2) | Preparing: AP(2) |" in listed


def test_precommit_2_stays_where_precommit_1_was(fork: ForkNet) -> None:
    miner = fork.sealer("m")
    first = {"WorkerName": "p1", "AddPieceMax": 1, "PreCommit1Max": 1, "ForceP1FromLocalAP": True}
    one = fork.worker("p1", miner, first)
    bound = {"WorkerName": "p2", "PreCommit2Max": 1, "ForceP2FromLocalP1": True}
    other = fork.worker("p2", miner, bound)
    number = pledge(miner)
    reaches(miner, number, "PreCommit2")
    miner.says("It only receives P1 from the local.")
    set_limits(other.repo, bound | {"ForceP2FromLocalP1": False})
    nudge(fork, miner)
    reaches(miner, number, AFTER_PC2)
    assert (other.repo / "cache" / f"s-t01000-{number}").exists()
    assert not (one.repo / "cache" / f"s-t01000-{number}").exists()


def test_the_disk_quota_holds_add_piece_back(fork: ForkNet) -> None:
    miner = fork.sealer("m")
    fork.worker("w", miner, {"WorkerName": "w", "AddPieceMax": 3, "DiskHoldMax": 1})
    pledge(miner)
    reaches(miner, 2, "PreCommit1")
    pledge(miner)
    miner.says("not enough DiskHold quota, 1 in use, need 1 more")
    assert state(miner, 3) == "Packing"
    assert queued(miner).count("seal/v0/addpiece") == 1


def test_a_full_path_is_named(fork: ForkNet) -> None:
    miner = fork.sealer("m")
    worker = fork.worker("w", miner, SEALER | {"WorkerName": "w"})
    meta = worker.repo / "sectorstore.json"
    worker.kill()
    meta.write_text(json.dumps(json.loads(meta.read_text()) | {"MaxStorage": 1}))
    fork.worker("w", miner, SEALER | {"WorkerName": "w"})
    eventually(lambda: "w" in stats(miner), "the worker is back")
    nudge(fork, miner)
    pledge(miner)
    miner.says(f"not allocating on {json.loads(meta.read_text())['ID']}, out of space (available: 0, need: ")
    # Add piece is still placed when the path has not reported yet.
    assert queued(miner) in (["seal/v0/addpiece"], ["seal/v0/precommit/1"])


def test_an_offline_worker_ends_what_it_runs_and_keeps_what_waits(fork: ForkNet) -> None:
    fork.environment["STANDIN_AP_MS"] = "2000"
    miner = fork.sealer("m")
    settings = {"WorkerName": "w", "AddPieceMax": 1, "ForceP1FromLocalAP": True}
    worker = fork.worker("w", miner, settings)
    for _ in range(2):
        pledge(miner)
    eventually(lambda: "Running: AP(1) | Preparing: AP(1)" in stats(miner)["w"]["Tasks"], "one runs, one waits")
    set_limits(worker.repo, settings | {"IsPlanOffline": True})
    eventually(lambda: "Running:  | Preparing: AP(1)" in stats(miner)["w"]["Tasks"], "the running one ended")
    assert "I plan to enter maintenance mode" in fork.cli(miner, "sealing", "workers").stdout
    set_limits(worker.repo, settings)
    nudge(fork, miner)
    miner.says("forced scheduling")
    # A waiting task is looked at again only when another task of its worker ends.
    assert "Running:  | Preparing: AP(1)" in stats(miner)["w"]["Tasks"]


def test_worker_commands(fork: ForkNet) -> None:
    miner = fork.sealer("m")
    worker = fork.worker("w", miner, SEALER | {"WorkerName": "w"})
    fork.environment["LOTUS_WORKER_PATH"] = str(worker.repo)
    assert "Hostname: w" in fork.run("lotus-worker", "info").stdout
    fork.run("lotus-worker", "tasks", "disable", "AP")
    eventually(lambda: "AP" not in stats(miner)["w"]["TaskTypes"].split(), "add piece is off")
    refused = fork.run("lotus-worker", "tasks", "disable", "RU", check=False)
    assert "unknown task type 'RU'" in refused.stderr
    fork.run("lotus-worker", "wait-quiet")
    fork.run("lotus-worker", "set", "--enabled=false")
    eventually(lambda: not stats(miner)["w"]["Enabled"], "the worker is off")
    pledge(miner)
    miner.says("trySchedMine skipping disabled worker w")


# official workers


def test_a_worker_idled_by_zeros_counts_as_official(fork: ForkNet) -> None:
    miner = fork.sealer("m")
    fork.worker("w", miner, {"WorkerName": "idle"})
    number = pledge(miner)
    reaches(miner, number, AFTER_PC2)
    assert "hostname idle [External]" in fork.cli(miner, "sealing", "workers").stdout
    assert fork.rules() == ["worker-idled-by-zeros"]


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("official"), "--fork", "--official-worker")


def test_an_official_worker_does_all_but_add_piece(fork: ForkNet, official: Path) -> None:
    miner = fork.sealer("m")
    fork.worker("o", miner, None, program=str(official))
    assert not (fork.root / "o" / "myscheduler.json").exists()
    number = pledge(miner)
    miner.says("wrong param count (method 'Filecoin.AddPiece'): 5")
    set_limits(miner.repo, {"AddPieceMax": 0, "ForceP1FromLocalAP": True})
    fork.worker("w", miner, {"WorkerName": "ap", "AddPieceMax": 1, "ForceP2FromLocalP1": True})
    text = json.dumps(OFFICIAL | {"AllowDelay": 0, "AddPieceMax": 0})
    (miner.repo / "externalWorker.json").write_text(text)
    reaches(miner, number, AFTER_PC2)
    assert (fork.root / "o" / "cache" / f"s-t01000-{number}").exists()


def test_without_lotus_miner_path_official_workers_get_nothing(fork: ForkNet, official: Path) -> None:
    repo = fork.repo("m")
    made = fork.miner("m", "--winning-post=false", LOTUS_MINER_PATH="", LOTUS_STORAGE_PATH=str(repo))
    assert made.ends() == 1  # set but empty wins
    before = fork.environment.copy()
    miner = fork.miner("m", "--winning-post=false", LOTUS_STORAGE_PATH=str(repo), LOTUS_MINER_PATH=str(repo))
    fork.serving(miner).kill()
    fork.environment = {k: v for k, v in before.items() if k != "LOTUS_MINER_PATH"}
    (repo / "api").unlink()
    miner = fork.start("m", repo, miner.port, "lotus-miner", "run", "--nosync", LOTUS_STORAGE_PATH=str(repo))
    fork.serving(miner)
    fork.worker("o", miner, None, program=str(official))
    pledge(miner)
    miner.says("not enough AddPiece quota")


# pledging


def test_pledge_commands_count_limits_and_not_tasks(fork: ForkNet) -> None:
    miner = fork.sealer("m")
    fork.worker("w", miner, SEALER | {"WorkerName": "w", "AddPieceMax": 2}, "--addpiece=false")
    fork.worker("v", miner, SEALER | {"WorkerName": "v", "AddPieceMax": 1})
    once = fork.cli(miner, "sectors", "mypledgeonce").stdout
    # A miner without a storage path stands on its flags, and those say 3.
    assert once.splitlines() == [f"Created CC sector:  {number}" for number in (2, 3, 4)]
    assert len(fork.cli(miner, "sectors", "mypledge").stdout.splitlines()) == 3 + 2 + 1


def test_load_decides_about_add_piece_where_both_ask_for_it(fork: ForkNet) -> None:
    fork.environment |= {"STANDIN_AP_MS": "60000"}
    miner = fork.sealer("m")
    fork.worker("big", miner, SEALER | {"WorkerName": "big", "AddPieceMax": 9, "AutoPledgeDiff": 1})
    fork.worker("small", miner, SEALER | {"WorkerName": "small", "AddPieceMax": 1, "AutoPledgeDiff": 1})
    for _ in range(4):
        pledge(miner)
    eventually(lambda: "AP(3)" in stats(miner)["big"]["Tasks"], "the big one has three")
    assert "Running: AP(1)" in stats(miner)["small"]["Tasks"]


# templates and stores


def test_add_piece_copies_a_template_and_a_bad_one_spoils_sectors(fork: ForkNet) -> None:
    miner = fork.sealer("m")
    worker = fork.worker("w", miner, SEALER | {"WorkerName": "w", "PreCommit1Max": 0})
    pledge(miner)
    reaches(miner, 2, "PreCommit1")
    template = worker.repo / "addpiece_1000"
    assert template.read_bytes() == bytes(2048)
    assert (worker.repo / "addpieceCID_1000").exists()
    pledge(miner)
    reaches(miner, 3, "PreCommit1")
    worker.says("Copy add piece for sector 3 successfully to")
    template.write_bytes(b"x")
    pledge(miner)
    reaches(miner, 4, "PreCommit1")
    set_limits(worker.repo, SEALER | {"WorkerName": "w"})
    nudge(fork, miner)
    eventually(lambda: "commitment does not match" in miner.call("SectorsStatus", 4, False)["LastErr"], "4 is spoiled")


def test_a_store_is_initialised_once(fork: ForkNet) -> None:
    store = fork.root / "store"
    fork.cli(fork.sealer("m"), "storage", "attach", "--init", "--store", str(store))
    post = fork.serving(fork.miner("p", "--winning-post=false"))
    again = fork.cli(post, "storage", "attach", "--init", "--store", str(store), check=False)
    assert "path is already initialized" in again.stderr
    fork.cli(post, "storage", "attach", str(store))
    sector = {"ID": {"Miner": 1000, "Number": 7}}
    assert "No state" in post.call("CheckProvable", 5, [sector])["7"]  # a post miner has no records of sectors


def test_a_post_miner_proves_what_others_seal_into_the_shared_store(fork_quick: ForkNet) -> None:
    fork = fork_quick
    store = fork.root / "store"
    post = fork.serving(fork.miner("p"))
    fork.cli(post, "storage", "attach", "--init", "--store", str(store))
    sealer = fork.sealer("m")
    fork.cli(sealer, "storage", "attach", str(store))
    fork.worker("w", sealer, SEALER | {"WorkerName": "w"})
    number = pledge(sealer)
    reaches(sealer, number, "Proving")
    assert fork.node is not None
    node = fork.node.api("v1")

    def active() -> bool:
        return number in [s["SectorNumber"] for s in node.call("StateMinerActiveSectors", ["t01000", None])]

    eventually(active, post.text, 180)
    assert post.call("SectorsList") == []
    assert fork.rules() == []


# what the closed releases read


def test_core_groups_of_two_workers_may_not_overlap(fork: ForkNet) -> None:
    miner = fork.sealer("m")
    for name, begin, end in (("a", "0", "8"), ("b", "8", "16")):
        cores = {"ENV_CPU_CORE_BEGIN_NUM": begin, "ENV_CPU_CORE_END_NUM": end}
        fork.worker(name, miner, SEALER | {"WorkerName": name}, **cores)
    assert fork.rules() == []
    fork.worker("c", miner, SEALER, ENV_CPU_CORE_BEGIN_NUM="15", ENV_CPU_CORE_END_NUM="17")
    assert fork.rules() == ["core-ranges-overlap"]
    fork.worker("d", miner, SEALER, ENV_CPU_CORE_BEGIN_NUM="4", NUM_HANDLES="10", NUM_KERNELS="5")
    assert fork.rules() == ["core-ranges-overlap", "core-range-invalid", "num-out-of-range"]


# the first generation


@pytest.fixture(scope="module")
def first_generation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("first"), "--fork", "--generation", "1")


def test_the_first_generation_goes_by_flags(fork: ForkNet, first_generation: Path) -> None:
    fork.programs = first_generation
    miner = fork.sealer("m", config="[Storage]\nPreCommit1Max = 4\nPreCommit1HoldMax = 5\n")
    flags = ("--precommit1max=2", "--precommit1holdmax=1", "--precommit2max=0", "--forcep2fromlocalp1=true")
    worker = fork.worker("w", miner, None, *flags)
    assert not (worker.repo / "myscheduler.json").exists()
    found = next(s["Info"]["Resources"] for s in stats(miner).values() if not s["Info"]["Resources"]["IsMiner"])
    assert [found[key] for key in (*LIMIT_KEYS, "PreCommit1HoldMax")] == [3, 2, 0, 1, 1]
    assert found["ForceP2FromLocalP1"] is True
    assert stats(miner)[next(iter(stats(miner)))]["Info"]["Resources"]["AllowMyScheduler"] is True
    # One after the other: what a worker holds is what lies on its disk, and two at once would both find it empty.
    pledge(miner)
    eventually(lambda: state(miner, 2) == "PreCommit2", "the first has its layers")
    pledge(miner)
    eventually(lambda: state(miner, 3) == "PreCommit1", "one is held back")
    miner.says("not enough PreCommit1Hold quota")
    assert fork.rules() == []
    refused = fork.run("lotus-worker", "run", "--diskholdmax=1", check=False)
    assert "flag provided but not defined: -diskholdmax" in refused.stdout


def test_keys_of_the_first_generation_do_nothing_in_the_second(fork: ForkNet) -> None:
    fork.sealer("m", config="[Storage]\nPreCommit1Max = 4\n")
    assert fork.rules() == ["unknown-config-key"]
