"""HTTP and JSON-RPC on plain sockets: http.server and urllib cost more start-up time than a stand-in has."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import json
import socket
import struct
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .common import CommandError, Json, violation

PERMISSIONS = ["read", "write", "sign", "admin"]


class HttpError(CommandError):
    """The other side answered with this status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Unreachable(CommandError):
    """The other side does not answer."""


class RpcError(CommandError):
    """An error object in a JSON-RPC answer."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass
class Request:
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    peer: str
    connection: socket.socket

    def token(self) -> str:
        value = self.headers.get("authorization", "")
        return value[7:].strip() if value.startswith("Bearer ") else value


@dataclass
class Response:
    status: int = 200
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)


REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
Handler = Callable[[Request], Response]


def _read_head(stream: Any) -> tuple[str, dict[str, str]]:
    first = stream.readline(65536).decode("latin-1").strip()
    headers: dict[str, str] = {}
    while True:
        line = stream.readline(65536)
        if line in (b"\r\n", b"\n", b""):
            return first, headers
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()


class HttpServer:
    """One thread accepts, one thread serves each connection; every answer closes its connection."""

    def __init__(self, host: str, port: int, handler: Handler) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self.socket.bind((host, port))
        except OSError as error:
            raise CommandError(f"listen tcp {host}:{port}: bind: {_reason(error)}") from None
        self.socket.listen(128)
        self.host, self.port = self.socket.getsockname()[:2]
        self.handler = handler

    def start(self) -> None:
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, peer = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection, peer[0]), daemon=True).start()

    def _serve(self, connection: socket.socket, peer: str) -> None:
        try:
            connection.settimeout(60)
            stream = connection.makefile("rb")
            first, headers = _read_head(stream)
            words = first.split()
            if len(words) < 2:
                return
            if headers.get("expect", "").lower() == "100-continue":
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = stream.read(int(headers.get("content-length") or 0))
            path, _, query = words[1].partition("?")
            request = Request(words[0], path, query, headers, body, peer, connection)
            try:
                answer = self.handler(request)
            except (CommandError, OSError, ValueError, KeyError, TypeError) as error:
                answer = Response(500, f"{type(error).__name__}: {error}\n".encode())
            except Exception as error:  # ours: a caller would only see a lost line
                traceback.print_exc()
                answer = Response(500, f"{type(error).__name__}: {error}\n".encode())
            head = f"HTTP/1.1 {answer.status} {REASONS.get(answer.status, 'Status')}\r\n"
            head += f"Content-Type: {answer.content_type}\r\n"
            head += "".join(f"{k}: {v}\r\n" for k, v in answer.headers.items())
            connection.settimeout(60)
            connection.sendall(
                f"{head}Content-Length: {len(answer.body)}\r\nConnection: close\r\n\r\n".encode() + answer.body
            )
        except (OSError, ValueError):
            pass
        finally:
            connection.close()


def _reason(error: OSError) -> str:
    known = {
        errno.EADDRINUSE: "address already in use",
        errno.ECONNREFUSED: "connection refused",
        errno.EADDRNOTAVAIL: "cannot assign requested address",
    }
    return known.get(error.errno or 0, (error.strerror or str(error)).lower())


def http(
    method: str, address: str, path: str, body: bytes = b"", token: str = "", timeout_sec: float = 60
) -> tuple[int, dict[str, str], bytes]:
    """One HTTP exchange with host:port."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        with socket.create_connection((host, int(port)), timeout=min(timeout_sec, 10)) as connection:
            connection.settimeout(timeout_sec)
            head = f"{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n"
            if token:
                head += f"Authorization: Bearer {token}\r\n"
            connection.sendall(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
            stream = connection.makefile("rb")
            first, headers = _read_head(stream)
            words = first.split()
            if len(words) < 2:
                raise Unreachable(f"dial tcp {address}: connection reset by peer")
            length = headers.get("content-length")
            content = stream.read(int(length)) if length else stream.read()
            return int(words[1]), headers, content
    except OSError as error:
        raise Unreachable(f"dial tcp {address}: connect: {_reason(error)}") from None


@dataclass
class ApiInfo:
    """TOKEN:ADDRESS as in FULLNODE_API_INFO; `address` stays as written, `hostport` is what is dialled."""

    token: str
    address: str

    @staticmethod
    def parse(text: str) -> ApiInfo:
        token, colon, rest = text.partition(":")
        if text.startswith("/") or not colon or rest.startswith("//"):
            return ApiInfo("", text)
        return ApiInfo(token, rest)

    @property
    def hostport(self) -> str:
        return multiaddr_hostport(self.address)


def multiaddr_hostport(address: str) -> str:
    """host:port of a multiaddr or a URL; CommandError when it is neither."""
    if "://" in address:
        rest = address.split("://", 1)[1].split("/", 1)[0]
        return rest if ":" in rest else f"{rest}:80"
    parts = address.split("/")
    if len(parts) >= 5 and parts[1] in ("ip4", "ip6", "dns", "dns4", "dns6") and parts[3] == "tcp":
        return f"[{parts[2]}]:{parts[4]}" if parts[1] == "ip6" else f"{parts[2]}:{parts[4]}"
    raise CommandError(f'failed to parse multiaddr "{address}"')


class RpcClient:
    """JSON-RPC over HTTP POST; `call` raises Unreachable, HttpError or RpcError."""

    def __init__(self, info: ApiInfo, version: str = "v0") -> None:
        self.info = info
        self.path = f"/rpc/{version}"

    def call(self, name: str, params: list[Json] | None = None, timeout_sec: float = 60) -> Json:
        method = name if "." in name else f"Filecoin.{name}"
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params or []}).encode()
        status, _, content = http("POST", self.info.hostport, self.path, body, self.info.token, timeout_sec)
        if status == 401:
            raise HttpError(401, "RPC client error: sendRequest failed: request failed, http status 401 Unauthorized")
        try:
            answer = json.loads(content)
        except ValueError:
            raise HttpError(status, f"RPC client error: request failed, http status {status}") from None
        if answer.get("error"):
            raise RpcError(int(answer["error"].get("code", 1)), str(answer["error"].get("message", "")))
        return answer.get("result")


@dataclass
class Method:
    permission: str
    run: Callable[..., Json]


class RpcServer:
    """Methods by full name; the caller's permissions come from `verify` (None: bad token, answered with 401)."""

    def __init__(self, verify: Callable[[str], list[str] | None], anonymous: list[str]) -> None:
        self.methods: dict[str, Method] = {}
        self.v0: dict[str, Method] = {}
        self.verify = verify
        self.anonymous = anonymous

    def add(self, permission: str, name: str, run: Callable[..., Json]) -> None:
        self.methods[name if "." in name else f"Filecoin.{name}"] = Method(permission, run)

    def allowed(self, request: Request) -> list[str] | None:
        token = request.token()
        return self.verify(token) if token else self.anonymous

    def handle(self, request: Request) -> Response:
        allowed = self.allowed(request)
        if allowed is None:
            return Response(401)
        try:
            message = json.loads(request.body)
            name, params, ident = message["method"], message.get("params") or [], message.get("id")
        except (ValueError, KeyError, TypeError):
            return self._error(500, None, -32700, "unmarshaling request: invalid JSON")
        method = self.v0.get(name) if request.path == "/rpc/v0" else None
        method = method or self.methods.get(name)
        if method is None:
            return self._error(500, ident, -32601, f"method '{name}' not found")
        if method.permission not in allowed:
            short = name.split(".", 1)[-1]
            return self._error(200, ident, 1, f"missing permission to invoke '{short}' (need '{method.permission}')")
        try:
            wanted = params if isinstance(params, list) else [params]
            result = method.run(*wanted)
        except TypeError as error:
            if "positional argument" in str(error):
                return self._error(500, ident, -32602, f"wrong param count (method '{name}'): {len(params)}")
            raise
        except CommandError as error:
            return self._error(200, ident, 1, str(error))
        text = json.dumps({"jsonrpc": "2.0", "result": result, "id": ident})
        return Response(200, text.encode(), "application/json")

    @staticmethod
    def _error(status: int, ident: Json, code: int, text: str) -> Response:
        body = json.dumps({"jsonrpc": "2.0", "id": ident, "error": {"code": code, "message": text}})
        return Response(status, body.encode(), "application/json")


def check_public(what: str, host: str) -> None:
    """An API that the whole world can reach is a violation, whatever its tokens."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return
    if address.is_unspecified or address.is_global:
        violation("api-on-public-address", f"{what} listens on {host}")


def hard_close(connection: socket.socket) -> None:
    """Drop a connection at once, without lingering."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    except OSError:
        pass
