"""Sector numbers: without reservations every miner of the actor would issue the same ones."""

from tests.conformance.conftest import Miners

DEAL_RANGE = "1000000-1999999"
SEAL_RANGE = "2-999999"


def test_reservations_keep_miners_apart(miners: Miners) -> None:
    for miner in (miners.seal, miners.deal):
        assert "Next free: 2\n" in miner.cli("sectors", "numbers", "info").stdout
    miners.seal.cli("sectors", "numbers", "reserve", "deal", DEAL_RANGE)
    miners.deal.cli("sectors", "numbers", "reserve", "seal", SEAL_RANGE)
    seal = miners.seal.cli("sectors", "numbers", "info").stdout
    deal = miners.deal.cli("sectors", "numbers", "info").stdout
    assert "Next free: 2\n" in seal
    assert f"Reserved: {DEAL_RANGE}" in seal
    assert "Next free: 1000000\n" in deal
    assert f"Reserved: {SEAL_RANGE}" in deal


def test_reservations_as_json_are_start_and_count(miners: Miners) -> None:
    assert miners.seal.rpc.call("SectorNumReservations") == {"deal": [1000000, 1000000]}
    assert miners.deal.rpc.call("SectorNumReservations") == {"seal": [2, 999998]}


def test_reservations_as_text(miners: Miners) -> None:
    text = miners.seal.cli("sectors", "numbers", "reservations").stdout
    assert f"deal: count=1000000 {DEAL_RANGE}" in text


def test_reserving_again_is_refused(miners: Miners) -> None:
    done = miners.seal.cli("sectors", "numbers", "reserve", "deal", DEAL_RANGE, check=False)
    assert done.status == 1
    assert miners.seal.rpc.call("SectorNumReservations") == {"deal": [1000000, 1000000]}


def test_overlapping_another_reservation_is_refused(miners: Miners) -> None:
    done = miners.seal.cli("sectors", "numbers", "reserve", "other", "1500000-2500000", check=False)
    assert done.status == 1
    assert miners.seal.rpc.call("SectorNumReservations") == {"deal": [1000000, 1000000]}
