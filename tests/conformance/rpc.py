"""JSON-RPC 2.0 over HTTP as Lotus serves it, with the standard library."""

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PERMISSIONS = {
    "read": ["read"],
    "write": ["read", "write"],
    "sign": ["read", "write", "sign"],
    "admin": ["read", "write", "sign", "admin"],
}
"""Each permission and what a token of it allows."""

# Never through a proxy of the machine: every address is on loopback.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class RpcError(RuntimeError):
    """The `error` object of an answer."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


def http_status(url: str, limit_sec: float = 10) -> tuple[int, str]:
    """Status and body of a GET, whatever the status."""
    try:
        with _OPENER.open(url, timeout=limit_sec) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(errors="replace")


@dataclass(frozen=True)
class Rpc:
    """One API: `address` is HOST:PORT, `token` the bearer token."""

    address: str
    token: str

    @classmethod
    def of_repo(cls, repo: Path) -> "Rpc":
        """From the files api (/ip4/A/tcp/P/http) and token of a running process's repo."""
        parts = (repo / "api").read_text().strip().split("/")
        return cls(f"{parts[2]}:{parts[4]}", (repo / "token").read_text().strip())

    def post(self, body: object, version: str = "v0", limit_sec: float = 30) -> tuple[int, str]:
        """Status and text of a POST of `body`, whatever the status."""
        request = urllib.request.Request(
            f"http://{self.address}/rpc/{version}",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"}
            | ({"Authorization": f"Bearer {self.token}"} if self.token else {}),
        )
        try:
            with _OPENER.open(request, timeout=limit_sec) as answer:
                return answer.status, answer.read().decode(errors="replace")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode(errors="replace")

    def call(self, method: str, *params: object, version: str = "v0", limit_sec: float = 30) -> Any:
        """The `result`; RpcError for an error object, OSError when nobody answers."""
        body = {"jsonrpc": "2.0", "id": 1, "method": f"Filecoin.{method}", "params": list(params)}
        status, text = self.post(body, version, limit_sec)
        if status != 200 and not text.startswith("{"):
            raise OSError(f"HTTP {status}: {text[:200]}")
        answer = json.loads(text)
        if answer.get("error"):
            raise RpcError(answer["error"]["code"], answer["error"]["message"])
        return answer.get("result")
