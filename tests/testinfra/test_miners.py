"""Miners: one of a kind, each with its part only, the stores attached, the numbers apart."""

from __future__ import annotations

import lotus_peer_id
import pytest

from tests.testinfra.cluster import LAB, Process, daemons, machine, miners, output, plan

ACTOR = "t01000"
(WINNING,) = miners("winning")
(WINDOW,) = miners("window")
BLOCK = "mined new block"
PROOF = "starting PoSt cycle"


@pytest.mark.parametrize("role", ["winning", "window"])
def test_there_is_one_such_process_in_the_whole_cluster(role: str) -> None:
    running = [
        host
        for host in LAB.hosts
        if output(host, f"systemctl is-active lotus-miner-{role} || true").strip() == "active"
    ]
    assert len(running) == 1


def test_the_winning_miner_makes_blocks_and_nobody_else() -> None:
    assert BLOCK in WINNING.journal()
    assert [str(miner) for miner in miners("window", "seal", "deal") if BLOCK in miner.journal()] == []


def test_the_window_miner_proves_and_nobody_else() -> None:
    assert PROOF in WINDOW.journal()
    assert [str(miner) for miner in miners("winning", "seal", "deal") if PROOF in miner.journal()] == []


def test_f3_takes_part_in_one_process() -> None:
    silent = {str(miner) for miner in miners() if miner.environment().get("LOTUS_DISABLE_F3_SUBSYSTEM") == "1"}
    assert silent == {str(miner) for miner in miners()} - {str(WINNING)}


@pytest.mark.parametrize("miner", miners(), ids=str)
def test_the_stores_are_attached(miner: Process) -> None:
    attached = miner.call("StorageLocal")
    for path in plan()["miners"][miner.host]["paths"]:
        assert attached.get(path["id"]) == path["path"]


@pytest.mark.parametrize("miner", [WINNING, WINDOW], ids=str)
def test_the_genesis_sectors_can_be_proven(miner: Process) -> None:
    assert any(path.endswith("/genesis") for path in miner.call("StorageLocal").values())


@pytest.mark.parametrize("miner", [WINNING, WINDOW], ids=str)
def test_new_sectors_are_looked_for_on_a_timer(miner: Process) -> None:
    timer = machine(miner.host).service(f"lotus-miner-redeclare-{miner.name}.timer")
    assert timer.is_running and timer.is_enabled


@pytest.mark.parametrize("miner", miners("seal", "deal"), ids=str)
def test_a_coordinator_seals_nothing_itself(miner: Process) -> None:
    own = [
        entry
        for entry in miner.call("WorkerStats").values()
        if entry["Info"]["Hostname"] == f"{miner.host}/{miner.name}-miner"
    ]
    sealing = {"seal/v0/addpiece", "seal/v0/precommit/1", "seal/v0/precommit/2", "seal/v0/commit/2"}
    assert not any(sealing & set(entry["Tasks"] or []) for entry in own)


@pytest.mark.parametrize("miner", miners("seal", "deal"), ids=str)
def test_a_miner_reserves_what_the_others_issue_and_nothing_of_its_own(miner: Process) -> None:
    ranges = {
        str(other): plan()["miners"][other.host]["instances"][other.name]["sector_numbers"].split("-")
        for other in miners("seal", "deal")
    }
    first, last = (int(number) for number in ranges.pop(str(miner)))
    reserved = [(run[0], run[0] + run[1] - 1) for run in miner.call("SectorNumReservations").values()]
    assert all(end < first or start > last for start, end in reserved)
    assert set(reserved) >= {(int(start), int(end)) for start, end in ranges.values()}


def test_the_chain_names_the_miner_that_clients_shall_reach() -> None:
    (owner,) = [m for m in miners("seal", "deal") if plan()["miners"][m.host]["peer_id_owner"]]
    key = machine(owner.host).file(f"{owner.repo}/keystore/NRUWE4BSOAWWQ33TOQ").content_string
    daemon = next(d for d in daemons() if d.name == "private")
    assert daemon.call("StateMinerInfo", ACTOR, None)["PeerId"] == lotus_peer_id.peer_id(key)
