"""Handing the actor over: tasks in flight, proofs due, sectors accounted for, the highest number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lotus_rpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from miner_processes import duties_of, processes
from sealyard.errors import SealyardError
from sealyard.lotus.runs import members, top_of
from sealyard.operations.handover import (
    actor_chain_calls,
    highest_number,
    hosts_miner_processes,
    hosts_unseen_problems,
    live_sectors,
    miner_answers_moving_calls,
    miner_answers_undeclared_sectors,
    miner_role_calls,
    moving_sectors,
    processes_accounted,
    processes_carried_reservation,
    processes_handover_problems,
    processes_highest_number,
    processes_layout_problems,
    processes_single_miner,
    sector_states,
    state_calls,
    tasks_in_flight,
)
from sealyard.operations.proving_deadline import chain_answers_proofs_due
from sealyard.operations.unaccounted import unaccounted_sectors, unaccounted_text
from sealyard_host.units import by_name
from store_sectors import look

from tests.unit.fork_net import ForkNet
from tests.unit.test_proving_deadline import chain, deadline_answers

STATS = {"w1": {"Info": {"Hostname": "pc1-a/pc1-0"}}}
NOBODY = "00000000-0000-0000-0000-000000000000"


def job(number: int, task: str, wait: int, **more: str) -> dict[str, Any]:
    return {"Sector": {"Miner": 1000, "Number": number}, "Task": task, "RunWait": wait, **more}


def test_every_task_that_a_stop_would_lose_is_named() -> None:
    jobs = {
        "w1": [job(5, "seal/v0/precommit/1", 0), job(4, "seal/v0/precommit/1", 3), job(6, "seal/v0/addpiece", 1)],
        "gone": [job(7, "seal/v0/finalize", 0)],
        NOBODY: [
            job(8, "seal/v0/commit/2", -1, Hostname="c2-a/c2-0"),
            job(9, "seal/v0/commit/2", -2, Hostname="c2-a/c2-0"),
            job(10, "seal/v0/commit/2", -3, Hostname="c2-a/c2-0"),
        ],
    }
    assert tasks_in_flight(jobs, STATS, "seal/seal") == [
        "sector 4: PC1 is assigned on pc1-a/pc1-0 for seal/seal",
        "sector 5: PC1 runs on pc1-a/pc1-0 for seal/seal",
        "sector 6: AP is prepared on pc1-a/pc1-0 for seal/seal",
        "sector 7: FIN runs on a worker that is away for seal/seal",
        "sector 8: C2 runs on c2-a/c2-0 for seal/seal",
        "sector 9: C2 has returned on c2-a/c2-0 for seal/seal",
    ]
    assert tasks_in_flight(None, None, "seal/seal") == []


def test_states_come_from_few_calls() -> None:
    assert [call["method"] for call in state_calls()][:2] == ["SectorsList", "SectorsListInStates"]
    first: list[dict[str, Any]] = [
        {"method": "SectorsList", "params": [], "result": [2, 3, 4, 5]},
        {"method": "SectorsListInStates", "params": [["Proving"]], "result": [2]},
        {"method": "SectorsListInStates", "params": [["Removed"]], "result": None},
    ]
    assert [call["params"] for call in miner_answers_moving_calls(first)] == [[3, False], [4, False], [5, False]]
    second: list[dict[str, Any]] = [
        {"method": "SectorsStatus", "params": [3, False], "result": {"SectorID": 3, "State": "WaitSeed"}},
        {"method": "SectorsStatus", "params": [4, False], "result": {"SectorID": 4, "State": "Proving"}},
        {"method": "SectorsStatus", "params": [5, False], "result": None, "error": "not found"},
    ]
    states = sector_states(first, second)
    assert states == {2: "Proving", 3: "WaitSeed", 4: "Proving", 5: ""}
    assert moving_sectors(states, "seal/seal") == [
        "sector 3: WaitSeed at seal/seal",
        "sector 5: changes its state at seal/seal",
    ]
    assert moving_sectors({"2": "Proving", "3": "WaitDeals", "4": "Removed"}, "x") == []


SECTORS = [{"LiveSectors": [2, 2]}]


def seal(states: dict[int, str], process: str = "seal/seal") -> dict[str, Any]:
    return {"process": process, "states": states}


def test_sectors_on_chain_with_whole_files_are_accounted_for() -> None:
    miners = [seal({2: "Proving", 3: "Removed"}), seal({1000: "Available"}, "deal/deal")]
    stored = {"0": "", "1": "", "2": "", "1000": ""}
    assert unaccounted_sectors(miners, [0, 1, 2, 1000], stored) == []


@pytest.mark.parametrize(
    ("state", "live", "stored", "reason", "remedy"),
    [
        ("Proving", True, {}, "no store of the one miner", "mount the store"),
        ("Proving", True, {"7": "cut short"}, "not whole: cut short", "copy"),
        ("Removed", True, {}, "no store of the one miner", "mount the store"),
        ("Proving", False, {"7": ""}, "the chain does not have it", "sectors remove --really-do-it 7"),
        ("PreCommit1", False, {}, "cannot be carried over", "wait until it is Proving"),
        ("FinalizeSector", True, {}, "cannot be carried over", "wait until it is Proving"),
        ("WaitDeals", False, {}, "cannot be carried over", "sectors seal 7"),
        ("FailedUnrecoverable", False, {}, "cannot be carried over", "repair it"),
        ("FailedUnrecoverable", True, {}, "no store of the one miner", "mount the store"),
        ("TerminateWait", True, {"7": ""}, "cannot be carried over", "wait until it is Removed"),
        ("", False, {}, "it is changing its state", "wait"),
    ],
)
def test_what_is_not_accounted_for_says_why_and_what_to_do(
    state: str, live: bool, stored: dict[str, str], reason: str, remedy: str
) -> None:
    found = unaccounted_sectors([seal({7: state}, "deal/deal")], [7] if live else [], stored)
    assert [(each["process"], each["number"], each["state"]) for each in found] == [("deal/deal", 7, state)]
    assert reason in found[0]["reason"]
    assert remedy in found[0]["remedy"]


def test_the_miner_that_stays_finishes_what_it_began() -> None:
    miners = [seal({7: "PreCommit1", 8: "FinalizeSector", 9: "Proving"})]
    assert unaccounted_sectors(miners, [8], {}, "seal/seal") == []
    assert [each["number"] for each in unaccounted_sectors(miners, [8, 9], {}, "seal/seal")] == [9]


def test_a_sector_that_only_the_chain_knows_needs_its_files_too() -> None:
    found = unaccounted_sectors([], [0, 1], {"0": ""})
    assert [(each["process"], each["number"]) for each in found] == [("the chain", 1)]


def test_the_list_for_people_ends() -> None:
    found = unaccounted_sectors([], range(5), {})
    text = unaccounted_text(found, 3)
    assert len(text) == 4
    assert text[0].startswith("the chain: sector 0: the chain has it and no store")
    assert text[-1] == "and 2 more"


def test_the_highest_number_is_the_highest_that_anybody_remembers() -> None:
    assert highest_number([], []) == 0
    assert highest_number([{2: "Proving", 30: "Removed"}], [[0, 3]]) == 30
    assert highest_number([{2: "Proving"}], [[0, 3, 4, 2], None]) == 8
    assert highest_number([], [], counter=17) == 17
    reserved = {"seal-seal": [2, 1000], "by-hand": [40, 3]}
    assert highest_number([], [], [reserved, None], ["seal-seal"]) == 42


@given(st.lists(st.integers(0, 50), max_size=9))
def test_the_top_of_a_set_is_its_largest_member(runs: list[int]) -> None:
    assert top_of(runs) == max(members(runs), default=0)


# ---------------------------------------------------------------------------------------------------------------------
# Files in the stores


def write(store: Path, number: int, kinds: tuple[str, str] = ("sealed", "cache"), size: int = 2048) -> Path:
    replica, cache = (store / kind / f"s-t01000-{number}" for kind in kinds)
    cache.mkdir(parents=True)
    replica.parent.mkdir(exist_ok=True)
    replica.write_bytes(bytes(size))
    for name in ("p_aux", "t_aux", "sc-02-data-tree-r-last-0.dat"):
        (cache / name).touch()
    return cache


def test_sectors_are_found_by_their_files(tmp_path: Path) -> None:
    write(tmp_path / "a", 2)
    write(tmp_path / "b", 3)
    write(tmp_path / "b", 4, ("update", "update-cache"))
    (tmp_path / "b" / "sealed" / "s-t0999-5").touch()
    (tmp_path / "b" / "sealed" / "s-t01000-6.tmp").touch()
    assert look([str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "c")], "f01000", 2048) == {
        2: "",
        3: "",
        4: "",
    }


def test_files_that_are_not_whole_are_told(tmp_path: Path) -> None:
    write(tmp_path, 2, size=100)
    (write(tmp_path, 3) / "p_aux").unlink()
    (write(tmp_path, 4) / "sc-02-data-tree-r-last-0.dat").unlink()
    (tmp_path / "sealed" / "s-t01000-5").write_bytes(bytes(2048))
    (tmp_path / "cache" / "s-t01000-6").mkdir()
    found = look([str(tmp_path)], "t01000", 2048)
    assert "100 bytes instead of 2048" in found[2]
    assert "lacks p_aux" in found[3]
    assert "lacks sc-02-data-tree-r-last*.dat" in found[4]
    assert "no cache" in found[5]
    assert "no replica" in found[6]


def test_one_whole_copy_is_enough(tmp_path: Path) -> None:
    write(tmp_path / "a", 2, size=100)
    write(tmp_path / "b", 2)
    write(tmp_path / "c", 2, size=100)
    assert look([str(tmp_path / name) for name in "abc"], "t01000", 2048) == {2: ""}


# ---------------------------------------------------------------------------------------------------------------------
# Processes of all hosts


def process(name: str, **more: Any) -> dict[str, Any]:
    host, role = name.split("/")
    usual = {
        "active": True,
        "enabled": True,
        "repo": True,
        "configured": True,
        "pid": 1,
        "duties": [],
        "duties_in_flags": False,
    }
    said = {"answered": True, "states": {}, "allocated": None, "reservations": {}, "counter": 0}
    return {"process": name, "host": host, "role": role, **usual, **said, **more}


SINGLE: dict[str, Any] = {"s": {"instances": {"seal": {"duties": ["winning", "window"]}}}}
SPLIT: dict[str, Any] = {"s": {"instances": {"seal": {}}}, "w": {"instances": {"window": {}}}}
ALL = ["window", "winning"]


def test_a_layout_that_runs_is_not_mixed_with_another() -> None:
    assert processes_layout_problems([process("s/seal"), process("w/window", duties=["window"])], SPLIT) == []
    assert processes_layout_problems([process("s/seal", duties=ALL)], SINGLE) == []
    retired = process("w/window", duties=["window"], active=False, enabled=False)
    assert processes_layout_problems([process("s/seal", duties=ALL), retired], SINGLE) == []
    assert processes_layout_problems([], SINGLE) == processes_layout_problems([], SPLIT) == []


@pytest.mark.parametrize(
    ("processes", "miners", "playbook"),
    [
        ([process("s/seal", duties=ALL), process("w/window", enabled=False)], SINGLE, "rollback_to_single_miner.yml"),
        ([process("s/seal", duties=ALL), process("w/window", active=False)], SINGLE, "rollback_to_single_miner.yml"),
        ([process("s/seal")], SINGLE, "rollback_to_single_miner.yml"),
        ([process("s/seal", duties=ALL)], SPLIT, "split_miners.yml"),
        ([process("s/seal", duties=ALL, active=False)], SPLIT, "split_miners.yml"),
    ],
)
def test_a_second_prover_is_never_started(processes: list[Any], miners: dict[str, Any], playbook: str) -> None:
    found = processes_layout_problems(processes, miners)
    assert len(found) == 1
    assert playbook in found[0]


def test_a_repo_without_settings_is_no_single_miner() -> None:
    fresh = process("s/seal", duties=ALL, configured=False, active=False, enabled=False)
    assert processes_layout_problems([fresh], SPLIT) == []
    assert processes_single_miner([fresh]) == ""
    assert processes_single_miner([process("w/window", duties=ALL), process("s/seal", duties=ALL)]) == "s/seal"
    assert processes_single_miner([process("s/seal", duties=ALL, duties_in_flags=True)]) == ""


def chain_answers(now: int = 130, **live: list[dict[str, list[int]]]) -> list[dict[str, Any]]:
    return [*deadline_answers(chain(now), **live), {"method": "StateMinerAllocated", "result": [0, 5], "error": ""}]


def test_the_chain_is_asked_once_for_everything() -> None:
    assert [call["method"] for call in actor_chain_calls("t01000")] == [answer["method"] for answer in chain_answers()]
    assert live_sectors(chain_answers(d1=SECTORS, d7=[{"LiveSectors": [9, 1]}])) == {2, 3, 9}


def test_nobody_takes_over_blindly() -> None:
    keeper, other = process("s/seal", states={2: "Proving"}), process("d/deal", states={3: "PreCommit1"})
    answers = chain_answers(d1=[{"LiveSectors": [2, 1]}])
    assert processes_handover_problems([keeper], answers, {"2": ""}, [], "s/seal") == []
    assert "sector 3" in processes_handover_problems([keeper, other], answers, {"2": ""}, [], "s/seal")[0]
    assert "sector 2" in processes_handover_problems([keeper], answers, {}, [], "s/seal")[0]
    down = process("d/deal", active=False, answered=False)
    assert "does not answer" in processes_handover_problems([keeper, down], answers, {"2": ""}, [], "s/seal")[0]
    assert processes_handover_problems([keeper, down], answers, {"2": ""}, ["d/deal"], "s/seal") == []
    # It was accounted for, and was started again since.
    up = process("d/deal", answered=False)
    assert "does not answer" in processes_handover_problems([keeper, up], answers, {"2": ""}, ["d/deal"], "s/seal")[0]
    assert "the chain cannot be asked" in processes_handover_problems([keeper], [], {}, [], "s/seal")[0]
    assert (
        "the distributed-miner fork's"
        in processes_handover_problems([process("s/seal", duties_in_flags=True)], answers, {}, [], "")[0]
    )
    assert processes_accounted([keeper, down, process("w/window", answered=False)], ["d/deal"]) == ["d/deal", "s/seal"]


def test_numbers_that_others_gave_out_of_ones_range_are_left_out() -> None:
    keeper = process("s/seal", states={2: "Proving"})
    assert processes_carried_reservation([keeper, process("d/deal", states={1000: "Proving"})], "s/seal", "2-999") == {}
    others = [keeper, process("d/deal", states={7: "Removed", 1000: "Proving"}, allocated=[0, 2, 3, 4])]
    assert processes_carried_reservation(others, "s/seal", "2-999") == {"range": "2-8", "run": [2, 7], "due": True}
    made = [process("s/seal", reservations={"handed-over": [2, 7]}), *others[1:]]
    assert processes_carried_reservation(made, "s/seal", "2-999")["due"] is False
    counted = [keeper, process("d/deal", counter=57)]
    assert processes_carried_reservation(counted, "s/seal", "2-999")["run"] == [2, 56]
    across = [keeper, process("d/deal", allocated=[0, 2000])]
    with pytest.raises(SealyardError, match="used up"):
        processes_carried_reservation(across, "s/seal", "2-999")
    assert processes_highest_number(counted, chain_answers()) == 57


def test_a_sector_in_no_store_of_the_miner_cannot_be_proven_by_it() -> None:
    answers = [
        {"method": "StorageLocal", "result": {"here": "/mnt/store"}},
        {
            "method": "StorageList",
            "result": {
                "here": [
                    {"Miner": 1000, "Number": 2, "SectorFileType": 6},
                    {"Miner": 1000, "Number": 3, "SectorFileType": 2},
                ],
                "worker": [{"Miner": 1000, "Number": 4, "SectorFileType": 6}],
            },
        },
    ]
    live = chain_answers(d1=[{"LiveSectors": [2, 3]}])
    assert miner_answers_undeclared_sectors(answers, live) == [3, 4]
    unfinished = process("s/seal", states={3: "Proving", 4: "FinalizeSector"})
    assert miner_answers_undeclared_sectors(answers, live, [unfinished], "s/seal") == [3]


def test_hosts_are_put_together_from_what_was_registered() -> None:
    said = {"method": "SectorsList", "params": [], "result": [2]}
    hostvars: dict[str, dict[str, Any]] = {
        "s": {
            "miner_handover_found": {"processes": {"seal": {"active": True}}},
            "miner_handover_answers": {"results": [{"item": "seal", "answers": [said]}]},
            "miner_handover_moving": {
                "results": [
                    {
                        "item": {"item": "seal"},
                        "answers": [{"method": "SectorsStatus", "result": {"SectorID": 2, "State": "WaitSeed"}}],
                    }
                ]
            },
        },
        "w": {"miner_handover_found": {"processes": {"window": {"active": False}}}},
        "x": {},
    }
    found = hosts_miner_processes(hostvars, ["s", "w", "x"])
    assert [(each["process"], each["answered"], each["states"]) for each in found] == [
        ("s/seal", True, {2: "WaitSeed"}),
        ("w/window", False, {}),
    ]
    assert found[0]["moving"] == ["sector 2: WaitSeed at s/seal"]
    assert [line.split(":")[0] for line in hosts_unseen_problems(hostvars, ["s", "w", "x"])] == ["x"]


def test_duties_are_what_settings_or_flags_leave_on() -> None:
    assert duties_of("", "") == (["window", "winning"], False)
    assert duties_of("  DisableWindowPoSt = true\n  DisableWinningPoSt = false\n", "") == (["winning"], False)
    assert duties_of("#  DisableWindowPoSt = true\n", "")[0] == ["window", "winning"]
    assert duties_of("", "run --window-post=false --winning-post=true") == (["winning"], True)


def test_miner_processes_are_told_from_units_and_repos(tmp_path: Path) -> None:
    (tmp_path / "miner-seal" / "keystore").mkdir(parents=True)
    (tmp_path / "miner-seal" / "config.toml").write_text("[Subsystems]\n  DisableWindowPoSt = true\n")
    (tmp_path / "miner-seal" / "sectorid").write_text("41\n")
    shown = by_name(
        "Id=lotus-miner-seal.service\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\nMainPID=7\n\n"
        "Id=lotus-miner-deal.service\nLoadState=not-found\nActiveState=inactive\n\n"
        "Id=lotus-miner-window.service\nLoadState=loaded\nActiveState=failed\nUnitFileState=disabled\nMainPID=0\n"
    )
    found = processes(str(tmp_path), shown, str(tmp_path), tmp_path / "highest")
    assert list(found) == ["window", "seal"]
    seal_ = {"active": True, "enabled": True, "repo": True, "pid": 7, "duties": ["winning"], "counter": 41}
    assert {key: found["seal"][key] for key in seal_} == seal_
    assert not found["window"]["active"]
    assert not found["window"]["enabled"]


def test_every_call_is_one_that_the_programs_answer(fork: ForkNet) -> None:
    """The fork has no sector number assigner; all else is answered by both stacks."""
    assert fork.node is not None
    miner = fork.sealer("one")
    said = lotus_rpc.ask_all(
        {
            "repo": str(miner.repo),
            "api": None,
            "api_info_file": None,
            "calls": with_params(miner_role_calls("seal")),
            "timeout_sec": 30,
        }
    )["answers"]
    refused = {answer["method"] for answer in said if answer["error"]}
    assert refused == {"SectorNumAssignerMeta", "SectorNumReservations"}
    assert sector_states(said) == {}
    told = lotus_rpc.ask_all(
        {"repo": str(fork.node.repo), "api": "v1", "calls": with_params(actor_chain_calls("t01000")), "timeout_sec": 30}
    )["answers"]
    assert {answer["method"] for answer in told if answer["error"]} <= {"StateMinerAllocated"}
    assert live_sectors(told) == {0, 1}
    assert chain_answers_proofs_due(told, 10**4)
    assert [each["number"] for each in unaccounted_sectors([], live_sectors(told), {"0": ""})] == [1]


def with_params(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As the module's argument spec fills them in."""
    return [{"params": [], **call} for call in calls]


def test_settings_of_the_fork_make_no_single_miner(tmp_path: Path) -> None:
    """A switch of the binaries that was cut short leaves them beside an upstream unit."""
    (tmp_path / "miner-seal" / "keystore").mkdir(parents=True)
    config = tmp_path / "miner-seal" / "config.toml"
    config.write_text("[Subsystems]\n  EnableMarkets = true\n")
    assert not processes(str(tmp_path), {}, str(tmp_path), tmp_path / "highest")["seal"]["configured"]
    config.write_text("[Subsystems]\n  DisableWindowPoSt = false\n  DisableWinningPoSt = false\n")
    assert processes(str(tmp_path), {}, str(tmp_path), tmp_path / "highest")["seal"]["configured"]
