"""How often how many sectors a timer may pledge, out of what the plan carries."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sealyard.errors import SealyardError
from sealyard.lotus.figures import DAY_SEC
from sealyard.plan.types import Counter


class TooMuch(SealyardError):
    """A pace that the plan does not carry: what is written, what is wrong with it, and what to write instead."""

    def __init__(self, variable: str, value: object, problem: str, remedy: str) -> None:
        super().__init__(f"{variable} is {value}: {problem}. Write {remedy}")
        self.variable, self.value, self.problem, self.remedy = variable, str(value), problem, remedy


def pledge_pace(
    plan: Mapping[str, Any], host: str, role: str, mode: str, sectors: int, interval_sec: int
) -> dict[str, Any]:
    """Rule for the sealing miner `role` of `host`, as the keys of what it returns.

    `sectors` and `interval_sec` 0 mean the plan's own pace: in mode batch every PC1 slot at once, in mode smooth one at
    a time. `counter` is HOST:PORT of the sector counter, "" where the stack has none. Raises TooMuch.
    """
    served = [
        worker
        for part in plan["hosts"].values()
        for worker in part.get("workers", [])
        if (worker["miner"], worker["miner_role"]) == (host, role) and "PC1" in worker["tasks"]
    ]
    slots = sum(int(worker["concurrency"]["PC1"]) for worker in served)
    per_day = float(plan["capacity"]["miners"].get(f"{host}/{role}", {}).get("sectors_per_day") or 0)
    if not slots or not per_day:
        problem = f"makes the {role} miner of {host} pledge, which has no PC1 worker"
        raise TooMuch("sealing_pledging", mode, problem, "sealing_pledging: manual")
    count = 1 if mode == "smooth" else sectors or slots
    if mode == "smooth" and sectors > 1:
        problem = "is more than the one at a time of sealing_pledging smooth"
        raise TooMuch("pledging_sectors", sectors, problem, "sealing_pledging: batch, or leave it out")
    if count > slots:
        problem = f"is more than the {slots} PC1 slots of the plan"
        raise TooMuch("pledging_sectors", count, problem, f"pledging_sectors: {slots} at most")
    least_sec = math.ceil(count * DAY_SEC / per_day)
    if interval_sec and interval_sec < least_sec:
        problem = f"is faster than the {per_day:g} sectors a day that the plan seals"
        remedy = f"pledging_interval_sec: {least_sec} at least, for {count} at a time"
        raise TooMuch("pledging_interval_sec", interval_sec, problem, remedy)
    counter = plan.get("counter")
    return {
        "sectors": count,
        "interval_sec": interval_sec or least_sec,
        "pc1_slots": slots,
        "held_max": sum(int(worker["scratch"]["sectors"] or worker["concurrency"]["PC1"]) for worker in served),
        # Where one worker does PC1 and PC2, a sector stays on its scratch until it is finalized.
        "held_to_the_end": any("PC2" in worker["tasks"] for worker in served),
        "counter": Counter(**counter).listen if counter else "",
    }


def pledge_rule(
    plan: Mapping[str, Any], host: str, role: str, mode: str, sectors: int, interval_sec: int
) -> dict[str, Any]:
    """`pledge_pace`, with the host in the words of its refusal."""
    try:
        return pledge_pace(plan, host, role, mode, sectors, interval_sec)
    except TooMuch as error:
        raise SealyardError(f"{host}: {error}") from error
