"""From one scheduler to the other: binaries that know the chain, numbers that stay used, nothing lost on the way."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealyard import stacks
from sealyard.lotus.runs import members
from sealyard.operations.counter_move import GAP
from sealyard.operations.scheduler_switch import (
    counter_look_silent_sealers,
    counter_look_used_numbers,
    holdings_lost_problems,
    hosts_holdings,
    hosts_lotus_versions,
    miner_roles_holding_calls,
    newest_network,
    sector_answers_show_work,
    versions_network_problems,
    worker_stats_idle_problems,
)

MINERS = {role: {"roles": [role], "instances": {role: {"flags": []}}} for role in ("winning", "seal", "deal")}


@pytest.mark.parametrize(
    ("version", "newest"),
    [
        ("1.12.0+2k+git.a9b8795f-41d474d752b7", 14),
        ("1.13.2", 14),
        ("1.36.2-dev+2k", 28),
        ("1.4.0", None),
        ("dev", None),
    ],
)
def test_a_release_knows_the_network_versions_up_to_its_own(version: str, newest: int | None) -> None:
    assert newest_network(version) == newest


def test_binaries_of_an_older_network_are_refused() -> None:
    versions = {"seal": "1.12.0+mainnet", "pc1": "1.36.2+mainnet"}
    assert versions_network_problems(versions, 14) == []
    (text,) = versions_network_problems(versions, 22)
    assert text.startswith("seal: 1.12.0+mainnet knows network versions up to 14, and the chain is at 22")
    assert versions_network_problems(versions, 22, newest=22) == []
    assert versions_network_problems({"seal": "own"}, 14) and versions_network_problems(versions, None)


def seen(**lists: list[int]) -> dict[str, dict[str, Any]]:
    """What was seen on hosts that have these sectors."""
    return {
        host: {
            "counter": {"files": {}, "retired": {}, "remembered": {}, "repos": [host]},
            "lists": {"results": [{"item": host, "reachable": True, "result": numbers}]},
        }
        for host, numbers in lists.items()
    }


def test_used_numbers_are_those_of_all_that_knows_any() -> None:
    places = seen(seal=[2, 10_000_004], deal=[5, 10_000_000])
    places["seal"]["counter"]["files"] = {"seal": 9}
    places["deal"]["counter"]["remembered"] = {"/mnt/store/sector-counter/sectorid": 12}
    # 0 to 12, and those drawn and lost between 10000000 and 10000004.
    assert counter_look_used_numbers(places, None) == [0, 13, 10_000_000 - 13, 5]
    assert counter_look_used_numbers(places, [20, 1], [500, 1]) == [0, 21, 479, 1, 10_000_000 - 501, 5]


@given(st.sets(st.integers(0, 5000), max_size=30), st.sets(st.integers(0, 5000), max_size=30))
def test_no_used_number_is_left_out_and_no_far_one_is_added(seal: set[int], deal: set[int]) -> None:
    found = members(counter_look_used_numbers(seen(seal=sorted(seal), deal=sorted(deal)), None))
    assert seal | deal <= found
    assert all(any(abs(number - used) <= GAP for used in {0, *seal, *deal}) for number in found)


def test_a_sealing_miner_that_does_not_answer_is_told() -> None:
    places = seen(winning=[], seal=[1], deal=[])
    assert counter_look_silent_sealers(places, MINERS) == []
    places["deal"]["lists"] = {"results": [{"item": "deal", "reachable": False}]}
    places["winning"]["lists"] = {}
    assert counter_look_silent_sealers(places, MINERS) == ["deal/deal"]
    places["deal"]["counter"]["repos"] = []
    assert counter_look_silent_sealers(places, MINERS) == []


def test_wallets_paths_and_sectors_are_compared() -> None:
    calls = miner_roles_holding_calls(["seal"], ["daemon_private"])
    assert [call["method"] for call in calls] == ["WalletList", "StorageLocal", "SectorsList"]

    def host(wallet: list[str], paths: dict[str, str], sectors: list[int]) -> dict[str, Any]:
        results = [
            {"reachable": True, "item": call, "result": result}
            for call, result in zip(calls, (wallet, paths, sectors), strict=True)
        ]
        return {"h": {"asked": {"results": results}}}

    before = hosts_holdings(host(["t3a"], {"id1": "/mnt/store"}, [1, 2]), ["h"], "asked")
    assert (
        holdings_lost_problems(
            before, hosts_holdings(host(["t3a", "t3b"], {"id1": "/mnt/store"}, [1, 2, 3]), ["h"], "asked")
        )
        == []
    )
    for wallet, paths, sectors, words in [
        ([], {"id1": "/mnt/store"}, [1, 2], "t3a"),
        (["t3a"], {"id2": "/mnt/store"}, [1, 2], "id1"),
        (["t3a"], {"id1": "/mnt/store"}, [1], "h miner-seal SectorsList: 2 was there"),
    ]:
        (text,) = holdings_lost_problems(before, hosts_holdings(host(wallet, paths, sectors), ["h"], "asked"))
        assert words in text
    assert len(holdings_lost_problems(before, {})) == 3


def entry(name: str, **other: Any) -> dict[str, Any]:
    """One worker of WorkerStats."""
    return {"Info": {"Hostname": name, "Resources": other.pop("resources", {})}, "Enabled": True, **other}


def test_workers_that_get_nothing_are_told() -> None:
    good = {"1": entry("pc1-a/pc1-0", resources={"IsPlanOffline": False}, TaskTypes="AP PC1 ")}
    assert worker_stats_idle_problems(good, stacks.get("lotus_distributed")) == []
    assert (
        worker_stats_idle_problems({"0": entry("seal/seal-miner")}, stacks.get("lotus"))
        == worker_stats_idle_problems(None, stacks.get("lotus"))
        != []
    )
    for worse, words in [
        (entry("a/b", Enabled=False), "switched off"),
        (entry("a/b", resources={"IsPlanOffline": True}), "planned offline"),
        (entry("a/b", TaskTypes=""), "takes no task"),
    ]:
        (text,) = worker_stats_idle_problems(good | {"2": worse}, stacks.get("lotus_distributed"))
        assert words in text


def test_a_sector_is_worked_on_when_a_worker_has_it_or_had_it() -> None:
    def answers(state: str, wait: int) -> list[dict[str, Any]]:
        return [{"result": {"w": [{"Sector": {"Number": 7}, "RunWait": wait}]}}, {"result": {"State": state}}]

    assert sector_answers_show_work(answers("Packing", 0), 7)
    assert sector_answers_show_work(answers("PreCommit2", 3), 7)
    assert not sector_answers_show_work(answers("PreCommit1", 2), 7)
    assert not sector_answers_show_work(answers("Packing", 0), 8)
    assert not sector_answers_show_work(None, 7)


def test_versions_are_those_that_the_role_brought() -> None:
    hosts = {
        "a": {"lotus_install_done": {"version": "1.12.0-x"}, "lotus_install_state": {"version": ""}},
        "b": {"lotus_install_done": {"skipped": True}, "lotus_install_state": {"version": "1.36.2-y"}},
        "c": {},
    }
    assert hosts_lotus_versions(hosts, hosts) == {"a": "1.12.0-x", "b": "1.36.2-y"}
