"""Sealing tasks: their names, resources, and what each does to the files of a sector."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable

from . import contract, params, sectorfiles
from .common import CommandError, Json, env_ms, fake_cid, log, read_json, sealed_cid, sector_name, write_json
from .paths import LocalStore

SETTABLE = ("UNS", "C2", "PC2", "PC1", "PR2", "RU", "AP", "DC", "GSK")
ALWAYS = ("GET", "C1", "PR1", "FIN", "FUS", "FRU")
SIZE_TOKENS = {2048: "2K", 8 << 20: "8M", 512 << 20: "512M", 32 << 30: "32G", 64 << 30: "64G"}
SIZE_NAMES = {2048: "2KiB", 8 << 20: "8MiB", 512 << 20: "512MiB", 32 << 30: "32GiB", 64 << 30: "64GiB"}
DURATION_MS = {"AP": 200, "PC1": 600, "PC2": 600, "C1": 100, "C2": 2000, "FIN": 50, "WDP": 3000, "WNP": 50}
WORKER_RESTART = 101


def task_type(short: str) -> str:
    return str(contract.resources()["tasks"][short]["task_type"])


def order(short: str) -> int:
    return int(contract.resources()["tasks"][short]["order"])


def short_name(task: str) -> str:
    for short, spec in contract.resources()["tasks"].items():
        if spec["task_type"] == task:
            return str(short)
    return task


def duration_sec(short: str) -> float:
    """How long a task takes here; STANDIN_<TASK>_MS changes it."""
    return env_ms(f"STANDIN_{short}_MS", DURATION_MS.get(short, 0))


def prove(short: str, sector_bytes: int) -> None:
    """Take the time of a proof; CommandError when its parameters are not there."""
    lacking = params.missing(sector_bytes)
    if lacking:
        raise CommandError(f"could not read from source: No such file or directory (os error 2): {lacking}")
    time.sleep(duration_sec(short))


def resource_table(sector_bytes: int) -> dict[str, Json]:
    """{task: {MinMemory: …}} of this process for a sector size, environment overrides applied."""
    document = contract.resources()
    out: dict[str, Json] = {}
    for short, spec in document["tasks"].items():
        if not spec.get("has_resource_table"):
            continue
        row = dict(spec["sizes"][SIZE_NAMES[sector_bytes]])
        for field, about in document["fields"].items():
            suffix = about["env_suffix"]
            for name in (f"{short}_{SIZE_TOKENS[sector_bytes]}_{suffix}", f"{short}_{suffix}"):
                if name in os.environ:
                    try:
                        row[field] = float(os.environ[name]) if field == "GPUUtilization" else int(os.environ[name])
                    except ValueError:
                        row[field] = 0
                    break
            else:
                if (
                    field == "MaxParallelism"
                    and short in ("PC1", "UNS")
                    and os.environ.get("FIL_PROOFS_USE_MULTICORE_SDR") == "1"
                ):
                    row[field] = int(os.environ.get("FIL_PROOFS_MULTICORE_SDR_PRODUCERS") or 3) + 1
        out[short] = row
    return out


def visible_gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES leaves; nothing is detected, a machine without the variable has no GPU."""
    if os.environ.get("BELLMAN_NO_GPU", "0") != "0":
        return []
    return [g.strip() for g in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if g.strip() and g.strip() != "-1"]


def memory_bytes() -> tuple[int, int, int]:
    """(physical, used, swap), physical lowered to the cgroup's limit."""
    values: dict[str, int] = {}
    with open("/proc/meminfo", encoding="ascii") as stream:
        for line in stream:
            name, _, rest = line.partition(":")
            values[name] = int(rest.split()[0]) * 1024
    physical = values["MemTotal"]
    try:
        with open("/proc/self/cgroup", encoding="ascii") as stream:
            groups = [line.strip().split(":", 2) for line in stream]
    except OSError:
        groups = []
    for _, controllers, path in groups:
        root, file = (
            ("/sys/fs/cgroup", "memory.max") if not controllers else ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        )
        if controllers and "memory" not in controllers.split(","):
            continue
        while path:
            try:
                with open(f"{root}{path}/{file}", encoding="ascii") as stream:
                    text = stream.read().strip()
                if text.isdigit():
                    physical = min(physical, int(text))
            except OSError:
                pass
            path = path.rpartition("/")[0]
    return (
        physical,
        max(0, values["MemTotal"] - values["MemAvailable"]) if physical == values["MemTotal"] else 0,
        values.get("SwapTotal", 0),
    )


def worker_info(name: str, sector_bytes: int, no_swap: bool) -> Json:
    physical, used, swap = memory_bytes()
    proof = str({2048: 5, 8 << 20: 6, 512 << 20: 7, 32 << 30: 8, 64 << 30: 9}[sector_bytes])
    rows = {task_type(short): {proof: row} for short, row in resource_table(sector_bytes).items()}
    return {
        "Hostname": name,
        "IgnoreResources": False,
        "Resources": {
            "MemPhysical": physical,
            "MemUsed": used,
            "MemSwap": 0 if no_swap else swap,
            "MemSwapUsed": 0,
            "CPUs": len(os.sched_getaffinity(0)),
            "GPUs": visible_gpus(),
            "Resources": rows,
        },
    }


Return = Callable[[str, str, Json, Json], None]


class Executor:
    """Runs tasks on this process' paths. Every call answers later through `give_back(call id, task, result, error)`."""

    def __init__(
        self,
        name: str,
        store: LocalStore,
        sector_bytes: int,
        tasks: set[str],
        info: Json,
        give_back: Return,
        calls_file: str = "",
    ) -> None:
        self.name = name
        self.store = store
        self.sector_bytes = sector_bytes
        self.tasks = tasks
        self.info = info
        self.give_back = give_back
        self.calls_file = calls_file
        self.session = str(uuid.uuid4())
        self.enabled = True
        self.running: dict[str, Json] = {}
        self.lock = threading.RLock()
        self.quiet = threading.Condition(self.lock)
        self.lost: dict[str, Json] = {}
        if calls_file and os.path.exists(calls_file):
            self.lost = read_json(calls_file)

    def _save(self) -> None:
        if self.calls_file:
            write_json(self.calls_file, {**self.lost, **self.running}, mode=0o600)

    def return_lost(self) -> None:
        """Answer the calls an earlier process of this repo left behind with error 101."""
        for ident, about in list(self.lost.items()):
            self.give_back(
                ident, about["task"], None, {"Code": WORKER_RESTART, "Message": f"worker [name: {self.name}] restarted"}
            )
            del self.lost[ident]
        self._save()

    def run(self, ident: str, task: str, sector: Json, arguments: Json) -> None:
        with self.lock:
            self.running[ident] = {"task": task, "sector": sector, "start": time.time()}
            self._save()
        threading.Thread(target=self._work, args=(ident, task, sector, arguments), daemon=True).start()

    def _work(self, ident: str, task: str, sector: Json, arguments: Json) -> None:
        result: Json = None
        error: Json = None
        try:
            result = getattr(self, f"do_{task.lower()}")(sector, arguments or {})
        except (CommandError, OSError, KeyError, ValueError) as failure:
            log("ERROR", "advmgr", f"{task} of sector {sector['Number']} failed: {failure}")
            error = {"Code": 0, "Message": str(failure)}
        self.give_back(ident, task, result, error)
        with self.lock:
            self.running.pop(ident, None)
            self._save()
            self.quiet.notify_all()

    def wait_quiet(self) -> None:
        with self.lock:
            while self.running:
                self.quiet.wait()

    # the tasks

    def _allocate(self, sector: Json, kinds: list[str]) -> dict[str, tuple[str, str]]:
        return self.store.allocate(sector, kinds, self.sector_bytes, "sealing")

    def _declare(self, sector: Json, places: dict[str, tuple[str, str]]) -> None:
        for kind, (_, ident) in places.items():
            self.store.index.storage_declare(ident, sector, kind, True)

    def do_ap(self, sector: Json, _arguments: Json) -> Json:
        places = self._allocate(sector, ["unsealed"])
        time.sleep(duration_sec("AP"))
        sectorfiles.write_unsealed(places["unsealed"][0])
        self._declare(sector, places)
        return {"Size": self.sector_bytes}

    def do_fetch(self, sector: Json, arguments: Json) -> Json:
        self.store.acquire(sector, arguments["kinds"], self.sector_bytes, "sealing", True)
        return None

    def do_pc1(self, sector: Json, _arguments: Json) -> Json:
        name = sector_name(sector["Miner"], sector["Number"])
        for kind in ("sealed", "cache"):
            self.store.remove_local(sector, kind, [])
        places = self._allocate(sector, ["sealed", "cache"])
        time.sleep(duration_sec("PC1"))
        sectorfiles.write_precommit1(places["sealed"][0], places["cache"][0], name)
        self._declare(sector, places)
        return {"phase": fake_cid(name)}

    def _existing(self, sector: Json) -> tuple[str, str]:
        sealed, cache = self.store.find(sector, "sealed"), self.store.find(sector, "cache")
        if not sealed or not cache:
            raise CommandError(f"acquiring sector paths: sector {sector['Number']} not found here")
        return sealed[0], cache[0]

    def _commitment(self, name: str, _arguments: Json) -> str:
        return sealed_cid(name, "R")

    def do_pc2(self, sector: Json, arguments: Json) -> Json:
        sealed, cache = self._existing(sector)
        time.sleep(duration_sec("PC2"))
        name = sector_name(sector["Miner"], sector["Number"])
        commitment = self._commitment(name, arguments)
        sectorfiles.write_precommit2(sealed, cache, name, commitment)
        return {"Sealed": commitment}

    def do_c1(self, sector: Json, _arguments: Json) -> Json:
        _, cache = self._existing(sector)
        if not os.path.exists(os.path.join(cache, "sc-02-data-layer-1.dat")):
            raise CommandError("could not read layers: No such file or directory (os error 2)")
        time.sleep(duration_sec("C1"))
        return {"vanilla": fake_cid(sector["Number"])}

    def do_c2(self, sector: Json, _arguments: Json) -> Json:
        prove("C2", self.sector_bytes)
        return {"proof": fake_cid(sector["Number"], "proof")}

    def do_fin(self, sector: Json, _arguments: Json) -> Json:
        _, cache = self._existing(sector)
        time.sleep(duration_sec("FIN"))
        sectorfiles.clear_cache(cache)
        return None

    def do_fus(self, sector: Json, _arguments: Json) -> Json:
        self.store.remove_local(sector, "unsealed", [])
        return None

    def do_get(self, sector: Json, arguments: Json) -> Json:
        self.store.move_to_store(sector, arguments["kinds"], self.sector_bytes)
        return None
