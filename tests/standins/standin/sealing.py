"""The sealing pipeline of one miner: a state machine per sector, two batchers, and the journal of what happened."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from . import numbers
from .chain import MESSAGE_CONFIDENCE_EPOCHS, PRE_COMMIT_CHALLENGE_EPOCHS, SEED_CONFIDENCE_EPOCHS
from .common import CommandError, Json, cid, env_ms, log, piece_cid
from .paths import BITS
from .sched import allocate_on, anyone, existing_on, move_to

if TYPE_CHECKING:
    from .miner import Miner

FINAL = ("Proving", "Available", "Removed", "FailedUnrecoverable", "WaitDeals")
STAGING = ("WaitDeals", "AddPiece", "AddPieceFailed")


def retry_sec() -> float:
    """A failed sector is tried again about a minute later."""
    return env_ms("STANDIN_RETRY_MS", 60000)


class Batcher:
    """Collects sectors and sends one message when the batch is full, old enough, or published by hand."""

    def __init__(self, name: str, wait_sec: float, maximum: int, send: Callable[[list[int]], str]) -> None:
        self.name = name
        self.wait_sec = wait_sec
        self.maximum = max(1, maximum)
        self.send = send
        self.lock = threading.Condition()
        self.waiting: list[int] = []
        self.sent: dict[int, tuple[str, str]] = {}
        self.since = 0.0
        threading.Thread(target=self._loop, daemon=True).start()

    def submit(self, number: int) -> str:
        """Block until the batch with this sector was sent; the message's CID. CommandError when sending failed."""
        with self.lock:
            if number not in self.waiting:
                if not self.waiting:
                    self.since = time.monotonic()
                self.waiting.append(number)
            self.lock.notify_all()
            while number not in self.sent:
                self.lock.wait()
            message, error = self.sent.pop(number)
        if error:
            raise CommandError(error)
        return message

    def _loop(self) -> None:
        while True:
            with self.lock:
                while not self.waiting:
                    self.lock.wait()
                while self.waiting and len(self.waiting) < self.maximum:
                    rest = self.since + self.wait_sec - time.monotonic()
                    if rest <= 0:
                        break
                    self.lock.wait(rest)
            self.flush()

    def flush(self) -> list[Json]:
        with self.lock:
            batch, self.waiting = self.waiting[: self.maximum], self.waiting[self.maximum :]
            if self.waiting:
                self.since = time.monotonic()
        if not batch:
            return []
        message, error = "", ""
        try:
            message = self.send(batch)
        except CommandError as failure:
            error = str(failure)
            log("ERROR", "sectors", f"{self.name} batch: {error}")
        with self.lock:
            for number in batch:
                self.sent[number] = (message, error)
            self.lock.notify_all()
        return [{"Sectors": batch, "Msg": cid(message), "Error": error}]

    def pending(self) -> list[int]:
        with self.lock:
            return list(self.waiting)


class Sealing:
    def __init__(self, miner: Miner) -> None:
        self.miner = miner
        self.lock = threading.RLock()
        meta = miner.meta
        self.sectors: dict[int, Json] = {int(k): v for k, v in meta.setdefault("sectors", {}).items()}
        # Taken before the API serves: what is pledged from then on drives itself.
        self.unfinished = [number for number, sector in self.sectors.items() if sector["State"] not in FINAL]
        config = miner.config
        self.precommits = Batcher(
            "precommit",
            self._batch_wait_sec("PreCommit"),
            config.number("Sealing.MaxPreCommitBatch"),
            self._send_precommits,
        )
        self.commits = Batcher(
            "commit",
            self._batch_wait_sec("Commit"),
            config.number("Sealing.MaxCommitBatch"),
            self._send_commits,
        )
        self.closed = False

    def _batch_wait_sec(self, what: str) -> float:
        return self.miner.config.seconds(f"Sealing.{what}BatchWait")

    def start(self) -> None:
        for number in self.unfinished:
            self._log(self.sectors[number], "event;sealing.SectorRestart", "{}")
            self._spawn(number)

    def _spawn(self, number: int) -> None:
        threading.Thread(target=self._drive, args=(number,), daemon=True).start()

    def save(self) -> None:
        with self.lock:
            self.miner.meta["sectors"] = {str(k): v for k, v in self.sectors.items()}
            self.miner.save()

    # numbers

    def reservations(self) -> dict[str, numbers.Ranges]:
        return {k: [(int(s), int(e)) for s, e in v] for k, v in self.miner.meta.setdefault("reservations", {}).items()}

    def assigner(self) -> Json:
        """Reserved, allocated here, in use (with the chain's), next: as ranges."""
        # A repo of an older version has only its counter.
        before = [[0, self.miner.meta["nextid"]]] if "nextid" in self.miner.meta else []
        allocated = numbers.normal([(int(s), int(e)) for s, e in self.miner.meta.setdefault("allocated", before)])
        reserved = numbers.normal([r for ranges in self.reservations().values() for r in ranges])
        chain = numbers.from_rle(self.miner.node("StateMinerAllocated", [self.miner.actor, None]))
        used = numbers.normal(allocated + reserved + chain)
        return {"reserved": reserved, "allocated": allocated, "used": used, "next": numbers.first_free(used)}

    def reserve(self, name: str, ranges: numbers.Ranges, force: bool) -> None:
        import re

        if not re.fullmatch(r"[a-zA-Z0-9_\-]+", name):
            raise CommandError("reservation name contained disallowed characters (allowed: a-z, A-Z, 0-9, '-', '_')")
        with self.lock:
            current = self.reservations()
            if name in current and not force:
                raise CommandError("reservation with this name already exists")
            others = [r for key, value in current.items() if key != name for r in value]
            if not force:
                if numbers.overlap(others, ranges):
                    raise CommandError("new reservation is colliding with another existing reservation")
                allocated = [(int(s), int(e)) for s, e in self.miner.meta.setdefault("allocated", [])]
                if numbers.overlap(allocated, ranges):
                    raise CommandError("new reservation is colliding with allocated sector numbers")
            self.miner.meta["reservations"][name] = ranges
            self.miner.save()

    def free(self, name: str) -> None:
        with self.lock:
            if name not in self.reservations():
                raise CommandError("reservation with this name doesn't exist")
            del self.miner.meta["reservations"][name]
            self.miner.save()

    # entry

    def pledge(self) -> int:
        self._check_limit()
        with self.lock:
            number = self._next_number()
            log("INFO", "sectors", f"Creating CC sector {number}")
            self._create(number)
        self._spawn(number)
        return number

    def _check_limit(self) -> None:
        limit = self.miner.config.number("Sealing.MaxSealingSectors")
        sealing = sum(1 for s in list(self.sectors.values()) if s["State"] not in FINAL)
        if limit and sealing >= limit:
            raise CommandError(f"too many sectors sealing (curSealing: {sealing}, max: {limit})")

    def _next_number(self) -> int:
        meta = self.miner.meta
        number = int(self.assigner()["next"])
        meta["allocated"] = numbers.normal([*map(tuple, meta["allocated"]), (number, number)])
        meta["nextid"] = number  # the counter of older versions, kept for a downgrade
        return number

    def _create(self, number: int) -> None:
        self.sectors[number] = {
            "Number": number,
            "State": "",
            "Log": [],
            "Retries": 0,
            "LastErr": "",
            "PreCommitMsg": "",
            "CommitMsg": "",
            "CommD": piece_cid(self.miner.sector_bytes),
            "CommR": "",
            "TicketEpoch": 0,
            "SeedEpoch": 0,
            "PreCommitHeight": 0,
            "Proof": "",
        }
        self._enter(number, "Packing", "event;sealing.SectorStartCC", "")

    def remove(self, number: int) -> None:
        self._known(number)
        for kind in ("unsealed", "sealed", "cache"):
            self.miner.remove_everywhere(self.miner.sector_id(number), kind)
        self._enter(number, "Removed", "event;sealing.SectorRemoved", "")

    def _known(self, number: int) -> Json:
        if number not in self.sectors:
            raise CommandError("datastore: key not found")
        return self.sectors[number]

    # state machine

    def _log(self, sector: Json, kind: str, message: str, trace: str = "") -> None:
        sector["Log"].append({"Kind": kind, "Timestamp": int(time.time()), "Trace": trace, "Message": message})

    def _enter(self, number: int, state: str, event: str, error: str) -> None:
        with self.lock:
            sector = self.sectors[number]
            before = sector["State"]
            self._log(sector, event, error or "{}")
            sector["State"] = state
            sector["LastErr"] = error or sector["LastErr"]
            self.save()
            self.miner.repo.journal(
                "storage",
                "sealing_states",
                {"SectorNumber": number, "SectorType": 5, "From": before, "After": state, "Error": error},
            )
        log("INFO", "sectors", f"sector {number}: {before or 'Empty'} -> {state}")

    def _drive(self, number: int) -> None:
        """Run a sector to the end of the pipeline; failures go to the state's failed twin and are retried."""
        while not self.closed:
            state = self.sectors[number]["State"]
            if state in FINAL:
                return
            try:
                getattr(self, "_" + "".join("_" + c.lower() if c.isupper() else c for c in state).lstrip("_"))(number)
            except CommandError as error:
                failed = FAILED.get(state)
                log("ERROR", "sectors", f"sector {number} in {state}: {error}")
                if self.closed:
                    return
                if failed is None:
                    self.miner.stop.wait(retry_sec())
                    continue
                self.sectors[number]["Retries"] += 1
                self._enter(number, failed, f"event;sealing.Sector{failed}", str(error))

    def _task(
        self,
        number: int,
        task: str,
        select: Callable[..., tuple[bool, bool]],
        prepare: list[str] | None = None,
        arguments: Json = None,
    ) -> Json:
        sector = self.miner.sector_id(number)
        known = self.miner.meta.setdefault("work", {}).get(f"{task}-{number}")
        return self.miner.sched.run(sector, task, select, prepare, arguments, known)

    def _packing(self, number: int) -> None:
        m = self.miner
        self._task(number, "AP", allocate_on(m.index, ["unsealed"], m.sector_bytes, m.number))
        self._enter(number, "GetTicket", "event;sealing.SectorPacked", "")

    def _get_ticket(self, number: int) -> None:
        self.sectors[number]["TicketEpoch"] = max(0, int(self.miner.head["height"]) - 900)
        self._enter(number, "PreCommit1", "event;sealing.SectorTicket", "")

    def _pre_commit1(self, number: int) -> None:
        m = self.miner
        self._task(number, "PC1", allocate_on(m.index, ["sealed", "cache"], m.sector_bytes, m.number), ["unsealed"])
        self._enter(number, "PreCommit2", "event;sealing.SectorPreCommit1", "")

    def _pre_commit2(self, number: int) -> None:
        m = self.miner
        select = existing_on(m.index, m.sector_id(number), ["sealed", "cache"], m.sector_bytes, True)
        result = self._task(number, "PC2", select, ["sealed", "cache"])
        self.sectors[number]["CommR"] = result["Sealed"]
        self._enter(number, "SubmitPreCommitBatch", "event;sealing.SectorPreCommit2", "")

    def _submit_pre_commit_batch(self, number: int) -> None:
        if self._on_chain(number):
            self._enter(number, "WaitSeed", "event;sealing.SectorPreCommitLanded", "")
            return
        self.sectors[number]["PreCommitMsg"] = self.precommits.submit(number)
        self._enter(number, "PreCommitBatchWait", "event;sealing.SectorPreCommitBatchSent", "")

    def _on_chain(self, number: int) -> bool:
        found = self.miner.node("StateSectorPreCommitInfo", [self.miner.actor, number, None])
        if found and found["Info"]["SealedCID"] == cid(self.sectors[number]["CommR"]):
            self.sectors[number]["PreCommitHeight"] = found["PreCommitEpoch"]
            return True
        return False

    def _send_precommits(self, batch: list[int]) -> str:
        sectors = [{"SectorNumber": n, "SealedCID": self.sectors[n]["CommR"]} for n in batch]
        return self.miner.send("PreCommitSectorBatch2", {"Sectors": sectors, "Process": self.miner.process})

    def _pre_commit_batch_wait(self, number: int) -> None:
        found = self.miner.wait_message(self.sectors[number]["PreCommitMsg"], MESSAGE_CONFIDENCE_EPOCHS)
        code = found["Receipt"]["ExitCode"]
        if code:
            raise CommandError(f"sector precommit failed: exit code {code}")
        self.sectors[number]["PreCommitHeight"] = found["Height"]
        self._enter(number, "WaitSeed", "event;sealing.SectorPreCommitLanded", "")

    def _wait_seed(self, number: int) -> None:
        seed = int(self.sectors[number]["PreCommitHeight"]) + PRE_COMMIT_CHALLENGE_EPOCHS
        self.miner.wait_height(seed + SEED_CONFIDENCE_EPOCHS)
        self.sectors[number]["SeedEpoch"] = seed
        self._enter(number, "Committing", "event;sealing.SectorSeedReady", "")

    def _committing(self, number: int) -> None:
        m = self.miner
        if "C2-" + str(number) not in m.meta.setdefault("work", {}):
            self._task(
                number, "C1", existing_on(m.index, m.sector_id(number), ["sealed", "cache"], m.sector_bytes, False)
            )
        result = self._task(number, "C2", anyone)
        self.sectors[number]["Proof"] = result["proof"]
        if m.config.on("Sealing.FinalizeEarly"):
            self._enter(number, "CommitFinalize", "event;sealing.SectorProofReady", "")
        else:
            self._enter(number, "SubmitCommitAggregate", "event;sealing.SectorSubmitCommitAggregate", "")

    def _commit_finalize(self, number: int) -> None:
        self._finalize(number)
        self._enter(number, "SubmitCommitAggregate", "event;sealing.SectorFinalized", "")

    def _submit_commit_aggregate(self, number: int) -> None:
        self.sectors[number]["CommitMsg"] = self.commits.submit(number)
        self._enter(number, "CommitAggregateWait", "event;sealing.SectorCommitAggregateSent", "")

    def _send_commits(self, batch: list[int]) -> str:
        return self.miner.send("ProveCommitSectors3", {"Sectors": batch, "Process": self.miner.process})

    def _commit_aggregate_wait(self, number: int) -> None:
        found = self.miner.wait_message(self.sectors[number]["CommitMsg"], MESSAGE_CONFIDENCE_EPOCHS)
        code = found["Receipt"]["ExitCode"]
        if code:
            raise CommandError(f"commit message failed: exit code {code}")
        self._enter(number, "FinalizeSector", "event;sealing.SectorProving", "")

    def _finalize_sector(self, number: int) -> None:
        if not self.miner.config.on("Sealing.FinalizeEarly"):
            self._finalize(number)
        state = "Available" if self.miner.config.on("Sealing.MakeCCSectorsAvailable") else "Proving"
        self._enter(number, state, "event;sealing.SectorFinalized", "")

    def _finalize(self, number: int) -> None:
        """Drop the unsealed copy of a CC sector, clear the cache where it lies, then move to a CanStore path."""
        m, sector, kinds = self.miner, self.miner.sector_id(number), ["sealed", "cache"]
        if "FUS" in m.always_tasks and m.index.storage_find(sector, BITS["unsealed"], 0, False):
            self._task(number, "FUS", existing_on(m.index, sector, ["unsealed"], m.sector_bytes, False))
        self._task(number, "FIN", existing_on(m.index, sector, kinds, m.sector_bytes, False))
        m.remove_everywhere(sector, "unsealed")
        remote = not m.config.on("Storage.DisallowRemoteFinalize")
        self._task(number, "GET", move_to(m.index, sector, kinds, m.sector_bytes, remote), None, {"kinds": kinds})

    # failed twins: wait, then go back

    def _back(self, number: int, state: str, event: str) -> None:
        if self.miner.stop.wait(retry_sec()):
            self.closed = True
            return
        self._enter(number, state, f"event;sealing.{event}", "")

    def _seal_pre_commit1_failed(self, number: int) -> None:
        self._back(number, "PreCommit1", "SectorRetrySealPreCommit1")

    def _seal_pre_commit2_failed(self, number: int) -> None:
        retry_from_zero = int(self.sectors[number]["Retries"]) > 2
        self._back(number, "PreCommit1" if retry_from_zero else "PreCommit2", "SectorRetrySealPreCommit2")

    def _pre_commit_failed(self, number: int) -> None:
        if self._on_chain(number):
            self._enter(number, "WaitSeed", "event;sealing.SectorPreCommitLanded", "")
            return
        self._back(number, "SubmitPreCommitBatch", "SectorRetryPreCommit")

    def _compute_proof_failed(self, number: int) -> None:
        self._back(number, "Committing", "SectorRetryComputeProof")

    def _commit_finalize_failed(self, number: int) -> None:
        self._back(number, "CommitFinalize", "SectorRetryFinalize")

    def _commit_failed(self, number: int) -> None:
        self._back(number, "SubmitCommitAggregate", "SectorRetrySubmitCommit")

    def _finalize_failed(self, number: int) -> None:
        self._back(number, "FinalizeSector", "SectorRetryFinalize")

    # views

    def summary(self) -> dict[str, int]:
        out: dict[str, int] = {}
        for sector in list(self.sectors.values()):
            out[sector["State"]] = out.get(sector["State"], 0) + 1
        return out

    def status(self, number: int, on_chain: bool) -> Json:
        sector = self._known(number)
        info = {
            "SectorID": number,
            "State": sector["State"],
            "CommD": cid(sector["CommD"]),
            "CommR": cid(sector["CommR"]),
            "Proof": None,
            "Deals": [0],
            "Pieces": [
                {"Piece": {"Size": self.miner.sector_bytes, "PieceCID": cid(sector["CommD"])}, "DealInfo": None}
            ],
            "Ticket": {"Value": "", "Epoch": sector["TicketEpoch"]},
            "Seed": {"Value": "", "Epoch": sector["SeedEpoch"]},
            "PreCommitMsg": cid(sector["PreCommitMsg"]),
            "CommitMsg": cid(sector["CommitMsg"]),
            "Retries": sector["Retries"],
            "ToUpgrade": False,
            "ReplicaUpdateMessage": None,
            "LastErr": sector["LastErr"],
            "Log": list(sector["Log"]),
            "SealProof": 5,
            "Activation": 0,
            "Expiration": 0,
            "DealWeight": "0",
            "VerifiedDealWeight": "0",
            "InitialPledge": "0",
            "OnTime": 0,
            "Early": 0,
        }
        if on_chain:
            found = self.miner.node("StateSectorGetInfo", [self.miner.actor, number, None])
            if found:
                info.update(Activation=found["Activation"], Expiration=found["Expiration"], OnTime=found["Expiration"])
        return info


FAILED = {
    "PreCommit1": "SealPreCommit1Failed",
    "PreCommit2": "SealPreCommit2Failed",
    "SubmitPreCommitBatch": "PreCommitFailed",
    "PreCommitBatchWait": "PreCommitFailed",
    "WaitSeed": "PreCommitFailed",
    "Committing": "ComputeProofFailed",
    "CommitFinalize": "CommitFinalizeFailed",
    "SubmitCommitAggregate": "CommitFailed",
    "CommitAggregateWait": "CommitFailed",
    "FinalizeSector": "FinalizeFailed",
}
