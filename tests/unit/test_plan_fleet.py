"""Whole fleets: conservation, determinism, order, growth, stability of groups."""

from __future__ import annotations

import copy
import json
import random
from collections import Counter
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sealyard import plan
from sealyard.hardware.cpu_list import parse_cpus
from sealyard.plan.applied import merge_applied

CPUS = ("EPYC 7302 x1", "EPYC 7402 x2", "EPYC 7542 x1", "EPYC 7763 x1")
ROLES = (
    ("pc1_worker",),
    ("pc2_worker",),
    ("c2_worker",),
    ("pc1_worker", "pc2_worker"),
    ("pc2_worker", "c2_worker"),
    ("pc1_worker", "pc2_worker", "c2_worker"),
)

hardware = st.fixed_dictionaries(
    {
        "cpu": st.sampled_from(CPUS),
        "memory": st.sampled_from(("512GiB", "1TiB", "2TiB")),
        "scratch": st.sampled_from(("4x 2TB NVMe", "8x 2TB NVMe", "8x 4TB NVMe")),
        "gpus": st.integers(1, 4).flatmap(
            lambda n: st.sampled_from(("RTX 3080", "RTX 2080 Ti")).map(lambda name: [name] * n)
        ),
    }
)
host = st.fixed_dictionaries(
    {"roles": st.sampled_from(ROLES).map(list), "hardware": hardware},
    optional={"rack": st.sampled_from(("r1", "r2")), "switch": st.sampled_from(("s1", "s2"))},
)


@st.composite
def fleets(draw: st.DrawFn, most: int = 8) -> dict[str, Any]:
    """A fleet that can seal: one host does everything."""
    hosts: dict[str, Any] = {"seal": {"roles": ["seal_miner"]}}
    hosts["h00"] = {"roles": list(ROLES[-1]), "hardware": draw(hardware)}
    for number, one in enumerate(draw(st.lists(host, max_size=most)), start=1):
        hosts[f"h{number:02d}"] = one
    return {"settings": {}, "hosts": hosts}


quick = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def text(planned: dict[str, Any]) -> str:
    return json.dumps(planned, sort_keys=True)


@quick
@given(fleets())
def test_nothing_is_lost_and_nothing_is_given_twice(document: dict[str, Any]) -> None:
    planned = plan(document)
    assert planned["errors"] == []
    members = Counter(host for group in planned["groups"].values() for host in group["hosts"])
    assert all(number == 1 for number in members.values())
    for name, slice_ in planned["hosts"].items():
        if "pc1_worker" not in document["hosts"][name]["roles"] and not slice_["workers"]:
            continue
        used = [cpu for worker in slice_["workers"] for cpu in parse_cpus(worker["cpus"])]
        used += parse_cpus(slice_["reserved_cpus"]) + parse_cpus(slice_["idle_cpus"])
        assert len(used) == len(set(used))
        model = document["hosts"][name]["hardware"]["cpu"]
        threads = {"EPYC 7302 x1": 32, "EPYC 7402 x2": 96, "EPYC 7542 x1": 64, "EPYC 7763 x1": 128}[model]
        assert sorted(used) == list(range(threads))
        memory = {"512GiB": 512, "1TiB": 1024, "2TiB": 2048}[document["hosts"][name]["hardware"]["memory"]] << 30
        assert sum(worker["memory_bytes"] for worker in slice_["workers"]) <= memory
        for worker in slice_["workers"]:
            assert worker["miner"] == "seal"
            assert worker["group"] is not None or worker["tasks"] == ["C2"]
    rows = planned["capacity"]["groups"]
    assert abs(sum(row["sectors_per_day"] for row in rows.values()) - planned["capacity"]["sectors_per_day"]) < 0.1


@quick
@given(fleets())
def test_no_pc1_output_leaves_its_group(document: dict[str, Any]) -> None:
    planned = plan(document)
    for slice_ in planned["hosts"].values():
        for path in slice_["paths"]:
            if path["can_seal"]:
                assert path["allow_to"] in (None, [slice_["group"]])
                assert path["groups"] in (None, [slice_["group"]])
    for group in planned["groups"].values():
        tasks = {t for host in group["hosts"] for w in planned["hosts"][host]["workers"] for t in w["tasks"]}
        assert "PC2" in tasks or "PC1" not in tasks


@quick
@given(fleets(), st.randoms(use_true_random=False))
def test_the_same_input_in_any_order_gives_the_same_bytes(document: dict[str, Any], draw: random.Random) -> None:
    first = text(plan(document))
    hosts = list(document["hosts"].items())
    draw.shuffle(hosts)
    shuffled = {"hosts": {k: dict(reversed(v.items())) for k, v in hosts}, "settings": {}}
    assert text(plan(shuffled)) == first
    assert text(plan(copy.deepcopy(document))) == first


@quick
@given(fleets(most=5), host, st.sampled_from(("memory", "gpu", "slower gpu", "host", "scratch")))
def test_more_hardware_never_plans_less(document: dict[str, Any], extra: dict[str, Any], what: str) -> None:
    before = plan(document)["capacity"]["sectors_per_day"]
    more = copy.deepcopy(document)
    own = more["hosts"]["h00"]["hardware"]
    if what == "memory":
        own["memory"] = "4TiB"
    elif what == "gpu":
        own["gpus"] = own["gpus"] * 2
    elif what == "slower gpu":
        own["gpus"] = ["RTX 2080 Ti", *own["gpus"]]
    elif what == "scratch":
        own["scratch"] = "10x 4TB NVMe"
    else:
        more["hosts"]["h99"] = extra
    # The figure is rounded to a hundredth.
    assert plan(more)["capacity"]["sectors_per_day"] >= before - 0.01


def groups_of(planned: dict[str, Any]) -> dict[str, str]:
    return {host: name for name, group in planned["groups"].items() for host in group["hosts"]}


@quick
@given(fleets(), host)
def test_adding_a_host_moves_no_other(document: dict[str, Any], extra: dict[str, Any]) -> None:
    first = plan(document)
    grown = {**document, "hosts": {**document["hosts"], "a-new": extra}, "current": first}
    second = plan(grown)
    assert second["moves"] == []
    before, after = groups_of(first), groups_of(second)
    assert {host: after.get(host) for host in before} == before
    for name in before:
        assert second["hosts"][name]["workers"] == first["hosts"][name]["workers"]


@quick
@given(fleets(), st.integers(0, 7))
def test_removing_a_host_moves_no_other(document: dict[str, Any], which: int) -> None:
    first = plan(document)
    names = sorted(groups_of(first))
    gone = names[which % len(names)]
    shrunk = {**document, "hosts": {k: v for k, v in document["hosts"].items() if k != gone}, "current": first}
    second = plan(shrunk)
    assert second["moves"] == []
    before, after = groups_of(first), groups_of(second)
    assert {host: after.get(host) for host in before if host != gone} == {k: v for k, v in before.items() if k != gone}


@quick
@given(fleets(), hardware, st.sampled_from(("new hardware", "new miner", "add and remove")))
def test_no_edit_moves_a_host_to_another_miner_or_group(document: dict[str, Any], other: Any, what: str) -> None:
    document["hosts"] |= {"seal2": {"roles": ["seal_miner"]}, "deal": {"roles": ["deal_miner"]}}
    document["settings"] = {"deal_share": 0.3}
    first = plan(document)
    edited = copy.deepcopy({**document, "current": first})
    if what == "new hardware":
        edited["hosts"]["h00"]["hardware"] = other
    elif what == "new miner":
        edited["hosts"]["a-miner"] = {"roles": ["seal_miner"]}
    else:
        edited["hosts"]["h99"] = edited["hosts"].pop("h00")
    second = plan(edited)
    assert second["moves"] == []
    before, after = groups_of(first), groups_of(second)
    for name in before.keys() - {"h00"}:
        assert after[name] == before[name]
        assert second["groups"][after[name]]["miner"] == first["groups"][before[name]]["miner"]
        assert second["hosts"][name]["workers"] == first["hosts"][name]["workers"]


@quick
@given(fleets())
def test_planning_again_changes_nothing(document: dict[str, Any]) -> None:
    first = plan(document)
    assert text(plan({**document, "current": first})) == text(first)


HARDWARE = {"cpu": "EPYC 7542 x1", "memory": "1TiB", "scratch": "8x 2TB NVMe"}
GPU_HARDWARE = {**HARDWARE, "gpus": ["RTX 3080"]}


def fleet(**hosts: Any) -> dict[str, Any]:
    return {"settings": {}, "hosts": {"seal": {"roles": ["seal_miner"]}, **hosts}}


def test_a_group_that_lost_its_pc2_is_an_error_until_regrouping_is_allowed() -> None:
    both = {"roles": ["pc1_worker"], "hardware": HARDWARE}
    gpu = {"roles": ["pc2_worker", "c2_worker"], "hardware": GPU_HARDWARE}
    document = fleet(p1=both, p2=both, g1=gpu, g2=gpu)
    document["hosts"]["p1"] = {**both, "group": "a"}
    document["hosts"]["g1"] = {**gpu, "group": "a"}
    first = plan(document)
    del document["hosts"]["g1"]
    document["hosts"]["p1"] = both
    broken = plan({**document, "current": first})
    assert any(error["path"] == "groups.a" for error in broken["errors"]) and broken["moves"] == []
    document["settings"] = {"allow_regroup": True}
    moved = plan({**document, "current": first})
    assert moved["errors"] == []
    assert [(m["host"], m["from"], m["what"], m["may_hold_sectors"]) for m in moved["moves"]] == [
        ("p1", "a", "group", True)
    ]


def test_a_changed_pin_is_a_move_that_is_told() -> None:
    pair = {"roles": ["pc1_worker", "pc2_worker"], "hardware": GPU_HARDWARE}
    document = fleet(h1={**pair, "group": "a"}, h2={**pair, "group": "b"})
    document["groups"] = {"a": {}, "b": {}}
    first = plan(document)
    document["hosts"]["h1"] = {**pair, "group": "b"}
    second = plan({**document, "current": first})
    assert [(m["host"], m["from"], m["to"]) for m in second["moves"]] == [("h1", "a", "b")]


def test_a_group_given_to_another_miner_moves_its_hosts() -> None:
    pair = {"roles": ["pc1_worker", "pc2_worker"], "hardware": GPU_HARDWARE, "group": "a"}
    document = fleet(h1=pair, deal={"roles": ["deal_miner"]})
    document["groups"] = {"a": {"miner": "seal"}}
    first = plan(document)
    document["groups"] = {"a": {"miner": "deal"}}
    second = plan({**document, "current": first})
    assert [(m["host"], m["what"], m["from"], m["to"]) for m in second["moves"]] == [("h1", "miner", "seal", "deal")]


def test_sector_ranges_are_disjoint_and_never_change() -> None:
    document = fleet(deal={"roles": ["deal_miner"]})
    first = plan(document)["miners"]
    assert (first["seal"]["sector_numbers"], first["deal"]["sector_numbers"]) == ("0-9999999", "10000000-19999999")
    assert first["seal"]["reserve"] == {"deal-deal": "10000000-19999999"}
    document["hosts"]["a-first"] = {"roles": ["seal_miner"]}
    document["current"] = {"miners": first, "groups": {}, "hosts": {}}
    second = plan(document)["miners"]
    assert second["seal"]["sector_numbers"] == "0-9999999"
    assert second["deal"]["sector_numbers"] == "10000000-19999999"
    assert second["a-first"]["sector_numbers"] == "20000000-29999999"
    assert set(second["a-first"]["reserve"].values()) == {"0-9999999", "10000000-19999999"}
    devnet = plan({**fleet(), "settings": {"network": "devnet"}})["miners"]
    assert devnet["seal"]["sector_numbers"].startswith("2-")


def test_one_winning_miner_takes_part_in_f3_and_the_deal_miner_owns_the_peer_id() -> None:
    document = fleet(
        win={"roles": ["winning_miner"]}, window={"roles": ["window_miner"]}, deal={"roles": ["deal_miner"]}
    )
    miners = plan(document)["miners"]
    assert [name for name, miner in miners.items() if miner["f3"]] == ["win"]
    assert [name for name, miner in miners.items() if miner["peer_id_owner"]] == ["deal"]


def test_racks_are_respected_where_they_can_seal_alone() -> None:
    hosts = {}
    for rack in ("r1", "r2", "r3"):
        hosts[f"{rack}-p"] = {"roles": ["pc1_worker"], "hardware": HARDWARE, "rack": rack}
        hosts[f"{rack}-g"] = {"roles": ["pc2_worker"], "hardware": GPU_HARDWARE, "rack": rack}
    hosts["c2"] = {"roles": ["c2_worker"], "hardware": {**GPU_HARDWARE, "gpus": ["RTX 3080"] * 4}}
    planned = plan(fleet(**hosts))
    assert sorted(group["hosts"] for group in planned["groups"].values()) == [
        ["r1-g", "r1-p"], ["r2-g", "r2-p"], ["r3-g", "r3-p"]
    ]  # fmt: skip


def test_the_deal_miner_gets_the_asked_share() -> None:
    pair = {"roles": ["pc1_worker", "pc2_worker"], "hardware": GPU_HARDWARE}
    commit = {"roles": ["c2_worker"], "hardware": {**GPU_HARDWARE, "gpus": ["RTX 3080"] * 4}}
    document = fleet(deal={"roles": ["deal_miner"]}, **{f"h{n}": pair for n in range(8)}, c1=commit, c2=commit)
    document["settings"] = {"deal_share": 0.25}
    planned = plan(document)
    assert sum(group["miner"] == "deal" for group in planned["groups"].values()) == 2


def test_a_limited_run_leaves_the_other_hosts_as_they_were_applied() -> None:
    pair = {"roles": ["pc1_worker", "pc2_worker", "c2_worker"], "hardware": GPU_HARDWARE}
    first = plan(fleet(h1=pair, h2=pair))
    grown = plan({**fleet(h1=pair, h2=pair, h3=pair, h4=pair), "current": first})
    applied = merge_applied(first, grown, {"h1", "h3", "seal"})
    assert set(groups_of(applied)) == {"h1", "h2", "h3"}
    assert set(applied["hosts"]) == {"h1", "h2", "h3", "seal"}
    assert set(merge_applied(None, grown, {"h1"})["hosts"]) == {"h1"}
