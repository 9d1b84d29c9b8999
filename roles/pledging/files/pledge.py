#!/usr/bin/env python3
"""Pledge sectors of committed capacity, never more than PC1 and its scratch carry. A timer runs this.

usage: pledge.py --repo DIR --sectors N --pc1-slots N --held-max N [--held-to-the-end]
                 [--counter HOST:PORT] [--command NAME --binary PATH]

Ends with status 0 when it pledged, or had no room to; with 1 and the reason when the miner or the sector counter cannot
be asked. Nothing is pledged then.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sealyard_host import lotus_api
from sealyard_host.programs import last_words

TIMEOUT_SEC = 120
COUNTER_TIMEOUT_SEC = 5

# fmt: off
BEFORE_PC1_ENDS = frozenset((
    "UndefinedSectorState", "Empty", "WaitDeals", "Packing", "PackingFailed", "AddPiece", "AddPieceFailed", "GetTicket",
    "PreCommit1", "SealPreCommit1Failed",
))
"""States of a sector that takes a PC1 slot, or waits for one (Lotus, pipeline sector states)."""
BEFORE_PC2_ENDS = BEFORE_PC1_ENDS | {"PreCommit2", "SealPreCommit2Failed"}
"""States of a sector whose layers lie on PC1 scratch."""
FINISHED = frozenset((
    "Proving", "Available", "Faulty", "FaultReported", "FaultedFinal", "FailedUnrecoverable", "Removing",
    "RemoveFailed", "Removed", "Terminating", "TerminateWait", "TerminateFinality", "TerminateFailed",
))
"""States of a sector that has left all scratch."""
# fmt: on


class Paused(Exception):
    """Pledging must wait; the text says why."""


def room(
    summary: Mapping[str, int], sectors: int, pc1_slots: int, held_max: int, held_to_the_end: bool
) -> tuple[int, str]:
    """How many of `sectors` may be pledged, and what binds them; `summary` counts sectors by state.

    `held_max` is what PC1 scratch can hold; with `held_to_the_end` a sector lies there until it is finalized.
    """
    in_pc1 = sum(count for state, count in summary.items() if state in BEFORE_PC1_ENDS)
    if held_to_the_end:
        held = sum(count for state, count in summary.items() if state not in FINISHED)
    else:
        held = sum(count for state, count in summary.items() if state in BEFORE_PC2_ENDS)
    free, why = min(
        (sectors, f"{sectors} wanted"),
        (pc1_slots - in_pc1, f"{in_pc1} of {pc1_slots} PC1 slots are taken or waited for"),
        (held_max - held, f"scratch holds {held} of {held_max} sectors"),
        key=lambda each: each[0],
    )
    return max(0, free), why


def call(repo: Path, method: str) -> Any:
    """Result of a call without parameters to the miner of `repo`; Paused when there is none."""
    try:
        endpoint = lotus_api.repo_endpoint(repo, "v0")
    except (lotus_api.Unreachable, OSError, ValueError) as error:
        raise Paused(f"the miner does not run: {error}") from None
    try:
        return lotus_api.call(endpoint, method, [], TIMEOUT_SEC)
    except lotus_api.Unreachable as error:
        raise Paused(f"the miner does not answer {method}: {error}") from None
    except lotus_api.CallFailed as error:
        raise Paused(f"the miner refuses {method}: {error.words}") from None


def reach_counter(address: str) -> None:
    """Connect to the sector counter and ask nothing, as each question costs a number; Paused when it is away."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=COUNTER_TIMEOUT_SEC).close()
    except OSError as error:
        raise Paused(f"the sector counter {address} does not answer: {error}") from None


def sectors_of(command: str, stats: Mapping[str, Any]) -> int:
    """How many sectors the fork's `sectors mypledgeonce` or `sectors mypledge` makes (contract pledge_commands)."""
    most = [int(entry["Info"]["Resources"].get("AddPieceMax") or 0) for entry in stats.values()]
    return sum(1 for each in most if each) if command == "mypledgeonce" else sum(most)


def pledge(options: argparse.Namespace) -> str:
    """Pledge what there is room for and say what was done; Paused otherwise."""
    if options.counter:
        reach_counter(options.counter)
    count, why = room(
        call(options.repo, "SectorsSummary") or {},
        options.sectors,
        options.pc1_slots,
        options.held_max,
        options.held_to_the_end,
    )
    if not count:
        return f"nothing pledged: {why}"
    if options.command != "pledge":
        theirs = sectors_of(options.command, call(options.repo, "WorkerStats") or {})
        if theirs <= count:
            return run(options)
        why = f"{why}; sectors {options.command} would make {theirs}"
    # One at a time, so that what fails is known and no number is asked for in vain.
    made: list[int] = []
    for _ in range(count):
        try:
            made.append(int(call(options.repo, "PledgeSector")["Number"]))
        except Paused as paused:
            done = f"pledged {', '.join(map(str, made))}, then: " if made else ""
            raise Paused(f"{done}{paused}") from None
    return f"pledged {', '.join(map(str, made))} ({why})"


def run(options: argparse.Namespace) -> str:
    """Run the fork's own command, which pledges for every worker at once."""
    command = [options.binary, "--miner-repo", str(options.repo), "sectors", options.command]
    environment = {**os.environ, "LOTUS_MINER_PATH": str(options.repo)}
    result = subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False, env=environment)
    lines = [line.strip() for line in (result.stdout + result.stderr).splitlines() if line.strip()]
    if result.returncode:
        why = last_words("\n".join(lines), f"status {result.returncode}")
        raise Paused(f"sectors {options.command}: {why}")
    return f"sectors {options.command}: " + "; ".join(line for line in lines if "Created" in line)


def arguments() -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description="Pledge as many sectors as PC1 carries.")
    parser.add_argument("--repo", type=Path, required=True)
    parser.add_argument("--sectors", type=int, required=True)
    parser.add_argument("--pc1-slots", type=int, required=True)
    parser.add_argument("--held-max", type=int, required=True)
    parser.add_argument("--held-to-the-end", action="store_true")
    parser.add_argument("--counter", default="")
    parser.add_argument("--command", choices=("pledge", "mypledgeonce", "mypledge"), default="pledge")
    parser.add_argument("--binary", default="lotus-miner")
    return parser.parse_args()


def main() -> int:
    """Pledge and say so."""
    try:
        print(pledge(arguments()), flush=True)
    except Paused as paused:
        print(f"pledging pauses: {paused}", file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
