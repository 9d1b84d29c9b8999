"""Filters of role network_check: which pairs to measure and when, floors, verdicts, and what is kept on hosts."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

GBIT = 10**9
BANDWIDTH_SHARE = 0.85
"""Share of the link's speed that verbs must reach: 85 Gb/s of 100 (92.4 was measured on ConnectX-5 and SN2700)."""
MOUNT_FLOORS = {
    100 * GBIT: {"pc2_read": 4.0e9, "pc1_write": 2.0e9},
    25 * GBIT: {"pc2_read": 2.2e9, "pc1_write": 2.0e9},
    10 * GBIT: {"pc2_read": 0.9e9, "pc1_write": 0.9e9},
}
"""Bytes per second that one mount must reach, by the speed of the link; advice, to be calibrated on the real hosts."""
LINK_FLOORS = ("bandwidth_bits_per_sec", "latency_usec", "lost")
PLANNED = "planned_bits_per_sec"
FIGURES = ("bytes_per_sec", "p99_usec", "msg")
LATENCY_USEC = 20.0
"""A write of 4 KiB over one switch takes 3 to 4; more than this means another way than RDMA hardware."""


def check_rounds(hosts: Sequence[str], most_pairs: int = 16) -> list[list[tuple[str, str]]]:
    """All pairs of hosts in rounds in which nobody is in two pairs: each link is measured alone at both of its ends.

    At most `most_pairs` run at once, because both hosts of a pair must run in the same moment.
    """
    ring: list[str | None] = [*sorted(hosts)]
    if len(ring) % 2:
        ring.append(None)
    rounds: list[list[tuple[str, str]]] = []
    for _ in range(len(ring) - 1):
        half = len(ring) // 2
        pairs = [
            (min(one, other), max(one, other))
            for one, other in zip(ring[:half], reversed(ring[half:]), strict=True)
            if one is not None and other is not None
        ]
        rounds += [sorted(pairs)[start : start + most_pairs] for start in range(0, len(pairs), most_pairs)]
        ring = [ring[0], ring[-1], *ring[1:-1]]
    return rounds


def identity_key(identity: Mapping[str, Any]) -> str:
    """Digest of what a host's measurements depend on: kernel, firmware, driver, MTU, and the options of its mounts."""
    text = json.dumps({key: value for key, value in identity.items() if key != PLANNED}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def pair_key(one: str, other: str) -> str:
    """Digest of a link from the keys of its two hosts, the same from both ends."""
    return hashlib.sha256("/".join(sorted((one, other))).encode()).hexdigest()[:16]


def rdma_identities_due_rounds(
    identities: Mapping[str, Mapping[str, Any]],
    records: Mapping[str, Mapping[str, Any]],
    again: bool,
    most_pairs: int = 16,
) -> list[list[list[str]]]:
    """Rounds of the pairs of one network that were not measured since either host changed (all with `again`)."""
    keys = {host: identity_key(identity) for host, identity in identities.items()}

    def known(one: str, other: str) -> bool:
        kept = (records.get(one) or {}).get("links", {}).get(other) or {}
        return not again and not kept.get("trouble") and kept.get("key") == pair_key(keys[one], keys[other])

    def linked(one: str, other: str) -> bool:
        return bool(identities[one]["network"] == identities[other]["network"])

    due = [
        [[one, other] for one, other in pairs if linked(one, other) and not known(one, other)]
        for pairs in check_rounds(list(identities), most_pairs)
    ]
    return [pairs for pairs in due if pairs]


def network_round_part(pairs: Sequence[Sequence[str]], host: str) -> dict[str, Any]:
    """Part of a host in a round: {state serve|measure, peer}; {} when it rests."""
    for one, other in pairs:
        if host == one:
            return {"state": "serve", "peer": other}
        if host == other:
            return {"state": "measure", "peer": one}
    return {}


def host_rdma_identities(
    hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]], speeds: Mapping[str, int]
) -> dict[str, dict[str, Any]]:
    """What each host says of itself, with the speed that the plan (`speeds`, bits per second) knows of its card."""
    found = host_variable_values(hosts, hostvars, "network_check_self", "identity")
    return {host: {**one, PLANNED: int(speeds.get(host) or 0)} for host, one in found.items()}


def _built_for(identity: Mapping[str, Any]) -> int:
    """Bits per second; a card that has agreed on less than the plan says is judged by the plan."""
    return max(int(identity["speed_bits_per_sec"]), int(identity.get(PLANNED, 0)))


def link_floors(
    one: Mapping[str, Any], other: Mapping[str, Any], floors: Mapping[str, Any] | None = None
) -> dict[str, float]:
    """Floors of a link from the slower of its two cards; where one is emulated, only those that the operator gives."""
    own = {key: float(value) for key, value in (floors or {}).items() if key in LINK_FLOORS}
    if one["soft"] or other["soft"]:
        return own
    speed = min(_built_for(one), _built_for(other))
    return {"bandwidth_bits_per_sec": speed * BANDWIDTH_SHARE, "latency_usec": LATENCY_USEC, "lost": 0.0, **own}


def mount_floor(identity: Mapping[str, Any], profile: str, floors: Mapping[str, Any] | None = None) -> float:
    """Bytes per second a mount must reach; 0 where the card is emulated or slower than any that was ever tried."""
    if floors and f"{profile}_bytes_per_sec" in floors:
        return float(floors[f"{profile}_bytes_per_sec"])
    if identity["soft"]:
        return 0.0
    fitting = [speed for speed in MOUNT_FLOORS if speed <= _built_for(identity)]
    return MOUNT_FLOORS[max(fitting)][profile] if fitting else 0.0


def link_problems(pair: Sequence[str], measured: Mapping[str, Any], floors: Mapping[str, float]) -> list[str]:
    """What is wrong with a link: a program that did not come through always, figures where there are floors."""
    name = f"{pair[0]} - {pair[1]}"
    if measured.get("trouble"):
        return [f"{name}: {measured['trouble'][0]}: look at cable, VLAN, MTU and the RDMA device of both"]
    problems = []
    if measured["bandwidth_bits_per_sec"] < floors.get("bandwidth_bits_per_sec", 0):
        problems.append(
            f"{name}: {_gbit(measured['bandwidth_bits_per_sec'])}, at least {_gbit(floors['bandwidth_bits_per_sec'])} "
            "are wanted: look at speed and PCIe lanes of both cards, at PFC and ECN of the switch"
        )
    if measured["latency_usec"] > floors.get("latency_usec", math.inf):
        problems.append(
            f"{name}: {measured['latency_usec']:.1f} us, at most {floors['latency_usec']:g} are wanted: "
            "the way is not direct, or the CPUs sleep"
        )
    lost = sum(measured.get("lost", {}).values())
    if lost > floors.get("lost", math.inf):
        names = ", ".join(f"{key} {value}" for key, value in sorted(measured["lost"].items()))
        problems.append(f"{name}: lost or repeated {lost} packets ({names}): check PFC of the switch ports and cables")
    return problems


def mount_problems(host: str, path: str, profile: str, measured: Mapping[str, Any], floor: float) -> list[str]:
    """What is wrong with a mount."""
    if not measured.get("bytes_per_sec"):
        return [f"{host}: {measured.get('msg') or f'{path} was not measured'}"]
    if measured["bytes_per_sec"] < floor:
        what = "writes as PC1" if profile == "pc1_write" else "reads as PC2"
        return [
            f"{host}: {path} {what} {_rate(measured['bytes_per_sec'])}, at least {_rate(floor)} are wanted: "
            "compare with the disks of the server and the links of the table"
        ]
    return []


def network_round_links(
    results: Mapping[str, Sequence[Mapping[str, Any]]], identities: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Measured links [{pair, key, bandwidth_bits_per_sec, latency_usec, lost, trouble}] from the results of rounds.

    `results` are by host the [{part, result}] of its rounds; what was lost counts at both ends.
    """
    links = []
    served = {(host, each["part"]["peer"]): each["result"] for host, found in results.items() for each in found}
    for host, found in results.items():
        for each in found:
            if each["part"]["state"] != "measure":
                continue
            peer, result = each["part"]["peer"], each["result"]
            other = served.get((peer, host)) or {}
            trouble = list(result.get("trouble") or [])
            if "rping" not in result:
                trouble = [str(result.get("msg") or "the host did not measure")]
            trouble += [told for told in other.get("trouble") or [] if told not in trouble]
            lost = {
                f"{key} of {owner}": count
                for owner, side in ((host, result), (peer, other))
                for key, count in (side.get("lost") or {}).items()
            }
            links.append(
                {
                    "pair": sorted((host, peer)),
                    "key": pair_key(identity_key(identities[host]), identity_key(identities[peer])),
                    "bandwidth_bits_per_sec": float(result.get("bandwidth_bits_per_sec") or 0),
                    "latency_usec": float(result.get("latency_usec") or 0),
                    "lost": lost,
                    "trouble": trouble,
                }
            )
    return links


def network_records_updated(
    old: Mapping[str, Mapping[str, Any]],
    identities: Mapping[str, Mapping[str, Any]],
    links: Sequence[Mapping[str, Any]],
    mounts: Mapping[str, Sequence[Mapping[str, Any]]],
    floors: Mapping[str, Any] | None = None,
    members: Sequence[str] = (),
) -> dict[str, dict[str, Any]]:
    """What to keep on each host: {key, links {peer: …}, mounts {path profile: …}, problems}, newest measurement wins.

    A link that is below its floor is a problem of the end with more such links; of both where they have equally many.
    Of `members` (all hosts with RDMA cards) those that are not looked at now keep their links and verdicts; links to
    hosts that are no members any more are forgotten, and mounts that the host does not have any more.
    """
    records = {host: _kept(old.get(host) or {}, identities, host, members) for host in sorted(identities)}
    for link in links:
        for host, peer in (link["pair"], list(reversed(link["pair"]))):
            records[host]["links"][peer] = {key: value for key, value in link.items() if key != "pair"}
    for host, measured in mounts.items():
        for each in measured:
            records[host]["mounts"][f"{each['path']} {each['profile']}"] = {
                "key": identity_key(identities[host]),
                "bytes_per_sec": each["result"].get("bytes_per_sec", 0),
                "p99_usec": each["result"].get("p99_usec", 0.0),
                "msg": each["result"].get("msg", ""),
            }
    _judge(records, identities, floors)
    _blame(records)
    return records


def _kept(
    old: Mapping[str, Any], identities: Mapping[str, Mapping[str, Any]], host: str, members: Sequence[str]
) -> dict[str, Any]:
    """What an earlier record of a host still says: links to hosts that are there, mounts that it still has."""
    links, mounts = old.get("links") or {}, old.get("mounts") or {}
    return {
        "key": identity_key(identities[host]),
        "links": {peer: dict(kept) for peer, kept in links.items() if peer in identities or peer in members},
        "mounts": {
            name: dict(kept) for name, kept in mounts.items() if name.rpartition(" ")[0] in identities[host]["mounts"]
        },
    }


def _judge(
    records: Mapping[str, Mapping[str, Any]],
    identities: Mapping[str, Mapping[str, Any]],
    floors: Mapping[str, Any] | None,
) -> None:
    """Write floor and problems beside each figure, those measured before too: floors may have changed."""
    for host, record in records.items():
        for peer, kept in record["links"].items():
            if peer in identities:
                floors_here = link_floors(identities[host], identities[peer], floors)
                kept["problems"] = link_problems(sorted((host, peer)), kept, floors_here)
                kept["floor"] = floors_here.get("bandwidth_bits_per_sec", 0.0)
        for name, kept in record["mounts"].items():
            path, _, profile = name.rpartition(" ")
            kept["floor"] = mount_floor(identities[host], profile, floors)
            kept["problems"] = mount_problems(host, path, profile, kept, kept["floor"])


def _blame(records: Mapping[str, dict[str, Any]]) -> None:
    """Give each host its problems: one bad card spoils the links of all others, which must not be refused for it."""
    bad = {
        host: [peer for peer, kept in record["links"].items() if kept["problems"] and peer in records]
        for host, record in records.items()
    }
    for host, record in records.items():
        problems = []
        for peer, kept in sorted(record["links"].items()):
            if peer in records:
                kept["blamed"] = peer in bad[host] and len(bad[host]) >= len(bad[peer])
            if kept.get("blamed"):
                problems += kept["problems"]
        problems += [problem for kept in record["mounts"].values() for problem in kept["problems"]]
        record["problems"] = problems


def host_variable_values(
    hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]], name: str, key: str
) -> dict[str, Any]:
    """Value `key` of the variable `name` of each host that has it."""
    found = {host: (hostvars[host].get(name) or {}).get(key) for host in hosts}
    return {host: value for host, value in found.items() if value is not None}


def mount_speed_measurements(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Results of a loop of module mount_speed over `host_plan_due_mounts`: [{path, profile, result}]."""
    return [{**each["item"], "result": {key: each[key] for key in FIGURES if key in each}} for each in results]


def slurped_network_record(content: str | None) -> dict[str, Any]:
    """Record of a host out of a slurped file; {} where there is none or it is broken."""
    try:
        found = json.loads(base64.b64decode(content or ""))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def host_plan_due_mounts(
    host_plan: Mapping[str, Any], identity: Mapping[str, Any], record: Mapping[str, Any], again: bool
) -> list[dict[str, str]]:
    """Profiles to run on a host's mounts: [{path, profile}]; PC1 hosts write, PC2 hosts read."""
    tasks = {task for worker in host_plan.get("workers", []) for task in worker["tasks"]}
    wanted = [name for task, name in (("PC1", "pc1_write"), ("PC2", "pc2_read")) if task in tasks]
    key, kept = identity_key(identity), (record or {}).get("mounts") or {}
    return [
        {"path": mount["path"], "profile": profile}
        for mount in host_plan.get("mounts", [])
        if mount.get("scratch")
        for profile in wanted
        if again or _unmeasured(kept.get(f"{mount['path']} {profile}") or {}, key)
    ]


def _unmeasured(kept: Mapping[str, Any], key: str) -> bool:
    return kept.get("key") != key or not kept.get("bytes_per_sec")


def network_records_table(
    records: Mapping[str, Mapping[str, Any]], identities: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Lines of the table of all links and mounts, the bad ones marked."""
    lines = [f"{'':4} {'link or mount':34} {'bandwidth':>12} {'at least':>12} {'latency':>10} {'lost':>6}"]
    for host in sorted(records):
        for peer, kept in sorted(records[host]["links"].items()):
            if peer > host and peer in records:
                lines.append(
                    f"{'BAD ' if kept['problems'] else 'ok  '} {host + ' - ' + peer:34} "
                    f"{_gbit(kept['bandwidth_bits_per_sec']):>12} {_floor(kept, _gbit):>12} "
                    f"{kept['latency_usec']:>7.1f} us {sum(kept['lost'].values()):>6}"
                )
        for name, kept in sorted(records[host]["mounts"].items()):
            lines.append(
                f"{'BAD ' if kept['problems'] else 'ok  '} {host + ' ' + name:34} {_rate(kept['bytes_per_sec']):>12} "
                f"{_floor(kept, _rate):>12} {kept['p99_usec']:>7.0f} us"
            )
    soft = sorted(host for host, identity in identities.items() if identity["soft"])
    if soft:
        lines.append(f"     {', '.join(soft)}: emulated cards (rdma_rxe), judged by no floor but your own")
    return lines


def _floor(kept: Mapping[str, Any], unit: Callable[[float], str]) -> str:
    return unit(kept["floor"]) if kept.get("floor") else "-"


def _gbit(value: float) -> str:
    return f"{value / GBIT:.2f} Gb/s" if value >= GBIT / 10 else f"{value / 10**6:.2f} Mb/s"


def _rate(value: float) -> str:
    return f"{value / 10**9:.2f} GB/s" if value >= 10**8 else f"{value / 10**6:.2f} MB/s"
