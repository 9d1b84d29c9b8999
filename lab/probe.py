"""Runs on the seal miner's host: prints one JSON line for every change of its sectors and its workers' jobs.

Standard library only, because it is sent to the host as text; the miner's token never leaves the host. It ends when
its standard input is closed.
"""

from __future__ import annotations

import json
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

QUICK_SEC = 0.05
"""Between two looks while sectors are in stages that last a blink at 2 KiB."""
CALM_SEC = 0.15
SHORT_STAGES = ("Empty", "WaitDeals", "AddPiece", "Packing", "GetTicket", "PreCommit1", "PreCommit2")


def call(repo: Path, method: str, *params: object) -> Any:
    """One JSON-RPC call to the miner whose repo this is."""
    parts = (repo / "api").read_text().strip().split("/")
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": f"Filecoin.{method}", "params": params}).encode()
    headers = {"Authorization": f"Bearer {(repo / 'token').read_text().strip()}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"http://{parts[2]}:{parts[4]}/rpc/v0", body, headers)
    with urllib.request.urlopen(request, timeout=20) as reply:
        answer = json.load(reply)
    if "error" in answer:
        raise OSError(f"{method}: {answer['error'].get('message')}")
    return answer["result"]


def sectors(repo: Path) -> dict[int, str]:
    """State of every sector this miner seals."""
    found = {}
    for number in call(repo, "SectorsList") or []:
        found[int(number)] = str(call(repo, "SectorsStatus", number, False)["State"])
    return found


def workers(repo: Path) -> dict[str, str]:
    """Name of each worker by the id it has with the miner."""
    return {key: str(value["Info"]["Hostname"]) for key, value in call(repo, "WorkerStats").items()}


def jobs(repo: Path, names: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Running jobs by call id; `names` remembers which worker is behind which id."""
    found = {}
    for worker, items in (call(repo, "WorkerJobs") or {}).items():
        for job in items or []:
            if job["RunWait"] == 0:
                found[str(job["ID"]["ID"])] = {
                    "sector": int(job["Sector"]["Number"]),
                    "task": job["Task"],
                    "worker": job.get("Hostname") or names.get(worker, worker),
                }
    return found


def watch(repo: Path) -> None:
    """Print changes for ever."""
    known_sectors: dict[int, str] = {}
    known_jobs: dict[str, dict[str, Any]] = {}
    names: dict[str, str] = {}
    look_at_sectors = 0.0
    logging = False
    while True:
        now = time.time()
        try:
            if not logging:
                # Tasks that last less than a look are known from the scheduler's log alone.
                call(repo, "LogSetLevel", "advmgr", "debug")
                logging = True
            running = jobs(repo, names)
            for ident in running.keys() - known_jobs.keys():
                print(json.dumps({"event": "start", "time": now, "id": ident, **running[ident]}), flush=True)
            for ident in known_jobs.keys() - running.keys():
                print(json.dumps({"event": "end", "time": now, "id": ident, **known_jobs[ident]}), flush=True)
            known_jobs = running
            if now >= look_at_sectors:
                if (found := workers(repo)) != names:
                    names.update(found)
                    print(json.dumps({"event": "workers", "time": now, "names": names}), flush=True)
                states = sectors(repo)
                if states != known_sectors or look_at_sectors == 0.0:
                    print(json.dumps({"event": "sectors", "time": now, "states": states}), flush=True)
                known_sectors, look_at_sectors = states, now + 0.5
        except (OSError, KeyError, ValueError) as error:
            logging = False
            print(json.dumps({"event": "trouble", "time": now, "text": str(error)}), flush=True)
            time.sleep(2)
        busy = any(state in SHORT_STAGES for state in known_sectors.values()) or len(known_sectors) < int(sys.argv[2])
        time.sleep(QUICK_SEC if busy else CALM_SEC)


if __name__ == "__main__":
    threading.Thread(target=watch, args=(Path(sys.argv[1]),), daemon=True).start()
    sys.stdin.read()
