"""Window PoSt by a miner that sealed nothing and has only attached the path."""

import re

import pytest

from tests.conformance.conftest import Miners
from tests.conformance.devnet import ACTOR, MESSAGE_SEC, Daemon
from tests.conformance.processes import until

# The first deadline with sectors opens 658 epochs after a 2 KiB devnet's genesis; two busy cores need up to 6 s each.
FIRST_DEADLINE_SEC = 4500.0


@pytest.mark.slow
def test_attached_sectors_are_proven_on_time(chain: Daemon, miners: Miners) -> None:
    power = chain.rpc.call("StateMinerPower", ACTOR, [])["MinerPower"]["RawBytePower"]
    log = until(
        "a window PoSt",
        lambda: miners.window.log if "Window post submission successful" in miners.window.log else None,
        FIRST_DEADLINE_SEC,
        poll_sec=2,
    )
    places = [
        log.index(text)
        for text in ("starting PoSt cycle", "Checked sectors", "computing window post", "Submitted window post: ")
    ]
    assert places == sorted(places)
    found = re.search(r"Submitted window post: (bafy\w+) \(deadline (\d+)\)", log)
    assert found
    rows = miners.deal.cli("proving", "deadlines").stdout.splitlines()[2:]
    (row,) = [row.split() for row in rows if row.split()[0] == found[2]]
    assert int(row[3]) >= 2
    assert row[4] == "(0)"
    assert chain.rpc.call("StateMinerFaults", ACTOR, []) == [0]
    assert int(chain.rpc.call("StateMinerPower", ACTOR, [])["MinerPower"]["RawBytePower"]) >= int(power)


def test_other_miners_leave_it_alone(miners: Miners) -> None:
    for miner in (miners.winning, miners.seal, miners.deal):
        assert "computing window post" not in miner.log
        assert "Submitted window post" not in miner.log


def test_only_the_winning_miner_mines(chain: Daemon, miners: Miners) -> None:
    height = chain.height()
    chain.wait_height(height + 2, MESSAGE_SEC)
    assert "mined new block" in miners.winning.log
    for miner in (miners.window, miners.seal, miners.deal):
        assert "mined new block" not in miner.log
