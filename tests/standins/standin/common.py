"""Paths, versions, sizes, identifiers and the log format that all four programs share."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
import threading
import time
from typing import Any

from . import buildinfo, stack

Json = Any

NODE_VERSION = stack.CURRENT.node_version
MINER_VERSION = stack.CURRENT.miner_version
ADDRESS_PREFIX = "f" if buildinfo.NETWORK == "mainnet" else "t"
SECTOR_SIZES = {"2KiB": 2048, "8MiB": 8 << 20, "512MiB": 512 << 20, "32GiB": 32 << 30, "64GiB": 64 << 30}
NETWORK_SIZES = {"2k": ("2KiB", "8MiB"), "calibnet": ("32GiB", "64GiB"), "mainnet": ("32GiB", "64GiB")}
# What storage-proofs puts in the parameter file's name for the tree shape of a sector size.
TREE_SHAPES = {2048: "8-0-0", 8 << 20: "8-0-0", 512 << 20: "8-0-0", 32 << 30: "8-8-0", 64 << 30: "8-8-2"}
PROOF_TYPES = {2048: 5, 8 << 20: 6, 512 << 20: 7, 32 << 30: 8, 64 << 30: 9}


class CommandError(Exception):
    """An error the real program prints as `ERROR: …` (lotus-worker: as a log line, status 0)."""


class Exit(Exception):
    """End with this status and this text on stderr, whatever the program."""

    def __init__(self, status: int, text: str = "") -> None:
        super().__init__(text)
        self.status = status


def env_ms(name: str, default_ms: float) -> float:
    """Seconds from an environment variable in milliseconds."""
    try:
        return float(os.environ.get(name, default_ms)) / 1000
    except ValueError:
        return default_ms / 1000


def block_delay_sec() -> float:
    return max(0.02, env_ms("STANDIN_BLOCK_DELAY_MS", 1000))


def heartbeat_sec() -> float:
    """Interval of path health reports; a path is unusable after five of them are missed (storage/paths/index.go)."""
    return max(0.05, env_ms("STANDIN_HEARTBEAT_MS", 10000))


_log_lock = threading.Lock()
_debugged: set[str] = set()
"""Systems whose DEBUG lines are written: `log set-level`."""
hidden_levels: set[str] = set()


def set_log_level(system: str, level: str) -> None:
    """As `log set-level --system SYSTEM LEVEL`; `*` is every system."""
    (_debugged.add if level.lower() == "debug" else _debugged.discard)(system)


def log(level: str, system: str, message: str, **fields: Json) -> None:
    """One line in go-log's plain format on stderr."""
    if level == "DEBUG" and not _debugged & {system, "*"}:
        return
    if level in hidden_levels:
        return
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(now)) + f".{int(now * 1000) % 1000:03d}"
    stamp += time.strftime("%z", time.localtime(now))
    tail = "\t" + json.dumps(fields, default=str) if fields else ""
    line = f"{stamp}\t{level}\t{system}\tstandin/{system}.go:1\t{message}{tail}\n"
    with _log_lock:
        try:
            sys.stderr.write(line)
            sys.stderr.flush()
        except OSError:
            pass


def out(text: str = "", end: str = "\n") -> None:
    sys.stdout.write(text + end)
    sys.stdout.flush()


def violations_file() -> str:
    return os.environ.get("STANDIN_VIOLATIONS") or "/var/log/lotus-standin/violations.ndjson"


def violation(rule: str, detail: str) -> None:
    """Record a broken rule of the field; the cluster's verification reads the file."""
    path = violations_file()
    line = json.dumps({"time": time.time(), "program": buildinfo.PROGRAM, "rule": rule, "detail": detail}) + "\n"
    try:
        shared_directory(os.path.dirname(path))
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            os.write(fd, line.encode())
        finally:
            os.close(fd)
        os.chmod(path, 0o666)
    except OSError:
        pass


def shared_directory(path: str) -> None:
    """Create a directory every user may write to, as /tmp is."""
    if path and not os.path.isdir(path):
        os.makedirs(path, exist_ok=True)
        os.chmod(path, 0o1777)


def digest(*parts: object) -> bytes:
    return hashlib.blake2b("\0".join(str(p) for p in parts).encode(), digest_size=32).digest()


def fake_cid(*parts: object) -> str:
    """A text of the shape of a block or message CID (DagCBOR, blake2b-256)."""
    return "bafy2bzace" + base64.b32encode(digest(*parts)).decode().lower().rstrip("=")[:52]


def sealed_cid(*parts: object) -> str:
    return "bagboea4b5abc" + base64.b32encode(digest(*parts)).decode().lower().rstrip("=")[:51]


def piece_cid(size_bytes: int) -> str:
    return "baga6ea4seaq" + base64.b32encode(digest("piece", size_bytes)).decode().lower().rstrip("=")[:52]


def cid(text: str) -> Json:
    return {"/": text} if text else None


def parse_size(text: str) -> int:
    """Bytes from units.RAMInBytes text such as 2KiB or 32g; ValueError otherwise."""
    import re

    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kmgtp]?)(?:i?b)?", text.strip().lower())
    if not found:
        raise ValueError(f"invalid size: '{text}'")
    return int(float(found[1]) * 1024 ** ["", "k", "m", "g", "t", "p"].index(found[2]))


def size_text(size_bytes: float) -> str:
    units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    step = 0
    while size_bytes >= 1024 and step < len(units) - 1:
        size_bytes /= 1024
        step += 1
    return f"{size_bytes:.4g} {units[step]}"


def parse_duration(text: str) -> float:
    """Seconds from Go duration text; ValueError otherwise."""
    import re

    if text in ("0", ""):
        return 0.0
    units = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
    if not re.fullmatch(r"[-+]?((\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h))+", text):
        raise ValueError(f'time: invalid duration "{text}"')
    return sum(float(n) * units[u] for n, u in re.findall(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)", text))


def duration_text(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return (f"{hours}h" if hours else "") + f"{minutes}m{rest:.1f}s"


def rfc3339(seconds: float) -> str:
    if not seconds:
        return "0001-01-01T00:00:00Z"
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds * 1000) % 1000:03d}Z"


def expand(path: str) -> str:
    return os.path.expanduser(path)


def write_json(path: str, value: Json, mode: int = 0o644, indent: int | None = None) -> None:
    """Replace a file as a whole, so that a kill at any moment leaves the old or the new text."""
    temp = f"{path}.tmp"
    fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(fd, "w") as stream:
        stream.write(json.dumps(value, indent=indent))
    os.replace(temp, path)


def read_json(path: str) -> Json:
    with open(path, encoding="utf-8") as stream:
        return json.load(stream)


def sector_name(actor_id: int, number: int) -> str:
    return f"s-t0{actor_id}-{number}"


def actor_number(address: str) -> int:
    """1000 from t01000 or f01000."""
    if len(address) < 3 or address[0] not in "tf" or address[1] != "0" or not address[2:].isdigit():
        raise CommandError(f"invalid address: {address}")
    return int(address[2:])


def id_address(number: int) -> str:
    return f"{ADDRESS_PREFIX}0{number}"


def table(rows: list[list[str]], pad: int = 2) -> str:
    """Columns padded with blanks, as Go's tabwriter does."""
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(max(map(len, rows)))]
    lines = []
    for row in rows:
        cells = [cell.ljust(widths[i] + pad) for i, cell in enumerate(row[:-1])] + row[-1:]
        lines.append("".join(cells))
    return "\n".join(lines)
