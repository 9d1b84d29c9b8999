"""The one client of Lotus's JSON-RPC: a multiaddr or an API info string becomes an endpoint, a call its result."""

from __future__ import annotations

import http.client
import ipaddress
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class ApiError(Exception):
    """A call has no result; the text never holds the token."""


class Unreachable(ApiError):
    """No API answers: repo not started, connection refused, or no answer in time."""


class CallFailed(ApiError):
    """The API answered and refused: bad token, unknown method, or an error of the method itself.

    `words` is what the API itself said, where it said something.
    """

    def __init__(self, text: str, words: str = "") -> None:
        super().__init__(text)
        self.words = words or text


@dataclass(frozen=True)
class Endpoint:
    """Where to call: base URL such as http://10.0.0.1:1234, a token that may be empty, and the API version."""

    url: str
    token: str
    version: str


def base_url(address: str) -> str:
    """Turn a multiaddr or URL of an API into http://HOST:PORT; ValueError names the text that is neither."""
    text = address.strip()
    for prefix, scheme in (("http://", "http"), ("https://", "https"), ("ws://", "http"), ("wss://", "https")):
        if text.startswith(prefix):
            return f"{scheme}://{text.removeprefix(prefix).split('/', 1)[0]}"
    parts = text.split("/")
    if len(parts) < 5 or parts[0] or parts[1] not in ("ip4", "ip6", "dns", "dns4", "dns6") or parts[3] != "tcp":
        raise ValueError(f"'{text}' is neither a multiaddr such as /ip4/10.0.0.1/tcp/1234/http nor a URL")
    scheme = "https" if {"https", "tls", "wss"} & set(parts[5:]) else "http"
    host = parts[2]
    if parts[1] == "ip4" and ipaddress.ip_address(host).is_unspecified:
        host = "127.0.0.1"
    elif parts[1] == "ip6":
        host = "[::1]" if ipaddress.ip_address(host).is_unspecified else f"[{host}]"
    return f"{scheme}://{host}:{int(parts[4])}"


def split_api_info(api_info: str) -> tuple[str, str]:
    """Split TOKEN:ADDRESS into (token, address); the token is empty when the text starts with the address."""
    first = api_info.split(",", 1)[0].strip()
    head, colon, rest = first.partition(":")
    if not colon or first.startswith("/") or rest.startswith("//"):
        return "", first
    return head, rest


def environment_value(text: str, name: str) -> str | None:
    """Value of NAME in the text of a systemd environment file, quotes removed; None when it is not there."""
    value = None
    for line in text.splitlines():
        key, equals, raw = line.strip().removeprefix("export ").partition("=")
        if equals and key.strip() == name:
            raw = raw.strip()
            value = raw[1:-1] if len(raw) > 1 and raw[0] == raw[-1] and raw[0] in "\"'" else raw
    return value


def repo_endpoint(repo: str | Path, version: str | None = None) -> Endpoint:
    """Endpoint of a running repo; Unreachable when it was never started or is stopped (file api is then gone)."""
    try:
        address, token = (Path(repo, name).read_text(encoding="utf-8").strip() for name in ("api", "token"))
    except FileNotFoundError as error:
        raise Unreachable(f"{error.filename} is missing: no process serves the repo {repo}") from None
    # Only miners and workers have storage.json, and they serve v0 alone (contract files.json, http).
    guessed = "v0" if Path(repo, "storage.json").exists() else "v1"
    return Endpoint(base_url(address), token, version or guessed)


def info_endpoint(api_info: str, variable: str, version: str) -> Endpoint:
    """Endpoint of TOKEN:ADDRESS, the value of a variable; ValueError, without showing it, when it is no such text."""
    token, address = split_api_info(api_info)
    try:
        return Endpoint(base_url(address), token, version)
    except ValueError:
        raise ValueError(f"{variable} is not TOKEN:/ip4/ADDRESS/tcp/PORT/http") from None


def file_endpoint(path: str, variable: str, version: str | None) -> Endpoint:
    """Endpoint named by VARIABLE in an environment file; Unreachable when the file or the variable is not there."""
    try:
        value = environment_value(Path(path).read_text(encoding="utf-8"), variable)
    except FileNotFoundError:
        raise Unreachable(f"{path} is missing") from None
    if not value:
        raise Unreachable(f"{path} does not set {variable}")
    return info_endpoint(value, variable, version or ("v1" if variable == "FULLNODE_API_INFO" else "v0"))


def call(endpoint: Endpoint, method: str, params: list[Any], timeout_sec: float) -> Any:
    """Post one request and return its result; Unreachable and CallFailed as their names say."""
    name = method if "." in method else f"Filecoin.{method}"
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": name, "params": params}).encode()
    request = urllib.request.Request(f"{endpoint.url}/rpc/{endpoint.version}", data=body)
    request.add_header("Content-Type", "application/json")
    if endpoint.token:
        request.add_unredirected_header("Authorization", f"Bearer {endpoint.token}")
    raw = _post(request, endpoint, timeout_sec)
    try:
        document = json.loads(raw)
    except ValueError:
        raise CallFailed(f"{endpoint.url} does not speak JSON-RPC") from None
    if document.get("error"):
        error, words = document["error"], str(document["error"].get("message"))
        raise CallFailed(f"{name} on {endpoint.url}: {words} (code {error.get('code')})", words)
    return document.get("result")


def _post(request: urllib.request.Request, endpoint: Endpoint, timeout_sec: float) -> bytes:
    """Body of the answer, of an HTTP error too where it may say more than the status."""
    # A proxy set on the host must never see the token.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout_sec) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        raw = error.read()
        if error.code in (401, 403):
            raise CallFailed(f"{endpoint.url} refused the token (HTTP {error.code})") from None
        if not raw.lstrip().startswith(b"{"):
            raise CallFailed(f"{endpoint.url}/rpc/{endpoint.version} answered HTTP {error.code}") from None
        return raw
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(f"{endpoint.url} does not answer: {getattr(error, 'reason', error)}") from None
