"""Filters behind the roles of the distributed-miner fork: duties told by the log, numbers, files of its workers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from file_set import Entry, wanted_text
from sealyard import stacks
from sealyard.diagnosis.verify import miner_role_units
from sealyard.hosts.miners import (
    all_post_miner_problems,
    miner_duty_problems,
    plan_counter_listen,
    plan_counter_process,
    plan_miner_processes,
    post_miner_problems,
    sector_lists_highest_number,
    sector_lists_silent_miners,
    sector_lists_silent_owners,
)
from sealyard.hosts.registration import tasks_of, worker_problems, worker_stats_named
from sealyard.hosts.workers import worker_files
from sealyard.operations.drain import worker_drain_files, worker_task_switches
from sealyard.plan.plain import to_plain
from sealyard.plan.types import Counter
from standin import contract
from unit_log import matching

from tests.unit.rendered import text_of

ROOT = Path(__file__).parents[2]
SEAL = ["--window-post=false", "--winning-post=false", "--p2p=true", "--sctype=get", "--sclisten=10.0.0.2:1357"]
COUNTS = ["--window-post=false", "--winning-post=true", "--p2p=false", "--sctype=alloce", "--sclisten=10.0.0.2:1357"]
SEAL_LINES = [
    "INFO\tmain\tsctype is : get , sclisten is: 10.0.0.2:1357",
    "WARN\tmodules\tThis miner will be disabled windowPoSt",
    "WARN\tminer\tThis miner will be disabled mining block",
    "INFO\tmain\tBootstrapping libp2p network with full node",
]
COUNT_LINES = [
    "INFO\tmain\tsctype is : alloce , sclisten is: 10.0.0.2:1357",
    "currn sectorid:  100",
    "WARN\tmodules\tThis miner will be disabled windowPoSt",
    "WARN\tminer\tThis miner will minning block",
    "WARN\tmain\tThie miner will be disabled p2p",
]


FORK = stacks.get("lotus_distributed")
FIRST = stacks.get("lotus_distributed", 1)
COUNTER = Counter("miners", "winning", "10.0.0.2", 1357)


def _found(flags: list[str], lines: list[str], complete: bool = True) -> dict[str, Any]:
    return {"command": ["/opt/lotus-miner", "run", "--nosync", *flags], "lines": lines, "complete": complete}


def _problems(flags: list[str], lines: list[str], **more: Any) -> list[str]:
    role = "winning" if flags is COUNTS else "seal"
    return FORK.miner_problems(_found(flags, lines) | more, "miners", role, flags, COUNTER)


def test_a_miner_that_says_what_its_flags_say_is_good() -> None:
    assert _problems(SEAL, SEAL_LINES) == []
    assert _problems(COUNTS, COUNT_LINES) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (0, "takes its sector numbers from numbers of its own"),
        (1, "whether it does window"),
        (2, "whether it does winning"),
        (3, "whether it does p2p"),
    ],
)
def test_each_line_that_is_missing_is_told(line: int, said: str) -> None:
    problems = _problems(SEAL, SEAL_LINES[:line] + SEAL_LINES[line + 1 :])
    assert len(problems) == 1 and said in problems[0]


def test_a_duty_that_is_on_is_told_and_the_last_word_counts() -> None:
    assert "window is on" in _problems(SEAL, [*SEAL_LINES, "This miner will do windowPoSt"])[0]
    assert _problems(SEAL, ["This miner will do windowPoSt", *SEAL_LINES]) == []


def test_a_blank_instead_of_the_equals_sign_is_told() -> None:
    command = ["lotus-miner", "run", "--window-post", "false", *SEAL[1:]]
    problems = _problems(SEAL, [], command=command, complete=False)
    assert "'false'" in problems[0] and "--window-post=false" in problems[1]


def test_a_counter_that_serves_nothing_is_told() -> None:
    problems = _problems(COUNTS, [line for line in COUNT_LINES if "sectorid" not in line])
    assert len(problems) == 1 and "serves no sector numbers" in problems[0]


def test_an_old_log_proves_nothing_and_a_stopped_miner_is_told() -> None:
    assert _problems(SEAL, [], complete=False) == []
    assert "does not run" in _problems(SEAL, [], command=[])[0]


def test_the_log_is_cut_to_lines_that_say_something() -> None:
    assert matching("a\nmined new block\nThis miner will do windowPoSt\n", [r"will do windowPoSt"]) == [
        "This miner will do windowPoSt"
    ]


def test_a_post_miner_has_no_sectors_and_no_workers() -> None:
    alone = {"a": {"Info": {"Hostname": "window"}}}
    assert post_miner_problems([[], alone], "window", "window", False) == []
    assert post_miner_problems([[0, 1], alone], "winning", "winning", True) == []
    assert "2 sectors" in post_miner_problems([[0, 1], alone], "window", "window", False)[0]
    both = alone | {"b": {"Info": {"Hostname": "pc1-a/pc1-0"}}}
    assert "pc1-a/pc1-0" in post_miner_problems([[], both], "window", "window", False)[0]
    assert post_miner_problems([], "seal", "seal", False) == []


def test_verify_asks_both_proving_miners_what_they_hold() -> None:
    def answer(role: str, sectors: list[int]) -> dict[str, Any]:
        own = {"id": {"Info": {"Hostname": f"{role}/{role}-miner"}}}
        asked = [{"method": "SectorsList", "result": sectors}, {"method": "WorkerStats", "result": own}]
        return {"item": role, "reachable": True, "answers": asked}

    both = [answer("winning", [0, 1]), answer("window", [7])]
    assert len(all_post_miner_problems(both, "post", "mainnet")) == 2
    (found,) = all_post_miner_problems(both, "post", "devnet")
    assert "window miner has 1 sectors of its own" in found
    silent = {"item": "window", "reachable": False, "answers": []}
    assert all_post_miner_problems([silent, {"item": "window", "failed": True}], "post", "mainnet") == []


def test_who_may_know_a_higher_number() -> None:
    miners: dict[str, Any] = {"a": {"instances": {"seal": {}, "deal": {}}}, "b": {"instances": {"winning": {}}}}
    processes = plan_miner_processes(miners)
    assert [one["key"] for one in processes] == ["a/seal", "a/deal", "b/winning"]
    answers: list[dict[str, Any]] = [
        {"item": processes[0], "reachable": True, "result": [4, 12, 3]},
        {"item": processes[1], "reachable": False, "result": None},
        {"item": processes[2], "unreachable": True},
    ]
    assert sector_lists_highest_number(answers) == 12
    silent = sector_lists_silent_miners(answers)
    assert [one["key"] for one in silent] == ["a/deal", "b/winning"]
    repos: list[dict[str, Any]] = [
        {"item": silent[0], "stat": {"exists": False}},
        {"item": silent[1], "unreachable": True},
    ]
    assert sector_lists_silent_owners(answers, repos) == ["the winning miner on b"]


def test_only_the_authority_listens() -> None:
    plan = {"counter": to_plain(COUNTER)}
    assert plan_counter_listen(plan) == plan_counter_listen(plan, "miners/winning") == "10.0.0.2:1357"
    assert plan_counter_listen(plan, "miners/seal") == plan_counter_listen({"counter": None}) == ""
    assert (plan_counter_process(plan), plan_counter_process({})) == ("miners/winning", "")


def test_a_host_is_told_all_that_its_miners_do_besides() -> None:
    plan = {
        "counter": to_plain(COUNTER),
        "miners": {"miners": {"instances": {"seal": {"flags": SEAL}, "winning": {"flags": COUNTS}}}},
    }
    answers = [
        {**_found(SEAL, [*SEAL_LINES, "This miner will do windowPoSt"]), "item": "seal"},
        {**_found(COUNTS, COUNT_LINES), "item": "winning"},
    ]
    (problem,) = miner_duty_problems(answers, plan, "miners", FORK)
    assert "miners: the seal miner says in its log that window is on" in problem
    assert miner_duty_problems(answers, plan, "miners", stacks.get("lotus")) == []
    assert miner_duty_problems([], {}, "other", FORK) == []


def test_the_fork_has_no_timer_that_looks_for_sectors() -> None:
    assert [unit["name"] for unit in miner_role_units(["window"], FORK)] == ["lotus-miner-window.service"]


MYSCHEDULER = {
    "WorkerName": "pc1-a/pc1-0",
    "AddPieceMax": 1,
    "PreCommit1Max": 2,
    "PreCommit2Max": 0,
    "Commit2Max": 0,
    "ForceP2FromLocalP1": False,
    "IsPlanOffline": False,
}
HOST_PLAN: dict[str, Any] = {
    "workers": [
        {
            "name": "pc1-0",
            "miner": "seal",
            "miner_role": "seal",
            "tasks": ["AP", "PC1"],
            "cpus": "0-1",
            "port": 3456,
            "flags": ["--addpiece=true"],
            "scratch": {"path": "/sealer", "bytes": 1, "sectors": 7},
            "myscheduler": MYSCHEDULER,
        }
    ],
    "paths": [
        {"path": "/mnt/store", "id": "s", "can_seal": False, "can_store": True, "workers": ["pc1-0"]},
        {"path": "/sealer/pc1-0", "id": "p", "can_seal": True, "can_store": False, "workers": ["pc1-0"]},
    ],
}


def _files(generation: int = 2, **more: Any) -> dict[str, dict[str, Any]]:
    context: dict[str, Any] = {
        "name": "pc1-a",
        "address": "10.0.0.21",
        "data_dir": "/data",
        "install_root": "/opt/lotus",
        "config_dir": "/etc/sealyard",
        "unit_dir": "/units",
        "user": "filecoin",
        "group": "filecoin",
        "api_infos": {},
        "cgroup_v2": False,
        "memory_floor_bytes": 1,
        "numa_policy": "bind",
        "environment": {},
        "require_mount": False,
        "stack": stacks.get("lotus_distributed", generation),
    }
    return {file["path"]: file for file in worker_files(HOST_PLAN, context | more)["files"]}


def test_limits_go_to_the_sealing_path_and_no_store() -> None:
    files = _files()
    assert json.loads(files["/sealer/pc1-0/myscheduler.json"]["content"]) == MYSCHEDULER
    assert "/mnt/store/myscheduler.json" not in files
    stores = json.loads(files["/sealer/pc1-0/sectorstore.json"]["content"])
    assert set(stores) == {"ID", "Weight", "CanSeal", "CanStore", "MaxStorage"}
    unit = text_of("sealing_worker", files["/units/lotus-worker@pc1-0.service.d/sealyard.conf"])
    assert "--name" not in unit and "max=" not in unit


def test_the_operators_limits_win_where_the_plan_gives_the_task() -> None:
    files = _files(limits={"PreCommit1Max": 1, "Commit2Max": 3, "AutoPledgeDiff": 1})
    written = json.loads(files["/sealer/pc1-0/myscheduler.json"]["content"])
    assert written == MYSCHEDULER | {"PreCommit1Max": 1, "AutoPledgeDiff": 1}


def test_the_first_generation_has_flags_and_no_file() -> None:
    files = _files(generation=1)
    assert not [path for path in files if path.endswith("myscheduler.json")]
    unit = text_of("sealing_worker", files["/units/lotus-worker@pc1-0.service.d/sealyard.conf"])
    flags = "--precommit1max=2 --precommit2max=0 --commit2max=0 --forcep2fromlocalp1=false --precommit1holdmax=7"
    assert flags in unit


def test_the_first_generation_is_known_by_its_sessions_and_drained_by_switches() -> None:
    resources = {"AddPieceMax": 3, "PreCommit1Max": 2, "PreCommit2Max": 0, "Commit2Max": 0, "PreCommit1HoldMax": 7}
    entry = {"Enabled": True, "TaskTypes": "FIN AP PC1", "Info": {"Hostname": "ip-10-0-0-5", "Resources": resources}}
    stats = {"5e55": entry, "0the": {**entry, "Info": {"Hostname": "ip-10-0-0-6", "Resources": resources}}}
    sessions: list[dict[str, Any]] = [
        {"item": "pc1-0", "result": "5e55"},
        {"item": "pc2-0", "reachable": False, "result": None},
    ]
    assert "not registered" in worker_problems(stats, HOST_PLAN, "pc1-a", ["pc1-0"])[0]
    (answer,) = worker_stats_named([{"result": stats}], sessions, "pc1-a")
    assert worker_problems(answer["result"], HOST_PLAN, "pc1-a", ["pc1-0"]) == []
    assert answer["result"]["0the"]["Info"]["Hostname"] == "ip-10-0-0-6"
    switches = worker_task_switches([answer], HOST_PLAN, "pc1-a", "drained", FIRST)
    assert [(one["method"], one["task"]) for one in switches] == [
        ("TaskDisable", "seal/v0/addpiece"),
        ("TaskDisable", "seal/v0/precommit/1"),
    ]
    assert worker_drain_files(HOST_PLAN, "drained", "u", "g", FIRST) == []


def test_official_workers_get_what_the_fork_itself_would_give_them() -> None:
    keys = contract.document("lotus_distributed", "files")["external_worker_json"]["keys"]
    defaults = yaml.safe_load((ROOT / "roles/lotus_miner/defaults/main.yml").read_text(encoding="utf-8"))
    # The licence key is the operator's: a file that has one keeps it.
    wanted = {key: about["written_default"] for key, about in keys.items() if not about.get("secret")}
    assert defaults["lotus_miner_external_worker"] == wanted


def test_a_worker_on_fallback_values_is_told() -> None:
    resources = {"AddPieceMax": 1, "PreCommit1Max": 2, "PreCommit2Max": 0, "Commit2Max": 0}
    entry = {
        "Enabled": True,
        "TaskTypes": "FIN GET AP PC1",
        "Info": {"Hostname": "pc1-a/pc1-0", "Resources": resources},
    }
    assert tasks_of(entry) == {"AP", "PC1"}
    assert worker_problems({"x": entry}, HOST_PLAN, "pc1-a", ["pc1-0"]) == []
    entry["Info"] = {"Hostname": "pc1-a/pc1-0", "Resources": resources | {"Commit2Max": 1}}
    assert "Commit2Max 1" in worker_problems({"x": entry}, HOST_PLAN, "pc1-a", ["pc1-0"])[0]
    entry["Info"] = {"Hostname": "pc1-a/pc1-0", "Resources": resources | {"IsPlanOffline": True}}
    # Drained by its operator, which is no fault: playbooks/why_idle.yml tells it.
    assert worker_problems({"x": entry}, HOST_PLAN, "pc1-a", ["pc1-0"]) == []


def _entry(content: dict[str, Any]) -> Entry:
    return Entry(Path("/x"), 0o644, "root", "root", json.dumps(content), json_keep=("IsPlanOffline",))


def test_a_file_is_the_plans_but_for_what_it_keeps() -> None:
    wanted = _entry({"PreCommit1Max": 2, "IsPlanOffline": False})
    drained = json.dumps({"PreCommit1Max": 9, "IsPlanOffline": True, "Groups": []})
    text = wanted_text(wanted, drained)
    assert text is not None and json.loads(text) == {"PreCommit1Max": 2, "IsPlanOffline": True}
    assert wanted_text(wanted, text) == text
    broken = wanted_text(wanted, "{")
    assert broken is not None and json.loads(broken)["PreCommit1Max"] == 2


def test_a_drain_writes_one_key_and_no_switch() -> None:
    (file,) = worker_drain_files(HOST_PLAN, "drained", "filecoin", "filecoin", FORK)
    assert file["path"] == "/sealer/pc1-0/myscheduler.json" and file["json_set"] == ["IsPlanOffline"]
    assert json.loads(file["content"])["IsPlanOffline"] is True
    assert json.loads(worker_drain_files(HOST_PLAN, "active", "u", "g", FORK)[0]["content"])["IsPlanOffline"] is False
    answers = [
        {"result": {"x": {"Enabled": True, "TaskTypes": "AP PC1", "Tasks": "", "Info": {"Hostname": "pc1-a/pc1-0"}}}}
    ]
    assert worker_task_switches(answers, HOST_PLAN, "pc1-a", "drained", FORK) == []
    assert worker_drain_files({"workers": [{"name": "pc1-0"}]}, "drained", "u", "g", stacks.get("lotus")) == []
