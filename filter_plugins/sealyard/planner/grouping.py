"""Which hosts seal together, for which miner.

A group is the set of hosts inside which a sector stays from AP to PC2. Groups start as single hosts; the largest
surplus of PC2 is joined with the largest lack of it, first behind one switch, then in one rack, then anywhere, until
the groups lose nothing of what all hosts together could do. Hosts that were in a group stay in it.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Member:
    """A host that does PC1 or PC2: sectors per day of each."""

    name: str
    pc1: float
    pc2: float
    rack: str | None
    switch: str | None
    pinned: str | None


@dataclass(slots=True)
class Group:
    """Hosts that seal together. `kept`: it exists already, so it is never joined with another such group."""

    name: str
    hosts: list[str] = field(default_factory=list)
    pc1: float = 0.0
    pc2: float = 0.0
    kept: bool = False
    place: tuple[str | None, str | None] | None = None

    def add(self, member: Member) -> None:
        place = (member.rack, member.switch)
        self.place = place if not self.hosts else _common(self.place, place)
        self.hosts.append(member.name)
        self.pc1 += member.pc1
        self.pc2 += member.pc2

    def join(self, other: Group) -> None:
        self.place = _common(self.place, other.place) if self.hosts and other.hosts else self.place or other.place
        self.hosts.extend(other.hosts)
        self.pc1 += other.pc1
        self.pc2 += other.pc2
        if other.kept:
            self.name, self.kept = other.name, True

    @property
    def throughput(self) -> float:
        return min(self.pc1, self.pc2)

    @property
    def surplus(self) -> float:
        return self.pc2 - self.pc1


Place = tuple[str | None, str | None] | None


def _common(a: Place, b: Place) -> Place:
    if a is None or b is None or a == b:
        return a if a == b else None
    return (a[0], None) if a[0] == b[0] and a[0] is not None else None


def make_groups(members: Sequence[Member], declared: Sequence[str], current: Mapping[str, str]) -> list[Group]:
    """Return the groups by name. `current` is host to group, for the hosts that must stay where they are."""
    named: dict[str, Group] = {name: Group(name, kept=True) for name in declared}
    free: list[Member] = []
    for member in sorted(members, key=lambda m: m.name):
        home = member.pinned or current.get(member.name)
        if home is None:
            free.append(member)
        else:
            named.setdefault(home, Group(home, kept=True)).add(member)
    if declared:
        _fill_declared(named, list(declared), free)
        return [g for _, g in sorted(named.items())]
    sets = [g for _, g in sorted(named.items())]
    for member in free:
        group = Group("")
        group.add(member)
        sets.append(group)
    for level in ("switch", "rack", "all"):
        sets = _join_within(sets, level)
    sets = _adopt_rest(sets)
    _name(sets, set(named) | set(current.values()))
    return sorted(sets, key=lambda g: g.name)


def _fill_declared(named: dict[str, Group], declared: list[str], free: list[Member]) -> None:
    """Spread hosts over the declared groups: PC2 to the group with least of it, PC1 to the one that lacks it most."""
    for member in sorted(free, key=lambda m: (-m.pc2, -m.pc1, m.name)):
        if member.pc2:
            named[min(declared, key=lambda n: (named[n].pc2, n))].add(member)
    for member in sorted(free, key=lambda m: (-m.pc1, m.name)):
        if not member.pc2:
            named[max(declared, key=lambda n: (named[n].surplus, n))].add(member)


def _locality(group: Group, level: str) -> object:
    if level == "all" or group.place is None:
        return None if level == "all" else ("?", group.name, id(group) if not group.name else 0)
    rack, switch = group.place
    if level == "switch":
        return ("switch", rack, switch) if switch is not None else _locality(group, "rack")
    return ("rack", rack) if rack is not None else ("none",)


def _join_within(sets: list[Group], level: str) -> list[Group]:
    by_place: dict[object, list[Group]] = defaultdict(list)
    for group in sets:
        by_place[_locality(group, level)].append(group)
    return [group for groups in by_place.values() for group in _join(groups)]


def _join(groups: list[Group]) -> list[Group]:
    """Join the largest surplus with the largest lack until no sector per day is lost here."""
    bound = min(sum(g.pc1 for g in groups), sum(g.pc2 for g in groups))
    lost = bound - sum(g.throughput for g in groups)
    heaps: dict[tuple[bool, bool], list[tuple[float, str, int]]] = defaultdict(list)
    alive: dict[int, Group] = {}

    def push(group: Group, number: int) -> None:
        alive[number] = group
        if group.surplus:
            heap = heaps[group.surplus > 0, group.kept]
            heapq.heappush(heap, (-abs(group.surplus), group.hosts[0] if group.hosts else group.name, number))

    def top(more: bool, kept: bool) -> int | None:
        heap = heaps[more, kept]
        while heap and heap[0][2] not in alive:
            heapq.heappop(heap)
        return heap[0][2] if heap else None

    for number, group in enumerate(groups):
        push(group, number)
    serial = len(groups)
    while lost > 1e-9 * (1 + bound):
        best: tuple[float, int, int] | None = None
        for kept_more, kept_less in ((False, False), (True, False), (False, True)):
            more, less = top(True, kept_more), top(False, kept_less)
            if more is None or less is None:
                continue
            gain = min(alive[more].surplus, -alive[less].surplus)
            if best is None or gain > best[0] + 1e-12:
                best = (gain, more, less)
        if best is None:
            break
        gain, more, less = best
        group, other = alive.pop(more), alive.pop(less)
        group.join(other)
        lost -= gain
        push(group, serial)
        serial += 1
    return list(alive.values())


def _adopt_rest(sets: list[Group]) -> list[Group]:
    """A new host that found no partner joins the group where it is needed most: alone it can seal nothing."""
    whole = [g for g in sets if (g.pc1 and g.pc2) or g.kept]
    rest = [g for g in sets if not ((g.pc1 and g.pc2) or g.kept)]
    pc1_only = [g for g in rest if g.pc1]
    pc2_only = [g for g in rest if not g.pc1]
    while pc1_only and pc2_only:
        group, other = pc1_only.pop(0), pc2_only.pop(0)
        group.join(other)
        whole.append(group)
    if not whole:
        return rest
    for group in sorted(pc1_only + pc2_only, key=lambda g: g.hosts[0]):
        lacking = bool(group.pc1)
        near = [g for g in whole if g.place is not None and g.place == group.place] or whole
        pick = max(near, key=lambda g: (g.surplus if lacking else -g.surplus, g.hosts[0] if g.hosts else g.name))
        pick.join(group)
    return whole


def _name(sets: list[Group], taken: set[str]) -> None:
    number = 0
    width = len(str(len(sets)))
    for group in sorted(sets, key=lambda g: min(g.hosts, default="")):
        group.hosts.sort()
        if group.kept:
            continue
        while not group.name or group.name in taken:
            number += 1
            group.name = f"g{number:0{width}d}"
        taken.add(group.name)


def share_out(weights: Mapping[str, float], shares: Mapping[str, float], fixed: Mapping[str, str]) -> dict[str, str]:
    """Give each item (group or C2 host) to one owner so that the owners' sums come near their shares."""
    owners = {item: owner for item, owner in fixed.items() if owner in shares}
    sums: dict[str, float] = dict.fromkeys(shares, 0.0)
    for item, owner in owners.items():
        sums[owner] += weights.get(item, 0.0)
    total = sum(weights.values()) or 1.0
    scale = sum(shares.values()) or 1.0
    for item in sorted(weights, key=lambda i: (-weights[i], i)):
        if item in owners:
            continue
        candidates = [o for o in shares if shares[o] > 0] or list(shares)
        owner = max(sorted(candidates), key=lambda o: shares[o] / scale * total - sums[o])
        owners[item] = owner
        sums[owner] += weights[item]
    return owners
