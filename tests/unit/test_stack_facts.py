"""What roles and playbooks ask about a stack: every question has an answer, and every answer is asked for."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sealyard import stacks

from tests.unit.test_filters import FILES

FOR_FILTERS = {"name", "generation"}
"""By these the adapter finds the stack again."""
ASKED = {
    match for path in FILES for match in re.findall(r"\bsealing_stack_facts\.(\w+)", path.read_text(encoding="utf-8"))
}
EVERY = [(stack.name, generation) for stack in stacks.newest() for generation in stacks.STACKS[stack.name]]


@pytest.mark.parametrize(("name", "generation"), EVERY)
def test_each_question_has_an_answer_and_the_other_way_round(name: str, generation: int) -> None:
    assert set(stacks.facts(name, generation)) - FOR_FILTERS == ASKED


def test_the_official_scheduler_and_the_forks_differ_where_roles_ask() -> None:
    official, fork = stacks.facts("lotus"), stacks.facts("lotus_distributed")
    assert (official["reserves_numbers"], official["counts_with_counter"]) == (True, False)
    assert (fork["reserves_numbers"], fork["counts_with_counter"]) == (False, True)
    assert (official["miner_stop_timeout_sec"], fork["miner_stop_timeout_sec"]) == (120, 20)
    assert (official["start_patterns"], official["duties_in_flags"]) == ([], False)
    assert official["choices"].startswith("lotus (official scheduler) or lotus_distributed (myScheduler)")
    assert official["counting_stacks"] == fork["counting_stacks"] == "lotus_distributed"


def test_the_generations_of_the_fork_differ_where_limits_and_names_come_from() -> None:
    first, second = (stacks.facts("lotus_distributed", generation) for generation in ("1", 2))
    assert (first["limits_in_files"], first["names_workers_by_host"]) == (False, True)
    assert (second["limits_in_files"], second["names_workers_by_host"]) == (True, False)
    assert {key for key in first if first[key] != second[key]} == {
        "generation",
        "limits_in_files",
        "names_workers_by_host",
    }


def test_only_a_stack_whose_miners_cannot_be_asked_says_where_to_look() -> None:
    refusals = {name: stacks.facts(name)["idle_refusal"] for name in stacks.names()}
    assert [name for name, text in refusals.items() if text] == ["force_remote_worker"]
    assert refusals["force_remote_worker"].startswith("sealing_stack is force_remote_worker: its workers fetch")


@pytest.mark.parametrize(
    ("generation", "found"), [(1, 1), ("1", 1), (3, 2), ("3", 2), ("text", 2), ("²", 2), (True, 2), (None, 2), (-1, 2)]
)
def test_a_generation_that_there_is_not_is_the_newest(generation: Any, found: int) -> None:
    assert stacks.get("lotus_distributed", generation).generation == found
    assert stacks.get("lotus", generation).name == "lotus"
