"""Which part of the fork runs a command line."""

from __future__ import annotations

from ..cli import Call
from . import logs


def dispatch(program: str, call: Call) -> bool:
    """True where the fork does the command itself; what is left is the same in both stacks."""
    logs.set_up()
    if program == "lotus" and call.command == "daemon":
        from .. import daemon
        from .daemon import ForkDaemon

        daemon.run(call, ForkDaemon)
    elif program == "lotus-miner" and call.command in ("run", "init", "init restore"):
        from . import start

        start.run(call)
    elif program == "lotus-miner":
        from . import miner_cli

        miner_cli.run(call)
    elif program == "lotus-worker" and call.command == "run":
        from .worker import ForkWorkerProcess

        ForkWorkerProcess(call).run()
    else:
        return False
    return True
