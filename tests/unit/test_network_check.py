"""Role network_check: every pair once, floors from the cards, the bad host blamed and not its peers."""

from __future__ import annotations

import base64
import itertools
import json
from typing import Any

import mount_speed
import network_probe
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealyard.diagnosis.network_check import (
    check_rounds,
    host_plan_due_mounts,
    host_rdma_identities,
    host_variable_values,
    identity_key,
    mount_floor,
    mount_speed_measurements,
    network_records_table,
    network_records_updated,
    network_round_links,
    network_round_part,
    pair_key,
    rdma_identities_due_rounds,
    slurped_network_record,
)
from sealyard_host import programs, rdma_devices


def card(**given: Any) -> dict[str, Any]:
    base = {
        "interface": "eth1", "device": "rocep1s0", "driver": "mlx5_core", "firmware": "16.35.2000",
        "kernel": "6.1.0-31", "mtu": 9000, "network": "10.0.0.0/24", "rdma_mtu": 4096, "gid_types": ["RoCE v2"],
        "speed_bits_per_sec": 100 * 10**9, "soft": False, "mounts": {"/sealer": "nfs4 rw,proto=rdma"},
    }  # fmt: skip
    return base | given


HOSTS = ("a", "b", "c", "d")
CARDS = {host: card() for host in HOSTS}
GOOD = {"rping": True, "bandwidth_bits_per_sec": 92.4e9, "latency_usec": 2.4, "lost": {}, "trouble": []}


def run(cards: dict[str, Any], slow: dict[frozenset[str], dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Results of all rounds by host; `slow` replaces what a pair measures."""
    results: dict[str, list[dict[str, Any]]] = {host: [] for host in cards}
    for pairs in rdma_identities_due_rounds(cards, {}, False):
        for host in cards:
            part = network_round_part(pairs, host)
            if part:
                result = slow.get(frozenset((host, part["peer"])), GOOD)
                results[host].append({"part": part, "result": result})
    return results


def records(slow: dict[frozenset[str], dict[str, Any]], cards: dict[str, Any] = CARDS, **more: Any) -> dict[str, Any]:
    return network_records_updated(
        {}, cards, network_round_links(run(cards, slow), cards), more.get("mounts", {}), more.get("floors")
    )


@given(st.integers(min_value=0, max_value=24), st.integers(min_value=1, max_value=8))
def test_every_pair_is_measured_once_and_nobody_twice_at_a_time(count: int, most: int) -> None:
    hosts = [f"h{number:02d}" for number in range(count)]
    rounds = check_rounds(hosts, most)
    pairs = [pair for each in rounds for pair in each]
    assert sorted(pairs) == sorted(itertools.combinations(hosts, 2))
    for each in rounds:
        busy = [host for pair in each for host in pair]
        assert len(busy) == len(set(busy)) and len(each) <= most


def test_a_link_above_its_floor_is_good() -> None:
    found = records({})
    assert all(record["problems"] == [] for record in found.values())
    assert all(len(record["links"]) == 3 for record in found.values())


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ({"bandwidth_bits_per_sec": 84e9}, "a - b: 84.00 Gb/s, at least 85.00 Gb/s are wanted"),
        ({"latency_usec": 31.0}, "a - b: 31.0 us, at most 20 are wanted"),
        ({"lost": {"out_of_sequence": 3}}, "a - b: lost or repeated 6 packets (out_of_sequence of a 3"),
        ({"trouble": ["ib_write_bw: Unexpected CM event"]}, "a - b: ib_write_bw: Unexpected CM event"),
    ],
)
def test_a_bad_link_names_both_ends_and_the_figures(broken: dict[str, Any], says: str) -> None:
    found = records({frozenset("ab"): GOOD | broken})
    for host in "ab":
        assert any(says in problem for problem in found[host]["problems"])
    assert found["c"]["problems"] == found["d"]["problems"] == []


def test_one_bad_card_is_blamed_and_not_its_peers() -> None:
    slow = {frozenset(("b", other)): GOOD | {"bandwidth_bits_per_sec": 10e9} for other in "acd"}
    found = records(slow)
    assert len(found["b"]["problems"]) == 3
    assert [host for host in HOSTS if found[host]["problems"]] == ["b"]


def test_a_host_that_could_not_measure_is_a_problem() -> None:
    found = records({frozenset("ab"): {"msg": "eth1 has no RDMA device"}})
    assert "eth1 has no RDMA device" in found["a"]["problems"][0]


def test_emulated_cards_are_reported_and_not_judged() -> None:
    soft = {host: card(soft=True, driver="rdma_rxe", speed_bits_per_sec=0) for host in HOSTS}
    slow = {frozenset("ab"): GOOD | {"bandwidth_bits_per_sec": 1e6, "latency_usec": 900.0, "lost": {"x": 9}}}
    found = records(slow, soft)
    assert all(record["problems"] == [] for record in found.values())
    table = network_records_table(found, soft)
    assert any("a - b" in line and "1.00 Mb/s            - " in line and line.startswith("ok") for line in table)
    assert "judged by no floor but your own" in table[-1]
    assert any("92.40 Gb/s   85.00 Gb/s" in line for line in network_records_table(records({}), CARDS))
    # What does not come through at all is wrong on any card.
    assert records({frozenset("ab"): GOOD | {"trouble": ["rping: refused"]}}, soft)["a"]["problems"]


def test_floors_follow_the_slower_card_and_the_operator() -> None:
    mixed = CARDS | {"a": card(speed_bits_per_sec=25 * 10**9)}
    figures = {frozenset("ab"): GOOD | {"bandwidth_bits_per_sec": 22e9}}
    assert records(figures, mixed)["a"]["problems"] == []
    assert records(figures, mixed, floors={"bandwidth_bits_per_sec": 23e9})["a"]["problems"]
    assert mount_floor(mixed["a"], "pc2_read") == 2.2e9
    assert mount_floor(CARDS["a"], "pc2_read") == 4.0e9
    assert mount_floor(card(soft=True), "pc2_read") == 0
    assert mount_floor(card(speed_bits_per_sec=10**9), "pc2_read") == 0
    assert mount_floor(CARDS["a"], "pc1_write", {"pc1_write_bytes_per_sec": 5}) == 5


def test_a_slow_mount_refuses_its_host() -> None:
    slow = [{"path": "/sealer", "profile": "pc2_read", "result": {"bytes_per_sec": 10**9, "p99_usec": 1.0}}]
    found = records({}, mounts={"a": slow})
    assert "a: /sealer reads as PC2 1.00 GB/s, at least 4.00 GB/s are wanted" in found["a"]["problems"][0]
    assert any(line.startswith("BAD  a /sealer pc2_read") for line in network_records_table(found, CARDS))
    failed = mount_speed_measurements([{"item": {"path": "/sealer", "profile": "pc1_write"}, "msg": "no room"}])
    assert records({}, mounts={"a": failed})["a"]["problems"] == ["a: no room"]


def test_only_what_changed_is_measured_again() -> None:
    kept = records({})
    assert rdma_identities_due_rounds(CARDS, kept, False) == []
    assert len(rdma_identities_due_rounds(CARDS, kept, True)) == 3
    changed = CARDS | {"b": card(kernel="6.1.0-32")}
    due = [pair for pairs in rdma_identities_due_rounds(changed, kept, False) for pair in pairs]
    assert sorted(due) == [["a", "b"], ["b", "c"], ["b", "d"]]
    # A link that is not measured again keeps its verdict.
    bad = records({frozenset("cd"): GOOD | {"bandwidth_bits_per_sec": 1e9}})
    again = network_records_updated(bad, CARDS, [], {})
    assert again["c"]["problems"] == bad["c"]["problems"] != []


def test_floors_that_change_are_judged_without_measuring() -> None:
    good = records({}, mounts={"a": [{"path": "/sealer", "profile": "pc1_write", "result": {"bytes_per_sec": 3e9}}]})
    assert good["a"]["problems"] == []
    floors = {"bandwidth_bits_per_sec": 95e9, "pc1_write_bytes_per_sec": 4e9}
    again = network_records_updated(good, CARDS, [], {}, floors)
    assert (
        "92.40 Gb/s, at least 95.00 Gb/s" in again["a"]["problems"][0] and "writes as PC1" in again["a"]["problems"][-1]
    )
    soft = {host: card(soft=True, driver="rdma_rxe", speed_bits_per_sec=0) for host in HOSTS}
    assert network_records_updated(good, soft, [], {})["b"]["problems"] == []
    assert network_records_updated(good, soft, [], {}, {"latency_usec": 1})["b"]["problems"]


def test_a_run_on_some_hosts_forgets_no_verdict() -> None:
    bad = records({frozenset("ab"): GOOD | {"bandwidth_bits_per_sec": 1e9}})
    alone = network_records_updated(bad, {"a": CARDS["a"]}, [], {}, None, HOSTS)
    assert alone["a"]["problems"] == bad["a"]["problems"] != []
    assert network_records_updated(bad, {"a": CARDS["a"]}, [], {}, None, "acd")["a"]["problems"] == []


def test_a_card_that_agreed_on_less_than_the_plan_says_is_found_out() -> None:
    slow = card(speed_bits_per_sec=25 * 10**9)
    cards = host_rdma_identities(
        HOSTS, {host: {"network_check_self": {"identity": slow}} for host in HOSTS}, {"a": 10**11}
    )
    figures = {frozenset("ab"): GOOD | {"bandwidth_bits_per_sec": 24e9}}
    assert records(figures, cards)["a"]["problems"] == []  # b's is built for 25
    both = host_rdma_identities(
        HOSTS, {host: {"network_check_self": {"identity": slow}} for host in HOSTS}, dict.fromkeys(HOSTS, 10**11)
    )
    assert "24.00 Gb/s, at least 85.00 Gb/s" in records(figures, both)["a"]["problems"][0]
    assert identity_key(both["a"]) == identity_key(slow)


def test_only_cards_of_one_network_are_linked() -> None:
    cards = CARDS | {"c": card(network="10.1.0.0/24"), "d": card(network="10.1.0.0/24")}
    assert sorted(pair for pairs in rdma_identities_due_rounds(cards, {}, False) for pair in pairs) == [
        ["a", "b"],
        ["c", "d"],
    ]


def test_a_mount_that_is_gone_is_forgotten() -> None:
    slow = [{"path": "/sealer", "profile": "pc2_read", "result": {"bytes_per_sec": 10**9}}]
    bad = records({}, mounts={"a": slow})
    assert network_records_updated(bad, CARDS | {"a": card(mounts={})}, [], {})["a"]["problems"] == []


def test_what_could_not_be_measured_is_tried_again() -> None:
    failed = records({frozenset("ab"): {"msg": "no answer"}})
    assert rdma_identities_due_rounds(CARDS, failed, False) == [[["a", "b"]]]


def test_a_host_alone_has_no_link() -> None:
    assert rdma_identities_due_rounds({"a": card()}, {}, False) == []
    assert network_round_part([["b", "c"]], "a") == {}


def test_profiles_follow_the_tasks_of_the_host() -> None:
    mount = {"path": "/sealer", "scratch": True}
    plan = {"mounts": [mount, {"path": "/mnt/store", "scratch": False}], "workers": [{"tasks": ["AP", "PC1"]}]}
    assert host_plan_due_mounts(plan, card(), {}, False) == [{"path": "/sealer", "profile": "pc1_write"}]
    kept = {"mounts": {"/sealer pc1_write": {"key": identity_key(card()), "bytes_per_sec": 1}}}
    assert host_plan_due_mounts(plan, card(), kept, False) == []
    assert host_plan_due_mounts(plan, card(mounts={"/sealer": "nfs4 rw,proto=tcp"}), kept, False) != []
    assert host_plan_due_mounts({"mounts": [mount], "workers": [{"tasks": ["PC2"]}]}, card(), {}, False) == [
        {"path": "/sealer", "profile": "pc2_read"}
    ]


def test_keys_are_the_same_from_both_ends() -> None:
    assert pair_key("x", "y") == pair_key("y", "x") != pair_key("x", "z")


def test_records_survive_what_they_are_kept_in() -> None:
    text = base64.b64encode(json.dumps({"problems": ["p"]}).encode()).decode()
    assert slurped_network_record(text) == {"problems": ["p"]}
    assert (
        slurped_network_record("")
        == slurped_network_record(None)
        == slurped_network_record(base64.b64encode(b"[1]").decode())
        == {}
    )
    assert host_variable_values(["a", "b"], {"a": {"x": {"y": 1}}, "b": {}}, "x", "y") == {"a": 1}


BANDWIDTH = """
 Transport type : IB
 #bytes     #iterations    BW peak[Gb/sec]    BW average[Gb/sec]   MsgRate[Mpps]
 65536      880000           0.00               92.41              0.176258
---------------------------------------------------------------------------------------
"""
LATENCY = """
 #bytes #iterations    t_min[usec]    t_max[usec]  t_typical[usec]    t_avg[usec] t_stdev[usec] 99%[usec] 99.9%[usec]
 8       1000          2.01           11.05        2.10               2.12           0.10            2.40        4.20
"""


def test_figures_of_perftest() -> None:
    assert network_probe.bandwidth(BANDWIDTH) == pytest.approx(92.41e9)
    assert network_probe.latency(LATENCY) == 2.10
    assert network_probe.bandwidth("Couldn't connect") == network_probe.latency("") == 0
    assert programs.last_words("one\n two \n----\n\n") == "two"


def test_counters_that_rose() -> None:
    assert network_probe.risen({"a": 1, "b": 2}, {"a": 1, "b": 5, "new": 3}) == {"b": 3}
    for name in ("out_of_sequence", "packet_seq_err", "rx_discards_phy", "out_of_seq_request", "rx_dropped"):
        assert network_probe.LOSS.search(name), name
    assert not network_probe.LOSS.search("rx_packets")


def test_cards_that_are_no_roce_v2_or_have_small_frames_are_told(tmp_path: Any) -> None:
    (tmp_path / "gids").mkdir()
    (tmp_path / "gid_attrs/types").mkdir(parents=True)
    for place, kind in (("0", "IB/RoCE v1"), ("1", "RoCE v2")):
        (tmp_path / "gids" / place).write_text("0000:0000:0000:0000:0000:ffff:0a63:0001\n")
        (tmp_path / "gid_attrs/types" / place).write_text(f"{kind}\n")
    assert network_probe.types_of(tmp_path, "10.99.0.1") == ["IB/RoCE v1", "RoCE v2"]
    assert network_probe.types_of(tmp_path, "10.99.0.2") == []
    assert network_probe.card_trouble(card()) == []
    told = network_probe.card_trouble(card(gid_types=["IB/RoCE v1"], rdma_mtu=1024))
    assert told == [
        "GID of rocep1s0: IB/RoCE v1 and not RoCE v2",
        "RDMA MTU of rocep1s0: 1024 where its interface has 9000",
    ]
    assert rdma_devices.active_mtu("\tactive_mtu:\t\t4096 (5)\n") == 4096


def test_what_the_serving_side_says_counts_too() -> None:
    results = run(CARDS, {})
    for each in results["a"]:
        if each["part"]["state"] == "serve":
            each["result"] = {**each["result"], "trouble": ["RDMA MTU of rocep1s0: 1024 where its interface has 9000"]}
    found = network_records_updated({}, CARDS, network_round_links(results, CARDS), {})
    assert "RDMA MTU of rocep1s0: 1024" in found["a"]["problems"][0]


def test_mount_options_without_addresses() -> None:
    mounts = (
        "10.0.0.1:/sealer /sealer nfs4 rw,proto=rdma,clientaddr=10.0.0.2,addr=10.0.0.1 0 0\n/dev/sda1 / ext4 rw 0 0\n"
    )
    assert network_probe.nfs_options(mounts, ["/sealer"]) == {"/sealer": "nfs4 rw,proto=rdma"}


def test_the_server_listens_and_the_other_names_it() -> None:
    given = {"address": "10.0.0.1", "peer_address": "10.0.0.2", "duration_sec": 5, "iterations": 0}
    serving = network_probe.programs(card(), given | {"state": "serve"})
    measuring = network_probe.programs(card(), given | {"state": "measure"})
    assert serving["rping"][1:4] == ["-s", "-a", "10.0.0.1"] and measuring["rping"][1:4] == ["-c", "-a", "10.0.0.2"]
    assert measuring["ib_write_bw"] == [*serving["ib_write_bw"], "10.0.0.2"]
    assert "-D" in serving["ib_write_bw"]
    few = network_probe.programs(card(), given | {"state": "serve", "iterations": 100})
    assert "-D" not in few["ib_write_bw"] and "100" in few["ib_write_lat"]


def test_a_program_is_tried_again_until_the_other_side_listens(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_probe, "RETRY_SEC", 0.01)
    script = f"test -e {tmp_path}/2 && exit 0; test -e {tmp_path}/1 && touch {tmp_path}/2; touch {tmp_path}/1; exit 1"
    assert network_probe.run_programs({"x": ["sh", "-c", script]}, 20, True)["x"][0]
    nothing = network_probe.run_programs({"ib_write_bw": ["true"]}, 1, True)
    assert not nothing["ib_write_bw"][0]
    results = network_probe.run_programs({"x": ["false"], "y": ["true"]}, 20, False)
    assert results == {"x": (False, "")}
    assert "cannot be run" in network_probe.run_programs({"x": ["/nonexistent"]}, 1, True)["x"][1]


def test_figures_of_fio() -> None:
    write = {"bw_bytes": 5 * 10**9, "io_bytes": 10**9, "clat_ns": {"percentile": {"99.000000": 8000}}}
    assert mount_speed.measured({"jobs": [{"write": write, "job_runtime": 1000}]}, "pc1_write") == (10**9, 8.0)
    assert mount_speed.measured({"jobs": [{"read": write, "job_runtime": 1000}]}, "pc2_read") == (5 * 10**9, 8.0)
    assert "--end_fsync=1" in mount_speed.command("pc1_write", "/f", 1, 1)
    reading = mount_speed.command("pc2_read", "/f", 1, 1)
    assert "--direct=1" in reading and "--numjobs=4" in reading
    assert "--numjobs=1" in mount_speed.command("pc2_read", "/f", 1, 1, gentle=True)
