"""The keeper of the sector counter's file: never lowered, never empty, never a start that repeats numbers."""

from __future__ import annotations

import importlib.util
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.ports import free_port

PROGRAM = Path(__file__).parents[2] / "roles/sector_counter/files/sector_counter.py"


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sector_counter", PROGRAM)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


counter = _load()


class Place:
    """A counter's file, its mark and its copy below one folder."""

    def __init__(self, folder: Path) -> None:
        self.file, self.state, self.second = folder / "repo/sectorid", folder / "state", folder / "store/sectorid"
        for path in (self.file.parent, self.state, self.second.parent):
            path.mkdir()
        self.mark = self.state / "highest"

    def run(self, verb: str, *arguments: str) -> int:
        places = [f"--file={self.file}", f"--state={self.state}", f"--copy={self.second}"]
        return int(counter.main([verb, *places, *arguments]))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.delenv("FULLNODE_API_INFO", raising=False)
    return Place(tmp_path)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("100", 100),
        ("100\n", 100),
        *(
            (text, None)
            for text in ("0100", "0x10", "1_000", "", " 5", "5 ", "77\r\n", "-5", "abc", "12\n34\n", "0", "\n")
        ),
    ],
)
def test_only_what_the_fork_reads_the_same_way_is_a_number(text: str, number: int | None) -> None:
    assert counter.parse(text) == number


def test_the_first_file_is_above_everything_known(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.run("ensure", "--miners=41", "--start=10") == 0
    assert place.file.read_text() == place.mark.read_text() == place.second.read_text() == "41\n"
    assert "created at 41" in capsys.readouterr().out
    assert place.run("ensure", "--miners=41") == 0
    assert capsys.readouterr().out == ""


def test_a_seed_is_taken_once_and_never_below_the_highest(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.run("ensure", "--miners=41", "--seed=40") == 1
    assert "sector_counter_seed: 40 is below 41" in capsys.readouterr().err
    assert not place.file.exists()
    assert place.run("ensure", "--miners=41", "--seed=1000") == 0
    assert place.file.read_text() == "1000\n"
    assert place.run("ensure", "--miners=41", "--seed=5000") == 0
    assert place.file.read_text() == "1000\n"


@pytest.mark.parametrize("damage", ["", "0100\n", "39\n", "41\r\n", None])
def test_a_damaged_or_old_file_is_replaced_only_when_asked(place: Place, damage: str | None) -> None:
    assert place.run("ensure", "--miners=41") == 0
    place.file.unlink()
    if damage is not None:
        place.file.write_text(damage, newline="")
    assert place.run("check", f"--listen=127.0.0.1:{free_port()}") == 1
    assert place.run("ensure", "--miners=41") == 1
    assert place.run("ensure", "--miners=44", "--repair", "--unanswered=the seal miner on seal") == 1
    assert place.run("ensure", "--miners=44", "--repair", "--running") == 1
    assert place.run("ensure", "--miners=44", "--repair") == 0
    assert place.file.read_text() == "44\n"
    backups = [path.read_bytes().decode() for path in place.state.glob("sectorid.*")]
    assert backups == ([] if damage is None else [damage])
    assert place.run("check", f"--listen=127.0.0.1:{free_port()}") == 0


def test_copies_never_go_down(place: Place) -> None:
    place.file.write_text("50")
    assert place.run("copy") == 0
    place.file.write_text("12")
    assert place.run("copy") == 0
    assert place.mark.read_text() == place.second.read_text() == "50\n"
    place.file.write_text("")
    assert place.run("copy") == 1
    assert place.mark.read_text() == "50\n"


def test_the_copy_alone_refuses_an_older_file(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.second.write_text("50\n")
    place.file.write_text("49\n")
    assert place.run("check", f"--listen=127.0.0.1:{free_port()}") == 1
    said = capsys.readouterr().err
    assert "holds 49" in said and "knows 50" in said and "sector_counter_repair=true" in said


def test_a_taken_port_and_a_foreign_address_are_refused(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.file.write_text("5\n")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert place.run("check", f"--listen=127.0.0.1:{taken.getsockname()[1]}") == 1
    assert place.run("check", "--listen=192.0.2.1:1357") == 1
    assert capsys.readouterr().err.count("cannot listen") == 2


class _Daemon(BaseHTTPRequestHandler):
    allocated: list[int] | None = None
    taken = frozenset({7, 9})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        method = asked["method"].removeprefix("Filecoin.")
        answer: dict[str, Any]
        if method == "StateMinerAllocated" and self.allocated is not None:
            answer = {"result": self.allocated}
        elif method == "StateMinerSectors":
            answer = {"result": [{"SectorNumber": 3}, {"SectorNumber": 5}]}
        elif method == "StateMinerSectorAllocated":
            answer = {"result": asked["params"][1] in self.taken}
        else:
            answer = {"error": {"code": -32601, "message": f"method '{method}' not found"}}
        body = json.dumps({"jsonrpc": "2.0", "id": 1, **answer}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def daemon() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Daemon)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"token:/ip4/127.0.0.1/tcp/{server.server_port}/http"
    server.shutdown()


def test_the_chain_counts_what_is_precommitted_too(daemon: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert counter.chain_highest(daemon, "t01000") == 9
    monkeypatch.setattr(_Daemon, "allocated", [2, 3, 10, 1])
    assert counter.chain_highest(daemon, "t01000") == 15


def test_the_chain_refuses_an_older_file(place: Place, daemon: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FULLNODE_API_INFO", daemon)
    place.file.write_text("8\n")
    assert place.run("check", "--actor=t01000", f"--listen=127.0.0.1:{free_port()}") == 1
    place.file.write_text("9\n")
    assert place.run("check", "--actor=t01000", f"--listen=127.0.0.1:{free_port()}") == 0


def test_one_process_is_named_and_no_other_starts(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.run("ensure", "--miners=41", "--name=winning/winning") == 0
    named = place.second.with_name("authority")
    assert named.read_text() == "winning/winning\n"
    listen = f"--listen=127.0.0.1:{free_port()}"
    assert place.run("check", "--name=winning/winning", listen) == 0
    for verb in ("check", "ensure"):
        assert place.run(verb, "--name=window/window", listen) == 1
        assert "winning/winning gives out the numbers" in capsys.readouterr().err
    assert place.run("ensure", "--name=window/window", "--take-over") == 0
    assert named.read_text() == "window/window\n"
    assert place.run("check", "--name=winning/winning", listen) == 1


def test_a_retired_file_is_not_made_anew(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.run("ensure", "--miners=41") == 0
    place.file.rename(place.file.with_name("sectorid.retired.20261121T070000Z"))
    assert place.run("ensure", "--repair") == 1
    assert place.run("check", f"--listen=127.0.0.1:{free_port()}") == 1
    assert "sector_counter_move.yml" in capsys.readouterr().err
    assert place.run("ensure", "--take-over", "--miners=50") == 0
    assert place.file.read_text() == "50\n"


def test_taking_over_needs_the_chain(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FULLNODE_API_INFO", f"t:/ip4/127.0.0.1/tcp/{free_port()}/http")
    assert place.run("ensure", "--actor=t01000", "--miners=41", "--take-over") == 1
    assert not place.file.exists()
    assert place.run("ensure", "--actor=t01000", "--miners=41") == 0
