"""Window PoSt by a miner that sealed nothing and has only attached the path."""

import json
import re

import pytest

from tests.conformance.conftest import Miners
from tests.conformance.devnet import ACTOR, MESSAGE_SEC, SECTOR_SIZE_BYTES, Daemon
from tests.conformance.processes import until

# The first deadline with sectors opens 658 epochs after a 2 KiB devnet's genesis; two busy cores need up to 6 s each.
FIRST_DEADLINE_SEC = 4500.0


def scheduled_start(row: str) -> int | None:
    """The deadline of a log line that starts a cycle nobody asked for by hand."""
    if "starting PoSt cycle" not in row:
        return None
    fields = json.loads(row[row.index("{") :])
    return None if fields["manual"] else int(fields["deadline"])


@pytest.mark.slow
def test_attached_sectors_are_proven_on_time(chain: Daemon, miners: Miners) -> None:
    power = chain.rpc.call("StateMinerPower", ACTOR, [])["MinerPower"]["RawBytePower"]
    log = until(
        "a window PoSt",
        lambda: miners.window.log if "Window post submission successful" in miners.window.log else None,
        FIRST_DEADLINE_SEC,
        poll_sec=2,
    )
    found = re.search(r"Submitted window post: (bafy\w+) \(deadline (\d+)\)", log)
    assert found
    before = log[: found.start()].splitlines()
    starts = [index for index, row in enumerate(before) if scheduled_start(row) == int(found[2])]
    assert starts
    cycle = "\n".join(before[starts[-1] :])
    assert cycle.index("Checked sectors") < cycle.index("computing window post")
    rows = miners.deal.cli("proving", "deadlines").stdout.splitlines()[2:]
    (row,) = [row.split() for row in rows if row.split()[0] == found[2]]
    assert int(row[3]) >= 2
    assert row[4] == "(0)"
    assert chain.rpc.call("StateMinerFaults", ACTOR, []) == [0]
    assert int(chain.rpc.call("StateMinerPower", ACTOR, [])["MinerPower"]["RawBytePower"]) >= int(power)


@pytest.mark.slow
def test_sector_of_another_miner_gains_power(chain: Daemon, miners: Miners) -> None:
    """Sealed by the seal miner into the store that the window miner attached and redeclared."""
    assert 2 in miners.window.stored_sectors()[miners.store_id], "test_sealing.py seals it"

    def power() -> int:
        return int(chain.rpc.call("StateMinerPower", ACTOR, [])["MinerPower"]["RawBytePower"])

    until("the sector's first window PoSt to count", lambda: power() == 3 * SECTOR_SIZE_BYTES, FIRST_DEADLINE_SEC, 2)
    assert f"(deadline {chain.deadline_of(2)})" in miners.window.log
    assert chain.rpc.call("StateMinerFaults", ACTOR, []) == [0]
    rows = [row.split() for row in miners.seal.cli("sectors", "list").stdout.splitlines()]
    (row,) = [row for row in rows[1:] if row[0] == "2"]
    assert row[1:4] == ["Proving", "YES", "YES"]


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
