"""Repositories of daemon, miner and worker: files, modes, lock, keystore, tokens, API endpoint."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import hmac
import json
import os
import time
from typing import Any

from .common import CommandError, Json, expand, read_json, write_json
from .net import PERMISSIONS, ApiInfo

B58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
DAEMON_CONFIG = """[API]
  #ListenAddress = "/ip4/127.0.0.1/tcp/1234/http"

[Chainstore]
  # type: bool
  # env var: LOTUS_CHAINSTORE_ENABLESPLITSTORE
  EnableSplitstore = true
"""
MINER_CONFIG = """[API]
  #ListenAddress = "/ip4/127.0.0.1/tcp/2345/http"
"""


def base58(data: bytes) -> str:
    number = int.from_bytes(data, "big")
    text = ""
    while number:
        number, rest = divmod(number, 58)
        text = B58[rest] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def key_file_name(name: str) -> str:
    return base64.b32encode(name.encode()).decode().rstrip("=")


def key_name(file_name: str) -> str:
    return base64.b32decode(file_name + "=" * (-len(file_name) % 8)).decode()


class Repo:
    """One repository directory of a kind: daemon, miner or worker."""

    def __init__(self, path: str, kind: str) -> None:
        self.path = expand(path)
        self.kind = kind
        self.lock_file: Any = None
        self.secret_cache: bytes | None = None

    def at(self, *names: str) -> str:
        return os.path.join(self.path, *names)

    def exists(self) -> bool:
        return os.path.isdir(self.at("datastore")) or os.path.isdir(self.at("keystore"))

    def init(self) -> None:
        """What the first start of the real program creates; config.toml only where there is none."""
        if self.exists():
            return
        os.makedirs(self.path, mode=0o755, exist_ok=True)
        os.makedirs(self.at("keystore"), mode=0o700, exist_ok=True)
        os.makedirs(self.at("datastore", "metadata"), exist_ok=True)
        if not os.path.exists(self.at("config.toml")):
            text = {"daemon": DAEMON_CONFIG, "miner": MINER_CONFIG}.get(self.kind, "")
            with open(self.at("config.toml"), "w", encoding="utf-8") as stream:
                stream.write(text)

    def lock(self) -> None:
        """Take the repo's exclusive lock; CommandError when another process holds it."""
        os.makedirs(self.path, exist_ok=True)
        stream = open(self.at("repo.lock"), "a", encoding="utf-8")  # noqa: SIM115 - held until the process ends
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            stream.close()
            raise CommandError("repo is already locked (process is already running)") from None
        self.lock_file = stream

    def unlock(self) -> None:
        for name in ("api",):
            with contextlib.suppress(OSError):
                os.unlink(self.at(name))
        if self.lock_file is not None:
            self.lock_file.close()
            self.lock_file = None

    # keystore

    def key_put(self, name: str, kind: str, private: bytes) -> None:
        path = self.at("keystore", key_file_name(name))
        write_json(path, {"Type": kind, "PrivateKey": base64.b64encode(private).decode()}, mode=0o600)

    def key_get(self, name: str) -> Json | None:
        path = self.at("keystore", key_file_name(name))
        if not os.path.exists(path):
            return None
        if os.stat(path).st_mode & 0o077:
            raise CommandError(f"permissions of key: '{name}' are too relaxed, required: 0600")
        return read_json(path)

    def key_delete(self, name: str) -> None:
        try:
            os.unlink(self.at("keystore", key_file_name(name)))
        except OSError:
            raise CommandError("key info not found") from None

    def key_list(self) -> list[str]:
        try:
            return sorted(key_name(f) for f in os.listdir(self.at("keystore")) if not f.endswith(".tmp"))
        except OSError:
            return []

    def secret(self) -> bytes:
        """The JWT secret; made, together with the token file, when it is missing."""
        if self.secret_cache is None:
            known = self.key_get("auth-jwt-private")
            if known is None:
                secret = os.urandom(32)
                self.key_put("auth-jwt-private", "jwt-hmac-secret", secret)
                self.secret_cache = secret
                self.write_token(self.new_token(PERMISSIONS))
            else:
                self.secret_cache = base64.b64decode(known["PrivateKey"])
        return self.secret_cache

    def peer_id(self) -> str:
        known = self.key_get("libp2p-host")
        if known is None:
            # Protobuf of an Ed25519 key as libp2p stores it: seed and public key, 32 bytes each.
            self.key_put("libp2p-host", "libp2p-host", bytes.fromhex("08011240") + os.urandom(64))
            known = self.key_get("libp2p-host") or {}
        return base58(bytes.fromhex("002408011220") + base64.b64decode(known["PrivateKey"])[36:68])

    # tokens

    def new_token(self, permissions: list[str]) -> str:
        head = b64url(b'{"alg":"HS256","typ":"JWT"}') + "." + b64url(json.dumps({"Allow": permissions}).encode())
        return head + "." + b64url(hmac.new(self.secret(), head.encode(), hashlib.sha256).digest())

    def verify(self, token: str) -> list[str] | None:
        head, _, signature = token.rpartition(".")
        wanted = b64url(hmac.new(self.secret(), head.encode(), hashlib.sha256).digest())
        if not head or not hmac.compare_digest(signature.encode(), wanted.encode()):
            return None
        try:
            payload = head.split(".")[1]
            allow = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["Allow"]
        except (ValueError, KeyError, IndexError):
            return None
        return [str(p) for p in allow]

    def auth_verify(self, token: str) -> list[str]:
        """As AuthVerify answers."""
        allow = self.verify(token)
        if allow is None:
            raise CommandError("JWT Verification failed: jwt: verification failed")
        return allow

    def auth_new(self, permissions: list[str]) -> str:
        """As AuthNew answers."""
        return base64.b64encode(self.new_token([p for p in permissions if p in PERMISSIONS]).encode()).decode()

    def write_token(self, token: str) -> None:
        fd = os.open(self.at("token"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w") as stream:
            stream.write(token)

    def write_api(self, multiaddr: str) -> None:
        fd = os.open(self.at("api.tmp"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        with os.fdopen(fd, "w") as stream:
            stream.write(multiaddr)
        os.replace(self.at("api.tmp"), self.at("api"))

    def api_info(self) -> ApiInfo:
        """Token and address from the repo's files, with the errors a client sees."""
        if not os.path.isdir(self.path):
            raise CommandError(
                f"could not get API info for {KIND_NAMES[self.kind]}: repo directory does not exist. "
                "Make sure your configuration is correct"
            )
        try:
            with open(self.at("api"), encoding="utf-8") as stream:
                address = stream.read().strip()
        except OSError:
            raise CommandError(
                f"could not get API info for {KIND_NAMES[self.kind]}: could not get api endpoint: "
                "API not running (no endpoint)"
            ) from None
        token = ""
        try:
            with open(self.at("token"), encoding="utf-8") as stream:
                token = stream.read().strip()
        except OSError:
            pass
        return ApiInfo(token, address)

    # storage.json

    def storage_paths(self) -> list[str]:
        try:
            return [p["Path"] for p in read_json(self.at("storage.json")).get("StoragePaths") or []]
        except OSError:
            raise CommandError(
                f"couldn't load storage config: open {self.at('storage.json')}: no such file or directory"
            ) from None

    def set_storage_paths(self, paths: list[str]) -> None:
        value = {"StoragePaths": [{"Path": p} for p in paths] or None}
        write_json(self.at("storage.json"), value, indent=2)

    # datastore

    def meta(self) -> Json:
        try:
            return read_json(self.at("datastore", "metadata", "state.json"))
        except OSError:
            return {}

    def set_meta(self, value: Json) -> None:
        write_json(self.at("datastore", "metadata", "state.json"), value, mode=0o600)

    # journal

    def open_journal(self) -> None:
        os.makedirs(self.at("journal"), exist_ok=True)
        path = self.at("journal", "lotus-journal.ndjson")
        if os.path.exists(path):
            stamp = time.strftime("%Y-%m-%dT%H%M%S", time.gmtime(os.stat(path).st_mtime))
            os.replace(path, self.at("journal", f"lotus-journal-{stamp}.ndjson"))
        open(path, "a", encoding="utf-8").close()

    def journal(self, system: str, event: str, data: Json) -> None:
        from .common import rfc3339

        line = {"System": system, "Event": event, "Timestamp": rfc3339(time.time()), "Data": data}
        with open(self.at("journal", "lotus-journal.ndjson"), "a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")


KIND_NAMES = {"daemon": "FullNode", "miner": "StorageMiner", "worker": "Worker"}
