"""playbooks/verify.yml: each thing that can be wrong is said once, with the host and the remedy."""

from __future__ import annotations

from typing import Any

import pytest
from sealyard.diagnosis.verify import (
    affinity_problems,
    cpu_set,
    daemon_problems,
    fault_problems,
    miner_problems,
    miner_role_units,
    unanswered,
    unit_problems,
)


def head(height: int, changed: bool = True, name: str = "private") -> dict[str, Any]:
    return {"item": name, "reachable": True, "result": {"Height": height}, "result_changed": changed}


DOWN = {"item": "private", "reachable": False, "reason": "no process serves the repo"}


@pytest.mark.parametrize(
    ("own", "others", "says"),
    [
        (head(100), [head(103)], ""),
        (head(100), [DOWN], ""),
        (head(100, changed=False), [], "stays at height 100"),
        (head(100), [head(106)], "another daemon at 106"),
        (DOWN, [head(100)], "no process serves the repo"),
    ],
)
def test_heads_move_and_agree(own: dict[str, Any], others: list[dict[str, Any]], says: str) -> None:
    problems = daemon_problems([own], [[own], others], "h1")
    assert len(problems) == bool(says)
    assert all(says in problem and "h1: " in problem for problem in problems)


def test_what_a_dry_run_would_do_is_what_is_wrong() -> None:
    nothing: dict[str, Any] = {key: [] for key in ("started", "enabled", "restarted", "deferred", "retired")}
    assert unit_problems({**nothing, "states": {}}, "h1", "miners.yml") == []
    found = unit_problems({**nothing, "states": {}, "retired": ["lotus-miner-winning.service"]}, "h1", "miners.yml")
    assert found == ["h1: lotus-miner-winning.service should not be here: run playbooks/miners.yml"]
    assert unit_problems({"msg": "no systemd"}, "h1", "miners.yml") == ["h1: no systemd"]


def test_miners_that_prove_have_a_timer() -> None:
    assert [unit["name"] for unit in miner_role_units(["window", "seal"])] == [
        "lotus-miner-window.service",
        "lotus-miner-seal.service",
        "lotus-miner-redeclare-window.timer",
    ]


MINER = {"paths": [{"path": "/mnt/store"}], "instances": {"seal": {"reserve": {"deal-h2": "1000-1999"}}}}


@pytest.mark.parametrize(
    ("stores", "reservations", "says"),
    [
        ({"id": "/mnt/store"}, {"deal-h2": [1000, 1000]}, ""),
        ({}, {"deal-h2": [1000, 1000]}, "does not have /mnt/store"),
        ({"id": "/mnt/store"}, {}, "does not reserve 1000-1999"),
        ({"id": "/mnt/store"}, {"deal-h2": [1000, 500]}, "does not reserve 1000-1999"),
    ],
)
def test_stores_and_reservations(stores: dict[str, str], reservations: dict[str, list[int]], says: str) -> None:
    def answer(result: Any) -> list[dict[str, Any]]:
        return [{"item": "seal", "reachable": True, "result": result}]

    problems = miner_problems(answer(stores), answer(reservations), MINER, "h1")
    assert len(problems) == bool(says)
    assert all(says in problem for problem in problems)


def test_a_miner_that_is_down_is_said_once() -> None:
    down = [{"item": "seal", "reachable": False, "reason": "refused"}]
    assert miner_problems(down, down, MINER, "h1") == ["h1: the seal miner: refused"]


def test_faults_are_counted() -> None:
    assert fault_problems({"reachable": True, "result": []}, "f01", "h1") == []
    assert "5 sectors of f01 are faulty" in fault_problems({"reachable": True, "result": [2, 3, 10, 2]}, "f01", "h1")[0]
    assert "cannot be asked" in fault_problems({"reachable": False}, "f01", "h1")[0]


def test_a_worker_on_other_cpus_is_named() -> None:
    plan = {"workers": [{"name": "pc1-0", "cpus": "0-3"}, {"name": "pc1-1", "cpus": "4,5"}]}
    states = {"lotus-worker@pc1-0.service": {"cpus": "0-7"}, "lotus-worker@pc1-1.service": {"cpus": "4-5"}}
    problems = affinity_problems({"states": states}, plan, "h1")
    assert len(problems) == 1 and "pc1-0 runs on CPUs 0-7, the plan gives it 0-3" in problems[0]
    assert cpu_set("0-2,8") == {0, 1, 2, 8}


def test_a_miner_of_this_run_without_an_answer_is_named() -> None:
    answers: list[dict[str, Any]] = [
        {"item": {"key": "seal/seal", "host": "seal"}, "reachable": True},
        {"item": {"key": "deal/deal", "host": "deal"}, "msg": "HTTP 401"},
    ]
    assert unanswered(answers, "h1", ["h1", "seal", "deal"]) == [
        "h1: the miner deal/deal does not say whether its workers are registered: HTTP 401"
    ]
    assert unanswered(answers, "h1", ["h1"]) == []
