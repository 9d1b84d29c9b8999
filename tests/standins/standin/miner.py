"""`lotus-miner run`: repo, API, sealing, winning and window PoSt of one process."""

from __future__ import annotations

import base64
import os
import signal
import threading
import time
import uuid
from typing import Any, ClassVar

from . import numbers
from .chain import deadline_info
from .common import (
    MINER_VERSION,
    NODE_VERSION,
    CommandError,
    Json,
    actor_number,
    block_delay_sec,
    duration_text,
    id_address,
    log,
    rfc3339,
    set_log_level,
    write_json,
)
from .config import Config
from .index import MemIndex
from .net import (
    PERMISSIONS,
    ApiInfo,
    HttpServer,
    Request,
    Response,
    RpcClient,
    RpcServer,
    Unreachable,
    check_public,
    http,
    multiaddr_hostport,
)
from .paths import BITS, LocalStore, kinds_of
from .repo import Repo
from .sched import Scheduler, Worker
from .sealing import Sealing
from .stack import CURRENT
from .tasks import Executor, duration_sec, prove, worker_info

ALLOW_TASKS = {
    "AllowAddPiece": ("AP", "DC"),
    "AllowPreCommit1": ("PC1",),
    "AllowPreCommit2": ("PC2",),
    "AllowCommit": ("C2",),
    "AllowUnseal": ("UNS",),
    "AllowReplicaUpdate": ("RU",),
    "AllowProveReplicaUpdate2": ("PR2",),
    "AllowRegenSectorKey": ("GSK",),
    "AllowSectorDownload": ("DL",),
}
ASSIGNERS = (
    "",
    "utilization",
    "spread",
    "experiment-spread-qcount",
    "experiment-spread-tasks",
    "experiment-spread-tasks-qcount",
    "experiment-random",
)
POST_SUBMIT_EPOCHS = 5
HOLD_SEC = 30.0


class Miner:
    config_kind = Config
    index_kind = MemIndex
    store_kind = LocalStore
    executor_kind = Executor
    sealing_kind = Sealing
    allow_tasks: ClassVar[dict[str, tuple[str, ...]]] = ALLOW_TASKS
    always_tasks: tuple[str, ...] = ("GET", "C1", "PR1", "FIN", "FUS", "FRU")
    info_timeout_sec = HOLD_SEC + 10
    f3_supported = True

    def __init__(self, repo: Repo, full_node: ApiInfo) -> None:
        self.repo = repo
        self.full_node = RpcClient(full_node, "v1")
        self.config = self.config_kind(repo.at("config.toml"), "miner")
        self._check_config()
        self.meta = repo.meta()
        if not self.meta.get("miner-address"):
            raise CommandError("failed to get miner address: datastore: key not found")
        self.actor = id_address(actor_number(self.meta["miner-address"]))
        self.number = actor_number(self.actor)
        info = self.node("StateMinerInfo", [self.actor, None])
        self.sector_bytes = int(info["SectorSize"])
        self.worker_key = info["Worker"]
        self.process = f"{os.uname().nodename}/{os.getpid()}/{uuid.uuid4().hex[:8]}"
        self.session = str(uuid.uuid4())
        self.stop = threading.Event()
        self.save_lock = threading.RLock()
        self.head: Json = self.node("StandIn.WaitHead", ["", 0])
        self.head_changed = threading.Condition()
        self.index = self.index_kind()
        self.started = time.time()
        self.sched = self._scheduler()
        self.winning, self.window = self._duties()
        self.f3 = self.f3_supported and os.environ.get("LOTUS_DISABLE_F3_SUBSYSTEM", "") in ("", "0", "false", "no")
        self.posted: dict[int, int] = {}

    def _scheduler(self) -> Scheduler:
        hosts = self.meta.setdefault("work_hosts", {})
        return Scheduler(self.config.text("Storage.Assigner"), self._track, hosts)

    def _duties(self) -> tuple[bool, bool]:
        """Whether this process does winning and window PoSt."""
        return (
            not self.config.on("Subsystems.DisableWinningPoSt"),
            not self.config.on("Subsystems.DisableWindowPoSt"),
        )

    def _check_config(self) -> None:
        enabled = {
            self.config.on(f"Subsystems.{name}") for name in ("EnableMining", "EnableSealing", "EnableSectorStorage")
        }
        if len(enabled) != 1:
            raise CommandError(
                "initializing node: could not build node: the three subsystems EnableMining, EnableSealing and "
                "EnableSectorStorage must all be enabled or all disabled"
            )
        if enabled == {False}:
            raise CommandError(
                "initializing node: a miner without mining, sealing and sector storage is not part of the stand-in"
            )
        if self.config.text("Storage.Assigner") not in ASSIGNERS:
            raise CommandError(f"unknown assigner '{self.config.text('Storage.Assigner')}'")
        if self.config.text("Storage.ResourceFiltering") not in ("", "hardware", "disabled"):
            raise CommandError(f"unknown resource filtering strategy '{self.config.text('Storage.ResourceFiltering')}'")

    # helpers for the other parts

    def node(self, method: str, params: list[Json], timeout_sec: float = 60) -> Json:
        return self.full_node.call(method, params, timeout_sec)

    def save(self) -> None:
        with self.save_lock:
            self.repo.set_meta(self.meta)

    def _track(self, key: str, call: str | None) -> None:
        with self.save_lock:
            work = self.meta.setdefault("work", {})
            if call is None:
                work.pop(key, None)
            else:
                work[key] = call
            self.save()

    def sector_id(self, number: int) -> Json:
        return {"Miner": self.number, "Number": number}

    def send(self, method: str, params: Json) -> str:
        message = {"From": self.worker_key, "To": self.actor, "Method": method, "Params": params}
        return str(self.node("MpoolPushMessage", [message, None])["CID"]["/"])

    def wait_message(self, message: str, confidence: int) -> Json:
        """Until the message is on chain with that many epochs above it; outlives restarts of the daemon."""
        while not self.stop.is_set():
            try:
                found = self.node("StateSearchMsg", [None, {"/": message}])
                if found and self.head["height"] >= found["Height"] + confidence:
                    return found
                self._next_head(found["Height"] + confidence if found else None)
            except Unreachable:
                self.stop.wait(2)
        raise CommandError("shutting down")

    def _next_head(self, at_least: int | None = None) -> None:
        with self.head_changed:
            known = self.head["height"]
            while not self.stop.is_set() and self.head["height"] < (at_least if at_least is not None else known + 1):
                self.head_changed.wait(60)

    def wait_height(self, height: int) -> None:
        self._next_head(height)
        if self.stop.is_set():
            raise CommandError("shutting down")

    def remove_everywhere(self, sector: Json, kind: str) -> None:
        self.store.remove_local(sector, kind, [])
        for info in self.index.storage_find(sector, BITS[kind], 0, False):
            for url in info["URLs"]:
                log("INFO", "stores", f"Delete {url}")
                address, _, rest = url.split("://", 1)[1].partition("/")
                try:
                    http("DELETE", address, "/" + rest, token=self.token())
                    break
                except CommandError as error:
                    log("WARN", "stores", f"remove {url}: {error}")

    def token(self) -> str:
        if not hasattr(self, "_token"):
            self._token = self.repo.new_token(PERMISSIONS)
        return self._token

    # run

    def run(self) -> None:
        host, _, port = multiaddr_hostport(self.config.text("API.ListenAddress")).rpartition(":")
        host = host.strip("[]")
        self.rpc = RpcServer(self.repo.verify, ["read"])
        self._methods()
        server = HttpServer(host, int(port), self._http)
        check_public("lotus-miner API", host)
        remote = self.config.text("API.RemoteListenAddress") or f"127.0.0.1:{server.port}"
        self.store = self.store_kind(
            self.index, f"http://{remote}/remote", self.token, self.config.number("Storage.ParallelFetchLimit")
        )
        for path in self.repo.storage_paths():
            self.store.open(path)
        self.repo.open_journal()
        tasks = set(self.always_tasks)
        for key, shorts in self.allow_tasks.items():
            if self.config.on(f"Storage.{key}"):
                tasks.update(shorts)
        name = self.config.text("Storage.LocalWorkerName") or os.uname().nodename
        self.local = self.executor_kind(
            name,
            self.store,
            self.sector_bytes,
            tasks,
            self._local_info(name),
            lambda call, _task, result, error: self.sched.returned(call, result, error),
        )
        if os.environ.get("LOTUS_MINER_ABORT_UNFINISHED_WORK") == "1":
            self.meta["work"] = {}
        # What the built-in worker ran died with the last process.
        for key in [
            k for k, call in self.meta.setdefault("work", {}).items() if call in self.meta.get("local_calls", [])
        ]:
            del self.meta["work"][key]
        self.meta["local_calls"] = []
        self.sealing = self.sealing_kind(self)
        self.sched.add(Worker(self.local.session, "", self._local_call, self.local.info, tasks, set(self.store.paths)))
        self._before_serving()
        server.start()
        self.repo.secret()
        self.repo.write_api(f"/{'ip6' if ':' in server.host else 'ip4'}/{server.host}/tcp/{server.port}/http")
        log("INFO", "miner", f"Remote version {self.node('Version', [])['Version']}")
        threads: list[Any] = [self._watch_head, lambda: self.store.health_loop(self.stop)]
        if self.winning:
            threads.append(self._mine)
        if self.window:
            threads.append(self._window_post)
        if self.f3:
            threads.append(self._participate_f3)
        for target in threads:
            threading.Thread(target=target, daemon=True).start()
        self.sealing.start()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop.set())
        self.stop.wait()
        self._close(server)

    def _before_serving(self) -> None:
        """Everything of the process exists, nobody can call it yet."""

    def _local_info(self, name: str) -> Json:
        return worker_info(name, self.sector_bytes, False)

    def _close(self, server: HttpServer) -> None:
        log("WARN", "node", "received shutdown")
        log("WARN", "node", "Shutting down...")
        self.sealing.closed = True
        server.close()
        self.repo.unlock()
        log("WARN", "node", "Graceful shutdown successful")

    def _local_call(self, method: str, params: list[Json]) -> Json:
        if method == "StandIn.Run":
            call, task, sector, arguments = params
            self.meta.setdefault("local_calls", []).append(call)
            self.local.run(call, task, sector, arguments)
        return None

    # chain

    def _presence(self) -> Json:
        roles = [r for r, on in (("winning", self.winning), ("window", self.window)) if on]
        return {"process": self.process, "actor": self.actor, "roles": roles}

    def _watch_head(self) -> None:
        lost = False
        while not self.stop.is_set():
            try:
                head = self.node("StandIn.WaitHead", [self.head["cid"], HOLD_SEC / 4, self._presence()], HOLD_SEC + 10)
            except CommandError as error:
                if not lost:
                    log("ERROR", "rpc", f"websocket connection closed: {error}")
                lost = True
                self.stop.wait(2)
                continue
            if lost:
                lost = False
                log("INFO", "wdpost", "restarting window post scheduler")
            if head["cid"] != self.head["cid"]:
                with self.head_changed:
                    self.head = head
                    self.head_changed.notify_all()

    def _mine(self) -> None:
        """One block each epoch, on top of the head of our daemon."""
        while not self.stop.is_set():
            head = self.head
            started = time.monotonic()
            if self.stop.wait(max(0.0, block_delay_sec())):
                return
            try:
                prove("WNP", self.sector_bytes)
                answer = self.node(
                    "StandIn.Mine",
                    [{"actor": self.actor, "process": self.process, "base": head["cid"], "height": head["height"] + 1}],
                )["block"]
            except CommandError as error:
                if "SLASH FILTER" in str(error):
                    log("ERROR", "miner", str(error))
                    log(
                        "ERROR",
                        "miner",
                        f"<!!> SLASH FILTER DETECTED FAULT due to blocks at height {head['height'] + 1}",
                    )
                else:
                    log("ERROR", "miner", f"mining block failed: {error}")
                self._settle(head)
                continue
            if answer:
                log(
                    "INFO",
                    "miner",
                    "mined new block",
                    cid=answer["cid"],
                    height=answer["height"],
                    miner=self.actor,
                    took=time.monotonic() - started,
                )
                log("INFO", "miner", "completed mineOne", height=answer["height"], isEligible=True, isWinner=True)
            self._settle(head)

    def _settle(self, head: Json) -> None:
        """Wait shortly for our own view of the head to move."""
        with self.head_changed:
            if self.head["cid"] == head["cid"]:
                self.head_changed.wait(block_delay_sec())

    def _participate_f3(self) -> None:
        try:
            self.node("StandIn.F3Participate", [self.actor, self.process])
            log("INFO", "f3", f"started participating in F3 for miner {self.number}")
        except CommandError as error:
            log("ERROR", "f3", f"Cannot participate in F3: {error}")

    # window PoSt

    def _window_post(self) -> None:
        while not self.stop.is_set():
            height = int(self.head["height"])
            for step in (0, 1):
                info = deadline_info(height + step * 60)
                index, opened = int(info["Index"]), int(info["Open"])
                if self.posted.get(index) == opened or height < info["Challenge"] or height >= info["Close"]:
                    continue
                self.posted[index] = opened
                threading.Thread(target=self._post_deadline, args=(index, opened), daemon=True).start()
            self._next_head()

    def _post_deadline(self, deadline: int, opened: int) -> None:
        started = time.monotonic()
        log("INFO", "wdpost", "starting PoSt cycle", manual=False, deadline=deadline, ts=self.head["cid"])
        try:
            partitions = self.node("StateMinerPartitions", [self.actor, deadline, None])
            good_partitions = []
            for index, partition in enumerate(partitions):
                sectors = [n for s, e in numbers.from_rle(partition["LiveSectors"]) for n in range(s, e + 1)]
                good = [n for n in sectors if self._readable(n)]
                log("WARN", "wdpost", "Checked sectors", checked=len(sectors), good=len(good))
                if good:
                    log(
                        "INFO",
                        "wdpost",
                        "running window post",
                        chain_random="",
                        deadline=deadline,
                        height=self.head["height"],
                        skipped=0,
                    )
                    prove("WDP", self.sector_bytes)
                    log(
                        "INFO",
                        "wdpost",
                        "computing window post",
                        batch=0,
                        elapsed=duration_sec("WDP"),
                        skip=len(sectors) - len(good),
                        err=None,
                    )
                    if len(good) == len(sectors):
                        good_partitions.append(index)
            log("INFO", "wdpost", "post cycle done", took=duration_text(time.monotonic() - started))
            if not good_partitions:
                return
            self.wait_height(opened + POST_SUBMIT_EPOCHS)
            message = self.send(
                "SubmitWindowedPoSt", {"Deadline": deadline, "Partitions": good_partitions, "Process": self.process}
            )
            log("INFO", "wdpost", f"Submitted window post: {message} (deadline {deadline})")
            found = self.wait_message(message, 1)
            if found["Receipt"]["ExitCode"]:
                log("ERROR", "wdpost", f"Submitting window post {message} failed: exit {found['Receipt']['ExitCode']}")
            else:
                log(
                    "INFO",
                    "wdpost",
                    "Window post submission successful",
                    cid=message,
                    deadline=deadline,
                    epoch=found["Height"],
                )
        except CommandError as error:
            if not self.stop.is_set():
                log("ERROR", "wdpost", f"error generating window post: {error}")
                self.posted.pop(deadline, None)

    def _compute_window_post(self, deadline: int, _key: Json = None) -> Json:
        """A deadline's proof that goes nowhere, as `proving compute windowed-post` asks for; null without sectors."""
        if not self.window:
            raise CommandError(
                "fatal error calling 'Filecoin.ComputeWindowPoSt': panic in rpc method 'Filecoin.ComputeWindowPoSt': "
                "runtime error: invalid memory address or nil pointer dereference"
            )
        done = []
        for index, partition in enumerate(self.node("StateMinerPartitions", [self.actor, deadline, None])):
            sectors = [n for s, e in numbers.from_rle(partition["LiveSectors"]) for n in range(s, e + 1)]
            bad = [n for n in sectors if not self._readable(n)]
            if len(bad) < len(sectors):
                prove("WDP", self.sector_bytes)
                done.append({"Index": index, "Skipped": numbers.to_rle([(n, n) for n in bad])})
        proof = {"PoStProof": 10, "ProofBytes": base64.b64encode(bytes(192)).decode()}
        empty: Json = {"ChainCommitEpoch": 0, "ChainCommitRand": None}
        return [{"Deadline": deadline, "Partitions": done, "Proofs": [proof], **empty}] if done else None

    def _readable(self, number: int) -> bool:
        """The built-in prover reads only the paths attached to this process, as its own index knows them (16)."""
        from .sectorfiles import healthy

        sealed, cache = (
            self.store.find(self.sector_id(number), "sealed"),
            self.store.find(self.sector_id(number), "cache"),
        )
        return bool(sealed and cache and healthy(sealed[0], cache[0]))

    # workers

    def connect_worker(self, url: str) -> None:
        """WorkerConnect: dial the worker back and take it in."""
        address = url.split("://", 1)[1].split("/", 1)[0]
        api = RpcClient(ApiInfo(self.token(), f"http://{address}"), "v0")

        def call(method: str, params: list[Json]) -> Json:
            return api.call(method, params, self.info_timeout_sec if method == "Info" else HOLD_SEC + 10)

        session = call("Session", [])
        log("INFO", "sectors", f"Connected to a remote worker at {url}")
        known = self.sched.workers.get(session)
        if known:
            log("WARN", "advmgr", "duplicated worker added", id=session)
            known.enabled = True
            self.sched.wake("worker")
            return
        info, tasks, paths = call("Info", []), call("StandIn.Tasks", []), call("Paths", [])
        worker = Worker(session, url, call, info, set(tasks), {p["ID"] for p in paths})
        self.sched.add(worker)
        threading.Thread(target=self._watch_worker, args=(worker,), daemon=True).start()

    def _watch_worker(self, worker: Worker) -> None:
        """Hold a call open to the worker: its end disables the worker, another session drops it."""
        while not self.stop.is_set():
            try:
                answer = worker.call("StandIn.Hold", [HOLD_SEC, sorted(worker.tasks), sorted(worker.paths)])
            except CommandError as error:
                if worker.enabled:
                    log("WARN", "advmgr", "failed to check worker session", worker=worker.id, error=str(error))
                worker.enabled = False
                self.sched.wake("lost")
                self.stop.wait(2)
                continue
            if answer["session"] != worker.id:
                log(
                    "WARN",
                    "advmgr",
                    "worker session changed (worker restarted?)",
                    initial=worker.id,
                    current=answer["session"],
                )
                self.sched.remove(worker.id)
                return
            changed = not worker.enabled or set(answer["tasks"]) != worker.tasks or set(answer["paths"]) != worker.paths
            worker.tasks, worker.paths = set(answer["tasks"]), set(answer["paths"])
            if worker.enabled != answer["enabled"]:
                worker.enabled = answer["enabled"]
                changed = True
            if changed:
                self.sched.wake("worker")

    # HTTP and API

    def _http(self, request: Request) -> Response:
        if request.path == "/rpc/v0":
            if request.method != "POST":
                return Response(400, b"websocket upgrade is not part of the stand-in\n")
            return self.rpc.handle(request)
        if request.path.startswith("/remote/"):
            if "admin" not in (self.rpc.allowed(request) or []):
                return Response(401, b'{"Error":"unauthorized: missing admin permission"}\n')
            return self.store.serve(request)
        if request.path == "/debug/metrics":
            if self.rpc.allowed(request) is None:
                return Response(401)
            return Response(200, self._metrics().encode())
        return Response(404, b"404 page not found\n")

    def _metrics(self) -> str:
        lines = [
            "# TYPE lotus_sched_cycle_queue_size gauge",
            f"lotus_sched_cycle_queue_size {len(self.sched.queue)}",
            "# TYPE lotus_sched_cycle_open_window_count gauge",
            f"lotus_sched_cycle_open_window_count {sum(w.enabled for w in self.sched.workers.values())}",
            f'lotus_info{{version="{MINER_VERSION}"}} 1',
        ]
        for ident, store in self.index.stores.items():
            labels = f'{{storage_id="{ident}"}}'
            lines.append(f"lotus_storage_path_fs_available_bytes{labels} {store.stat.get('FSAvailable', 0)}")
            lines.append(f"lotus_storage_path_capacity_bytes{labels} {store.stat.get('Capacity', 0)}")
            lines.append(f"lotus_storage_path_reserved_bytes{labels} {store.stat.get('Reserved', 0)}")
        for state, count in self.sealing.summary().items():
            lines.append(f'lotus_sealing_states_sector_count{{sector_state="{state}"}} {count}')
        return "\n".join(lines) + "\n"

    def _methods(self) -> None:
        add = self.rpc.add
        add(
            "read",
            "Version",
            lambda: {
                "Version": NODE_VERSION,
                "APIVersion": CURRENT.miner,
                "BlockDelay": max(1, round(block_delay_sec())),
            },
        )
        add("read", "Session", lambda: self.session)
        add("read", "StartTime", lambda: rfc3339(self.started))
        add("read", "AuthVerify", self.repo.auth_verify)
        add("admin", "AuthNew", self.repo.auth_new)
        add("admin", "Shutdown", self.stop.set)
        add("write", "LogList", lambda: ["advmgr", "main", "miner", "sectors", "stores", "wdpost"])
        add("write", "LogSetLevel", set_log_level)
        add("admin", "LogAlerts", lambda: [])
        add("read", "ActorAddress", lambda: self.actor)
        add("read", "ActorSectorSize", lambda _actor: self.sector_bytes)
        add(
            "read",
            "ActorAddressConfig",
            lambda: {
                k: self.config.many(f"Addresses.{k}")
                for k in ("PreCommitControl", "CommitControl", "TerminateControl", "DealPublishControl")
            },
        )
        add("read", "MiningBase", lambda: self.node("ChainHead", []))
        add("write", "PledgeSector", lambda: self.sector_id(self.sealing.pledge()))
        add("read", "SectorsList", lambda: sorted(self.sealing.sectors))
        add("read", "SectorsSummary", self._summary)
        add(
            "read",
            "SectorsListInStates",
            lambda states: sorted(n for n, s in list(self.sealing.sectors.items()) if s["State"] in states),
        )
        add("read", "SectorsStatus", lambda number, on_chain=False: self.sealing.status(int(number), on_chain))
        add("read", "SectorsRefs", lambda: {})
        add("admin", "SectorRemove", lambda number: self.sealing.remove(int(number)))
        add("admin", "SectorPreCommitFlush", lambda: self.sealing.precommits.flush())
        add("admin", "SectorPreCommitPending", lambda: [self.sector_id(n) for n in self.sealing.precommits.pending()])
        add("admin", "SectorCommitFlush", lambda: self.sealing.commits.flush())
        add("admin", "SectorCommitPending", lambda: [self.sector_id(n) for n in self.sealing.commits.pending()])
        add("read", "SectorNumAssignerMeta", self._assigner)
        add(
            "read",
            "SectorNumReservations",
            lambda: {k: numbers.to_rle(v) for k, v in self.sealing.reservations().items()},
        )
        add(
            "admin",
            "SectorNumReserve",
            lambda name, runs, force=False: self.sealing.reserve(name, numbers.from_rle(runs), force),
        )
        add("admin", "SectorNumFree", self.sealing_free)
        add("admin", "WorkerConnect", self.connect_worker)
        add("admin", "WorkerStats", lambda: self.sched.stats())
        add("admin", "WorkerJobs", lambda: self.sched.jobs())
        add("admin", "SealingSchedDiag", lambda force=False: self.sched.diag(bool(force)))
        add("admin", "SealingAbort", lambda call: self.sched.abort(call["ID"]))
        add("admin", "SealingRemoveRequest", lambda ident: self.sched.remove_request(ident))
        add("admin", "StorageList", self._storage_list)
        add("admin", "StorageLocal", lambda: {ident: path for ident, (path, _) in self.store.paths.items()})
        add("admin", "StorageStat", self._storage_stat)
        add("admin", "StorageInfo", self.index.storage_info)
        add("admin", "StorageAddLocal", self._storage_add)
        add("admin", "StorageDetachLocal", self._storage_detach_local)
        add("admin", "StorageRedeclareLocal", lambda ident=None, drop=True: self.store.redeclare(ident, bool(drop)))
        add("admin", "StorageAttach", self.index.storage_attach)
        add("admin", "StorageDetach", self.index.storage_detach)
        add("admin", "StorageReportHealth", self.index.storage_health)
        add("admin", "StorageDeclareSector", self._storage_declare)
        add("admin", "StorageDropSector", self._storage_drop)
        add("admin", "StorageFindSector", self.index.storage_find)
        add("admin", "StorageBestAlloc", self.index.storage_best_alloc)
        add("admin", "StorageGetLocks", lambda: {"Locks": []})
        add("admin", "CheckProvable", self._check_provable)
        add("admin", "ComputeWindowPoSt", self._compute_window_post)
        add("admin", "CreateBackup", self._backup)
        add("admin", "StandIn.Return", lambda call, result, error: self.sched.returned(call, result, error))
        add("admin", "StandIn.Hold", self._hold)
        add("read", "StandIn.FullNode", lambda: "")

    def _storage_declare(self, ident: str, sector: Json, bits: int, primary: bool) -> None:
        for kind in kinds_of(bits):
            self.index.storage_declare(ident, sector, kind, primary)

    def _storage_drop(self, ident: str, sector: Json, bits: int) -> None:
        for kind in kinds_of(bits):
            self.index.storage_drop(ident, sector, kind)

    def sealing_free(self, name: str) -> None:
        self.sealing.free(name)

    def _summary(self) -> Json:
        return self.sealing.summary()

    def _hold(self, timeout_sec: float) -> str:
        self.stop.wait(float(timeout_sec))
        if self.stop.is_set():
            raise CommandError("shutting down")
        return self.session

    def _assigner(self) -> Json:
        state = self.sealing.assigner()
        return {
            "Reserved": numbers.to_rle(state["reserved"]),
            "Allocated": numbers.to_rle(state["allocated"]),
            "InUse": numbers.to_rle(state["used"]),
            "Next": state["next"],
        }

    def _storage_list(self) -> Json:
        return self.index.storage_list()

    def _storage_stat(self, ident: str) -> Json:
        if ident in self.store.paths:
            return self.store.stat(ident)
        if ident not in self.index.stores:
            raise CommandError("sector store not found")
        return self.index.stores[ident].stat

    def _storage_add(self, path: str) -> None:
        if not os.path.isabs(path):
            path = os.path.abspath(path)
        self.store.open(path)
        paths = self.repo.storage_paths()
        if path not in paths:
            self.repo.set_storage_paths([*paths, path])
        self._local_paths()

    def _storage_detach_local(self, path: str) -> None:
        paths = self.repo.storage_paths()
        if path not in paths:
            raise CommandError(f"path not found in storage.json: '{path}'")
        self.repo.set_storage_paths([p for p in paths if p != path])
        self.store.close(path)
        self._local_paths()

    def _local_paths(self) -> None:
        worker = self.sched.workers.get(self.local.session)
        if worker:
            worker.paths = set(self.store.paths)
            self.sched.wake("worker")

    def _check_provable(self, _proof: int, sectors: list[Json]) -> Json:
        """As the real one: a sector sealed elsewhere has no record in this repo and is called bad (17)."""
        out = {}
        for sector in sectors:
            number = int(sector["ID"]["Number"])
            known = self.sealing.sectors.get(number)
            if known is None:
                out[str(number)] = "getting commR: No state for /" + str(number) + ": datastore: key not found"
            elif not self._readable(number):
                out[str(number)] = "stat vanilla: no such file or directory"
        return out

    def _backup(self, path: str) -> None:
        base = os.environ.get("LOTUS_BACKUP_BASE_PATH")
        if not base:
            raise CommandError("LOTUS_BACKUP_BASE_PATH env var not set")
        if not os.path.abspath(path).startswith(os.path.abspath(base)):
            raise CommandError(f"backup file must be in the path specified in LOTUS_BACKUP_BASE_PATH: {path}")
        write_json(path, {"standin-backup": self.meta}, mode=0o600)
