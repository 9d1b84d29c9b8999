"""playbooks/verify.yml: each thing that can be wrong is said once, with the host and the remedy."""

from __future__ import annotations

from typing import Any

import pytest
from sealyard import stacks
from sealyard.diagnosis.verify import (
    Evidence,
    affinity_problems,
    cpu_set,
    daemon_problems,
    evidence_problems,
    fault_problems,
    host_verify_problems,
    miner_problems,
    miner_role_units,
    unanswered_problems,
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
    assert [unit["name"] for unit in miner_role_units(["window", "seal"], stacks.get("lotus"))] == [
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
    assert unanswered_problems(answers, "h1", ["h1", "seal", "deal"]) == [
        "h1: the miner deal/deal does not say whether its workers are registered: HTTP 401"
    ]
    assert unanswered_problems(answers, "h1", ["h1"]) == []


CLUSTER = {"miners": {"h1": MINER}, "settings": {"stack": "lotus", "actor": "t01000", "network": "mainnet"}}
HOST = {"workers": [{"name": "pc1-0", "cpus": "0-3", "tasks": ["PC1"], "miner": "h1"}]}
GOOD_UNITS: dict[str, Any] = {
    **{key: [] for key in ("started", "enabled", "restarted", "deferred", "retired")},
    "states": {"lotus-worker@pc1-0.service": {"cpus": "0-3"}},
}
WELL: dict[str, Any] = {
    "sealing_cluster_plan": CLUSTER,
    "sealing_host_plan": HOST,
    "verify_heads": {"results": [head(100)]},
    "verify_miner_units": GOOD_UNITS,
    "verify_stores": {"results": [{"item": "seal", "reachable": True, "result": {"id": "/mnt/store"}}]},
    "verify_reservations": {"results": [{"item": "seal", "reachable": True, "result": {"deal-h2": [1000, 1000]}}]},
    "verify_faults": {"reachable": True, "result": []},
    "verify_duties": {"results": []},
    "verify_holdings": {"results": [], "skipped": True},
    "verify_worker_units": GOOD_UNITS,
    "sealing_worker_identities": {"results": [{"item": "pc1-0", "reachable": True, "result": "5e55"}]},
    "verify_stats": {
        "results": [
            {
                "item": {"key": "h1/seal", "host": "h1", "role": "seal", "workers": ["pc1-0"]},
                "reachable": True,
                "result": {
                    "5e55": {"Enabled": True, "Tasks": ["seal/v0/precommit/1"], "Info": {"Hostname": "h1-by-its-name"}}
                },
            }
        ]
    },
}


def verdict(other: str = "", answer: Any = None, hosts: dict[str, Any] | None = None) -> list[str]:
    """The verdict on h1, of whose answers one is another."""
    own = WELL | ({other: answer} if other else {})
    return host_verify_problems({"h1": own, **(hosts or {})}, "h1", ["h1", *(hosts or {})], ["h1"])


def test_a_host_that_is_well_has_no_problem() -> None:
    assert verdict() == []


@pytest.mark.parametrize(
    ("name", "answer", "says"),
    [
        ("verify_heads", {"results": [DOWN]}, "no process serves the repo"),
        ("verify_miner_units", {"msg": "no systemd"}, "no systemd"),
        ("verify_stores", {"results": [{"item": "seal", "msg": "HTTP 401"}]}, "the seal miner: HTTP 401"),
        ("verify_faults", {"reachable": False, "reason": "refused"}, "cannot be asked for faults: refused"),
        ("verify_faults", {"reachable": True, "result": [2, 3]}, "3 sectors of t01000 are faulty"),
        ("verify_worker_units", {**GOOD_UNITS, "started": ["lotus-worker@pc1-0.service"]}, "is not running"),
        ("sealing_worker_identities", {"results": [], "skipped": True}, "pc1-0 is not registered at h1"),
    ],
)
def test_each_answer_has_its_part_in_the_verdict(name: str, answer: dict[str, Any], says: str) -> None:
    (problem,) = verdict(name, answer)
    assert says in problem and "h1" in problem


def test_what_was_not_asked_is_not_judged() -> None:
    """A host that is no miner or no worker has not registered their answers, and a skipped task gave none."""
    assert evidence_problems(Evidence(), "h2", {}, {}) == []
    assert host_verify_problems({"h2": {"sealing_host_plan": HOST}}, "h2", [], ["h2"]) == []
    assert verdict("verify_faults", {"skipped": True, "changed": False}) == []
    assert verdict("verify_reservations", {"results": [], "skipped": True}) == []


def test_heads_are_compared_with_those_of_hosts_that_answered() -> None:
    """A daemon's host that was not reached registered nothing."""
    assert verdict(hosts={"h2": {}, "h3": {"verify_heads": {"results": [DOWN, head(103)]}}}) == []
    (problem,) = verdict(hosts={"h2": {"verify_heads": {"results": [head(200)]}}})
    assert "another daemon at 200" in problem


def test_a_queued_task_that_nobody_takes_is_said_with_the_group_that_would_give_it() -> None:
    def request(task: str, sector: int) -> dict[str, Any]:
        return {"TaskType": task, "Sector": {"Number": sector, "Miner": 1000}}

    plan: dict[str, Any] = {
        "settings": {"stack": "lotus"},
        "hosts": {"h1": {"workers": [{"tasks": ["PC1"], "miner": "h1", "miner_role": "seal"}]}},
    }
    waits = [
        *(request("seal/v0/unseal", number) for number in (9, 7)),
        request("seal/v0/provereplicaupdate/2", 8),
        request("seal/v0/precommit/1", 5),
        request("seal/v0/finalize", 6),
    ]
    answer = {"item": "seal", "reachable": True, "result": {"SchedInfo": {"Requests": waits}}}
    own = WELL | {"sealing_plan": plan, "verify_queues": {"results": [answer, {"item": "deal", "reachable": False}]}}
    assert host_verify_problems({"h1": own}, "h1", ["h1"], ["h1"]) == [
        "h1: the seal miner: PR2 (prove update 2) of sector 8 waits, and no worker of the plan takes it: "
        "add a host to snap_worker and run playbooks/workers.yml",
        "h1: the seal miner: UNS (unseal) of sector 7, 9 waits, and no worker of the plan takes it: "
        "add a host to unseal_worker and run playbooks/workers.yml",
    ]
    plan["settings"]["stack"] = "lotus_distributed"
    (problem,) = host_verify_problems({"h1": own}, "h1", ["h1"], ["h1"])
    assert "PR2" in problem and "do not know it" in problem
