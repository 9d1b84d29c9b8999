#!/usr/bin/env python3
"""Wait until the miner lists a worker that just started, then have its scheduler look again.

usage: nudge_scheduler.py NAME      the miner's address and token are in MINER_API_INFO

The miner takes a worker's paths for dead until their next heartbeat, looks before that, and then not again until
something else happens: a worker that was away for 50 seconds stays idle for as long as the cluster is quiet.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.request
from typing import Any

POLL_SEC = 2.0
# Paths report every 10 seconds (contract files.json, sector_files.heartbeat), and one such report must have come in.
SETTLE_SEC = 12.0


def endpoint(api_info: str) -> tuple[str, str]:
    """Token and URL of TOKEN:MULTIADDR as in MINER_API_INFO; ValueError when it is no such text."""
    token, colon, address = api_info.partition(":")
    parts = address.split("/")
    if not colon or len(parts) < 5 or parts[1] not in ("ip4", "ip6", "dns", "dns4", "dns6") or parts[3] != "tcp":
        raise ValueError("MINER_API_INFO is not TOKEN:/ip4/ADDRESS/tcp/PORT/http")
    host = f"[{parts[2]}]" if parts[1] == "ip6" else parts[2]
    return token, f"http://{host}:{int(parts[4])}/rpc/v0"


def call(api_info: str, method: str, params: list[Any]) -> Any:
    """Result of one JSON-RPC call; OSError or ValueError when the miner does not give one."""
    token, url = endpoint(api_info)
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": f"Filecoin.{method}", "params": params}).encode()
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    request.add_unredirected_header("Authorization", f"Bearer {token}")
    # A proxy set on the host must never see the token.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as answer:
        document = json.loads(answer.read())
    if document.get("error"):
        raise ValueError(f"{method}: {document['error'].get('message')}")
    return document.get("result")


def registered(api_info: str, name: str) -> bool:
    """True when the miner lists the worker and can reach it."""
    try:
        stats = call(api_info, "WorkerStats", [])
    except (OSError, ValueError) as error:
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
        except (OSError, ValueError) as error:
            print(f"{name}: nudge failed: {error}", flush=True)
            time.sleep(POLL_SEC)
            continue
        print(f"{name}: registered, scheduler nudged", flush=True)
        return


if __name__ == "__main__":
    main()
