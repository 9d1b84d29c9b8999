"""The miner processes of the actor: which there are, which sector numbers are theirs, and who counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from sealyard.plan.paths import store_path
from sealyard.plan.types import Counter, InstancePlan, MinerPlan, Owner
from sealyard.planner.document import Document, Host, Settings
from sealyard.problem import Problem
from sealyard.stacks import Stack

POST_DUTIES: Final = ("winning", "window")


def sealing_miners(doc: Document) -> list[Owner]:
    """Return the seal and deal miners; what is wrong with them is added to the document's errors."""
    found: list[Owner] = [
        (h.name, role) for h in doc.hosts.values() for role in ("seal", "deal") if role in h.miner_roles
    ]
    works = any(h.tasks for h in doc.hosts.values())
    if works and not found:
        remedy = "put one host into the group seal_miner"
        doc.errors.append(Problem("hosts", None, "workers but no seal miner to serve", remedy))
    deals = [name for name, role in found if role == "deal"]
    if len(deals) > 1:
        remedy = f"keep {deals[0]} in deal_miner and put the others into seal_miner"
        doc.errors.append(Problem("deal_miner", ", ".join(deals), "more than one deal miner", remedy))
    if not deals and doc.settings.deal_share:
        problem = "a share for the deal miner, but no deal_miner host"
        doc.errors.append(Problem("settings.deal_share", doc.settings.deal_share, problem, "sealing_deal_share: 0"))
    return found


def is_single(settings: Settings, host: Host) -> bool:
    """Whether the host's one miner process does everything."""
    return settings.miner_layout == "single" and "seal" in host.miner_roles


def retire_all_but_one(doc: Document, split: list[Owner]) -> list[Owner]:
    """Return the one sealing miner of layout single; the document loses all others, in place."""
    if doc.settings.miner_layout != "single":
        return split
    kept = next((owner for owner in split if owner[1] == "seal"), None)
    for host in doc.hosts.values():
        host.miner_roles = ("seal",) if kept and host.name == kept[0] else ()
    if kept is None:
        return []
    doc.groups = {name: kept[0] if miner else None for name, miner in doc.groups.items()}
    return [kept]


def find_counter(doc: Document, stack: Stack) -> Counter | None:
    """Return the process that gives out sector numbers: on the host that the inventory names, else the winning one."""
    if stack.counter_port is None:
        return None
    named = next((h for h in doc.hosts.values() if "sector_counter" in h.roles and h.miner_roles), None)
    host = named or next((h for h in doc.hosts.values() if "winning" in h.miner_roles), None)
    return Counter(host.name, host.miner_roles[0], host.address, stack.counter_port) if host else None


def plan_miners(
    doc: Document,
    stack: Stack,
    sealing: Sequence[Owner],
    split: Sequence[Owner],
    miner_of_group: Mapping[str, Owner],
    counter: Counter | None,
) -> dict[str, MinerPlan]:
    """Return the miners by host, and per role its sector numbers: ranges never change once given.

    `split` are the sealing miners of layout split, whose ranges stay theirs while they are retired.
    """
    ranges = sector_ranges(doc, split)
    peer = next((m for m in sealing if m[1] == "deal"), sealing[0] if sealing else None)
    winning = next((h.name for h in doc.hosts.values() if "winning" in h.miner_roles), None)
    found: dict[str, MinerPlan] = {}
    for host in doc.hosts.values():
        if not host.miner_roles:
            continue
        single = is_single(doc.settings, host)
        instances: dict[str, InstancePlan] = {}
        for role in host.miner_roles:
            owner = (host.name, role)
            allocates = counter is not None and owner == (counter.host, counter.role)
            flags = stack.miner_flags(role, counter.listen if counter else None, allocates)
            instances[role] = InstancePlan(
                groups=tuple(sorted(g for g, m in miner_of_group.items() if m == owner)),
                sector_numbers=ranges.get(owner),
                reserve={f"{r}-{n}": numbers for (n, r), numbers in sorted(ranges.items()) if (n, r) != owner}
                if owner in ranges
                else {},
                flags=None if flags is None else tuple(flags),
                duties=POST_DUTIES if single else None,
            )
        seals = next((i for i in instances.values() if i.sector_numbers), None)
        found[host.name] = MinerPlan(
            roles=host.miner_roles,
            groups=tuple(sorted(g for i in instances.values() for g in i.groups)),
            sector_numbers=seals.sector_numbers if seals else None,
            reserve=seals.reserve if seals else {},
            instances=instances,
            peer_id_owner=peer is not None and host.name == peer[0],
            f3=host.name == winning or single,
            paths=tuple(store_path(doc.settings.actor, name, path, ()) for name, path in host.stores),
        )
    return found


def sector_ranges(doc: Document, sealing: Sequence[Owner]) -> dict[Owner, str]:
    """Return disjoint ranges of sector numbers; a miner keeps the range it had, a new one gets the next free range."""
    kept: dict[Owner, str] = {}
    end = -1
    for name, miner in (doc.current.get("miners") or {}).items():
        for role, instance in (miner.get("instances") or {}).items():
            numbers = instance.get("sector_numbers")
            if numbers:
                end = max(end, int(str(numbers).split("-")[1]))
                kept[(name, role)] = str(numbers)
    found = {owner: kept[owner] for owner in sealing if owner in kept}
    start = max(end + 1, doc.settings.sector_number_start)
    for owner in sorted(sealing, key=lambda m: (m[1] != "seal", m[0])):
        if owner not in found:
            length = doc.settings.sectors_per_miner
            last = (start // length + 1) * length - 1
            found[owner] = f"{start}-{last}"
            start = last + 1
    return found
