"""`lotus daemon` of the fork's base version; it also watches what the sector counters of an actor give."""

from __future__ import annotations

import os

from .. import buildinfo
from ..chain import Chain
from ..common import CommandError, Json, actor_number, read_json, write_json
from ..daemon import Daemon
from ..net import Request, Response
from ..p2p import Link
from .config import ForkConfig

STATE_FILE = "counters.json"


class ForkDaemon(Daemon):
    config_kind = ForkConfig

    def _open_chain(self) -> Chain:
        chain = super()._open_chain()
        version = int(chain.genesis["NetworkVersion"])
        if version > buildinfo.NEWEST_NETWORK_VERSION:
            raise CommandError(
                f"the chain has network version {version}, this build knows {buildinfo.NEWEST_NETWORK_VERSION} at most"
            )
        path = self.repo.at("datastore", STATE_FILE)
        # Highest number issued by a counter, and who drew each number, by actor.
        self.counters: Json = read_json(path) if os.path.exists(path) else {"issued": {}, "drawn": {}}
        return chain

    def _http(self, request: Request) -> Response:
        if request.path.startswith("/health/") or request.path == "/rpc/v2":
            return Response(404, b"404 page not found\n")
        return super()._http(request)

    def _methods(self) -> None:
        super()._methods()
        self.rpc.add("write", "StandIn.Number", self._number)
        self.rpc.add("read", "StandIn.Counters", lambda: self.counters)

    def _receive(self, link: Link, message: Json) -> None:
        if message["t"] == "number":
            self._number(message["actor"], message["number"], message["process"], message["draw"], link)
        else:
            super()._receive(link, message)

    def _save_counters(self) -> None:
        write_json(self.repo.at("datastore", STATE_FILE), self.counters)

    def _number(self, actor: str, number: int, process: str, draw: str, link: Link | None = None) -> None:
        """A miner drew a sector number. The same number drawn twice, or one of the chain, is a violation."""
        with self.lock:
            drawn = self.counters["drawn"].setdefault(actor, {})
            before = drawn.get(str(number))
            if before and before["draw"] == draw:
                return
            on_chain = number in self._miner(actor).allocated
            if before or (on_chain and link is None):
                first = before["process"] if before else "the chain"
                self._report("sector-number-twice", f"{actor} sector {number}: given by {first} and to {process}")
            if not before:
                drawn[str(number)] = {"process": process, "draw": draw}
                self._save_counters()
        self.net.broadcast({"t": "number", "actor": actor, "number": number, "process": process, "draw": draw}, link)

    def _presence(self, presence: Json, link: Link | None) -> None:
        fresh = presence["count"] > self.seen_presence.get(presence["process"], 0)
        if fresh and "issued" in presence:
            self._issued(presence["actor"], int(presence["issued"]), presence["process"])
        super()._presence(presence, link)

    def _issued(self, actor: str, issued: int, process: str) -> None:
        with self.lock:
            highest = int(self.counters["issued"].get(actor, -1))
            if issued < highest:
                self._report("counter-backwards", f"{actor} {process}: at {issued}, {highest} was given before")
            elif issued > highest:
                self.counters["issued"][actor] = issued
                self._save_counters()
            top = max(self.chain.miners[actor_number(actor)].allocated, default=-1)
            if issued < top:
                self._report("counter-below-chain", f"{actor} {process}: at {issued}, the chain has {top}")
