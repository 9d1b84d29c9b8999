"""What a running miner of the fork does, as its command line and its log tell it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from sealyard.plan.types import Counter

SWITCHES: Final = {
    "winning": {"window-post": "false", "winning-post": "true", "p2p": "false"},
    "window": {"window-post": "true", "winning-post": "false", "p2p": "false"},
    "seal": {"window-post": "false", "winning-post": "false", "p2p": "true"},
    "deal": {"window-post": "false", "winning-post": "false", "p2p": "true"},
}
"""Flags that say what a miner does, by its role."""
DUTY_LINES: Final = {
    "window": (r"This miner will do windowPoSt", r"will be disabled? windowPoSt"),
    "winning": (r"This miner will (mining|minning) block", r"will be disabled? (mining|minning) block"),
    "p2p": (r"Bootstrapping libp2p network with full node", r"will be disabled? p2p"),
}
"""What the log says of a duty that is on, and of one that is off; older binaries spell it otherwise
(contract lotus_distributed/files.json, roles.switches and roles.grep)."""
SWITCH_OF_DUTY: Final = {"window": "window-post", "winning": "winning-post", "p2p": "p2p"}
COUNTER_LINE: Final = r"sctype is : (\S+) , sclisten is: (\S+)"
COUNTER_SERVES: Final = r"grpc server Listing on"
COUNTER_NUMBER: Final = r"currn sectorid:\s+\d+"
PATTERNS: Final = (
    *(line for pair in DUTY_LINES.values() for line in pair),
    COUNTER_LINE,
    COUNTER_SERVES,
    COUNTER_NUMBER,
)
AGAIN: Final = "run playbooks/miners.yml, which restarts it with the plan's flags"


def counts(role: str, counter: Counter | None, allocates: bool) -> tuple[str, str] | None:
    """Return how a process comes by sector numbers, and where: values of --sctype and --sclisten; None for neither."""
    if not allocates and role not in ("seal", "deal"):
        return None
    return ("alloce" if allocates else "get", counter.listen if counter else "")


def duty_problems(
    found: Mapping[str, Any], host: str, role: str, flags: Sequence[str], counter: Counter | None
) -> list[str]:
    """What a running miner does that the plan does not say; `found` is the answer of module unit_log.

    Its command line and its log are both looked at: a flag behind a blank is on the command line and does nothing. A
    log that no longer holds the start proves nothing either way.
    """
    name = f"{host}: the {role} miner"
    command = [str(word) for word in found.get("command") or []]
    if "run" not in command:
        return [f"{name} does not run: journalctl -u lotus-miner-{role} -n 40"]
    words = command[command.index("run") + 1 :]
    problems = [
        f"{name} runs with '{word}', and ignores every flag behind it: {AGAIN}" for word in words if word[:1] != "-"
    ]
    problems += [f"{name} runs without {flag}: {AGAIN}" for flag in flags if flag not in words]
    if not found.get("complete"):
        return problems
    allocates = counter is not None and counter.process == f"{host}/{role}"
    lines = [str(line) for line in found.get("lines") or []]
    return [*problems, *_duties(lines, name, role), *_numbers(lines, name, counts(role, counter, allocates))]


def _duties(lines: Sequence[str], name: str, role: str) -> Iterator[str]:
    """What the log says of the duties; its last word counts."""
    for duty, (on, off) in DUTY_LINES.items():
        says = [bool(re.search(on, line)) for line in lines if re.search(on, line) or re.search(off, line)]
        if not says:
            yield f"{name} does not say in its log whether it does {duty}: its log level hides it, or it did not start"
        elif says[-1] != (SWITCHES[role][SWITCH_OF_DUTY[duty]] == "true"):
            yield f"{name} says in its log that {duty} is {'on' if says[-1] else 'off'}: {AGAIN}"


def _numbers(lines: Sequence[str], name: str, wanted: tuple[str, str] | None) -> Iterator[str]:
    """Where the log says that sector numbers come from."""
    said = [match.group(1, 2) for line in lines if (match := re.search(COUNTER_LINE, line))]
    if said[-1:] != ([wanted] if wanted else []):
        takes = " ".join(said[-1]) if said else "numbers of its own"
        yield (
            f"{name} takes its sector numbers from {takes}, the plan says {wanted[1] if wanted else 'nowhere'}: {AGAIN}"
        )
    if wanted and wanted[0] == "alloce" and not any(re.search(COUNTER_NUMBER, line) for line in lines):
        yield f"{name} serves no sector numbers: its sectorid file cannot be read, {AGAIN}"
