"""`lotus-worker`: one sealing worker process and the commands that talk to it."""

from __future__ import annotations

import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from . import buildinfo, contract, params
from .cli import Call
from .common import (
    MINER_VERSION,
    CommandError,
    Json,
    heartbeat_sec,
    log,
    out,
    parse_duration,
    shared_directory,
    violation,
    violations_file,
    write_json,
)
from .config import check_environment
from .net import ApiInfo, HttpServer, Request, Response, RpcClient, RpcServer, check_public
from .paths import LocalStore, RemoteIndex, new_metadata
from .repo import Repo
from .stack import CURRENT, text
from .tasks import ALWAYS, SETTABLE, Executor, order, task_type, worker_info

HOLD_SEC = 30.0
FLAG_TASKS = (
    ("addpiece", "AP"),
    ("sector-download", "DL"),
    ("precommit1", "PC1"),
    ("unseal", "UNS"),
    ("precommit2", "PC2"),
    ("commit", "C2"),
    ("replica-update", "RU"),
    ("prove-replica-update2", "PR2"),
    ("regen-sector-key", "GSK"),
)
POST_TASKS = {"windowpost": "WDP", "winningpost": "WNP"}


def miner_info(call: Call) -> ApiInfo:
    for variable in ("MINER_API_INFO", "STORAGE_API_INFO"):
        if os.environ.get(variable):
            return ApiInfo.parse(os.environ[variable])
    return Repo(call.text("miner-repo"), "miner").api_info()


def choose_tasks(call: Call) -> set[str]:
    """Task types of the start flags: a variable in the environment counts as the flag being set."""
    tasks: set[str] = set()
    kind = ""
    for flag, short in POST_TASKS.items():
        if call.on(flag):
            kind = str(contract.resources()["tasks"][short]["worker_type"])
            tasks.add(short)
    if not kind:
        tasks.update(ALWAYS)
        if not call.on("no-default"):
            kind = "Sealing"
    sealing = kind == "Sealing"
    for flag, short in FLAG_TASKS:
        if (sealing or flag in call.given) and call.on(flag):
            tasks.add(short)
            if short == "AP" and sealing and "data-cid" not in call.given:
                tasks.add("DC")
    if sealing and "data-cid" in call.given and call.on("data-cid"):
        tasks.add("DC")
    if call.on("no-default") and not kind:
        kind = "Sealing"
    if not tasks:
        raise CommandError("no task types specified")
    for short in sorted(tasks, key=order):
        own = str(contract.resources()["tasks"][short]["worker_type"])
        if own != kind:
            raise CommandError(
                f"expected all task types to be for {kind} worker, but task {task_type(short)} is for {own} worker"
            )
    return tasks


class WorkerProcess:
    store_kind = LocalStore
    executor_kind = Executor
    checks_open_files = True

    def __init__(self, call: Call) -> None:
        self.call = call
        self.stop = threading.Event()

    def run(self) -> None:
        call = self.call
        log("INFO", "main", "Starting lotus worker")
        check_environment()
        if not call.on("enable-gpu-proving"):
            os.environ["BELLMAN_NO_GPU"] = "true"
        os.makedirs(os.environ.get("TMPDIR") or "/tmp", exist_ok=True)
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if self.checks_open_files and soft != resource.RLIM_INFINITY and soft < buildinfo.NOFILE_FLOOR:
            raise CommandError(
                f"soft file descriptor limit (ulimit -n) too low, want {buildinfo.NOFILE_FLOOR}, current {soft}"
            )
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: self.stop.set())
        self.info = self._connect()
        if self.stop.is_set():
            raise CommandError("Interrupted by user")
        version = self.miner("Version")
        if version["APIVersion"] != CURRENT.miner:
            raise CommandError(f"lotus-miner API version doesn't match: expected: {text(CURRENT.miner)}")
        log("INFO", "main", f"Remote version {version['Version']}+api{text(CURRENT.miner)}")
        actor = self.miner("ActorAddress")
        sector_bytes = int(self.miner("ActorSectorSize", [actor]))
        tasks = self._choose_tasks()
        if tasks & {"C2", "PR2", "WDP", "WNP"} and buildinfo.NETWORK != "2k" and os.environ.get("TRUST_PARAMS") != "1":
            lacking = params.missing(sector_bytes)
            if lacking:
                raise CommandError(f"get params: {lacking}")
        self.repo = Repo(call.text("worker-repo"), "worker")
        self._first_start()
        self._before_paths()
        try:
            self.repo.lock()
        except CommandError as error:
            raise CommandError(str(error)) from None
        try:
            self._serve(tasks, sector_bytes)
        finally:
            self.repo.unlock()

    def _choose_tasks(self) -> set[str]:
        return choose_tasks(self.call)

    def _before_paths(self) -> None:
        """What is written before any storage path is opened."""

    def _name(self) -> str:
        return self.call.text("name") if "name" in self.call.given else os.uname().nodename

    def _worker_info(self, name: str, sector_bytes: int) -> Json:
        return worker_info(name, sector_bytes, self.call.on("no-swap"))

    def _info(self) -> Json:
        return self.executor.info

    def _connect(self) -> ApiInfo:
        """Ask for the miner until it answers, as the real worker does: for ever."""
        while not self.stop.is_set():
            try:
                info = miner_info(self.call)
                RpcClient(info, "v0").call("Version", timeout_sec=10)
                return info
            except CommandError as error:
                out(f"\r\x1b[0KConnecting to miner API... ({error})", end="")
            self.stop.wait(1)
        return ApiInfo("", "")

    def miner(self, method: str, arguments: list[Json] | None = None, timeout_sec: float = 60) -> Json:
        return RpcClient(self.info, "v0").call(method, arguments, timeout_sec)

    def _first_start(self) -> None:
        if self.repo.exists():
            return
        self.repo.init()
        try:
            paths = self.repo.storage_paths()
        except CommandError:
            paths = []
        if not self.call.on("no-local-storage"):
            store = new_metadata(seal=True, store=False)
            write_json(self.repo.at("sectorstore.json"), store, indent=2)
            paths.append(self.repo.path)
        self.repo.set_storage_paths(paths)

    def _address(self) -> tuple[str, int]:
        text = self.call.text("listen")
        if "address" in self.call.given:
            log("WARN", "main", "The '--address' flag is deprecated, it has been replaced by '--listen'")
            text = self.call.text("address")
        host, colon, port = text.rpartition(":")
        if not colon or not port.isdigit():
            raise CommandError(f"address {text}: missing port in address")
        host = host.strip("[]")
        if host == "0.0.0.0":
            host = self._routable_ip()
        return host, int(port)

    def _routable_ip(self) -> str:
        """The local address of a connection to the miner; needs MINER_API_INFO with an ip4 or ip6 multiaddr (28)."""
        text = os.environ.get("MINER_API_INFO") or os.environ.get("STORAGE_API_INFO") or ""
        parts = ApiInfo.parse(text).address.split("/") if text else []
        if len(parts) < 5 or parts[1] not in ("ip4", "ip6"):
            raise CommandError("missing/deficient MINER_API_INFO: could not get routable IP")
        seconds = parse_duration(self.call.text("timeout") or "30m")
        try:
            with socket.create_connection((parts[2], int(parts[4])), timeout=min(seconds, 10)) as connection:
                return str(connection.getsockname()[0])
        except OSError as error:
            raise CommandError(f"dial tcp {parts[2]}:{parts[4]}: {error.strerror or error}") from None

    def _serve(self, tasks: set[str], sector_bytes: int) -> None:
        log("INFO", "main", "Opening local storage; connecting to master")
        host, port = self._address()
        shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.store = self.store_kind(
            RemoteIndex(self.miner),
            f"http://{shown}/remote",
            lambda: self.info.token,
            self.call.number("parallel-fetch-limit"),
        )
        for path in self.repo.storage_paths():
            self.store.open(path)
        name = self._name()
        self.executor = self.executor_kind(
            name,
            self.store,
            sector_bytes,
            tasks,
            self._worker_info(name, sector_bytes),
            self._give_back,
            self.repo.at("datastore", "metadata", "calls.json"),
        )
        self._claim_gpus()
        log("INFO", "main", f"Setting up control endpoint at {shown}")
        self.verified: dict[str, tuple[float, list[str]]] = {}
        self.held: set[socket.socket] = set()
        self.held_lock = threading.Lock()
        self.changed = threading.Condition()
        self.rpc = RpcServer(self._verify, [])
        self._methods()
        server = HttpServer(host, port, self._http)
        check_public("lotus-worker API", host)
        server.start()
        self.repo.write_api(f"/{'ip6' if ':' in server.host else 'ip4'}/{server.host}/tcp/{server.port}/http")
        self.repo.write_token(self.info.token)
        self.url = f"http://{host}:{server.port}/rpc/v0"
        threading.Thread(target=lambda: self.store.health_loop(self.stop), daemon=True).start()
        threading.Thread(target=self._stay_registered, daemon=True).start()
        self.stop.wait()
        log("WARN", "main", "Shutting down...")
        server.close()
        log("WARN", "main", "Graceful shutdown successful")

    def _claim_gpus(self) -> None:
        """Two C2 workers on one GPU of a host is a violation; a lock per GPU shows it across processes."""
        import fcntl

        self.claims: list[Any] = []
        if "C2" not in self.executor.tasks:
            return
        folder = os.path.join(os.path.dirname(violations_file()) or ".", "gpus")
        for gpu in self.executor.info["Resources"]["GPUs"]:
            try:
                shared_directory(folder)
                path = os.path.join(folder, gpu.replace("/", "_"))
                fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            except OSError:
                continue
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self.claims.append(fd)
            except OSError:
                violation(
                    "gpu-shared-by-two-c2",
                    f"{gpu} is already used by another C2 worker of this host ({self.executor.name})",
                )

    # registration

    def _stay_registered(self) -> None:
        session = ""
        lost = False
        while not self.stop.is_set():
            try:
                current = str(self.miner("Session", timeout_sec=10))
                if current != session or lost:
                    if lost:
                        log("INFO", "main", "Redeclaring local storage")
                        try:
                            self.store.redeclare(None, False)
                        except CommandError as error:
                            log("ERROR", "main", f"Redeclaring local storage failed: {error}")
                            self.stop.wait(heartbeat_sec())
                            continue
                    log("INFO", "main", "Making sure no local tasks are running")
                    if not lost:
                        self.executor.wait_quiet()
                    try:
                        self.miner("WorkerConnect", [self.url])
                    except CommandError as error:
                        log("ERROR", "main", f"Registering worker failed: {error}")
                        self.stop.set()
                        return
                    self.executor.return_lost()
                    log("INFO", "main", "Worker registered successfully, waiting for tasks")
                    session, lost = current, False
                session = str(self.miner("StandIn.Hold", [HOLD_SEC], HOLD_SEC + 10))
            except CommandError as error:
                if not lost:
                    log("ERROR", "main", f"heartbeat: checking remote session failed: {error}")
                    log("ERROR", "main", "LOTUS-MINER CONNECTION LOST")
                lost = True
                self.stop.wait(min(2.0, heartbeat_sec()))

    def _give_back(self, ident: str, _task: str, result: Json, error: Json) -> None:
        while not self.stop.is_set():
            try:
                self.miner("StandIn.Return", [ident, result, error])
                return
            except CommandError as failure:
                log("ERROR", "advmgr", f"return error, will retry in 5s: {failure}")
                self.stop.wait(min(5.0, heartbeat_sec()))

    # API

    def _verify(self, token: str) -> list[str] | None:
        known = self.verified.get(token)
        if known and time.monotonic() - known[0] < 60:
            return known[1]
        try:
            allow = list(self.miner("AuthVerify", [token], 10))
        except CommandError:
            return None
        self.verified[token] = (time.monotonic(), allow)
        return allow

    def _http(self, request: Request) -> Response:
        if request.path == "/rpc/v0":
            if b"StandIn.Hold" not in request.body:
                return self.rpc.handle(request)
            with self.held_lock:
                self.held.add(request.connection)
            try:
                return self.rpc.handle(request)
            finally:
                with self.held_lock:
                    self.held.discard(request.connection)
        if request.path.startswith("/remote/"):
            if "admin" not in (self.rpc.allowed(request) or []):
                return Response(401, b'{"Error":"unauthorized: missing admin permission"}\n')
            return self.store.serve(request)
        return Response(404, b"404 page not found\n")

    def _methods(self) -> None:
        executor, store = self.executor, self.store
        methods: dict[str, Callable[..., Json]] = {
            "Version": lambda: CURRENT.worker,
            "TaskTypes": lambda: {task_type(t): {} for t in sorted(executor.tasks, key=order)},
            "StandIn.Tasks": lambda: sorted(executor.tasks),
            "Paths": lambda: [
                {
                    "ID": ident,
                    "Weight": meta.get("Weight", 0),
                    "LocalPath": path,
                    "CanSeal": bool(meta.get("CanSeal")),
                    "CanStore": bool(meta.get("CanStore")),
                }
                for ident, (path, meta) in store.paths.items()
            ],
            "Info": self._info,
            "Session": self._session,
            "ProcessSession": lambda: executor.session,
            "Enabled": lambda: executor.enabled,
            "SetEnabled": self._set_enabled,
            "WaitQuiet": executor.wait_quiet,
            "TaskEnable": lambda task: self._switch(task, True),
            "TaskDisable": lambda task: self._switch(task, False),
            "TaskNumbers": lambda: str(len(executor.running)),
            "StorageLocal": lambda: {ident: path for ident, (path, _) in store.paths.items()},
            "StorageAddLocal": self._storage_add,
            "StorageDetachLocal": self._storage_detach,
            "StorageDetachAll": self._detach_all,
            "StorageRedeclareLocal": lambda ident=None, drop=True: store.redeclare(ident, bool(drop)),
            "Shutdown": self._shutdown,
            "StandIn.Run": self._run_task,
            "StandIn.Hold": self._hold,
        }
        for name, run in methods.items():
            self.rpc.add("admin", name, run)

    def _run_task(self, ident: str, task: str, sector: Json, arguments: Json) -> None:
        self.executor.run(ident, task, sector, arguments)

    def _session(self) -> str:
        if not self.executor.enabled:
            raise CommandError("worker disabled")
        return self.executor.session

    def _note(self) -> None:
        with self.changed:
            self.changed.notify_all()

    def _hold(self, timeout_sec: float, tasks: list[str], paths: list[str]) -> Json:
        """Answer when something changes, at the latest after the time given; the end of the process cuts it."""
        deadline = time.monotonic() + float(timeout_sec)
        was_enabled = self.executor.enabled
        with self.changed:
            while (
                sorted(self.executor.tasks) == tasks
                and sorted(self.store.paths) == paths
                and self.executor.enabled == was_enabled
                and not self.stop.is_set()
            ):
                rest = deadline - time.monotonic()
                if rest <= 0:
                    break
                self.changed.wait(rest)
        return {
            "session": self.executor.session,
            "tasks": sorted(self.executor.tasks),
            "paths": sorted(self.store.paths),
            "enabled": self.executor.enabled,
        }

    def _set_enabled(self, enabled: bool) -> None:
        self.executor.enabled = bool(enabled)
        self._note()

    def _switch(self, task: str, on: bool) -> None:
        from .tasks import short_name

        (self.executor.tasks.add if on else self.executor.tasks.discard)(short_name(task))
        self._note()

    def _storage_add(self, path: str) -> None:
        self.store.open(path)
        paths = self.repo.storage_paths()
        if path not in paths:
            self.repo.set_storage_paths([*paths, path])
        self._note()

    def _storage_detach(self, path: str) -> None:
        paths = self.repo.storage_paths()
        if path not in paths:
            raise CommandError(f"path not found in storage.json: '{path}'")
        self.repo.set_storage_paths([p for p in paths if p != path])
        self.store.close(path)
        self._note()

    def _detach_all(self) -> None:
        for path, _ in list(self.store.paths.values()):
            self.store.close(path)

    def _shutdown(self) -> None:
        threading.Timer(0.2, self.stop.set).start()


# commands


def worker_api(call: Call) -> RpcClient:
    text = os.environ.get("WORKER_API_INFO")
    info = ApiInfo.parse(text) if text else Repo(call.text("worker-repo"), "worker").api_info()
    return RpcClient(info, "v0")


def _info(call: Call) -> None:
    api = worker_api(call)
    out(f"Worker version:  {text(CURRENT.worker)}\nCLI version: lotus-worker version {MINER_VERSION}\n")
    out(f"Session: {api.call('ProcessSession')}\nEnabled: {str(api.call('Enabled')).lower()}")
    info = api.call("Info")
    types = sorted(
        api.call("TaskTypes"),
        key=lambda t: next(s["order"] for s in contract.resources()["tasks"].values() if s["task_type"] == t),
    )
    from .tasks import short_name

    resources = info["Resources"]
    out(f"Hostname: {info['Hostname']}\nCPUs: {resources['CPUs']}; GPUs: [{' '.join(resources['GPUs'])}]")
    out(
        f"RAM: {resources['MemPhysical']}; Swap: {resources['MemSwap']}\n"
        f"Task types: {''.join(short_name(t) + ' ' for t in types)}\n"
    )
    for path in api.call("Paths"):
        use = ("Seal " if path["CanSeal"] else "") + ("Store" if path["CanStore"] else "")
        out(f"{path['ID']}:\n\tWeight: {path['Weight']}; Use: {use or 'ReadOnly'}\n\tLocal: {path['LocalPath']}")


def _tasks(call: Call) -> None:
    enable = call.command.endswith("enable")
    if not call.on("all") and len(call.args) != 1:
        raise CommandError("Expected 1 argument or use --all flag")
    if call.on("all") and call.args:
        raise CommandError("Cannot use --all flag with task type argument")
    settable = [short for short in SETTABLE if short in contract.resources()["tasks"]]
    shorts = settable if call.on("all") else call.args
    for short in shorts:
        if short not in settable:
            raise CommandError(f"unknown task type '{short}'")
    api = worker_api(call)
    for short in shorts:
        api.call("TaskEnable" if enable else "TaskDisable", [task_type(short)])


def _resources(call: Call) -> None:
    document = contract.resources()
    for short, spec in sorted(document["tasks"].items()):
        for size, row in sorted((spec.get("sizes") or {}).items()):
            token = document["env_override"]["size_tokens"].get(size)
            for field, about in document["fields"].items():
                name = f"{short}_{token}_{about['env_suffix']}"
                if call.on("all") or call.on("default") or name in os.environ:
                    value = row[field] if call.on("default") else os.environ.get(name, row[field])
                    out(f"{name}={value}")


def run(call: Call) -> None:
    from .miner_cli import storage_attach, storage_detach, storage_redeclare

    name = call.command
    if name == "run":
        WorkerProcess(call).run()
    elif name == "info":
        _info(call)
    elif name in ("tasks enable", "tasks disable"):
        _tasks(call)
    elif name == "resources":
        _resources(call)
    elif name == "stop":
        api = worker_api(call)
        api.call("StorageDetachAll")
        api.call("Shutdown")
    elif name == "set":
        worker_api(call).call("SetEnabled", [call.on("enabled")])
    elif name == "wait-quiet":
        worker_api(call).call("WaitQuiet", [], 86400)
    elif name == "storage attach":
        storage_attach(call, worker_api(call))
    elif name == "storage detach":
        storage_detach(call, worker_api(call))
    elif name == "storage redeclare":
        storage_redeclare(call, worker_api(call))
    else:
        raise CommandError(f"{name}: not part of the stand-in")
