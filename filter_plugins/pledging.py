"""Filter of role pledging: how often how many sectors, out of what the plan carries."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

DAY_SEC = 86400


def pledge_rule(
    plan: Mapping[str, Any], host: str, role: str, mode: str, sectors: int, interval_sec: int
) -> dict[str, Any]:
    """Rule for the sealing miner `role` of `host`, as the keys of what it returns.

    `sectors` and `interval_sec` 0 mean the plan's own pace: in mode batch every PC1 slot at once, in mode smooth one at
    a time. `counter` is HOST:PORT of the sector counter, "" where the stack has none. Raises AnsibleFilterError for a
    pace that the plan does not carry.
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
        raise AnsibleFilterError(
            f"{host}: sealing_pledging is {mode}, and the {role} miner here has no PC1 worker. "
            "Write sealing_pledging: manual"
        )
    count = 1 if mode == "smooth" else sectors or slots
    if mode == "smooth" and sectors > 1:
        raise AnsibleFilterError(
            f"{host}: pledging_sectors is {sectors}, and sealing_pledging smooth "
            "pledges one at a time. Write batch, or leave it out"
        )
    if count > slots:
        raise AnsibleFilterError(
            f"{host}: pledging_sectors is {count}, and the plan has {slots} PC1 slots. Write at most {slots}"
        )
    least_sec = math.ceil(count * DAY_SEC / per_day)
    if interval_sec and interval_sec < least_sec:
        raise AnsibleFilterError(
            f"{host}: pledging_interval_sec is {interval_sec}, and the plan seals {per_day:g} sectors a day. "
            f"Write at least {least_sec} for {count} at a time"
        )
    flags = plan["miners"][host]["instances"][role].get("flags") or []
    counter = [flag.partition("=")[2] for flag in flags if flag.startswith("--sclisten=")]
    return {
        "sectors": count,
        "interval_sec": interval_sec or least_sec,
        "pc1_slots": slots,
        "held_max": sum(int(worker["scratch"]["sectors"] or worker["concurrency"]["PC1"]) for worker in served),
        # Where one worker does PC1 and PC2, a sector stays on its scratch until it is finalized.
        "held_to_the_end": any("PC2" in worker["tasks"] for worker in served),
        "counter": counter[0] if counter else "",
    }


class FilterModule:
    """Ansible's view of this file."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"pledge_rule": pledge_rule}
