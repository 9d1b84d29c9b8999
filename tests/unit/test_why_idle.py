"""playbooks/why_idle.yml: one cause at a time is put into the evidence, and the verdict names it and the remedy."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sealyard import stacks
from sealyard.diagnosis.log_lines import lines_by_unit, path_refusals, refusal, refusals, worker_cure
from sealyard.diagnosis.miner import first_calls, need_bytes, read
from sealyard.diagnosis.why_idle import (
    idle_answers_absent_workers,
    plan_idle_report,
    plan_serving_miners,
    plan_settings_idle_calls,
)
from standin import contract

ROOT = Path(__file__).parents[2]
PLAN: dict[str, Any] = json.loads((ROOT / "tests/golden/lab.json").read_text(encoding="utf-8"))
IDS = {name: f"{number:08d}-0000-4000-8000-000000000000" for number, name in enumerate(PLAN["hosts"])}
LONG = {
    "AP": "seal/v0/addpiece", "PC1": "seal/v0/precommit/1", "PC2": "seal/v0/precommit/2", "C2": "seal/v0/commit/2",
}  # fmt: skip
OTHER = f"pc1-b/{PLAN['hosts']['pc1-b']['workers'][0]['name']}"
WORKERS = ("pc1-a", "pc1-b", "pc2-a", "pc2-b", "c2-a")


def row(**values: Any) -> dict[str, Any]:
    base = {
        "MinMemory": 2048, "MaxMemory": 2048, "GPUUtilization": 0, "MaxParallelism": 1, "MaxParallelismGPU": 0,
        "BaseMinMemory": 2048, "MaxConcurrent": 0,
    }  # fmt: skip
    return base | values


def entry(host: str, worker: dict[str, Any]) -> dict[str, Any]:
    rows = {LONG[task]: {"5": row(MaxConcurrent=1)} for task in worker["tasks"]}
    return {
        "Info": {
            "Hostname": f"{host}/{worker['name']}",
            "Resources": {
                "MemPhysical": 1 << 30, "MemUsed": 0, "MemSwap": 0, "MemSwapUsed": 0, "CPUs": 2, "GPUs": [],
                "Resources": rows,
            },
        },
        "Tasks": [LONG[task] for task in worker["tasks"]],
        "Enabled": True, "MemUsedMin": 0, "MemUsedMax": 0, "GpuUsed": 0, "CpuUse": 0, "TaskCounts": {},
    }  # fmt: skip


class Cluster:
    """Evidence of the lab with everything in order; a test breaks one thing of it."""

    def __init__(self) -> None:
        self.plan = copy.deepcopy(PLAN)
        self.stats: dict[str, Any] = {}
        self.jobs: dict[str, Any] = {}
        self.queue: list[dict[str, Any]] = []
        self.infos: dict[str, Any] = {}
        self.space: dict[str, Any] = {}
        self.refused: dict[str, set[str]] = {"AP": set(), "PC1": set()}
        self.finds: dict[int, set[str]] = {}
        self.journal = ""
        self.reachable = True
        self.hostvars: dict[str, dict[str, Any]] = {}
        for host in WORKERS:
            units = []
            for worker in self.plan["hosts"][host]["workers"]:
                self.stats.setdefault(IDS[host], entry(host, worker))
                units.append(f"Id=lotus-worker@{worker['name']}.service\nLoadState=loaded\nActiveState=active")
            self.hostvars[host] = {"why_idle_units": {"stdout": "\n\n".join(units)}, "why_idle_journal": {"stdout": ""}}
            for path in self.plan["hosts"][host]["paths"]:
                names = {"id": "ID", "can_seal": "CanSeal", "groups": "Groups", "allow_to": "AllowTo"}
                self.infos[path["id"]] = {long: path[key] for key, long in names.items()}
                self.space[path["id"]] = {"Available": 1 << 40, "Reserved": 0}

    def path(self, host: str) -> str:
        return str(next(path["id"] for path in self.plan["hosts"][host]["paths"] if path["can_seal"]))

    def wait_for(self, task: str, sector: int = 5) -> None:
        self.queue.append({"Sector": {"Miner": 1000, "Number": sector}, "TaskType": LONG[task]})

    def answer(self, calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
        good = [ident for ident, info in self.infos.items() if info["CanSeal"]]

        def one(method: str, params: list[Any]) -> Any:
            if method == "StorageBestAlloc":
                task = "AP" if params[0] == 1 else "PC1"
                return [{"ID": ident} for ident in good if ident not in self.refused[task]]
            if method == "StorageFindSector":
                return [{"ID": ident} for ident in self.finds[params[0]["Number"]]]
            if method == "StorageInfo":
                return self.infos[params[0]]
            if method == "StorageStat":
                return self.space[params[0]]
            return {
                "WorkerStats": self.stats,
                "WorkerJobs": self.jobs,
                "SealingSchedDiag": {"SchedInfo": {"Requests": self.queue, "OpenWindows": []}},
                "StorageList": {ident: [] for ident in self.infos},
            }[method]

        return [{**call, "result": one(call["method"], call["params"]), "error": ""} for call in calls]

    def report(self, *hosts: str) -> list[str]:
        names = hosts or WORKERS
        first, following, journals = [], [], []
        for miner in plan_serving_miners(self.plan, names):
            one: dict[str, Any] = {"item": miner, "reachable": self.reachable, "reason": "connection refused"}
            if self.reachable:
                one["answers"] = self.answer(plan_settings_idle_calls(self.plan["settings"]))
            calls = plan_settings_idle_calls(self.plan["settings"], one)
            first.append(one)
            following.append({"item": one, "reachable": self.reachable, "answers": self.answer(calls)})
            journals.append({"item": miner, "stdout": self.journal})
        return plan_idle_report(self.plan, self.hostvars, names, first, following, journals)


def say(lines: list[str], worker: str) -> str:
    """What the report says of one worker, remedies included."""
    start = next(index for index, line in enumerate(lines) if f" {worker} (" in line)
    text = [lines[start]]
    for line in lines[start + 1 :]:
        if not line.startswith(("      ->", "      also")):
            break
        text.append(line)
    return "\n".join(text)


def drained(cluster: Cluster) -> None:
    cluster.stats[IDS["pc1-a"]]["Tasks"] = ["seal/v0/fetch"]


def half_drained(cluster: Cluster) -> None:
    cluster.stats[IDS["pc1-a"]]["Tasks"] = [LONG["AP"]]


def disabled(cluster: Cluster) -> None:
    worker = cluster.plan["hosts"]["pc1-a"]["workers"][0]
    cluster.stats[IDS["pc1-a"]] = entry("pc1-a", worker) | {"Enabled": False}


def gone(cluster: Cluster) -> None:
    del cluster.stats[IDS["pc1-a"]]
    cluster.hostvars["pc1-a"]["why_idle_units"]["stdout"] = (
        "Id=lotus-worker@pc1-0.service\nLoadState=loaded\nActiveState=inactive"
    )


def lost(cluster: Cluster) -> None:
    gone(cluster)
    disabled(cluster)


def lost_for_its_token(cluster: Cluster) -> None:
    wrong_token_in_its_file(cluster)
    disabled(cluster)


def never_there(cluster: Cluster) -> None:
    del cluster.stats[IDS["pc1-a"]]
    cluster.hostvars["pc1-a"]["why_idle_units"]["stdout"] = (
        "Id=lotus-worker@pc1-0.service\nLoadState=not-found\nActiveState=inactive"
    )


def no_ssh(cluster: Cluster) -> None:
    del cluster.stats[IDS["pc1-a"]]
    cluster.hostvars["pc1-a"] = {"why_idle_units": {"unreachable": True}}


def other_name(cluster: Cluster) -> None:
    cluster.stats[IDS["pc1-a"]]["Info"]["Hostname"] = "pc1-a"


def wrong_token(cluster: Cluster) -> None:
    del cluster.stats[IDS["pc1-a"]]
    cluster.hostvars["pc1-a"]["why_idle_journal"]["stdout"] = (
        "Sat 2026-11-21 03:00:01 UTC pc1-a lotus-worker@pc1-0.service[77]: Worker registered successfully\n"
        "Sat 2026-11-21 03:10:01 UTC pc1-a lotus-worker@pc1-0.service[99]: Connecting to miner API... (HTTP 401)"
    )


def wrong_token_in_its_file(cluster: Cluster) -> None:
    del cluster.stats[IDS["pc1-a"]]
    refused = {"item": "pc1-0", "reachable": False, "msg": "http://10.0.0.1:2347 refused the token (HTTP 401)"}
    cluster.hostvars["pc1-a"]["why_idle_tokens"] = {"results": [refused]}


def no_way_to_the_miner(cluster: Cluster) -> None:
    del cluster.stats[IDS["pc1-a"]]
    away = {"item": "pc1-0", "reachable": False, "reason": "http://10.0.0.1:2347 does not answer: timed out"}
    cluster.hostvars["pc1-a"]["why_idle_tokens"] = {"results": [away]}


def unknown_path(cluster: Cluster) -> None:
    del cluster.infos[cluster.path("pc1-a")]


def full_path(cluster: Cluster) -> None:
    cluster.space[cluster.path("pc1-a")] = {"Available": 20000, "Reserved": 0}
    cluster.refused["PC1"].add(cluster.path("pc1-a"))


def stale_path(cluster: Cluster) -> None:
    for task in cluster.refused:
        cluster.refused[task].add(cluster.path("pc1-a"))
    cluster.journal = f"DEBUG\tstores\tnot allocating on {cluster.path('pc1-a')}, didn't receive heartbeats for 3m2s"


def broken_path(cluster: Cluster) -> None:
    for task in cluster.refused:
        cluster.refused[task].add(cluster.path("pc1-a"))
    cluster.journal = f"DEBUG\tstores\tnot allocating on {cluster.path('pc1-a')}, heartbeat error: input/output error"


def other_group(cluster: Cluster) -> None:
    cluster.infos[cluster.path("pc1-a")]["AllowTo"] = ["z"]


def at_limit(cluster: Cluster) -> None:
    cluster.wait_for("PC1")
    cluster.stats[IDS["pc1-a"]]["TaskCounts"] = {f"{LONG['PC1']}:StackedDrg2KiBV1_1": 1}


def no_memory(cluster: Cluster) -> None:
    cluster.wait_for("PC1")
    cluster.stats[IDS["pc1-a"]]["MemUsedMin"] = 1 << 30


def no_threads(cluster: Cluster) -> None:
    cluster.wait_for("PC1")
    cluster.stats[IDS["pc1-a"]]["CpuUse"] = 2


def gpu_taken(cluster: Cluster) -> None:
    cluster.wait_for("PC1")
    stats = cluster.stats[IDS["pc1-a"]]
    stats["GpuUsed"] = 1
    stats["Info"]["Resources"]["GPUs"] = ["card"]
    stats["Info"]["Resources"]["Resources"][LONG["PC1"]]["5"]["GPUUtilization"] = 1


def only_the_log_says(cluster: Cluster) -> None:
    cluster.wait_for("PC1")
    cluster.journal = f"sched: not scheduling on worker {IDS['pc1-a']} for schedAcceptable; not enough threads, need 4"


def not_looked(cluster: Cluster) -> None:
    cluster.wait_for("PC1", 7)


def nothing_queued(cluster: Cluster) -> None:
    pass


def miner_down(cluster: Cluster) -> None:
    cluster.reachable = False


@pytest.mark.parametrize(
    ("broken", "says", "remedy"),
    [
        (drained, "IDLE pc1-a/pc1-0 (AP PC1): takes no task: it is drained", "drain_state=active"),
        (half_drained, "does not take PC1", "drain_state=active"),
        (
            disabled,
            "OUT  pc1-a/pc1-0 (AP PC1): is registered at seal/seal and disabled, though",
            "open port 3456 of pc1-a towards seal",
        ),
        (gone, "lotus-worker@pc1-0.service is inactive", "systemctl start lotus-worker@pc1-0.service"),
        (lost, "and disabled: lotus-worker@pc1-0.service is inactive", "systemctl start lotus-worker@pc1-0.service"),
        (lost_for_its_token, "and disabled: it has a wrong token", "playbooks/workers.yml"),
        (never_there, "pc1-a has no lotus-worker@pc1-0.service", "playbooks/workers.yml --limit pc1-a"),
        (no_ssh, "its host pc1-a does not answer to ssh", "bring the host back"),
        (other_name, "though lotus-worker@pc1-0.service runs", "another --name"),
        (wrong_token, "it has a wrong token", "playbooks/workers.yml"),
        (wrong_token_in_its_file, "it has a wrong token", "playbooks/workers.yml"),
        (no_way_to_the_miner, "from pc1-a http://10.0.0.1:2347 does not answer: timed out", "firewall"),
        (unknown_path, "its path /sealer is unknown to the miner", "restart lotus-worker@pc1-0"),
        (full_path, "out of space: PC1 needs 30.9 kB, 20.0 kB are free", "let PC2 take what lies there"),
        (stale_path, "is stale: the miner didn't receive heartbeats for 3m2s", "restart lotus-worker@pc1-0 on pc1-a"),
        (broken_path, "cannot be read: heartbeat error: input/output error", "look at the disk and the mount"),
        (other_group, "has AllowTo z, the plan says a", "playbooks/workers.yml --limit pc1-a"),
        (at_limit, "is at its task limit for PC1", "as full as the plan lets it be"),
        (no_memory, "has not enough memory for PC1", "fewer tasks"),
        (no_threads, "has too few CPUs free for PC1", "let its tasks end"),
        (gpu_taken, "has its GPU in use for PC1", "let the running task end"),
        (only_the_log_says, "has too few CPUs free", "let its tasks end"),
        (not_looked, "nothing keeps 7 from it: the scheduler has not looked", "sched-diag --force-sched"),
        (nothing_queued, "no AP waits at its miner", "playbooks/pledge.yml"),
        (
            miner_down,
            "its miner seal/seal does not answer: connection refused",
            "systemctl status lotus-miner-seal on seal",
        ),
    ],
)
def test_each_cause_has_its_sentence_and_its_remedy(broken: Callable[[Cluster], None], says: str, remedy: str) -> None:
    cluster = Cluster()
    broken(cluster)
    text = say(cluster.report(), "pc1-a/pc1-0")
    assert says in text and remedy in text
    if broken not in (nothing_queued, miner_down, not_looked):
        # The same kind of worker on another host is not blamed for it.
        assert says.rpartition("): ")[2] not in say(cluster.report(), OTHER)


def test_a_worker_with_jobs_works() -> None:
    cluster = Cluster()
    job = {"Sector": {"Number": 5}, "Task": LONG["PC1"], "RunWait": 0}
    cluster.jobs = {IDS["pc1-a"]: [job, job | {"RunWait": -2, "Sector": {"Number": 9}}]}
    lines = cluster.report()
    assert say(lines, "pc1-a/pc1-0") == "works pc1-a/pc1-0 (AP PC1): PC1 of sector 5"
    assert "workers of the plan: 1 work, " in lines[0]


def test_groups_that_match_nothing() -> None:
    cluster = Cluster()
    for host in ("pc2-a", "pc2-b"):
        cluster.infos[cluster.path(host)]["Groups"] = ["z"]
        next(path for path in cluster.plan["hosts"][host]["paths"] if path["can_seal"])["groups"] = ["z"]
    lines = cluster.report()
    assert "no PC1 path gives to its group z: they allow a, b" in say(lines, "pc2-a/pc2-0")
    assert "what it seals waits for PC2: no path has a group of AllowTo a" in say(lines, "pc1-a/pc1-0")


def test_a_sector_that_may_not_leave_its_group() -> None:
    cluster = Cluster()
    cluster.wait_for("PC2", 5)
    cluster.finds = {5: {cluster.path("pc1-b"), cluster.path("pc2-b")}}
    lines = cluster.report()
    assert "the sectors that wait for PC2 (5) may not leave their group" in say(lines, "pc2-a/pc2-0")
    assert "may not leave" not in say(lines, "pc2-b/pc2-0")


def test_a_task_later_in_the_line_points_to_the_one_before() -> None:
    assert "sectors come to it from PC1" in say(Cluster().report(), "pc2-a/pc2-0")


def test_a_stranger_is_named() -> None:
    cluster = Cluster()
    cluster.stats["x"] = copy.deepcopy(cluster.stats[IDS["pc1-a"]])
    cluster.stats["x"]["Info"]["Hostname"] = "old-host"
    assert [line for line in cluster.report() if "old-host works for seal/seal and is not in the plan" in line]


def test_only_tokens_of_absent_workers_are_tried() -> None:
    cluster = Cluster()
    del cluster.stats[IDS["pc1-a"]]
    answers = [{"reachable": True, "answers": cluster.answer(plan_settings_idle_calls(cluster.plan["settings"]))}]
    assert idle_answers_absent_workers(answers, cluster.plan["hosts"]["pc1-a"], "pc1-a") == ["pc1-0"]
    disabled(cluster)
    answers = [{"reachable": True, "answers": cluster.answer(plan_settings_idle_calls(cluster.plan["settings"]))}]
    assert idle_answers_absent_workers(answers, cluster.plan["hosts"]["pc1-a"], "pc1-a") == ["pc1-0"]
    assert idle_answers_absent_workers(answers, cluster.plan["hosts"]["pc2-a"], "pc2-a") == []
    assert idle_answers_absent_workers([{"reachable": False}], cluster.plan["hosts"]["pc2-a"], "pc2-a") == []


def test_only_the_hosts_asked_for_are_judged() -> None:
    assert not [line for line in Cluster().report("pc1-a") if "pc1-b/" in line]


def test_stats_of_the_fork() -> None:
    cluster = Cluster()
    cluster.plan["settings"]["stack"] = "lotus_distributed"
    for listed in cluster.stats.values():
        short = " ".join(task for task, name in LONG.items() if name in listed["Tasks"])
        capacity = " ".join(f"{task}(1)" for task in LONG)
        listed |= {"TaskTypes": short, "Tasks": f"Running:  | Preparing:  | Capacity: {capacity} | DiskUsed: 0"}
    cluster.wait_for("PC1")
    ident = IDS["pc1-a"].replace("-", "")
    cluster.journal = (
        f"sector s-t01000-5 sched: not scheduling on worker {ident}@pc1-a/pc1-0 for PC1 from schedAcceptable; "
        "It plans offline maintenance"
    )
    lines = cluster.report()
    assert "is drained (IsPlanOffline)" in say(lines, "pc1-a/pc1-0")
    assert "IsPlanOffline" not in say(lines, OTHER)
    resources = cluster.stats[IDS["pc1-a"]]["Info"]["Resources"]
    cluster.journal = ""
    resources["IsPlanOffline"] = True
    assert "is drained (IsPlanOffline)" in say(cluster.report(), "pc1-a/pc1-0")
    resources["IsPlanOffline"] = False
    cluster.journal = "trySchedMine SCHED 1 queued; 0 open windows"
    assert "gives out nothing at all" in say(cluster.report(), "pc1-a/pc1-0")
    cluster.stats[IDS["pc1-a"]]["Tasks"] = "Running: PC1(1) | Preparing:  | Capacity: PC1(1)"
    assert "is at PreCommit1Max for PC1" in say(cluster.report(), "pc1-a/pc1-0")
    cluster.stats[IDS["pc1-a"]]["Tasks"] = "Running:  | Preparing:  | Capacity: AP(1) PC1(0)"
    assert "is allowed none by its myscheduler.json for PC1" in say(cluster.report(), "pc1-a/pc1-0")
    cluster.journal = (
        f"sector s-t01000-5 sched: not scheduling on worker {ident}@pc1-a/pc1-0 for PC1 from schedAcceptable; "
        "not enough PreCommit1 quota"
    )
    assert "as full as the plan" not in "\n".join(cluster.report())
    cluster.stats[IDS["pc1-a"]]["Tasks"] = "Running:  | Preparing:  | Capacity: AP(1) PC1(2)"
    assert "as full as the plan" in say(cluster.report(), "pc1-a/pc1-0")
    cluster.queue[0]["TaskType"] = LONG["AP"]
    assert "PreCommit1Max" not in say(cluster.report(), "pc1-a/pc1-0")
    cluster.stats[IDS["pc1-a"]]["Tasks"] = "Running:  | Preparing:  | Capacity: AP(1) PC1(0)"
    cluster.queue.clear()
    assert "is allowed none by its myscheduler.json for PC1" in say(cluster.report(), "pc1-a/pc1-0")


def test_the_first_generation_is_known_by_its_sessions() -> None:
    cluster = Cluster()
    before = cluster.report()
    for ident, listed in cluster.stats.items():
        name = listed["Info"]["Hostname"]
        host, _, worker = name.partition("/")
        listed["Info"]["Hostname"] = "ip-10-0-0-1"
        cluster.hostvars[host]["sealing_worker_identities"] = {"results": [{"item": worker, "result": ident}]}
    assert cluster.report() == before


def test_a_question_that_is_refused_says_nothing_of_paths() -> None:
    cluster = Cluster()
    answers = cluster.answer(plan_settings_idle_calls(cluster.plan["settings"]))
    for each in answers:
        if each["method"] == "StorageBestAlloc":
            each |= {"result": None, "error": "method StorageBestAlloc: wrong param count"}
    assert read("seal/seal", {"reachable": True, "answers": answers}, {}, "").accepted == {}
    for each in answers:
        each["error"] = "no good path found"
    assert read("seal/seal", {"reachable": True, "answers": answers}, {}, "").accepted == dict.fromkeys(
        ("AP", "PC1"), frozenset()
    )


def test_the_fork_is_not_asked_with_the_actor() -> None:
    def alloc(stack: str) -> list[Any]:
        return [
            call["params"]
            for call in first_calls(stacks.get(stack), "2KiB", "t01000")
            if call["method"] == "StorageBestAlloc"
        ]

    assert alloc("lotus") == [[1, 2048, "sealing", 1000], [6, 2048, "sealing", 1000]]
    assert alloc("lotus_distributed") == [[1, 2048, "sealing"], [6, 2048, "sealing"]]


def test_space_is_that_of_the_contract() -> None:
    for size, needed in contract.document("lotus", "resources")["space"]["required_bytes"].items():
        assert need_bytes("PC1", size) == needed["PC1_alloc_sealed_cache"]
        assert need_bytes("AP", size) == needed["AP_new_sector_unsealed"]


def test_every_refusal_of_the_fork_has_a_cure() -> None:
    for reason in contract.document("lotus_distributed", "files")["logs"]["not_scheduling"]["reasons"]:
        assert refusal(reason["text"]).token, reason["text"]
    assert refusal("not enough APDiskHold quota").token == "APDiskHold quota"
    assert "newly invented" in refusal("newly invented").says


def test_lines() -> None:
    assert refusals(["sched: not scheduling on worker 0a-0 for x; GPU(s) in use"]) == {}
    assert path_refusals(["not selecting on 01234567-89AB-4000-8000-000000000000, out of space (available: 1)"]) == {
        "01234567-89ab-4000-8000-000000000000": "out of space (available: 1)"
    }
    journal = "Nov  1 03:10:01 h lotus-worker@pc1-0.service[9]: one\n-- Boot x --\nnonsense"
    assert lines_by_unit(journal) == {"lotus-worker@pc1-0.service": ["one"]}
    assert worker_cure(["HTTP 401", "Worker registered successfully, waiting for tasks"]) is None
    assert worker_cure([]) is None
    gone = "Redeclaring local storage failed: opening storage path: open /sealer/sectorstore.json: no such file"
    cure = worker_cure(["LOTUS-MINER CONNECTION LOST", gone])
    assert cure and "cannot open one of its paths" in cure.says


def test_a_queued_task_that_no_worker_of_the_plan_takes_is_said() -> None:
    cluster = Cluster()
    cluster.queue.append({"Sector": {"Miner": 1000, "Number": 7}, "TaskType": "seal/v0/regensectorkey"})
    cluster.wait_for("PC1")
    lines = cluster.report()
    index = next(index for index, line in enumerate(lines) if "no worker of the plan takes it" in line)
    assert lines[index] == (
        "      seal/seal: GSK (regenerate sector key) of sector 7 waits, and no worker of the plan takes it"
    )
    assert lines[index + 1] == "      -> add a host to snap_worker and run playbooks/workers.yml"
    assert sum("no worker of the plan" in line for line in lines) == 1
    assert "1 GSK" in lines[0]
