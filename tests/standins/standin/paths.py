"""Storage paths of one process: opening, declaring, health, allocation, fetch from and serving to other processes."""

from __future__ import annotations

import contextlib
import io
import os
import threading
import time
import uuid
from collections.abc import Callable
from typing import Protocol

from . import contract
from .common import CommandError, Json, heartbeat_sec, log, read_json, sector_name, violation
from .net import Request, Response, http
from .sectorfiles import DIRECTORIES, KINDS, remove
from .stack import IS_FORK

BITS = {"unsealed": 1, "sealed": 2, "cache": 4, "update": 8, "update-cache": 16, "piece": 32}
FETCHING = "fetching"


def kinds_of(bits: int) -> list[str]:
    return [k for k in KINDS if bits & BITS[k]]


def seal_space(kinds: list[str], sector_bytes: int) -> int:
    tenths = contract.resources()["space"]["sealing_multipliers_tenths"]
    return sum(int(tenths[k]) * sector_bytes // 10 for k in kinds)


def store_space(kinds: list[str], sector_bytes: int) -> int:
    tenths = contract.resources()["space"]["finalized_multipliers_tenths"]
    return sum(int(tenths[k]) * sector_bytes // 10 for k in kinds)


def new_metadata(
    *,
    seal: bool,
    store: bool,
    weight: int = 10,
    max_bytes: int = 0,
    groups: list[str] | None = None,
    allow_to: list[str] | None = None,
) -> Json:
    """A sectorstore.json with a new ID, with the keys of this stack's version."""
    meta = {
        "ID": str(uuid.uuid4()),
        "Weight": weight,
        "CanSeal": seal,
        "CanStore": store,
        "MaxStorage": max_bytes,
    }
    if not IS_FORK:
        meta |= {"Groups": groups or None, "AllowTo": allow_to or None}
        meta |= {"AllowTypes": None, "DenyTypes": None, "AllowMiners": None, "DenyMiners": None}
    return meta


class Index(Protocol):
    """The miner's sector index, in the miner itself or over the API."""

    def storage_attach(self, info: Json, stat: Json) -> None: ...
    def storage_detach(self, ident: str, url: str) -> None: ...
    def storage_health(self, ident: str, report: Json) -> None: ...
    def storage_declare(self, ident: str, sector: Json, kind: str, primary: bool) -> None: ...
    def storage_drop(self, ident: str, sector: Json, kind: str) -> None: ...
    def storage_find(self, sector: Json, bits: int, sector_bytes: int, fetch: bool) -> list[Json]: ...
    def storage_info(self, ident: str) -> Json: ...
    def storage_list(self) -> Json: ...
    def storage_best_alloc(self, bits: int, sector_bytes: int, path_type: str, miner: int) -> list[Json]: ...


class RemoteIndex:
    """The index behind the miner's API."""

    def __init__(self, call: Callable[[str, list[Json]], Json]) -> None:
        self.call = call

    def storage_attach(self, info: Json, stat: Json) -> None:
        self.call("StorageAttach", [info, stat])

    def storage_detach(self, ident: str, url: str) -> None:
        self.call("StorageDetach", [ident, url])

    def storage_health(self, ident: str, report: Json) -> None:
        self.call("StorageReportHealth", [ident, report])

    def storage_declare(self, ident: str, sector: Json, kind: str, primary: bool) -> None:
        self.call("StorageDeclareSector", [ident, sector, BITS[kind], primary])

    def storage_drop(self, ident: str, sector: Json, kind: str) -> None:
        self.call("StorageDropSector", [ident, sector, BITS[kind]])

    def storage_find(self, sector: Json, bits: int, sector_bytes: int, fetch: bool) -> list[Json]:
        return list(self.call("StorageFindSector", [sector, bits, sector_bytes, fetch]) or [])

    def storage_info(self, ident: str) -> Json:
        return self.call("StorageInfo", [ident])

    def storage_list(self) -> Json:
        return self.call("StorageList", [])

    def storage_best_alloc(self, bits: int, sector_bytes: int, path_type: str, miner: int) -> list[Json]:
        return list(self.call("StorageBestAlloc", [bits, sector_bytes, path_type, miner]) or [])


class LocalStore:
    """The paths this process has open. `urls` is the base under which others reach it (…/remote)."""

    meta_keys = frozenset(
        (
            *("ID", "Weight", "CanSeal", "CanStore", "MaxStorage", "Groups", "AllowTo"),
            *("AllowTypes", "DenyTypes", "AllowMiners", "DenyMiners"),
        )
    )

    def __init__(self, index: Index, url: str, token: Callable[[], str], fetch_limit: int) -> None:
        self.index = index
        self.url = url
        self.token = token
        self.paths: dict[str, tuple[str, Json]] = {}
        self.reserved: dict[str, int] = {}
        self.lock = threading.RLock()
        self.fetches = threading.Semaphore(max(0, fetch_limit))

    # opening

    @classmethod
    def read_meta(cls, path: str) -> Json:
        try:
            meta = read_json(os.path.join(path, "sectorstore.json"))
        except OSError:
            raise CommandError(
                f"reading storage metadata for {path}: open {path}/sectorstore.json: no such file or directory"
            ) from None
        except ValueError as error:
            raise CommandError(f"unmarshalling storage metadata for {path}: {error}") from None
        for key in sorted(set(meta) - cls.meta_keys):
            violation("unknown-config-key", f"{path}/sectorstore.json: {key}")
        return meta

    def open(self, path: str) -> None:
        meta = self.read_meta(path)
        ident = str(meta.get("ID", ""))
        with self.lock:
            if ident in self.paths:
                raise CommandError(f"path with ID {ident} already opened: '{self.paths[ident][0]}'")
            self.paths[ident] = (path, meta)
        self.index.storage_attach(self._info(meta), self.stat(ident))
        self._declare(path, meta, False)

    def _info(self, meta: Json) -> Json:
        info = {
            key: meta.get(key)
            for key in (
                "ID",
                "Weight",
                "MaxStorage",
                "CanSeal",
                "CanStore",
                "Groups",
                "AllowTo",
                "AllowTypes",
                "DenyTypes",
                "AllowMiners",
                "DenyMiners",
            )
        }
        return dict(
            info, URLs=[self.url], Weight=int(meta.get("Weight") or 0), MaxStorage=int(meta.get("MaxStorage") or 0)
        )

    def _declare(self, path: str, meta: Json, drop_missing: bool) -> None:
        ident = meta["ID"]
        present: set[tuple[str, str]] = set()
        for kind in KINDS:
            folder = os.path.join(path, kind)
            try:
                names = os.listdir(folder)
            except FileNotFoundError:
                try:
                    os.makedirs(folder, mode=0o755)
                except OSError as error:
                    raise CommandError(f"openPath mkdir '{folder}': {error.strerror}") from None
                continue
            for name in names:
                if name == FETCHING:
                    continue
                sector = parse_sector(name)
                present.add((kind, name))
                self.index.storage_declare(ident, sector, kind, bool(meta.get("CanStore")))
        if drop_missing:
            for decl in self.index.storage_list().get(ident) or []:
                name = sector_name(decl["Miner"], decl["Number"])
                for kind in kinds_of(decl["SectorFileType"]):
                    if (kind, name) not in present:
                        self.index.storage_drop(ident, {"Miner": decl["Miner"], "Number": decl["Number"]}, kind)

    def redeclare(self, ident: str | None, drop_missing: bool) -> None:
        for known, (path, old) in list(self.paths.items()):
            if ident is not None and ident != known:
                continue
            meta = dict(self.read_meta(path), MaxStorage=old.get("MaxStorage") or 0)
            if meta["ID"] != known:
                log("ERROR", "stores", f"storage path ID changed: {path}; {known} -> {meta['ID']}")
                continue
            self.paths[known] = (path, meta)
            self.index.storage_attach(self._info(meta), self.stat(known))
            self._declare(path, meta, drop_missing)

    def close(self, path: str) -> None:
        for ident, (known, _) in list(self.paths.items()):
            if known == path:
                self.index.storage_detach(ident, self.url)
                del self.paths[ident]
                return
        raise CommandError(f"path '{path}' isn't opened")

    def stat(self, ident: str) -> Json:
        path, meta = self.paths[ident]
        try:
            info = os.statvfs(path)
        except OSError as error:
            raise CommandError(f"stat {path}: {error.strerror}") from None
        capacity, free = info.f_blocks * info.f_frsize, info.f_bavail * info.f_frsize
        reserved = self.reserved.get(ident, 0)
        out = {
            "Capacity": capacity,
            "Available": max(0, free - reserved),
            "FSAvailable": free,
            "Reserved": reserved,
            "Max": 0,
            "Used": 0,
        }
        limit = int(meta.get("MaxStorage") or 0)
        if limit:
            used = disk_usage(path)
            out.update(Max=limit, Used=used, Available=max(0, min(out["Available"], limit - used - reserved)))
        return out

    def health_loop(self, stop: threading.Event) -> None:
        while not stop.wait(heartbeat_sec()):
            for ident in list(self.paths):
                try:
                    report = {"Stat": self.stat(ident), "Err": ""}
                except (CommandError, KeyError) as error:
                    report = {"Stat": {}, "Err": str(error)}
                try:
                    self.index.storage_health(ident, report)
                except (CommandError, OSError) as error:
                    log("WARN", "stores", f"error reporting storage health for {ident}: {error}")

    # sectors

    def local_path(self, sector: Json, kind: str, ident: str) -> str:
        return os.path.join(self.paths[ident][0], kind, sector_name(sector["Miner"], sector["Number"]))

    def find(self, sector: Json, kind: str) -> tuple[str, str] | None:
        """(path, storage id) of a sector's file on this process' paths, as the index knows them."""
        for info in self.index.storage_find(sector, BITS[kind], 0, False):
            if info["ID"] in self.paths:
                path = self.local_path(sector, kind, info["ID"])
                if os.path.exists(path):
                    return path, info["ID"]
        return None

    def allocate(self, sector: Json, kinds: list[str], sector_bytes: int, path_type: str) -> dict[str, tuple[str, str]]:
        """A place for new files on this process' own paths, all on one where it fits."""
        bits = sum(BITS[k] for k in kinds)
        for info in self.index.storage_best_alloc(bits, sector_bytes, path_type, sector["Miner"]):
            if info["ID"] in self.paths and types_allowed(info, kinds):
                need = seal_space(kinds, sector_bytes) if path_type == "sealing" else store_space(kinds, sector_bytes)
                if need <= self.stat(info["ID"])["Available"]:
                    return {k: (self.local_path(sector, k, info["ID"]), info["ID"]) for k in kinds}
        raise CommandError("couldn't find a suitable path for a sector")

    def acquire(
        self, sector: Json, kinds: list[str], sector_bytes: int, path_type: str, move: bool
    ) -> dict[str, tuple[str, str]]:
        """Local places of existing files; what is elsewhere is fetched, and dropped there when `move`."""
        found: dict[str, tuple[str, str]] = {}
        absent = []
        for kind in kinds:
            here = self.find(sector, kind)
            if here:
                found[kind] = here
            else:
                absent.append(kind)
        if not absent:
            return found
        places = self.allocate(sector, absent, sector_bytes, path_type)
        for kind in absent:
            path, ident = places[kind]
            sources = self.index.storage_find(sector, BITS[kind], 0, False)
            if not sources:
                raise CommandError(
                    f"failed to acquire sector {sector_name(sector['Miner'], sector['Number'])} from remote: not found"
                )
            self._check_groups(sector, kind, sources, ident, path_type)
            url = self._fetch(sources, kind, path)
            self.index.storage_declare(ident, sector, kind, move)
            if move:
                self._delete_remote(sources, url, ident)
            found[kind] = (path, ident)
        return found

    def _check_groups(self, sector: Json, kind: str, sources: list[Json], ident: str, path_type: str) -> None:
        """The field's rule: a sector in work does not cross groups. Unsealed data and finalize moves may."""
        if path_type != "sealing" or kind not in ("sealed", "cache"):
            return
        groups = set(self.paths[ident][1].get("Groups") or [])
        for source in sources:
            allow = self.index.storage_info(source["ID"]).get("AllowTo") or []
            if allow and not groups & set(allow):
                name = sector_name(sector["Miner"], sector["Number"])
                violation(
                    "fetch-across-groups",
                    f"{kind}/{name} from {source['BaseURLs'][0]} (AllowTo {allow}) "
                    f"to {self.url} (Groups {sorted(groups)})",
                )

    def _fetch(self, sources: list[Json], kind: str, path: str) -> str:
        failures = []
        if not self.fetches.acquire(blocking=False):
            log("INFO", "stores", "Throttling fetch, limit reached")
            self.fetches.acquire()
        try:
            for source in sorted(sources, key=lambda s: -int(s.get("Weight") or 0)):
                for url in source["URLs"]:
                    try:
                        self._fetch_one(url, kind, path)
                        return str(url)
                    except (CommandError, OSError) as error:
                        failures.append(f"fetch error {url} -> {path}: {error}")
        finally:
            self.fetches.release()
        raise CommandError(f"failed to fetch sector file: {'; '.join(failures)}")

    def _fetch_one(self, url: str, kind: str, path: str) -> None:
        folder, name = os.path.split(path)
        temp = os.path.join(folder, FETCHING, name)
        os.makedirs(os.path.dirname(temp), mode=0o755, exist_ok=True)
        log("INFO", "stores", f"Fetch {url} -> {temp}")
        started = time.monotonic()
        address, _, rest = url.split("://", 1)[1].partition("/")
        status, headers, body = http("GET", address, "/" + rest, token=self.token(), timeout_sec=120)
        if status != 200:
            raise CommandError(f"non-200 code: {status}")
        remove(temp)
        if headers.get("content-type", "").startswith("application/x-tar"):
            import tarfile

            os.makedirs(temp, mode=0o755)
            with tarfile.open(fileobj=io.BytesIO(body)) as archive:
                for member in archive.getmembers():
                    stream = archive.extractfile(member)
                    if stream is not None:
                        with open(os.path.join(temp, os.path.basename(member.name)), "wb") as target:
                            target.write(stream.read())
        else:
            with open(temp, "wb") as target:
                target.write(body)
        took = time.monotonic() - started
        log(
            "INFO",
            "stores",
            "Fetch done",
            url=url,
            out=temp,
            took=f"{took:.3f}s",
            bytes=len(body),
            **{"MiB/s": len(body) / 1048576 / took},
        )
        remove(path)
        os.rename(temp, path)

    def _delete_remote(self, sources: list[Json], fetched: str, keep: str) -> None:
        for source in sources:
            for url in source["URLs"]:
                target = f"{url}?keep={keep}"
                log("INFO", "stores", f"Delete {target}")
                address, _, rest = target.split("://", 1)[1].partition("/")
                try:
                    http("DELETE", address, "/" + rest, token=self.token())
                    break
                except (CommandError, OSError) as error:
                    log("WARN", "stores", f"remove {url}: {error}")

    def move_to_store(self, sector: Json, kinds: list[str], sector_bytes: int) -> None:
        """Finalized files go to a CanStore path of this process; what already lies on one stays."""
        here = self.acquire(sector, kinds, sector_bytes, "storage", True)
        for kind in kinds:
            path, ident = here[kind]
            if self.paths[ident][1].get("CanStore"):
                continue
            target, target_id = self.allocate(sector, [kind], sector_bytes, "storage")[kind]
            self.index.storage_drop(ident, sector, kind)
            remove(target)
            import shutil

            shutil.move(path, target)
            self.index.storage_declare(target_id, sector, kind, True)

    def remove_local(self, sector: Json, kind: str, keep: list[str]) -> None:
        for info in self.index.storage_find(sector, BITS[kind], 0, False):
            if info["ID"] in self.paths and info["ID"] not in keep:
                path = self.local_path(sector, kind, info["ID"])
                self.index.storage_drop(info["ID"], sector, kind)
                if os.path.lexists(path):
                    log("INFO", "stores", "remove", path=path, id=sector, type=kind, storage=info["ID"])
                    remove(path)

    # serving others

    def serve(self, request: Request) -> Response:
        parts = request.path.strip("/").split("/")
        if len(parts) == 3 and parts[1] == "stat":
            import json

            if parts[2] not in self.paths:
                return Response(404)
            return Response(200, json.dumps(self.stat(parts[2])).encode(), "application/json")
        if len(parts) != 3 or parts[1] not in KINDS:
            return Response(404)
        kind = parts[1]
        try:
            sector = parse_sector(parts[2])
        except CommandError as error:
            return Response(500, str(error).encode())
        if request.method == "DELETE":
            log("INFO", "stores", f"SERVE DELETE {request.path}?{request.query}")
            keep = [k for part in request.query.split("&") if part.startswith("keep=") for k in part[5:].split(".")]
            self.remove_local(sector, kind, keep)
            return Response(200)
        log("INFO", "stores", f"SERVE GET {request.path}")
        here = self.find(sector, kind)
        if here is None:
            return Response(404)
        if kind in DIRECTORIES:
            import tarfile

            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode="w") as archive:
                for name in sorted(os.listdir(here[0])):
                    archive.add(os.path.join(here[0], name), arcname=name)
            return Response(200, buffer.getvalue(), "application/x-tar")
        with open(here[0], "rb") as stream:
            return Response(200, stream.read(), "application/octet-stream")


def parse_sector(name: str) -> Json:
    parts = name.split("-")
    if (
        len(parts) != 3
        or parts[0] != "s"
        or not parts[1].startswith("t0")
        or not parts[1][2:].isdigit()
        or not parts[2].isdigit()
    ):
        raise CommandError(f"parse sector id {name}: expected s-t0ACTOR-NUMBER")
    return {"Miner": int(parts[1][2:]), "Number": int(parts[2])}


def types_allowed(info: Json, kinds: list[str]) -> bool:
    allow, deny = info.get("AllowTypes") or [], info.get("DenyTypes") or []
    return all((not allow or k in allow) and k not in deny for k in kinds)


def disk_usage(path: str) -> int:
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
    return total
