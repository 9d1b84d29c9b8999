"""Storage paths and the index as 1.12 with the fork's additions has them: no groups, DEBUG lines for each refusal."""

from __future__ import annotations

import os
import time

from .. import buildinfo
from ..common import Json, duration_text, heartbeat_sec, sector_name
from ..index import MemIndex, Store
from ..paths import BITS, LocalStore, kinds_of, seal_space, store_space
from .limits import ignores_space
from .logs import debug

PLENTY_BYTES = (1 << 63) - 1


class ForkStore(LocalStore):
    meta_keys = frozenset(("ID", "Weight", "CanSeal", "CanStore", "MaxStorage"))

    def open(self, path: str) -> None:
        """A second path with the ID of an open one takes its place."""
        self.paths.pop(str(self.read_meta(path).get("ID", "")), None)
        super().open(path)

    def _info(self, meta: Json) -> Json:
        return super()._info({key: value for key, value in meta.items() if key in self.meta_keys})

    def stat(self, ident: str) -> Json:
        stat = super().stat(ident)
        if buildinfo.GENERATION == 2 and ignores_space(self.paths[ident][0]):
            stat.update(Available=PLENTY_BYTES, FSAvailable=PLENTY_BYTES)
        return stat

    def find(self, sector: Json, kind: str) -> tuple[str, str] | None:
        """What nobody declared is looked for in the stores of this process, and declared."""
        known = super().find(sector, kind)
        if known or self.index.storage_find(sector, BITS[kind], 0, False):
            return known
        for ident, (path, meta) in list(self.paths.items()):
            place = os.path.join(path, kind, sector_name(sector["Miner"], sector["Number"]))
            if meta.get("CanStore") and os.path.exists(place):
                self.index.storage_declare(ident, sector, kind, True)
                return place, ident
        return None

    def scratch(self) -> list[str]:
        """Roots of the paths that are no stores: what the disk quota counts."""
        return [path for path, meta in list(self.paths.values()) if not meta.get("CanStore")]

    def sealing_ids(self) -> set[str]:
        return {ident for ident, (_, meta) in list(self.paths.items()) if meta.get("CanSeal")}


class ForkIndex(MemIndex):
    def holders(self, sector: Json, bits: int) -> dict[str, int]:
        with self.lock:  # the scheduler asks from a thread of its own
            return super().holders(sector, bits)

    def storage_find(self, sector: Json, bits: int, sector_bytes: int, fetch: bool) -> list[Json]:
        if fetch:
            held = self.holders(sector, bits)
            for ident, store in list(self.stores.items()):
                if store.info.get("CanSeal") and ident not in held:
                    self._explain("selecting", ident, store, seal_space(kinds_of(bits), sector_bytes))
        return super().storage_find(sector, bits, sector_bytes, fetch)

    def storage_best_alloc(self, bits: int, sector_bytes: int, path_type: str, miner: int) -> list[Json]:
        sealing = path_type == "sealing"
        need = (seal_space if sealing else store_space)(kinds_of(bits), sector_bytes)
        for ident, store in list(self.stores.items()):
            if store.info.get("CanSeal" if sealing else "CanStore"):
                self._explain("allocating", ident, store, need)
        return super().storage_best_alloc(bits, sector_bytes, path_type, miner)

    @staticmethod
    def _explain(what: str, ident: str, store: Store, need: int) -> None:
        silent = time.monotonic() - store.heartbeat
        available = int(store.stat.get("Available") or 0)
        if need > available:
            debug("stores", f"not {what} on {ident}, out of space (available: {available}, need: {need})")
        elif silent > 5 * heartbeat_sec():
            debug("stores", f"not {what} on {ident}, didn't receive heartbeats for {duration_text(silent)}")
        elif store.error:
            debug("stores", f"not {what} on {ident}, heartbeat error: {store.error}")
