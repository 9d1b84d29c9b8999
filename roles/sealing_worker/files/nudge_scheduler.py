#!/usr/bin/env python3
"""Wait until the miner lists a worker that just started, then have its scheduler look again.

usage: nudge_scheduler.py NAME      the miner's address and token are in MINER_API_INFO

The miner takes a worker's paths for dead until their next heartbeat, looks before that, and then not again until
something else happens: a worker that was away for 50 seconds stays idle for as long as the cluster is quiet.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from sealyard_host import lotus_api

POLL_SEC = 2.0
# Paths report every 10 seconds (contract files.json, sector_files.heartbeat), and one such report must have come in.
SETTLE_SEC = 12.0
TIMEOUT_SEC = 30


def endpoint(api_info: str) -> lotus_api.Endpoint:
    """Endpoint of TOKEN:MULTIADDR as in MINER_API_INFO; ValueError when it is no such text."""
    found = lotus_api.info_endpoint(api_info, "MINER_API_INFO", "v0")
    if not found.token:
        raise ValueError("MINER_API_INFO is not TOKEN:/ip4/ADDRESS/tcp/PORT/http")
    return found


def call(api_info: str, method: str, params: list[Any]) -> Any:
    """Result of one JSON-RPC call; ApiError or ValueError when the miner does not give one."""
    return lotus_api.call(endpoint(api_info), method, params, TIMEOUT_SEC)


def registered(api_info: str, name: str) -> bool:
    """True when the miner lists the worker and can reach it."""
    try:
        stats = call(api_info, "WorkerStats", [])
    except (lotus_api.ApiError, ValueError) as error:
        print(f"{name}: the miner cannot be asked yet: {error}", flush=True)
        return False
    return any(entry["Enabled"] and entry["Info"]["Hostname"] == name for entry in stats.values())


def main() -> None:
    """Poll, settle, nudge; a miner that is down for hours is waited for."""
    api_info, name = os.environ["MINER_API_INFO"], sys.argv[1]
    while True:
        while not registered(api_info, name):
            time.sleep(POLL_SEC)
        time.sleep(SETTLE_SEC)
        # The entry seen first may have been the one of the process before this.
        if not registered(api_info, name):
            continue
        try:
            call(api_info, "SealingSchedDiag", [True])
        except (lotus_api.ApiError, ValueError) as error:
            print(f"{name}: nudge failed: {error}", flush=True)
            time.sleep(POLL_SEC)
            continue
        print(f"{name}: registered, scheduler nudged", flush=True)
        return


if __name__ == "__main__":
    main()
