#!/usr/bin/python3
"""Keeper of the sector counter's file: creates and raises it, copies it, and refuses a start that would repeat numbers.

The file `sectorid` holds the last number issued, as text. The fork reads it once, at the start of the miner that serves
numbers: a missing file starts at 1, an empty one gives no server at all, and a leading zero is read as octal
(contract files.json, sector_counter).
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sealyard_host import lotus_api
from sealyard_host.files import text_of
from sealyard_host.sector_numbers import AUTHORITY, HIGHEST, parse, read, stamp, write

MOVE = "playbooks/sector_counter_move.yml"
AHEAD = 64
"""A daemon that cannot list allocated numbers is asked one by one, until so many in a row are free."""
KEPT_BACKUPS = 50
TIMEOUT_SEC = 60


class Refused(Exception):
    """What is wrong, and what to do about it."""


def raise_to(path: Path, number: int) -> bool:
    """Write the number unless the file holds as high a one; true when it was written."""
    if (read(path) or 0) >= number:
        return False
    write(path, number)
    return True


def named(copy: Path) -> str:
    """The process that may give out numbers, "" where none is named."""
    return text_of(copy.with_name(AUTHORITY))


def claim(options: argparse.Namespace) -> bool:
    """Name this process as the one that gives out numbers; true when another or none was named."""
    if not options.name or named(options.copy) == options.name:
        return False
    write(options.copy.with_name(AUTHORITY), options.name)
    return True


def refuse_second(options: argparse.Namespace) -> None:
    """Refused where another process gives out the numbers, or where this one has been retired."""
    other = named(options.copy)
    if options.name and other not in ("", options.name):
        raise Refused(
            f"{options.copy.with_name(AUTHORITY)} says that {other} gives out the numbers, and this is {options.name}: "
            f"two would give out the same ones. {MOVE} moves the counter to the host of group sector_counter"
        )
    if not options.file.exists() and any(options.file.parent.glob(f"{options.file.name}.retired.*")):
        raise Refused(f"{options.file} was retired, another host took over from it. {MOVE} moves the counter back here")


def back_up(file: Path, state: Path) -> None:
    """Keep what the file holds, whatever it is, before it is replaced."""
    if not file.exists():
        return
    (state / f"sectorid.{stamp()}").write_bytes(file.read_bytes())
    for old in sorted(state.glob("sectorid.*Z"))[:-KEPT_BACKUPS]:
        old.unlink()


# ---------------------------------------------------------------------------------------------------------------------
# The chain


def call(api_info: str, method: str, params: list[Any]) -> Any:
    """One call to the daemon named by FULLNODE_API_INFO; CallFailed carries the daemon's own error."""
    return lotus_api.call(lotus_api.info_endpoint(api_info, "FULLNODE_API_INFO", "v1"), method, params, TIMEOUT_SEC)


def highest_of(runs: Sequence[int]) -> int:
    """Highest number of a set that is given as lengths of runs, absent first; 0 for none."""
    used = len(runs) - len(runs) % 2
    return sum(runs[:used]) - 1 if used else 0


def chain_highest(api_info: str, actor: str) -> int:
    """Highest sector number that the chain has allocated to the actor; 0 where it has none.

    Raises Unreachable when the daemon does not answer.
    """
    try:
        return highest_of(call(api_info, "StateMinerAllocated", [actor, None]) or [])
    except lotus_api.CallFailed:
        pass  # a daemon that cannot list them
    highest = max(
        (int(s["SectorNumber"]) for s in call(api_info, "StateMinerSectors", [actor, None, None]) or []), default=0
    )
    free = 0
    while free < AHEAD:
        free += 1
        if call(api_info, "StateMinerSectorAllocated", [actor, highest + free, None]):
            highest, free = highest + free, 0
    return highest


# ---------------------------------------------------------------------------------------------------------------------
# Verbs


def known(options: argparse.Namespace) -> dict[str, int]:
    """Where a highest number is remembered, and which; the chain is left out when it does not answer."""
    found = {
        "the mark " + str(options.state / HIGHEST): read(options.state / HIGHEST) or 0,
        "the copy " + str(options.copy): read(options.copy) or 0,
    }
    api_info = os.environ.get("FULLNODE_API_INFO", "")
    if api_info and options.actor:
        try:
            found[f"the chain, for {options.actor},"] = chain_highest(api_info, options.actor)
        except (lotus_api.ApiError, ValueError) as error:
            if options.take_over:
                raise Refused(f"the chain cannot be asked for the highest sector number: {error}") from None
            print(f"the chain was not asked: {error}", file=sys.stderr)
    return found


def fault(file: Path) -> str:
    """What is wrong with the file itself, "" when it can be read as it is meant."""
    try:
        text = file.read_bytes().decode("ascii")
    except FileNotFoundError:
        return "is missing, and the fork would start again at 1"
    except (OSError, ValueError) as error:
        return f"cannot be read: {error}"
    if not text.strip():
        return "is empty, and no number would be served"
    if parse(text) is None:
        return f"holds {text[:40]!r}, which is no plain number"
    return ""


def check(options: argparse.Namespace) -> None:
    """Refused unless the miner may start serving numbers."""
    refuse_second(options)
    remedy = "run playbooks/miners.yml with -e sector_counter_repair=true, which sets it above the highest"
    wrong = fault(options.file)
    if wrong:
        raise Refused(f"{options.file} {wrong}; {remedy}")
    number = read(options.file) or 0
    for where, highest in known(options).items():
        if number < highest:
            raise Refused(
                f"{options.file} holds {number} and {where} knows {highest}: numbers would be given twice; {remedy}"
            )
    host, _, port = options.listen.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), int(port)))
            probe.listen()
        except OSError as error:
            raise Refused(
                f"the counter cannot listen on {options.listen}: {error.strerror}. It must be an address of this host "
                f"(sealing_address) and a port that nothing else uses (ss -ltnp 'sport = :{port}')"
            ) from None


def copy(options: argparse.Namespace) -> None:
    """Remember the number, here and in the second place; neither ever goes down."""
    number = read(options.file)
    if number is None:
        raise Refused(f"{options.file} {fault(options.file)}: the copies stay as they are")
    for target in (options.state / HIGHEST, options.copy):
        raise_to(target, number)


def ensure(options: argparse.Namespace) -> str:
    """Bring the file to where a start is safe; returns what was done, "" when nothing was."""
    if not options.take_over:
        refuse_second(options)
    marks = {**known(options), "a miner of the actor": options.miners}
    floor = max(1, *marks.values())
    mark = options.state / HIGHEST
    wrong = fault(options.file)
    number = read(options.file) or 0
    if not wrong and number >= floor:
        raise_to(mark, number)
        raise_to(options.copy, number)
        return f"{options.name} is named as the one that gives out numbers" if claim(options) else ""
    where = max(marks, key=lambda name: marks[name])
    if options.running:
        raise Refused(
            f"{options.file} {wrong or f'holds {number}, {where} knows {floor}'}, and the miner runs: stop it first"
        )
    first = not options.file.exists() and not mark.exists()
    if first and options.seed and options.seed < floor:
        raise Refused(
            f"sector_counter_seed: {options.seed} is below {floor}, which {where} knows; "
            f"write {floor} or more, or leave it out"
        )
    if not first and not options.repair and not options.take_over:
        raise Refused(
            f"{options.file} {wrong or f'holds {number}, {where} knows {floor}'}. When every miner of the actor "
            "answers, run again with -e sector_counter_repair=true, which sets it to the highest number found"
        )
    if options.unanswered and not (first and options.seed):
        raise Refused(
            f"{', '.join(options.unanswered)} cannot be asked for the highest sector number: start it, or write "
            "sector_counter_seed with a number that is not below any sector of the actor"
        )
    value = max(floor, options.start - 1, options.seed if first else 0)
    back_up(options.file, options.state)
    write(options.file, value)
    raise_to(mark, value)
    raise_to(options.copy, value)
    claim(options)
    return f"{'created' if first else 'raised'} at {value}, above {floor} of {where}"


def show(options: argparse.Namespace) -> str:
    """What the file and everything that remembers a number say."""
    return json.dumps({"file": read(options.file), "fault": fault(options.file), "known": known(options)})


def main(arguments: Sequence[str]) -> int:
    """Run one verb; 0 unless something is refused."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verb", choices=["check", "copy", "ensure", "show"])
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--copy", type=Path, required=True)
    parser.add_argument("--actor", default="")
    parser.add_argument("--name", default="")
    parser.add_argument("--listen", default="")
    parser.add_argument("--miners", type=int, default=0)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--unanswered", action="append", default=[])
    parser.add_argument("--repair", action="store_true")
    parser.add_argument("--take-over", action="store_true")
    parser.add_argument("--running", action="store_true")
    options = parser.parse_args(arguments)
    try:
        said = {"check": check, "copy": copy, "ensure": ensure, "show": show}[options.verb](options)
    except Refused as error:
        print(f"sector counter: {error}", file=sys.stderr)
        return 1
    if said:
        print(said)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
