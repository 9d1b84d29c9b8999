"""Two winning processes of one actor: the alarm to watch for. Last, because it breaks the rule on purpose."""

from tests.conformance.conftest import Miners
from tests.conformance.devnet import MESSAGE_SEC, ONLY_WINNING, STORAGE_OFF, Daemon
from tests.conformance.processes import until

ALARM = "<!!> SLASH FILTER DETECTED FAULT due to "


def test_second_winning_process_on_one_daemon_is_caught(chain: Daemon, miners: Miners) -> None:
    assert miners.window.stop() == 0
    miners.window.configure(ONLY_WINNING, STORAGE_OFF)
    seen = {miner.name: len(miner.log) for miner in (miners.winning,)}
    miners.window.start()
    until(
        "the slash filter's alarm",
        lambda: ALARM in miners.window.log or ALARM in miners.winning.log[seen["winning"] :],
        MESSAGE_SEC,
    )
    height = chain.height()
    assert miners.window.stop() == 0
    chain.wait_height(height + 2, MESSAGE_SEC)
