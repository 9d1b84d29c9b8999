"""Which stack this build plays, and the figures in which the stacks differ."""

from __future__ import annotations

from dataclasses import dataclass

from . import buildinfo, contract

LOTUS, FORK = "lotus", "lotus_distributed"
VERSION = buildinfo.VERSION or contract.version(buildinfo.STACK)


@dataclass(frozen=True)
class Stack:
    """API versions as 0xMMmmpp."""

    node_version: str
    miner_version: str
    full_v0: int
    full_v1: int
    miner: int
    worker: int
    devnet_network_version: int
    public_network_version: int


def _build(commit: str) -> str:
    return f"+{buildinfo.NETWORK}+git.{commit}"


def _lotus() -> Stack:
    node, miner = VERSION + _build("c6f4d024"), f"v{VERSION}-dev" + _build("c6f4d024")
    return Stack(node, miner, 0x10500, 0x20300, 0x10500, 0x10700, 22, 27)


def _fork() -> Stack:
    # The fork adds no suffix to the version of its base; the first generation was built on 1.4.
    version = ("1.4.0" if buildinfo.GENERATION == 1 else VERSION) + _build("a9b8795f")
    newest = buildinfo.NEWEST_NETWORK_VERSION
    return Stack(version, version, 0x10400, 0x20100, 0x10200, 0x10100, newest, newest)


IS_FORK = buildinfo.STACK == FORK
CURRENT = _fork() if IS_FORK else _lotus()


def text(version: int) -> str:
    """1.5.0 from 0x10500."""
    return f"{version >> 16}.{version >> 8 & 255}.{version & 255}"
