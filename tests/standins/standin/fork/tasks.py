"""Tasks of a fork process: add piece copies a template, and the process reports its limits live."""

from __future__ import annotations

import os
import random
import time

from .. import buildinfo, sectorfiles
from ..cli import Call
from ..common import CommandError, Json, piece_cid, sealed_cid, violation
from ..tasks import Executor, duration_sec, memory_bytes, visible_gpus
from . import limits
from .logs import debug
from .store import ForkStore

EMPTY_PIECE = b"\0" * sectorfiles.SECTOR_BYTES
FALLBACK_ADD_PIECE_MAX = 3
SHOWN = [
    "AddPieceMax",
    "PreCommit1Max",
    "DiskHoldMax",
    "APDiskHoldMax",
    "PreCommit2Max",
    "Commit2Max",
    "ForceP1FromLocalAP",
    "ForceP2FromLocalP1",
    "ForceC2FromLocalP2",
    "IsPlanOffline",
    "AllowP2C2Parallel",
    "AutoPledgeDiff",
    "IgnoreOutOfSpace",
]


class ForkExecutor(Executor):
    """Add piece of a CC sector: the first one in a path leaves a template beside it, every later one copies that."""

    def do_ap(self, sector: Json, arguments: Json) -> Json:
        if buildinfo.GENERATION == 0:
            return super().do_ap(sector, arguments)
        assert isinstance(self.store, ForkStore)
        choices = sorted(self.store.sealing_ids())
        if not choices:
            raise CommandError("couldn't find a suitable path for a sector")
        ident = random.choice(choices)
        root = self.store.paths[ident][0]
        template, template_cid = (os.path.join(root, f"{n}_{sector['Miner']}") for n in ("addpiece", "addpieceCID"))
        target = self.store.local_path(sector, "unsealed", ident)
        if os.path.exists(template) and os.path.exists(template_cid):
            with open(template, "rb") as stream:
                data = stream.read()
            sectorfiles.write_bytes(target, data)
            debug("advmgr", f"Copy add piece for sector {sector['Number']} successfully to {target}")
        else:
            time.sleep(duration_sec("AP"))
            sectorfiles.write_unsealed(target)
            sectorfiles.write_bytes(template, EMPTY_PIECE)
            sectorfiles.write_bytes(template_cid, piece_cid(self.sector_bytes).encode())
        self._declare(sector, {"unsealed": (target, ident)})
        return {"Size": self.sector_bytes}

    def _commitment(self, name: str, arguments: Json) -> str:
        """Two miners that seal one number make two replicas: the ticket differs."""
        return sealed_cid(name, "R", arguments.get("ticket"))

    def do_pc1(self, sector: Json, arguments: Json) -> Json:
        """A template nobody checked spoils every sector made from it; precommit is where it shows."""
        here = self.store.find(sector, "unsealed")
        if here:
            with open(here[0], "rb") as stream:
                if stream.read() != EMPTY_PIECE:
                    raise CommandError("presealing sector: piece commitment does not match its data")
        return super().do_pc1(sector, arguments)


class Settings:
    """What one process reports about itself, read anew at every question."""

    def __init__(self, name: str, executor: ForkExecutor, fallback: Json, is_miner: bool, allow: bool = True) -> None:
        self.name = name
        self.executor = executor
        self.fallback = fallback
        self.is_miner = is_miner
        self.allow = allow
        self.reported = False

    def info(self) -> Json:
        """WorkerInfo of the API."""
        store = self.executor.store
        assert isinstance(store, ForkStore)
        physical, used, swap = memory_bytes()
        resources: Json = {
            "MemPhysical": physical,
            "MemSwap": swap,
            "MemReserved": used,
            "CPUs": len(os.sched_getaffinity(0)),
            "GPUs": visible_gpus(),
        }
        name = self.name
        if buildinfo.GENERATION:
            found = limits.read([path for path, _ in list(store.paths.values())]) if buildinfo.GENERATION == 2 else None
            values = self.fallback if found is None else found
            if found is not None:
                name = found["WorkerName"] or name
            units, unsealed = limits.disk_used(store.scratch())
            resources |= {key: values.get(key, 0) for key in SHOWN}
            resources |= {"IsMiner": self.is_miner, "AllowMyScheduler": self.allow}
            resources |= {"DiskUsed": units, "APDiskUsed": unsealed}
            if buildinfo.GENERATION == 1:
                running = sum(about["task"] == "PC1" for about in list(self.executor.running.values()))
                hold = limits.layer_1_count(store.scratch()) + running
                resources |= {"PreCommit1HoldMax": values["PreCommit1HoldMax"], "PreCommit1Hold": hold}
            self._check_idled(found, resources)
        return {"Hostname": name, "IgnoreResources": False, "Resources": resources}

    def _check_idled(self, found: Json | None, resources: Json) -> None:
        """A fork worker whose file is all zero and false counts as an official one and gets 1/1/1/1."""
        if found is not None and not self.reported and limits.Limits.of(resources).external():
            self.reported = True
            violation("worker-idled-by-zeros", f"{limits.FILE} of {self.name}: every limit 0 and every switch false")


def _fallback(call: Call, local_p1: bool) -> Json:
    out: Json = {key: type(value)() for key, value in limits.WRITTEN.items()}
    out.update(
        AddPieceMax=FALLBACK_ADD_PIECE_MAX,
        PreCommit1Max=call.number("precommit1max"),
        PreCommit2Max=call.number("precommit2max"),
        Commit2Max=call.number("commit2max"),
        ForceP2FromLocalP1=local_p1,
    )
    return out


def worker_fallback(call: Call) -> Json:
    """Limits of a worker without a readable file; in the first generation the only ones."""
    out = _fallback(call, call.on("forcep2fromlocalp1"))
    if buildinfo.GENERATION == 1:
        out["PreCommit1HoldMax"] = call.number("precommit1holdmax")
    else:
        out["DiskHoldMax"] = call.number("diskholdmax")
    return out


def miner_fallback(precommit1_max: int, precommit1_hold_max: int) -> Json:
    """Limits of the miner's own worker; the figures of config.toml count in the first generation alone."""
    out = _fallback(Call(), True)
    out.update(PreCommit1Max=precommit1_max, PreCommit2Max=1, Commit2Max=1, PreCommit1HoldMax=precommit1_hold_max)
    return out
