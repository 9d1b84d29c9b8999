"""Commands of `lotus-miner` that only the fork has, or prints otherwise."""

from __future__ import annotations

import time

from .. import miner_cli
from ..cli import Call
from ..common import out
from .limits import Limits, read_external


def run(call: Call) -> None:
    command = COMMANDS.get(call.command)
    if command:
        command(call)
    else:
        miner_cli.run(call)


def _pledge(call: Call, count: int, pause_sec: float) -> None:
    """Stops at the first error; what was created before stays."""
    api = miner_cli.miner(call)
    for position in range(count):
        if position and pause_sec:
            time.sleep(pause_sec)
        out(f"Created CC sector:  {api.call('PledgeSector')['Number']}")


def _add_piece_maxima(call: Call) -> list[int]:
    """Of all connected workers, the miner's own included; tasks, switches and what runs are not looked at."""
    stats = miner_cli.miner(call).call("WorkerStats")
    return [int(stat["Info"]["Resources"].get("AddPieceMax", 0)) for stat in stats.values()]


def _mypledge(call: Call) -> None:
    _pledge(call, sum(_add_piece_maxima(call)), 0)


def _mypledgeonce(call: Call) -> None:
    _pledge(call, sum(limit > 0 for limit in _add_piece_maxima(call)), 1)


def _workers(call: Call) -> None:
    for ident, stat in sorted(miner_cli.miner(call).call("WorkerStats").items()):
        info = stat["Info"]
        reported = Limits.of(info["Resources"])
        external = reported.external()
        # The limits of an official worker are read here, from this command's own LOTUS_MINER_PATH.
        limits = Limits.of(read_external() or {}) if external else reported
        out(f"Worker {ident}, host {info['Hostname']}{'' if stat['Enabled'] else ' (disabled)'}")
        out(f"\tTypes: [ {stat['TaskTypes']} ]")
        out(
            f"\tAPMax:{limits.AddPieceMax}  P1Max:{limits.PreCommit1Max}  P2Max:{limits.PreCommit2Max}  "
            f"C2Max:{limits.Commit2Max}  DiskHoldMax:{limits.DiskHoldMax}  APDiskHoldMax:{limits.APDiskHoldMax}  "
            f"BindAP:{_word(limits.ForceP1FromLocalAP)}  BindP1:{_word(limits.ForceP2FromLocalP1)}  "
            f"BindP2:{_word(limits.ForceC2FromLocalP2)}"
        )
        mark = " [External]" if external else ""
        out(f"\tTasks: [ {stat['Tasks']} ] hostname {info['Hostname']}{mark}")
        if limits.IsPlanOffline:
            out("\tI plan to enter maintenance mode and no longer receive new tasks.")
        if 0 < limits.DiskHoldMax <= limits.DiskUsed:
            out("\tI am forced into disk constraints mode.")


def _word(value: bool) -> str:
    return str(value).lower()


COMMANDS = {"sectors mypledge": _mypledge, "sectors mypledgeonce": _mypledgeonce, "sealing workers": _workers}
