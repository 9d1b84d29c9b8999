"""Proofs that a stop of the window miner would cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from sealyard.operations.proving_deadline import (
    DEADLINES,
    actor_deadline_calls,
    chain_answers_proofs_due,
    near_deadlines,
)

UNASKED = ["the chain cannot be asked for the open deadline"]
SECTORS = [{"LiveSectors": [2, 2]}]
FIRST_POSTED = [{"PostSubmissions": [0, 1]} for _ in range(DEADLINES)]


def chain(now: int, index: int = 1, opened: int = 120) -> dict[str, int]:
    more = {"WPoStChallengeWindow": 60, "WPoStPeriodDeadlines": 48, "WPoStProvingPeriod": 2880}
    return {"CurrentEpoch": now, "Index": index, "Open": opened, "Close": opened + 60, **more}


def deadline_answers(
    deadline: dict[str, int], posted: Sequence[dict[str, Any]] = (), **partitions: list[dict[str, list[int]]]
) -> list[dict[str, Any]]:
    """As module lotus_rpc answers: `posted` per deadline, `partitions` by d1, d2, …"""
    found = []
    for call in actor_deadline_calls("t01000"):
        result: Any = partitions.get(f"d{call['params'][1]}", [])
        if call["method"] == "StateMinerProvingDeadline":
            result = deadline
        elif call["method"] == "StateMinerDeadlines":
            result = posted or [{"PostSubmissions": [0]} for _ in range(DEADLINES)]
        found.append({**call, "result": result, "error": ""})
    return found


def test_the_deadlines_of_the_next_epochs() -> None:
    assert [near["index"] for near in near_deadlines(chain(130), 0)] == [1]
    assert [near["index"] for near in near_deadlines(chain(130), 49)] == [1]
    assert [near["index"] for near in near_deadlines(chain(130), 50)] == [1, 2]
    assert [near["index"] for near in near_deadlines(chain(2850, 47, 2820), 90)] == [47, 0, 1]
    # Before an actor's first period no deadline is open yet.
    assert near_deadlines(chain(100), 10) == []
    assert len(near_deadlines(chain(130), 10**6)) == DEADLINES


@pytest.mark.parametrize(
    ("partitions", "posted", "waiting"),
    [
        ([], (), ""),
        ([{"LiveSectors": []}], (), ""),
        (SECTORS, (), "0"),
        (SECTORS, FIRST_POSTED, ""),
        ([*SECTORS, *SECTORS], FIRST_POSTED, "1"),
        ([*SECTORS, *SECTORS], (), "0, 1"),
    ],
)
def test_a_stop_waits_for_every_partition_of_the_open_deadline(
    partitions: list[dict[str, list[int]]], posted: Sequence[dict[str, Any]], waiting: str
) -> None:
    due = chain_answers_proofs_due(deadline_answers(chain(130), posted, d1=partitions))
    assert due == ([f"deadline 1 closes in 50 epochs and its partition {waiting} is not proven"] if waiting else [])


def test_a_stop_keeps_clear_of_the_next_deadline() -> None:
    answers = deadline_answers(chain(170), FIRST_POSTED, d1=SECTORS, d2=SECTORS)
    assert chain_answers_proofs_due(answers, 20) == ["deadline 2 opens in 10 epochs and has sectors to prove"]
    assert chain_answers_proofs_due(answers) == []
    assert (
        chain_answers_proofs_due(deadline_answers(chain(170), FIRST_POSTED, d1=SECTORS, d2=[{"LiveSectors": [0]}]), 20)
        == []
    )


def test_a_fault_that_nobody_recovers_is_not_waited_for() -> None:
    faulty = {"LiveSectors": [2, 2], "FaultySectors": [2, 2], "RecoveringSectors": [0]}
    assert chain_answers_proofs_due(deadline_answers(chain(130), d1=[faulty]), 20) == []
    assert (
        len(chain_answers_proofs_due(deadline_answers(chain(130), d1=[{**faulty, "RecoveringSectors": [3, 1]}]), 20))
        == 1
    )


def test_what_the_chain_does_not_say_counts_as_due() -> None:
    assert chain_answers_proofs_due(None) == chain_answers_proofs_due([]) == UNASKED
    answers = deadline_answers(chain(130))
    for place in (0, 1):
        refused = [{**each, "result": None} if number == place else each for number, each in enumerate(answers)]
        assert chain_answers_proofs_due(refused) == UNASKED
    silent = [{**each, "error": "timeout"} if each["params"][1] == 1 else each for each in answers]
    assert (
        chain_answers_proofs_due(silent)
        == chain_answers_proofs_due(answers[:2])
        == ["the chain cannot be asked for the partitions of deadline 1"]
    )
