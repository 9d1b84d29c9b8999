"""library/lotus_rpc.py: addresses, API info strings, and calls against a small HTTP server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import lotus_rpc as rpc
import pytest
import yaml
from sealyard_host import lotus_api

TOKEN = "aaa.bbb.ccc"


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("/ip4/10.0.0.1/tcp/1234/http", "http://10.0.0.1:1234"),
        ("/ip4/0.0.0.0/tcp/1234/http\n", "http://127.0.0.1:1234"),
        ("/ip6/fd00::1/tcp/2345/http", "http://[fd00::1]:2345"),
        ("/ip6/::/tcp/2345/http", "http://[::1]:2345"),
        ("/dns/chain/tcp/443/https", "https://chain:443"),
        ("ws://host:2345/rpc/v0", "http://host:2345"),
        ("https://host:2345", "https://host:2345"),
    ],
)
def test_base_url(address: str, url: str) -> None:
    assert lotus_api.base_url(address) == url


@pytest.mark.parametrize("address", ["", "10.0.0.1:1234", "/ip4/10.0.0.1/udp/1/quic", "/ip4/10.0.0.1"])
def test_base_url_refuses(address: str) -> None:
    with pytest.raises(ValueError, match="neither a multiaddr"):
        lotus_api.base_url(address)


@pytest.mark.parametrize(
    ("info", "pair"),
    [
        (f"{TOKEN}:/ip4/10.0.0.1/tcp/1/http", (TOKEN, "/ip4/10.0.0.1/tcp/1/http")),
        (f"{TOKEN}:http://h:1,{TOKEN}:http://i:1", (TOKEN, "http://h:1")),
        ("/ip4/10.0.0.1/tcp/1/http", ("", "/ip4/10.0.0.1/tcp/1/http")),
        ("http://h:1", ("", "http://h:1")),
    ],
)
def test_split_api_info(info: str, pair: tuple[str, str]) -> None:
    assert lotus_api.split_api_info(info) == pair


def test_environment_value() -> None:
    text = "# x\nA=1\nMINER_API_INFO='t:/ip4/1.2.3.4/tcp/1/http'\nexport B=\"2\"\nA=3\n"
    assert lotus_api.environment_value(text, "A") == "3"
    assert lotus_api.environment_value(text, "B") == "2"
    assert lotus_api.environment_value(text, "MINER_API_INFO") == "t:/ip4/1.2.3.4/tcp/1/http"
    assert lotus_api.environment_value(text, "C") is None


class Handler(BaseHTTPRequestHandler):
    seen: ClassVar[list[tuple[str, dict[str, Any]]]] = []
    height = 0

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Handler.seen.append((self.path, request))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.send_response(401)
            self.end_headers()
            return
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": 1}
        if request["method"] == "Filecoin.ChainHead":
            Handler.height += 1
            answer["result"] = {"Height": Handler.height // 3}
        else:
            answer["error"] = {"code": -32601, "message": "method 'x' not found"}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def server() -> Iterator[int]:
    Handler.seen, Handler.height = [], 0
    httpd = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield httpd.server_port
    httpd.shutdown()
    httpd.server_close()


def options(**given: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "repo": None, "api_info_file": None, "api_info_variable": "FULLNODE_API_INFO", "method": "ChainHead",
        "calls": None, "params": [], "api": None, "timeout_sec": 5, "wait_sec": 0, "wait_for_change_sec": 0,
        "mutates": False,
    }  # fmt: skip
    return base | given


def make_repo(path: Path, port: int, token: str = TOKEN) -> Path:
    (path / "api").write_text(f"/ip4/127.0.0.1/tcp/{port}/http\n")
    (path / "token").write_text(token)
    return path


def test_repo_of_a_daemon_is_called_on_v1(tmp_path: Path, server: int) -> None:
    answer = rpc.run(options(repo=str(make_repo(tmp_path, server))))
    assert answer["result"] == {"Height": 0} and answer["reachable"] and not answer["changed"]
    assert Handler.seen == [("/rpc/v1", {"jsonrpc": "2.0", "id": 1, "method": "Filecoin.ChainHead", "params": []})]


def test_repo_of_a_miner_is_called_on_v0(tmp_path: Path, server: int) -> None:
    make_repo(tmp_path, server).joinpath("storage.json").write_text("{}")
    rpc.run(options(repo=str(tmp_path)))
    assert Handler.seen[0][0] == "/rpc/v0"


def test_environment_file(tmp_path: Path, server: int) -> None:
    file = tmp_path / "x.env"
    file.write_text(f"MINER_API_INFO={TOKEN}:/ip4/127.0.0.1/tcp/{server}/http\n")
    answer = rpc.run(options(api_info_file=str(file), api_info_variable="MINER_API_INFO", mutates=True))
    assert answer["changed"] and Handler.seen[0][0] == "/rpc/v0"


def test_wait_for_change(tmp_path: Path, server: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc, "POLL_SEC", 0.01)
    answer = rpc.run(options(repo=str(make_repo(tmp_path, server)), wait_for_change_sec=30))
    assert answer["result_changed"] and answer["result"] == {"Height": 1}


def test_bad_token_is_said_without_the_token(tmp_path: Path, server: int) -> None:
    with pytest.raises(lotus_api.CallFailed, match=r"refused the token \(HTTP 401\)") as error:
        rpc.run(options(repo=str(make_repo(tmp_path, server, "secret.secret.secret"))))
    assert "secret" not in str(error.value)


def test_error_of_the_method(tmp_path: Path, server: int) -> None:
    with pytest.raises(lotus_api.CallFailed, match=r"Filecoin.Nope on .*not found \(code -32601\)"):
        rpc.run(options(repo=str(make_repo(tmp_path, server)), method="Nope"))


def test_one_of_several_calls_may_fail(tmp_path: Path, server: int) -> None:
    calls = [{"method": "Nope", "params": [1]}, {"method": "ChainHead", "params": []}]
    answer = rpc.run(options(repo=str(make_repo(tmp_path, server)), method=None, calls=calls))
    assert not answer["changed"]
    assert [each["result"] for each in answer["answers"]] == [None, {"Height": 0}]
    assert "not found" in answer["answers"][0]["error"] and not answer["answers"][1]["error"]


def test_stopped_repo_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(lotus_api.Unreachable, match="api is missing: no process serves the repo"):
        rpc.run(options(repo=str(tmp_path)))


def test_refused_connection_is_unreachable(tmp_path: Path, server: int) -> None:
    make_repo(tmp_path, 1)
    with pytest.raises(lotus_api.Unreachable, match=r"http://127\.0\.0\.1:1 does not answer"):
        rpc.run(options(repo=str(tmp_path)))


def test_documentation_matches_the_argument_spec() -> None:
    documented = yaml.safe_load(rpc.DOCUMENTATION)["options"]
    assert set(options()) | {"allow_unreachable"} == set(documented)
