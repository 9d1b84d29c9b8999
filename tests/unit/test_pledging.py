"""Role pledging: the pace comes from the plan, and nothing is pledged that PC1 or its scratch cannot take."""

from __future__ import annotations

import argparse
import importlib.util
import json
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
from sealyard.errors import SealyardError
from sealyard.planner.planner import plan as plan_of
from sealyard.planner.pledging import pledge_rule

from tests.unit.test_golden import document

ROOT = Path(__file__).parents[2]


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pledge", ROOT / "roles/pledging/files/pledge.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["pledge"] = module
    spec.loader.exec_module(module)
    return module


pledge = load_script()


def planned(name: str) -> dict[str, Any]:
    """The plan of an example inventory."""
    return plan_of(document(name))


def test_smooth_follows_the_plan() -> None:
    rule = pledge_rule(planned("grouped"), "seal", "seal", "smooth", 0, 0)
    assert (rule["sectors"], rule["interval_sec"]) == (1, 193)  # 86400 / 448, rounded up
    assert not rule["held_to_the_end"] and rule["counter"] == ""


def test_batch_fills_the_slots_no_faster() -> None:
    plan = planned("grouped")
    slots = sum(
        worker["concurrency"]["PC1"]
        for host in plan["hosts"].values()
        for worker in host.get("workers", [])
        if "PC1" in worker["tasks"]
    )
    rule = pledge_rule(plan, "seal", "seal", "batch", 0, 0)
    assert rule["sectors"] == rule["pc1_slots"] == slots
    assert rule["interval_sec"] >= slots * 86400 / 448
    assert rule["held_max"] >= slots


def test_workers_that_do_everything_hold_sectors_to_the_end() -> None:
    assert pledge_rule(planned("fifteen-workers"), "seal", "seal", "smooth", 0, 0)["held_to_the_end"]


def test_the_counter_is_that_of_the_plan() -> None:
    plan = planned("grouped")
    plan["counter"] = {"host": "post", "role": "winning", "address": "10.0.0.2", "port": 1357}
    assert pledge_rule(plan, "seal", "seal", "smooth", 0, 0)["counter"] == "10.0.0.2:1357"


@pytest.mark.parametrize(
    ("mode", "sectors", "interval", "says"),
    [
        ("smooth", 0, 10, "pledging_interval_sec: 193 at least, for 1 at a time"),
        ("batch", 1000, 0, "PC1 slots of the plan. Write pledging_sectors: "),
        ("batch", 4, 60, "pledging_interval_sec: 772 at least, for 4 at a time"),
        ("smooth", 4, 0, "sealing_pledging: batch, or leave it out"),
    ],
)
def test_a_pace_above_the_plans_is_refused(mode: str, sectors: int, interval: int, says: str) -> None:
    with pytest.raises(SealyardError, match=says):
        pledge_rule(planned("grouped"), "seal", "seal", mode, sectors, interval)


def test_a_miner_without_pc1_is_refused() -> None:
    with pytest.raises(SealyardError, match="which has no PC1 worker"):
        pledge_rule(planned("lab"), "deal", "deal", "smooth", 0, 0)


@pytest.mark.parametrize(
    ("summary", "to_the_end", "free", "why"),
    [
        ({}, False, 4, "4 wanted"),
        ({"Proving": 100, "Removed": 3, "FailedUnrecoverable": 2}, True, 4, "4 wanted"),
        ({"PreCommit1": 3, "Packing": 2}, False, 1, "5 of 6 PC1 slots"),
        ({"PreCommit1": 6}, False, 0, "6 of 6 PC1 slots"),
        ({"PreCommit1": 2, "AddPiece": 9}, False, 0, "11 of 6 PC1 slots"),
        ({"PreCommit2": 9}, False, 1, "scratch holds 9 of 10"),
        ({"WaitSeed": 9}, False, 4, "4 wanted"),
        ({"WaitSeed": 9}, True, 1, "scratch holds 9 of 10"),
        ({"SomeNewState": 10}, True, 0, "scratch holds 10 of 10"),
    ],
)
def test_room(summary: dict[str, int], to_the_end: bool, free: int, why: str) -> None:
    count, reason = pledge.room(summary, 4, 6, 10, to_the_end)
    assert count == free and why in reason


class Miner(BaseHTTPRequestHandler):
    summary: ClassVar[dict[str, int]] = {}
    made: ClassVar[int] = 0
    fail_after: ClassVar[int] = 99
    asked: ClassVar[list[str]] = []

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        method = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["method"]
        Miner.asked.append(method)
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": 1}
        if method == "Filecoin.SectorsSummary":
            answer["result"] = Miner.summary
        elif method == "Filecoin.WorkerStats":
            workers = [{"Info": {"Resources": {"AddPieceMax": 2}}}, {"Info": {"Resources": {}}}]
            answer["result"] = dict(enumerate(workers))
        elif Miner.made >= Miner.fail_after:
            answer["error"] = {"code": 1, "message": "getting sector number: rpc error: code = Unavailable"}
        else:
            Miner.made += 1
            answer["result"] = {"Miner": 1000, "Number": Miner.made}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Path]:
    Miner.summary, Miner.made, Miner.fail_after, Miner.asked = {}, 0, 99, []
    server = HTTPServer(("127.0.0.1", 0), Miner)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (tmp_path / "api").write_text(f"/ip4/127.0.0.1/tcp/{server.server_port}/http\n")
    (tmp_path / "token").write_text("a.b.c")
    yield tmp_path
    server.shutdown()
    server.server_close()


def options(repo: Path, **given: Any) -> argparse.Namespace:
    base: dict[str, Any] = {
        "repo": repo, "sectors": 3, "pc1_slots": 4, "held_max": 10, "held_to_the_end": False, "counter": "",
        "command": "pledge", "binary": "/bin/false",
    }  # fmt: skip
    return argparse.Namespace(**(base | given))


def test_pledges_what_there_is_room_for(repo: Path) -> None:
    Miner.summary = {"PreCommit1": 2}
    assert pledge.pledge(options(repo)) == "pledged 1, 2 (2 of 4 PC1 slots are taken or waited for)"
    assert Miner.made == 2


def test_pledges_nothing_where_there_is_none(repo: Path) -> None:
    Miner.summary = {"PreCommit1": 4}
    assert pledge.pledge(options(repo)).startswith("nothing pledged: 4 of 4 PC1 slots")
    assert "Filecoin.PledgeSector" not in Miner.asked


def test_pauses_at_the_first_number_it_does_not_get(repo: Path) -> None:
    Miner.fail_after = 1
    with pytest.raises(pledge.Paused, match="pledged 1, then: the miner refuses PledgeSector: getting sector number"):
        pledge.pledge(options(repo))
    assert Miner.asked.count("Filecoin.PledgeSector") == 2


def test_pauses_without_a_miner(tmp_path: Path) -> None:
    with pytest.raises(pledge.Paused, match="the miner does not run"):
        pledge.pledge(options(tmp_path))
    (tmp_path / "api").write_text("/ip4/127.0.0.1/tcp/1/http")
    (tmp_path / "token").write_text("a.b.c")
    with pytest.raises(pledge.Paused, match="does not answer SectorsSummary"):
        pledge.pledge(options(tmp_path))


def test_asks_the_miner_nothing_while_the_counter_is_away(repo: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(pledge.Paused, match=rf"the sector counter 127.0.0.1:{port} does not answer"):
        pledge.pledge(options(repo, counter=f"127.0.0.1:{port}"))
    assert Miner.asked == []


def test_the_forks_command_is_used_only_where_it_fits(repo: Path, tmp_path: Path) -> None:
    binary = tmp_path / "lotus-miner"
    binary.write_text('#!/bin/sh\necho "Created CC sector:  7"; echo "$LOTUS_MINER_PATH $*" > "$0.called"\n')
    binary.chmod(0o755)
    said = pledge.pledge(options(repo, command="mypledgeonce", binary=str(binary)))
    assert said == "sectors mypledgeonce: Created CC sector:  7"
    called = Path(f"{binary}.called").read_text()
    assert called == f"{repo} --miner-repo {repo} sectors mypledgeonce\n" and Miner.made == 0
    Miner.summary = {"PreCommit1": 3}
    said = pledge.pledge(options(repo, command="mypledge", binary=str(binary)))
    assert said.startswith("pledged 1 (") and said.endswith("; sectors mypledge would make 2)")


def test_a_failing_command_pauses(repo: Path) -> None:
    with pytest.raises(pledge.Paused, match="sectors mypledgeonce: status 1"):
        pledge.pledge(options(repo, command="mypledgeonce", binary="/bin/false"))


def test_status_tells_whether_it_paused(
    repo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["pledge.py", "--repo", str(repo), "--sectors", "1", "--pc1-slots", "4", "--held-max", "4"]
    monkeypatch.setattr(sys, "argv", line)
    assert pledge.main() == 0 and capsys.readouterr().out == "pledged 1 (1 wanted)\n"
    (repo / "token").unlink()
    assert pledge.main() == 1 and capsys.readouterr().err.startswith("pledging pauses: the miner does not run")
