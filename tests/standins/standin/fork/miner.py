"""`lotus-miner run` of the fork: duties by flags, the counter inside, and the stop that never ends."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from typing import ClassVar

from .. import buildinfo
from ..common import CommandError, Json, log
from ..miner import ALLOW_TASKS, HOLD_SEC, Miner
from ..net import ApiInfo, HttpServer
from ..repo import Repo
from ..sched import Scheduler
from .config import ForkConfig
from .counter import Counter
from .limits import Limits, read_external
from .sched import ForkScheduler
from .sealing import ForkSealing
from .store import ForkIndex, ForkStore
from .tasks import FALLBACK_ADD_PIECE_MAX, ForkExecutor, Settings, miner_fallback

# What came after 1.12.
ABSENT_METHODS = (
    *("SectorNumAssignerMeta", "SectorNumReservations", "SectorNumReserve", "SectorNumFree"),
    *("StorageDetachLocal", "StorageDetach", "StorageRedeclareLocal", "StorageGetLocks", "ComputeWindowPoSt"),
)


@dataclass(frozen=True)
class Role:
    """The five flags; `counter` where this process serves numbers, `counter_address` where it asks for them."""

    window: bool
    winning: bool
    p2p: bool
    sctype: str
    counter_address: str
    counter: Counter | None


class ForkMiner(Miner):
    config_kind = ForkConfig
    index_kind = ForkIndex
    store_kind = ForkStore
    executor_kind = ForkExecutor
    sealing_kind = ForkSealing
    allow_tasks: ClassVar[dict[str, tuple[str, ...]]] = {key: tasks[:1] for key, tasks in ALLOW_TASKS.items()}
    always_tasks = ("GET", "C1", "FIN")
    info_timeout_sec = 10.0
    f3_supported = False

    def __init__(self, repo: Repo, full_node: ApiInfo, role: Role) -> None:
        self.role = role
        super().__init__(repo, full_node)
        if not self.node("WalletHas", [self.worker_key]):
            raise CommandError(f"initializing node: key for worker not found in local wallet: {self.worker_key}")
        if self.role.p2p and not self.config.on("Subsystems.EnableMarkets"):
            raise CommandError("connecting to full node (libp2p): --p2p needs [Subsystems] EnableMarkets = true")
        if self.role.p2p:
            log("INFO", "main", "Bootstrapping libp2p network with full node")
        else:
            log("WARN", "main", "Thie miner will be disabled p2p")

    def _duties(self) -> tuple[bool, bool]:
        window, winning = self.role.window, self.role.winning
        log("WARN", "modules", f"This miner will {'do' if window else 'be disabled'} windowPoSt")
        log("WARN", "miner", f"This miner will {'minning' if winning else 'be disabled mining'} block")
        return winning, window

    def _scheduler(self) -> Scheduler:
        return ForkScheduler(
            self._track,
            self.meta.setdefault("work_hosts", {}),
            self.index.holders,
            lambda: {ident for ident, store in list(self.index.stores.items()) if store.info.get("CanSeal")},
            self.config.on("Storage.AllowMyScheduler"),
            self._official_limits,
            buildinfo.GENERATION == 2,
        )

    def _official_limits(self) -> Limits:
        """What workers get that report no limits: externalWorker.json, in the first generation config.toml."""
        if buildinfo.GENERATION == 2:
            return Limits.of(read_external() or {})
        return Limits(
            AddPieceMax=FALLBACK_ADD_PIECE_MAX,
            PreCommit1Max=self.config.number("Storage.PreCommit1Max"),
            PreCommit2Max=1,
            Commit2Max=1,
        )

    def _local_info(self, name: str) -> Json:
        return {"Hostname": name, "IgnoreResources": False, "Resources": {"GPUs": [], "CPUs": 1}}

    def _before_serving(self) -> None:
        # Who finds the api file may stop the process at once.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop.set())
        fallback = miner_fallback(
            self.config.number("Storage.PreCommit1Max"), self.config.number("Storage.PreCommit1HoldMax")
        )
        allow = self.config.on("Storage.AllowMyScheduler")
        assert isinstance(self.local, ForkExecutor)
        self.settings = Settings(self.local.name, self.local, fallback, True, allow)
        assert isinstance(self.sealing, ForkSealing)
        self.sealing.counter_address = self.role.counter_address
        assert isinstance(self.sched, ForkScheduler)
        self.sched.start()

    def _local_call(self, method: str, params: list[Json]) -> Json:
        return self.settings.info() if method == "Info" else super()._local_call(method, params)

    def _presence(self) -> Json:
        presence = super()._presence()
        if self.role.counter and self.role.counter.running:
            presence["roles"].append("counter")
            presence["issued"] = self.role.counter.last
        return presence

    def _methods(self) -> None:
        super()._methods()
        for name in ABSENT_METHODS:
            del self.rpc.methods[f"Filecoin.{name}"]
        # 1.12 does not ask whose sector it is.
        self.rpc.add(
            "admin",
            "StorageBestAlloc",
            lambda bits, size, kind, miner=0: self.index.storage_best_alloc(bits, size, kind, miner),
        )
        role = self.role
        self.rpc.add(
            "read",
            "StandIn.Duties",
            lambda: {
                "window": role.window,
                "winning": role.winning,
                "p2p": role.p2p,
                "sctype": role.sctype,
                "counter": bool(role.counter and role.counter.running),
            },
        )

    def _close(self, server: HttpServer) -> None:
        if self.winning:
            super()._close(server)
            return
        log("WARN", "node", "received shutdown")
        log("WARN", "node", "Shutting down...")
        self.sealing.closed = True
        server.close()
        log("INFO", "node", "rpc server shut down successfully")
        # The stop hook waits for a block producer that never started; the repo stays locked.
        while True:
            time.sleep(HOLD_SEC)
