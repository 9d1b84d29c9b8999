"""Daemons: one chain for all, no wallet in public."""

from __future__ import annotations

import pytest

from tests.testinfra.cluster import Process, daemons


def test_all_follow_one_chain() -> None:
    heights = {str(daemon): daemon.call("ChainHead")["Height"] for daemon in daemons()}
    lowest = min(heights.values())
    assert max(heights.values()) - lowest <= 30, heights
    common = {str(daemon): daemon.call("ChainGetTipSetByHeight", lowest - 5, None)["Cids"] for daemon in daemons()}
    assert len({str(cids) for cids in common.values()}) == 1, common


@pytest.mark.parametrize("daemon", [d for d in daemons() if d.name == "public"], ids=str)
def test_no_key_is_on_a_public_daemon(daemon: Process) -> None:
    assert not daemon.call("WalletList")


@pytest.mark.parametrize("daemon", [d for d in daemons() if d.name == "private"], ids=str)
def test_the_workers_key_is_on_every_private_daemon(daemon: Process) -> None:
    assert daemon.call("WalletList")
