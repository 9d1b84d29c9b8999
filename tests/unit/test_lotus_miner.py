"""Miners: reservations of sector numbers, and the peer id of a repo."""

from __future__ import annotations

import base64
import json
from typing import Any

import lotus_peer_id
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from sealyard.errors import SealyardError
from sealyard.hosts.miners import miner_missing_reservations
from sealyard.hosts.paths import path_mounts
from sealyard.lotus.runs import members, run_of

from tests.unit.rendered import ROOT, text_of

MINER = {"instances": {"seal": {"reserve": {"deal-h2": "1000-1999", "seal-h3": "2000-2999"}}}}


def test_runs_are_lengths_absent_first() -> None:
    assert members([2, 3]) == {2, 3, 4}
    assert members([0, 1, 4, 2]) == {0, 5, 6}
    assert members([]) == members(None) == members([5]) == set()


@given(st.integers(0, 10**6), st.integers(0, 300))
def test_a_range_and_its_run_are_the_same_numbers(start: int, more: int) -> None:
    assert members(run_of(f"{start}-{start + more}")) == set(range(start, start + more + 1))


@pytest.mark.parametrize(
    ("text", "message"),
    [("5-4", "'5-4' is no range"), ("-3-4", "invalid literal"), ("a-b", "invalid literal"), ("", "invalid literal")],
)
def test_what_is_no_range_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run_of(text)


def test_only_what_is_missing_is_reserved() -> None:
    present = {"deal-h2": [1000, 1000], "by-hand": [7, 1]}
    assert miner_missing_reservations(MINER, "seal", present, "h1") == [
        {"name": "seal-h3", "range": "2000-2999", "run": [2000, 1000]}
    ]


def test_another_range_under_the_same_name_is_the_operators_to_decide() -> None:
    with pytest.raises(SealyardError, match=r"h1: the seal miner reserves 1000-1499 as 'deal-h2', the plan says"):
        miner_missing_reservations(MINER, "seal", {"deal-h2": [1000, 500]}, "h1")


def test_base58_has_a_one_for_every_leading_zero() -> None:
    assert lotus_peer_id.base58(b"Hello World!") == "2NEpo7TZRRrLZSi2U"
    assert lotus_peer_id.base58(b"\0\0\x28\x7f\xb4\xcd") == "11233QC4"


def test_the_peer_id_holds_the_public_half_of_the_key() -> None:
    # The Ed25519 key of the libp2p specification, peer-ids/peer-ids.md, test vectors.
    key = bytes.fromhex(
        "080112407e0830617c4a7de83925dfb2694556b12936c477a0e1feb2e148ec9da60fee7d"
        "1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e"
    )
    text = json.dumps({"Type": "libp2p-host", "PrivateKey": base64.b64encode(key).decode()})
    peer = lotus_peer_id.peer_id(text)
    number = 0
    for letter in peer:
        number = number * 58 + lotus_peer_id.BASE58.index(letter)
    assert peer.startswith("12D3KooW")
    assert number.to_bytes(37, "big") == bytes.fromhex(
        "24080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e"
    )


def test_a_key_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="not Ed25519"):
        lotus_peer_id.peer_id(json.dumps({"PrivateKey": base64.b64encode(b"\x08\x00rsa").decode()}))


def test_a_miner_does_not_start_on_an_empty_mount_point() -> None:
    """Its stores on a share of the plan are guarded, its local ones are not."""
    stores = [{"path": "/mnt/store"}, {"path": "/mnt/local"}]
    shares = path_mounts(stores, [{"path": "/mnt/store", "transport": "rdma"}])
    role = ROOT / "roles/lotus_miner"
    defined = yaml.safe_load((role / "vars/main.yml").read_text())
    assert "path_mounts(sealing_host_plan.mounts" in defined["lotus_miner_shares"]
    values: dict[str, Any] = dict.fromkeys(defined["lotus_miner_values"], "x") | {
        "environment": {},
        "flags": [],
        "counter_check": [],
        "share_units": "mnt-store.mount",
    }

    def unit(shares: list[str]) -> str:
        return text_of("lotus_miner", {"template": "lotus-miner.service.j2", "values": values | {"shares": shares}})

    text = unit(shares)
    guard = "ExecStartPre=/usr/bin/python3 /usr/local/lib/sealyard/nfs_transport.py /mnt/store=rdma\n"
    assert guard in text and text.index(guard) < text.index("ExecStart=")
    assert "After=mnt-store.mount\n" in text and "PartOf=" not in text
    alone = unit([])
    assert "nfs_transport" not in alone and "mount" not in alone
