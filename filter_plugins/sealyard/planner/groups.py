"""Which hosts seal together and for which miner, and what that moves against the plan applied last."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from sealyard.plan.types import Move, Owner
from sealyard.planner.capacity import HostReport
from sealyard.planner.document import Document, Host
from sealyard.planner.grouping import Group, Member, share_out
from sealyard.planner.throughput import c2_cost
from sealyard.problem import Problem


def seals(report: HostReport, host: Host) -> bool:
    """Whether a host belongs into a group: it does PC1 or PC2, or somebody has put it into one."""
    return bool(report.workers["PC1"] or report.workers["PC2"] or (host.group and host.tasks & {"PC1", "PC2"}))


def member_of(host: Host, report: HostReport, shares: Mapping[float, float], pin: str | None) -> Member:
    """A host as grouping sees it: a share of the day of workers that do PC2 and C2 counts for PC2."""
    supply = report.supply
    share = shares.get(c2_cost(supply), 1.0)
    return Member(host.name, supply.pc1, supply.pc2 + share * supply.both_pc2, host.rack, host.switch, pin)


def pin_of(doc: Document, host: Host) -> str | None:
    if host.group is None:
        return None
    if doc.groups and host.group not in doc.groups:
        near = difflib.get_close_matches(host.group, doc.groups, n=1, cutoff=0.3)
        doc.errors.append(
            Problem(
                path=f"hosts.{host.name}.group",
                value=host.group,
                problem="is not one of sealing_groups",
                remedy=near[0] if near else f"one of {', '.join(sorted(doc.groups))}",
            )
        )
        return near[0] if near else None
    return host.group


def current_groups(doc: Document) -> dict[str, str]:
    groups: Mapping[str, Any] = doc.current.get("groups") or {}
    return {
        str(host): str(name)
        for name, group in groups.items()
        if isinstance(group, Mapping)
        for host in group.get("hosts") or ()
        if host in doc.hosts
    }


def without_broken(keep: dict[str, str], members: list[Member]) -> dict[str, str]:
    """Groups that lost their PC1 or PC2 hosts give their hosts up for regrouping."""
    able: dict[str, set[str]] = {}
    for member in members:
        if member.name in keep:
            able.setdefault(keep[member.name], set()).update(
                task for task, rate in (("PC1", member.pc1), ("PC2", member.pc2)) if rate
            )
    return {host: group for host, group in keep.items() if able[group] == {"PC1", "PC2"}}


def judge_groups(doc: Document, groups: list[Group], reports: Mapping[str, HostReport], warnings: list[str]) -> None:
    """Tell of groups that cannot seal: errors go to the document, the rest to the warnings."""
    unread = [host.name for host in doc.hosts.values() if host.tasks and host.hardware is None]
    for group in groups:
        done = {task for name in group.hosts for task in ("PC1", "PC2") if reports[name].workers[task]}
        if not group.hosts:
            warnings.append(f"group {group.name} has no worker host")
        elif "PC2" not in done and not unread:
            regroup = "" if doc.settings.allow_regroup else ", or sealing_allow_regroup: true after a drain"
            doc.errors.append(
                Problem(
                    path=f"groups.{group.name}",
                    value=", ".join(sorted(group.hosts)),
                    problem="has PC1 but no PC2: its sectors would wait in PreCommit2 for ever",
                    remedy=f"add a pc2_worker host to the group{regroup}",
                )
            )
        elif "PC1" not in done:
            warnings.append(f"group {group.name} has PC2 but no PC1: {', '.join(sorted(group.hosts))} stay idle")


def assign_groups(doc: Document, groups: list[Group], miners: list[Owner]) -> dict[str, Owner]:
    by_name: dict[str, list[Owner]] = {}
    for owner in miners:
        by_name.setdefault(owner[0], []).append(owner)
    fixed: dict[str, Owner] = {}
    old = doc.current.get("groups") or {}
    for group in groups:
        declared = doc.groups.get(group.name)
        if declared is not None:
            owners = by_name.get(declared)
            if owners:
                fixed[group.name] = owners[0]
            elif doc.hosts:
                near = difflib.get_close_matches(declared, by_name, n=1, cutoff=0.3)
                doc.errors.append(
                    Problem(
                        path=f"groups.{group.name}.miner",
                        value=declared,
                        problem="is not a seal or deal miner of the inventory",
                        remedy=near[0] if near else f"one of {', '.join(sorted(by_name)) or 'the seal_miner hosts'}",
                    )
                )
            continue
        was = old.get(group.name)
        if isinstance(was, Mapping) and (was.get("miner"), was.get("miner_role", "seal")) in miners:
            fixed[group.name] = (str(was["miner"]), str(was.get("miner_role", "seal")))
    if not miners:
        return {}
    seals = [m for m in miners if m[1] == "seal"]
    deals = [m for m in miners if m[1] == "deal"]
    share = doc.settings.deal_share if deals and seals else float(bool(deals))
    shares = {_key(m): (1 - share) / len(seals) for m in seals} | {_key(m): share / len(deals) for m in deals}
    owner_of = {_key(m): m for m in miners}
    given = share_out({g.name: g.throughput for g in groups}, shares, {g: _key(m) for g, m in fixed.items()})
    return {group: owner_of[key] for group, key in given.items()}


def _key(owner: Owner) -> str:
    return f"{owner[0]}/{owner[1]}"


def one_group_per_miner(
    groups: list[Group], miner_of_group: Mapping[str, Owner], reports: Mapping[str, HostReport], warnings: list[str]
) -> list[Group]:
    """The fork has no Groups and AllowTo: hosts that share a miner and cannot seal alone are one group."""
    open_group: dict[Owner, Group] = {}
    left: list[Group] = []
    for group in groups:
        owner = miner_of_group.get(group.name)
        alone = all(reports[h].workers["PC1"] and reports[h].workers["PC2"] for h in group.hosts)
        if owner is None or (alone and len(group.hosts) == 1):
            left.append(group)
        elif owner not in open_group:
            open_group[owner] = group
            left.append(group)
        elif group.kept and open_group[owner].kept:
            left.append(group)
            warnings.append(
                f"groups {open_group[owner].name} and {group.name} share the miner {owner[0]}: the fork cannot keep "
                "their sectors apart; give each a miner of its own"
            )
        else:
            open_group[owner].join(group)
            open_group[owner].hosts.sort()
    return left


def group_ids(doc: Document, groups: list[Group]) -> dict[str, int]:
    """Numbers of the groups; a group keeps the number it had."""
    old = doc.current.get("groups") or {}
    hosts = doc.current.get("hosts") or {}
    ids: dict[str, int] = {}
    for name, group in old.items():
        known = [hosts.get(host, {}).get("group_id") for host in group.get("hosts") or ()]
        ids.update({str(name): number for number in known if number})
    for group in groups:
        if group.name not in ids:
            ids[group.name] = max(ids.values(), default=0) + 1
    return ids


def assign_pool(
    doc: Document,
    pool: list[str],
    reports: Mapping[str, HostReport],
    miners: Sequence[Owner],
    groups: list[Group],
    miner_of_group: dict[str, Owner],
) -> dict[str, Owner]:
    """Hosts outside groups serve one miner each, C2 hosts shared out as the groups' throughput is.

    One that only unseals or snaps serves the miner that takes in deals, where there is one.
    """
    shares: dict[str, float] = {}
    owner_of = {_key(owner): owner for owner in miners}
    for group in groups:
        owner = miner_of_group.get(group.name)
        if owner is not None:
            shares[_key(owner)] = shares.get(_key(owner), 0.0) + group.throughput
    old = doc.current.get("hosts") or {}
    fixed: dict[str, str] = {}
    for name in pool:
        workers = (old.get(name) or {}).get("workers") or [{}]
        fixed[name] = f"{workers[0].get('miner')}/{workers[0].get('miner_role', 'seal')}"
    beside = [name for name in pool if reports[name].beside and not reports[name].workers["C2"]]
    deals = {key: 1.0 for key, owner in owner_of.items() if owner[1] == "deal"}
    found: dict[str, str] = {}
    for names, wanted, weights in (
        (set(pool) - set(beside), shares, {name: reports[name].supply.c2 for name in pool}),
        (set(beside), deals or shares, {name: sum(reports[name].beside.values()) for name in pool}),
    ):
        # Without a group there is nothing to go by.
        wanted = wanted or dict.fromkeys(owner_of, 1.0)
        if wanted:
            own = {name: weights[name] for name in pool if name in names}
            found.update(share_out(own, wanted, {name: fixed[name] for name in own if fixed[name] in wanted}))
    return {name: owner_of[key] for name, key in found.items()}


def moves_of(doc: Document, group_of: dict[str, str], miner_of_group: dict[str, Owner]) -> list[Move]:
    """Hosts that may hold sectors and would leave their group, or whose group would change its miner."""
    found: list[Move] = []
    old: Mapping[str, Any] = doc.current.get("groups") or {}
    before = current_groups(doc)
    for host in sorted(before):
        was, now = before[host], group_of.get(host)
        if now is None:
            continue
        # On its way to one miner a sector is Proving before the others are stopped, so nothing is left behind.
        old_miner = old[was].get("miner") if doc.settings.miner_layout == "split" else None
        new_miner = (miner_of_group.get(now) or (None, None))[0]
        if was != now:
            found.append(Move(host, was, now, "group", True))
        elif old_miner is not None and new_miner is not None and old_miner != new_miner:
            found.append(Move(host, old_miner, new_miner, "miner", True))
    return found
