"""Sector numbers: without reservations every miner of the actor would issue the same ones."""

from tests.conformance.conftest import DEAL_RANGE, SEAL_RANGE, Miners
from tests.conformance.devnet import Devnet


def test_without_reservations_both_would_issue_the_same(devnet: Devnet, apart: Miners) -> None:
    for name in ("seal", "deal"):
        assert "Next free: 2\n" in devnet.facts[f"{name} numbers before"]


def test_reservations_keep_miners_apart(apart: Miners) -> None:
    seal = apart.seal.cli("sectors", "numbers", "info").stdout
    deal = apart.deal.cli("sectors", "numbers", "info").stdout
    assert "Next free: 2\n" in seal
    assert f"Reserved: {DEAL_RANGE}" in seal
    assert "Next free: 1000000\n" in deal
    assert f"Reserved: {SEAL_RANGE}" in deal


def test_reservations_as_json_are_start_and_count(apart: Miners) -> None:
    assert apart.seal.rpc.call("SectorNumReservations") == {"deal": [1000000, 1000000]}
    assert apart.deal.rpc.call("SectorNumReservations") == {"seal": [2, 999998]}


def test_reservations_as_text(apart: Miners) -> None:
    text = apart.seal.cli("sectors", "numbers", "reservations").stdout
    assert f"deal: count=1000000 {DEAL_RANGE}" in text


def test_reserving_again_is_refused(apart: Miners) -> None:
    done = apart.seal.cli("sectors", "numbers", "reserve", "deal", DEAL_RANGE, check=False)
    assert done.status == 1
    assert apart.seal.rpc.call("SectorNumReservations") == {"deal": [1000000, 1000000]}


def test_overlapping_another_reservation_is_refused(apart: Miners) -> None:
    done = apart.seal.cli("sectors", "numbers", "reserve", "other", "1500000-2500000", check=False)
    assert done.status == 1
    assert apart.seal.rpc.call("SectorNumReservations") == {"deal": [1000000, 1000000]}
