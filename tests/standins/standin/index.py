"""The miner's in-memory sector index: who holds what, and which path may take it (storage/paths/index.go)."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from .common import CommandError, Json, actor_number, heartbeat_sec, log
from .paths import BITS, kinds_of, seal_space, store_space, types_allowed


@dataclass
class Store:
    info: Json
    stat: Json
    heartbeat: float = field(default_factory=time.monotonic)
    error: str = ""

    def usable(self, need_bytes: int) -> bool:
        return self.fresh() and not self.error and need_bytes <= int(self.stat.get("Available") or 0)

    def fresh(self) -> bool:
        return time.monotonic() - self.heartbeat <= 5 * heartbeat_sec()


def miner_allowed(info: Json, miner: int) -> bool:
    allow, deny = info.get("AllowMiners") or [], info.get("DenyMiners") or []
    return (not allow or miner in map(actor_number, allow)) and miner not in map(actor_number, deny)


class MemIndex:
    def __init__(self) -> None:
        self.stores: dict[str, Store] = {}
        self.sectors: dict[tuple[int, int, str], dict[str, bool]] = {}
        self.lock = threading.RLock()

    def storage_attach(self, info: Json, stat: Json) -> None:
        with self.lock:
            log("INFO", "stores", f"New sector storage: {info['ID']}")
            known = self.stores.get(info["ID"])
            if known is None:
                self.stores[info["ID"]] = Store(dict(info, URLs=list(info["URLs"])), stat)
                return
            urls = known.info["URLs"]
            urls += [u for u in info["URLs"] if u not in urls]
            # The heartbeat stays as old as it was: a worker back after 50 s is unusable until its next report.
            known.info.update(info, URLs=urls)

    def storage_detach(self, ident: str, url: str) -> None:
        with self.lock:
            known = self.stores.get(ident)
            if known is None:
                raise CommandError(f"storage '{ident}' isn't registered")
            urls = known.info["URLs"]
            if len(urls) == 1 and urls[0] != url:
                raise CommandError(f"not dropping path, requested and index urls don't match ('{url}' != '{urls[0]}')")
            if len(urls) > 1:
                known.info["URLs"] = [u for u in urls if u != url]
                return
            for holders in self.sectors.values():
                holders.pop(ident, None)
            del self.stores[ident]

    def storage_health(self, ident: str, report: Json) -> None:
        with self.lock:
            known = self.stores.get(ident)
            if known is None:
                raise CommandError(f"health report for unknown storage: {ident}")
            known.stat, known.error, known.heartbeat = report["Stat"], report.get("Err") or "", time.monotonic()

    def storage_declare(self, ident: str, sector: Json, kind: str, primary: bool) -> None:
        with self.lock:
            holders = self.sectors.setdefault((sector["Miner"], sector["Number"], kind), {})
            holders[ident] = holders.get(ident, False) or primary

    def storage_drop(self, ident: str, sector: Json, kind: str) -> None:
        with self.lock:
            self.sectors.get((sector["Miner"], sector["Number"], kind), {}).pop(ident, None)

    def holders(self, sector: Json, bits: int) -> dict[str, int]:
        out: dict[str, int] = {}
        for kind in kinds_of(bits):
            for ident in self.sectors.get((sector["Miner"], sector["Number"], kind), {}):
                if ident in self.stores:
                    out[ident] = out.get(ident, 0) + 1
        return out

    def storage_find(self, sector: Json, bits: int, sector_bytes: int, fetch: bool) -> list[Json]:
        with self.lock:
            kinds = kinds_of(bits)
            held = self.holders(sector, bits)
            suffix = f"{'-'.join(kinds)}/s-t0{sector['Miner']}-{sector['Number']}"
            allow: set[str] | None = set()
            out = []
            for ident, count in held.items():
                info = self.stores[ident].info
                if allow is not None and info.get("AllowTo"):
                    allow.update(info["AllowTo"])
                else:
                    allow = None
                primary = any(self.sectors.get((sector["Miner"], sector["Number"], k), {}).get(ident) for k in kinds)
                out.append(self._found(info, suffix, int(info["Weight"]) * count, primary))
            if not fetch:
                return out
            if not held:
                allow = set()  # nobody holds it: nothing is allowed to pull
            need = seal_space(kinds, sector_bytes)
            for ident, store in self.stores.items():
                info = store.info
                if not info.get("CanSeal") or ident in held or not store.usable(need):
                    continue
                if not miner_allowed(info, sector["Miner"]) or not types_allowed(info, kinds):
                    continue
                if allow is not None and not allow & set(info.get("Groups") or []):
                    continue
                out.append(self._found(info, suffix, 0, False))
            return out

    @staticmethod
    def _found(info: Json, suffix: str, weight: int, primary: bool) -> Json:
        return {
            "ID": info["ID"],
            "URLs": [f"{u}/{suffix}" for u in info["URLs"]],
            "BaseURLs": list(info["URLs"]),
            "Weight": weight,
            "CanSeal": info["CanSeal"],
            "CanStore": info["CanStore"],
            "Primary": primary,
            "AllowTypes": info.get("AllowTypes"),
            "DenyTypes": info.get("DenyTypes"),
            "AllowMiners": info.get("AllowMiners"),
            "DenyMiners": info.get("DenyMiners"),
        }

    def storage_info(self, ident: str) -> Json:
        with self.lock:
            if ident not in self.stores:
                raise CommandError("sector store not found")
            return dict(self.stores[ident].info)

    def storage_list(self) -> Json:
        with self.lock:
            out: dict[str, dict[tuple[int, int], int]] = {ident: {} for ident in self.stores}
            for (miner, number, kind), holders in self.sectors.items():
                for ident in holders:
                    if ident in out:
                        out[ident][miner, number] = out[ident].get((miner, number), 0) | BITS[kind]
            return {
                ident: [{"Miner": m, "Number": n, "SectorFileType": bits} for (m, n), bits in sorted(found.items())]
                for ident, found in out.items()
            }

    def storage_best_alloc(self, bits: int, sector_bytes: int, path_type: str, miner: int) -> list[Json]:
        with self.lock:
            kinds = kinds_of(bits)
            sealing = path_type == "sealing"
            need = seal_space(kinds, sector_bytes) if sealing else store_space(kinds, sector_bytes)
            fit = [
                s
                for s in self.stores.values()
                if s.info.get("CanSeal" if sealing else "CanStore") and s.usable(need) and miner_allowed(s.info, miner)
            ]
            if not fit:
                raise CommandError("no good path found")
            fit.sort(key=lambda s: -int(s.stat.get("Available") or 0) * int(s.info["Weight"]))
            return [dict(s.info) for s in fit]
