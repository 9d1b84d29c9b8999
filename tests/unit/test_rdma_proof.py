"""What counts as proof that an RDMA card works."""

from __future__ import annotations

import pytest
import rdma_proof as module
from sealyard_host import rdma_devices

LINK = {"ifname": "rocep65s0", "netdev": "enp65s0np0", "state": "ACTIVE", "physical_state": "LINK_UP"}


@pytest.mark.parametrize(("mtu", "expected"), [(1500, 1024), (4096, 2048), (4200, 4096), (9000, 4096)])
def test_rdma_mtu_of_a_network_mtu(mtu: int, expected: int) -> None:
    assert rdma_devices.largest_payload(mtu) == expected


def test_link() -> None:
    assert module.link_problem([LINK], "enp65s0np0") == ""
    assert "DOWN" in module.link_problem([LINK | {"state": "DOWN", "physical_state": "DISABLED"}], "enp65s0np0")
    assert "no RDMA device" in module.link_problem([LINK], "eno1")


def test_active_mtu_is_not_the_largest_one() -> None:
    assert rdma_devices.active_mtu("\t\t\tmax_mtu:\t\t4096 (5)\n\t\t\tactive_mtu:\t\t1024 (3)\n") == 1024


def test_the_address_needs_a_gid_of_roce_v2() -> None:
    gid = "0000:0000:0000:0000:0000:ffff:0a28:0015"
    assert module.gid_problem({gid: "IB/RoCE v1,RoCE v2"}, "10.40.0.21") == ""
    assert "types of it: IB/RoCE v1" in module.gid_problem({gid: "IB/RoCE v1"}, "10.40.0.21")
    assert "none" in module.gid_problem({gid: "RoCE v2"}, "10.40.0.22")


def test_pings_tell_a_small_mtu_from_a_dead_path() -> None:
    assert module.path_problem("pc2-1", "10.40.0.41", 9000, small=True, full=True) == ""
    assert "9216" in module.path_problem("pc2-1", "10.40.0.41", 9000, small=True, full=False)
    assert "does not answer" in module.path_problem("pc2-1", "10.40.0.41", 9000, small=False, full=False)


def test_packets_are_not_cut_up() -> None:
    command = module.ping_command("enp65s0np0", "10.40.0.41", 8972, 30)
    assert command[command.index("-M") + 1] == "do"
    assert command[command.index("-s") + 1] == "8972"
