"""Moving the sector counter: nothing is lost or given twice, and what is not known well enough is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from sealyard.hosts.miners import counter_second_authorities
from sealyard.operations.counter_move import GAP, counter_look_move, counter_look_problems, counter_move_steps
from sealyard.plan.applied import counting_processes
from sector_authority import Refused, look, retire, run, serving

COPY = "/mnt/store/sector-counter/sectorid"


def plan(authority: str = "window") -> dict[str, Any]:
    """The cluster's part of a plan, one role a host, with the counter on `authority`."""
    found: dict[str, Any] = {}
    for role in ("winning", "window", "seal", "deal"):
        found[role] = {"roles": [role], "instances": {role: {}}}
    return {
        "miners": found,
        "counter": {"host": authority, "role": authority, "address": f"{authority}.lan", "port": 1357},
    }


def place(role: str, sectors: list[int] | None = None, **counter: Any) -> dict[str, Any]:
    """What was seen on a host."""
    found = {"files": {}, "retired": {}, "remembered": {}, "repos": [role], "serving": [], "named": "winning/winning"}
    answer = {"item": role, "reachable": sectors is not None, "result": sectors}
    return {"counter": found | counter, "lists": {"results": [answer]}}


def cluster(**other: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The counter runs on winning and has given out 9."""
    return {
        "winning": place("winning", [0, 1], files={"winning": 9}, serving=["winning.lan:1357"]),
        "window": place("window", [], remembered={COPY: 9}),
        "seal": place("seal", [2, 4, 9]),
        "deal": place("deal", [3]),
    } | other


CHAIN = {"reachable": True, "result": [{"SectorNumber": 0}, {"SectorNumber": 4}]}
GONE: dict[str, Any] = {"counter": {}, "lists": {}}


def test_the_number_goes_with_the_authority() -> None:
    move = counter_look_move(cluster(), plan(), CHAIN)
    assert move["problems"] == []
    assert (move["authority"], move["from"], move["needed"]) == ("window/window", ["winning/winning"], True)
    assert (move["highest"], move["start"]) == (9, 9)
    assert move["stop"] == {"winning": ["winning"], "window": ["window"]}
    assert move["retire"] == {"winning": ["winning"]}
    assert "from winning/winning to window/window" in counter_move_steps(move)


@pytest.mark.parametrize(
    ("other", "chain", "highest", "where"),
    [
        ({"deal": place("deal", [12])}, CHAIN, 12, "the sectors of deal/deal"),
        ({"window": place("window", [], remembered={COPY: 15})}, CHAIN, 15, f"{COPY} on window"),
        ({"seal": place("seal", [2], retired={"seal": 20})}, CHAIN, 20, "the retired file of seal/seal"),
        ({}, {"reachable": True, "result": [{"SectorNumber": 31}]}, 31, "the chain"),
    ],
)
def test_the_highest_of_all_that_is_known_counts(
    other: dict[str, Any], chain: dict[str, Any], highest: int, where: str
) -> None:
    move = counter_look_move(cluster(**other), plan(), chain)
    assert (move["problems"], move["highest"], move["start"], move["where"]) == ([], highest, highest, where)


def test_a_damaged_file_leaves_a_gap() -> None:
    damaged = place("winning", [0], files={"winning": 0})
    move = counter_look_move(cluster(winning=damaged), plan(), CHAIN)
    assert (move["problems"], move["start"]) == ([], 9 + GAP)


def test_nothing_moves_when_it_is_there() -> None:
    there = {
        "winning": place("winning", [0], retired={"winning": 9}, named="window/window"),
        "window": place("window", [], files={"window": 9}, named="window/window", serving=["window.lan:1357"]),
        "seal": place("seal", [9], named="window/window"),
        "deal": place("deal", [], named="window/window"),
    }
    move = counter_look_move(there, plan(), CHAIN)
    assert (move["problems"], move["needed"], move["stop"], move["retire"]) == ([], False, {}, {})
    assert counter_look_problems(there, plan(), 0) == []


def test_a_run_that_was_cut_off_between_the_two_goes_on() -> None:
    """The old one is stopped and retired, the new one has no file yet."""
    cut = cluster(winning=place("winning", None, retired={"winning": 9}), window=place("window", None))
    move = counter_look_move(cut, plan(), CHAIN)
    assert (move["problems"], move["needed"], move["start"]) == ([], True, 9)
    assert set(move["accounted"]) == {"winning/winning", "window/window"}


@pytest.mark.parametrize(
    ("other", "chain", "lost", "words"),
    [
        ({"seal": place("seal", None)}, CHAIN, False, "seal/seal cannot be asked for its sectors"),
        ({"winning": GONE}, CHAIN, False, "winning, winning/winning cannot be reached|winning cannot be reached"),
        ({"window": GONE}, CHAIN, False, "window shall give out the sector numbers and cannot be reached"),
        ({}, {"reachable": False}, False, "the chain does not tell"),
        ({}, CHAIN, True, "none is lost"),
        ({"window": place("window", [], repos=[])}, CHAIN, False, "has no repo yet"),
        ({"deal": place("deal", [3], serving=["deal.lan:1357"])}, CHAIN, False, "deal runs a miner that gives out"),
    ],
)
def test_what_is_not_known_is_refused(other: dict[str, Any], chain: dict[str, Any], lost: bool, words: str) -> None:
    problems = counter_look_move(cluster(**other), plan(), chain, lost)["problems"]
    assert any(word in problem for word in words.split("|") for problem in problems), problems


def test_a_lost_host_that_sealed_nothing_needs_no_copy() -> None:
    move = counter_look_move(cluster(winning=GONE, window=place("window", [])), plan(), CHAIN, lost=True)
    assert (move["problems"], move["start"], move["unreachable"]) == ([], 9, ["winning"])


def test_a_lost_host_that_sealed_needs_the_copy_and_leaves_a_gap() -> None:
    named = {"named": "seal/seal"}
    seen = {
        "winning": place("winning", [0], **named),
        "window": place("window", [], remembered={COPY: 9}, **named),
        "seal": GONE,
        "deal": place("deal", [3], **named),
    }
    move = counter_look_move(seen, plan(), CHAIN, lost=True)
    assert (move["problems"], move["start"]) == ([], 9 + GAP)
    seen["window"] = place("window", [], **named)
    (problem,) = counter_look_move(seen, plan(), CHAIN, lost=True)["problems"]
    assert "sector_counter_move_above" in problem
    assert counter_look_move(seen, plan(), CHAIN, lost=True, above=500)["start"] == 500 + GAP


def moved(**other: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """After the move."""
    return {
        "winning": place("winning", [0, 1], retired={"winning": 9}),
        "window": place("window", [], files={"window": 10}, serving=["window.lan:1357"]),
        "seal": place("seal", [2, 4, 9]),
        "deal": place("deal", [3, 10]),
    } | other


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"winning": place("winning", [], files={"winning": 9})}, "winning/winning still holds a sector counter"),
        ({"window": place("window", [], files={"window": 8}, serving=["window.lan:1357"])}, "below 9"),
        ({"winning": place("winning", [], serving=["winning.lan:1357"])}, "winning gives out sector numbers on"),
        ({"window": place("window", [], files={"window": 10})}, "window gives out sector numbers on nowhere"),
        ({"deal": place("deal", [9])}, "numbers that two miners have: 9 (deal/deal, seal/seal)"),
        ({"deal": place("deal", [11])}, "sectors above the counter, which is at 10: 11 of deal/deal"),
        ({"deal": place("deal", None)}, "deal/deal cannot be asked"),
    ],
)
def test_the_proof_sees_what_is_wrong(other: dict[str, Any], words: str) -> None:
    assert counter_look_problems(moved(), plan(), 9) == []
    problems = counter_look_problems(moved(**other), plan(), 9)
    assert any(words in problem for problem in problems), problems


def test_a_plan_without_the_playbook_meets_the_old_counter() -> None:
    answer = {"item": {"key": "winning/winning", "role": "winning"}, "files": {"winning": 9}}
    (text,) = counter_second_authorities([answer], "window/window")
    assert "playbooks/sector_counter_move.yml" in text and "winning/winning" in text
    assert counter_second_authorities([answer], "winning/winning") == []
    assert (
        counter_second_authorities(
            [{"item": answer["item"], "files": {}}, {"item": answer["item"], "unreachable": 1}], "x"
        )
        == []
    )


def test_who_counts_is_read_from_plans_that_an_older_version_applied() -> None:
    """Those have no key for it and say it in flags; more than one may, where a host left the inventory."""
    old = plan()
    del old["counter"]
    listen = "--sclisten=window.lan:1357"
    for role, kind in (("winning", "alloce"), ("window", "alloce"), ("seal", "get")):
        old["miners"][role]["instances"][role]["flags"] = [f"--sctype={kind}", listen]
    assert counting_processes(old) == ["window/window", "winning/winning"]
    assert counting_processes(plan()) == ["window/window"]
    assert counting_processes({**old, "counter": None}) == counting_processes({}) == []


# ---------------------------------------------------------------------------------------------------------------------
# The module


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # Whoever tests may have a lab running.
    monkeypatch.setattr("sector_authority.serving", lambda: [])
    for name in ("miner-winning", "state", "copy"):
        (tmp_path / name).mkdir()
    (tmp_path / "miner-winning/keystore").mkdir()
    (tmp_path / "miner-winning/sectorid").write_text("9")
    (tmp_path / "state/highest").write_text("8\n")
    return tmp_path


def options(host: Path, **other: Any) -> dict[str, Any]:
    places = {"data_dir": host, "state_dir": host / "state", "copy_dir": host / "copy"}
    return {key: str(path) for key, path in places.items()} | {"roles": ["winning"], "retire": []} | other


def test_the_module_reads_what_is_there(host: Path) -> None:
    (host / "copy/sectorid").write_text("\n")
    (host / "copy/authority").write_text("winning/winning\n")
    seen = run(options(host), False)
    assert (seen["changed"], seen["files"], seen["repos"]) == (False, {"winning": 9}, ["winning"])
    assert seen["remembered"] == {f"{host}/copy/sectorid": 0, f"{host}/state/highest": 8}
    assert seen["named"] == "winning/winning"


def test_a_retired_file_is_kept_and_remembered(host: Path) -> None:
    assert run(options(host, retire=["winning"]), True)["changed"] and (host / "miner-winning/sectorid").exists()
    seen = run(options(host, retire=["winning"]), False)
    assert (seen["changed"], seen["files"], seen["retired"]) == (True, {}, {"winning": 9})
    assert (host / "state/highest").read_text() == "9\n"
    assert run(options(host, retire=["winning"]), False)["changed"] is False


def test_a_retired_number_is_on_the_disk_before_its_file_goes(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[str, bool]] = []

    def fsync(handle: int) -> None:
        path = Path(f"/proc/self/fd/{handle}").readlink()
        synced.append(
            (str(path.relative_to(host)).partition(".highest.")[0], (host / "miner-winning/sectorid").exists())
        )

    monkeypatch.setattr(os, "fsync", fsync)
    run(options(host, retire=["winning"]), False)
    # The text of the mark, its name, and only then the new name of the counter's file.
    assert synced == [("state/", True), ("state", True), ("miner-winning", False)]


def test_a_counter_that_serves_is_not_retired(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sector_authority.serving", lambda: ["10.0.0.1:1357"])
    with pytest.raises(Refused, match="still gives out numbers"):
        run(options(host, retire=["winning"]), False)
    assert (host / "miner-winning/sectorid").read_text() == "9"


def test_a_serving_miner_is_known_by_its_command_line(tmp_path: Path) -> None:
    lines = {
        1: "/usr/bin/python3 /opt/lotus/current/bin/lotus-miner run --sctype=alloce --sclisten=10.0.0.1:1357",
        2: "/opt/lotus/current/bin/lotus-miner run --sctype=get --sclisten=10.0.0.1:1357",
        3: "grep -- --sctype=alloce",
    }
    for pid, line in lines.items():
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "cmdline").write_bytes(line.replace(" ", "\0").encode() + b"\0")
    assert serving(tmp_path) == ["10.0.0.1:1357"]


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    seen = look(tmp_path / "a", ["seal"], tmp_path / "b", tmp_path / "c")
    assert (seen["files"], seen["retired"], seen["remembered"], seen["named"]) == ({}, {}, {}, "")
    assert retire(tmp_path / "a/miner-seal", tmp_path / "b", False) == ""
