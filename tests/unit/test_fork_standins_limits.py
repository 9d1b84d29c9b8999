"""The fork's rules without processes: myscheduler.json, quotas, the number in sectorid, gRPC."""

import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standin.common import CommandError
from standin.fork import counter, grpc, limits
from standin.fork.limits import Limits, refusal
from standin.fork.store import ForkIndex, ForkStore


def everywhere(_kind: str) -> bool:
    return True


def nowhere(_kind: str) -> bool:
    return False


OPEN: dict[str, Any] = {
    "AddPieceMax": 2,
    "PreCommit1Max": 2,
    "PreCommit2Max": 1,
    "Commit2Max": 1,
    "AllowP2C2Parallel": True,
}


# sectorid


@pytest.mark.parametrize(
    ("text", "value"),
    [("100", 100), ("100\n", 100), ("0100", 64), ("0x10", 16), ("1_000", 1000), ("12\n34\n", 1234), ("0", 0)],
)
def test_the_counter_reads_a_number_as_go_does(text: str, value: int) -> None:
    assert counter.parse(text) == value


@pytest.mark.parametrize("text", ["", " 5", "5 ", "77\r\n", "-5", "abc", "\n", "08", "18446744073709551616"])
def test_the_counter_refuses_what_is_no_number(text: str) -> None:
    with pytest.raises(ValueError, match=r"strconv\.ParseUint|invalid literal"):
        counter.parse(text)


@given(st.integers(0, 2**64 - 1))
def test_a_number_comes_back_from_its_message(number: int) -> None:
    assert grpc.decode(grpc.encode(number)) == number


def test_two_miners_pledging_at_once_get_no_number_twice(tmp_path: Path) -> None:
    (tmp_path / "sectorid").write_text("1000\n")
    probe, address = listener()
    probe.close()
    server = counter.Counter(str(tmp_path), address)
    server.start()
    assert server.running
    drawn: list[int] = []

    def pledge() -> None:
        drawn.extend(grpc.call(address) for _ in range(100))

    miners = [threading.Thread(target=pledge) for _ in range(2)]
    for miner in miners:
        miner.start()
    for miner in miners:
        miner.join()
    assert sorted(drawn) == list(range(1001, 1201))
    assert (tmp_path / "sectorid").read_text() == "1200"


def listener() -> tuple[socket.socket, str]:
    made = socket.socket()
    made.bind(("127.0.0.1", 0))
    made.listen(5)
    return made, f"127.0.0.1:{made.getsockname()[1]}"


def test_every_call_of_the_counter_takes_a_number() -> None:
    numbers = iter(range(7, 10))
    server, address = listener()

    def accept() -> None:
        for _ in range(2):
            grpc.serve(server.accept()[0], lambda: next(numbers))

    threading.Thread(target=accept, daemon=True).start()
    assert [grpc.call(address), grpc.call(address)] == [7, 8]


def test_a_counter_that_is_away_silent_or_misspelt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN_COUNTER_TIMEOUT_MS", "100")
    server, address = listener()
    with pytest.raises(CommandError, match="timed out waiting for server handshake"):
        grpc.call(address)
    server.close()
    with pytest.raises(CommandError, match=r"code = Unavailable .*connection refused"):
        grpc.call(address)
    with pytest.raises(CommandError, match="missing port in address"):
        grpc.call("127.0.0.1")


# myscheduler.json


def test_missing_keys_are_zero_and_not_the_written_defaults() -> None:
    found = limits.parse('{"addpiecemax": 2, "Unknown": 1}', limits.WRITTEN)
    assert found["AddPieceMax"] == 2
    assert found["ForceP1FromLocalAP"] is False
    assert set(found) == set(limits.WRITTEN)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"AddPieceMax": "2"}', '{"AddPieceMax": -1}', '{"IsPlanOffline": 1}', '{"PreCommit1Max": true}']
)
def test_a_broken_file_leaves_the_flags(tmp_path: Path, text: str) -> None:
    (tmp_path / limits.FILE).write_text(text)
    assert limits.read([str(tmp_path)]) is None


def test_without_a_path_that_has_the_file_the_flags_count(tmp_path: Path) -> None:
    assert limits.read([]) is None
    assert limits.read([str(tmp_path)]) is None


def test_of_two_files_chance_decides(tmp_path: Path) -> None:
    for name, most in (("a", 1), ("b", 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / limits.FILE).write_text(json.dumps({"AddPieceMax": most}))
    paths = [str(tmp_path / name) for name in "ab"]
    seen = {(limits.read(paths) or {})["AddPieceMax"] for _ in range(200)}
    assert seen == {1, 2}


def test_the_disk_quota_counts_layers_sealed_and_unsealed(tmp_path: Path) -> None:
    for kind in ("unsealed", "sealed", "cache"):
        (tmp_path / kind / "fetching").mkdir(parents=True)
    (tmp_path / "unsealed" / "s-t01000-2").touch()
    (tmp_path / "sealed" / "s-t01000-2").touch()
    (tmp_path / "cache" / "s-t01000-2").mkdir()
    (tmp_path / "addpiece_1000").touch()
    assert limits.disk_used([str(tmp_path)]) == (2, 1)  # a PC1 counts late: no layer yet
    (tmp_path / "cache" / "s-t01000-2" / "sc-02-data-layer-1.dat").touch()
    assert limits.disk_used([str(tmp_path)]) == (16, 1)


@pytest.mark.parametrize(
    ("task", "settings", "load", "words"),
    [
        ("AP", {"AddPieceMax": 0}, [], "not enough AddPiece quota"),
        ("PC1", {}, ["PC1", "PC1"], "not enough PreCommit1 quota"),
        ("PC2", {}, ["PC2"], "not enough PreCommit2 quota"),
        ("C2", {}, ["C2"], "not enough Commit2 quota"),
        ("AP", {"DiskHoldMax": 5, "DiskUsed": 5}, [], "not enough DiskHold quota, 5 in use, need 1 more"),
        ("PC1", {"DiskHoldMax": 18, "DiskUsed": 5}, [], "not enough DiskHold quota, 5 in use, need 14 more"),
        ("AP", {"APDiskHoldMax": 3, "APDiskUsed": 3}, [], "not enough APDiskHold quota"),
        ("PC1", {"ForceP1FromLocalAP": True}, [], "It only receives AP from the local."),
        ("PC2", {"ForceP2FromLocalP1": True}, [], "It only receives P1 from the local."),
        ("C2", {"ForceC2FromLocalP2": True}, [], "It only receives P2 from the local."),
        ("PC2", {"AllowP2C2Parallel": False}, ["C2"], "already has a C2 running"),
        ("C2", {"AllowP2C2Parallel": False}, ["PC2"], "already has a P2 running"),
        ("C2", {"IsPlanOffline": True}, [], "It plans offline maintenance"),
    ],
)
def test_refusals(task: str, settings: dict[str, Any], load: list[str], words: str) -> None:
    assert words in refusal(task, Limits(**OPEN | settings), load, nowhere)
    assert refusal(task, Limits(**OPEN), [], nowhere) == ""


@pytest.mark.parametrize("task", ["C1", "FIN", "GET", "UNS"])
def test_what_is_always_taken(task: str) -> None:
    assert refusal(task, Limits(IsPlanOffline=True, DiskHoldMax=1, DiskUsed=9), [task] * 5, nowhere) == ""


def test_tight_mode_refuses_all_but_c2_and_local_pc2() -> None:
    tight = Limits(**OPEN | {"DiskHoldMax": 10, "DiskUsed": 11})
    assert tight.tight()
    assert not Limits(**OPEN | {"DiskHoldMax": 11, "DiskUsed": 11}).tight()
    for task in ("AP", "PC1"):
        assert "constraints" in refusal(task, tight, [], everywhere)
    assert "constraints" in refusal("PC2", tight, [], nowhere)
    assert refusal("PC2", tight, [], everywhere) == ""
    assert refusal("C2", tight, [], nowhere) == ""


def test_the_first_generation_holds_back_finished_precommits() -> None:
    held = Limits(**OPEN | {"PreCommit1HoldMax": 3, "PreCommit1Hold": 3})
    assert refusal("PC1", held, [], everywhere) == "not enough PreCommit1Hold quota"
    assert refusal("PC1", Limits(**OPEN | {"PreCommit1Hold": 9}), [], everywhere) == ""


@pytest.mark.parametrize(
    ("settings", "external"),
    [
        ({}, True),
        ({"DiskUsed": 3, "AutoPledgeDiff": 1}, True),
        ({"IsPlanOffline": True}, False),
        ({"ForceP1FromLocalAP": True}, False),
        ({"DiskHoldMax": 1}, False),
        ({"Commit2Max": 1}, False),
    ],
)
def test_who_counts_as_an_official_worker(settings: dict[str, Any], external: bool) -> None:
    assert Limits(**settings).external() is external


# paths


def store_of(path: Path, **fields: Any) -> ForkStore:
    for kind in ("unsealed", "sealed", "cache"):
        (path / kind).mkdir(parents=True)
    meta = {"ID": "one", "Weight": 10, "CanSeal": False, "CanStore": True, "MaxStorage": 0} | fields
    (path / "sectorstore.json").write_text(json.dumps(meta))
    made = ForkStore(ForkIndex(), "http://here/remote", lambda: "", 1)
    made.open(str(path))
    return made


def test_a_sector_in_a_store_is_found_though_nobody_declared_it(tmp_path: Path) -> None:
    sector = {"Miner": 1000, "Number": 7}
    store = store_of(tmp_path / "store")
    assert store.find(sector, "sealed") is None
    (tmp_path / "store" / "sealed" / "s-t01000-7").touch()
    assert store.find(sector, "sealed") == (str(tmp_path / "store" / "sealed" / "s-t01000-7"), "one")
    assert store.index.storage_list()["one"][0]["Number"] == 7


def test_it_is_not_looked_for_on_scratch(tmp_path: Path) -> None:
    store = store_of(tmp_path / "scratch", CanSeal=True, CanStore=False)
    (tmp_path / "scratch" / "sealed" / "s-t01000-7").touch()
    assert store.find({"Miner": 1000, "Number": 7}, "sealed") is None


def test_a_second_path_of_the_same_id_takes_the_place_of_the_first(tmp_path: Path) -> None:
    store = store_of(tmp_path / "a")
    store_of(tmp_path / "b")
    store.open(str(tmp_path / "b"))
    assert store.paths["one"][0] == str(tmp_path / "b")


def test_groups_are_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN_VIOLATIONS", str(tmp_path / "violations"))
    store = store_of(tmp_path / "a", Groups=["a"])
    assert "unknown-config-key" in (tmp_path / "violations").read_text()
    assert store.index.storage_info("one")["Groups"] is None
