"""Sector numbers of the fork: from the counter, or from the repo's own where --sctype names neither kind."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

from .. import numbers
from ..common import CommandError, Json, log
from ..sealing import Sealing
from . import grpc

if TYPE_CHECKING:
    from ..miner import Miner


class ForkSealing(Sealing):
    def __init__(self, miner: Miner) -> None:
        super().__init__(miner)
        self.counter_address = ""
        self.input_lock = threading.Lock()

    def _batch_wait_sec(self, what: str) -> float:
        switch = {"PreCommit": "BatchPreCommits", "Commit": "AggregateCommits"}[what]
        return super()._batch_wait_sec(what) if self.miner.config.on(f"Sealing.{switch}") else 0.0

    def pledge(self) -> int:
        with self.input_lock:  # held while the counter is asked: other pledges wait
            self._check_limit()
            try:
                number = self._next_number()
            except CommandError as error:
                raise CommandError(f"getting sector number: {error}") from None
        with contextlib.suppress(CommandError):
            self.miner.node("StandIn.Number", [self.miner.actor, number, self.miner.process, uuid.uuid4().hex])
        log("INFO", "sectors", f"Creating CC sector {number}")
        with self.lock:
            if number in self.sectors:
                log("ERROR", "sectors", f"sector {number}: start event for a sector in {self.sectors[number]['State']}")
                return number
            self._create(number)
        self._spawn(number)
        return number

    def _get_ticket(self, number: int) -> None:
        self.sectors[number]["Ticket"] = uuid.uuid4().hex
        super()._get_ticket(number)

    def _task(
        self,
        number: int,
        task: str,
        select: Callable[..., tuple[bool, bool]],
        prepare: list[str] | None = None,
        arguments: Json = None,
    ) -> Json:
        if task == "PC2":
            arguments = {"ticket": self.sectors[number].get("Ticket")}
        return super()._task(number, task, select, prepare, arguments)

    def _submit_pre_commit_batch(self, number: int) -> None:
        """A number that another miner has precommitted is not sent again: the sector stays where it is."""
        taken = numbers.from_rle(self.miner.node("StateMinerAllocated", [self.miner.actor, None]))
        if numbers.overlap(taken, [(number, number)]) and not self._on_chain(number):
            log("ERROR", "sectors", "sector number already allocated, not proceeding", sector=number)
            self.miner.stop.wait()
            raise CommandError("shutting down")
        super()._submit_pre_commit_batch(number)

    def _next_number(self) -> int:
        if self.counter_address:
            return grpc.call(self.counter_address)
        meta = self.miner.meta
        # The key keeps the last number; it stands still while the counter is asked.
        meta["nextid"] = int(meta["nextid"]) + 1 if "nextid" in meta else 0
        self.miner.save()
        return int(meta["nextid"])
