"""Workers: their files from the plan, what the miner says of them, draining, and the nudge after a start."""

from __future__ import annotations

import base64
import importlib.util
import json
import threading
from collections.abc import Iterator
from dataclasses import asdict, fields
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
import yaml
from sealyard import stacks
from sealyard.hosts.paths import path_directories, path_files
from sealyard.hosts.registration import registration_problems, worker_problems
from sealyard.hosts.workers import Host as WorkerHost
from sealyard.hosts.workers import drop_in, slurped_api_infos, worker_files, worker_miners, worker_units
from sealyard.operations.drain import worker_jobs_running, worker_task_switches

from tests.unit.rendered import text_of

LOTUS = stacks.get("lotus")
PC1: dict[str, Any] = {
    "name": "pc1-0",
    "miner": "seal",
    "miner_role": "seal",
    "tasks": ["AP", "PC1"],
    "cpus": "0-3,64-67",
    "numa_node": 1,
    "memory_bytes": 70 << 30,
    "port": 3456,
    "flags": ["--no-default", "--addpiece", "--precommit1"],
    "environment": {"FIL_PROOFS_USE_MULTICORE_SDR": "1"},
    "resources": {"PC1_32G_MAX_CONCURRENT": "1"},
    "why": "4 cores of L3 0 of node 1",
}
C2: dict[str, Any] = {**PC1, "name": "c2-0", "tasks": ["C2"], "port": 3457, "numa_node": None, "memory_bytes": 1}
SEALER = {"path": "/sealer", "id": "s1", "can_seal": True, "can_store": False, "allow_to": ["a"], "workers": ["pc1-0"]}
STORE = {"path": "/mnt/store", "id": "t1", "can_seal": False, "can_store": True, "workers": ["pc1-0"]}
PLAN: dict[str, Any] = {"workers": [PC1, C2], "paths": [SEALER, STORE]}
CONTEXT: dict[str, Any] = {
    "name": "h1",
    "address": "10.0.0.1",
    "data_dir": "/var/lib/lotus",
    "install_root": "/opt/lotus",
    "config_dir": "/etc/sealyard",
    "unit_dir": "/etc/systemd/system",
    "user": "filecoin",
    "group": "filecoin",
    "api_infos": {"seal/seal": "a.b.c:/ip4/10.0.0.9/tcp/2347/http"},
    "cgroup_v2": True,
    "memory_floor_bytes": 4 << 30,
    "numa_policy": "bind",
    "environment": {},
    "require_mount": True,
}


def files_by_path(plan: dict[str, Any] = PLAN, **changes: Any) -> dict[str, dict[str, Any]]:
    wanted = worker_files(plan, {**CONTEXT, **changes})
    return {entry["path"]: entry for kind in ("directories", "files", "secrets") for entry in wanted[kind]}


def drop_in_text(*arguments: Any) -> str:
    return text_of(
        "sealing_worker", {"template": "lotus-worker-drop-in.conf.j2", "values": asdict(drop_in(*arguments))}
    )


def test_the_drop_in_binds_the_worker_where_the_plan_says() -> None:
    text = drop_in_text(PC1, [SEALER], WorkerHost(**CONTEXT))
    assert text.splitlines() == [
        "[Unit]",
        "RequiresMountsFor=/sealer",
        "[Service]",
        "CPUAffinity=0-3 64-67",
        "NUMAPolicy=bind",
        "NUMAMask=1",
        "AllowedCPUs=0-3,64-67",
        "AllowedMemoryNodes=1",
        f"MemoryMax={70 << 30}",
        'Environment="FIL_PROOFS_USE_MULTICORE_SDR=1"',
        'Environment="PC1_32G_MAX_CONCURRENT=1"',
        "ExecStart=",
        "ExecStart=/opt/lotus/current/bin/lotus-worker run --no-local-storage --name=h1/pc1-0 --listen=10.0.0.1:3456 "
        "--no-default --addpiece --precommit1",
    ]


def test_the_scenario_of_machines_gives_the_filters_all_they_need() -> None:
    plays = yaml.safe_load((Path(__file__).parents[2] / "molecule/rdma/worker.yml").read_text(encoding="utf-8"))
    given = set(plays[0]["vars"]["rdma_context"])
    assert given >= {each.name for each in fields(WorkerHost) if each.name != "limits"}


def test_a_reworded_reason_writes_the_same_drop_in() -> None:
    one, two = (drop_in({**PC1, "why": why}, [SEALER], WorkerHost(**CONTEXT)) for why in ("a", ["b", "c"]))
    assert one == two


def test_node_zero_is_a_node() -> None:
    text = drop_in_text({**PC1, "numa_node": 0}, [SEALER], WorkerHost(**CONTEXT))
    assert "NUMAMask=0\nAllowedCPUs=0-3,64-67\nAllowedMemoryNodes=0\n" in text


def test_without_cgroup_v2_or_node_only_what_works_is_written() -> None:
    text = drop_in_text(C2, [], WorkerHost(**{**CONTEXT, "cgroup_v2": False, "address": "fd00::1"}))
    assert "Allowed" not in text and "NUMA" not in text
    assert f"MemoryMax={4 << 30}" in text
    assert "--listen=[fd00::1]:3457" in text


def test_percent_and_quotes_survive_systemd() -> None:
    worker = {**PC1, "environment": {"A": '50% "x"'}}
    assert 'Environment="A=50%% \\"x\\""' in drop_in_text(worker, [], WorkerHost(**CONTEXT))


def test_the_token_is_in_the_secret_and_nowhere_else() -> None:
    wanted = worker_files(PLAN, CONTEXT)
    assert "a.b.c" not in json.dumps([wanted["files"], wanted["directories"]])
    assert [secret["path"] for secret in wanted["secrets"]] == [
        "/etc/sealyard/lotus-worker@pc1-0.env",
        "/etc/sealyard/lotus-worker@c2-0.env",
    ]
    assert wanted["secrets"][0]["content"] == "MINER_API_INFO=a.b.c:/ip4/10.0.0.9/tcp/2347/http\n"


def test_a_miner_that_was_not_asked_leaves_the_secret_to_the_host() -> None:
    secret = files_by_path(api_infos={"seal/seal": None})["/etc/sealyard/lotus-worker@pc1-0.env"]
    assert secret["content"] is None and "seal miner on seal" in secret["remedy"]


def test_paths_are_opened_by_the_workers_the_plan_names() -> None:
    files = files_by_path()
    assert json.loads(files["/var/lib/lotus/worker/pc1-0/storage.json"]["content"]) == {
        "StoragePaths": [{"Path": "/sealer"}, {"Path": "/mnt/store"}]
    }
    assert json.loads(files["/var/lib/lotus/worker/c2-0/storage.json"]["content"]) == {"StoragePaths": []}


def test_a_sealing_path_follows_the_plans_groups_and_a_store_stays_as_it_is() -> None:
    sealing, store = path_files([SEALER, STORE], "u", "g", LOTUS)
    assert json.loads(sealing["content"])["AllowTo"] == ["a"]
    assert sealing["json_set"] == ["Groups", "AllowTo"]
    assert store["json_set"] == []


def test_only_stores_must_be_mounts() -> None:
    assert [entry["mounted"] for entry in path_directories([SEALER, STORE], "u", "g", True)] == [False, True]
    assert not any(entry["mounted"] for entry in path_directories([SEALER, STORE], "u", "g", False))


def test_what_another_host_serves_must_be_a_mount() -> None:
    assert path_directories([SEALER], "u", "g", False, ["/sealer"])[0]["mounted"] is True


def test_a_worker_waits_for_its_mounts_and_proves_how_they_are_carried() -> None:
    mounts = [{"path": "/sealer", "transport": "rdma"}, {"path": "/sealer2", "transport": "tcp"}]
    text = drop_in_text(PC1, [SEALER, STORE], WorkerHost(**CONTEXT), mounts)
    told = "RequiresMountsFor=/mnt/store\nWants=sealer.mount\nAfter=sealer.mount\nPartOf=sealer.mount"
    assert f"[Unit]\n{told}\n[Service]\n" in text
    assert "ExecStartPre=/usr/bin/python3 /usr/local/lib/sealyard/nfs_transport.py /sealer=rdma\n" in text
    below = drop_in_text(PC1, [{**SEALER, "path": "/sealer2/a"}], WorkerHost(**CONTEXT), mounts)
    assert "nfs_transport.py /sealer2=tcp\n" in below
    alone = drop_in_text(PC1, [SEALER, STORE], WorkerHost(**CONTEXT))
    assert "ExecStartPre" not in alone and "[Unit]\nRequiresMountsFor=/sealer /mnt/store\n[Service]\n" in alone


def test_a_unit_restarts_for_its_own_files_only() -> None:
    pc1, c2 = worker_units(PLAN, CONTEXT, {"pc1-0": ["/old"]})
    assert "/sealer/sectorstore.json" in pc1["files"] and "/sealer/sectorstore.json" not in c2["files"]
    assert "/old/sectorstore.json" in pc1["files"]
    # Lotus rewrites storage.json at every start: what file_set adds to it is marked.
    assert not any(path.endswith("storage.json") for path in pc1["files"])
    mark = files_by_path()["/var/lib/lotus/worker/pc1-0/storage.json"]["mark"]
    assert mark in pc1["files"] and mark not in c2["files"]
    shared = set(pc1["files"]) & set(c2["files"])
    assert shared == {"/opt/lotus/current", "/etc/systemd/system/lotus-worker@.service"}


def test_api_infos_need_both_files() -> None:
    def read(key: str, file: str, text: str | None) -> dict[str, Any]:
        content = {} if text is None else {"content": base64.b64encode(text.encode()).decode()}
        return {"item": [{"key": key}, file], **content}

    results = [
        read("seal/seal", "api", "/ip4/10.0.0.9/tcp/2347/http\n"),
        read("seal/seal", "token", "a.b.c"),
        read("deal/deal", "api", None),
        read("deal/deal", "token", "d.e.f"),
    ]
    assert slurped_api_infos(results) == {"seal/seal": "a.b.c:/ip4/10.0.0.9/tcp/2347/http", "deal/deal": None}


def test_each_miner_process_is_asked_once() -> None:
    plan = {"workers": [PC1, C2, {**PC1, "name": "pc1-1", "miner_role": "deal"}]}
    assert [(miner["key"], miner["workers"]) for miner in worker_miners(plan)] == [
        ("seal/deal", ["pc1-1"]),
        ("seal/seal", ["pc1-0", "c2-0"]),
    ]


def entry(name: str, tasks: list[str], enabled: bool = True) -> dict[str, Any]:
    return {"Info": {"Hostname": name}, "Tasks": tasks, "Enabled": enabled}


GOOD = entry("h1/pc1-0", ["seal/v0/finalize", "seal/v0/addpiece", "seal/v0/precommit/1"])
STALE = entry("h1/pc1-0", [], enabled=False)


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ([GOOD], None),
        ([STALE, GOOD], None),
        ([], "not registered"),
        ([entry("h2/pc1-0", GOOD["Tasks"])], "not registered"),
        ([STALE], "disabled"),
        ([entry("h1/pc1-0", ["seal/v0/finalize"])], "drained"),
        ([entry("h1/pc1-0", [*GOOD["Tasks"], "seal/v0/precommit/2"])], "takes AP PC1 PC2 instead of AP PC1"),
        ([entry("h1/pc1-0", ["seal/v0/addpiece"])], "takes AP instead of AP PC1"),
    ],
)
def test_what_the_miner_says_of_a_worker(entries: list[dict[str, Any]], says: str | None) -> None:
    stats = {str(number): one for number, one in enumerate(entries)}
    problems = worker_problems(stats, PLAN, "h1", ["pc1-0"])
    if says is None:
        assert problems == []
    else:
        assert len(problems) == 1 and says in problems[0] and "h1/pc1-0" in problems[0]


def test_a_miner_without_an_answer_accuses_nobody() -> None:
    answers = [{"reachable": False, "result": None, "item": {"workers": ["pc1-0"]}}]
    assert registration_problems(answers, PLAN, "h1") == []


def test_draining_and_giving_back_switch_the_plans_tasks_and_no_other() -> None:
    answers = [{"result": {"1": {**GOOD, "Tasks": [*GOOD["Tasks"], "seal/v0/datacid"]}}}]
    drained = worker_task_switches(answers, {"workers": [PC1]}, "h1", "drained", LOTUS)
    assert [(switch["method"], switch["task"]) for switch in drained] == [
        ("TaskDisable", "seal/v0/addpiece"),
        ("TaskDisable", "seal/v0/precommit/1"),
    ]
    assert worker_task_switches(answers, {"workers": [PC1]}, "h1", "active", LOTUS) == []
    empty = [{"result": {"1": {**GOOD, "Tasks": []}}}]
    assert {switch["method"] for switch in worker_task_switches(empty, {"workers": [PC1]}, "h1", "active", LOTUS)} == {
        "TaskEnable"
    }
    assert worker_task_switches(empty, {"workers": [PC1]}, "h1", "drained", LOTUS) == []


def test_jobs_that_came_back_do_not_count() -> None:
    job = {"Sector": {"Number": 5}, "Task": "seal/v0/precommit/1", "RunWait": 0}
    stats = [{"result": {"w": {"Info": {"Hostname": "h1/pc1-0"}}, "v": {"Info": {"Hostname": "h2/pc1-0"}}}}]
    jobs = {"w": [job, {**job, "RunWait": -2}], "v": [job]}
    assert worker_jobs_running(jobs, stats, ["h1/pc1-0"]) == ["sector 5 PC1 on h1/pc1-0"]
    assert worker_jobs_running(None, stats, ["h1/pc1-0"]) == []


def test_jobs_of_a_restarted_miner_count_until_they_return() -> None:
    job = {"Sector": {"Number": 5}, "Task": "seal/v0/precommit/1", "Hostname": "h1/pc1-0", "RunWait": -1}
    jobs = {"00000000-0000-0000-0000-000000000000": [job]}
    assert worker_jobs_running(jobs, [{"result": None}], ["h1/pc1-0"]) == ["sector 5 PC1 on h1/pc1-0"]


def load_nudge() -> ModuleType:
    path = Path(__file__).parents[2] / "roles/sealing_worker/files/nudge_scheduler.py"
    spec = importlib.util.spec_from_file_location("nudge_scheduler", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


nudge = load_nudge()


class Miner(BaseHTTPRequestHandler):
    """A miner that lists the worker from its third answer on, and refuses the first nudge."""

    calls: ClassVar[list[str]] = []
    tokens: ClassVar[set[str]] = set()

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        method = request["method"].removeprefix("Filecoin.")
        self.calls.append(method)
        self.tokens.add(str(self.headers["Authorization"]))
        answer: dict[str, Any] = {"result": {}}
        if method == "WorkerStats" and self.calls.count("WorkerStats") > 2:
            answer = {"result": {"1": GOOD}}
        if method == "SealingSchedDiag":
            assert request["params"] == [True]
            answer = {"result": {}} if self.calls.count(method) > 1 else {"error": {"message": "not now"}}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def miner() -> Iterator[str]:
    Miner.calls.clear()
    server = HTTPServer(("127.0.0.1", 0), Miner)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"tok.e.n:/ip4/127.0.0.1/tcp/{server.server_port}/http"
    server.shutdown()
    server.server_close()


def test_the_scheduler_is_nudged_once_the_worker_is_listed(miner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(nudge.time, "sleep", slept.append)
    monkeypatch.setenv("MINER_API_INFO", miner)
    monkeypatch.setattr(nudge.sys, "argv", ["nudge", "h1/pc1-0"])
    nudge.main()
    assert Miner.calls == ["WorkerStats"] * 4 + ["SealingSchedDiag"] + ["WorkerStats"] * 2 + ["SealingSchedDiag"]
    assert nudge.SETTLE_SEC in slept
    assert Miner.tokens == {"Bearer tok.e.n"}


def test_a_miner_that_is_down_is_no_error() -> None:
    assert nudge.registered("t:/ip4/127.0.0.1/tcp/9/http", "h1/pc1-0") is False


@pytest.mark.parametrize("text", ["", "/ip4/1.2.3.4/tcp/1/http", "token:10.0.0.1:2345", "token:/unix/x/tcp/1/http"])
def test_a_malformed_api_info_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(ValueError, match="MINER_API_INFO is not"):
        nudge.endpoint(text)
