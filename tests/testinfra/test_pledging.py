"""Nothing is pledged by itself unless the inventory asks for it."""

from __future__ import annotations

import pytest

from tests.testinfra.cluster import miners, output


@pytest.mark.parametrize("host", sorted({miner.host for miner in miners("seal", "deal")}))
def test_no_timer_pledges_unasked(host: str) -> None:
    assert output(host, "systemctl is-active lotus-pledge.timer || true").strip() in ("inactive", "unknown")
    assert output(host, "systemctl is-enabled lotus-pledge.timer 2>/dev/null || true").strip() != "enabled"
