"""The switch side of a plan: ports, MTU, VLAN, PFC and ECN, and one error where cards have no port."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sealyard.inventory.planner_input import plan_input
from sealyard.pages.plan_page import render
from sealyard.plan.explain import explain
from sealyard.planner.planner import plan


def planned(hosts: Mapping[str, Mapping[str, Any]], **settings: Any) -> dict[str, Any]:
    return plan(
        {"settings": {"network": "devnet", "sector_size": "2KiB", "actor": "t01000", **settings}, "hosts": hosts}
    )


def store(number: int, **more: Any) -> dict[str, Any]:
    return {"roles": ["storage_server"], "rdma_address": f"10.40.0.{number}/24", **more}


def fleet(count: int, **more: Any) -> dict[str, dict[str, Any]]:
    return {f"h{number:02d}": store(number, **more) for number in range(1, count + 1)}


def test_hosts_get_ports_in_the_order_of_their_names() -> None:
    hosts = {"b": store(2, switch="s1"), "a": store(1, switch="s1"), "c": store(3, switch="s2")}
    switches = planned(hosts)["switches"]
    assert [(port["port"], port["host"]) for port in switches["s1"]["ports"]] == [(1, "a"), (2, "b")]
    assert [port["address"] for port in switches["s2"]["ports"]] == ["10.40.0.3/24"]


def test_defaults_are_those_of_lossless_roce() -> None:
    switch = planned(fleet(3))["switches"]["switch"]
    assert (switch["mtu_bytes"], switch["vlan"], switch["dscp"], switch["priority"]) == (9216, None, 26, 3)
    assert switch["pfc_priorities"] == [3] and not switch["global_pause"]
    assert switch["nvue"] == [
        "nv set qos roce mode lossless", "nv set interface swp1-3 link mtu 9216", "nv config apply", "nv show qos roce",
    ]  # fmt: skip
    assert switch["onyx"][:2] == ["roce lossless", "interface ethernet 1/1-1/3 mtu 9216 force"]
    assert any("ecn minimum-absolute 150 maximum-absolute 1500" in line for line in switch["onyx"])


def test_a_vlan_is_in_both_systems() -> None:
    switch = planned(fleet(1), rdma_vlan=40)["switches"]["switch"]
    assert "nv set interface swp1 bridge domain br_default access 40" in switch["nvue"]
    assert "interface ethernet 1/1 switchport access vlan 40" in switch["onyx"]


def test_a_lossy_network_has_no_pfc() -> None:
    switch = planned(fleet(2), rdma_lossless=False)["switches"]["switch"]
    assert switch["pfc_priorities"] == [] and switch["onyx"][0] == "roce lossy" and "lossy" in switch["nvue"][0]


def test_another_priority_is_said_to_be_set_by_hand() -> None:
    switch = planned(fleet(2), rdma_priority=4, rdma_dscp=32)["switches"]["switch"]
    for lines in (switch["nvue"], switch["onyx"]):
        assert any("DSCP 32 in priority 4" in line and line.startswith("#") for line in lines)


def test_more_cards_than_ports_is_one_error() -> None:
    assert planned(fleet(32))["errors"] == []
    errors = planned(fleet(33))["errors"]
    assert len(errors) == 1 and errors[0]["path"] == "settings.switch_ports"
    assert "are the ports of switch switch, and 33 RDMA cards hang on it" in errors[0]["problem"]
    assert planned(fleet(33), switch_ports=64)["errors"] == []
    assert "swp1-32 " in planned(fleet(33))["switches"]["switch"]["nvue"][1]


def test_each_card_takes_a_port() -> None:
    two = {"a": store(1, rdma_addresses=["10.40.0.1/24", "10.41.0.1/24"])}
    assert len(planned(two)["switches"]["switch"]["ports"]) == 2
    assert len(planned(two, switch_ports=1)["errors"]) == 1


def test_no_rdma_no_switch() -> None:
    result = planned({"a": {"roles": ["storage_server"]}})
    assert result["switches"] == {} and "switch " not in explain(result)
    assert "Switches" not in render(result, {})


def test_people_read_it() -> None:
    result = planned(fleet(2), rdma_vlan=40)
    assert "2 of 32" in explain(result)
    page = render(result, {})
    assert "Switches of the RDMA network" in page and "nv set qos roce mode lossless" in page and "VLAN 40" in page


def test_the_inventory_says_what_the_cards_are_set_to() -> None:
    own = {
        "sealing_rdma_address": "10.40.0.1/24", "sealing_switch": "s1", "sealing_switch_ports": 16,
        "sealing_rdma_vlan": 7, "rdma_nic_priority": 4,
        "rdma_nic_interfaces": [{"address": "10.40.0.1/24"}, {"name": "eth2", "address": "10.41.0.1/24"}],
    }  # fmt: skip
    document = plan_input({"a": ["storage_server"]}, {"a": own})
    assert document["settings"] == {"switch_ports": 16, "rdma_vlan": 7, "rdma_priority": 4}
    assert document["hosts"]["a"]["rdma_addresses"] == ["10.40.0.1/24", "10.41.0.1/24"]
