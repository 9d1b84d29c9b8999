"""Sectors that the one miner could not prove or finish after a handover, each with its reason and remedy.

Answers of Lotus are taken as they are. "Process" is a miner process, "HOST/ROLE"; a `states` is {number: state} of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

ON_CHAIN = ("Proving", "Available", "Faulty", "FaultReported", "FaultedFinal")
"""States of a sector that the chain has and whose files are in a store: it needs no record of its miner any more."""
GONE = ("Removed",)
UNTOUCHED = ("WaitDeals", "SnapDealsWaitDeals")
"""States that start no task by themselves."""
AT_REST = (*ON_CHAIN, *GONE, *UNTOUCHED, "FailedUnrecoverable")


def unaccounted_sectors(
    miners: Sequence[Mapping[str, Any]],
    chain: Iterable[Any],
    stored: Mapping[Any, str],
    kept: str = "",
) -> list[dict[str, Any]]:
    """Sectors that the one miner could not prove or finish: [{process, number, state, reason, remedy}], in order.

    `miners`: [{process, states}], one for every process that ever sealed. `chain`: numbers of the actor's live sectors
    (StateMinerSectors), whoever sealed them. `stored`: {number: what is wrong with its files, "" when whole}, over the
    stores that the one miner will have. `kept`: process whose records stay in use, so that it can finish what it began.
    """
    live = {int(number) for number in chain}
    files = {int(number): text for number, text in stored.items()}
    found: list[dict[str, Any]] = []
    known: set[int] = set()

    def report(process: str, number: int, state: str, reason: str, remedy: str) -> None:
        found.append({"process": process, "number": number, "state": state, "reason": reason, "remedy": remedy})

    for miner in miners:
        process = str(miner["process"])
        for number, state in sorted((int(number), str(state)) for number, state in miner["states"].items()):
            known.add(number)
            if number in live and state in (*ON_CHAIN, *GONE, *(() if process == kept else ("FailedUnrecoverable",))):
                lost = _files_problem(number, files)
                if lost:
                    report(process, number, state, *lost)
            elif state in GONE or process == kept:
                continue
            elif state in ON_CHAIN:
                report(
                    process,
                    number,
                    state,
                    f"its miner says {state}, the chain does not have it",
                    "wait if its message is young; an expired or terminated one is to be removed: "
                    f"lotus-miner sectors remove --really-do-it {number}",
                )
            else:
                report(process, number, state, *_pipeline_problem(number, state))
    for number in sorted(live - known):
        lost = _files_problem(number, files)
        if lost:
            report("the chain", number, "live", *lost)
    return sorted(found, key=lambda each: (each["process"], each["number"]))


def _files_problem(number: int, files: Mapping[int, str]) -> tuple[str, str] | None:
    """Reason and remedy where the files of a live sector are not whole in a store of the one miner."""
    if number not in files:
        return (
            "the chain has it and no store of the one miner holds its files",
            "mount the store that has them on the one miner's host and name it in sealing_stores",
        )
    if files[number]:
        return (
            f"its files are not whole: {files[number]}",
            "bring them back from a copy, or let the sector be terminated",
        )
    return None


def _pipeline_problem(number: int, state: str) -> tuple[str, str]:
    """Reason and remedy for a sector that another miner still works on."""
    reason = f"it is {state or 'changing its state'}, and what its miner knows of it cannot be carried over"
    if state in UNTOUCHED:
        return reason, f"lotus-miner sectors seal {number}, then wait until it is Proving"
    if "Fail" in state:
        return reason, f"repair it, or lotus-miner sectors remove --really-do-it {number}"
    if state.startswith("Termina"):
        return reason, "wait until it is Removed"
    return reason, f"wait until it is Proving, or lotus-miner sectors remove --really-do-it {number}"


def unaccounted_text(unaccounted: Sequence[Mapping[str, Any]], most: int = 200) -> list[str]:
    """One line each for people, at most so many, and how many more there are."""
    lines = [
        f"{each['process']}: sector {each['number']}: {each['reason']}. Remedy: {each['remedy']}"
        for each in unaccounted[:most]
    ]
    return lines + ([f"and {len(unaccounted) - most} more"] if len(unaccounted) > most else [])
