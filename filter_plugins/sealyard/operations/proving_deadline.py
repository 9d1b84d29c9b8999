"""Filters for the moment in which a window miner may stop: what the chain's deadlines still wait for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sealyard.lotus.runs import members

DEADLINES = 48
"""Deadlines of a proving period, on every network (WPoStPeriodDeadlines)."""

Answers = Sequence[Mapping[str, Any]]
"""What module lotus_rpc answers to several calls: each has `method`, `params`, `result` and `error`, "" without one."""


def actor_deadline_calls(actor: str) -> list[dict[str, Any]]:
    """Calls to a daemon that tell in one go what `chain_answers_proofs_due` asks for."""
    return [
        {"method": "StateMinerProvingDeadline", "params": [actor, None]},
        {"method": "StateMinerDeadlines", "params": [actor, None]},
        *({"method": "StateMinerPartitions", "params": [actor, index, None]} for index in range(DEADLINES)),
    ]


def chain_answers_proofs_due(answers: Answers | None, within_epochs: int = 0) -> list[str]:
    """Why the window miner cannot be stopped now, one sentence per deadline; [] when a stop costs no proof.

    `answers` are to `actor_deadline_calls`. Looked at are the open deadline and those that open within so many epochs.
    An answer that is missing counts as a proof to wait for.
    """
    deadline, deadlines = (result_of(answers, name) for name in ("StateMinerProvingDeadline", "StateMinerDeadlines"))
    if deadline is None or deadlines is None:
        return ["the chain cannot be asked for the open deadline"]
    asked = {int(each["params"][1]): each for each in answers or [] if each["method"] == "StateMinerPartitions"}
    found = []
    for near in near_deadlines(deadline, within_epochs):
        index, now = near["index"], int(deadline["CurrentEpoch"])
        if index not in asked or asked[index].get("error"):
            found.append(f"the chain cannot be asked for the partitions of deadline {index}")
            continue
        proven = members(deadlines[index].get("PostSubmissions")) if near["open"] <= now else set()
        waiting = [
            str(number)
            for number, partition in enumerate(asked[index].get("result") or [])
            if number not in proven and _provable(partition)
        ]
        if waiting and near["open"] <= now:
            found.append(
                f"deadline {index} closes in {near['close'] - now} epochs and its partition {', '.join(waiting)} "
                "is not proven"
            )
        elif waiting:
            found.append(f"deadline {index} opens in {near['open'] - now} epochs and has sectors to prove")
    return found


def near_deadlines(deadline: Mapping[str, Any], within_epochs: int) -> list[dict[str, int]]:
    """The open deadline and those that open within so many epochs: [{index, open, close}], in that order.

    `deadline` answers StateMinerProvingDeadline.
    """
    now, opened = int(deadline["CurrentEpoch"]), int(deadline["Open"])
    window, count = int(deadline["WPoStChallengeWindow"]), int(deadline["WPoStPeriodDeadlines"])
    return [
        {
            "index": (int(deadline["Index"]) + step) % count,
            "open": opened + step * window,
            "close": opened + (step + 1) * window,
        }
        for step in range(count)
        if opened + step * window <= now + int(within_epochs) and now < opened + (step + 1) * window
    ]


def _provable(partition: Mapping[str, Any]) -> set[int]:
    """Sectors of a partition that a proof is expected for: a fault without a recovery needs none."""
    faulty = members(partition.get("FaultySectors")) - members(partition.get("RecoveringSectors"))
    return members(partition.get("LiveSectors")) - faulty


def result_of(answers: Answers | None, method: str) -> Any:
    """Result of the first answer to a method; None where there is none."""
    return next((answer.get("result") for answer in answers or [] if answer["method"] == method), None)
